# SPDX-License-Identifier: Apache-2.0
"""The oracle: what a runtime's objects may be, as values. No I/O, and nobody else's types."""
