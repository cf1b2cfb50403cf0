# SPDX-License-Identifier: Apache-2.0
"""Containers that try their mounts as soon as they start, and tell what they found.

All host paths are in a folder of the run's own. Reports are lines of a name and a value, in
a file of the container: so what is judged is what its first process saw.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.suite.container_life import folder_on_host
from cri_conformance.wire import host_mounts
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox, poll

#: ``t NAME COMMAND…`` reports yes or no, ``v NAME FILE`` what is in it.
_TOOLS = (
    't() { n=$1; shift; if "$@" >/dev/null 2>&1; then echo "$n yes"; else echo "$n no"; fi; }; '
    'v() { echo "$1 $(cat "$2" 2>/dev/null)"; }; '
    'w() { t "$1" sh -c \': > "$0"\' "$2"; }; '
)
_REPORT, _READY = "/cri-report", "/cri-ready"
_TOLD_WITHIN = 10.0


def mount(host: Path | str, container: str, **options: object) -> types.Mount:
    """A mount of a path of the host."""
    made = types.Mount(host_path=str(host), container_path=container)
    made.MergeFrom(types.Mount(**options))  # type: ignore[arg-type]
    return made


@contextlib.contextmanager
def own_folder(runtime: Runtime, sandbox: Sandbox) -> Iterator[Path]:
    """A folder on the runtime's host, and after the block none of the mounts in it.

    Raises NotExercised where nothing can be put there.
    """
    if not sandbox.config.log_directory:
        raise NotExercised(Reason.REMOTE, "host paths can't be prepared")
    folder = folder_on_host(sandbox, runtime.name("mounts"))
    try:
        yield folder
    finally:
        host_mounts.unmount_below(folder)


@contextlib.contextmanager
def mounting() -> Iterator[None]:
    """For a block that makes mounts on the host: raises NotExercised where it may not."""
    try:
        yield
    except OSError as error:
        raise NotExercised(Reason.NEEDS_HOST, f"no mounts can be made there: {error}") from None


def reporting(
    runtime: Runtime,
    sandbox: Sandbox,
    mounts: Sequence[types.Mount],
    script: str,
    *,
    privileged: bool = False,
) -> types.ContainerConfig:
    """The config of a container that runs a script of ``t``, ``v``, ``w`` and then idles."""
    told = f"{{ {_TOOLS} {script}; }} > {_REPORT}; : > {_READY}; {IDLE}"
    config = runtime.container_config(sandbox, command=["/bin/sh", "-c", told])
    config.mounts.extend(mounts)
    config.linux.security_context.privileged = privileged
    return config


def started(
    runtime: Runtime, sandbox: Sandbox, config: types.ContainerConfig
) -> tuple[Container | None, Outcome]:
    """The container, if it came to run, and the answer that says so or why not."""
    made = runtime.create(sandbox, config)
    if not isinstance(made, Ok):
        return None, made
    container = Container(made.response.container_id, config, sandbox)
    start = runtime.call("StartContainer", container_id=container.id)
    return (container if isinstance(start, Ok) else None), start


def report(runtime: Runtime, container: Container) -> Mapping[str, str]:
    """What it reported, once it has. Raises SetupFailed."""

    def ask() -> str:
        said = runtime.exec(container, "/bin/sh", "-c", f"[ -e {_READY} ] && cat {_REPORT}")
        return said.stdout.decode(errors="replace") if said.exit_code == 0 else ""

    text = poll(ask, bool, _TOLD_WITHIN, f"the report of container {container.id[:12]}")
    return {name: value for name, _, value in (line.partition(" ") for line in text.splitlines())}


def run(
    runtime: Runtime, sandbox: Sandbox, mounts: Sequence[types.Mount], script: str
) -> tuple[Container, Mapping[str, str]]:
    """Start a reporting container and read its report. Raises SetupFailed."""
    container, outcome = started(runtime, sandbox, reporting(runtime, sandbox, mounts, script))
    if container is None:
        raise SetupFailed(f"a container with mounts does not start: {outcome}")
    return container, report(runtime, container)
