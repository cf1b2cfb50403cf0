# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for restarts of the runtime.

A restarted runtime is seen by its answer to Version, for which the client waits; so that is from
when on they strike, whether anything was restarted or not. They strike what was made before it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When, always
from cri_conformance.faults.fault import Call, Fault, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import answer_error, drop, edit_request, operator, together
from cri_conformance.faults.operators.core import Step, copy_of
from cri_conformance.faults.operators.streams import drop_messages

_restarted = When("restarted", lambda call, memory: memory.times("Version") > 0)
#: Who asks in the first moments of a start.
_starting = When(
    "starting", lambda call, memory: not _restarted(call, memory) and memory.count("early") < 2
)
#: Seconds that a call is held, so that a restart may break it off.
_HELD = 0.1
#: With such codes one ended before.
_CODES = range(1, 20)
#: With such codes end the containers that are meant to while the runtime is down.
_MEANWHILE = range(20, 40)

#: What was made or asked for before the restart.
_Old = set[str]


def _struck(name: str, rpc: str, says: str, strike: Step) -> Operator:
    """``strike`` calls of ``rpc`` after the restart, if it is about what was there before it, or
    about everything, as a list is."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        old: _Old = memory.kept("old", set)
        restarted = _restarted(call, memory)
        about = subject(call.rpc, call.request)
        if call.rpc == rpc and restarted and (about in old or not about):
            return strike(call, memory, proceed)
        response = proceed(call.request)
        if not restarted and call.rpc in ("RunPodSandbox", "CreateContainer"):
            old.add(getattr(response, "container_id", "") or response.pod_sandbox_id)
        return response

    return operator(name, {rpc, "RunPodSandbox", "CreateContainer"}, says, step)


def _changed(rpc: str, name: str, work: Callable[[Any, _Old], None]) -> Operator:
    """An answer about what was there before the restart is changed by ``work``, which may raise
    StatusError."""

    def strike(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = copy_of(proceed(call.request))
        work(response, memory.kept("old", set))
        return response

    return _struck(f"{name}-after-restart", rpc, f"{name} after a restart", strike)


def _refused(rpc: str, name: str = "") -> Operator:
    """What was there before the restart is refused."""

    def strike(call: Call, memory: Memory, proceed: Proceed) -> Any:
        raise StatusError("UNKNOWN", "not loaded after the restart")

    says = f"{rpc} of what was there before a restart is refused"
    return _struck(name or f"{rpc}-refused-after-restart", rpc, says, strike)


def _stuck(rpc: str) -> Operator:
    """What was asked for before the restart is stuck after it."""

    def key_of(call: Call) -> tuple[str, str]:
        if rpc == "RunPodSandbox":
            # Whatever the attempt.
            return "asked", call.request.config.metadata.name
        return "asked", subject(rpc, call.request)

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if _restarted(call, memory):
            if memory.kept(key_of(call), lambda: False):
                raise StatusError("UNKNOWN", "another call for this is at work already")
        else:
            memory.keep(key_of(call), True)
            if call.ended.wait(_HELD):
                raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    says = f"{rpc} that a restart broke off is stuck for ever"
    return operator(f"stuck-after-restart-{rpc}", rpc, says, step)


def _held(rpc: str) -> Operator:
    """Takes a while, as with a real runtime, so that a restart may break it off."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if not _restarted(call, memory) and call.ended.wait(_HELD):
            raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    return operator(f"held-{rpc}", rpc, f"{rpc} takes a while", step)


def _set(path: str, value: Any, only: Callable[[Any], bool] = bool) -> Any:
    """Sets a field of the status in an answer."""

    def work(response: Any, old: _Old) -> None:
        if only(response.status):
            *outer, last = path.split(".")
            parent = response.status
            for part in outer:
                parent = getattr(parent, part)
            setattr(parent, last, value)

    return work


def _status(path: str, value: Any, only: Callable[[Any], bool] = bool) -> Operator:
    return _changed("ContainerStatus", f"other-{path}", _set(path, value, only))


def _pod_status(path: str, value: Any) -> Operator:
    return _changed("PodSandboxStatus", f"other-pod-{path}", _set(path, value))


def _runs_for_ever(response: Any, old: _Old) -> None:
    """containerd commit ead5c1ee6: the end during the start is told to nobody."""
    status = response.status
    if status.exit_code in _MEANWHILE:
        status.state = types.CONTAINER_RUNNING
        status.exit_code = status.finished_at = 0


def _without(field: str, state: int) -> Callable[[Any, _Old], None]:
    """containerd#7247: what could not be loaded is not listed."""

    def work(response: Any, old: _Old) -> None:
        items = getattr(response, field)
        kept = [item for item in items if item.id not in old or item.state != state]
        del items[:]
        items.extend(kept)

    return work


def _without_stats(response: Any, old: _Old) -> None:
    kept = [one for one in response.stats if one.attributes.id not in old]
    del response.stats[:]
    response.stats.extend(kept)


def _log_begins_anew(response: Any, old: _Old) -> None:
    if path := response.status.log_path:
        with contextlib.suppress(OSError):
            Path(path).open("wb").close()


def _other_attempt(request: Any, call: Call, memory: Memory) -> None:
    request.config.metadata.attempt = memory.count("attempts") + 1


def _known_by_name(call: Call, memory: Memory) -> bool:
    """A container of this name was made before; notes this one's."""
    names: _Old = memory.kept("names", set)
    name = call.request.config.metadata.name
    seen = name in names
    names.add(name)
    return seen and _restarted(call, memory)


def _killed(call: Call, memory: Memory, proceed: Proceed) -> Any:
    request = copy_of(call.request)
    request.timeout = 0
    return proceed(request)


_ENDED = types.CONTAINER_EXITED

FAULTS: list[Fault] = [
    fault(
        "ContainerStatus.labels.survive-restart",
        drop("ContainerStatus", "status.labels", when=_restarted),
    ),
    fault(
        "ContainerStatus.annotations.survive-restart",
        drop("ContainerStatus", "status.annotations", when=_restarted),
    ),
    fault("ContainerStatus.metadata.survive-restart", _status("metadata.attempt", 7)),
    # containerd commit 30c9addd6.
    fault(
        "ContainerStatus.state.survives-restart",
        _status("state", types.CONTAINER_UNKNOWN, lambda status: status.state == _ENDED),
    ),
    # containerd commit ead5c1ee6: an end that comes too early after the start is not noticed.
    fault(
        "ContainerStatus.state.survives-restart",
        _changed("ContainerStatus", "end-unseen", _runs_for_ever),
    ),
    *(
        fault("ContainerStatus.exit_code.survives-restart", _status(field, value))
        for field, value in (("created_at", 1), ("started_at", 1), ("finished_at", 1))
    ),
    # CRI-O: with the file of a process's exit code the code itself is gone.
    fault(
        "ContainerStatus.exit_code.survives-restart",
        _status("exit_code", 255, lambda status: status.exit_code in _CODES),
    ),
    fault(
        "ContainerStatus.exit_code.ended-meanwhile",
        _changed(
            "ContainerStatus",
            "code-of-ended-lost",
            _set("exit_code", 255, lambda status: status.exit_code in _MEANWHILE),
        ),
    ),
    fault("PodSandboxStatus.state.survive-restart", _pod_status("state", types.SANDBOX_NOTREADY)),
    fault("PodSandboxStatus.created_at.survive-restart", _pod_status("created_at", 1)),
    fault("PodSandboxStatus.metadata.survive-restart", _pod_status("metadata.attempt", 7)),
    fault("PodSandboxNetworkStatus.ip.survive-restart", _pod_status("network.ip", "192.0.2.1")),
    fault(
        "RuntimeService.ListPodSandbox.survive-restart",
        _changed("ListPodSandbox", "stopped-unlisted", _without("items", types.SANDBOX_NOTREADY)),
    ),
    fault(
        "RuntimeService.ListContainers.survive-restart",
        _changed(
            "ListContainers",
            "created-unlisted",
            _without("containers", types.CONTAINER_CREATED),
        ),
    ),
    fault(
        "ContainerMetadata.unique-after-restart",
        edit_request(
            "names-forgotten-after-restart",
            "CreateContainer",
            "a name that was taken before a restart is given away again",
            _other_attempt,
            when=When("known-by-name", _known_by_name),
        ),
    ),
    fault("RuntimeService.Version.after-restart", answer_error("Version", always), ordinary=False),
    # containerd commit c19193574.
    fault(
        "RuntimeService.Status.starting-code",
        answer_error("Status", _starting, "UNKNOWN", message="server is not initialized yet"),
        ordinary=False,
    ),
    fault("RuntimeService.ExecSync.after-restart", _refused("ExecSync")),
    fault(
        "RuntimeService.ListContainerStats.after-restart",
        _changed("ListContainerStats", "no-stats-of-old", _without_stats),
    ),
    fault(
        "RuntimeService.GetContainerEvents.after-restart",
        drop_messages(
            "GetContainerEvents",
            "stops",
            lambda event: event.container_event_type == types.CONTAINER_STOPPED_EVENT,
            when=_restarted,
        ),
    ),
    fault(
        "ContainerConfig.log_path.after-restart",
        _changed("ContainerStatus", "log-begins-anew", _log_begins_anew),
    ),
    fault(
        "RuntimeService.StopContainer.after-restart",
        _struck(
            "killed-after-restart",
            "StopContainer",
            "what was there before a restart is killed without its signal",
            _killed,
        ),
    ),
    *(
        fault(f"RuntimeService.{rpc}.retry-after-restart", _stuck(rpc))
        for rpc in (
            "RunPodSandbox",
            "StopPodSandbox",
            "RemovePodSandbox",
            "StopContainer",
            "RemoveContainer",
        )
    ),
    fault(
        "RuntimeService.CreateContainer.retry-after-restart",
        together(
            _stuck("CreateContainer"),
            _changed("ListContainers", "unlisted", _without("containers", types.CONTAINER_CREATED)),
            name="half-created-after-restart",
        ),
    ),
    fault(
        "RuntimeService.StartContainer.retry-after-restart",
        together(
            _held("StartContainer"),
            _refused("RemoveContainer"),
            name="half-started-after-restart",
        ),
    ),
]
