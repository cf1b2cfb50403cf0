# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for the first process of a container: arguments, environment, user, signals."""

from __future__ import annotations

import os

from cri_conformance.api import types
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Fault, fault
from cri_conformance.faults.operators import (
    alter_request,
    drop,
    ignore_request,
    set_request,
    set_value,
)

_CREATE, _STATUS = "CreateContainer", "ContainerStatus"
_expanded = Change("expanded", lambda words: [os.path.expandvars(word) for word in words])
_without_empty = Change("without-empty", lambda words: [word for word in words if word])
_stripped = Change("stripped", lambda words: [word.strip() for word in words])
_other_path = Change("other-path", lambda words: [words[0].replace("/bin/", "/bin/./"), *words[1:]])
_underscores = Change("underscores", lambda name: name.replace(".", "_").replace("-", "_"))
_first_line = Change("first-line", lambda value: value.partition(b"\n")[0])
_as_text = Change("as-text", lambda value: value.decode(errors="replace").encode())

_real_time = when.When(
    "real-time",
    lambda call, memory: call.request.config.stop_signal >= types.SIGNAL_SIGRTMIN,
)


FAULTS: list[Fault] = [
    # -- arguments
    fault("ContainerConfig.command.runs", alter_request(_CREATE, "config.command", _other_path)),
    fault("ContainerConfig.command.verbatim", alter_request(_CREATE, "config.command", _expanded)),
    fault(
        "ContainerConfig.command.verbatim",
        alter_request(_CREATE, "config.command", _without_empty),
    ),
    fault("ContainerConfig.args.verbatim", alter_request(_CREATE, "config.args", _stripped)),
    fault("ContainerConfig.args.verbatim", alter_request(_CREATE, "config.args", _without_empty)),
    fault("ContainerConfig.args.appended", ignore_request(_CREATE, "config.args")),
    fault("ContainerConfig.args.appended", alter_request(_CREATE, "config.args", changes.reverse)),
    # -- environment
    fault("ContainerConfig.envs.set", alter_request(_CREATE, "config.envs", changes.drop_first)),
    fault("KeyValue.key.exact", alter_request(_CREATE, "config.envs.key", _underscores)),
    fault("KeyValue.key.exact", alter_request(_CREATE, "config.envs.key", changes.upper)),
    fault(
        "ContainerConfig.envs.verbatim", alter_request(_CREATE, "config.envs.value", changes.strip)
    ),
    fault(
        "ContainerConfig.envs.verbatim", alter_request(_CREATE, "config.envs.value", _first_line)
    ),
    fault("KeyValue.value.not-utf8", alter_request(_CREATE, "config.envs.value", _as_text)),
    # -- where and on what
    fault("ContainerConfig.working_dir.applied", ignore_request(_CREATE, "config.working_dir")),
    fault("ContainerConfig.tty.unset-none", set_request(_CREATE, "config.tty", True)),
    fault("ContainerConfig.tty.terminal", ignore_request(_CREATE, "config.tty")),
    fault("ContainerConfig.stdin.unset-ends", set_request(_CREATE, "config.stdin", True)),
    fault("ContainerConfig.stdin.kept-open", ignore_request(_CREATE, "config.stdin")),
    # -- user
    fault(
        "LinuxContainerUser.uid.first-process",
        set_value(_STATUS, "status.user.linux.uid", 1000),
    ),
    fault(
        "LinuxContainerUser.gid.first-process",
        set_value(_STATUS, "status.user.linux.gid", 1000),
    ),
    fault(
        "LinuxContainerUser.supplemental_groups.first-process",
        set_value(_STATUS, "status.user.linux.supplemental_groups", [77, 78]),
    ),
    fault(
        "LinuxContainerUser.supplemental_groups.first-process",
        drop(_STATUS, "status.user.linux.supplemental_groups"),
    ),
    # -- signals
    fault("ContainerConfig.stop_signal.used", ignore_request(_CREATE, "config.stop_signal")),
    fault(
        "Signal.named-signal",
        set_request(
            _CREATE,
            "config.stop_signal",
            types.SIGNAL_SIGTERM,
            when=when.requested("config.stop_signal", types.SIGNAL_SIGWINCH),
        ),
    ),
    fault(
        "Signal.aliases",
        set_request(
            _CREATE,
            "config.stop_signal",
            types.SIGNAL_SIGTERM,
            when=when.requested("config.stop_signal", types.SIGNAL_SIGPOLL),
        ),
    ),
    fault(
        "Signal.real-time",
        alter_request(_CREATE, "config.stop_signal", changes.plus(-1), when=_real_time),
    ),
    fault(
        "Signal.SIGNAL_SIGKILL.immediate",
        set_request(
            _CREATE,
            "config.stop_signal",
            types.SIGNAL_SIGTERM,
            when=when.requested("config.stop_signal", types.SIGNAL_SIGKILL),
        ),
    ),
    fault(
        "ContainerStatus.stop_signal.effective",
        set_value(_STATUS, "status.stop_signal", types.SIGNAL_SIGINT),
    ),
]
