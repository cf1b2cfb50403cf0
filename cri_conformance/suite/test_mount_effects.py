# SPDX-License-Identifier: Apache-2.0
"""Mounts of host paths in their effect: what is seen, and who may write.

One container with many mounts looks at all of them when it starts; a second one has the
recursively read-only one, which not every runtime offers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.mounting import (
    mount,
    mounting,
    own_folder,
    report,
    reporting,
    run,
    started,
)
from cri_conformance.wire import host_mounts
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

pytestmark = pytest.mark.usefixtures("isolation")

_WORD, _YES, _NO = "a word of the host", "yes", "no"
#: Ways to write, each by the name under which it is reported.
_WRITES = {
    "create": "w create /cri/ro/new",
    "change": "t change sh -c 'echo more >> /cri/ro/word'",
    "delete": "t delete rm /cri/ro/word",
    "rename": "t rename mv /cri/ro/word /cri/ro/other",
    "chmod": "t chmod chmod 0600 /cri/ro/word",
    "folder": "t folder mkdir /cri/ro/folder",
    "file": "t file sh -c 'echo more >> /cri/rofile'",
}
_SCRIPT = "; ".join(
    [
        "v plain /cri/plain/word",
        'echo "names $(ls -A /cri/plain | tr \'\\n\' \' \')"',
        "v hides /etc/group",
        "t created test -d /cri/not/there/before",
        "t is-file test -f /cri/file",
        "v file-word /cri/file",
        "v link-word /cri/link/word",
        "v filelink-word /cri/filelink",
        "w plain-write /cri/plain/new",
        *_WRITES.values(),
        *(f"v {name}-{depth} {path}" for name in ("rising", "falling") for depth, path in (
            ("outer", f"/cri/{name}/word"),
            ("inner", f"/cri/{name}/inner/word"),
            ("deep", f"/cri/{name}/inner/deep/word"),
        )),
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mounted:
    """A running container, what it found at its start, and the folder on the host."""

    container: Container
    found: Mapping[str, str]
    folder: Path


def _prepare(folder: Path) -> None:
    for name in ("plain", "ro", "target", "outer", "inner", "deep"):
        (folder / name).mkdir()
        (folder / name / "word").write_text(f"{_WORD}: {name}", encoding="utf-8")
    for name in ("file", "rofile", "group"):
        (folder / name).write_text(f"{_WORD}: {name}", encoding="utf-8")
    (folder / "link").symlink_to("target")
    (folder / "filelink").symlink_to(folder / "file")


@pytest.fixture(scope="module")
def mounted(module_runtime: Runtime, shared_sandbox: Sandbox) -> Iterator[Mounted]:
    """See above."""
    with own_folder(module_runtime, shared_sandbox) as folder:
        _prepare(folder)
        nested = [("outer", ""), ("inner", "/inner"), ("deep", "/inner/deep")]
        mounts = [
            *(mount(folder / name, f"/cri/rising{path}") for name, path in reversed(nested)),
            *(mount(folder / name, f"/cri/falling{path}") for name, path in nested),
            mount(folder / "plain", "/cri/plain"),
            mount(folder / "plain", "/cri/not/there/before"),
            mount(folder / "group", "/etc/group"),
            mount(folder / "file", "/cri/file"),
            mount(folder / "link", "/cri/link"),
            mount(folder / "filelink", "/cri/filelink"),
            mount(folder / "ro", "/cri/ro", readonly=True),
            mount(folder / "rofile", "/cri/rofile", readonly=True),
        ]
        container, found = run(module_runtime, shared_sandbox, mounts, _SCRIPT)
        yield Mounted(container, found, folder)


def _judge_words(judge: Judge, clause_id: str, mounted: Mounted, **words: str) -> None:
    """Each name must be reported with the word of this folder or file."""
    seen = {name: mounted.found.get(name.replace("_", "-")) for name in words}
    wanted = {name: f"{_WORD}: {word}" for name, word in words.items()}
    judge.equal(clause_id, seen, wanted, about=[mounted.container.id])


@clause("Mount.container_path.in-place")
def test_a_mount_is_in_place(mounted: Mounted, judge: Judge) -> None:
    name = "Mount.container_path.in-place"
    _judge_words(judge, name, mounted, plain="plain", hides="group")
    names = sorted(mounted.found["names"].split())
    judge.equal(name, names, ["word"], "names at the mount:", about=[mounted.container.id])


@clause("Mount.container_path.created")
def test_a_mount_makes_its_place(mounted: Mounted, judge: Judge) -> None:
    judge.equal(
        "Mount.container_path.created",
        mounted.found.get("created"),
        _YES,
        "a folder at a path that the image has not:",
        about=[mounted.container.id],
    )


@clause("Mount.host_path.file")
def test_a_file_is_mounted_as_a_file(mounted: Mounted, judge: Judge) -> None:
    name = "Mount.host_path.file"
    judge.equal(name, mounted.found.get("is-file"), _YES, "a file:", about=[mounted.container.id])
    _judge_words(judge, name, mounted, file_word="file")


@clause("Mount.host_path.symlink-followed")
def test_symbolic_links_are_followed(mounted: Mounted, judge: Judge) -> None:
    _judge_words(
        judge, "Mount.host_path.symlink-followed", mounted, link_word="target", filelink_word="file"
    )


@clause("Mount.host_path.shared")
def test_both_sides_see_the_same(mounted: Mounted, runtime: Runtime, judge: Judge) -> None:
    name, there = "Mount.host_path.shared", "/cri/plain/from-"
    (mounted.folder / "plain" / "from-host").write_text("host", encoding="utf-8")
    seen = runtime.exec(mounted.container, "cat", f"{there}host").stdout
    judge.equal(name, seen, b"host", "what the host wrote", about=[mounted.container.id])
    runtime.exec(mounted.container, "/bin/sh", "-c", f"printf container > {there}container")
    file = mounted.folder / "plain" / "from-container"
    seen = file.read_bytes() if file.is_file() else b""
    judge.equal(name, seen, b"container", "what the container wrote", about=[mounted.container.id])


@clause("Mount.readonly.default-writable")
def test_a_mount_can_be_written_to(mounted: Mounted, judge: Judge) -> None:
    written = mounted.found.get("plain-write"), (mounted.folder / "plain" / "new").is_file()
    judge.equal(
        "Mount.readonly.default-writable",
        written,
        (_YES, True),
        "a file is made, and is on the host:",
        about=[mounted.container.id],
    )


@clause("Mount.readonly.write-refused")
def test_a_readonly_mount_can_not(mounted: Mounted, judge: Judge) -> None:
    name = "Mount.readonly.write-refused"
    managed = [way for way in _WRITES if mounted.found.get(way) != _NO]
    judge.equal(name, managed, [], "ways to write:", about=[mounted.container.id])
    there = sorted(path.name for path in (mounted.folder / "ro").iterdir())
    judge.equal(name, there, ["word"], "on the host there is", about=[mounted.container.id])


@clause("ContainerConfig.mounts.all-mounted")
def test_nested_mounts_in_any_order(mounted: Mounted, judge: Judge) -> None:
    for order in ("rising", "falling"):
        words = {f"{order}_{name}": name for name in ("outer", "inner", "deep")}
        _judge_words(judge, "ContainerConfig.mounts.all-mounted", mounted, **words)


@clause("ContainerConfig.mounts.same-place")
def test_two_mounts_at_one_place(runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    with own_folder(runtime, shared_sandbox) as folder:
        for name in ("first", "second"):
            (folder / name).mkdir()
            (folder / name / "word").write_text(name, encoding="utf-8")
        mounts = [mount(folder / name, "/cri/same") for name in ("first", "second")]
        config = reporting(runtime, shared_sandbox, mounts, "v same /cri/same/word")
        container, outcome = started(runtime, shared_sandbox, config)
        seen = f"the {report(runtime, container)['same']} is seen" if container else str(outcome)
        judge.record("ContainerConfig.mounts.same-place", seen)


# -- mounts below mounts ---------------------------------------------------------------------

_BELOW = "v early /cri/ro/sub/word; w top /cri/ro/new; w below /cri/ro/sub/new"


def _with_one_below(
    runtime: Runtime, sandbox: Sandbox, folder: Path, *, recursive: bool
) -> tuple[Container, Mapping[str, str]]:
    """A read-only mount with a writable one below it. Raises NotExercised."""
    sub = folder / "sub"
    sub.mkdir()
    with mounting():
        host_mounts.tmpfs(sub)
    (sub / "word").write_text(_WORD, encoding="utf-8")
    ro = mount(folder, "/cri/ro", readonly=True, recursive_read_only=recursive)
    container, outcome = started(runtime, sandbox, reporting(runtime, sandbox, [ro], _BELOW))
    if container is None and recursive:
        # Handlers say in their features whether they have it.
        raise NotExercised(Reason.NOT_ADVERTISED, f"recursive_read_only_mounts: {outcome}")
    if container is None:
        raise SetupFailed(f"a container with a mount does not start: {outcome}")
    found = report(runtime, container)
    if found.get("early") != _WORD:
        raise NotExercised(Reason.NEEDS_HOST, "our mounts are not the runtime's")
    return container, found


@clause("Mount.recursive_read_only.unset-submounts")
def test_read_only_is_the_mount_alone(
    runtime: Runtime, shared_sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    with own_folder(runtime, shared_sandbox) as folder:
        container, found = _with_one_below(runtime, shared_sandbox, folder, recursive=False)
        judge.equal(
            "Mount.recursive_read_only.unset-submounts",
            found.get("below"),
            _YES,
            "the mount below can be written to:",
            about=[container.id],
        )


@clause("Mount.recursive_read_only.submounts")
def test_recursively_read_only_is_what_is_below_too(
    runtime: Runtime, shared_sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    with own_folder(runtime, shared_sandbox) as folder:
        container, found = _with_one_below(runtime, shared_sandbox, folder, recursive=True)
        judge.equal(
            "Mount.recursive_read_only.submounts",
            [where for where in ("top", "below") if found.get(where) != _NO],
            [],
            "can be written to:",
            about=[container.id],
        )
