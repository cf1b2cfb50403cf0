# SPDX-License-Identifier: Apache-2.0
"""Ways in which a registry misbehaves. Each ends by itself when the registry does."""

from __future__ import annotations

import itertools
import threading

from cri_conformance.registry.server import CHUNK, Exchange, Trouble

#: Statuses that need a header beside them.
_HEADERS = {
    401: [("WWW-Authenticate", 'Basic realm="nobody"')],
    429: [("Retry-After", "3600")],
}


def on(kind: str, trouble: Trouble, times: int | None = None) -> Trouble:
    """A trouble with manifests only, or with blobs only; the first so many times."""
    left = itertools.count() if times is None else iter(range(times))

    def only(exchange: Exchange) -> bool:
        return exchange.kind == kind and next(left, None) is not None and trouble(exchange)

    return only


def status(code: int) -> Trouble:
    """Answers with this HTTP status."""

    def answer(exchange: Exchange) -> bool:
        exchange.head(code, [*_HEADERS.get(code, []), ("Content-Length", "0")])
        return True

    return answer


def cut_off(after: float = 0.5) -> Trouble:
    """Hangs up when this part of the body was sent, having promised all of it."""

    def answer(exchange: Exchange) -> bool:
        data = exchange.blob.data
        _promise(exchange, len(data))
        exchange.write(data[: int(len(data) * after)])
        exchange.hang_up()
        return True

    return answer


def wrong_bytes() -> Trouble:
    """Sends a body of the right length whose digest is another."""

    def answer(exchange: Exchange) -> bool:
        data = exchange.blob.data
        _promise(exchange, len(data))
        exchange.write(data[:-1] + bytes([data[-1] ^ 1]))
        return True

    return answer


def wrong_length(more: int) -> Trouble:
    """Promises so many bytes more (or fewer) than it sends before it hangs up."""

    def answer(exchange: Exchange) -> bool:
        data = exchange.blob.data
        _promise(exchange, max(len(data) + more, 0))
        exchange.write(data)
        exchange.hang_up()
        return True

    return answer


def slow(seconds: float, pieces: int = 10, over: threading.Event | None = None) -> Trouble:
    """Draws the body out over so many seconds, or hangs up when ``over`` is set."""

    def answer(exchange: Exchange) -> bool:
        data = exchange.blob.data
        _promise(exchange, len(data))
        size = max(len(data) // pieces, 1)
        for start in range(0, len(data), size):
            exchange.write(data[start : start + size])
            if _waited(exchange, seconds / pieces, over):
                exchange.hang_up()
                break
        return True

    return answer


def _waited(exchange: Exchange, seconds: float, over: threading.Event | None) -> bool:
    """Whether it is over; if not, so many seconds are."""
    if over is None:
        return exchange.ended.wait(seconds)
    return over.wait(seconds) or exchange.ended.is_set()


def silent(seconds: float) -> Trouble:
    """Says nothing for so many seconds, then hangs up."""

    def answer(exchange: Exchange) -> bool:
        exchange.ended.wait(seconds)
        exchange.hang_up()
        return True

    return answer


def redirects() -> Trouble:
    """Sends the client to where it is, for ever."""

    def answer(exchange: Exchange) -> bool:
        exchange.head(307, [("Location", exchange.path), ("Content-Length", "0")])
        return True

    return answer


def huge(size: int) -> Trouble:
    """A body of so many bytes in place of the true one, made as it is sent."""

    def answer(exchange: Exchange) -> bool:
        _promise(exchange, size)
        chunk = b" " * CHUNK
        for start in range(0, size, CHUNK):
            if exchange.ended.is_set():
                break
            exchange.write(chunk[: size - start])
        exchange.hang_up()
        return True

    return answer


def _promise(exchange: Exchange, length: int) -> None:
    exchange.head(
        200,
        [
            ("Content-Type", exchange.blob.media_type),
            ("Docker-Content-Digest", exchange.blob.digest),
            ("Content-Length", str(length)),
        ],
    )
