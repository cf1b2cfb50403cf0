# SPDX-License-Identifier: Apache-2.0
"""Bugs that runtimes had, done again, where no other fault is like them."""

from __future__ import annotations

import subprocess
import sys
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
