# SPDX-License-Identifier: Apache-2.0
"""The client and the server on real sockets, over both protocols, with and without TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cri_conformance.streaming import client, status
from cri_conformance.streaming.connection import Stream
from cri_conformance.streaming.events import SPDY, V4, V5, WEBSOCKET, Refused, StreamingError
from cri_conformance.streaming.server import (
    FOREVER,
    CommandSession,
    Server,
    ServerTunnel,
    command,
    port_forward,
)
from cri_conformance.streaming.transport import Stalled

PROTOCOLS = [(SPDY, (V4,)), (WEBSOCKET, (V4,)), (WEBSOCKET, (V5, V4))]
by_protocol = pytest.mark.parametrize(
    ("protocol", "offered"), PROTOCOLS, ids=["spdy", "websocket-v4", "websocket-v5"]
)
ALL = {"stdin": True, "stdout": True, "stderr": True}
MUCH = bytes(range(256)) * 4096 * 5 + b"end"


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    made.start()
    yield made
    made.close()


def echo(session: CommandSession) -> None:
    """Gives its input back, up to its end or to the word "end"."""
    assert session.stdin
    assert session.stdout
    tail = b""
    while data := session.stdin.read(FOREVER):
        session.stdout.write(data)
        tail = (tail + data)[-3:]
        if tail == b"end" and not session.connection.half_close:
            break
    if session.stderr:
        session.stderr.write(b"over")
    session.finish(status.ended(7))


@by_protocol
def test_bytes_come_back_and_the_code_is_told(
    server: Server, protocol: str, offered: tuple[str, ...]
) -> None:
    url = server.offer(command(echo, **ALL), "exec")
    with client.open_session(url, **ALL, protocol=protocol, subprotocols=offered) as session:
        assert session.subprotocol == offered[0]
        assert session.half_close == (protocol == SPDY or V5 in offered)
        result = session.communicate(MUCH, seconds=30)
        assert session.connection.wait_over(5)
    assert result.stdout == MUCH
    assert result.stderr == b"over"
    assert (result.status.exit_code, result.status.success) == (7, False)
    assert session.connection.over
    assert session.connection.over.orderly


@by_protocol
def test_a_terminal_gets_its_sizes_in_order(
    server: Server, protocol: str, offered: tuple[str, ...]
) -> None:
    sizes: list[tuple[int, int]] = []
    enough = threading.Event()

    def run(session: CommandSession) -> None:
        def resized(width: int, height: int) -> None:
            sizes.append((width, height))
            if len(sizes) == 50:
                enough.set()

        session.on_resize(resized)
        enough.wait(10)
        session.finish(status.ended(0))

    url = server.offer(command(run, stdout=True, tty=True), "exec")
    with client.open_session(
        url, stdout=True, tty=True, protocol=protocol, subprotocols=offered
    ) as session:
        for number in range(50):
            session.resize(number + 1, number)
        assert session.status(10).success
    assert sizes == [(number + 1, number) for number in range(50)]


@by_protocol
def test_a_client_that_goes_away_is_noticed(
    server: Server, protocol: str, offered: tuple[str, ...]
) -> None:
    for reset in (False, True):
        begun, gone, failed = threading.Event(), threading.Event(), threading.Event()

        def run(
            session: CommandSession,
            begun: threading.Event = begun,
            gone: threading.Event = gone,
            failed: threading.Event = failed,
        ) -> None:
            begun.set()
            session.on_gone(gone.set)
            assert session.stdin
            assert session.stdout
            assert session.stdin.read(FOREVER) == b""
            try:
                session.stdout.write(b"x")
            except StreamingError:
                failed.set()
            session.finish(status.ended(0))

        url = server.offer(command(run, stdin=True, stdout=True), "exec")
        session = client.open_session(
            url, stdin=True, stdout=True, protocol=protocol, subprotocols=offered
        )
        assert begun.wait(5)
        session.abort(reset=reset)
        assert gone.wait(5)
        assert failed.wait(5)


def test_a_slow_reader_holds_the_writer_and_nothing_is_lost(server: Server) -> None:
    written = threading.Event()

    def run(session: CommandSession) -> None:
        assert session.stdin
        session.stdin.read(FOREVER, 1)
        go.wait(10)
        size = 1 + len(session.stdin.read_all(10)) if written.is_set() else 1
        while data := session.stdin.read(10):
            size += len(data)
        session.finish(status.failed(f"{size}"))

    go = threading.Event()
    url = server.offer(command(run, stdin=True), "exec")
    with client.open_session(url, stdin=True) as session:
        assert session.stdin

        def write() -> None:
            assert session.stdin
            session.stdin.write(b"x" * (32 << 20))
            session.stdin.close()
            written.set()

        writer = threading.Thread(target=write)
        writer.start()
        assert not written.wait(0.3)
        go.set()
        assert session.status(30).message == str(32 << 20)
        writer.join()


def test_urls_are_good_once_and_for_a_time(server: Server) -> None:
    url = server.offer(command(echo, **ALL), "exec")
    client.open_session(url, **ALL).abort()
    late = server.offer(command(echo, **ALL), "exec", seconds=0)
    for bad in (url, late, f"{server.address}/exec/guessed", f"{server.address}/"):
        for protocol, offered in PROTOCOLS:
            with pytest.raises(Refused, match="404"):
                client.open_session(bad, **ALL, protocol=protocol, subprotocols=offered)


def test_other_subprotocols_are_refused(server: Server) -> None:
    for protocol in (SPDY, WEBSOCKET):
        url = server.offer(command(echo, **ALL), "exec")
        with pytest.raises(Refused, match="403"):
            client.open_session(url, **ALL, protocol=protocol, subprotocols=("v9.k8s.io",))


def test_a_plain_request_is_refused(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.address.rpartition(":")[2]))) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert plain.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("/exec/x", "absolute"),
        ("unix:///x", "absolute"),
        ("http://127.0.0.1:1/x", "no connection"),
        ("http://[x", "not a URL|Invalid"),
    ],
)
def test_a_url_that_leads_nowhere_is_told(url: str, why: str) -> None:
    with pytest.raises((StreamingError, ValueError), match=why):
        client.open_session(url, stdout=True)


def test_silence_is_no_status(server: Server) -> None:
    url = server.offer(command(lambda session: session.connection.finish(), stdout=True), "exec")
    with (
        client.open_session(url, stdout=True) as session,
        pytest.raises(StreamingError, match="no status"),
    ):
        session.status(5)
    hangs = threading.Event()
    url = server.offer(command(lambda session: hangs.wait(10) and None, stdout=True), "exec")
    with client.open_session(url, stdout=True) as session, pytest.raises(Stalled):
        session.status(0.2)
    hangs.set()


def upper(tunnel: ServerTunnel) -> None:
    if tunnel.port == 13:
        tunnel.fail("connection refused")
        return
    while data := tunnel.data.read(FOREVER):
        tunnel.data.write(data.upper())


def test_port_forward_over_spdy(server: Server) -> None:
    with client.open_forward(server.offer(port_forward(upper), "portforward")) as forward:
        tunnels = [forward.connect(port) for port in (1, 2, 2)]
        for number, tunnel in enumerate(tunnels):
            sent = bytes([97 + number]) * 300_000
            assert tunnel.exchange(sent, len(sent), 10) == sent.upper()
        tunnels[0].data.close()
        assert tunnels[0].failure(5) == ""
        assert tunnels[0].data.read(5) == b""
        with forward.connected(13) as refused:
            assert refused.failure(5) == "connection refused"
            assert refused.data.read(5) == b""
        assert tunnels[1].exchange(b"still", 5, 5) == b"STILL"
        with pytest.raises(StreamingError, match="refused"):
            forward.connect(0)


def test_port_forward_over_a_websocket(server: Server) -> None:
    url = server.offer(port_forward(upper, [1, 13]), "portforward")
    with client.open_forward(url, protocol=WEBSOCKET, ports=[1, 13]) as forward:
        one, refused = forward.connect(1), forward.connect(13)
        sent = b"a" * 300_000
        assert one.exchange(sent, len(sent), 10) == sent.upper()
        assert refused.error.read(5) == b"connection refused"
    with pytest.raises(Refused, match="400"):
        client.open_forward(
            server.offer(port_forward(upper), "portforward"), protocol=WEBSOCKET, ports=[1]
        )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    made = subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=somebody else", "-keyout", "-", "-out", "-"),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("no openssl to make a certificate")
    path.write_bytes(made.stdout)
    return path


@by_protocol
def test_tls_with_a_certificate_of_the_servers_own(
    certificate: Path, protocol: str, offered: tuple[str, ...]
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server(tls=context)
    server.start()
    try:
        url = server.offer(command(echo, **ALL), "exec")
        assert url.startswith("https://")
        with client.open_session(url, **ALL, protocol=protocol, subprotocols=offered) as session:
            result = session.communicate(MUCH, seconds=30)
        assert result.stdout == MUCH
        assert result.status.exit_code == 7
    finally:
        server.close()


def test_no_thread_is_left_behind(server: Server) -> None:
    before = set(threading.enumerate())
    for protocol, offered in PROTOCOLS:
        url = server.offer(command(echo, **ALL), "exec")
        with client.open_session(url, **ALL, protocol=protocol, subprotocols=offered) as session:
            session.communicate(b"end", seconds=10)
    _await_end(before)


def test_a_session_can_end_while_input_waits(server: Server) -> None:
    def run(session: CommandSession) -> None:
        assert session.stdin
        session.stdin.read(FOREVER, 1)
        session.finish(status.ended(3))

    before = set(threading.enumerate())
    url = server.offer(command(run, stdin=True), "exec")
    with client.open_session(url, stdin=True) as session:
        assert session.stdin
        writer = threading.Thread(target=_keep_writing, args=(session.stdin,))
        writer.start()
        # Not cut short by what was sent and never read.
        assert session.status(10).exit_code == 3
        writer.join(10)
    _await_end(before)


def _await_end(before: set[threading.Thread]) -> None:
    """All threads that were not there before come to an end."""
    while started := [one for one in set(threading.enumerate()) - before if one.is_alive()]:
        started[0].join(10)
        assert not started[0].is_alive()


def _keep_writing(stream: Stream) -> None:
    try:
        while True:
            stream.write(b"x" * 65536)
    except StreamingError:
        pass


def many(count: int, work: Callable[[int], None]) -> None:
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors


def test_many_tunnels_at_once_in_one_session(server: Server) -> None:
    with client.open_forward(server.offer(port_forward(upper), "portforward")) as forward:

        def one(number: int) -> None:
            with forward.connected(100 + number) as tunnel:
                sent = bytes([97 + number]) * (100_000 + number)
                assert tunnel.exchange(sent, len(sent), 20) == sent.upper()

        many(20, one)
