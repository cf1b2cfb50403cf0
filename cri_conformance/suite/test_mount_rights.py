# SPDX-License-Identifier: Apache-2.0
"""Whose the files at a mount are, and what may be done with them beside reading and writing.

Mapped ids, options of the mount, and labels: each is a matter of some hosts and runtimes
only.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, NotExercised, clause
from cri_conformance.suite.cells import Mapping, in_userns
from cri_conformance.suite.mounting import mount, own_folder, report, reporting, started
from cri_conformance.wire.host import Host
from cri_conformance.wire.outcome import Ok
from cri_conformance.wire.runtime import Runtime, Sandbox

pytestmark = pytest.mark.usefixtures("isolation")

# -- mapped ids ------------------------------------------------------------------------------

#: Far from the ranges that a kubelet or another test hands out.
_RANGE: list[Mapping] = [(0, 30_000 * 65536, 65536)]
_FILE_OWNER, _MADE_OWNER = (77, 78), (4321, 5432)
_LOOK = (
    "echo \"there $(stat -c '%u %g' /cri/mapped/there)\"; "
    f"t made sh -c ': > /cri/mapped/made && chown {_MADE_OWNER[0]}:{_MADE_OWNER[1]} "
    "/cri/mapped/made'"
)


@dataclass(frozen=True, slots=True)
class Owners:
    """(user, group) of a file of the host as the container sees it, and the other way round."""

    container: str
    there: tuple[int, ...]
    made: tuple[int, ...]


@pytest.fixture(scope="module")
def owners(module_runtime: Runtime, shared_sandbox: Sandbox, host: Host) -> Iterator[Owners]:
    """Seen in a sandbox with a user namespace, at a mount with its mappings."""
    runtime = module_runtime
    handlers = runtime.get("Status").runtime_handlers
    handler = next((one for one in handlers if one.name == runtime.workshop.handler), None)
    if handler is None or not handler.features.user_namespaces:
        raise NotExercised(Reason.NOT_ADVERTISED, "user_namespaces")
    config = runtime.sandbox_config()
    in_userns(config, types.POD, _RANGE, _RANGE)
    sandbox = runtime.sandbox(config)
    with own_folder(runtime, shared_sandbox) as folder:
        there, made = folder / "there", folder / "made"
        there.touch()
        os.chown(there, *_FILE_OWNER)
        mapped = mount(folder, "/cri/mapped")
        options = config.linux.security_context.namespace_options
        mapped.uidMappings.extend(options.userns_options.uids)
        mapped.gidMappings.extend(options.userns_options.gids)
        container_config = reporting(runtime, sandbox, [mapped], _LOOK)
        container_config.linux.security_context.namespace_options.CopyFrom(options)
        container, outcome = started(runtime, sandbox, container_config)
        if container is None:
            raise NotExercised(Reason.NEEDS_HOST, f"its file system maps no ids: {outcome}")
        seen = report(runtime, container)["there"].split()
        yield Owners(
            container.id,
            tuple(map(int, seen)),
            (made.stat().st_uid, made.stat().st_gid) if made.exists() else (),
        )


@pytest.mark.parametrize(
    ("clause_id", "index"),
    [
        pytest.param(name, index, marks=clause(name), id=name)
        for index, name in enumerate(
            ("Mount.uidMappings.ids-mapped", "Mount.gidMappings.ids-mapped")
        )
    ],
)
def test_ids_are_those_on_the_disk(
    clause_id: str, index: int, owners: Owners, judge: Judge
) -> None:
    for what, seen, wanted in (
        ("of a file that was there", owners.there, _FILE_OWNER),
        ("of a file that the container made", owners.made, _MADE_OWNER),
    ):
        judge.equal(
            clause_id, seen[index : index + 1], (wanted[index],), what, about=[owners.container]
        )


# -- options ---------------------------------------------------------------------------------

_OPTIONS = ("noexec", "nosuid", "nodev")
_TRY = (
    "t exec /cri/options/program; t device sh -c ': < /cri/options/null'; "
    "t setuid sh -c 'grep -E \" /cri/options [^ ]*nosuid\" /proc/self/mountinfo'; "
    "t plain-exec /cri/plain/program; t plain-device sh -c ': < /cri/plain/null'"
)


@pytest.mark.parametrize(
    "option", [pytest.param(o, marks=clause(f"Mount.mount_options.{o}"), id=o) for o in _OPTIONS]
)
def test_options_of_a_mount(
    option: str, runtime: Runtime, shared_sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    name = f"Mount.mount_options.{option}"
    if judge.rules.register[name].since > judge.rules.minor:
        judge.skip(Reason.YOUNGER, f"holds since {judge.rules.register[name].since}")
    if not runtime.get("Status").features.mount_options:
        judge.skip(Reason.NOT_ADVERTISED, "mount_options")
    with own_folder(runtime, shared_sandbox) as folder:
        folder.chmod(0o755)
        program = folder / "program"
        program.write_text("#!/bin/sh\nexit 0\n", encoding="utf-8")
        program.chmod(0o755)
        with contextlib.suppress(OSError):
            # The null device: every container may open it.
            os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        mounts = [
            mount(folder, "/cri/options", mount_options=[option]),
            mount(folder, "/cri/plain"),
        ]
        container, outcome = started(
            runtime, shared_sandbox, reporting(runtime, shared_sandbox, mounts, _TRY)
        )
        judge.ok(name, outcome)
        if container is None:
            return
        found = report(runtime, container)
        shown, without, refused = {
            "noexec": ("exec", "plain-exec", "no"),
            "nodev": ("device", "plain-device", "no"),
            # A program that gains nothing is the kernel's part: here the mount says it.
            "nosuid": ("setuid", "", "yes"),
        }[option]
        if without and found[without] != "yes":
            judge.skip(Reason.NEEDS_HOST, "without the option it can't be done there either")
        judge.equal(name, found[shown], refused, f"{shown}:", about=[container.id])


# -- labels ----------------------------------------------------------------------------------

_LABEL = "security.selinux"


@pytest.fixture
def labelled(host: Host, runtime: Runtime, shared_sandbox: Sandbox) -> Iterator[Path]:
    """A folder on a host that enforces SELinux, whose label keeps containers out."""
    enforce = host.path("/sys/fs/selinux/enforce")
    if not enforce.is_file() or enforce.read_text(encoding="utf-8").strip() != "1":
        raise NotExercised(Reason.NEEDS_HARDWARE, "a host that enforces SELinux")
    with own_folder(runtime, shared_sandbox) as folder:
        (folder / "word").write_text("word", encoding="utf-8")
        yield folder


def _reads(runtime: Runtime, sandbox: Sandbox, folder: Path, *, relabel: bool) -> bool:
    mounts = [mount(folder, "/cri/labelled", selinux_relabel=relabel)]
    config = runtime.container_config(
        sandbox, command=["/bin/sh", "-c", "cat /cri/labelled/word >/dev/null"]
    )
    config.mounts.extend(mounts)
    made = runtime.create_and_start(sandbox, config)
    if not isinstance(made, Ok):
        return False
    listed = runtime.get("ListContainers").containers
    (container,) = [one.id for one in listed if one.metadata.name == config.metadata.name]
    return runtime.wait_exited(container).exit_code == 0


@clause("Mount.selinux_relabel.unset-keeps-label", "Mount.selinux_relabel.relabelled")
def test_labels(labelled: Path, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge) -> None:
    before = os.getxattr(labelled, _LABEL)
    reads = _reads(runtime, shared_sandbox, labelled, relabel=False)
    judge.equal(
        "Mount.selinux_relabel.unset-keeps-label", os.getxattr(labelled, _LABEL), before, "label:"
    )
    name = "Mount.selinux_relabel.relabelled"
    if reads:
        judge.not_exercised(name, Reason.NEEDS_HARDWARE, "no label there keeps a container out")
        return
    reads = _reads(runtime, shared_sandbox, labelled, relabel=True)
    judge.equal(name, reads, True, "with selinux_relabel, the container reads:")
