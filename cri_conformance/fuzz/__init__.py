# SPDX-License-Identifier: Apache-2.0
"""Campaigns: sequences and messages that nobody planned, until the time is over."""
