# SPDX-License-Identifier: Apache-2.0
"""What names lead to which image, as far as the contract says so.

The registry's side is known exactly. On the node a name leads to one image, to none, or the
contract leaves it open: then what the runtime shows is taken over. Open is

- what becomes of an image whose last tag was moved to another one, of its digest and its id;
- the names beside the one that was removed, for a runtime older than the rule that all go;
- a digest with a repository from which its image was removed, when the image came again from
  another one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: The contract does not say.
OPEN = "?"
#: No image.
NONE = ""


def is_id(name: str) -> bool:
    """Whether it is an id."""
    return name.startswith("sha256:")


def is_tag(name: str) -> bool:
    """Whether it is a name by tag."""
    return "@" not in name and not is_id(name)


@dataclass
class Node:
    """Names by tag, by digest and by id → the image's digest, NONE or OPEN."""

    #: Whether removing one name takes all names of its image.
    all_names_go: bool
    leads_to: dict[str, str] = field(default_factory=dict)

    def expected(self, name: str) -> str:
        """What a name must lead to now."""
        return self.leads_to.get(name, NONE)

    def names(self, image: str) -> list[str]:
        """The names that lead to an image for certain."""
        return [name for name, target in self.leads_to.items() if target == image]

    def certain(self) -> set[str]:
        """The images that are there."""
        return set(self.leads_to.values()) - {NONE, OPEN}

    def pull(self, name: str, digest_name: str, image: str) -> None:
        """A pull by ``name`` succeeded, and the name led to this image."""
        before = self.expected(name)
        for other, target in self.leads_to.items():
            if target == NONE and other.endswith(f"@{image}"):
                self.leads_to[other] = OPEN
        self.leads_to[name] = image
        self.leads_to[digest_name] = image
        if before not in (NONE, OPEN, image):
            # It lost this name. If that was its last tag, the image may be gone.
            for other in self.names(before):
                if not is_tag(other):
                    self.leads_to[other] = OPEN

    def doubt(self, image: str) -> None:
        """Nobody knows what became of an image, nor where its names lead."""
        for other in self.names(image) if image != NONE else ():
            self.leads_to[other] = OPEN

    def remove(self, name: str) -> None:
        """A removal by ``name`` succeeded."""
        image = self.expected(name)
        self.leads_to[name] = NONE
        if image in (NONE, OPEN):
            # It may have been an image whose names nobody can tell.
            for other, target in self.leads_to.items():
                if image == OPEN and target != NONE:
                    self.leads_to[other] = OPEN
            return
        for other in self.names(image):
            self.leads_to[other] = NONE if self.all_names_go else OPEN

    def shown(self, name: str, image: str) -> None:
        """The runtime shows this for a name that was open: from now on it has to stay so."""
        if self.expected(name) == OPEN:
            self.leads_to[name] = image
