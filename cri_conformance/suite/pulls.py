# SPDX-License-Identifier: Apache-2.0
"""Small images and repositories of a test's own, pulled by the runtime and removed afterwards."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from cri_conformance.api import types
from cri_conformance.build.image import NONCE_LABEL, repository_for
from cri_conformance.expect import Judge
from cri_conformance.registry import oci
from cri_conformance.registry.server import Registry
from cri_conformance.suite.images import PULLED_WITHIN, spec
from cri_conformance.wire.outcome import Ok, Outcome, Refused, SetupFailed
from cri_conformance.wire.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Served:
    """An image in our registry: ``reference`` is by its tag."""

    image: oci.Image
    repository: str
    reference: str
    by_digest: str


@dataclass
class Pulls:
    """What one test pulls. Everything is removed by ``close``."""

    runtime: Runtime
    registry: Registry
    architecture: str
    _pulled: dict[str, None] = field(default_factory=dict)

    @property
    def tag(self) -> str:
        """Tells a sweep whose the image is."""
        run = self.runtime.workshop.run
        return f"{run.nonce}-{run.owner}"

    def repository(self, stem: str = "pull") -> str:
        """A repository that nothing is in."""
        return repository_for(stem, self.runtime.workshop.run.nonce)

    def image(
        self,
        *more: oci.Layer,
        words: oci.Words = oci.OCI,
        architecture: str = "",
        **settings: Any,
    ) -> oci.Image:
        """A small image with an id of its own; its first layer is its own, too."""
        labels = {NONCE_LABEL: self.runtime.workshop.run.nonce, "of": secrets.token_hex(8)}
        own = oci.layer([oci.File("own", labels["of"].encode())], words)
        return oci.image(
            [own, *more],
            {"Cmd": ["/own"], "Labels": labels, **settings},
            architecture=architecture or self.architecture,
            words=words,
        )

    def serve(
        self, image: oci.Image | None = None, repository: str = "", tag: str | None = None
    ) -> Served:
        """Put an image, a small one if none is given, into our registry."""
        image = image or self.image()
        repository = repository or self.repository()
        reference = self.registry.push(repository, self.tag if tag is None else tag, image)
        digest = self.registry.reference(repository, image.manifest.digest)
        # Whoever is asked to remove it by these can only mean this image, which we alone have.
        self.runtime.workshop.images.update((image.id, image.id.partition(":")[2], digest))
        return Served(image, repository, reference, digest)

    def pull(self, reference: str, deadline: float = PULLED_WITHIN, **fields: Any) -> Outcome:
        """PullImage, as the kubelet sends it."""
        # It may have been pulled whatever the answer is; and nobody else has images from us.
        self._pulled[reference] = None
        if reference.startswith(f"{self.registry.address}/"):
            self.runtime.workshop.images.add(reference)
        asked = {"image": spec(reference), **fields}
        return self.runtime.call("PullImage", deadline=deadline, **asked)

    def pulled(self, served: Served) -> str:
        """Pull what a test builds on: what PullImage returned. Raises SetupFailed."""
        outcome = self.pull(served.reference)
        if not isinstance(outcome, Ok):
            raise SetupFailed(f"PullImage({served.reference}) answers {outcome}")
        returned: str = outcome.response.image_ref
        return returned

    def remove(self, name: str, deadline: float = PULLED_WITHIN, **options: Any) -> Outcome:
        """RemoveImage by whatever name."""
        return self.runtime.call("RemoveImage", image=spec(name), deadline=deadline, **options)

    def status(self, name: str) -> types.Image | None:
        """What ImageStatus shows for a name. Raises SetupFailed if it is refused."""
        answer = self.runtime.get("ImageStatus", image=spec(name))
        return answer.image if answer.HasField("image") else None

    def listed(self) -> list[types.Image]:
        """All images. Raises SetupFailed."""
        return list(self.runtime.get("ListImages").images)

    def forget(self, repositories: Iterable[str], images: Iterable[oci.Image] = ()) -> None:
        """These repositories are served no more. What came from them and is gone, and these
        images, need not be known any longer: a run of hours makes many."""
        known = self.runtime.workshop.images
        listed = {
            name
            for image in self.listed()
            for name in (image.id, *image.repo_tags, *image.repo_digests)
        }
        for image in images:
            known -= {image.id, image.id.partition(":")[2]} - listed
        for repository in repositories:
            whole = f"{self.registry.address}/{repository}"
            mine = {name for name in {*self._pulled, *known} if _path(name) == whole}
            if listed.isdisjoint(mine):
                self.registry.forget(repository)
                known -= mine
                self._pulled = {name: None for name in self._pulled if name not in mine}

    def close(self) -> None:
        """Remove what was pulled, by each of its names."""
        for reference in self._pulled:
            self.registry.trouble(repository_of(reference, self.registry), None)
            outcome = self.runtime.call("ImageStatus", image=spec(reference))
            if not isinstance(outcome, Ok) or outcome.response.HasField("image"):
                self.remove(reference)
        # An image whose tag has moved on has kept its name by digest; and a pull that was given up
        # may have come late.
        listed = self.runtime.call("ListImages")
        for image in listed.response.images if isinstance(listed, Ok) else ():
            for name in (*image.repo_digests, *image.repo_tags):
                if self._is_of_this_run(name):
                    self.runtime.workshop.images.add(name)
                    self.remove(name)

    def _is_of_this_run(self, name: str) -> bool:
        ours = name.startswith(f"{self.registry.address}/")
        return ours and self.runtime.workshop.run.nonce in _path(name)


def fails(judge: Judge, clause_id: str, outcome: Outcome) -> None:
    """The call must be answered with an error. UNAVAILABLE, too, can be said of a registry."""
    judge.that(
        clause_id,
        isinstance(outcome, Refused) and outcome.code != "UNIMPLEMENTED",
        permitted="an error",
        actual=outcome,
    )


def repository_of(reference: str, registry: Registry) -> str:
    """The repository of a reference to our registry."""
    return _path(reference).removeprefix(f"{registry.address}/")


def _path(reference: str) -> str:
    """A reference without its digest, and without its tag, which comes after the last slash."""
    folder, slash, last = reference.partition("@")[0].rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def noise(size: int) -> bytes:
    """Bytes that can't be packed closer, the same in each run."""
    return random.Random(0).randbytes(size)
