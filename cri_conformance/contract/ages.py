# SPDX-License-Identifier: Apache-2.0
"""The age of each clause: the version of this suite in which it came, or was sharpened last.

``api/clauses.lock`` has a line for each clause: id, version, hash of what it says and how
it binds. `cri-conformance contract build` writes it: a clause that is new or says something
else gets the version under way, so ``--cri-clauses-as-of`` leaves it to those who asked for
it. A change of words alone may keep its version: `contract build --reworded PATTERN`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from cri_conformance import __version__
from cri_conformance.contract.clause import Clause
from cri_conformance.contract.versions import Version

LOCK = Path(__file__).resolve().parent.parent / "api" / "clauses.lock"

_HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# Clause, version of the suite in which it came or was sharpened last, hash of what it says.
# Written by `cri-conformance contract build`; see contract/ages.py.
"""


class AgesError(Exception):
    """The lock can't be read; one line."""


def digest(clause: Clause) -> str:
    """A hash of everything about a clause that can turn a verdict."""
    said = (clause.level, clause.needs, clause.since, " ".join(clause.text.split()))
    return hashlib.sha256("\n".join(map(str, said)).encode()).hexdigest()[:12]


def younger(clause: Clause, as_of: str) -> bool:
    """Whether a clause came, or was sharpened, after this version of the suite; "" is any."""
    if not as_of or not clause.came:
        return False
    return Version.parse(clause.came) > Version.parse(as_of)


def read(text: str) -> dict[str, tuple[str, str]]:
    """Clause id → (version, hash). Raises AgesError."""
    found: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        if line.startswith("#") or not line:
            continue
        words = line.split()
        if len(words) != 3:
            raise AgesError(f"clauses.lock: not 'id version hash': {line!r}")
        found[words[0]] = (words[1], words[2])
    return found


def written(
    clauses: Iterable[Clause],
    before: Mapping[str, tuple[str, str]],
    version: str = __version__,
    reworded: frozenset[str] = frozenset(),
) -> str:
    """The lock of these clauses. ``reworded`` ones say what they said, in other words."""
    lines = []
    for clause in sorted(clauses, key=lambda clause: clause.id):
        came, known = before.get(clause.id, (version, ""))
        now = digest(clause)
        if now != known and clause.id not in reworded:
            came = version
        lines.append(f"{clause.id} {came} {now}\n")
    return _HEADER + "".join(lines)
