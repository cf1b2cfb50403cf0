# SPDX-License-Identifier: Apache-2.0
"""How fast a runtime is: lifecycles one by one and several at a time, with confidence."""
