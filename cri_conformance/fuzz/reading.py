# SPDX-License-Identifier: Apache-2.0
"""Whether a story from a file can be played, before anything is sent.

Files are edited by hand, and written by other versions. Only the steps that a mode tells are
played: any other method could be named as well.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any, get_origin, get_type_hints

from google.protobuf import json_format

from cri_conformance.fuzz.story import decoded, refs


def wrong(steps: type, told: Collection[str], story: Any) -> str:
    """What of a story can't be played by these steps, in words; "" if all of it can."""
    if not isinstance(story, list):
        return "its steps are no list"
    for number, step in enumerate(story, 1):
        if reason := _wrong(steps, told, step):
            return f"step {number} {reason}"
    return ""


def _wrong(steps: type, told: Collection[str], step: Any) -> str:
    if not (
        isinstance(step, dict)
        and isinstance(name := step.get("do"), str)
        and isinstance(given := step.get("with"), dict)
        and isinstance(step.get("gives", ""), str)
    ):
        return 'is no step, which has a name as "do" and arguments as "with"'
    if name not in told:
        return f"is {name!r}, which this version does not know in this mode"
    method = getattr(steps, name)
    try:
        inspect.signature(method).bind(None, **given)
        values = decoded(given, dict.fromkeys(refs(given), ""))
    except (TypeError, AttributeError, json_format.ParseError) as error:
        return f"can't be played: {name}: {error}"
    hints = get_type_hints(method)
    for key, value in values.items():
        if not _fits(value, hints.get(key, Any)):
            return f"can't be played: {name}: {key} is {given[key]!r}"
    return ""


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float)
    origin = get_origin(hint)
    return isinstance(value, origin if origin in (list, dict) else hint)
