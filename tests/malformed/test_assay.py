# SPDX-License-Identifier: Apache-2.0
"""What comes of a broken message: what is asked, and what is looked at, after which answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cri_conformance.malformed import assay as module
from cri_conformance.malformed.assay import Assay
from cri_conformance.malformed.fields import Field, Wire
from cri_conformance.malformed.mutations import Mutation
from cri_conformance.malformed.oracle import Kind, Misbehaviour
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown

SILENT = Unknown("no answer within our deadline of 1 s")
BROKE = Unknown("the connection broke")
#: The runtime's own words: of a registry, say.
AWAY = Refused("UNAVAILABLE", "the registry is away")


class Yard:
    """Notes what is looked at."""

    secrets = ()
    guard = SimpleNamespace(check=lambda rpc, data: None)

    def __init__(self) -> None:
        self.looks: list[str] = []

    def left(self) -> None:
        self.looks.append("left")

    def check(self, *, doubtful: bool) -> None:
        self.looks.append("doubtful" if doubtful else "certain")

    def made(self, rpc: str, data: bytes) -> None:
        pass


class Bed:
    """An assay whose runtime gives these answers to messages, and these to Version."""

    def __init__(
        self, *answers: Outcome, pulse: Outcome | None = None, log: Path | None = None
    ) -> None:
        self.yard = Yard()
        self.asked: list[str] = []
        self._answers: Iterator[Outcome] = iter(answers)
        self._pulse = pulse or Ok(b"")
        endpoint = SimpleNamespace(socket=None)
        client: Any = SimpleNamespace(endpoint=endpoint, wait_ready=lambda seconds: True)
        yard: Any = self.yard
        self.assay = Assay(yard, client, patience=(0.0,), log=log)

    def call(self, rpc: str, data: bytes, *, deadline: float) -> Outcome:
        self.asked.append(rpc)
        return self._pulse if rpc == "Version" else next(self._answers)

    def send(self, rpc: str, name: str = "plain") -> str:
        base: Any = SimpleNamespace(rpc=rpc, name=name, tree=())
        return self.assay.send(base, ())


@pytest.fixture(autouse=True)
def raw(monkeypatch: pytest.MonkeyPatch) -> None:
    class Raw:
        def __init__(self, client: Any) -> None:
            pass

    monkeypatch.setattr(module, "RawClient", Raw)


@pytest.fixture
def bed(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(*answers: Outcome, **options: Any) -> Bed:
        made = Bed(*answers, **options)
        monkeypatch.setattr(made.assay.raw, "call", made.call, raising=False)
        return made

    return make


def test_a_refusal_in_the_runtimes_own_words_leaves_no_doubt(bed: Any):
    one = bed(AWAY)
    assert one.send("PullImage") == "UNAVAILABLE"
    one.assay.settle()
    assert one.yard.looks == ["certain"]


@pytest.mark.parametrize("answer", [BROKE, SILENT])
def test_what_had_no_answer_may_yet_come_about(bed: Any, answer: Outcome):
    one = bed(answer, Ok(b""))
    one.send("PullImage")
    one.assay.settle()
    assert one.yard.looks == ["doubtful"]
    one.assay.settle()
    assert one.yard.looks == ["doubtful", "certain"]


def test_a_crash_amid_a_sandbox_made_to_the_end_is_told_as_one(bed: Any):
    # Whether the runtime lives comes before the look at what is left, which nobody would answer.
    one = bed(BROKE, pulse=BROKE)
    with pytest.raises(Misbehaviour) as told:
        one.send("RunPodSandbox", "full")
    assert told.value.kind is Kind.CRASH
    assert told.value.cause == "RunPodSandbox"
    assert one.yard.looks == []


def test_what_a_refused_sandbox_left_is_looked_for_at_once(bed: Any):
    one = bed(Refused("INVALID_ARGUMENT", "no"))
    one.send("RunPodSandbox", "full")
    assert one.yard.looks == ["left"]


@pytest.mark.parametrize("lasting", [True, False])
def test_what_stays_for_good_is_told_by_call_and_field(
    bed: Any, monkeypatch: pytest.MonkeyPatch, lasting: bool
):
    def left() -> None:
        raise Misbehaviour(Kind.LEAK, "left sandbox", "one", lasting=lasting)

    one = bed(Refused("INVALID_ARGUMENT", "no"))
    monkeypatch.setattr(one.yard, "left", left)
    inner = Field(1, Wire.BYTES, b"x", name="name")
    tree = (Field(1, Wire.BYTES, (inner,), name="config"),)
    base: Any = SimpleNamespace(rpc="RunPodSandbox", name="full", tree=tree)
    with pytest.raises(Misbehaviour) as told:
        one.assay.send(base, [Mutation("drop", (0, 0)), Mutation("truncated", (), 1)])
    by = " by RunPodSandbox config.name message"
    assert told.value.cause == f"left sandbox{by if lasting else ''}"


@pytest.mark.parametrize(("pulse", "kind"), [(BROKE, Kind.CRASH), (SILENT, Kind.HANG)])
def test_a_stream_that_says_nothing_because_all_is_over_is_known_to_be_it(
    bed: Any, pulse: Outcome, kind: Kind
):
    one = bed(SILENT, pulse=pulse)
    with pytest.raises(Misbehaviour) as told:
        one.send("GetContainerEvents")
    # That nobody is answered is another finding than a call that alone is not.
    after = "Version after " * (kind is Kind.HANG)
    assert (told.value.kind, told.value.cause) == (kind, f"{after}GetContainerEvents")


def test_a_stream_that_says_nothing_rightly_is_asked_once(bed: Any):
    one = bed(SILENT)
    assert one.send("GetContainerEvents") == "UNKNOWN-OUTCOME"
    assert one.asked == ["GetContainerEvents", "Version"]
    one.assay.settle()
    assert one.yard.looks == ["certain"]


def test_a_call_without_an_answer_twice_hangs(bed: Any):
    with pytest.raises(Misbehaviour) as told:
        bed(SILENT, SILENT).send("ExecSync")
    assert told.value.kind is Kind.HANG


def test_a_restart_by_others_is_no_crash(bed: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pids = iter([1, 2, 2, 3])
    monkeypatch.setattr(module, "peer", lambda endpoint: next(pids))
    log = tmp_path / "log"
    made = bed(log=log)
    log.write_text("panic: of another's call\n")
    made.assay.begin()
    made.assay.settle()
    with pytest.raises(Misbehaviour, match="2 before, now 3"):
        made.assay.settle()
