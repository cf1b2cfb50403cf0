# SPDX-License-Identifier: Apache-2.0
"""What a fault remembers of its session: which calls succeeded on what, and which are under way."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from cri_conformance.faults.fault import Call

#: Calls that end an object for good.
_REMOVALS = {"RemovePodSandbox", "RemoveContainer"}


def subject(rpc: str, request: Any) -> str:
    """What a call is about: an id, or for a call that makes something its whole metadata."""
    if rpc in ("RunPodSandbox", "CreateContainer"):
        owner = getattr(request, "pod_sandbox_id", "")
        metadata = request.config.metadata.SerializeToString(deterministic=True)
        return f"{owner}/{metadata.hex()}"
    for field in ("container_id", "pod_sandbox_id"):
        if value := getattr(request, field, ""):
            return str(value)
    if rpc in ("PullImage", "RemoveImage", "ImageStatus"):
        return str(request.image.image)
    return ""


class Memory:
    """One session's memory. Safe to use from several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._succeeded: Counter[tuple[str, str]] = Counter()
        self._running: Counter[tuple[str, str]] = Counter()
        self._sandbox_of: dict[str, str] = {}
        self._kept: dict[Any, Any] = {}
        self._turn = threading.Lock()

    # -- what was -------------------------------------------------------------------

    def times(self, rpc: str, about: str | None = None) -> int:
        """How often ``rpc`` has succeeded, on one object if ``about`` names it."""
        with self._changed:
            if about is not None:
                return self._succeeded[rpc, about]
            return sum(n for (name, _), n in self._succeeded.items() if name == rpc)

    def happened(self, rpc: str, object_id: str) -> bool:
        """Whether ``rpc`` has succeeded on an object, or on the sandbox that it was made in."""
        with self._changed:
            owner = self._sandbox_of.get(object_id, "")
            return any(self._succeeded[rpc, name] for name in (object_id, owner) if name)

    def removed(self, object_id: str) -> bool:
        """Whether an object was there in this session and is not any more."""
        return any(self.happened(rpc, object_id) for rpc in _REMOVALS)

    def made(self, object_id: str) -> bool:
        """Whether an object was made in this session."""
        return any(self.times(rpc, object_id) for rpc in ("RunPodSandbox", "CreateContainer"))

    def sandbox_of(self, container_id: str) -> str:
        """The sandbox that a container was made in; "" if not seen."""
        with self._changed:
            return self._sandbox_of.get(container_id, "")

    def kept(self, key: Any, make: Callable[[], Any]) -> Any:
        """A value kept under a key, made at its first use."""
        with self._changed:
            if key not in self._kept:
                self._kept[key] = make()
            return self._kept[key]

    def keep(self, key: Any, value: Any) -> Any:
        """Keep a value under a key in place of what was there, which is returned (or None)."""
        with self._changed:
            before = self._kept.get(key)
            self._kept[key] = value
            return before

    def count(self, key: Any) -> int:
        """How often this was asked for a key before, counting up."""
        with self._changed:
            before: int = self._kept.get(("count", key), 0)
            self._kept["count", key] = before + 1
            return before

    # -- what is under way ----------------------------------------------------------

    def running(self, rpc: str, about: str | None = None) -> int:
        """How many calls of ``rpc`` are under way now."""
        with self._changed:
            return self._now(rpc, about)

    def await_running(self, rpc: str, about: str | None, wanted: int, seconds: float) -> bool:
        """Wait until so many calls are under way; whether they were within ``seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: self._now(rpc, about) >= wanted, seconds)

    def await_none(self, rpc: str, seconds: float) -> bool:
        """Wait until no call of ``rpc`` is under way; whether that was within ``seconds``."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._now(rpc, None), seconds)

    @contextlib.contextmanager
    def turn(self, seconds: float) -> Iterator[None]:
        """One at a time in this block; after ``seconds`` of waiting nobody waits any longer."""
        got = self._turn.acquire(timeout=seconds)
        try:
            yield
        finally:
            if got:
                self._turn.release()

    def _now(self, rpc: str, about: str | None) -> int:
        if about is not None:
            return self._running[rpc, about]
        return sum(n for (name, _), n in self._running.items() if name == rpc)

    # -- how it learns --------------------------------------------------------------

    @contextlib.contextmanager
    def during(self, call: Call) -> Iterator[None]:
        """Count a call as under way."""
        key = (call.rpc, subject(call.rpc, call.request))
        with self._changed:
            self._running[key] += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._running[key] -= 1
                if not self._running[key]:
                    del self._running[key]
                self._changed.notify_all()

    def learn(self, call: Call, response: Any) -> None:
        """Note that a call succeeded."""
        with self._changed:
            self._succeeded[call.rpc, subject(call.rpc, call.request)] += 1
            if call.rpc == "RunPodSandbox":
                self._succeeded[call.rpc, response.pod_sandbox_id] += 1
            elif call.rpc == "CreateContainer":
                self._succeeded[call.rpc, response.container_id] += 1
                self._sandbox_of[response.container_id] = call.request.pod_sandbox_id
