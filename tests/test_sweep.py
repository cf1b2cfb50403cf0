# SPDX-License-Identifier: Apache-2.0
"""What a sweep takes, and above all what it leaves alone."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, cast

import pytest

from cri_conformance import sweep
from cri_conformance.api import types
from cri_conformance.build.image import REPOSITORY, reference_for, repository_for
from cri_conformance.reference import process
from cri_conformance.settings import Settings
from cri_conformance.target import Preparation
from cri_conformance.wire import endpoint
from cri_conformance.wire.client import Client
from cri_conformance.wire.identity import OWNER_LABEL, RUN_LABEL, Run
from cri_conformance.wire.outcome import Ok, Outcome, Refused

LIVING = Run.new()
DEAD = Run("deadbeef", LIVING.owner.rsplit(".", 1)[0] + ".1")
ELSEWHERE = Run("e15e0000", "another-host.1.1")


HERE = endpoint.parse("unix:///run/here.sock")


class FakeRuntime:
    """Answers the lists, and notes what it was told to remove."""

    def __init__(self) -> None:
        self.containers: list[types.Container] = []
        self.sandboxes: list[types.PodSandbox] = []
        self.images: list[types.Image] = []
        self.removed: list[str] = []
        self.refuses: set[str] = set()
        self.endpoint = HERE
        #: Becomes a sandbox when something is removed.
        self.late: types.PodSandbox | None = None

    def call(self, rpc: str, *, deadline: float | None = None, **fields: Any) -> Outcome:
        del deadline
        if rpc in self.refuses:
            return Refused("INTERNAL", "not today")
        if rpc == "ListContainers":
            return Ok(types.ListContainersResponse(containers=self.containers))
        if rpc == "ListPodSandbox":
            return Ok(types.ListPodSandboxResponse(items=self.sandboxes))
        if rpc == "ListImages":
            return Ok(types.ListImagesResponse(images=self.images))
        (named,) = fields.values()
        self.removed.append(f"{rpc} {getattr(named, 'image', named)}")
        if rpc.startswith("Remove"):
            self.containers = [one for one in self.containers if one.id != named]
            self.sandboxes = [one for one in self.sandboxes if one.id != named]
        if self.late:
            self.sandboxes, self.late = [*self.sandboxes, self.late], None
        return Ok(None)

    def pod(self, id_: str, run: Run | None) -> None:
        self.sandboxes.append(types.PodSandbox(id=id_, labels=run.labels() if run else {}))

    def container(self, id_: str, run: Run | None, image: str = "") -> None:
        labels = run.labels() if run else {}
        self.containers.append(types.Container(id=id_, labels=labels, image_ref=image))


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRuntime:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return FakeRuntime()


def _client(runtime: FakeRuntime) -> Client:
    return cast("Client", runtime)


def _folder(tmp_path: Path, run: Run, place: str = HERE.place) -> Path:
    folder = tmp_path / f"cri-conformance-{run.nonce}-abc"
    folder.mkdir()
    (folder / "owner").write_text(run.owner, encoding="utf-8")
    if place:
        (folder / "endpoint").write_text(place, encoding="utf-8")
    return folder


def test_only_objects_of_runs_that_are_gone(runtime: FakeRuntime) -> None:
    for run in (None, LIVING, ELSEWHERE, DEAD):
        runtime.pod(f"pod-{run.nonce if run else 'foreign'}", run)
        runtime.container(f"ctr-{run.nonce if run else 'foreign'}", run)
    runtime.sandboxes.append(types.PodSandbox(id="half", labels={RUN_LABEL: DEAD.nonce}))
    runtime.sandboxes.append(types.PodSandbox(id="other half", labels={OWNER_LABEL: DEAD.owner}))
    assert sweep.find(_client(runtime)).lines() == [
        "container ctr-deadbeef",
        "sandbox pod-deadbeef",
    ]
    assert runtime.removed == []
    assert all(gone for _, gone in sweep.sweep(_client(runtime)))
    assert runtime.removed == ["RemoveContainer ctr-deadbeef", "RemovePodSandbox pod-deadbeef"]


def test_an_image_goes_if_its_tag_or_anything_else_names_an_owner_that_is_gone(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    gone = [reference_for(DEAD.nonce, DEAD.owner), f"{REPOSITORY}:0ddba115"]
    kept = [reference_for(run.nonce, run.owner) for run in (LIVING, ELSEWHERE)]
    kept += [f"{REPOSITORY}:00000000", f"{REPOSITORY}:reference", "localhost/other:deadbeef"]
    for number, reference in enumerate([*gone, *kept]):
        runtime.images.append(types.Image(id=f"sha256:{number}", repo_tags=[reference]))
    _folder(tmp_path, Run("0ddba115", DEAD.owner))
    list(sweep.sweep(_client(runtime)))
    assert runtime.removed == [f"RemoveImage {reference}" for reference in gone]


def test_an_image_without_a_tag_goes_by_its_digest(runtime: FakeRuntime, tmp_path: Path) -> None:
    _folder(tmp_path, DEAD)
    _folder(tmp_path, LIVING)
    runs = (DEAD.nonce, LIVING.nonce)
    names = [f"127.0.0.1:5000/{repository_for('pull', nonce)}@sha256:12" for nonce in runs]
    for name in (*names, "127.0.0.1:5000/cri-conformance/plain@sha256:12"):
        runtime.images.append(types.Image(id=f"sha256:{len(name)}", repo_digests=[name]))
    list(sweep.sweep(_client(runtime)))
    assert runtime.removed == [f"RemoveImage {names[0]}"]


@pytest.mark.parametrize("names", [["localhost/mine:1"], []])
def test_an_image_that_somebody_else_names_or_uses_stays(
    runtime: FakeRuntime, names: list[str]
) -> None:
    tag = reference_for(DEAD.nonce, DEAD.owner)
    runtime.images.append(types.Image(id="sha256:1", repo_tags=[tag, *names]))
    if not names:
        runtime.container("foreign", None, image="sha256:1")
    (line,) = [line for line, _ in sweep.sweep(_client(runtime))]
    assert line.startswith(f"kept image {tag}: ")
    assert runtime.removed == []


def test_folders_of_runs_that_are_gone(runtime: FakeRuntime, tmp_path: Path) -> None:
    gone = _folder(tmp_path, DEAD)
    kept = [_folder(tmp_path, LIVING), _folder(tmp_path, ELSEWHERE)]
    nameless = tmp_path / "cri-conformance-00000000-abc"
    nameless.mkdir()
    linked = tmp_path / "cri-conformance-11111111-abc"
    linked.symlink_to(gone)
    assert sweep.find(_client(runtime)).lines() == [f"folder {gone}"]
    assert list(sweep.sweep(_client(runtime))) == [(f"removed folder {gone}", True)]
    assert not gone.exists()
    assert all(path.is_dir() for path in (*kept, nameless))


def test_a_folder_that_the_runtime_made_anew_goes_with_what_the_run_left_there(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    """As containerd does, started again, with the logs of what it still has."""
    anew = tmp_path / f"{sweep.FOLDER_PREFIX}{DEAD.nonce}-abc"
    living = tmp_path / f"{sweep.FOLDER_PREFIX}{LIVING.nonce}-abc"
    for folder in (anew, living):
        (folder / "logs").mkdir(parents=True)
    runtime.pod("left", DEAD)
    runtime.pod("going on", LIVING)
    assert [line for line, _ in sweep.sweep(_client(runtime))] == [
        "removed sandbox left",
        f"removed folder {anew} (it does not say of which runtime)",
    ]
    assert not anew.exists()
    assert living.is_dir()


def test_a_folder_of_a_run_at_another_endpoint_stays_and_is_named(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    there = "unix:///run/there.sock"
    folder = _folder(tmp_path, DEAD, there)
    said = (f"kept folder {folder}: of a run at {there}, sweep there", True)
    assert sweep.find(_client(runtime)).lines() == []
    for lines in (sweep.plan, sweep.sweep):
        assert list(lines(_client(runtime))) == [said]
    assert folder.is_dir()
    # What its run has left here shows that the two names mean the same.
    runtime.pod("pod", DEAD)
    assert [line for line, _ in sweep.sweep(_client(runtime))] == [
        "removed sandbox pod",
        f"removed folder {folder}",
    ]


def test_a_folder_goes_with_any_sweep_where_no_runtime_is_named_or_left(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    old = _folder(tmp_path, DEAD, "")
    of_reference = _folder(tmp_path, Run("0ddba115", DEAD.owner), endpoint.REFERENCE)
    assert [line for line, _ in sweep.plan(_client(runtime))] == [
        f"would remove folder {of_reference}",
        f"would remove folder {old} (it does not say of which runtime)",
    ]
    assert all(gone for _, gone in sweep.sweep(_client(runtime)))
    assert not list(tmp_path.iterdir())


def test_one_socket_has_several_paths(runtime: FakeRuntime, tmp_path: Path) -> None:
    (tmp_path / "var").symlink_to(tmp_path)
    runtime.endpoint = endpoint.parse(f"{tmp_path}/var/cri.sock")
    folder = _folder(tmp_path, DEAD, endpoint.parse(f"{tmp_path}/cri.sock").place)
    assert sweep.find(_client(runtime)).lines() == [f"folder {folder}"]


@pytest.mark.parametrize("embedded", [True, False])
def test_a_run_notes_where_its_runtime_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, embedded: bool
) -> None:
    # A socket's path is short.
    with tempfile.TemporaryDirectory() as folder:
        monkeypatch.setattr(tempfile, "tempdir", folder)
        started = process.start()
        try:
            name = endpoint.REFERENCE if embedded else started.endpoint
            with Preparation(Settings(name, report=tmp_path)):
                [noted] = Path(folder).glob("cri-conformance-*/endpoint")
                place = name if embedded else endpoint.parse(name).place
                assert noted.read_text(encoding="utf-8") == place
        finally:
            started.stop()


def test_a_folder_stays_while_it_tells_whose_the_rest_is(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    folder = _folder(tmp_path, DEAD)
    runtime.pod("stuck", DEAD)
    runtime.refuses = {"RemovePodSandbox"}
    lines = [line for line, gone in sweep.sweep(_client(runtime)) if not gone]
    assert [line.partition(":")[0] for line in lines] == [
        "could not remove sandbox stuck",
        f"kept folder {folder}",
    ]
    assert folder.is_dir()


@pytest.mark.parametrize("late", [True, False])
def test_a_folder_stays_while_its_run_may_have_something_in_the_runtime(
    runtime: FakeRuntime, tmp_path: Path, late: bool
) -> None:
    folder = _folder(tmp_path, DEAD)
    runtime.pod("pod", DEAD)
    if late:
        runtime.late = types.PodSandbox(id="of a call under way", labels=DEAD.labels())
    else:
        runtime.refuses = {"ListContainers"}
    lines = [line for line, _ in sweep.sweep(_client(runtime))]
    assert lines[:2] == [
        "removed sandbox pod",
        f"kept folder {folder}: not everything of its run could be removed",
    ]
    assert folder.is_dir()
    runtime.refuses = set()
    assert all(gone for _, gone in sweep.sweep(_client(runtime)))
    assert not folder.exists()


def test_a_runtime_that_does_not_list_is_said_and_the_rest_is_swept(runtime: FakeRuntime) -> None:
    runtime.pod("pod", DEAD)
    runtime.refuses = {"ListImages"}
    assert next(line for line, _ in sweep.plan(_client(runtime))) == "would remove sandbox pod"
    assert list(sweep.sweep(_client(runtime))) == [
        ("removed sandbox pod", True),
        ("could not look: ListImages answers INTERNAL: not today", False),
    ]


def test_whatever_a_runtime_lists_the_sweep_says_little_in_harmless_lines(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "MOST_LINES", 3)
    for number in range(5):
        runtime.pod(f"\x1b[2J{number}\n{'x' * 10_000}", DEAD)
    runtime.refuses = {"RemovePodSandbox"}
    *lines, (last, gone) = sweep.told(sweep.sweep(_client(runtime)))
    assert [line[:37] for line, _ in lines] == [
        f"could not remove sandbox \\x1b[2J{number} xxxxx"[:37] for number in range(3)
    ]
    assert all(len(line) <= 400 + len("\\x1b") for line, _ in lines)
    assert (last, gone) == ("… and 2 more", False)
    assert len(sweep.find(_client(runtime)).lines()) == 4


def test_a_sweep_that_takes_too_long_says_what_is_left(
    runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "SWEEP_WITHIN", -1.0)
    for number in range(5):
        runtime.pod(str(number), DEAD)
    assert list(sweep.sweep(_client(runtime))) == [("5 more: no time was left, sweep again", False)]
    assert runtime.removed == []


def test_an_image_in_use_by_a_container_without_an_id_stays(runtime: FakeRuntime) -> None:
    runtime.images.append(
        types.Image(id="sha256:1", repo_tags=[reference_for(DEAD.nonce, DEAD.owner)])
    )
    runtime.container("", None, image="sha256:1")
    assert all(not gone for _, gone in sweep.sweep(_client(runtime)))
    assert runtime.removed == []


def test_an_owner_of_thousands_of_digits_is_no_owner(runtime: FakeRuntime) -> None:
    runtime.pod("pod", Run("deadbeef", DEAD.owner + "9" * 5000))
    assert sweep.find(_client(runtime)).lines() == ["sandbox pod"]


def test_runs_that_go_on_are_told_by_what_they_have_in_the_runtime(
    runtime: FakeRuntime, tmp_path: Path
) -> None:
    runtime.pod("pod", LIVING)
    runtime.container("ctr", ELSEWHERE)
    for run in (DEAD, Run("0ddba115", f"another-{ELSEWHERE.owner}")):
        runtime.images.append(types.Image(repo_tags=[reference_for(run.nonce, run.owner)]))
    # Of runs at whatever other endpoint.
    _folder(tmp_path, Run.new())
    found = sweep.find(_client(runtime))
    assert found.others(LIVING) == sorted([ELSEWHERE.owner, f"another-{ELSEWHERE.owner}"])
    assert LIVING.owner in found.others(ELSEWHERE)
