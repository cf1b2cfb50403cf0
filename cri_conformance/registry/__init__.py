# SPDX-License-Identifier: Apache-2.0
"""Images made from code, and a registry of the suite's own that serves them, well or badly."""
