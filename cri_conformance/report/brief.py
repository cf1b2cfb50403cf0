# SPDX-License-Identifier: Apache-2.0
"""A message for the page: in short, as all lines have it, and whole for who clicks on that."""

from __future__ import annotations

import json
from typing import Any


def whole(message: dict[str, Any] | None) -> str:
    """The message as indented JSON; "" for an empty one."""
    return json.dumps(message, indent=2, ensure_ascii=False, default=str) if message else ""
