# SPDX-License-Identifier: Apache-2.0
"""results.json."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cri_conformance.report.files import write_text
from cri_conformance.report.schema import Results
from cri_conformance.report.text import storable

#: What JSON permits raw, and a terminal that the file is shown on would obey.
_UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def write(results: Results, path: Path) -> None:
    """Write the document, whole or not at all. Raises OSError."""
    write_text(path, dumps(results))


def dumps(results: Results) -> str:
    """The document as JSON that any parser takes, whatever the runtime sent."""
    return document(results)


def document(value: Mapping[str, Any]) -> str:
    """Any data of ours as such JSON."""
    return _dumped(value, 1) + "\n"


def line(value: Mapping[str, Any]) -> str:
    """The same for a line of JSON."""
    return _dumped(value, None) + "\n"


def _dumped(value: Mapping[str, Any], indent: int | None) -> str:
    text = json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False)
    # Such characters can only stand inside strings, where an escape means the same.
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # NaN and the infinities are no JSON.
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {storable(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return storable(str(value))
