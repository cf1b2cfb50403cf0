# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for a container's files on the host: its log, and its mounts as listed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.faults import changes
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, Operator, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    alter_request,
    drop,
    duplicate_item,
    edit,
    ignore_request,
    leave_out_one,
)

_CREATE, _STATUS = "CreateContainer", "ContainerStatus"
_READONLY = "status.mounts.readonly"
_deaf = Change(
    "stderr-lost",
    lambda words: [*words[:-1], f"exec 2>/dev/null; {words[-1]}"] if "-c" in words else words,
)


def _rewritten(name: str, says: str, rewrite: Callable[[str], str]) -> Operator:
    """The log comes out otherwise: the file is rewritten once its container has exited."""

    def work(response: Any, call: Call, memory: Memory) -> None:
        path = Path(response.status.log_path)
        if not response.status.finished_at or not path.is_file():
            return
        if not memory.count(("rewritten", path)):
            with path.open(encoding="utf-8", newline="\n") as log:
                lines = log.read().split("\n")[:-1]
            path.write_bytes("".join(f"{rewrite(line)}\n" for line in lines).encode())

    return edit(name, _STATUS, says, work)


def _as_json(line: str) -> str:
    """The form of Docker's own log driver."""
    time, stream, _, text = line.split(" ", 3)
    return json.dumps({"log": f"{text}\n", "stream": stream, "time": time})


def _unlink(response: Any, call: Call, memory: Memory) -> None:
    if response.status.finished_at:
        Path(response.status.log_path).unlink(missing_ok=True)


def _host_path_missing(call: Call, memory: Memory) -> bool:
    return any(not Path(mount.host_path).exists() for mount in call.request.config.mounts)


FAULTS: list[Fault] = [
    # -- the log
    fault(
        "ContainerConfig.log_path.file-location",
        alter_request(_CREATE, "config.log_path", changes.replaced("/", "-")),
    ),
    fault("ContainerConfig.log_path.both-streams", alter_request(_CREATE, "config.command", _deaf)),
    fault(
        "ContainerConfig.log_path.line-format",
        _rewritten("log-as-json", "the log is in Docker's format", _as_json),
    ),
    # containerd did so once (cri issue 283): two short lines and a long one looked alike.
    fault(
        "ContainerConfig.log_path.partial-tag",
        _rewritten(
            "log-without-parts",
            "parts of a line look like lines",
            lambda line: line.replace(" P ", " F ", 1),
        ),
    ),
    fault(
        "ContainerStatus.log_path.readable-after-exit",
        edit("log-goes-with-the-process", _STATUS, "the log is removed at the exit", _unlink),
    ),
    # -- mounts
    fault("ContainerStatus.mounts.requested-listed", duplicate_item(_STATUS, "status.mounts")),
    fault("ContainerStatus.mounts.requested-listed", leave_out_one(_STATUS, path="status.mounts")),
    fault(
        "ContainerStatus.mounts.termination-path",
        alter(_STATUS, "status.mounts.host_path", changes.suffixed("-copy")),
    ),
    fault("Mount.readonly.reported", drop(_STATUS, _READONLY)),
    fault("Mount.propagation.reported", drop(_STATUS, "status.mounts.propagation")),
    fault("Mount.recursive_read_only.reported", drop(_STATUS, "status.mounts.recursive_read_only")),
    fault(
        "Mount.host_path.missing-error",
        ignore_request(_CREATE, "config.mounts", when=When("no-host-path", _host_path_missing)),
    ),
    fault(
        ["Mount.recursive_read_only.needs-readonly", "Mount.recursive_read_only.needs-private"],
        ignore_request(_CREATE, "config.mounts.recursive_read_only"),
    ),
]
