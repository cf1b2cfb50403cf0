# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for ExecSync: bytes lost, streams mixed, codes bent, commands left running."""

import contextlib
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Call, Fault, Proceed, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    alter,
    alter_request,
    answer_ok,
    change_code,
    edit,
    edit_request,
    operator,
    set_request,
    side_effect,
    swallow,
)
from cri_conformance.faults.operators.core import aside, copy_of, pause

_CAP = 16 * 1024 * 1024
#: A command of days with a time-out: what the suite uses to see one run out of time.
_too_slow = when.given("timeout") & when.When(
    "sleep", lambda call, memory: call.request.cmd[:1] == ["sleep"]
)


def _mixed(into: str, other: str) -> Any:
    def step(response: Any, call: Call, memory: Memory) -> None:
        setattr(response, into, getattr(response, into) + getattr(response, other))

    return edit(f"mixes-{other}-into-{into}", "ExecSync", f"{other} shows in {into} too", step)


def _codes(name: str, says: str, bend: Any) -> Any:
    def step(response: Any, call: Call, memory: Memory) -> None:
        response.exit_code = bend(response.exit_code)

    return edit(name, "ExecSync", says, step)


#: The command that says its last word after a while.
_words = when.When(
    "last-words", lambda call, memory: any("echo last" in word for word in call.request.cmd)
)


def _asks_for(program: str) -> when.When:
    return when.When(f"runs-{program}", lambda call, memory: call.request.cmd[:1] == [program])


def elsewhere(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """A step: the call is about another running container than the one that was named."""
    running = types.ContainerFilter(state=types.ContainerStateValue(state=types.CONTAINER_RUNNING))
    listed = call.upstream("ListContainers", types.ListContainersRequest(filter=running))
    others = [item.id for item in listed.containers if item.id != call.request.container_id]
    for other in others:
        moved = copy_of(call.request)
        moved.container_id = other
        # One that is just ending would refuse: a plain call must still succeed.
        with contextlib.suppress(StatusError):
            return proceed(moved)
    return proceed(call.request)


def _leaves_it_running(call: Call, memory: Memory, proceed: Proceed) -> Any:
    if _too_slow(call, memory):
        unbounded = copy_of(call.request)
        unbounded.timeout = 0

        def run() -> None:
            with contextlib.suppress(StatusError):
                call.upstream("ExecSync", unbounded)

        aside(run)
    return proceed(call.request)


def _error_for_a_code(call: Call, memory: Memory, proceed: Proceed) -> Any:
    response = proceed(call.request)
    if response.exit_code == 7:
        raise StatusError("UNKNOWN", "command terminated with exit code 7")
    return response


def _cut_short(call: Call, memory: Memory, proceed: Proceed) -> Any:
    response = proceed(call.request)
    if call.request.timeout > 60 and b"begun" in response.stdout:
        raise StatusError("DEADLINE_EXCEEDED", "the runtime has a limit of its own")
    return response


def _own_limit(call: Call, memory: Memory, proceed: Proceed) -> Any:
    limited = copy_of(call.request)
    limited.timeout = limited.timeout or 1
    return proceed(limited)


def _others_answer(call: Call, memory: Memory, proceed: Proceed) -> Any:
    response = proceed(call.request)
    if when.in_company(call, memory):
        response = copy_of(response)
        response.stdout = b"o0\n"
    return response


def _waits_for_children(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """As who reads the output to its end, which the children hold."""
    try:
        return proceed(call.request)
    except StatusError:
        if any("setsid" in word for word in call.request.cmd):
            pause(call, 10)
        raise


def _outlives_its_container(call: Call, memory: Memory, proceed: Proceed) -> Any:
    """Who was killed with its container is not answered for."""
    try:
        response = proceed(call.request)
    except StatusError:
        pause(call, 10)
        raise
    if response.exit_code == 128 + 9 and call.request.timeout > 60:
        pause(call, 10)
    return response


def _leaves_a_process(request: Any, call: Call, memory: Memory) -> None:
    if request.cmd[-1:] == ["echo $$"]:
        request.cmd[-1] = "sleep 30 > /dev/null 2>&1 & echo $!"


def _fails_beyond_the_cap(stream: str) -> Any:
    def step(response: Any, call: Call, memory: Memory) -> None:
        if len(getattr(response, stream)) > _CAP // 2:
            response.exit_code = 1

    return step


def _of_stream(stream: str) -> list[Fault]:
    other = "stderr" if stream == "stdout" else "stdout"
    return [
        # A terminal in between: line ends become two bytes.
        fault(
            f"ExecSyncResponse.{stream}.exact",
            alter("ExecSync", stream, Change("crlf", lambda data: data.replace(b"\n", b"\r\n"))),
        ),
        fault(f"ExecSyncResponse.{stream}.separate", _mixed(stream, other)),
        fault(
            f"ExecSyncResponse.{stream}.below-cap-complete",
            alter("ExecSync", stream, changes.cut(1024 * 1024)),
        ),
        fault(
            f"ExecSyncResponse.{stream}.capped",
            alter(
                "ExecSync",
                stream,
                Change(
                    "a-byte-too-many",
                    lambda data: data.ljust(_CAP + 1, b"x") if len(data) > _CAP // 2 else data,
                ),
            ),
        ),
        fault(
            f"ExecSyncResponse.{stream}.beginning-kept",
            alter(
                "ExecSync",
                stream,
                Change("tail", lambda data: data[1:] if len(data) > _CAP // 2 else data),
            ),
        ),
        fault(
            f"ExecSyncResponse.{stream}.excess-no-error",
            edit(
                f"excess-of-{stream}-fails-the-command",
                "ExecSync",
                f"a command that writes too much to {stream} is taken for failed",
                _fails_beyond_the_cap(stream),
            ),
        ),
    ]


FAULTS = [
    fault(
        "ExecSyncRequest.cmd.exact-argv",
        alter_request(
            "ExecSync", "cmd", Change("no-empty-words", lambda words: [w for w in words if w])
        ),
    ),
    fault("ExecSyncRequest.cmd.no-shell", alter_request("ExecSync", "cmd", changes.as_shell)),
    *_of_stream("stdout"),
    *_of_stream("stderr"),
    fault(
        "ExecSyncResponse.exit_code.exact",
        _codes("signed-code", "codes above 127 come out less", lambda code: code & 127),
    ),
    fault(
        "ExecSyncResponse.exit_code.not-an-error",
        operator("error-for-a-code", "ExecSync", "a code becomes an error", _error_for_a_code),
    ),
    fault(
        "ExecSyncResponse.exit_code.killed-by-signal",
        _codes(
            "signals-are-fine",
            "a command killed by a signal looks fine",
            lambda code: 0 if code > 128 else code,
        ),
    ),
    # The command runs, in another container of the sandbox than the one that was named.
    fault(
        "RuntimeService.ExecSync.in-container",
        operator("elsewhere", "ExecSync", "the command runs in another container", elsewhere),
    ),
    fault(
        "RuntimeService.ExecSync.waits-for-end",
        alter(
            "ExecSync",
            "stdout",
            Change("first-line", lambda data: data[: data.find(b"\n") + 1]),
            when=_words,
        ),
    ),
    fault(
        "RuntimeService.ExecSync.missing-command",
        swallow("ExecSync", when=_asks_for("/no/such/command")),
    ),
    fault(
        "RuntimeService.ExecSync.exited-container",
        answer_ok("ExecSync", when.in_state("CONTAINER_EXITED")),
    ),
    fault(
        "RuntimeService.ExecSync.exited-code",
        change_code("ExecSync", "NOT_FOUND", when=when.in_state("CONTAINER_EXITED")),
    ),
    fault(
        "RuntimeService.ExecSync.concurrent",
        operator("others-answer", "ExecSync", "a command gets another's output", _others_answer),
    ),
    # A runtime that takes a command which failed for a container which failed.
    fault(
        "RuntimeService.ExecSync.container-unharmed",
        side_effect("ExecSync", "StopContainer", first=True, when=_asks_for("/no/such/command")),
    ),
    fault(
        "ExecSyncRequest.timeout.command-stopped",
        operator("leaves-it-running", "ExecSync", "too slow a command runs on", _leaves_it_running),
    ),
    fault("ExecSyncRequest.timeout.not-success", swallow("ExecSync", ["DEADLINE_EXCEEDED"])),
    fault(
        "ExecSyncRequest.timeout.prompt",
        set_request("ExecSync", "timeout", 12, when=_too_slow),
    ),
    fault(
        "ExecSyncRequest.timeout.not-early",
        operator("cut-short", "ExecSync", "a long timeout is cut short", _cut_short),
    ),
    fault(
        "ExecSyncRequest.timeout.zero-unlimited",
        operator("own-limit", "ExecSync", "no timeout is taken for one second", _own_limit),
    ),
    fault(
        "ExecSyncRequest.timeout.children-prompt",
        operator("waits-for-children", "ExecSync", "children hold the answer", _waits_for_children),
    ),
    # cri-o/cri-o#5260: what was executed is not reaped.
    fault(
        "RuntimeService.ExecSync.reaped",
        edit_request("leaves-a-process", "ExecSync", "a process stays", _leaves_a_process),
    ),
    fault(
        "RuntimeService.ExecSync.ends-with-container",
        operator("outlives-it", "ExecSync", "a command outlives it all", _outlives_its_container),
    ),
]
