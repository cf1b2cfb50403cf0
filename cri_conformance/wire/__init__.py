# SPDX-License-Identifier: Apache-2.0
"""Talking to a runtime. Nothing here knows right from wrong."""
