# SPDX-License-Identifier: Apache-2.0
"""ImageFsInfo: plausible numbers, that grow with what is pulled."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.registry import oci
from cri_conformance.suite.pulls import Pulls, noise
from cri_conformance.target import Target
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed
from cri_conformance.wire.runtime import Runtime, poll

#: What is pulled: bytes that can't be packed closer, in so many files.
SIZE, FILES = 4 * 1024 * 1024, 64
#: How often it is tried where what is used falls meanwhile.
ATTEMPTS = 3
#: Seconds until a runtime must have measured anew: they do so every ten or so.
MEASURED_WITHIN = 45.0
#: Seconds by which the clocks of runtime and client may differ.
CLOCKS_DIFFER = 60.0


def _file_systems(runtime: Runtime) -> list[Any]:
    return list(runtime.get("ImageFsInfo").image_filesystems)


@clause(
    "ImageService.ImageFsInfo.succeeds",
    "ImageFsInfoResponse.image_filesystems.timestamp",
    "ImageFsInfoResponse.image_filesystems.mountpoint",
)
def test_what_is_told(runtime: Runtime, judge: Judge, cri_target: Target) -> None:
    judge_file_systems(judge, runtime.call("ImageFsInfo"), cri_target.facts.host_root)


def judge_file_systems(judge: Judge, outcome: Outcome, root: str) -> None:
    """Judge an answer of ImageFsInfo; ``root`` is where the host's files are, "" for nowhere."""
    judge.ok("ImageService.ImageFsInfo.succeeds", outcome)
    systems = list(outcome.response.image_filesystems) if isinstance(outcome, Ok) else []
    judge.that(
        "ImageService.ImageFsInfo.succeeds",
        systems,
        permitted="at least one file system for images",
        actual="none",
    )
    if not root:
        judge.not_exercised("ImageFsInfoResponse.image_filesystems.mountpoint", Reason.REMOTE)
    for system in systems:
        seconds = system.timestamp / 1e9
        judge.that(
            "ImageFsInfoResponse.image_filesystems.timestamp",
            0 < seconds < time.time() + CLOCKS_DIFFER,
            permitted="a time in nanoseconds, above 0 and not in the future",
            actual=system.timestamp,
        )
        mountpoint = system.fs_id.mountpoint
        if root:
            judge.that(
                "ImageFsInfoResponse.image_filesystems.mountpoint",
                mountpoint.startswith("/") and (Path(root) / mountpoint.lstrip("/")).exists(),
                permitted="a path that exists on the host",
                actual=mountpoint,
            )


@clause(
    "ImageFsInfoResponse.image_filesystems.grows", "ImageFsInfoResponse.image_filesystems.inodes"
)
def test_it_grows(
    runtime: Runtime, pulls: Pulls, judge: Judge, patience: Callable[[float], float]
) -> None:
    def used() -> tuple[int, int]:
        systems = _file_systems(runtime)
        return (
            sum(system.used_bytes.value for system in systems),
            sum(system.inodes_used.value for system in systems),
        )

    # So that nothing at all is not taken for nothing reported.
    pulls.pulled(pulls.serve())
    for attempt in range(ATTEMPTS):
        before = after = used()
        pulls.pulled(pulls.serve(pulls.image(oci.layer(_files(attempt)))))

        def told(now: tuple[int, int], before: tuple[int, int] = before) -> bool:
            grown = now[0] > before[0] and (now[1] > before[1] or not before[1])
            return grown or _fell(before, now)

        with contextlib.suppress(SetupFailed):
            poll(used, told, patience(MEASURED_WITHIN), "the images to take more room")
        after = used()
        if not _fell(before, after):
            break
        # Somebody removed more at the same time: nothing can be said of that.
    else:
        judge.skip(Reason.OTHERS, "images of others go while ours come")
    judge.that(
        "ImageFsInfoResponse.image_filesystems.grows",
        after[0] > before[0],
        permitted=f"more than {before[0]} bytes used after a pull of {SIZE}",
        actual=f"{after[0]} bytes",
    )
    if not before[1] and not after[1]:
        judge.not_exercised(
            "ImageFsInfoResponse.image_filesystems.inodes",
            Reason.NOT_ADVERTISED,
            "no inodes are reported",
        )
    else:
        judge.that(
            "ImageFsInfoResponse.image_filesystems.inodes",
            after[1] > before[1],
            permitted=f"more than {before[1]} inodes used after a pull of {FILES} files",
            actual=f"{after[1]} inodes",
        )


def _fell(before: tuple[int, int], now: tuple[int, int]) -> bool:
    """Whether either figure did: an image of others may be small and of many files."""
    return now[0] < before[0] or now[1] < before[1]


def _files(attempt: int) -> list[oci.File]:
    data, part = noise(SIZE), SIZE // FILES
    return [oci.File(f"noise{n}-{attempt}", data[n * part : (n + 1) * part]) for n in range(FILES)]
