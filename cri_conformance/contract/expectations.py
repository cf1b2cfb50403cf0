# SPDX-License-Identifier: Apache-2.0
"""Violations that a runtime's maintainers know of, each with its reason.

A known clause is judged like any other: broken it shows as known, held it shows as
stale, so that an entry goes when its bug does. The file is TOML::

    [[known]]
    clause = "RuntimeService.StopPodSandbox.idempotent"
    reason = "the second stop answers NOT_FOUND until 1.7"
    link = "https://…"   # optional
"""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cri_conformance.contract.clause import Level
from cri_conformance.contract.register import Register

_TABLE = "known"
_KEYS = ("clause", "reason", "link")


class ExpectationsError(Exception):
    """The file can't be used; one line: the file, what is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """A clause that is expected to break, and why."""

    clause: str
    reason: str
    link: str = ""


def load(path: Path, register: Register) -> dict[str, Expectation]:
    """The expectations of a file, by clause id. Raises ExpectationsError."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ExpectationsError(f"can't read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ExpectationsError(f"{path} is not valid TOML: {error}") from None
    if strange := sorted(data.keys() - {_TABLE}):
        raise ExpectationsError(f"{path}: unknown key {strange[0]!r}; only [[{_TABLE}]] is read")
    entries = data.get(_TABLE, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ExpectationsError(f"{path}: write each entry as [[{_TABLE}]], in double brackets")
    found: dict[str, Expectation] = {}
    for number, entry in enumerate(entries, start=1):
        try:
            made = _expectation(entry, register)
            if made.clause in found:
                raise ValueError(f"{made.clause} stands twice; keep one of them")
        except ValueError as error:
            raise ExpectationsError(f"{path}, entry {number}: {error}") from None
        found[made.clause] = made
    return found


def _expectation(entry: dict[str, Any], register: Register) -> Expectation:
    if strange := sorted(entry.keys() - set(_KEYS)):
        raise ValueError(f"unknown key {strange[0]!r}; there are {', '.join(_KEYS)}")
    for key, value in entry.items():
        if not isinstance(value, str):
            raise ValueError(f"{key} is a text in quotes, not {value!r}")
    clause = entry.get("clause", "")
    if not clause:
        raise ValueError("no clause; give the id that the report shows")
    if clause not in register:
        near = difflib.get_close_matches(clause, register.clauses, n=1, cutoff=0.8)
        meant = f"did you mean {near[0]}?" if near else "`cri-conformance clauses` lists them"
        raise ValueError(f"there is no clause {clause!r}; {meant}")
    if register[clause].level is Level.MAY:
        raise ValueError(f"{clause} is a MAY, which is never judged; remove the entry")
    if not entry.get("reason", "").strip():
        raise ValueError(f"{clause} has no reason; say why it is known, as in an issue's title")
    return Expectation(clause, entry["reason"].strip(), entry.get("link", ""))
