# SPDX-License-Identifier: Apache-2.0
"""What somebody else has on the node, told by the label that all of a run's objects carry."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cri_conformance.wire.identity import RUN_LABEL
from cri_conformance.wire.runtime import Runtime


def foreign_sandboxes(runtime: Runtime) -> list[str]:
    """The ids of all sandboxes that are not of this run. Raises SetupFailed."""
    return _foreign(runtime, runtime.get("ListPodSandbox").items)


def foreign_objects(runtime: Runtime) -> list[str]:
    """The same with containers after them."""
    containers = runtime.get("ListContainers").containers
    return [*foreign_sandboxes(runtime), *_foreign(runtime, containers)]


def _foreign(runtime: Runtime, items: Iterable[Any]) -> list[str]:
    nonce = runtime.workshop.run.nonce
    return [item.id for item in items if item.labels.get(RUN_LABEL) != nonce]
