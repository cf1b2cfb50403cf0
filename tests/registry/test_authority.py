# SPDX-License-Identifier: Apache-2.0
"""TLS by a certificate authority of our own: made once, reused, trusted only where it is named."""

from __future__ import annotations

import http.client
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.reference import process
from cri_conformance.registry import authority, oci
from cri_conformance.registry.server import Credentials, Registry, running
from cri_conformance.wire.client import Client
from cri_conformance.wire.endpoint import parse
from cri_conformance.wire.outcome import Ok

pytest.importorskip("trustme")

IMAGE = oci.image([oci.layer([oci.File("a", b"1")])], {}, architecture=oci.architecture_here())


def test_it_is_made_once_and_its_key_is_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "tls"
    certificate = authority.prepare(folder)
    made = certificate.read_bytes()
    assert authority.prepare(folder).read_bytes() == made
    assert (folder / "ca.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["ca.key", "ca.pem"]


def test_what_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(authority.TlsError, match="no certificate authority of ours"):
        authority.prepare(tmp_path)
    monkeypatch.setitem(sys.modules, "trustme", None)
    with pytest.raises(authority.TlsError, match=r"pip install 'cri-conformance\[tls\]'"):
        authority.prepare(tmp_path)


def test_a_folder_with_files_of_others_is_left_as_it_is(tmp_path: Path) -> None:
    # As where a registry's own files are kept, or a key whose certificate has another name.
    for name in ("hosts", "ca.key"):
        folder = tmp_path / f"with-{name}"
        folder.mkdir()
        (folder / name).write_text("of others")
        with pytest.raises(authority.TlsError) as refused:
            authority.prepare(folder)
        assert str(refused.value) == (
            f"{folder} holds no certificate authority of ours (but {name!r}): name a folder that "
            "is empty or yet to be made"
        )
        assert [(one.name, one.read_text()) for one in folder.iterdir()] == [(name, "of others")]


def test_what_is_beside_an_authority_does_not_matter(tmp_path: Path) -> None:
    certificate = authority.prepare(tmp_path)
    (tmp_path / "hosts.toml").write_text("")
    assert authority.prepare(tmp_path) == certificate


def test_only_who_trusts_it_comes_in(tmp_path: Path) -> None:
    certificate = authority.prepare(tmp_path)
    with running(tls=authority.context(tmp_path, "127.0.0.1")) as registry:
        assert _status(registry, ssl.create_default_context(cafile=certificate)) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            _status(registry, ssl.create_default_context())


def _status(registry: Registry, trust: ssl.SSLContext) -> int:
    connection = http.client.HTTPSConnection(registry.address, timeout=5, context=trust)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("trusted", [True, False])
def test_the_reference_runtime_pulls_by_it(tmp_path: Path, trusted: bool) -> None:
    certificate = authority.prepare(tmp_path / ("own" if trusted else "other"))
    tls = authority.context(tmp_path / "own", "127.0.0.1")
    started = process.start(registry_ca=certificate)
    client = Client(parse(started.endpoint))
    try:
        with running(tls=tls) as registry:
            assert _pulls(client, registry) is trusted
    finally:
        client.close()
        started.stop()


def _pulls(client: Client, registry: Registry) -> bool:
    reference = registry.push("cri-conformance/tls", "1", IMAGE)
    # With a token, too: the place to get it from is served by TLS.
    registry.protect("cri-conformance/tls", Credentials("me", "secret", bearer=True))
    auth: Any = types.AuthConfig(username="me", password="secret")
    return isinstance(
        client.call("PullImage", image=types.ImageSpec(image=reference), auth=auth), Ok
    )
