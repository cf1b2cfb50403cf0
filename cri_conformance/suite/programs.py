# SPDX-License-Identifier: Apache-2.0
"""What the suite's images run: our own helper where that is enough, else busybox.

A vendor's node may have neither busybox nor a compiler; the helper is part of the package. What
needs a shell takes busybox (see ``images``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cri_conformance.build import helper
from cri_conformance.build import image as builder
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.registry import oci


@dataclass(frozen=True, slots=True)
class Program:
    """A layer with a program in it, and the command lines to which it answers."""

    layer: oci.Layer
    architecture: str
    #: Waits until it is told to stop, and then ends with 0.
    idle: tuple[str, ...]
    #: Writes the word that follows.
    echo: tuple[str, ...]
    #: Writes the file whose path follows; something else where there is none.
    cat: tuple[str, ...]


def program(architecture: str, *, isolates: bool) -> Program:
    """For a runtime's architecture. Raises NotExercised where there is no program for it.

    A runtime that isolates nothing runs the host's own file of that path: so the image has the
    helper where the host has it.
    """
    try:
        found = helper.find(architecture)
    except builder.ImageError as missing:
        return _of_busybox(missing)
    place = helper.PLACE if isolates else str(found)
    return Program(
        helper.layer(found, place),
        architecture,
        idle=(place, "wait"),
        echo=(place, "echo"),
        cat=(place, "cat"),
    )


def _of_busybox(missing: builder.ImageError) -> Program:
    root = _or_skip(builder.root, f"{missing}; ")
    return Program(
        root.layer,
        root.architecture,
        idle=("/bin/sleep", "3600"),
        echo=("/bin/echo",),
        cat=("/bin/cat",),
    )


def shell() -> builder.Root:
    """What images begin with that must have a shell. Raises NotExercised."""
    return _or_skip(builder.root)


def _or_skip(make: Callable[[], builder.Root], before: str = "") -> builder.Root:
    try:
        return make()
    except builder.ImageError as error:
        raise NotExercised(Reason.NOT_INSTALLED, f"{before}{error}") from None
