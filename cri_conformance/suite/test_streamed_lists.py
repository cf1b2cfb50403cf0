# SPDX-License-Identifier: Apache-2.0
"""Streamed lists: what they bring is what their twins list, in parts, each item once.

A kubelet takes a stream where a node has more than fits into one message. It puts the
parts together and drops them all if the end does not come. So a stream is held against
lists taken before and after it: what both have must be there, what neither has must not.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.population import ROLE, TIER, Kind, Member, Population
from cri_conformance.suite.streamed import CONTAINERS, IMAGES, SANDBOXES, TWINS, WITHIN, Twin
from cri_conformance.wire.outcome import Ok, Refused
from cri_conformance.wire.runtime import Runtime, Sandbox

pytestmark = pytest.mark.xdist_group("population")

#: Seconds that another call may take while a slow client takes its time.
PROMPT = 5.0
#: Slow clients at the same time, and bytes of annotations that make them slow: more than
#: fits into what lies on the way between a runtime and its client.
_SLOW, _ITEMS, _LARGE = 4, 16, 60_000


@pytest.fixture
def there(request: pytest.FixtureRequest, runtime: Runtime, judge: Judge) -> Twin:
    """The twin that a test is about, if the runtime has it: asked before anything is made."""
    twin: Twin = request.param
    with runtime.stream(twin.rpc, deadline=WITHIN) as stream:
        stream.next(within=WITHIN)
        outcome = None if stream.messages else stream.outcome
    if isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED":
        judge.skip(Reason.YOUNGER, f"the runtime has no {twin.rpc}")
    return twin


def _each(
    *promises: str, of: tuple[Twin, ...] = TWINS, items: bool = False
) -> pytest.MarkDecorator:
    """Parametrise a test over streams that the runtime has, bound to these promises of each."""
    return pytest.mark.parametrize(
        "there",
        [
            pytest.param(
                twin,
                marks=clause(
                    *(twin.clause(promise) for promise in promises),
                    *([twin.item_clause] if items else []),
                ),
                id=twin.rpc,
            )
            for twin in of
        ],
        indirect=True,
    )


@pytest.fixture(scope="module")
def few(module_runtime: Runtime) -> Population:
    """A few to choose from: enough for what is measured, which costs more for each."""
    sandboxes, containers = [], []
    for role in ("web", "db"):
        labels = {ROLE: role, TIER: "front"}
        home = module_runtime.sandbox(labels=labels)
        sandboxes.append(Member(home.id, types.SANDBOX_READY, labels))
        container = module_runtime.running(home, labels=labels)
        containers.append(Member(container.id, types.CONTAINER_RUNNING, labels, home.id))
    return Population(
        Kind("ListPodSandbox", tuple(sandboxes)), Kind("ListContainers", tuple(containers))
    )


def _settled(twin: Twin, request: pytest.FixtureRequest) -> Population:
    many: Population = request.getfixturevalue(
        "population" if twin in (SANDBOXES, CONTAINERS) else "few"
    )
    return many


@_each("same-as-list", "each-once", "parts-not-empty", "ends", items=True)
def test_a_stream_brings_what_its_twin_lists(
    runtime: Runtime,
    there: Twin,
    request: pytest.FixtureRequest,
    judge: Judge,
    patience: Callable[[float], float],
) -> None:
    _settled(there, request)
    before, stream, after = there.looks(runtime, judge, patience(WITHIN))
    came = {there.key(item): item for item in there.items(stream)}
    # First: what is missing may leave an empty part.
    there.compare(judge, there.clause("same-as-list"), came, [before, after])
    there.whole(judge, stream)
    for name, item in came.items():
        if there.ours(runtime, name) and name in before and name in after:
            steady = there.steady(before[name])
            if steady == there.steady(after[name]):
                judge.equal(
                    there.item_clause, there.steady(item), steady, f"{name[:12]}", about=[name]
                )
    if not any(there.ours(runtime, name) for name in came):
        judge.not_exercised(there.item_clause, Reason.NOT_ADVERTISED, "there is nothing to list")


def _filters(twin: Twin, population: Population) -> Iterator[Any]:
    """Filters that select one, some, and none."""
    unknown = secrets.token_hex(32)
    if twin.rpc == "StreamImages":
        yield types.ImageFilter(image=types.ImageSpec(image=f"localhost/{unknown}:none"))
        return
    name = {
        "StreamPodSandboxes": "PodSandboxFilter",
        "StreamContainers": "ContainerFilter",
        "StreamContainerStats": "ContainerStatsFilter",
        "StreamPodSandboxStats": "PodSandboxStatsFilter",
    }[twin.rpc]
    make = getattr(types, name)
    of_containers = name.startswith("Container")
    members = (population.containers if of_containers else population.sandboxes).members
    yield make(id=members[-1].id)
    yield make(id=unknown)
    yield make(label_selector={ROLE: "web"})
    yield make(label_selector={ROLE: "db", TIER: "front"})
    yield make(label_selector={ROLE: unknown})
    yield make()
    if of_containers:
        yield make(pod_sandbox_id=population.containers.members[0].owner)
    if twin.rpc == "StreamPodSandboxes":
        yield from (make(state={"state": state}) for state in types.PodSandboxState.values())
    if twin.rpc == "StreamContainers":
        for state in types.ContainerState.values():
            yield make(state={"state": state}, label_selector={ROLE: "web"})


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(
            twin,
            marks=clause(
                twin.filter_clause,
                *(twin.clause(promise) for promise in ("each-once", "parts-not-empty", "ends")),
            ),
            id=twin.rpc,
        )
        for twin in TWINS
        if twin.filtered
    ],
    indirect=True,
)
def test_a_filter_selects_what_it_selects_in_the_list(
    runtime: Runtime,
    there: Twin,
    request: pytest.FixtureRequest,
    judge: Judge,
    patience: Callable[[float], float],
) -> None:
    wanted = list(_filters(there, _settled(there, request)))
    if there.rpc == "StreamImages":
        image = types.ImageSpec(image=runtime.workshop.image)
        wanted.append(types.ImageFilter(image=image))
    for one in wanted:
        before, stream, after = there.looks(runtime, judge, patience(WITHIN), one)
        there.whole(judge, stream)
        came = [there.key(item) for item in there.items(stream)]
        there.compare(judge, there.filter_clause, came, [before, after])


@pytest.mark.parametrize(
    "there",
    [
        pytest.param(twin, marks=clause(twin.slow_clause), id=twin.rpc)
        for twin in (SANDBOXES, CONTAINERS, IMAGES)
    ],
    indirect=True,
)
def test_slow_clients_hold_up_nobody(
    runtime: Runtime, there: Twin, judge: Judge, patience: Callable[[float], float]
) -> None:
    # Images can't be made large: of them each client takes one part, or none.
    made = set(there.list_all(runtime, judge)) if there is IMAGES else _make_large(runtime, there)
    promise, within = there.slow_clause, patience(PROMPT)
    config = runtime.sandbox_config()
    with runtime.client.another(narrow=True) as client:
        slow = [client.stream(there.rpc, deadline=60.0, lazy=True) for _ in range(_SLOW)]
        # Some have taken one part, some none at all.
        for stream in slow[::2]:
            stream.next(within=WITHIN)
        asked: dict[str, dict[str, Any]] = {
            there.lister: {},
            "RunPodSandbox": {"config": config, "runtime_handler": runtime.workshop.handler},
            "Status": {},
        }
        for rpc, fields in asked.items():
            begun = time.monotonic()
            judge.ok(promise, runtime.call(rpc, deadline=within, **fields))
            took = time.monotonic() - begun
            judge.within(promise, took, at_most=within, what=f"{rpc} beside slow clients")
        for stream in slow[: _SLOW // 2]:
            stream.cancel()
        beside = runtime.stream(there.rpc, deadline=within)
        rest = [("a slow client", stream) for stream in slow[_SLOW // 2 :]]
        for who, stream in [("a quick client", beside), *rest]:
            ended = stream.finish(within)
            came = {there.key(item) for item in there.items(stream)}
            # What others remove meanwhile need not be there.
            missing = (made - came).intersection(there.list_all(runtime, judge))
            judge.that(
                promise,
                isinstance(ended, Ok) and not missing,
                permitted=f"{who} gets all, after others have left amid the stream",
                actual=f"{ended or 'still open'}, {len(missing)} missing",
            )


def _make_large(runtime: Runtime, twin: Twin) -> set[str]:
    large = {"filled.example/with": "x" * _LARGE}
    if twin is SANDBOXES:
        return {runtime.sandbox(annotations=large).id for _ in range(_ITEMS // 2)}
    sandbox = runtime.sandbox()
    made = set()
    for _ in range(_ITEMS):
        config = runtime.container_config(sandbox)
        config.annotations.update(large)
        made.add(runtime.container(sandbox, config).id)
    return made


@_each("during-churn", of=(SANDBOXES, CONTAINERS))
def test_a_stream_amid_changes_has_all_that_stay(
    runtime: Runtime, there: Twin, shared_sandbox: Sandbox, judge: Judge
) -> None:
    promise = there.clause("during-churn")
    stay = {runtime.container(shared_sandbox).id} if there is CONTAINERS else {shared_sandbox.id}
    enough = threading.Event()

    def churn() -> None:
        while not enough.is_set():
            if there is CONTAINERS:
                made = runtime.container(shared_sandbox).id
                runtime.call("RemoveContainer", container_id=made)
            else:
                made = runtime.sandbox().id
                runtime.call("RemovePodSandbox", pod_sandbox_id=made)

    thread = threading.Thread(target=churn, name="churn")
    thread.start()
    try:
        for _ in range(20):
            stream = runtime.stream(there.rpc, deadline=WITHIN)
            outcome = stream.finish(WITHIN)
            came = [there.key(item) for item in there.items(stream)]
            judge.that(
                promise,
                isinstance(outcome, Ok) and stay <= set(came),
                permitted="the stream ends well, with all that were there all the time",
                actual=f"{outcome or 'still open'}; {len(stay - set(came))} missing",
                about=stay,
            )
    finally:
        enough.set()
        thread.join()
