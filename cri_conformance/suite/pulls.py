# SPDX-License-Identifier: Apache-2.0
"""Small images and repositories of a test's own, pulled by the runtime and removed afterwards."""

from __future__ import annotations

import random
import secrets
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
    _repositories: set[str] = field(default_factory=set)

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
        self._repositories.add(f"{self.registry.address}/{repository}")
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
        return self.runtime.call("PullImage", image=spec(reference), deadline=deadline, **fields)

    def pulled(self, served: Served) -> str:
        """Pull what a test builds on: what PullImage returned. Raises SetupFailed."""
        outcome = self.pull(served.reference)
        if not isinstance(outcome, Ok):
            raise SetupFailed(f"PullImage({served.reference}) answers {outcome}")
        returned: str = outcome.response.image_ref
        return returned

    def remove(self, name: str, deadline: float = PULLED_WITHIN) -> Outcome:
        """RemoveImage by whatever name."""
        return self.runtime.call("RemoveImage", image=spec(name), deadline=deadline)

    def status(self, name: str) -> types.Image | None:
        """What ImageStatus shows for a name. Raises SetupFailed if it is refused."""
        answer = self.runtime.get("ImageStatus", image=spec(name))
        return answer.image if answer.HasField("image") else None

    def listed(self) -> list[types.Image]:
        """All images. Raises SetupFailed."""
        return list(self.runtime.get("ListImages").images)

    def close(self) -> None:
        """Remove what was pulled, by each of its names."""
        for reference in self._pulled:
            self.registry.trouble(repository_of(reference, self.registry), None)
            outcome = self.runtime.call("ImageStatus", image=spec(reference))
            if not isinstance(outcome, Ok) or outcome.response.HasField("image"):
                self.remove(reference)
        # An image whose tag has moved on has kept its name by digest.
        listed = self.runtime.call("ListImages")
        for image in listed.response.images if isinstance(listed, Ok) else ():
            for name in image.repo_digests:
                if name.partition("@")[0] in self._repositories:
                    self.runtime.workshop.images.add(name)
                    self.remove(name)


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
    path = reference.removeprefix(f"{registry.address}/")
    return path.partition("@")[0].partition(":")[0]


def noise(size: int) -> bytes:
    """Bytes that can't be packed closer, the same in each run."""
    return random.Random(0).randbytes(size)
