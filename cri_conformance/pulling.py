# SPDX-License-Identifier: Apache-2.0
"""Whether a runtime pulls from our registry, and for which machine: found out before the tests.

The runtime may be on another host than we are, and of another architecture. So it is offered an
image for each, and what it then asks for tells.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass

from cri_conformance.api import types
from cri_conformance.build.image import NONCE_LABEL, repository_for
from cri_conformance.registry import authority, oci
from cri_conformance.registry.server import Registry
from cri_conformance.settings import Settings
from cri_conformance.wire.client import Client
from cri_conformance.wire.identity import Run
from cri_conformance.wire.outcome import Ok

#: Seconds; a runtime that may not come to us can wait for long.
_WITHIN = 10.0
#: Machines for which a runtime may want images, by OCI's names.
_ARCHITECTURES = ("amd64", "arm64", "386", "arm", "loong64", "ppc64le", "riscv64", "s390x")


class RegistryError(Exception):
    """Our registry can't be opened; one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Pulling:
    """``why_not`` is "" if the runtime came to our registry, else one line that says what to do."""

    architecture: str
    why_not: str = ""


def open_registry(settings: Settings, number: int = 0) -> Registry:
    """The registry as the options have it; ``number`` is that of the process. Raises RegistryError.

    Each process of a run has its own, on ports that follow one another.
    """
    host, port = settings.registry
    folder = settings.registry_tls
    try:
        tls = authority.context(folder, host) if folder else None
        return Registry(host, port and port + number, tls)
    except authority.TlsError as error:
        raise RegistryError(f"--cri-registry-tls: {error}") from None
    except OSError as error:
        raise RegistryError(f"--cri-registry {host}:{port}: {error.strerror}") from None


def check(client: Client, settings: Settings, run: Run) -> Pulling:
    """Let the runtime pull once. Nothing is left of it. Raises RegistryError, RuntimeGone."""
    here = oci.architecture_here()
    repository = repository_for("probe", run.nonce)
    several = {name: _image(name, run) for name in dict.fromkeys((here, *_ARCHITECTURES))}
    tag = f"{run.nonce}-{run.owner}"
    with contextlib.closing(open_registry(settings)) as registry:
        for image in several.values():
            registry.push(repository, "", image)
        registry.put(repository, oci.index(several.values()), [], tag)
        reference = registry.reference(repository, tag)
        named = types.ImageSpec(image=reference, user_specified_image=reference)
        try:
            outcome = client.call("PullImage", image=named, deadline=_WITHIN)
        finally:
            client.call("RemoveImage", image=named, deadline=_WITHIN)
    asked = {one.reference for one in registry.seen(repository)}
    if not asked and not isinstance(outcome, Ok):
        return Pulling(
            here,
            f"the runtime does not pull from the suite's registry at {registry.address}: let it "
            "(see docs/images.md), or give --cri-image-loader; PullImage answers "
            + " ".join(str(outcome).split()),
        )
    wanted = [name for name, image in several.items() if image.config.digest in asked]
    return Pulling(wanted[0] if len(wanted) == 1 else here)


def _image(architecture: str, run: Run) -> oci.Image:
    labels = {NONCE_LABEL: run.nonce, "of": secrets.token_hex(8)}
    own = oci.layer([oci.File("own", labels["of"].encode())])
    return oci.image([own], {"Cmd": ["/own"], "Labels": labels}, architecture=architecture)
