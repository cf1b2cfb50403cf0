# SPDX-License-Identifier: Apache-2.0
"""The runtime handlers on offer."""

from __future__ import annotations

from cri_conformance.api.status import StatusError

#: The default handler and one with a name; they do the same.
HANDLERS = ("", "reference")


def check(name: str) -> None:
    """Raises StatusError (INVALID_ARGUMENT) for a runtime handler that there is not."""
    if name not in HANDLERS:
        raise StatusError("INVALID_ARGUMENT", f"there is no runtime handler {name!r}")
