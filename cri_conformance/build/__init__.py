# SPDX-License-Identifier: Apache-2.0
"""Requests: the smallest valid ones, and generated ones."""
