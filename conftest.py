# SPDX-License-Identifier: Apache-2.0
"""The plugin is tested as its users run it: with pytest's own test bed."""

pytest_plugins = ["pytester"]
