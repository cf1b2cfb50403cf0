# SPDX-License-Identifier: Apache-2.0
"""Starting the reference runtime beside this process, and ending it with it.

Light on purpose: nothing here imports grpc or protobuf.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO

import cri_conformance
from cri_conformance.reference import sweep

#: What the runtime prints before its endpoint when it takes calls.
READY = "listening on "
#: Seconds that the runtime may take to start.
START_TAKES = 5.0
#: Seconds that the runtime may take to end in good order before it is killed.
END_TAKES = 10.0


class NotStarted(Exception):
    """The reference runtime did not start; the message has what it said."""


class ReferenceProcess:
    """A reference runtime that runs beside this process. ``stop`` ends it."""

    def __init__(self, child: subprocess.Popen[bytes], endpoint: str, errors: IO[bytes]) -> None:
        self.endpoint = endpoint
        self.pid = child.pid
        self._child = child
        self._errors = errors

    def stop(self) -> None:
        """End it and wait; nothing of it is left then. Harmless when repeated."""
        if self._errors.closed:
            return
        _end(self._child)
        self._errors.close()


def start(faults: bool = False, registry_ca: Path | None = None) -> ReferenceProcess:
    """Start one in a new state directory, with the built-in faults on request.

    ``registry_ca`` is a certificate that it trusts when it pulls.

    It also ends when this process does, however that ends. Raises NotStarted.
    """
    # -P: a directory "grpc" in the user's project must not become the runtime's grpc.
    command = [sys.executable, "-P", "-m", "cri_conformance.reference", "--exit-on-eof"]
    errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    child = subprocess.Popen(
        command
        + ["--with-faults"] * faults
        + [f"--registry-ca={registry_ca}"] * (registry_ca is not None),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=_environment(),
        cwd="/",
        bufsize=0,
        # Ctrl-C is meant for us: without the runtime nothing could be removed in good order.
        start_new_session=True,
    )
    line = _first_line(child, START_TAKES)
    if not line.startswith(READY):
        _end(child)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
        errors.close()
        raise NotStarted(
            f"the reference runtime did not start within {START_TAKES:g} s: "
            f"{said or line or 'it said nothing'}"
        )
    return ReferenceProcess(child, line.removeprefix(READY), errors)


def _environment() -> dict[str, str]:
    """Ours, and the package importable also where it is not installed (a checkout)."""
    root = str(Path(cri_conformance.__file__).parent.parent)
    paths = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), root]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _first_line(child: subprocess.Popen[bytes], seconds: float) -> str:
    """Without its line break; what there was of it if the time is over or the child ends."""
    assert child.stdout is not None
    poll = select.poll()
    poll.register(child.stdout, select.POLLIN)
    until = time.monotonic() + seconds
    data = b""
    while not data.endswith(b"\n") and (left := until - time.monotonic()) > 0:
        if poll.poll(left * 1000):
            more = child.stdout.read(4096)
            if not more:
                break
            data += more
    return data.decode(errors="replace").removesuffix("\n")


def _end(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(END_TAKES)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()
    if child.returncode != 0:
        sweep.sweep()
