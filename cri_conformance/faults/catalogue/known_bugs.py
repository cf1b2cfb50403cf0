# SPDX-License-Identifier: Apache-2.0
"""Bugs that runtimes had, done again, where no other fault is like them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import conditions as when
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Operator, Proceed, fault
from cri_conformance.faults.memory import Memory, subject
from cri_conformance.faults.operators import (
    answer_error,
    copy_field,
    edit,
    ignore_request,
    operator,
)
from cri_conformance.faults.operators.core import copy_of
from cri_conformance.wire.cgroups import HIERARCHIES
from cri_conformance.wire.host_mounts import unmount_below

#: As grpcio has it when the other side is suddenly gone.
_DEAD = StatusError("UNAVAILABLE", "Socket closed")
#: Seconds that a call is held, so that its client may give it up.
_HELD = 0.25


# -- lists ---------------------------------------------------------------------------------


def _removed_stays_in_the_index() -> Operator:
    """Mirantis/virtlet#97: a list meets what was removed and fails of it."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "ListContainers":
            if memory.keep("broken", False):
                raise StatusError("UNKNOWN", "no such bucket")
            return proceed(call.request)
        by_itself = when.in_state("CONTAINER_EXITED")(call, memory) and not memory.happened(
            "StopContainer", call.request.container_id
        )
        response = proceed(call.request)
        if by_itself:
            memory.keep("broken", True)
        return response

    return operator(
        "removed-stays-in-the-index",
        ("RemoveContainer", "ListContainers"),
        "a list of containers fails after a removal",
        step,
    )


def _half_removed_fails_lists() -> Operator:
    """kubernetes/kubernetes#35924: what a removal left half done fails the list."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "ListPodSandbox":
            if memory.keep("half removed", False):
                raise StatusError("UNKNOWN", "a sandbox without a name")
        elif call.ended.wait(_HELD):
            memory.keep("half removed", True)
            raise StatusError("CANCELLED", "the client went away")
        return proceed(call.request)

    return operator(
        "half-removed-fails-lists",
        ("RemovePodSandbox", "ListPodSandbox"),
        "a removal that was given up fails the list of sandboxes",
        step,
    )


# -- create and stop -----------------------------------------------------------------------


def _late_failure_keeps_the_name() -> Operator:
    """cri-o/cri-o#9097: a creation that failed with much done is not cleaned up."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "taken", subject(call.rpc, call.request)
        if memory.kept(key, lambda: False):
            raise StatusError("UNKNOWN", "the name is reserved")
        try:
            return proceed(call.request)
        except StatusError as error:
            # That the image is not there is seen before anything is done.
            if error.code != "NOT_FOUND":
                memory.keep(key, True)
            raise

    return operator(
        "late-failure-keeps-the-name",
        "CreateContainer",
        "the name stays taken by a creation that failed late",
        step,
    )


#: Signals whatever runs in the same place: on the reference runtime that has no ids of its own.
_SIGNAL = (
    'for one in /proc/[0-9]*; do pid=${one#/proc/}; [ "$pid" = $$ ] || '
    '[ "$(readlink $one/cwd)" != "$PWD" ] || kill -TERM "$pid"; done'
)


def _signals_again() -> Operator:
    """containerd commit dc6f5ef3b: each stop sends the stop signal."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if memory.running("StopContainer", call.request.container_id) > 1:
            command = ["/bin/sh", "-c", _SIGNAL]
            call.upstream(
                "ExecSync",
                types.ExecSyncRequest(
                    container_id=call.request.container_id, cmd=command, timeout=5
                ),
            )
        return proceed(call.request)

    return operator("signals-again", "StopContainer", "a second stop signals again", step)


# -- crashes -------------------------------------------------------------------------------


def _dies_of(rpc: str, strikes: When) -> Operator:
    """The connection breaks in the middle of the call, as when the process is gone."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if strikes(call, memory):
            raise _DEAD
        return proceed(call.request)

    return operator(f"dies-of-{rpc}-{strikes.name}", rpc, f"{rpc} is the end of it", step)


def _dies_after_failed_run() -> Operator:
    """containerd commit a3a66d1f2: what comes after a failed run meets what it left, and dies."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "Status":
            if memory.keep("dying", False):
                raise _DEAD
        elif any("none" in name for name in call.request.config.linux.sysctls):
            memory.keep("dying", True)
            raise StatusError("UNKNOWN", "no such kernel setting")
        return proceed(call.request)

    return operator(
        "dies-after-failed-run",
        ("RunPodSandbox", "Status"),
        "a sandbox that can't be run is the end of it, a moment later",
        step,
    )


def _bare(call: Call, memory: Memory) -> bool:
    config = call.request.config
    return config.HasField("metadata") and not (config.labels or config.HasField("linux"))


_no_labels = When("no-labels", _bare)

# -- images --------------------------------------------------------------------------------


def _uid_of_everybody(response: Any, call: Call, memory: Memory) -> None:
    if response.image.username:
        response.image.uid.value = 0


def _name_is_no_number() -> Operator:
    """kubernetes/kubernetes#36423: the name of a user is read as a number."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = proceed(call.request)
        if response.image.username:
            raise StatusError("UNKNOWN", f"{response.image.username!r} is not a number")
        return response

    return operator(
        "name-is-no-number", "ImageStatus", "an image whose user has a name has no status", step
    )


def _took_tag_for_name(response: Any, call: Call, memory: Memory) -> None:
    """The name by which it was pulled is kept whole, beside its digests."""
    digests = response.image.repo_digests
    whole: dict[str, str] = memory.kept("whole", dict)
    digests[:] = [whole.get(one, one) for one in digests]


def _tag_is_part_of_the_name() -> Operator:
    """containerd/containerd#13969: what was pulled by tag and digest is known by both at once."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = proceed(call.request)
        if call.rpc == "PullImage":
            tagged, _, digest = call.request.image.image.partition("@")
            name, colon, tag = tagged.rpartition(":")
            if digest and colon and "/" not in tag:
                memory.kept("whole", dict)[f"{name}@{digest}"] = f"{tagged}@{digest}"
            return response
        response = copy_of(response)
        _took_tag_for_name(response, call, memory)
        return response

    return operator(
        "tag-is-part-of-the-name",
        ("PullImage", "ImageStatus"),
        "the tag stays before the digest",
        step,
    )


def _pulled_again(call: Call, memory: Memory) -> bool:
    return memory.times("PullImage", call.request.config.image.image) > 1


_moved = When("pulled-again", _pulled_again)
_linked = When(
    "linked-users",
    lambda call, memory: "/linked-users:" in call.request.config.image.image,
)


# -- helpers -------------------------------------------------------------------------------


#: Has a child for each line that it reads, and waits for none of them.
_CARELESS = "import os, sys\nfor _ in sys.stdin:\n    if not os.fork(): os._exit(0)"


def _helper() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", _CARELESS], stdin=subprocess.PIPE, bufsize=0)


def _leaves_zombies() -> Operator:
    """cri-o/cri-o#5260: nobody waits for what helps to run commands."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        helper = memory.kept("helper", _helper)
        helper.stdin.write(b"\n")
        return proceed(call.request)

    return operator("leaves-zombies", "ExecSync", "each command leaves a zombie", step)


# -- what is left, or is not, on the host -----------------------------------------------------


def _fails_and_leaves_it(name: str, says: str, *, killed: bool) -> Operator:
    """What had been set up by then stays; if ``killed``, without its process."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        request = copy_of(call.request)
        wrong = [name for name in request.config.linux.sysctls if "conformance_none" in name]
        for name in wrong:
            del request.config.linux.sysctls[name]
        response = proceed(request)
        if wrong and killed:
            _kill_sandbox(call, response.pod_sandbox_id)
        if wrong:
            raise StatusError("UNKNOWN", "no such kernel setting")
        return response

    return operator(name, "RunPodSandbox", says, step)


def _kill_sandbox(call: Call, sandbox: str) -> None:
    """Kill its first process, if the runtime tells which it is and its cgroup bears it out."""
    asked = types.PodSandboxStatusRequest(pod_sandbox_id=sandbox, verbose=True)
    info = " ".join(call.upstream("PodSandboxStatus", asked).info.values())
    if found := re.search(r'"pid":\s*(\d+)', info):
        pid = int(found[1])
        with contextlib.suppress(OSError):
            if call.request.config.metadata.name in Path(f"/proc/{pid}/cgroup").read_text("utf-8"):
                os.kill(pid, signal.SIGKILL)


def _keeps_cgroups() -> Operator:
    """cri-o/cri-o commit 20eba5edf7: the cgroup of a container stays until its sandbox goes."""

    def folders(call: Call, memory: Memory, sandbox: str) -> list[Path]:
        parent = memory.kept(("parent", sandbox), str).lstrip("/")
        if not parent or call.rpc == "RunPodSandbox":
            return []
        return [root / "left" for root in HIERARCHIES.glob(f"*/{parent}")]

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "RemovePodSandbox":
            for folder in folders(call, memory, call.request.pod_sandbox_id):
                with contextlib.suppress(OSError):
                    folder.rmdir()
        response = proceed(call.request)
        if call.rpc == "RunPodSandbox":
            memory.keep(
                ("parent", response.pod_sandbox_id), call.request.config.linux.cgroup_parent
            )
        elif call.rpc == "RemoveContainer":
            sandbox = memory.sandbox_of(call.request.container_id)
            for folder in folders(call, memory, sandbox):
                folder.mkdir(exist_ok=True)
        return response

    return operator(
        "keeps-cgroups",
        ("RunPodSandbox", "RemoveContainer", "RemovePodSandbox"),
        "the cgroup of a removed container stays",
        step,
    )


def _needs_its_network() -> Operator:
    """containerd/containerd#8303, cri-o/cri-o commit d17990aff1: no stop without the namespace."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        asked = types.PodSandboxStatusRequest(
            pod_sandbox_id=call.request.pod_sandbox_id, verbose=True
        )
        try:
            status = call.upstream("PodSandboxStatus", asked)
        except StatusError:
            return proceed(call.request)
        found = re.search(r'"(/[^"]*/netns/[^"]+)"', " ".join(status.info.values()))
        running = status.status.state == types.SANDBOX_READY
        if running and found and not Path(found[1]).exists():
            raise StatusError("UNKNOWN", f"failed to Statfs {found[1]!r}")
        return proceed(call.request)

    return operator(
        "needs-its-network",
        "StopPodSandbox",
        "a sandbox whose network namespace is gone can't be stopped",
        step,
    )


def _unmounts_log_directories() -> Operator:
    """CVE-2025-0750: what is mounted where the logs are is unmounted with the sandbox."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = proceed(call.request)
        if call.rpc == "RunPodSandbox":
            if ".." in (given := call.request.config.log_directory):
                memory.keep(("logs", response.pod_sandbox_id), str(Path(given).resolve()))
        elif place := memory.kept(("logs", call.request.pod_sandbox_id), str):
            unmount_below(Path(place))
        return response

    return operator(
        "unmounts-log-directories",
        ("RunPodSandbox", "RemovePodSandbox"),
        "a removal unmounts what is where the logs are",
        step,
    )


_HALF_DONE = "despite-half-done"
_SURVIVES = "RuntimeService.Status.survives-incomplete"

FAULTS = [
    fault(f"RuntimeService.ListContainers.{_HALF_DONE}", _removed_stays_in_the_index()),
    fault(f"RuntimeService.ListPodSandbox.{_HALF_DONE}", _half_removed_fails_lists()),
    fault("RuntimeService.CreateContainer.name-free-after-failure", _late_failure_keeps_the_name()),
    fault("RuntimeService.StopContainer.signal-repeat", _signals_again()),
    # containerd/containerd#11813.
    fault(_SURVIVES, _dies_of("CreateContainer", when.missing("sandbox_config.metadata"))),
    # cri-o/cri-o commit 35c02b56ea.
    fault(_SURVIVES, _dies_of("CreateContainer", when.missing("config"))),
    # cri-o/cri-o commit 2080744963.
    fault(_SURVIVES, _dies_of("RunPodSandbox", _no_labels)),
    fault(_SURVIVES, _dies_after_failed_run()),
    # AliyunContainerService/pouch#2548.
    fault(
        "Image.uid.not-with-username",
        edit("uid-of-everybody", "ImageStatus", "every image has user 0", _uid_of_everybody),
    ),
    fault("Image.username.of-name", _name_is_no_number()),
    fault("Image.repo_digests.tag-and-digest", _tag_is_part_of_the_name()),
    # containerd/containerd#3401.
    fault(
        "ContainerConfig.image.moved-tag",
        answer_error("CreateContainer", _moved, message="content digest not found"),
    ),
    # containerd/containerd#12683.
    fault(
        "ContainerConfig.image.linked-users",
        answer_error("CreateContainer", _linked, message="path escapes from parent"),
    ),
    fault("RuntimeService.ExecSync.helpers-reaped", _leaves_zombies()),
    # cri-o/cri-o#1816.
    fault(
        "RuntimeService.RunPodSandbox.failed-processes",
        _fails_and_leaves_it(
            "fails-and-leaves-it", "a sandbox that fails late is left as it is", killed=False
        ),
        isolated=True,
    ),
    # kubernetes/kubernetes#62874.
    fault(
        "RuntimeService.RunPodSandbox.failed-network",
        _fails_and_leaves_it(
            "fails-and-keeps-its-network", "a sandbox that fails keeps its network", killed=True
        ),
        isolated=True,
    ),
    fault("RuntimeService.RemoveContainer.cgroup-gone", _keeps_cgroups(), isolated=True),
    fault("RuntimeService.StopPodSandbox.namespace-gone", _needs_its_network(), isolated=True),
    fault("PodSandboxConfig.log_directory.others-untouched", _unmounts_log_directories()),
    # containerd/cri commit 5d29598a6.
    fault(
        "MemoryUsage.working_set_bytes.without-inactive",
        copy_field("ContainerStats", "stats.memory.usage_bytes", "stats.memory.working_set_bytes"),
        isolated=True,
    ),
    # cri-o/cri-o#9816.
    fault(
        "LinuxContainerResources.unified.in-force",
        ignore_request("UpdateContainerResources", "linux.unified"),
        isolated=True,
    ),
]
