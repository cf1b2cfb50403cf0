# SPDX-License-Identifier: Apache-2.0
"""Fetching an image from its registry: names, credentials, manifest, config, layers.

Everything that comes is checked against the digest by which it was asked for. A registry on a
loopback address is spoken to in plain HTTP, any other by TLS, as runtimes do by themselves; whoever
says which certificates to trust has all of them spoken to by TLS.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import ipaddress
import json
import platform
import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlencode, urljoin, urlsplit

from cri_conformance.api import types
from cri_conformance.api.status import StatusError

#: Seconds without a byte after which a registry is given up.
SILENCE = 10.0
#: Bytes of a manifest, and of an image's config.
LARGEST_DOCUMENT = 4 * 1024 * 1024
_CHUNK = 256 * 1024
_REDIRECTS = 5

_INDEXES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

_REFERENCE = re.compile(
    r"(?P<name>[a-z0-9][a-zA-Z0-9._/:-]*?)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_PART = re.compile(r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*", re.ASCII)
_HOST = re.compile(r"[a-zA-Z0-9.-]+(?::\d+)?|localhost(?::\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reference:
    """``host/path:tag@digest``, in full. ``tag`` or ``digest`` may be ""."""

    host: str
    path: str
    tag: str
    digest: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Raises StatusError (INVALID_ARGUMENT)."""
        match = _REFERENCE.fullmatch(text)
        if not match:
            raise StatusError("INVALID_ARGUMENT", f"not the name of an image: {text!r}")
        first, slash, rest = match["name"].partition("/")
        if slash and ("." in first or ":" in first or first == "localhost"):
            host, path = first, rest
        else:
            host = "docker.io"
            path = match["name"] if slash else f"library/{match['name']}"
        if not _HOST.fullmatch(host) or not all(map(_PART.fullmatch, path.split("/"))):
            raise StatusError("INVALID_ARGUMENT", f"not the name of an image: {text!r}")
        tag, digest = match["tag"] or "", match["digest"] or ""
        return cls(host, path, tag or ("" if digest else "latest"), digest)

    @property
    def repository(self) -> str:
        return f"{self.host}/{self.path}"

    @property
    def tagged(self) -> str:
        """The name by tag, or "" where only a digest was given."""
        return f"{self.repository}:{self.tag}" if self.tag else ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """What was fetched. ``digest`` is what the name led to: an index's, or the manifest's."""

    digest: str
    id: str
    config: dict[str, Any]
    layers: tuple[dict[str, Any], ...]
    size: int


#: Takes a blob's digest and its bytes as they come, and keeps them. Nothing is kept if it raises.
Keep = Callable[[str, Iterator[bytes]], None]


def pull(
    reference: Reference,
    auth: types.AuthConfig,
    keep: Keep,
    trust: ssl.SSLContext | None = None,
) -> Pulled:
    """Fetch an image for this host's platform. Raises StatusError."""
    registry = _Registry(reference, auth, trust)
    digest, document = registry.manifest(reference.digest or reference.tag)
    manifest = document
    if document.get("mediaType") in _INDEXES or "manifests" in document:
        chosen = _this_platform(document)
        _, manifest = registry.manifest(chosen)
    described = manifest.get("config")
    if not isinstance(described, dict) or described.get("mediaType") not in _CONFIGS:
        raise StatusError("FAILED_PRECONDITION", "the manifest is of no image")
    raw = registry.document("blobs", str(described.get("digest", "")))
    config = _parsed(raw, "config")
    layers = tuple(_described(layer) for layer in manifest.get("layers", ()))
    for layer in layers:
        keep(layer["digest"], registry.blob(layer["digest"], layer["size"]))
    size = len(raw) + sum(layer["size"] for layer in layers)
    return Pulled(digest, str(described["digest"]), config, layers, size)


class _Registry:
    """One repository of a registry, for one pull."""

    def __init__(
        self, reference: Reference, auth: types.AuthConfig, trust: ssl.SSLContext | None
    ) -> None:
        scheme = "https" if trust else _scheme(reference.host)
        self._base = f"{scheme}://{reference.host}"
        self._trust = trust
        self._path = f"/v2/{reference.path}"
        self._host = reference.host
        self._auth = auth
        self._header = ""

    def manifest(self, tag_or_digest: str) -> tuple[str, dict[str, Any]]:
        """(digest, document) of a manifest or an index."""
        raw = self.document("manifests", tag_or_digest)
        return _digest(raw), _parsed(raw, "manifest")

    def document(self, kind: str, reference: str) -> bytes:
        """A small blob or a manifest, whole, whose digest is right where one was given."""
        raw = b"".join(self._read(f"{self._path}/{kind}/{reference}", LARGEST_DOCUMENT))
        if reference.startswith("sha256:") and _digest(raw) != reference:
            raise StatusError("DATA_LOSS", f"{kind}: what came has another digest than {reference}")
        return raw

    def blob(self, digest: str, size: int) -> Iterator[bytes]:
        """A layer in pieces. Raises at its end where size or digest are others."""
        seen, length = hashlib.sha256(), 0
        for piece in self._read(f"{self._path}/blobs/{digest}", size):
            seen.update(piece)
            length += len(piece)
            yield piece
        if length != size or f"sha256:{seen.hexdigest()}" != digest:
            raise StatusError("DATA_LOSS", f"what came for {digest} is not it")

    def _read(self, path: str, limit: int) -> Iterator[bytes]:
        url, headers = self._base + path, {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
        try:
            response = self._ask(url, headers)
            promised = response.length
            if promised is not None and promised > limit:
                raise StatusError("OUT_OF_RANGE", f"{path}: {promised} bytes are too many")
            length = 0
            while piece := response.read(_CHUNK):
                length += len(piece)
                if length > limit:
                    raise StatusError("OUT_OF_RANGE", f"{path}: more than {limit} bytes")
                yield piece
            if promised is not None and length != promised:
                raise StatusError("DATA_LOSS", f"{path}: cut off after {length} bytes")
        except (OSError, http.client.HTTPException) as error:
            raise StatusError("UNAVAILABLE", f"{self._host}: {type(error).__name__}") from None

    def _ask(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        response = self._follow(url, headers)
        if response.status == 401 and not self._header:
            # Nothing of what was asked with or is answered goes into an error: it may be secret.
            self._header = self._credentials(response.headers.get("WWW-Authenticate", ""))
            response = self._follow(url, headers)
        if response.status != 200:
            _refuse(self._host, urlsplit(url).path, response.status)
        return response

    def _follow(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        for _ in range(_REDIRECTS):
            own = url.startswith(f"{self._base}/")
            # Credentials are for the registry, not for wherever it leads to.
            with_auth = {"Authorization": self._header} if own and self._header else {}
            response = self._get(url, {**headers, **with_auth})
            location = response.headers.get("Location", "")
            if response.status not in (301, 302, 303, 307, 308) or not location:
                return response
            url = urljoin(url, location)
        raise StatusError("UNAVAILABLE", f"{self._host}: led round in circles")

    def _credentials(self, asked: str) -> str:
        """The header that answers a challenge."""
        user, password = _login(self._auth, self._host)
        basic = base64.b64encode(f"{user}:{password}".encode()).decode() if user else ""
        if asked.lower().startswith("basic") and basic:
            return f"Basic {basic}"
        if asked.lower().startswith("bearer"):
            if self._auth.registry_token:
                return f"Bearer {self._auth.registry_token}"
            said = dict(re.findall(r'(\w+)="([^"]*)"', asked))
            query = urlencode({key: said[key] for key in ("service", "scope") if key in said})
            headers = {"Authorization": f"Basic {basic}"} if basic else {}
            response = self._get(f"{said.get('realm', '')}?{query}", headers)
            if response.status == 200:
                answer = _parsed(response.read(LARGEST_DOCUMENT), "token")
                return f"Bearer {answer.get('token') or answer.get('access_token') or ''}"
        raise StatusError("UNAUTHENTICATED", f"{self._host}: credentials are missing or wrong")

    def _get(self, url: str, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        if not parts.hostname or parts.scheme not in ("http", "https"):
            raise StatusError("UNAVAILABLE", "the registry names an address that is none")
        connection = (
            http.client.HTTPSConnection(parts.netloc, timeout=SILENCE, context=self._trust)
            if parts.scheme == "https"
            else http.client.HTTPConnection(parts.netloc, timeout=SILENCE)
        )
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        # The response holds on to the socket; it is closed when it was read, or with it.
        connection.request("GET", target, headers={"Connection": "close", **headers})
        return connection.getresponse()


def _scheme(host: str) -> str:
    name = host.rpartition(":")[0] or host
    try:
        loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        loopback = name == "localhost"
    return "http" if loopback else "https"


def _login(auth: types.AuthConfig, host: str) -> tuple[str, str]:
    """(user, password) for a host; ("", "") if there are none for it."""
    server = auth.server_address
    if server and (urlsplit(server).netloc or server.split("/")[0]) != host:
        return "", ""
    if auth.username:
        return auth.username, auth.password
    try:
        user, _, password = base64.b64decode(auth.auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise StatusError("INVALID_ARGUMENT", "auth is not base64 of user:password") from None
    return user, password.rstrip("\0")


def _refuse(host: str, path: str, status: int) -> NoReturn:
    code = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND"}
    raise StatusError(code.get(status, "UNAVAILABLE"), f"{host}{path}: HTTP status {status}")


def _this_platform(index: Mapping[str, Any]) -> str:
    machine = platform.machine()
    wanted = {"os": "linux", "architecture": _ARCHITECTURES.get(machine, machine)}
    for entry in index.get("manifests", ()):
        described = entry.get("platform") or {}
        if all(described.get(key) == value for key, value in wanted.items()):
            return str(entry.get("digest", ""))
    raise StatusError("NOT_FOUND", f"there is no image for {wanted['architecture']} in the list")


def _described(layer: Any) -> dict[str, Any]:
    digest, size = (layer.get(key) for key in ("digest", "size")) if layer else (None, None)
    if not isinstance(digest, str) or not isinstance(size, int) or size < 0:
        raise StatusError("DATA_LOSS", "a layer has no digest or no size")
    return dict(layer)


def _parsed(raw: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise StatusError("DATA_LOSS", f"the {what} is no JSON object")
    return document


def _digest(raw: bytes) -> str:
    return f"sha256:{hashlib.sha256(raw).hexdigest()}"
