# SPDX-License-Identifier: Apache-2.0
"""The forms in which an endpoint may be given, and where crictl keeps its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri_conformance.wire import endpoint


@pytest.mark.parametrize(
    ("given", "text", "target", "socket"),
    [
        ("unix:///run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock", Path("/run/x.sock")),
        ("/run/x.sock", "unix:///run/x.sock", "unix:/run/x.sock", Path("/run/x.sock")),
        (" /run/x.sock\n", "unix:///run/x.sock", "unix:/run/x.sock", Path("/run/x.sock")),
        ("tcp://node:1234", "tcp://node:1234", "dns:///node:1234", None),
        ("tcp://[::1]:1234", "tcp://[::1]:1234", "dns:///[::1]:1234", None),
    ],
)
def test_what_can_be_given(given: str, text: str, target: str, socket: Path | None) -> None:
    found = endpoint.parse(given)
    assert (found.text, found.target, found.socket) == (text, target, socket)
    assert found.local == (socket is not None)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "run/x.sock",
        "unix://run/x.sock",
        "http://node:1",
        "tcp://node",
        "tcp://:1",
        "tcp://node:0",
        "tcp://node:65536",
        "tcp://node:x",
        "unix:///" + 107 * "x",
    ],
)
def test_what_is_no_endpoint_is_one_line(given: str) -> None:
    with pytest.raises(endpoint.EndpointError) as caught:
        endpoint.parse(given)
    assert "\n" not in str(caught.value)


def test_the_longest_path_a_socket_can_have() -> None:
    assert endpoint.parse("/" + 106 * "x").local


@pytest.fixture
def crictl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in endpoint.CRICTL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "crictl.yaml"
    monkeypatch.setenv(endpoint.CRICTL_FILE_VARIABLE, str(path))
    return path


def test_auto_reads_crictl_yaml(crictl: Path) -> None:
    crictl.write_text(
        "# endpoints\nruntime-endpoint: unix:///run/a.sock  # here\n"
        'image-endpoint: "unix:///run/b.sock"\nnested:\n  runtime-endpoint: wrong\n',
        encoding="utf-8",
    )
    assert endpoint.from_crictl() == ("unix:///run/a.sock", "unix:///run/b.sock")


def test_auto_takes_the_environment_first(crictl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crictl.write_text("runtime-endpoint: /run/file.sock\n", encoding="utf-8")
    monkeypatch.setenv(endpoint.CRICTL_VARIABLES[0], "/run/environment.sock")
    assert endpoint.from_crictl() == ("/run/environment.sock", "")


@pytest.mark.parametrize("text", [None, "timeout: 2\n"])
def test_auto_that_finds_nothing_says_where_it_looked(crictl: Path, text: str | None) -> None:
    if text is not None:
        crictl.write_text(text, encoding="utf-8")
    with pytest.raises(endpoint.EndpointError, match=r"CONTAINER_RUNTIME_ENDPOINT.*crictl\.yaml"):
        endpoint.from_crictl()
