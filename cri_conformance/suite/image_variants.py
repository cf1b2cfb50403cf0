# SPDX-License-Identifier: Apache-2.0
"""Images that differ in what a runtime may get wrong: words, lists, users, size, shared layers."""

from __future__ import annotations

from dataclasses import dataclass

from cri_conformance.registry import oci
from cri_conformance.suite.programs import Program
from cri_conformance.suite.pulls import Pulls, noise

#: Bytes that the large one has more than the others.
MORE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Variant:
    """An image, and the list that leads to it, if there is one."""

    image: oci.Image
    words: oci.Words = oci.OCI
    #: Names the image after one for another machine.
    index: oci.Blob | None = None
    foreign: oci.Image | None = None
    #: USER of its config.
    user: str = ""
    large: bool = False
    #: What a container of it runs, () where it has no program.
    command: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """What a reference to it leads to."""
        return (self.index or self.image.manifest).digest

    @property
    def contents(self) -> set[str]:
        """The digests of all that a runtime fetches of it."""
        return {self.digest, self.image.manifest.digest, *(one.digest for one in self.image.blobs)}

    def serve(self, pulls: Pulls, repository: str) -> None:
        """Let the tag of a repository lead to it, and its digest with that repository."""
        if not (self.index and self.foreign):
            pulls.serve(self.image, repository)
            return
        for image in (self.foreign, self.image):
            pulls.serve(image, repository, tag="")
        pulls.registry.put(repository, self.index, [], pulls.tag)


def variants(pulls: Pulls, runs: Program | None) -> list[Variant]:
    """One of each kind, with ids that only they have. Some hold a program, if there is one."""
    shared = runs.layer if runs else oci.layer([oci.File("shared", b"by some")])
    idle = runs.idle if runs else ()
    return [
        Variant(pulls.image(shared), command=idle),
        Variant(pulls.image(shared, User="1234"), user="1234", command=idle),
        Variant(
            pulls.image(words=oci.DOCKER, User="someone:group"), oci.DOCKER, user="someone:group"
        ),
        _listed(pulls, oci.OCI, "0"),
        _listed(pulls, oci.DOCKER, "1234:2345"),
        Variant(
            pulls.image(shared, oci.layer([oci.File("noise", noise(MORE))]), User="root"),
            user="root",
            large=True,
        ),
    ]


def _listed(pulls: Pulls, words: oci.Words, user: str) -> Variant:
    another = "s390x" if pulls.architecture != "s390x" else "arm64"
    foreign = pulls.image(words=words, architecture=another)
    image = pulls.image(words=words, User=user)
    return Variant(image, words, oci.index([foreign, image], words), foreign, user)
