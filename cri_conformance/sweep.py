# SPDX-License-Identifier: Apache-2.0
"""What runs that were killed have left behind: found, named, removed on request.

An object is a leftover only if it says itself that it is ours (label, tag, owner file)
and the process that it names as its owner is gone. Whatever leaves a doubt stays: a run
on another host may share the runtime, and can't be looked at from here. So do folders of runs
at other endpoints: it is by them that a sweep there tells what else is of those runs.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from cri_conformance.api import types
from cri_conformance.build.image import is_ours, owner_in_name
from cri_conformance.report.text import one_line
from cri_conformance.wire import cgroups
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import REFERENCE
from cri_conformance.wire.host_mounts import unmount_below
from cri_conformance.wire.identity import OWNER_LABEL, RUN_LABEL, Run, owner_alive
from cri_conformance.wire.outcome import Ok, Refused
from cri_conformance.wire.runtime import CLEANUP_DEADLINE, remove

#: A run's temporary folders begin so; its nonce follows.
FOLDER_PREFIX = "cri-conformance-"
#: Names of the files that say which process a temporary folder belongs to, and where its runtime
#: is. The second is there first.
OWNER_FILE, ENDPOINT_FILE = "owner", "endpoint"

#: Seconds in which a sweep begins removals, and lines that it says: a runtime may list millions of
#: objects that claim to be ours, and answer slowly.
SWEEP_WITHIN, MOST_LINES = 120.0, 1_000

_FOLDER = re.compile(rf"{FOLDER_PREFIX}(?P<nonce>[0-9a-f]{{8}})-.+")


@dataclass(frozen=True, slots=True)
class Leftover:
    """One thing that a run which is gone left behind. ``what`` says in which way it is removed."""

    what: str
    id: str
    nonce: str
    about: str = ""

    def __str__(self) -> str:
        return f"{self.what} {self.id}" + (f" ({self.about})" if self.about else "")


@dataclass
class Found:
    """What there is to sweep, in the order of removal, and what had to be left, with reasons.

    ``elsewhere`` are folders of runs at other endpoints, in words.
    ``living`` has the owner, by nonce, of each run that has objects in the runtime and may go on.
    """

    leftovers: list[Leftover] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    living: dict[str, str] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """What earlier runs left behind, in words."""
        lines = ((str(leftover), True) for leftover in self.leftovers)
        return [line for line, _ in told(lines)]

    def others(self, run: Run) -> list[str]:
        """The owners of other runs that may go on."""
        owners = {owner for nonce, owner in self.living.items() if nonce != run.nonce}
        return sorted(owners)


def told(lines: Iterable[tuple[str, bool]]) -> Iterator[tuple[str, bool]]:
    """The same, fit to be shown: each in one harmless line, and after ``MOST_LINES`` their number.

    All of them are taken: what a sweep says last, it has done.
    """
    more, gone = 0, True
    for number, (line, one_gone) in enumerate(lines):
        if number < MOST_LINES:
            yield one_line(line), one_gone
        else:
            more, gone = more + 1, gone and one_gone
    if more:
        yield f"… and {more} more", gone


def find(client: Client) -> Found:
    """Look for leftovers, and touch nothing. Raises RuntimeGone."""
    found = Found()
    containers = _listed(client, "ListContainers", "containers", found)
    sandboxes = _listed(client, "ListPodSandbox", "items", found)
    images = _listed(client, "ListImages", "images", found)
    folders = list(_folders())
    # A nonce that any living owner stands for is spared everywhere.
    owners: dict[str, set[str]] = defaultdict(set)
    for nonce, owner in _labelled(*containers, *sandboxes):
        owners[nonce].add(owner)
    for folder in folders:
        if folder.owner:
            owners[folder.nonce].add(folder.owner)
    tagged = (owner_in_name(tag) for image in images for tag in image.repo_tags)
    in_runtime = {*_labelled(*containers, *sandboxes), *tagged}
    found.living = {nonce: owner for nonce, owner in in_runtime if owner_alive(owner)}
    dead = {nonce for nonce, names in owners.items() if not any(map(owner_alive, names))}
    for what, items in (("container", containers), ("sandbox", sandboxes)):
        found.leftovers += [
            Leftover(what, item.id, item.labels[RUN_LABEL], item.metadata.name)
            for item in items
            if OWNER_LABEL in item.labels and item.labels.get(RUN_LABEL, "") in dead
        ]
    swept = {leftover.id for leftover in found.leftovers}
    users = {
        name: item.id
        for item in containers
        if item.id not in swept
        for name in (item.image.image, item.image_ref, item.image_id)
    }
    for image in images:
        _judge_image(image, dead, users, found)
    # What a run has left here is seen to be here, by whichever name.
    here = {nonce for nonce, _ in in_runtime}
    for folder in folders:
        if folder.nonce not in dead or not (folder.owner or folder.nonce in here):
            continue
        if folder.nonce in here or folder.place in ("", REFERENCE, client.endpoint.place):
            about = "" if folder.place else "it does not say of which runtime"
            found.leftovers.append(Leftover("folder", str(folder.path), folder.nonce, about))
        else:
            found.elsewhere.append(
                f"kept folder {folder.path}: of a run at {folder.place}, sweep there"
            )
    return found


def plan(client: Client) -> Iterator[tuple[str, bool]]:
    """What ``sweep`` would say, with nothing removed. Raises RuntimeGone."""
    found = find(client)
    for leftover in found.leftovers:
        yield f"would remove {leftover}", True
    yield from _left_alone(found)


def sweep(client: Client) -> Iterator[tuple[str, bool]]:
    """Remove every leftover; (line about it, whether it is gone) each. Raises RuntimeGone."""
    found = find(client)
    stuck: set[str] = set()
    until = time.monotonic() + SWEEP_WITHIN
    # Last, and only of runs that have nothing there any more, also of what a call made that was
    # under way: a runtime makes the folder of a log anew, without the file that says whose it is.
    looked = False
    for number, leftover in enumerate(found.leftovers):
        if time.monotonic() > until:
            yield f"{len(found.leftovers) - number} more: no time was left, sweep again", False
            break
        if leftover.what == "folder" and not looked:
            stuck |= _not_known_gone(client, found)
            looked = True
        if leftover.what == "folder" and leftover.nonce in stuck:
            # Its owner file is what tells the next sweep that the rest may go.
            yield f"kept {leftover}: not everything of its run could be removed", False
        elif problem := _remove(client, leftover):
            stuck.add(leftover.nonce)
            yield f"could not remove {leftover}: {problem}", False
        else:
            yield f"removed {leftover}", True
    yield from _left_alone(found)


def _left_alone(found: Found) -> Iterator[tuple[str, bool]]:
    for line in found.kept:
        yield line, False
    for line in found.elsewhere:
        # There is nothing here that it would be left of.
        yield line, True


def _not_known_gone(client: Client, found: Found) -> set[str]:
    """The runs, of those that left folders, that have something in the runtime, or may have."""
    now = Found()
    containers = _listed(client, "ListContainers", "containers", now)
    sandboxes = _listed(client, "ListPodSandbox", "items", now)
    if now.kept:
        return {leftover.nonce for leftover in found.leftovers}
    return {nonce for nonce, _ in _labelled(*containers, *sandboxes)}


def _listed(client: Client, rpc: str, items: str, found: Found) -> list[Any]:
    outcome = client.call(rpc, deadline=CLEANUP_DEADLINE)
    if isinstance(outcome, Ok):
        return list(getattr(outcome.response, items))
    found.kept.append(f"could not look: {rpc} answers {outcome}")
    return []


def _labelled(*items: Any) -> Iterator[tuple[str, str]]:
    """(nonce, owner) of the objects that say both."""
    for item in items:
        if RUN_LABEL in item.labels and OWNER_LABEL in item.labels:
            yield item.labels[RUN_LABEL], item.labels[OWNER_LABEL]


class _Folder(NamedTuple):
    """A temporary folder. ``owner``, and ``place`` of its endpoint, are "" where it does not say.

    A runtime that is started again makes folders of logs anew, without a word of whose they are.
    """

    path: Path
    nonce: str
    owner: str
    place: str


def _folders() -> Iterator[_Folder]:
    """Those of every run of this user."""
    for path in sorted(Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*")):
        match = _FOLDER.fullmatch(path.name)
        try:
            if not match or path.is_symlink() or path.stat().st_uid != os.geteuid():
                continue
            owner_file, noted = path / OWNER_FILE, path / ENDPOINT_FILE
            owner = owner_file.read_text(encoding="utf-8") if owner_file.exists() else ""
            place = os.fsdecode(noted.read_bytes()) if noted.exists() else ""
        except (OSError, UnicodeDecodeError):
            # Nobody can say whether it is still wanted.
            continue
        yield _Folder(path, match["nonce"], owner.strip(), place.strip())


def _judge_image(image: types.Image, dead: set[str], users: dict[str, str], found: Found) -> None:
    # Runtimes take all names of an image away with one of them.
    names = [*image.repo_tags, *image.repo_digests]
    own = [name for name in names if is_ours(name)]
    # Not all names by digest tell a run: those by tag do, where there are any.
    tags = [name for name in image.repo_tags if is_ours(name)] or own
    runs = [owner_in_name(name) for name in tags]
    gone = [not owner_alive(owner) if owner else nonce in dead for nonce, owner in runs]
    if not tags or not all(gone):
        return
    if foreign := [name for name in names if not is_ours(name)]:
        found.kept.append(f"kept image {tags[0]}: it is named {foreign[0]} too")
        return
    user = next((users[name] for name in (image.id, *names) if name in users), None)
    if user is not None:
        found.kept.append(f"kept image {tags[0]}: container {user} uses it")
        return
    found.leftovers.append(Leftover("image", tags[0], runs[0][0]))


def _remove(client: Client, leftover: Leftover) -> str:
    """Remove one thing; "" or what went wrong."""
    if leftover.what == "folder":
        unmount_below(Path(leftover.id))
        try:
            shutil.rmtree(leftover.id)
        except FileNotFoundError:
            return ""
        except OSError as error:
            return str(error)
        cgroups.remove(cgroups.HIERARCHIES, leftover.nonce)
        return ""
    if leftover.what == "image":
        spec = types.ImageSpec(image=leftover.id, user_specified_image=leftover.id)
        outcome = client.call("RemoveImage", image=spec, deadline=CLEANUP_DEADLINE)
        gone = isinstance(outcome, Refused) and outcome.code == "NOT_FOUND"
        return "" if gone or isinstance(outcome, Ok) else str(outcome)
    rpc = "RemovePodSandbox" if leftover.what == "sandbox" else "RemoveContainer"
    return remove(client, rpc, leftover.id)
