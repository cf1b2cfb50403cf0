# SPDX-License-Identifier: Apache-2.0
"""The wire types of the CRI, apart from any other copy of them in the process."""
