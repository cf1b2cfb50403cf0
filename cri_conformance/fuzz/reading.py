# SPDX-License-Identifier: Apache-2.0
"""Whether what a file tells of a finding can be played, before anything is sent.

Files are edited by hand, and written by other versions. Only the steps that a mode tells are
played: any other method could be named as well.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterator
from typing import Any, get_origin, get_type_hints

from google.protobuf import json_format
from google.protobuf.message import Message

from cri_conformance.contract.register import register
from cri_conformance.fuzz.finding import Kind
from cri_conformance.fuzz.modes import MODES
from cri_conformance.fuzz.patches import foreign
from cri_conformance.fuzz.story import decoded, refs
from cri_conformance.fuzz.write import FORMAT
from cri_conformance.report.text import one_line

#: Its steps are there, and how they are to be played.
_KEYS = {"format", "mode", "kind", "clause", "cause", "permitted", "actual", "steps"}
_TEXTS = sorted(_KEYS - {"format", "steps"})


def problem(document: Any) -> str:
    """What of a replay file's document can't be played, in a line; "" if all of it can."""
    return one_line(_problem(document))


def _problem(document: Any) -> str:
    if not isinstance(document, dict):
        return "it is no finding of a campaign's"
    if (format_ := document.get("format", FORMAT)) != FORMAT:
        return f"its format is {format_!r}; this version knows {FORMAT}"
    if missing := sorted(_KEYS - document.keys()):
        return f"it is no finding of a campaign's: it lacks {', '.join(missing)}"
    for key in _TEXTS:
        if not isinstance(document[key], str):
            return f"its {key} is {document[key]!r}, and no text"
    for key in ("behind", "in_time_too"):
        if not isinstance(given := document.get(key, False), bool):
            return f"its {key} is {given!r}, and neither true nor false"
    if not (mode := MODES.get(document["mode"])):
        return f"there is no mode {document['mode']!r} in this version"
    if document["clause"] and document["clause"] not in register():
        return f"the contract has no clause {document['clause']!r}"
    if document["kind"] not in list(Kind):
        return f"there is no kind {document['kind']!r} of findings"
    leak = document["kind"] == Kind.LEAK and document["mode"] != "wire"
    if leak and not document.get("behind", False):
        return "it is a leak, which is looked for when all is removed: its behind must be true"
    if not document["steps"]:
        return "it has no steps to play: what was found came of no sequence"
    return wrong(mode.steps, mode.told, document["steps"])


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
    if host := next(filter(None, map(foreign, _messages(values))), ""):
        return f"is not played: {name}: {host} is the host's, and no campaign names that"
    hints = get_type_hints(method)
    for key, value in values.items():
        if not _fits(value, hints.get(key, Any)):
            return f"can't be played: {name}: {key} is {given[key]!r}"
    return ""


def _messages(value: Any) -> Iterator[Message]:
    if isinstance(value, Message):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _messages(one)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if isinstance(value, bool):
        return hint is bool
    if hint is float:
        return isinstance(value, int | float) and math.isfinite(value)
    origin = get_origin(hint)
    return isinstance(value, origin if origin in (list, dict) else hint)
