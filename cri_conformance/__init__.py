# SPDX-License-Identifier: Apache-2.0
"""Conformance and fuzz test suite for container runtimes that speak the CRI.

Nothing is imported here: pytest imports this package in every run of its users.
"""

__version__ = "0.1.0"
