# SPDX-License-Identifier: Apache-2.0
"""Writing a file so that nobody ever reads half of it."""

from __future__ import annotations

import os
from pathlib import Path

#: Beside the state of a campaign's process: the calls of its findings.
CALLS = ".calls"
#: Ending of the file with what a process of several says meanwhile.
SAID = ".said"


def write_text(path: Path, text: str) -> None:
    """Write a file as UTF-8 and put it in its place in one step. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, as a rename across file systems is none; with the umask's rights,
    # as whoever collects a build's artefacts may well be somebody else.
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(text, encoding="utf-8", newline="\n")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
