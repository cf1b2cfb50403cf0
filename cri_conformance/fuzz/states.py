# SPDX-License-Identifier: Apache-2.0
"""Where each object is in its life, as the calls have told so far, whatever a mode knows of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from cri_conformance.api import types
from cri_conformance.wire.outcome import Ok, Outcome, Refused

#: Objects that are known at most: those that were met first are forgotten.
MOST = 5_000
#: The state of a message of which nobody can say what it names.
BROKEN = "broken message"

_CREATED, _RUNNING, _EXITED = "container created", "container running", "container exited"
_READY, _STOPPED = "sandbox ready", "sandbox stopped"
_PRESENT, _ABSENT = "image present", "image absent"
_SHOWN = {
    types.ContainerState.CONTAINER_CREATED: _CREATED,
    types.ContainerState.CONTAINER_RUNNING: _RUNNING,
    types.ContainerState.CONTAINER_EXITED: _EXITED,
    types.ContainerState.CONTAINER_UNKNOWN: "container unknown",
}


class States:
    """Follows what calls do. A call that was given up is seen by the next status."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        #: Sandbox → containers.
        self._inside: dict[str, list[str]] = {}

    def of(self, request: Message) -> str:
        """The state of the object that a request is about; "" if it is about none.

        Not known is what no call has told of: an id by chance, or what a broken message made.
        """
        kind, name = _about(request)
        return self._states.get(name) or (f"{kind} not known" if kind else "")

    def follow(self, rpc: str, request: Message, outcome: Outcome) -> None:
        """A call was answered."""
        kind, name = _about(request)
        if rpc.endswith("Status") and isinstance(outcome, Refused) and outcome.code == "NOT_FOUND":
            self._goes_to(f"{kind} removed", [name])
        if not isinstance(outcome, Ok):
            return
        response = outcome.response
        if rpc == "RunPodSandbox":
            self._know(response.pod_sandbox_id, _READY)
        elif rpc == "CreateContainer":
            self._inside.setdefault(name, []).append(response.container_id)
            self._know(response.container_id, _CREATED)
        elif rpc == "StartContainer":
            self._know(name, _RUNNING)
        elif rpc == "ContainerStatus":
            self._know(name, _SHOWN.get(response.status.state, "container unknown"))
        elif rpc == "PodSandboxStatus":
            ready = response.status.state == types.PodSandboxState.SANDBOX_READY
            self._know(name, _READY if ready else _STOPPED)
        elif rpc == "PullImage":
            self._know(name, _PRESENT)
        elif rpc == "ImageStatus":
            self._know(name, _PRESENT if response.image.id else _ABSENT)
        elif name in self._states:
            self._ends(rpc, name)

    def _ends(self, rpc: str, name: str) -> None:
        inside = self._inside.get(name, ())
        if rpc == "StopContainer":
            self._goes_to(_EXITED, [name], _RUNNING)
        elif rpc == "RemoveContainer":
            self._goes_to("container removed", [name])
        elif rpc == "StopPodSandbox":
            self._goes_to(_STOPPED, [name], _READY)
            self._goes_to(_EXITED, inside, _RUNNING)
        elif rpc == "RemovePodSandbox":
            self._goes_to("sandbox removed", [name])
            self._goes_to("container removed", inside)
        elif rpc == "RemoveImage":
            # Other names of it may be gone too: the next look tells.
            present = [one for one, state in self._states.items() if state == _PRESENT]
            self._goes_to("", present)
            self._know(name, _ABSENT)

    def _goes_to(self, state: str, names: Iterable[str], before: str = "") -> None:
        for name in names:
            if name in self._states and before in ("", self._states[name]):
                self._states[name] = state

    def _know(self, name: str, state: str) -> None:
        self._states[name] = state
        if len(self._states) > MOST:
            oldest = next(iter(self._states))
            del self._states[oldest]
            self._inside.pop(oldest, None)


def _about(request: Any) -> tuple[str, str]:
    """The kind of object that a request is about, and its id or name."""
    fields = request.DESCRIPTOR.fields_by_name
    if "container_id" in fields:
        return "container", request.container_id
    if "pod_sandbox_id" in fields:
        return "sandbox", request.pod_sandbox_id
    if "image" in fields:
        return "image", request.image.image
    return "", ""
