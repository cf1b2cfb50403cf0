# SPDX-License-Identifier: Apache-2.0
"""What RunPodSandbox accepts and refuses, and which handler runs it.

What a setting does inside of containers is judged elsewhere; here it is whether the
runtime takes it at all, and takes nothing for it that was not asked for.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.build import strategies
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.views import SandboxView, sandbox_view
from cri_conformance.target import Target
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed, answer
from cri_conformance.wire.runtime import Runtime, Sandbox, poll

#: Seconds after which what a container wrote must be in its log at the latest.
SOON = 10.0

# -- identity ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attempts:
    """Two sandboxes of one pod, the second asked for once the first was up.

    ``listed`` is what the list said of them then, by id.
    """

    first: str
    second: Outcome
    listed: dict[str, types.PodSandbox]


@pytest.fixture(scope="module")
def attempts(module_runtime: Runtime) -> Attempts:
    """Sandboxes whose metadata differ in the attempt alone."""
    config = module_runtime.sandbox_config()
    first = module_runtime.sandbox(config).id
    later = types.PodSandboxConfig()
    later.CopyFrom(config)
    later.metadata.attempt = 1
    second = module_runtime.run_sandbox(later)
    return Attempts(
        first, second, {item.id: item for item in module_runtime.get("ListPodSandbox").items}
    )


@clause("PodSandboxMetadata.attempt.tells-apart")
def test_attempts_are_sandboxes_of_their_own(attempts: Attempts, judge: Judge) -> None:
    name = "PodSandboxMetadata.attempt.tells-apart"
    made = judge.response(name, attempts.second, about=[attempts.first])
    ids = {attempts.first, made.pod_sandbox_id}
    judge.that(name, len(ids) == 2, permitted="two ids", actual=ids, about=ids)
    judge.equal(name, sorted(ids - attempts.listed.keys()), [], "not listed:", about=ids)


@clause("PodSandbox.created_at.later-is-newer")
def test_later_attempt_is_newer(attempts: Attempts, judge: Judge) -> None:
    second = answer(attempts.second, "RunPodSandbox").pod_sandbox_id
    if not {attempts.first, second} <= attempts.listed.keys():
        raise SetupFailed("an attempt is not in the list")
    times = [attempts.listed[name].created_at for name in (attempts.first, second)]
    judge.that(
        "PodSandbox.created_at.later-is-newer",
        times[1] > times[0],
        permitted=f"attempt 1 created after attempt 0, which was at {times[0]}",
        actual=times[1],
        about=[attempts.first, second],
    )


@clause("RunPodSandboxResponse.pod_sandbox_id.non-empty")
def test_success_gives_an_id(runtime: Runtime, judge: Judge) -> None:
    for attempt in (0, 1, 7):
        made = runtime.get("RunPodSandbox", config=runtime.sandbox_config(attempt=attempt))
        judge.that(
            "RunPodSandboxResponse.pod_sandbox_id.non-empty",
            made.pod_sandbox_id,
            permitted="an id",
            actual="an empty one",
        )


@clause("RunPodSandboxResponse.pod_sandbox_id.unique")
def test_ids_are_unique(runtime: Runtime, judge: Judge) -> None:
    threads = 6
    together = threading.Barrier(threads)

    def run(config: types.PodSandboxConfig) -> str:
        together.wait()
        return str(runtime.get("RunPodSandbox", config=config).pod_sandbox_id)

    with ThreadPoolExecutor(threads) as pool:
        ids = list(pool.map(run, [runtime.sandbox_config() for _ in range(threads)]))
    there = [item.id for item in runtime.get("ListPodSandbox").items]
    judge.that(
        "RunPodSandboxResponse.pod_sandbox_id.unique",
        len(set(ids)) == threads and len(set(there)) == len(there),
        permitted=f"{threads} sandboxes with an id each",
        actual=ids,
        about=ids,
    )


# -- the runtime handler -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Handled:
    """What is shown of a sandbox that was started with the handler ``name``."""

    name: str
    view: SandboxView


@pytest.fixture(scope="module")
def handled(module_runtime: Runtime, cri_target: Target) -> Handled | None:
    """A sandbox that was started with a named handler; None without one.

    Handlers that are configured and can't run here are passed over.
    """
    advertised = [handler.name for handler in module_runtime.get("Status").runtime_handlers]
    for name in filter(None, [cri_target.facts.handler, *advertised]):
        config = module_runtime.sandbox_config()
        outcome = module_runtime.run_sandbox(config, handler=name)
        if isinstance(outcome, Ok):
            sandbox = Sandbox(outcome.response.pod_sandbox_id, config, name)
            return Handled(name, sandbox_view(module_runtime, sandbox))
    return None


@pytest.mark.parametrize(
    ("clause_id", "where"),
    [
        pytest.param(name, where, marks=clause(name), id=name)
        for name, where in {
            "PodSandboxStatus.runtime_handler.reported": "status",
            "PodSandbox.runtime_handler.reported": "list",
        }.items()
    ],
)
def test_handler_is_shown(
    clause_id: str, where: str, handled: Handled | None, judge: Judge
) -> None:
    if not handled:
        judge.skip(Reason.NOT_ADVERTISED, "no named runtime handler is known")
    judge.that(
        clause_id,
        _shown(handled, where),
        permitted=f"a handler, as the sandbox was started with {handled.name}",
        actual="none",
        about=[handled.view.status.id],
    )


@pytest.mark.parametrize(
    ("clause_id", "where"),
    [
        pytest.param(name, where, marks=clause(name), id=name)
        for name, where in {
            "PodSandboxStatus.runtime_handler.no-other": "status",
            "PodSandbox.runtime_handler.no-other": "list",
        }.items()
    ],
)
def test_no_other_handler_is_shown(
    clause_id: str, where: str, handled: Handled | None, judge: Judge
) -> None:
    if not handled:
        judge.skip(Reason.NOT_ADVERTISED, "no named runtime handler is known")
    shown = _shown(handled, where)
    if not shown:
        judge.skip(Reason.NOT_ADVERTISED, "no handler is shown")
    judge.equal(clause_id, shown, handled.name, about=[handled.view.status.id])


def _shown(handled: Handled, where: str) -> str:
    view = handled.view
    return view.status.runtime_handler if where == "status" else view.item.runtime_handler


@clause("PodSandboxStatus.runtime_handler.default-name")
def test_handler_shown_for_the_default(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    made = runtime.get("RunPodSandbox", config=config)
    view = sandbox_view(runtime, Sandbox(made.pod_sandbox_id, config))
    judge.record(
        "PodSandboxStatus.runtime_handler.default-name",
        f"{view.status.runtime_handler!r} in the status, {view.item.runtime_handler!r} in the list",
    )


@clause("RunPodSandboxRequest.runtime_handler.unknown-rejected")
def test_unknown_handler_is_refused(runtime: Runtime, judge: Judge) -> None:
    name = "RunPodSandboxRequest.runtime_handler.unknown-rejected"
    config = runtime.sandbox_config()
    judge.refused(name, runtime.run_sandbox(config, handler=f"none-{secrets.token_hex(4)}"))
    uid = config.metadata.uid
    ready = [
        item.id
        for item in runtime.get("ListPodSandbox").items
        if item.metadata.uid == uid and item.state == types.SANDBOX_READY
    ]
    judge.equal(name, ready, [], "ready sandboxes of the refused request:", about=ready)


@clause("RunPodSandboxRequest.runtime_handler.empty-default")
def test_empty_handler_is_the_default(runtime: Runtime, judge: Judge) -> None:
    name = "RunPodSandboxRequest.runtime_handler.empty-default"
    made = judge.response(name, runtime.run_sandbox(runtime.sandbox_config(), handler=""))
    if made:
        state = runtime.sandbox_status(made.pod_sandbox_id).state
        judge.equal(name, types.PodSandboxState.Name(state), "SANDBOX_READY")


# -- what may be left out, and what may not be --------------------------------------------


@clause("PodSandboxConfig.linux.optional")
@pytest.mark.parametrize("part", ["linux", "security_context", "namespace_options"])
def test_linux_part_may_be_left_out(part: str, runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    holders = (config, config.linux, config.linux.security_context)
    for holder in holders:
        if part in holder.DESCRIPTOR.fields_by_name:
            holder.ClearField(part)  # type: ignore[arg-type]
    judge.ok("PodSandboxConfig.linux.optional", runtime.run_sandbox(config))


@clause("PodSandboxConfig.hostname.empty-on-node-network")
def test_hostname_may_be_empty_on_the_nodes_network(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config(network=types.NODE)
    config.hostname = ""
    judge.ok("PodSandboxConfig.hostname.empty-on-node-network", runtime.run_sandbox(config))


@clause("PodSandboxConfig.hostname.empty-on-pod-network")
def test_empty_hostname_on_a_network_of_its_own(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    config.hostname = ""
    judge.record("PodSandboxConfig.hostname.empty-on-pod-network", runtime.run_sandbox(config))


@clause("PortMapping.host_port.zero-accepted")
def test_host_port_zero_is_accepted(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    config.port_mappings.add(protocol=types.TCP, container_port=8080, host_port=0)
    judge.ok("PortMapping.host_port.zero-accepted", runtime.run_sandbox(config))


@clause("LinuxSandboxSecurityContext.run_as_group.without-user-refused")
@pytest.mark.parametrize("group", [0, 1000])
def test_group_without_user_is_refused(group: int, runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    config.linux.security_context.run_as_group.CopyFrom(types.Int64Value(value=group))
    judge.refused(
        "LinuxSandboxSecurityContext.run_as_group.without-user-refused",
        runtime.run_sandbox(config),
    )


@clause("RuntimeService.RunPodSandbox.missing-metadata")
def test_incomplete_requests(runtime: Runtime, judge: Judge) -> None:
    answers = {}
    for field in ("name", "namespace", "uid"):
        config = runtime.sandbox_config()
        config.metadata.ClearField(field)
        answers[f"empty {field}"] = runtime.run_sandbox(config)
    config = runtime.sandbox_config()
    config.ClearField("metadata")
    answers["no metadata"] = runtime.run_sandbox(config)
    answers["no config"] = runtime.call("RunPodSandbox")
    judge.record(
        "RuntimeService.RunPodSandbox.missing-metadata",
        "; ".join(f"{what}: {answer}" for what, answer in answers.items()),
    )


# -- logs --------------------------------------------------------------------------------


@clause("PodSandboxConfig.log_directory.holds-the-logs")
def test_logs_are_below_the_log_directory(runtime: Runtime, judge: Judge) -> None:
    if not runtime.workshop.log_root:
        judge.skip(Reason.REMOTE, "the log directory can't be looked into from here")
    sandbox = runtime.sandbox()
    words = {f"{stream}-{secrets.token_hex(4)}" for stream in ("out", "err")}
    out, err = sorted(words, reverse=True)
    runtime.exited(sandbox, f"echo {out}; echo {err} >&2")
    found: set[str] = set()
    with contextlib.suppress(SetupFailed):
        poll(
            lambda: found.update(_words_below(Path(sandbox.config.log_directory), words)),
            lambda _: found == words,
            SOON,
            "the container's output to be in a log",
        )
    judge.equal(
        "PodSandboxConfig.log_directory.holds-the-logs",
        sorted(words - found),
        [],
        "written and in no log:",
        about=[sandbox.id],
    )


def _words_below(folder: Path, words: set[str]) -> set[str]:
    logs = [path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()]
    return {word for word in words if any(word in log for log in logs)}


# -- privileges --------------------------------------------------------------------------


def _run_privileged(runtime: Runtime, sandbox: Sandbox) -> Outcome:
    config = runtime.container_config(sandbox)
    config.linux.security_context.privileged = True
    return runtime.create_and_start(sandbox, config)


@clause("LinuxSandboxSecurityContext.privileged.needed-for-privileged")
def test_privileged_container_needs_a_privileged_sandbox(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    judge.refused(
        "LinuxSandboxSecurityContext.privileged.needed-for-privileged",
        _run_privileged(runtime, shared_sandbox),
    )


@clause("LinuxSandboxSecurityContext.privileged.allows-privileged")
def test_privileged_container_in_a_privileged_sandbox(runtime: Runtime, judge: Judge) -> None:
    config = runtime.sandbox_config()
    config.linux.security_context.privileged = True
    sandbox = runtime.sandbox(config)
    judge.ok(
        "LinuxSandboxSecurityContext.privileged.allows-privileged",
        _run_privileged(runtime, sandbox),
    )


# -- annotations do nothing --------------------------------------------------------------

#: What a container can see of how it runs; of its environment the names, as values may be ids.
_CONDITIONS = """
id; umask; env | cut -d = -f 1 | sort
grep -E '^(Groups|Cap...|NoNewPrivs|Seccomp):' /proc/self/status
"""


@clause("PodSandboxConfig.annotations.no-influence")
def test_annotations_change_nothing(runtime: Runtime, judge: Judge) -> None:
    name = "PodSandboxConfig.annotations.no-influence"
    plain, annotated = (
        _conditions(runtime, runtime.sandbox_config(annotations=annotations))
        for annotations in ({}, strategies.AWKWARD_ANNOTATIONS)
    )
    for what, usual in plain.items():
        judge.equal(name, annotated[what], usual, f"{what}, with annotations:")


def _conditions(runtime: Runtime, config: types.PodSandboxConfig) -> dict[str, str]:
    sandbox = runtime.sandbox(config)
    status = runtime.sandbox_status(sandbox.id)
    container = runtime.running(sandbox)
    seen = runtime.exec(container, "/bin/sh", "-c", _CONDITIONS)
    return {
        "state": types.PodSandboxState.Name(status.state),
        "namespaces": str(status.linux.namespaces),
        "handler": status.runtime_handler,
        "conditions": seen.stdout.decode(errors="replace"),
    }
