# SPDX-License-Identifier: Apache-2.0
"""What no client's types can say: broken messages and frames, and whether a runtime lives on."""
