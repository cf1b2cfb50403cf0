# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for containers that must not come to run: they run, with less than was asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import ignore_request, set_request

_CREATE = "CreateContainer"
_SECURITY = "config.linux.security_context"


def _targeted(name: str, test: Callable[[Call, str], bool]) -> When:
    """A container asks for the process ids of a target like this."""

    def strikes(call: Call, memory: Memory) -> bool:
        options = call.request.config.linux.security_context.namespace_options
        return options.pid == types.TARGET and test(call, options.target_id)

    return When(name, strikes)


def _exists(call: Call, container_id: str) -> bool:
    try:
        call.upstream("ContainerStatus", types.ContainerStatusRequest(container_id=container_id))
    except StatusError:
        return False
    return True


def _profile(name: str, test: Callable[[str], bool]) -> When:
    """A container asks for a seccomp profile of the node, by a path like this."""

    def strikes(call: Call, memory: Memory) -> bool:
        path: str = call.request.config.linux.security_context.seccomp.localhost_ref
        return bool(path) and test(path)

    return When(name, strikes)


def _own_namespace(when: When) -> Any:
    return set_request(_CREATE, f"{_SECURITY}.namespace_options.pid", types.CONTAINER, when=when)


FAULTS: list[Fault] = [
    fault(
        "NamespaceMode.TARGET.id-needed",
        _own_namespace(_targeted("no-target", lambda call, target: not target)),
    ),
    fault(
        "NamespaceOption.target_id.unknown-refused",
        _own_namespace(
            _targeted("unknown-target", lambda c, target: bool(target) and not _exists(c, target))
        ),
    ),
    fault(
        "NamespaceOption.target_id.other-pod-refused",
        _own_namespace(_targeted("known-target", lambda c, t: bool(t) and _exists(c, t))),
    ),
    fault(
        "SecurityProfile.ProfileType.Localhost.seccomp-missing-refused",
        ignore_request(
            _CREATE,
            f"{_SECURITY}.seccomp",
            when=_profile("absolute", lambda path: path.startswith("/")),
        ),
    ),
    fault(
        "SecurityProfile.ProfileType.Localhost.absolute-path",
        ignore_request(
            _CREATE,
            f"{_SECURITY}.seccomp",
            when=_profile("relative", lambda path: not path.startswith("/")),
        ),
    ),
]
