# SPDX-License-Identifier: Apache-2.0
"""The contract: its clauses, read from the comments of ``proto/``."""
