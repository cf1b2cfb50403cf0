# SPDX-License-Identifier: Apache-2.0
"""What is measured: lives of objects, step by step, as a kubelet leads them."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from cri_conformance.api import types
from cri_conformance.registry import oci
from cri_conformance.registry.server import Registry
from cri_conformance.suite.pulls import Pulls
from cri_conformance.target import Target
from cri_conformance.wire.outcome import answer
from cri_conformance.wire.runtime import Runtime

T = TypeVar("T")

#: Seconds that a step may take before it counts as failed.
DEADLINE = 60.0
#: Containers that there are to look for, and bytes of an image's layer that nothing compresses.
TO_LIST, LAYER = 10, 1 << 20


class Lap:
    """The steps of one iteration, timed."""

    def __init__(self) -> None:
        self.steps: dict[str, float] = {}

    def __call__(self, step: str, call: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = call()
        self.steps[step] = time.perf_counter() - start
        return result


@dataclass(frozen=True)
class Bench:
    """What scenarios work with."""

    target: Target
    registry: Registry | None


#: One iteration; what it takes with it is made before the clock runs.
Iteration = Callable[[Lap], None]


def _get(runtime: Runtime, rpc: str, **fields: Any) -> Any:
    return answer(runtime.call(rpc, deadline=DEADLINE, **fields), rpc)


@contextlib.contextmanager
def sandbox(bench: Bench, count: int) -> Iterator[list[Iteration]]:
    """A pod sandbox from RunPodSandbox to RemovePodSandbox."""
    with bench.target.scope() as runtime:

        def one(lap: Lap) -> None:
            config = runtime.sandbox_config()
            made = lap("RunPodSandbox", lambda: runtime.sandbox(config))
            name = {"pod_sandbox_id": made.id}
            lap("PodSandboxStatus", lambda: _get(runtime, "PodSandboxStatus", **name))
            lap("StopPodSandbox", lambda: _get(runtime, "StopPodSandbox", **name))
            lap("RemovePodSandbox", lambda: _get(runtime, "RemovePodSandbox", **name))

        yield [one] * count


@contextlib.contextmanager
def container(bench: Bench, count: int) -> Iterator[list[Iteration]]:
    """A container in a sandbox that is there: made, started, used, stopped, removed."""
    with bench.target.scope() as runtime:
        home = runtime.sandbox()

        def one(lap: Lap) -> None:
            config = runtime.container_config(home)
            made = lap("CreateContainer", lambda: runtime.container(home, config))
            name = {"container_id": made.id}
            lap("StartContainer", lambda: _get(runtime, "StartContainer", **name))
            lap("ContainerStatus", lambda: _get(runtime, "ContainerStatus", **name))
            lap(
                "ExecSync", lambda: _get(runtime, "ExecSync", cmd=["/bin/true"], timeout=30, **name)
            )
            lap("StopContainer", lambda: _get(runtime, "StopContainer", timeout=0, **name))
            lap("RemoveContainer", lambda: _get(runtime, "RemoveContainer", **name))

        yield [one] * count


@contextlib.contextmanager
def pod(bench: Bench, count: int) -> Iterator[list[Iteration]]:
    """A pod of one container: until it runs, and until nothing of it is left."""
    with bench.target.scope() as runtime:

        def up() -> str:
            home = runtime.sandbox()
            runtime.running(home)
            return home.id

        def one(lap: Lap) -> None:
            name = {"pod_sandbox_id": lap("until it runs", up)}

            def down() -> None:
                _get(runtime, "StopPodSandbox", **name)
                _get(runtime, "RemovePodSandbox", **name)

            lap("until it is gone", down)

        yield [one] * count


@contextlib.contextmanager
def image(bench: Bench, count: int) -> Iterator[list[Iteration]]:
    """An image of one MiB, never seen before: pulled from the suite's own registry, removed."""
    assert bench.registry
    architecture = bench.target.facts.architecture
    with bench.target.scope() as runtime:
        pulls = Pulls(runtime, bench.registry, architecture)
        with contextlib.closing(pulls):
            # Packed before the clock runs: that is our own work.
            layers = [oci.layer([oci.File("data", os.urandom(LAYER))]) for _ in range(count)]
            served = [pulls.serve(pulls.image(layer)) for layer in layers]

            def iteration(reference: str) -> Iteration:
                spec = types.ImageSpec(image=reference, user_specified_image=reference)

                def one(lap: Lap) -> None:
                    lap("PullImage", lambda: answer(pulls.pull(reference, DEADLINE), "PullImage"))
                    lap("ImageStatus", lambda: _get(runtime, "ImageStatus", image=spec))
                    lap("ListImages", lambda: _get(runtime, "ListImages"))
                    lap("RemoveImage", lambda: _get(runtime, "RemoveImage", image=spec))

                return one

            yield [iteration(one.reference) for one in served]


@contextlib.contextmanager
def lookups(bench: Bench, count: int) -> Iterator[list[Iteration]]:
    """What a kubelet asks all the time, where there are ten containers more."""
    with bench.target.scope() as runtime:
        home = runtime.sandbox()
        made = [runtime.container(home) for _ in range(TO_LIST)]
        name = {"container_id": made[0].id}

        def one(lap: Lap) -> None:
            lap("Version", lambda: _get(runtime, "Version"))
            lap("ContainerStatus", lambda: _get(runtime, "ContainerStatus", **name))
            lap("ListContainers", lambda: _get(runtime, "ListContainers"))
            lap("ListPodSandbox", lambda: _get(runtime, "ListPodSandbox"))

        yield [one] * count


Scenario = Callable[[Bench, int], contextlib.AbstractContextManager[list[Iteration]]]
SCENARIOS: dict[str, Scenario] = {
    "sandbox": sandbox,
    "container": container,
    "pod": pod,
    "image": image,
    "lookups": lookups,
}
