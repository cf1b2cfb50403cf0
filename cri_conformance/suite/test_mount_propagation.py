# SPDX-License-Identifier: Apache-2.0
"""Mounts made after the start, on either side: which of them the other side sees.

One privileged container has a mount of each kind, makes a mount in each, and is asked for
those that the host made meanwhile. The host's folder is a shared mount of our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.mounting import mount, mounting, own_folder, report, reporting, started
from cri_conformance.wire import host_mounts
from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import Runtime

pytestmark = pytest.mark.usefixtures("isolation")

_KINDS = {
    "PRIVATE": types.PROPAGATION_PRIVATE,
    "HOST_TO_CONTAINER": types.PROPAGATION_HOST_TO_CONTAINER,
    "BIDIRECTIONAL": types.PROPAGATION_BIDIRECTIONAL,
}
#: The promises, and what each says: whether a mount of one side is seen on the other.
_PROMISES = {
    "PRIVATE.host-stays-out": ("host", False),
    "PRIVATE.container-stays-in": ("container", False),
    "HOST_TO_CONTAINER.host-comes-in": ("host", True),
    "HOST_TO_CONTAINER.container-stays-in": ("container", False),
    "BIDIRECTIONAL.host-comes-in": ("host", True),
    "BIDIRECTIONAL.container-goes-out": ("container", True),
}


@dataclass(frozen=True, slots=True)
class Passed:
    """By kind: whether the other side saw the mount that the host made, and the container's."""

    container: str
    seen: dict[tuple[str, str], bool]


@pytest.fixture(scope="module")
def passed(module_runtime: Runtime, host: Host) -> Iterator[Passed]:
    """See above."""
    runtime = module_runtime
    config = runtime.sandbox_config()
    config.linux.security_context.privileged = True
    sandbox = runtime.sandbox(config)
    with own_folder(runtime, sandbox) as folder:
        with mounting():
            host_mounts.shared(folder)
        mounts, script = [], ["v early /cri/PRIVATE/early/word"]
        for kind, propagation in _KINDS.items():
            for name in ("early", "host", "container"):
                (folder / kind / name).mkdir(parents=True)
            with mounting():
                host_mounts.tmpfs(folder / kind / "early")
            (folder / kind / "early" / "word").write_text("early", encoding="utf-8")
            place = f"/cri/{kind}"
            mounts.append(mount(folder / kind, place, propagation=propagation))
            made = f"mount -t tmpfs none {place}/container && : > {place}/container/word"
            script.append(f"t mounts-{kind} sh -c '{made}'")
        container, outcome = started(
            runtime,
            sandbox,
            reporting(runtime, sandbox, mounts, "; ".join(script), privileged=True),
        )
        if container is None:
            raise NotExercised(Reason.NEEDS_HOST, f"no such mounts can be made there: {outcome}")
        found = report(runtime, container)
        if found["early"] != "early":
            raise NotExercised(Reason.NEEDS_HOST, "our mounts are not the runtime's")
        if "no" in (found[f"mounts-{kind}"] for kind in _KINDS):
            raise NotExercised(Reason.NEEDS_HOST, "a privileged container can't mount there")
        seen = {}
        for kind in _KINDS:
            host_mounts.tmpfs(folder / kind / "host")
            (folder / kind / "host" / "word").touch()
            look = runtime.exec(container, "test", "-e", f"/cri/{kind}/host/word")
            seen[kind, "host"] = look.exit_code == 0
            seen[kind, "container"] = (folder / kind / "container" / "word").exists()
        yield Passed(container.id, seen)


@pytest.mark.parametrize(
    "promise",
    [
        pytest.param(name, marks=clause(f"MountPropagation.PROPAGATION_{name}"), id=name)
        for name in _PROMISES
    ],
)
def test_propagation(promise: str, passed: Passed, judge: Judge) -> None:
    side, wanted = _PROMISES[promise]
    judge.equal(
        f"MountPropagation.PROPAGATION_{promise}",
        passed.seen[promise.partition(".")[0], side],
        wanted,
        f"the mount that the {side} made is seen on the other side:",
        about=[passed.container],
    )
