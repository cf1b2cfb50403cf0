# SPDX-License-Identifier: Apache-2.0
"""What the containers of tests about stops run, and how to know that they are listening.

A stop signal that comes before the shell has set its trap is lost (or kills, where the
process is not the first of a pid namespace). So every script says in a file when it is
ready; paths are relative, as all that is run in a container begins in the same place.
"""

from __future__ import annotations

from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: Ignores whatever can be ignored.
STUBBORN = "trap '' HUP INT QUIT TERM USR1 USR2; : > ready; while :; do sleep 3600 & wait $!; done"
#: Takes a moment to tidy up when told to stop, and then ends with a code of its own.
TIDY = "trap 'sleep 0.3; exit 7' TERM; : > ready; while :; do sleep 0.05; done"
#: Ends with a code of its own as soon as it is told to stop.
PROMPT = "trap 'exit 7' TERM; : > ready; while :; do sleep 3600 & wait $!; done"
PROMPT_CODE = 7
#: Goes on until a file `go` is there, however often it is told to stop; its code is how often.
WAITING = (
    "n=0; trap 'n=$((n + 1)); : > told$n' TERM; : > ready; "
    "while [ ! -e go ]; do sleep 0.05; done; exit $n"
)


def listening(runtime: Runtime, sandbox: Sandbox, script: str) -> Container:
    """A container that runs one of these scripts and has set its traps. Raises SetupFailed."""
    container = runtime.running(sandbox, script)
    wait_for_file(runtime, container, "ready")
    return container


def wait_for_file(runtime: Runtime, container: Container, name: str, seconds: float = 20.0) -> None:
    """Until a file is there in the container. Raises SetupFailed after ``seconds``."""
    poll(
        lambda: runtime.exec(container, "test", "-e", name).exit_code,
        lambda code: code == 0,
        seconds,
        f"container {container.id[:12]} to make the file {name}",
    )


def go(runtime: Runtime, container: Container) -> None:
    """Let a WAITING container end. Raises SetupFailed."""
    runtime.exec(container, "/bin/sh", "-c", ": > go")
