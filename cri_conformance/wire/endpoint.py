# SPDX-License-Identifier: Apache-2.0
"""Endpoints: the forms in which a user may name one."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REFERENCE = "reference"
AUTO = "auto"
#: Longest path of a unix socket in bytes (sun_path without its NUL).
LONGEST_SOCKET_PATH = 107

CRICTL_VARIABLES = ("CONTAINER_RUNTIME_ENDPOINT", "IMAGE_SERVICE_ENDPOINT")
CRICTL_FILE_VARIABLE = "CRI_CONFIG_FILE"
CRICTL_FILE = "/etc/crictl.yaml"


class EndpointError(ValueError):
    """An endpoint that can't be used; the message is one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a runtime listens. ``target`` is what gRPC takes, ``text`` what people read."""

    text: str
    target: str
    socket: Path | None

    @property
    def local(self) -> bool:
        """A unix socket: the runtime is on this host (or its socket is mounted here)."""
        return self.socket is not None

    @property
    def place(self) -> str:
        """The same for all paths that lead to one socket, as /run and /var/run do."""
        return f"unix://{os.path.realpath(self.socket)}" if self.socket else self.text


def parse(text: str) -> Endpoint:
    """``unix:///run/x.sock``, ``/run/x.sock`` or ``tcp://host:port``. Raises EndpointError."""
    given = text.strip()
    scheme, separator, rest = given.partition("://")
    if not separator and given.startswith("/"):
        scheme, rest = "unix", given
    if scheme == "unix" and rest.startswith("/"):
        if len(os.fsencode(rest)) > LONGEST_SOCKET_PATH:
            raise EndpointError(
                f"socket path is longer than {LONGEST_SOCKET_PATH} bytes, which no unix socket "
                f"can be: {rest}"
            )
        return Endpoint(f"unix://{rest}", f"unix:{rest}", Path(rest))
    host, colon, port = rest.rpartition(":")
    if scheme == "tcp" and colon and host and port.isdecimal() and 0 < int(port) < 65536:
        return Endpoint(f"tcp://{rest}", f"dns:///{rest}", None)
    raise EndpointError(
        f"not an endpoint: {text!r}; give unix:///path/to.sock, /path/to.sock, tcp://host:port, "
        f"'{REFERENCE}' or '{AUTO}'"
    )


def from_crictl() -> tuple[str, str]:
    """(runtime endpoint, image endpoint or "") as crictl would find them. Raises EndpointError.

    Read only when the user asks for ``auto``: a file on a node must never turn an
    unrelated pytest run into a conformance run.
    """
    runtime, image = (os.environ.get(name, "") for name in CRICTL_VARIABLES)
    path = Path(os.environ.get(CRICTL_FILE_VARIABLE, CRICTL_FILE))
    if not (runtime and image) and path.is_file():
        settings = _read_settings(path)
        runtime = runtime or settings.get("runtime-endpoint", "")
        image = image or settings.get("image-endpoint", "")
    if not runtime:
        raise EndpointError(
            f"'{AUTO}' found no endpoint: neither ${CRICTL_VARIABLES[0]} nor runtime-endpoint in "
            f"{path}; give --cri-endpoint unix:///path/to.sock"
        )
    return runtime, image


def _read_settings(path: Path) -> dict[str, str]:
    """The top-level scalars of crictl.yaml, a flat file; no YAML library is needed for them."""
    settings = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise EndpointError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EndpointError(f"can't read {path}: it is no text") from None
    for line in lines:
        key, colon, value = line.partition(":")
        if colon and not line.startswith((" ", "#", "\t")):
            settings[key.strip()] = value.split(" #")[0].strip().strip("'\"")
    return settings
