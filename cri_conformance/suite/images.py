# SPDX-License-Identifier: Apache-2.0
"""Images made for the purpose, and how they get into the runtime: pulled from our own registry.

A runtime that can't pull from it (it is on another host, or wants to be told that plain HTTP will
do) gets them by the loader, as the test image. What runs in them is the test image's busybox, or
the helper of our own where no shell is needed.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.build import image as builder
from cri_conformance.build import load
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import NotExercised
from cri_conformance.registry import archive, oci
from cri_conformance.registry.server import Registry
from cri_conformance.suite.programs import Program, program, shell
from cri_conformance.wire.outcome import Ok, Outcome, SetupFailed
from cri_conformance.wire.runtime import Runtime, poll

#: Seconds that a pull from next door may take.
PULLED_WITHIN = 30.0
#: Seconds until a runtime knows what was loaded beside it.
_KNOWN_WITHIN = 5.0

#: What the image ``odd`` says, in each place something that no other image would.
ODD_ENTRYPOINT = (
    "/bin/sh",
    "-c",
    # Tells what it was started with and then waits for its own stop signal.
    "trap 'exit 61' USR1; printf '<%s>\\n' \"$0\" \"$@\"; pwd; env; "
    "while :; do sleep 3600 & wait $!; done",
    "odd entrypoint",
)
ODD_CMD = ("odd cmd", "second")
ODD_ENV = {"ODD_IMAGE": "of the image", "ODD_BOTH": "of the image too"}
#: There is such a folder on every host: the reference runtime has no other root.
ODD_WORKDIR = "/usr/bin"
ODD_STOP_SIGNAL = types.SIGNAL_SIGUSR1
#: In the image ``odd_user`` alone.
ODD_USER, ODD_GROUP = 1234, 2345
#: A user who has a name, a number and two groups in the images' own /etc.
NAMED_USER, NAMED_UID, NAMED_GID, NAMED_GROUP = "oddly", 4321, 5432, 6543
#: Files of ``odd`` beside those of the test image.
ODD_FILES = {"odd/marker": b"odd\n", "odd/sub/inner": b"inner\n"}
#: What its lower layer has there, and what a higher one hides.
_BELOW = {"odd/marker": b"of a lower layer\n", "odd/hidden": b"", "odd/sub/old": b""}
ODD_HIDDEN = ("odd/hidden", "odd/sub/old")


class Images:
    """Brings images in when a test first asks, and takes them away in the end."""

    def __init__(
        self,
        runtime: Runtime,
        registry: Registry,
        loader: str,
        architecture: str = "",
        *,
        isolates: bool = True,
    ) -> None:
        """``loader`` is a command as in --cri-image-loader, or "".

        ``architecture`` is the runtime's, if it isn't this host's; ``isolates`` says whether
        containers have the files of their image.
        """
        self.registry = registry
        self._architecture = architecture or oci.architecture_here()
        self._isolates = isolates
        self._runtime = runtime
        self._loader = loader
        run = runtime.workshop.run
        self._tag = f"{run.nonce}-{run.owner}"
        # An id of our own, even where other processes of this run make the same image.
        self._labels = {builder.NONCE_LABEL: run.nonce, "of": secrets.token_hex(8)}
        self._known: dict[str, str] = {}
        self._pulled: dict[str, str] = {}
        self._why = ""

    @property
    def odd(self) -> str:
        """An image with an entrypoint, command, folder, environment and stop signal of its own."""
        return self.bring("odd", self.made("odd"))

    @property
    def odd_user(self) -> str:
        """As ``odd``, with a user and a group that no /etc/passwd knows."""
        return self.bring("odd-user", self.made("odd-user", User=f"{ODD_USER}:{ODD_GROUP}"))

    @property
    def named_user(self) -> str:
        """As ``odd``, with a user by name, who is in a second group."""
        return self.bring("named-user", self.made("named-user", User=NAMED_USER))

    @property
    def plain(self) -> str:
        """An image with files of its own and a program, for tests that need no shell in it."""
        return self.bring("plain", self.made_plain("plain"))

    @property
    def program(self) -> Program:
        """What runs in plain images. Raises NotExercised."""
        return program(self._architecture, isolates=self._isolates)

    def made_plain(self, name: str) -> oci.Image:
        """The image ``plain`` with an id that only it has. Raises NotExercised."""
        runs = self.program
        settings = {"Entrypoint": list(runs.idle), "Labels": {**self._labels, "name": name}}
        layers = [runs.layer, *_own_layers(oci.OCI)]
        return oci.image(layers, settings, architecture=runs.architecture)

    def made(
        self,
        name: str,
        *,
        words: oci.Words = oci.OCI,
        more: Sequence[oci.File] = (),
        **settings: Any,
    ) -> oci.Image:
        """The image ``odd`` with some settings changed, and with an id that only it has.

        ``more`` files go on top of it. Raises NotExercised where none with a shell can be built.
        """
        root = shell()
        own: dict[str, Any] = {
            "Entrypoint": list(ODD_ENTRYPOINT),
            "Cmd": list(ODD_CMD),
            "Env": [builder.PATH, *(f"{key}={value}" for key, value in ODD_ENV.items())],
            "WorkingDir": ODD_WORKDIR,
            "StopSignal": types.Signal.Name(ODD_STOP_SIGNAL).removeprefix("SIGNAL_"),
            "Labels": {**self._labels, "name": name},
        }
        layers = [root.layer, *_own_layers(words)]
        if more:
            layers.append(oci.layer(more, words))
        return oci.image(layers, own | settings, architecture=root.architecture, words=words)

    def bring(self, name: str, image: oci.Image) -> str:
        """Its reference, by which the runtime has it from now on. Raises NotExercised."""
        if name not in self._known:
            self._known[name] = self._pull(name, image) or self._load(name, image)
        return self._known[name]

    def pulled(self, name: str) -> str:
        """What PullImage returned for a brought image; "" if it came another way."""
        return self._pulled.get(name, "")

    def _pull(self, name: str, image: oci.Image) -> str:
        reference = self.registry.push(f"cri-conformance/{name}", self._tag, image)
        outcome = self._runtime.call("PullImage", image=spec(reference), deadline=PULLED_WITHIN)
        if not isinstance(outcome, Ok):
            self._why = f"PullImage({reference}) answers {outcome}"
            return ""
        self._pulled[name] = outcome.response.image_ref
        return reference

    def _load(self, name: str, image: oci.Image) -> str:
        if not self._loader:
            raise NotExercised(
                Reason.NO_REGISTRY,
                f"{self._why}; let the runtime pull from there, or give --cri-image-loader",
            )
        reference = f"localhost/cri-conformance/{name}:{self._tag}"
        with tempfile.TemporaryDirectory(prefix="cri-conformance-image-") as folder:
            path = Path(folder) / f"{name}.tar"
            try:
                archive.write(path, reference, image)
                load.load(path, self._loader)
            except (OSError, load.LoadError) as error:
                raise NotExercised(Reason.NO_REGISTRY, f"{self._why}; {error}") from None
        try:
            poll(lambda: self.has(reference), bool, _KNOWN_WITHIN, f"the image {reference}")
        except SetupFailed as error:
            raise NotExercised(Reason.NO_REGISTRY, f"{self._why}; {error}") from None
        return reference

    def move(self, name: str, image: oci.Image) -> Outcome:
        """Let the tag of a brought image lead to another one, and pull it again."""
        reference = self.registry.push(f"cri-conformance/{name}", self._tag, image)
        return self._runtime.call("PullImage", image=spec(reference), deadline=PULLED_WITHIN)

    def has(self, reference: str) -> bool:
        """Whether the runtime knows an image."""
        answer = self._runtime.get("ImageStatus", image=spec(reference))
        return bool(answer.HasField("image"))

    def close(self) -> None:
        """Take away what was brought."""
        for reference in self._known.values():
            self._runtime.call("RemoveImage", image=spec(reference), deadline=PULLED_WITHIN)
        self._known.clear()


def spec(reference: str) -> types.ImageSpec:
    """As the kubelet names an image."""
    return types.ImageSpec(image=reference, user_specified_image=reference)


def _own_layers(words: oci.Words) -> list[oci.Layer]:
    """Two, of which the higher hides some of the lower."""
    below = [oci.File("odd/", mode=0o755), oci.File("odd/sub/", mode=0o755)]
    below += [oci.File(path, data) for path, data in _BELOW.items()]
    return [oci.layer(below, words), oci.layer(_files(), words)]


def _files() -> Sequence[oci.File]:
    passwd = f"{builder.PASSWD}{NAMED_USER}:x:{NAMED_UID}:{NAMED_GID}::/home:/bin/sh\n"
    group = f"{builder.GROUP}odds:x:{NAMED_GID}:\nmore:x:{NAMED_GROUP}:{NAMED_USER}\n"
    return [
        oci.File("odd/", mode=0o755),
        oci.whiteout("odd/hidden"),
        oci.File("odd/sub/", mode=0o755),
        oci.opaque("odd/sub/"),
        *(oci.File(path, data) for path, data in ODD_FILES.items()),
        oci.File("etc/passwd", passwd.encode()),
        oci.File("etc/group", group.encode()),
    ]
