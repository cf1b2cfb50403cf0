# SPDX-License-Identifier: Apache-2.0
"""When a fault strikes: named conditions on a call, for the ``when`` of an operator.

They combine with ``&``, ``|`` and ``~``. A condition of one's own:
``When("long", lambda call, memory: call.request.timeout > 5)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.api.status import StatusError
from cri_conformance.faults.fault import Call
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.paths import Path

#: Seconds a call is held open, so that another which was sent at the same time overlaps it.
WINDOW = 0.03


@dataclass(frozen=True, slots=True)
class When:
    """A named condition. The name becomes part of the fault's id."""

    name: str
    test: Callable[[Call, Memory], bool]

    def __call__(self, call: Call, memory: Memory) -> bool:
        return bool(self.test(call, memory))

    def __and__(self, other: When) -> When:
        return When(f"{self.name}-and-{other.name}", lambda c, m: self(c, m) and other(c, m))

    def __or__(self, other: When) -> When:
        return When(f"{self.name}-or-{other.name}", lambda c, m: self(c, m) or other(c, m))

    def __invert__(self) -> When:
        return When(f"not-{self.name}", lambda c, m: not self(c, m))


always = When("", lambda call, memory: True)


# -- by the request ---------------------------------------------------------------------


def requested(path: str, value: Any) -> When:
    """A field of the request has this value (in any of the path's places)."""
    return When(
        f"{path}={value}",
        lambda call, memory: any(p.value == value for p in _places(call, path)),
    )


def given(path: str) -> When:
    """A field of the request is set, non-empty, or other than its default."""
    return When(path, lambda call, memory: any(p.present for p in _places(call, path)))


def missing(path: str) -> When:
    """A field of the request is not set, is empty, or has its default."""
    return When(f"no-{path}", lambda call, memory: not given(path)(call, memory))


def _places(call: Call, path: str) -> Any:
    return Path.parse(RPCS[call.rpc].request, path).places(call.request)


empty_id = When("empty-id", lambda call, memory: not subject(call.rpc, call.request))


# -- by what is there upstream ----------------------------------------------------------


def status_of(call: Call) -> Any:
    """The status that the runtime gives of a call's object; None if it knows of none."""
    container = getattr(call.request, "container_id", "")
    sandbox = getattr(call.request, "pod_sandbox_id", "")
    try:
        if container:
            request = types.ContainerStatusRequest(container_id=container)
            return call.upstream("ContainerStatus", request).status
        if sandbox:
            asked = types.PodSandboxStatusRequest(pod_sandbox_id=sandbox)
            return call.upstream("PodSandboxStatus", asked).status
    except StatusError:
        pass
    return None


known = When("known", lambda call, memory: status_of(call) is not None)
#: An id that the runtime does not know: never given out, or removed.
unknown = When(
    "unknown",
    lambda call, memory: bool(subject(call.rpc, call.request)) and status_of(call) is None,
)
#: An id that was there in this session and is removed.
removed = When("removed", lambda call, memory: memory.removed(subject(call.rpc, call.request)))
#: An id that no object of this session ever had, and none has now.
never_known = When("never-known", lambda c, m: unknown(c, m) and not removed(c, m))


def in_state(state: str) -> When:
    """The object is in this state upstream, as in ``in_state("CONTAINER_EXITED")``."""
    kind = types.ContainerState if state.startswith("CONTAINER_") else types.PodSandboxState
    wanted: int = kind.Value(state)

    def test(call: Call, memory: Memory) -> bool:
        status = status_of(call)
        # The two enums share their numbers: the kind of object must fit as well.
        fits = isinstance(status, types.ContainerStatus) == state.startswith("CONTAINER_")
        return status is not None and fits and status.state == wanted

    return When(state, test)


# -- by what was -------------------------------------------------------------------------

#: The same call on the same object has succeeded before.
again = When("second", lambda c, m: m.times(c.rpc, subject(c.rpc, c.request)) > 0)


def after(rpc: str) -> When:
    """``rpc`` has succeeded on this object, or on the sandbox that it was made in."""
    if rpc not in RPCS:
        raise ValueError(f"the contract has no call {rpc}")
    return When(f"after-{rpc}", lambda c, m: m.happened(rpc, subject(c.rpc, c.request)))


def from_time(nth: int) -> When:
    """From the n-th call of this kind in the session on (counted by those that succeeded)."""
    return When(f"from-{nth}", lambda call, memory: memory.times(call.rpc) >= nth - 1)


def every(nth: int) -> When:
    """Every n-th call of this kind in the session, the first not among them for n > 1."""
    return When(
        f"every-{nth}",
        lambda call, memory: memory.count(("every", call.rpc, nth)) % nth == nth - 1,
    )


# -- by what is under way at the same time ------------------------------------------------


def _overlaps(call: Call, memory: Memory) -> bool:
    about = subject(call.rpc, call.request)
    return memory.await_running(call.rpc, about, 2, WINDOW)


def _in_company(call: Call, memory: Memory) -> bool:
    return memory.await_running(call.rpc, None, 2, WINDOW)


#: Another call of the same kind on the same object is under way (holds a lone call shortly).
overlapping = When("overlapping", _overlaps)
#: Another call of the same kind is under way, on any object (holds a lone call shortly).
in_company = When("in-company", _in_company)


def during(rpc: str) -> When:
    """A call of ``rpc`` is under way, on any object."""
    if rpc not in RPCS:
        raise ValueError(f"the contract has no call {rpc}")
    return When(f"during-{rpc}", lambda call, memory: memory.running(rpc) > 0)
