# SPDX-License-Identifier: Apache-2.0
"""Made-up runs: small ones for one question, and a large one to look at.

``python tests/report/fakes.py DIR`` writes the large one's page, to see it with one's own eyes.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Container
from pathlib import Path
from typing import Any

from cri_conformance.api.rpcs import RPCS
from cri_conformance.contract.clause import Clause, Element, Kind, Level, Minor, Needs
from cri_conformance.contract.expectations import Expectation
from cri_conformance.contract.register import Register, register
from cri_conformance.report import html, json_file, terminal
from cri_conformance.report.collect import Collector
from cri_conformance.report.environment import environment
from cri_conformance.report.schema import Results
from cri_conformance.wire.latency import Latencies

SANDBOX = "4f1c" + "9a0b72d3" * 7 + "e511"
CONTAINER = "b20e" + "77c1d04f" * 7 + "03aa"


def suite(**changes: Any) -> dict[str, Any]:
    """A full run that came to its end."""
    return {
        "version": "0.1.0",
        "depth": "gate",
        "seed": 0,
        "strict": False,
        "selection": {},
        "command": "pytest --cri-endpoint unix:///run/containerd/containerd.sock -n 2",
        "workers": 2,
        "started": "2026-11-21T07:00:00+00:00",
        "seconds": 187.4,
        "complete": True,
        "stopped": "",
        "as_of": "",
        "profiles": [],
        **changes,
    }


def target(**changes: Any) -> dict[str, Any]:
    """A runtime."""
    return {
        "endpoint": "unix:///run/containerd/containerd.sock",
        "image_endpoint": "",
        "runtime_name": "containerd",
        "runtime_version": "1.6.20~ds1",
        "runtime_api_version": "v1",
        "minor": "1.31",
        "minor_source": "Status.features",
        "isolates": True,
        "handler": "",
        "image": "localhost/cri-conformance/shell:1f3a5c7e",
        "status": {"status": {"conditions": [{"type": "RuntimeReady", "status": True}]}},
        "info": {"config": '{"containerd": {"snapshotter": "overlayfs"}}', "golang": "go1.19.8"},
        **changes,
    }


def found(clause: str, verdict: str, **more: str) -> dict[str, str]:
    """What a test says of one clause."""
    return {
        "clause": clause,
        "verdict": verdict,
        "permitted": "",
        "actual": "",
        "reason": "",
        **more,
    }


def record(test: str, *clauses: dict[str, str], **more: Any) -> dict[str, Any]:
    """What a test sends home."""
    return {
        "test": test,
        "seconds": 0.1,
        "worker": "gw0",
        "outcome": "passed",
        "blame": "",
        "message": "",
        "details": "",
        "clauses": list(clauses),
        "transcript": [],
        "replay": "",
        "log": "",
        "table": [],
        **more,
    }


def call(
    rpc: str, outcome: str = "OK", *, at: float = 1.5, thread: int = 0, **more: Any
) -> dict[str, Any]:
    """One line of a transcript."""
    return {
        "at": at,
        "seconds": 0.0042,
        "thread": thread,
        "rpc": rpc,
        "request": {},
        "outcome": outcome,
        "response": None,
        "message": "",
        **more,
    }


def broken(test: str, clause: str, **more: Any) -> dict[str, Any]:
    """A test that found a clause broken."""
    said = {"permitted": "the call succeeds", "actual": "NOT_FOUND: no such sandbox"}
    said |= {key: more.pop(key) for key in ("permitted", "actual") if key in more}
    more = {
        "outcome": "failed",
        "blame": "runtime",
        "message": f"{clause}: broken",
        "details": "as shown",
        "transcript": [call("StopPodSandbox", "NOT_FOUND", message="no such sandbox")],
        "replay": f"pytest --cri-endpoint reference --cri-clause {clause}",
        **more,
    }
    return record(test, found(clause, "broken", **said), **more)


def small_register(*clauses: tuple[str, str]) -> Register:
    """A register of (id, level) pairs on elements of the real contract."""
    real = register().elements
    made: dict[str, Clause] = {}
    elements: dict[str, Element] = {}
    for number, (name, level) in enumerate(clauses):
        element = name.rpartition(".")[0]
        if element in real:
            elements[element] = real[element]
        made[name] = Clause(
            id=name,
            element=element,
            level=Level(level),
            kind=Kind.ORDERING,
            since=Minor(1, 20),
            needs=Needs.NOTHING,
            evidence="pkg/kubelet/some.go Some" if level == "KUBELET" else "",
            text=f"Promise number {number} is kept.",
            source=f"proto/services.proto:{number + 1}",
        )
    return Register(elements, made)


def results(
    clauses: Register,
    *records: dict[str, Any],
    bound: dict[str, list[str]] | None = None,
    known: dict[str, Expectation] | None = None,
    leftovers: tuple[str, ...] = (),
    about: dict[str, Any] | None = None,
    runtime: dict[str, Any] | None = None,
    latencies: Latencies | None = None,
    chosen: Container[str] = (),
    campaigns: tuple[dict[str, Any], ...] = (),
) -> Results:
    """The document of these records."""
    collector = Collector(clauses, bound or {}, known or {}, chosen=chosen)
    if latencies:
        collector.add_latencies(latencies.plain())
    for one in records:
        collector.add(one)
    return collector.results(
        about or suite(), runtime or target(), environment(), leftovers, campaigns
    )


# -- the large one -------------------------------------------------------------------


def _story(rng: random.Random, length: int) -> list[dict[str, Any]]:
    config = {
        "metadata": {"name": "probe", "uid": "5f6e-11", "namespace": "default", "attempt": 1},
        "hostname": "probe",
        "log_directory": "/tmp/cri-conformance-1f3a5c7e-x2/logs/probe",
        "labels": {"io.kubernetes.pod.name": "probe", "cri-conformance/run": "1f3a5c7e"},
        "linux": {"security_context": {"namespace_options": {"pid": "CONTAINER"}}},
    }
    calls = [
        call(
            "RunPodSandbox",
            at=12.1,
            request={"config": config},
            response={"pod_sandbox_id": SANDBOX},
        ),
        call(
            "CreateContainer",
            at=12.3,
            request={
                "pod_sandbox_id": SANDBOX,
                "config": {
                    "metadata": {"name": "c"},
                    "image": {"image": "localhost/cri-conformance/shell:1f3a5c7e"},
                },
                "sandbox_config": config,
            },
            response={"container_id": CONTAINER},
        ),
        call("StartContainer", at=12.31, request={"container_id": CONTAINER}, response={}),
    ]
    at = 12.4
    while len(calls) < length:
        at += rng.random()
        rpc = rng.choice(["ContainerStatus", "PodSandboxStatus", "ListContainers"])
        request = (
            {"container_id": CONTAINER} if rpc == "ContainerStatus" else {"pod_sandbox_id": SANDBOX}
        )
        calls.append(
            call(
                rpc,
                at=at,
                request=request,
                response={
                    "status": {
                        "id": CONTAINER,
                        "state": "CONTAINER_RUNNING",
                        "created_at": "1795244451234567890",
                    }
                },
            )
        )
    return calls


def _table() -> list[dict[str, str]]:
    states = ("absent", "created", "running", "exited", "removed")
    permitted = {
        "StartContainer": ("refused", "ok", "refused", "refused", "refused"),
        "StopContainer": ("ok", "ok", "ok", "ok", "ok"),
        "RemoveContainer": ("ok", "ok", "ok", "ok", "ok"),
        "ContainerStatus": ("refused", "ok", "ok", "ok", "refused"),
        "ExecSync": ("refused", "refused", "ok", "refused", "either"),
    }
    rows = []
    for name, cells in permitted.items():
        for state, allowed in zip(states, cells, strict=True):
            seen = (
                "OK"
                if allowed == "ok"
                else "NOT_FOUND"
                if state in ("absent", "removed")
                else "FAILED_PRECONDITION"
            )
            clause = ""
            if (name, state) == ("StopContainer", "removed"):
                seen, clause = "NOT_FOUND", "RuntimeService.StopContainer.idempotent"
            rows.append(
                {
                    "call": name,
                    "state": f"container {state}",
                    "permitted": allowed,
                    "clause": clause,
                    "seen": seen,
                }
            )
    return rows


_NO_NETWORK = (
    "RunPodSandbox was needed to set up this test: UNKNOWN: failed to set up network for "
    'sandbox: plugin type="bridge" failed'
)


def large() -> Results:
    """Some 300 clauses judged in the real register: 5 broken, 10 known, 6 warned, and trouble."""
    rng = random.Random(7)
    ids = list(register().clauses)
    binding = [i for i in ids if register()[i].level.binding]
    tested = sorted(rng.sample(ids, 330), key=ids.index)
    bad = [i for i in ("RuntimeService.StopContainer.idempotent",) if i in ids]
    bad += rng.sample([i for i in tested if i in binding and i not in bad], 5 - len(bad))
    known = rng.sample([i for i in tested if i in binding and i not in bad], 10)
    log = (
        'time="2026-11-21T07:00:12.400Z" level=error '
        'msg="StopContainer for \\"b20e77c1\\" failed" error="not found"\n'
    )
    expectations = {
        i: Expectation(
            i,
            "the second stop answers NOT_FOUND until 1.7",
            "https://github.com/containerd/containerd/issues/1" if n % 2 else "",
        )
        for n, i in enumerate([*known, tested[5]])
    }
    records, bound = [], {}
    for number, name in enumerate(dict.fromkeys([*tested, *bad])):
        level = register()[name].level
        test = f"cri_conformance/suite/test_family{number % 9}.py::test_promise_{number}[{name}]"
        bound[name] = [test]
        replay = f"pytest --cri-endpoint {target()['endpoint']} --cri-seed 0 --cri-clause {name}"
        story: dict[str, Any] = {
            "transcript": _story(rng, rng.choice([4, 9, 31])),
            "replay": replay,
        }
        end = call(
            "StopContainer",
            "NOT_FOUND",
            at=40.0,
            request={"container_id": CONTAINER, "timeout": "10"},
            message="rpc error: code = NotFound desc = an error occurred when try to find "
            f'container "{CONTAINER}": not found',
        )
        story["transcript"].append(end)
        said = {"permitted": "the call succeeds", "actual": f"NOT_FOUND: {end['message']}"}
        if name in bad:
            if number % 2:
                for n, one in enumerate(story["transcript"]):
                    one["thread"] = n % 3
            details = terminal.failure_text(
                register()[name],
                said["permitted"],
                said["actual"],
                [call("RunPodSandbox", at=12.1)],
                replay,
            )
            records.append(broken(test, name, **said, **story, log=log * 4, details=details))
        elif name in known:
            records.append(
                record(
                    test, found(name, "known", **said, reason=expectations[name].reason), **story
                )
            )
        elif level is Level.MAY:
            records.append(
                record(
                    test,
                    found(
                        name,
                        "recorded",
                        actual="FAILED_PRECONDITION: container is in CONTAINER_EXITED state",
                    ),
                )
            )
        elif level is Level.SHOULD and number % 2:
            records.append(record(test, found(name, "warned", **said), **story))
        elif number % 29 == 3:
            records.append(
                record(
                    test,
                    found(
                        name, "not exercised", reason="needs the runtime's host: no --cri-host-root"
                    ),
                    outcome="skipped",
                )
            )
        elif number % 31 == 4:
            records.append(
                record(
                    test,
                    found(
                        name,
                        "not exercised",
                        reason="RPC or wording younger than the runtime: holds since 1.36",
                    ),
                    outcome="skipped",
                )
            )
        elif number % 97 == 5:
            records.append(
                record(
                    test,
                    found(name, "error", reason="RunPodSandbox was needed"),
                    outcome="failed",
                    blame="environment",
                    message=_NO_NETWORK,
                    details="no verdict: …",
                    **story,
                )
            )
        else:
            records.append(record(test, found(name, "held")))
    records[0]["table"] = _table()
    measured = Latencies()
    for rpc, typical in (("Version", 3e-4), ("RunPodSandbox", 0.09), ("StopContainer", 0.02)):
        for _ in range(400):
            measured.add(rpc, typical * rng.lognormvariate(0, 0.5))
    measured.add_other("StopContainer")
    made = results(
        register(),
        *records,
        bound=bound,
        known=expectations,
        leftovers=(f"sandbox {SANDBOX}",),
        latencies=measured,
    )
    made["baseline"] |= {  # type: ignore[typeddict-item]
        "source": "reports/containerd-1.6.19/results.json",
        "runtime_name": "containerd",
        "runtime_version": "1.6.19",
        "started": "2026-11-01T07:00:00+00:00",
        "new": bad[:2],
        "gone": [tested[8]],
    }
    return made


def huge(calls: int = 20_000) -> Results:
    """The whole contract judged and much of it broken, with so many calls in the transcripts."""
    rng = random.Random(11)
    ids = list(register().clauses)
    bad = [i for i in ids if register()[i].level.binding][: calls // 120]
    records = [record(f"t.py::test_{n}", found(name, "held")) for n, name in enumerate(ids)]
    for number, name in enumerate(bad):
        story = _story(rng, 120)
        for n, one in enumerate(story):
            one["thread"] = n % (1 + number % 5)
        said = {"permitted": "the call succeeds", "actual": "NOT_FOUND: no such container"}
        records.append(
            broken(f"u.py::test_{number}", name, **said, transcript=story, log="x\n" * 99)
        )
    measured = Latencies()
    for _ in range(calls):
        measured.add(rng.choice(list(RPCS)), rng.lognormvariate(-6, 1.2))
    measured.add_other("StopContainer")
    return results(register(), *records, latencies=measured)


if __name__ == "__main__":
    made = huge() if "--huge" in sys.argv else large()
    json_file.write(made, Path(sys.argv[1]) / "results.json")
    html.write(made, Path(sys.argv[1]) / "index.html")
    for text, _ in terminal.summary_lines(made, 0):
        print(text)
