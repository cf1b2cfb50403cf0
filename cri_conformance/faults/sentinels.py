# SPDX-License-Identifier: Apache-2.0
"""Plain use of every call of the core, under a fault: what has nothing to do with it must hold.

A fault that answers every call with an error would kill any test. So after the tests
of its clauses, one plain life of a sandbox and a container is walked through, and
what breaks there speaks against the fault.
"""

from __future__ import annotations

from typing import Any, TypedDict

import pytest

from cri_conformance.api import types
from cri_conformance.faults.fault import Fault
from cri_conformance.wire.outcome import Ok, RuntimeGone, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Seconds that any call of the walk may take.
DEADLINE = 5.0


class Finding(TypedDict):
    """What broke in a walk: ``uses`` are the calls by which it was seen."""

    clause: str
    refused: bool
    uses: list[str]
    seen: str


#: Where the walk's test leaves what it found.
FINDINGS = pytest.StashKey[list[Finding]]()


class _Blocked(Exception):
    """The walk can't go on."""


class Walk:
    """One walk through a scope. ``findings`` is what broke."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._used: list[str] = []
        self.findings: list[Finding] = []

    def run(self) -> list[Finding]:
        """Walk as far as it goes."""
        try:
            self._node()
            sandbox = self._sandbox()
            container = self._container(sandbox)
            self._end(sandbox, container)
        except _Blocked:
            pass
        except (SetupFailed, RuntimeGone) as error:
            self._note("", self._used, str(error), refused=True)
        return self.findings

    def _node(self) -> None:
        version = self._call("Version", version="v1")
        self._holds(
            "VersionResponse.runtime_name.not-empty", ["Version"], version.runtime_name != ""
        )
        ready = {c.type: c.status for c in self._call("Status").status.conditions}
        self._holds(
            "RuntimeStatus.conditions.runtime-ready", ["Status"], ready.get("RuntimeReady") is True
        )

    def _sandbox(self) -> Sandbox:
        config = self._runtime.sandbox_config()
        handler = self._runtime.workshop.handler
        made = self._call("RunPodSandbox", config=config, runtime_handler=handler).pod_sandbox_id
        status = self._call("PodSandboxStatus", pod_sandbox_id=made).status
        seen = ["RunPodSandbox", "PodSandboxStatus"]
        self._holds(
            "RuntimeService.RunPodSandbox.ready-on-success",
            seen,
            status.state == types.SANDBOX_READY,
        )
        self._holds(
            "PodSandboxMetadata.name.in-status", seen, status.metadata.name == config.metadata.name
        )
        self._holds(
            "RuntimeService.RunPodSandbox.listed-on-success",
            ["RunPodSandbox", "ListPodSandbox"],
            self._listed("ListPodSandbox", made) == [made],
        )
        return Sandbox(made, config, handler)

    def _container(self, sandbox: Sandbox) -> Container:
        config = self._runtime.container_config(sandbox, command=["sleep", "3600"])
        made = self._call(
            "CreateContainer",
            pod_sandbox_id=sandbox.id,
            config=config,
            sandbox_config=sandbox.config,
        ).container_id
        seen = ["CreateContainer", "ContainerStatus"]
        self._holds(
            "ContainerState.CONTAINER_CREATED.before-start",
            seen,
            self._state(made) == types.CONTAINER_CREATED,
        )
        self._call("StartContainer", container_id=made)
        self._holds(
            "ContainerState.CONTAINER_RUNNING.after-start",
            ["StartContainer", *seen],
            self._state(made) == types.CONTAINER_RUNNING,
        )
        self._holds(
            "Container.id.as-created",
            ["CreateContainer", "ListContainers"],
            self._listed("ListContainers", made) == [made],
        )
        said = self._call("ExecSync", container_id=made, cmd=["echo", "here"], timeout=5)
        self._holds("ExecSyncResponse.stdout.exact", ["ExecSync"], said.stdout == b"here\n")
        self._holds("ExecSyncResponse.exit_code.exact", ["ExecSync"], said.exit_code == 0)
        return Container(made, config, sandbox)

    def _end(self, sandbox: Sandbox, container: Container) -> None:
        self._call("StopContainer", container_id=container.id, timeout=2)
        self._holds(
            "RuntimeService.StopContainer.exited",
            ["StopContainer", "StartContainer", "ContainerStatus"],
            self._state(container.id) == types.CONTAINER_EXITED,
        )
        self._call("RemoveContainer", container_id=container.id)
        self._holds(
            "RuntimeService.RemoveContainer.gone",
            ["RemoveContainer", "ListContainers"],
            self._listed("ListContainers", container.id) == [],
        )
        self._call("StopPodSandbox", pod_sandbox_id=sandbox.id)
        status = self._call("PodSandboxStatus", pod_sandbox_id=sandbox.id).status
        self._holds(
            "RuntimeService.StopPodSandbox.not-ready",
            ["StopPodSandbox", "PodSandboxStatus"],
            status.state == types.SANDBOX_NOTREADY,
        )
        self._call("RemovePodSandbox", pod_sandbox_id=sandbox.id)
        self._holds(
            "RuntimeService.RemovePodSandbox.gone",
            ["RemovePodSandbox", "ListPodSandbox"],
            self._listed("ListPodSandbox", sandbox.id) == [],
        )

    # -- steps -----------------------------------------------------------------------

    def _call(self, rpc: str, **fields: Any) -> Any:
        self._used.append(rpc)
        outcome = self._runtime.call(rpc, deadline=DEADLINE, **fields)
        if isinstance(outcome, Ok):
            return outcome.response
        # What the walk did before may be why: an id made under the fault, say.
        self._note("", self._used, f"plain {rpc}: {outcome}", refused=True)
        raise _Blocked

    def _state(self, container_id: str) -> int:
        state: int = self._call("ContainerStatus", container_id=container_id).status.state
        return state

    def _listed(self, lister: str, object_id: str) -> list[str]:
        if lister == "ListPodSandbox":
            chosen = types.PodSandboxFilter(id=object_id)
            return [item.id for item in self._call(lister, filter=chosen).items]
        wanted = types.ContainerFilter(id=object_id)
        return [item.id for item in self._call(lister, filter=wanted).containers]

    def _holds(self, clause: str, uses: list[str], kept: bool) -> None:
        if not kept:
            self._note(clause, uses, clause, refused=False)

    def _note(self, clause: str, uses: list[str], seen: str, *, refused: bool) -> None:
        self.findings.append(
            Finding(
                clause=clause,
                refused=refused,
                uses=sorted(set(uses)),
                seen=" ".join(seen.split()),
            )
        )


def speaks_against(fault: Fault, finding: Finding) -> bool:
    """Whether something that broke in the walk has nothing to do with what the fault is about.

    A plain call must not be refused, unless the fault's clause is about just that
    (``ordinary=False``) and one of the calls before is its own. A value may break that is seen
    by a call which the fault falsifies, or whose clause it names.
    """
    own = bool(fault.rpcs.intersection(finding["uses"]))
    if finding["refused"]:
        return fault.ordinary or not own
    return not own and finding["clause"] not in (*fault.clauses, *fault.also)
