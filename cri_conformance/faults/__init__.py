# SPDX-License-Identifier: Apache-2.0
"""Seeded faults: a layer that breaks one promise at a time, to show that the suite notices."""
