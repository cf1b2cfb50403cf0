# SPDX-License-Identifier: Apache-2.0
"""Containers with a log of their own, and their files.

The kubelet reads these files itself, so they are read here as it does; and it makes the
folder that a log lies in before it asks for the container, so that is done here too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect.violation import NotExercised
from cri_conformance.wire.crilog import Log
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: Seconds until what a process wrote must be in the file.
WRITTEN_WITHIN = 10.0


@dataclass(frozen=True, slots=True)
class Logged:
    """A container and where its log is meant to be."""

    container: Container
    path: Path

    @property
    def id(self) -> str:
        """The container's."""
        return self.container.id

    def log(self, *older: Path) -> Log:
        """What is in the log now, behind what is in ``older`` files; an absent one is empty."""
        return Log.read(b"".join(read(path) or b"" for path in (*older, self.path)))

    def rotated(self, number: int) -> Path:
        """The name that the log gets when it is renamed, as the kubelet does: beside it."""
        return self.path.with_name(f"{self.path.name}.{number}")


def folder(sandbox: Sandbox) -> Path:
    """Where the logs of a sandbox lie. Raises NotExercised if they can't be read from here."""
    if not sandbox.config.log_directory:
        raise NotExercised(Reason.REMOTE, "log files can't be read")
    return Path(sandbox.config.log_directory)


def logged(runtime: Runtime, sandbox: Sandbox, script: str, *, tty: bool = False) -> Logged:
    """A created container with a log. Raises SetupFailed, or NotExercised."""
    config = runtime.container_config(sandbox, command=["/bin/sh", "-c", script])
    config.tty = tty
    # As deep as the kubelet's own, with a restart count for a name.
    config.log_path = f"{config.metadata.name}/17.log"
    path = folder(sandbox) / config.log_path
    path.parent.mkdir(parents=True, exist_ok=True)
    return Logged(runtime.container(sandbox, config), path)


def logging(runtime: Runtime, sandbox: Sandbox, script: str, *, tty: bool = False) -> Logged:
    """As ``logged``, and started."""
    made = logged(runtime, sandbox, script, tty=tty)
    runtime.get("StartContainer", container_id=made.id)
    return made


def read(path: str | Path) -> bytes | None:
    """The bytes of a file; None if there is none."""
    try:
        return Path(path).read_bytes()
    except OSError:
        return None


def settled(
    look: Callable[[], Log], complete: Callable[[Log], bool], within: float = WRITTEN_WITHIN
) -> Log:
    """The log once it is complete, or as it is when the time is over: both can be judged."""
    try:
        return poll(look, complete, within, "the log to be complete")
    except SetupFailed:
        return look()
