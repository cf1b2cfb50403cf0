# SPDX-License-Identifier: Apache-2.0
"""The tests that ship: one file for each family of promises."""
