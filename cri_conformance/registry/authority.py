# SPDX-License-Identifier: Apache-2.0
"""A certificate authority of a user's own for the registry: made once in a folder, then reused.

So a runtime can be told to trust it before a run. Whoever has the key can pass for any server
towards that runtime: nobody but its owner may read it.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import trustme

#: What a runtime is to trust, and what nobody else may have.
CERTIFICATE, _KEY = "ca.pem", "ca.key"


class TlsError(Exception):
    """There is no TLS; one line that says what to do."""


def prepare(folder: Path) -> Path:
    """The authority's certificate; both are made in a folder that is empty. Raises TlsError.

    Not safe to call from several processes at once for a folder that is still empty.
    """
    _load(folder)
    return folder / CERTIFICATE


def context(folder: Path, host: str) -> ssl.SSLContext:
    """For a server at an address, with a certificate of the authority's. Raises TlsError."""
    names = [host, "localhost", "127.0.0.1"] if _loopback(host) else [host]
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _load(folder).issue_cert(*dict.fromkeys(names)).configure_cert(made)
    return made


def _load(folder: Path) -> trustme.CA:
    try:
        import trustme
    except ImportError:
        raise TlsError(
            "TLS needs the package trustme: pip install 'cri-conformance[tls]'"
        ) from None
    certificate, key = folder / CERTIFICATE, folder / _KEY
    try:
        if certificate.exists():
            return trustme.CA.from_pem(certificate.read_bytes(), key.read_bytes())
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if there := sorted(one.name for one in folder.iterdir()):
            # Nor is a key without its certificate taken for one of ours, and written over.
            raise ValueError(f"but {there[0]!r}")
        made = trustme.CA(organization_name="cri-conformance")
        _write(key, made.private_key_pem.bytes())
        # Last: where it is, the key is, too.
        _write(certificate, made.cert_pem.bytes(), mode=0o644)
    except (OSError, ValueError) as error:
        raise TlsError(
            f"{folder} holds no certificate authority of ours ({error}): name a folder that is "
            "empty or yet to be made"
        ) from None
    return made


def _write(path: Path, data: bytes, mode: int = 0o600) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.touch(mode)
    partial.write_bytes(data)
    partial.replace(path)


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
