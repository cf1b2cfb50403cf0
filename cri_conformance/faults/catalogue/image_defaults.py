# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for what a container takes from its image."""

from __future__ import annotations

from typing import Any

from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter_request,
    edit_request,
    ignore_request,
    set_request,
)

_CREATE = "CreateContainer"
_COMMAND, _ARGS = "config.command", "config.args"


def _is_made(call: Call) -> bool:
    """Whether the image is one of those that the tests of these clauses bring."""
    return any(word in call.request.config.image.image for word in ("/defaults-", "/signalled:"))


_made = When("made-image", lambda call, memory: _is_made(call))
_bare = when.missing(_COMMAND) & when.missing(_ARGS)
_twice = Change("joined", lambda words: ["cmd of the image", *words])


def _as_args(request: Any, call: Call, memory: Memory) -> None:
    """The command goes where the args go, and so behind the entrypoint."""
    request.config.args[:0] = list(request.config.command)
    del request.config.command[:]


def _without(name: str) -> Any:
    def work(request: Any, call: Call, memory: Memory) -> None:
        for variable in [one for one in request.config.envs if one.key == name]:
            request.config.envs.remove(variable)

    return work


def _emptied(request: Any, call: Call, memory: Memory) -> None:
    request.config.envs.add(key="CRI_IMAGE_ONLY", value=b"")


FAULTS: list[Fault] = [
    fault(
        "ContainerConfig.command.image-default",
        set_request(_CREATE, _COMMAND, ["/bin/sleep", "3600"], when=_made & _bare),
    ),
    fault(
        "ContainerConfig.command.image-default",
        set_request(_CREATE, _ARGS, ["other"], when=_made & _bare),
    ),
    fault(
        "ContainerConfig.args.replaces-cmd",
        alter_request(_CREATE, _ARGS, _twice, when=_made & when.missing(_COMMAND)),
    ),
    fault(
        "ContainerConfig.command.replaces-entrypoint",
        edit_request(
            "command-behind-the-entrypoint",
            _CREATE,
            "the command is taken for args of the image's entrypoint",
            _as_args,
            when=_made & when.given(_COMMAND),
        ),
    ),
    fault(
        "ContainerConfig.command.drops-image-cmd",
        set_request(_CREATE, _ARGS, ["cmd of the image"], when=_made & when.missing(_ARGS)),
        name="image-cmd-behind-the-command",
    ),
    fault(
        "ContainerConfig.working_dir.image-default",
        set_request(_CREATE, "config.working_dir", "/", when=_made),
    ),
    fault(
        "ContainerConfig.envs.overrides-image",
        edit_request(
            "image-variables-go-first",
            _CREATE,
            "a variable of the image has precedence",
            _without("CRI_BOTH"),
        ),
    ),
    fault(
        "ContainerConfig.envs.image-kept",
        edit_request("image-variables-emptied", _CREATE, "the image's are lost", _emptied),
    ),
    fault(
        "ContainerConfig.stop_signal.overrides-image",
        ignore_request(_CREATE, "config.stop_signal", when=_made),
    ),
]
