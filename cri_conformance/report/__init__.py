# SPDX-License-Identifier: Apache-2.0
"""Verdicts by clause, from the records of the tests: for a terminal, as JSON, as one HTML page."""
