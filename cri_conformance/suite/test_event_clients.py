# SPDX-License-Identifier: Apache-2.0
"""Several clients that listen to events: each gets all, and none is another's burden.

On a node the kubelet is one of them and whoever looks with a tool is another. If one took
events away from the other, or held it up, the kubelet would be blind for minutes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite import watching
from cri_conformance.suite.watching import CREATED, DELETED, RPC, WITHIN, Watch
from cri_conformance.wire.outcome import Outcome, answer
from cri_conformance.wire.runtime import Runtime, Sandbox
from cri_conformance.wire.stream import Stream

pytestmark = [pytest.mark.xdist_group("events"), pytest.mark.disturbs("load")]

_CALL = "RuntimeService.GetContainerEvents"
#: Clients that listen, and containers that come and go meanwhile.
_CLIENTS, _LIVES = 3, 4
#: Seconds that a call may take beside a client that does not read.
_PROMPT = 1.0
#: What makes a slow client slow: so many events, of so many bytes each. Those on their way to
#: it and those that a runtime keeps for it must be fewer.
_PAIRS, _LARGE = 70, 20_000


def _come_and_go(runtime: Runtime, place: Sandbox, lives: int = _LIVES) -> list[str]:
    made = []
    for _ in range(lives):
        made.append(runtime.container(place).id)
        runtime.get("RemoveContainer", container_id=made[-1])
    return made


def _judge_all(
    judge: Judge, clause_id: str, watch: Watch, who: str, made: list[str], within: float
) -> None:
    for one in made:
        watch.wait(one, DELETED, within)
        judge.equal(
            clause_id,
            watch.kinds(one),
            [CREATED, DELETED],
            f"{who} is told of a container that was created and removed:",
            about=[one],
        )


@clause(f"{_CALL}.every-client")
@clause(f"{_CALL}.client-gone")
@clause(f"{_CALL}.reconnect")
def test_each_client_gets_all(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge, patience: Callable[[float], float]
) -> None:
    within = patience(WITHIN)
    clients = [runtime.client.another() for _ in range(_CLIENTS)]
    try:
        watches = watching.judged(
            judge,
            f"{_CALL}.every-client",
            lambda: watching.listen(runtime, shared_sandbox, *clients),
        )
        made = _come_and_go(runtime, shared_sandbox)
        for n, watch in enumerate(watches):
            _judge_all(judge, f"{_CALL}.every-client", watch, f"client {n}", made, within)
        # One says that it leaves, another is just no longer there.
        watches[0].stream.cancel()
        clients[1].close()
        made = _come_and_go(runtime, shared_sandbox)
        _judge_all(judge, f"{_CALL}.client-gone", watches[2], "who stays", made, within)
        try:
            again = watching.listen(runtime, shared_sandbox, clients[0])
        except (watching.Unavailable, watching.NoEvents) as failed:
            # It had events before: that there are none now is no lack of the runtime's.
            again = []
            judge.that(
                f"{_CALL}.reconnect",
                False,
                permitted="a client that has left can listen again",
                actual=failed,
            )
        made = _come_and_go(runtime, shared_sandbox)
        for watch in again:
            _judge_all(judge, f"{_CALL}.reconnect", watch, "who came again", made, within)
    finally:
        for client in clients:
            client.close()


def _has_begun(runtime: Runtime, place: Sandbox, slow: Stream) -> bool:
    """Whether a stream of which nothing is taken unasked is told what happens."""
    for _ in range(5):
        made = _come_and_go(runtime, place, 1)[0]
        while (event := slow.next(within=1.0)) is not None:
            if event.container_id == made:
                return True
    return False


def _held_up(runtime: Runtime, place: Sandbox, slow: Stream) -> str:
    """Which call was held up until the slow client was made to leave, in words; "" for none.

    It leaves soon: while it is there, it may hold up others on this node as well.
    """

    took = 0.0

    def timed(rpc: str, **fields: Any) -> Outcome:
        nonlocal took
        begun = time.monotonic()
        leaving = threading.Timer(_PROMPT, slow.cancel)
        leaving.start()
        outcome = runtime.call(rpc, deadline=20.0, **fields)
        leaving.cancel()
        took = time.monotonic() - begun
        return outcome

    for n in range(_PAIRS):
        made = timed(
            "CreateContainer",
            pod_sandbox_id=place.id,
            config=runtime.container_config(place),
            sandbox_config=place.config,
        )
        if took >= _PROMPT:
            return f"after {2 * n} events CreateContainer took {took:.1f} s"
        timed("RemoveContainer", container_id=answer(made, "CreateContainer").container_id)
        if took >= _PROMPT:
            return f"after {2 * n + 1} events RemoveContainer took {took:.1f} s"
    return ""


@clause(f"{_CALL}.slow-reader")
def test_a_client_that_does_not_read_holds_up_nobody(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    promise = f"{_CALL}.slow-reader"
    (reader,) = watching.judged(judge, promise, lambda: watching.listen(runtime, shared_sandbox))
    place = runtime.sandbox(annotations={"filled.example/with": "x" * _LARGE})
    # Once may be chance, on a node that is busy.
    for _ in range(2):
        with runtime.client.another(narrow=True) as client:
            slow = client.stream(RPC, deadline=60.0, lazy=True)
            if not _has_begun(runtime, shared_sandbox, slow):
                judge.skip(Reason.NOT_ADVERTISED, "a second stream is told of nothing")
            held_up = _held_up(runtime, place, slow)
        if not held_up:
            break
    judge.that(
        promise,
        not held_up,
        permitted=f"each call is answered within {_PROMPT:g} s beside a client that reads nothing",
        actual=f"{held_up}, until that client was made to leave",
    )
    judge.that(
        promise,
        watching.lit(runtime, shared_sandbox, [reader]),
        permitted="another client is told of what happens",
        actual="it is told of nothing any more",
    )
