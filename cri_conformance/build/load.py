# SPDX-License-Identifier: Apache-2.0
"""Getting an image archive into a runtime: the CRI has no call for it."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

#: Stands for the archive's path in a loader command.
PLACE = "{}"
#: Seconds a loader may take; an import of our image takes well under one.
LOAD_WITHIN = 60.0
#: Seconds within which a containerd that is there answers ctr.
CTR_ANSWERS_WITHIN = 5.0


class LoadError(Exception):
    """The archive did not get in; one line: what was run, what it said, what to do."""


def default_loader(runtime_name: str, socket: Path | None) -> str:
    """The command that loads archives into this runtime, or "" if none is known."""
    if runtime_name == "containerd" and socket and shutil.which("ctr") and _ctr_reaches(socket):
        # The CRI plugin sees only this namespace.
        return f"ctr --address {shlex.quote(str(socket))} -n k8s.io images import {PLACE}"
    return ""


def _ctr_reaches(socket: Path) -> bool:
    """Whether containerd's own API is behind this socket too: a proxy may pass on only the CRI."""
    try:
        done = subprocess.run(
            ["ctr", "--address", str(socket), "--connect-timeout", "2s", "version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=CTR_ANSWERS_WITHIN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def load(archive: Path, command: str, *, within: float = LOAD_WITHIN) -> None:
    """Run a loader command on an archive, without a shell. Raises LoadError.

    ``{}`` in any of its words stands for the archive's path; ``within`` is in seconds.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise LoadError(f"image loader {command!r}: {error}; mend --cri-image-loader") from None
    if not any(PLACE in word for word in words):
        raise LoadError(
            f"image loader {command!r} has no {PLACE} for the archive's path: "
            "mend --cri-image-loader"
        )
    words = [word.replace(PLACE, str(archive)) for word in words]
    shown = shlex.join(words)
    advice = "try it by hand, or give --cri-image-loader or --cri-test-image"
    try:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=within,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise LoadError(f"'{shown}' did not end within {within:g} s: {advice}") from None
    except OSError as error:
        raise LoadError(f"can't run '{shown}': {error.strerror}; {advice}") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        why = said[-1].strip() if said else "nothing on stderr"
        raise LoadError(f"'{shown}' ended with {done.returncode} ({why}): {advice}")
