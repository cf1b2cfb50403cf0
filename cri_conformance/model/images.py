# SPDX-License-Identifier: Apache-2.0
"""What names lead to which image, as far as the contract says so.

The registry's side is known exactly. On the node a name leads to one image, to none, or the
contract leaves it open: then what the runtime shows is taken over. Open is

- what becomes of an image whose last tag was moved to another one, and of its digest;
- the names beside the one that was removed, for a runtime older than the rule that all go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: The contract does not say.
OPEN = "?"
#: No image.
NONE = ""


@dataclass
class Node:
    """Names by tag and by digest → the image's digest, NONE or OPEN."""

    #: Whether removing one name takes all names of its image.
    all_names_go: bool
    leads_to: dict[str, str] = field(default_factory=dict)

    def expected(self, name: str) -> str:
        """What a name must lead to now."""
        return self.leads_to.get(name, NONE)

    def names(self, image: str) -> list[str]:
        """The names that lead to an image for certain."""
        return [name for name, target in self.leads_to.items() if target == image]

    def pull(self, name: str, digest_name: str, image: str) -> None:
        """A pull by ``name`` succeeded, and the name led to this image."""
        before = self.expected(name)
        self.leads_to[name] = image
        self.leads_to[digest_name] = image
        if before not in (NONE, OPEN, image):
            # It lost this name. If that was its last tag, the image may be gone.
            for other in self.names(before):
                if "@" in other:
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
