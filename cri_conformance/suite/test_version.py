# SPDX-License-Identifier: Apache-2.0
"""Version: the first call of every kubelet, and what it checks before anything else."""

from __future__ import annotations

import re

import pytest

from cri_conformance.expect import Judge, clause
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime

#: The one value with which a kubelet starts, for historical reasons.
KUBELET_VERSION = "0.1.0"

#: Dotted numbers after an optional v, then any suffix: Debian's 1.6.20~ds1 is one.
_READABLE_RUNTIME = re.compile(r"v?\d+(\.\d+)+.*", re.DOTALL)
#: The API's version may be as short as "v1".
_READABLE_API = re.compile(r"v?\d+(\.\d+)*\S*")
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
    r"(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
)


@clause("RuntimeService.Version.empty-version")
def test_empty_version_is_answered(runtime: Runtime, judge: Judge) -> None:
    judge.ok("RuntimeService.Version.empty-version", runtime.call("Version", version=""))


@clause("RuntimeService.Version.kubelet-version")
def test_kubelet_version_is_answered(runtime: Runtime, judge: Judge) -> None:
    outcome = runtime.call("Version", version=KUBELET_VERSION)
    judge.ok("RuntimeService.Version.kubelet-version", outcome)


@clause("RuntimeService.Version.stable")
def test_answer_stays_the_same(runtime: Runtime, judge: Judge) -> None:
    first = runtime.get("Version")
    for _ in range(3):
        judge.equal("RuntimeService.Version.stable", runtime.get("Version"), first)


@clause("VersionRequest.version.other-version")
def test_other_version_is_recorded(runtime: Runtime, judge: Judge) -> None:
    outcome = runtime.call("Version", version="v1alpha2")
    answer = outcome.response.runtime_api_version if isinstance(outcome, Ok) else outcome
    judge.record("VersionRequest.version.other-version", f"v1alpha2 → {answer}")


@pytest.mark.parametrize(
    ("field", "clause_id"),
    [
        pytest.param(name, clause_id, marks=clause(clause_id), id=clause_id)
        for name, clause_id in (
            ("version", "VersionResponse.version.not-empty"),
            ("runtime_name", "VersionResponse.runtime_name.not-empty"),
        )
    ],
)
def test_string_is_not_empty(runtime: Runtime, judge: Judge, field: str, clause_id: str) -> None:
    value = getattr(runtime.get("Version"), field)
    judge.that(clause_id, value, permitted=f"{field} is not empty", actual=repr(value))


@clause("VersionResponse.version.kubelet-value")
def test_version_is_the_kubelets(runtime: Runtime, judge: Judge) -> None:
    version = runtime.get("Version").version
    judge.equal("VersionResponse.version.kubelet-value", version, KUBELET_VERSION)


@pytest.mark.parametrize(
    ("field", "form", "clause_id"),
    [
        pytest.param(name, form, clause_id, marks=clause(clause_id), id=clause_id)
        for name, form, clause_id in (
            (
                "runtime_version",
                _READABLE_RUNTIME,
                "VersionResponse.runtime_version.readable",
            ),
            (
                "runtime_api_version",
                _READABLE_API,
                "VersionResponse.runtime_api_version.readable",
            ),
        )
    ],
)
def test_reads_as_a_version(
    runtime: Runtime, judge: Judge, field: str, form: re.Pattern[str], clause_id: str
) -> None:
    value = getattr(runtime.get("Version"), field)
    judge.that(
        clause_id,
        form.fullmatch(value),
        permitted=f"{field} reads as a version",
        actual=repr(value),
    )


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(name, marks=clause(f"VersionResponse.{name}.strict-semver"), id=name)
        for name in ("runtime_version", "runtime_api_version")
    ],
)
def test_strict_semver_is_recorded(runtime: Runtime, judge: Judge, field: str) -> None:
    value = getattr(runtime.get("Version"), field)
    kind = "is" if _SEMVER.fullmatch(value) else "is not"
    judge.record(f"VersionResponse.{field}.strict-semver", f"{value!r} {kind} strictly semver")
