# SPDX-License-Identifier: Apache-2.0
"""An image as a container sees it: what it runs, and which paths it has.

The root file system of every container is the host's. Of an image's own files only their
names are known, from its layers.
"""

from __future__ import annotations

import posixpath
import signal
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError

_RTMIN, _RTMAX = "SIGRTMIN+", "SIGRTMAX-"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"


@dataclass(frozen=True, slots=True)
class Image:
    """An image. ``paths`` are those in its layers, normalised; None stands for the host's."""

    id: str
    size: int
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[bytes, bytes] = field(default_factory=dict)
    working_dir: str = ""
    user: str = ""
    stop_signal: types.Signal.ValueType = types.SIGNAL_RUNTIME_DEFAULT
    paths: frozenset[str] | None = None
    pinned: bool = False

    def argv(self, command: Sequence[str], args: Sequence[str]) -> tuple[str, ...]:
        """What a container runs: a command replaces entrypoint and cmd, args only the cmd."""
        if command:
            return (*command, *args)
        return (*self.entrypoint, *(args or self.cmd))

    def has(self, path: str) -> bool:
        """Whether there is something at a path."""
        normal = posixpath.normpath(f"/{path}")
        return Path(normal).exists() if self.paths is None else normal in self.paths

    def user_message(self) -> types.Image:
        """The user that it asks for, as a part of the message: the number or else the name."""
        name = self.user.partition(":")[0]
        if name.isdecimal():
            return types.Image(uid=types.Int64Value(value=int(name)))
        return types.Image(username=name)


def of(image_id: str, size: int, config: Mapping[str, Any], layers: Iterable[Path]) -> Image:
    """An image from its config document and its layers' files.

    Raises StatusError: DATA_LOSS for a layer that is no tar, INVALID_ARGUMENT for a config that
    makes no sense.
    """
    settings = config.get("config") or {}
    try:
        pairs = [str(one).partition("=") for one in settings.get("Env") or ()]
        return Image(
            id=image_id,
            size=size,
            entrypoint=tuple(map(str, settings.get("Entrypoint") or ())),
            cmd=tuple(map(str, settings.get("Cmd") or ())),
            env={key.encode(): value.encode() for key, _, value in pairs},
            working_dir=str(settings.get("WorkingDir") or ""),
            user=str(settings.get("User") or ""),
            stop_signal=_signal(str(settings.get("StopSignal") or "")),
            paths=_paths(layers),
        )
    except (AttributeError, TypeError) as error:
        raise StatusError("INVALID_ARGUMENT", f"the image's config is wrong: {error}") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise StatusError("DATA_LOSS", f"a layer of the image is no archive: {error}") from None


def _signal(text: str) -> types.Signal.ValueType:
    """As images name it: SIGUSR1, USR1, 10, SIGRTMIN+3."""
    if text.isdecimal():
        number = int(text)
        try:
            text = signal.Signals(number).name
        except ValueError:
            text = f"{_RTMIN}{number - signal.SIGRTMIN}"
    name = text.upper() if text.upper().startswith("SIG") else f"SIG{text.upper()}"
    for lead, ours in ((_RTMIN, "SIGRTMINPLUS"), (_RTMAX, "SIGRTMAXMINUS")):
        name = name.replace(lead, ours)
    known: Any = types.Signal
    if text and f"SIGNAL_{name}" in known.keys():  # noqa: SIM118 - an enum, no mapping
        return types.Signal.Value(f"SIGNAL_{name}")
    return types.SIGNAL_RUNTIME_DEFAULT


def _paths(layers: Iterable[Path]) -> frozenset[str]:
    """What is there when all layers lie on one another."""
    found = {"/"}
    for layer in layers:
        with tarfile.open(layer) as tar:
            names = [posixpath.normpath(f"/{member.name}") for member in tar]
        for name in names:
            folder, base = posixpath.split(name)
            if base == _OPAQUE:
                found = {one for one in found if not one.startswith(f"{folder.rstrip('/')}/")}
            elif base.startswith(_WHITEOUT):
                gone = posixpath.join(folder, base.removeprefix(_WHITEOUT))
                found = {one for one in found if one != gone and not one.startswith(f"{gone}/")}
        found.update(n for n in names if not posixpath.basename(n).startswith(_WHITEOUT))
    return frozenset(found)
