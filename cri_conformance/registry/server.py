# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback: the pull side of the OCI distribution protocol, well or badly served.

What is served lies in memory. A repository may ask for credentials and may have a trouble: then
the exchange is handed to it first (see ``troubles``). The server is the standard library's: it
lets an answer be cut off, lied about and drawn out, which a good web framework prevents.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import json
import re
import secrets
import socket
import ssl
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from cri_conformance.registry.oci import Blob, Image

#: Seconds within which a client must have said what it wants, and taken what it was sent.
PATIENCE = 30.0
#: Bytes written at a time.
CHUNK = 64 * 1024
#: How a TLS client begins, and what it is told here.
_TLS, _PLAIN = b"\x16", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nplain HTTP here\n"
#: Bytes of a form.
_LARGEST_FORM = 64 * 1024
#: How many exchanges are remembered.
REMEMBERED = 2_000

_PATH = re.compile(
    r"/v2/(?P<name>[a-z0-9._/-]+)/(?:(?P<kind>manifests|blobs)/(?P<ref>[\w.:+-]+)|tags/list)"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a repository asks for; ``bearer`` sends the client for a token first."""

    user: str
    password: str = field(repr=False)
    bearer: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """One exchange, as the registry's log has it. Without credentials, whether they were right."""

    method: str
    repository: str
    kind: str
    reference: str
    authorised: bool
    status: int


class Exchange:
    """One request for a manifest or a blob, and the means to answer it."""

    def __init__(
        self, handler: _Handler, repository: str, kind: str, reference: str, blob: Blob
    ) -> None:
        self.repository = repository
        self.kind = kind
        self.reference = reference
        self.blob = blob
        self.path = handler.path
        self.ended = handler.registry.ended
        self._handler = handler

    def head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        """Send the status line and headers."""
        self._handler.head(status, headers)

    def write(self, data: bytes) -> None:
        """Send a part of the body; nothing to an answer for HEAD."""
        if self._handler.command != "HEAD":
            self._handler.wfile.write(data)

    def hang_up(self) -> None:
        """Close the connection after what was sent."""
        self._handler.close_connection = True

    def serve(self) -> None:
        """The true answer."""
        self._handler.serve(self.blob)


#: Answers an exchange in its own way and returns True, or leaves it to the registry.
Trouble: TypeAlias = Callable[[Exchange], bool]


@dataclass
class _Repository:
    manifests: dict[str, Blob] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    credentials: Credentials | None = None
    trouble: Trouble | None = None


class Registry:
    """What is served, and to whom. Safe to use from several threads.

    ``address`` is ``host:port``, with which references begin.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """Raises OSError if the address can't be listened on."""
        self.ended = threading.Event()
        self._repositories: dict[str, _Repository] = defaultdict(_Repository)
        self._tokens: dict[str, str] = {}
        self._log: deque[Seen] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()
        self._tls = tls
        registry = self

        class Handler(_Handler):
            pass

        Handler.registry = registry
        self._server = _Server((host, port), Handler)
        if tls:
            # Shaken hands in the thread of the connection: a client that doesn't stalls nobody.
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.address = f"{host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), name="registry", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Serve no more. Exchanges under way are cut off."""
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()
        # A client that keeps a connection would go on asking us, whoever has the port next.
        self._server.hang_up()
        self._thread.join(PATIENCE)

    # -- what is served --------------------------------------------------------------

    def push(self, repository: str, tag: str, image: Image) -> str:
        """Serve an image under a tag ("" for its digest alone); its reference."""
        self.put(repository, image.manifest, image.blobs, tag)
        return self.reference(repository, tag or image.manifest.digest)

    def put(self, repository: str, manifest: Blob, blobs: Iterable[Blob], tag: str = "") -> None:
        """Serve a manifest (or an index, or what is neither) and the blobs that it names."""
        with self._lock:
            kept = self._repositories[repository]
            kept.blobs.update((blob.digest, blob) for blob in blobs)
            kept.manifests[manifest.digest] = manifest
            if tag:
                kept.manifests[tag] = manifest

    def untag(self, repository: str, tag: str) -> None:
        """Serve this tag no more."""
        with self._lock:
            self._repositories[repository].manifests.pop(tag, None)

    def forget(self, repository: str) -> None:
        """Serve nothing of a repository any more."""
        with self._lock:
            self._repositories.pop(repository, None)
            self._tokens = {one: of for one, of in self._tokens.items() if of != repository}

    def protect(self, repository: str, credentials: Credentials | None) -> None:
        """Ask for credentials, or no longer."""
        self._repositories[repository].credentials = credentials

    def trouble(self, repository: str, trouble: Trouble | None) -> None:
        """Misbehave in a repository, or no longer."""
        self._repositories[repository].trouble = trouble

    def reference(self, repository: str, tag_or_digest: str) -> str:
        """``host:port/repository:tag``, or ``…@sha256:…``."""
        mark = "@" if tag_or_digest.startswith("sha256:") else ":"
        return f"{self.address}/{repository}{mark}{tag_or_digest}"

    def seen(self, repository: str = "") -> list[Seen]:
        """The exchanges so far, of one repository or of all."""
        with self._lock:
            return [one for one in self._log if repository in ("", one.repository)]

    # -- for the handler ---------------------------------------------------------------

    def look_up(self, repository: str) -> _Repository | None:
        with self._lock:
            return self._repositories.get(repository)

    def note(self, seen: Seen) -> None:
        with self._lock:
            self._log.append(seen)

    def token_for(self, repository: str, authorization: str) -> str | None:
        """A token for whoever has the repository's credentials."""
        kept = self.look_up(repository)
        if not kept or not kept.credentials or not _basic(authorization, kept.credentials):
            return None
        token = secrets.token_urlsafe()
        with self._lock:
            self._tokens[token] = repository
        return token

    def admits(self, repository: str, authorization: str) -> bool:
        """Whether a request with this header may see the repository."""
        kept = self.look_up(repository)
        wanted = kept.credentials if kept else None
        if wanted is None:
            return True
        if not wanted.bearer:
            return _basic(authorization, wanted)
        kind, _, token = authorization.partition(" ")
        return kind.lower() == "bearer" and self._tokens.get(token) == repository


@contextlib.contextmanager
def running(
    host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[Registry]:
    """A registry for the time of the block. Raises OSError."""
    made = Registry(host, port, tls)
    try:
        yield made
    finally:
        made.close()


def _header(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _basic(authorization: str, wanted: Credentials) -> bool:
    expected = _header(wanted.user, wanted.password)
    return hmac.compare_digest(authorization.encode(), expected.encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # Many pulls at once must not find a full queue.
    request_queue_size = 128

    def __init__(self, *words: Any) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(*words)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End every connection."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news: runtimes cancel pulls."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "cri-conformance"
    sys_version = ""
    timeout = PATIENCE
    # Every write is a packet of its own otherwise held back for an answer that does not come.
    disable_nagle_algorithm = True
    registry: Registry

    def handle(self) -> None:
        # A runtime that tries TLS first goes on without if the answer is plainly HTTP's.
        if not isinstance(self.connection, ssl.SSLSocket) and self._hello() == _TLS:
            self.wfile.write(_PLAIN)
            return
        super().handle()

    def _hello(self) -> bytes:
        try:
            first: bytes = self.connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return b""
        return first

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path in ("/v2", "/v2/"):
            self._document(200, {})
        elif url.path == "/token":
            self._token(parse_qs(url.query), self.headers.get("Authorization", ""))
        elif match := _PATH.fullmatch(url.path):
            self._repository(match["name"], match["kind"] or "tags", match["ref"] or "")
        else:
            self._error(404, "NAME_UNKNOWN")

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        """The other way to a token: OAuth 2, with the password in the form."""
        length = int(self.headers.get("Content-Length") or 0)
        if urlsplit(self.path).path != "/token" or length > _LARGEST_FORM:
            self.close_connection = True
            self._error(404, "UNSUPPORTED")
            return
        form = parse_qs(self.rfile.read(length).decode(errors="replace"))
        user, password = ((form.get(key) or [""])[0] for key in ("username", "password"))
        self._token(form, _header(user, password))

    def _repository(self, name: str, kind: str, reference: str) -> None:
        self._about = (name, kind, reference)
        kept = self.registry.look_up(name)
        authorization = self.headers.get("Authorization", "")
        self._authorised = bool(kept and self.registry.admits(name, authorization))
        if kept is None:
            self._error(404, "NAME_UNKNOWN")
        elif not self._authorised:
            self._challenge(name, bearer=bool(kept.credentials and kept.credentials.bearer))
        elif kind == "tags":
            tags = sorted(key for key in kept.manifests if ":" not in key)
            self._document(200, {"name": name, "tags": tags})
        else:
            known = kept.manifests if kind == "manifests" else kept.blobs
            blob = known.get(reference)
            if blob is None:
                self._error(404, "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN")
                return
            exchange = Exchange(self, name, kind, reference, blob)
            if not (kept.trouble and kept.trouble(exchange)):
                exchange.serve()

    def serve(self, blob: Blob) -> None:
        """A blob, or the range of it that was asked for."""
        total = len(blob.data)
        headers = [
            ("Content-Type", blob.media_type),
            ("Docker-Content-Digest", blob.digest),
            ("Accept-Ranges", "bytes"),
        ]
        start, end = 0, total
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted:
            start = int(wanted[1])
            end = min(int(wanted[2]) + 1 if wanted[2] else total, total)
            if start >= end:
                self.head(416, [("Content-Range", f"bytes */{total}"), ("Content-Length", "0")])
                return
            headers.append(("Content-Range", f"bytes {start}-{end - 1}/{total}"))
        self.head(206 if wanted else 200, [*headers, ("Content-Length", str(end - start))])
        if self.command != "HEAD":
            view = memoryview(blob.data)[start:end]
            for at in range(0, len(view), CHUNK):
                self.wfile.write(view[at : at + CHUNK])

    def head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()

    def _token(self, query: dict[str, list[str]], authorization: str) -> None:
        scope = (query.get("scope") or [""])[0]
        name = scope.split(":")[1] if scope.count(":") >= 2 else ""
        token = self.registry.token_for(name, authorization)
        if token is None:
            self._error(401, "UNAUTHORIZED")
        else:
            self._document(200, {"token": token, "access_token": token, "expires_in": 300})

    def _challenge(self, name: str, *, bearer: bool) -> None:
        scheme = "https" if isinstance(self.connection, ssl.SSLSocket) else "http"
        realm = f"{scheme}://{self.registry.address}/token"
        asked = (
            f'Bearer realm="{realm}",service="cri-conformance",scope="repository:{name}:pull"'
            if bearer
            else 'Basic realm="cri-conformance"'
        )
        self._error(401, "UNAUTHORIZED", [("WWW-Authenticate", asked)])

    def _error(self, status: int, code: str, headers: Iterable[tuple[str, str]] = ()) -> None:
        message = code.replace("_", " ").lower()
        self._document(status, {"errors": [{"code": code, "message": message}]}, headers)

    def _document(
        self, status: int, document: object, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        data = json.dumps(document).encode()
        about = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        self.head(status, [*about, *headers])
        if self.command != "HEAD":
            self.wfile.write(data)

    # -- what the base class does on its own -------------------------------------------

    _about = ("", "", "")
    _authorised = False

    def send_response(self, code: int, message: str | None = None) -> None:
        super().send_response(code, message)
        if self._about[0]:
            self.registry.note(Seen(self.command, *self._about, self._authorised, code))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing on stderr: ``Registry.seen`` tells, and a request line may hold a secret."""
