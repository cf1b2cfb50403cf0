# SPDX-License-Identifier: Apache-2.0
"""The registry, asked by a plain HTTP client."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator

import pytest

from cri_conformance.registry import oci, troubles
from cri_conformance.registry.server import Credentials, Registry, running

FILES = [oci.File("a/"), oci.File("a/b", b"content" * 5000)]
IMAGE = oci.image([oci.layer(FILES)], {"Cmd": ["/a/b"]}, architecture="amd64")
LAYER = IMAGE.layers[0].blob


@pytest.fixture
def registry() -> Iterator[Registry]:
    with running() as made:
        made.push("team/app", "1", IMAGE)
        yield made


def get(
    registry: Registry, path: str, method: str = "GET", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(registry.address, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_a_pull_finds_all_that_the_manifest_names(registry: Registry) -> None:
    assert get(registry, "/v2/")[0] == 200
    status, headers, body = get(registry, "/v2/team/app/manifests/1")
    assert (status, body) == (200, IMAGE.manifest.data)
    assert headers["Content-Type"] == oci.OCI.manifest
    assert headers["Docker-Content-Digest"] == IMAGE.manifest.digest
    assert get(registry, f"/v2/team/app/manifests/{IMAGE.manifest.digest}")[2] == body
    named = json.loads(body)
    for descriptor in (named["config"], *named["layers"]):
        status, _, blob = get(registry, f"/v2/team/app/blobs/{descriptor['digest']}")
        assert (status, len(blob)) == (200, descriptor["size"])
        assert oci.Blob("", blob).digest == descriptor["digest"]
    assert json.loads(get(registry, "/v2/team/app/tags/list")[2])["tags"] == ["1"]
    assert [one.kind for one in registry.seen("team/app")].count("blobs") == 2


def test_heads_and_ranges(registry: Registry) -> None:
    path = f"/v2/team/app/blobs/{LAYER.digest}"
    status, headers, body = get(registry, path, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, str(len(LAYER.data)), b"")
    status, headers, body = get(registry, path, Range="bytes=3-9")
    assert (status, body) == (206, LAYER.data[3:10])
    assert headers["Content-Range"] == f"bytes 3-9/{len(LAYER.data)}"
    assert get(registry, path, Range=f"bytes={len(LAYER.data) - 1}-")[2] == LAYER.data[-1:]
    assert get(registry, path, Range=f"bytes={len(LAYER.data)}-")[0] == 416


@pytest.mark.parametrize(
    "path", ["/", "/v2/none/manifests/1", "/v2/team/app/manifests/2", "/v2/team/app/blobs/sha256:0"]
)
def test_what_is_not_there(registry: Registry, path: str) -> None:
    status, _, body = get(registry, path)
    assert status == 404
    assert json.loads(body)["errors"]


def test_a_tag_moves_and_goes(registry: Registry) -> None:
    other = oci.image([], {"Cmd": ["other"]}, architecture="amd64", words=oci.DOCKER)
    registry.push("team/app", "1", other)
    assert get(registry, "/v2/team/app/manifests/1")[2] == other.manifest.data
    registry.untag("team/app", "1")
    assert get(registry, "/v2/team/app/manifests/1")[0] == 404
    assert get(registry, f"/v2/team/app/manifests/{IMAGE.manifest.digest}")[0] == 200


def test_credentials_by_basic_and_bearer(registry: Registry) -> None:
    right, wrong = "Basic bWU6c2VjcmV0", "Basic bWU6d3Jvbmc="
    path = "/v2/team/app/manifests/1"
    registry.protect("team/app", Credentials("me", "secret"))
    status, headers, _ = get(registry, path)
    assert (status, headers["WWW-Authenticate"].split()[0]) == (401, "Basic")
    assert get(registry, path, Authorization=wrong)[0] == 401
    assert get(registry, path, Authorization=right)[0] == 200

    registry.protect("team/app", Credentials("me", "secret", bearer=True))
    status, headers, _ = get(registry, path, Authorization=right)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith('Bearer realm="http://')
    scope = "/token?service=x&scope=repository:team/app:pull"
    assert get(registry, scope, Authorization=wrong)[0] == 401
    token = json.loads(get(registry, scope, Authorization=right)[2])["token"]
    assert get(registry, path, Authorization=f"Bearer {token}")[0] == 200
    assert get(registry, path, Authorization=f"Bearer {token}x")[0] == 401
    form = "grant_type=password&service=x&scope=repository:team/app:pull&username=me&password="
    for password, status in (("wrong", 401), ("secret", 200)):
        connection = http.client.HTTPConnection(registry.address, timeout=5)
        connection.request("POST", "/token", form + password)
        response = connection.getresponse()
        assert response.status == status
        body = json.loads(response.read())
        connection.close()
    assert get(registry, path, Authorization=f"Bearer {body['access_token']}")[0] == 200
    assert "secret" not in repr(registry.seen()) + repr(Credentials("me", "secret"))


def test_troubles(registry: Registry) -> None:
    path = f"/v2/team/app/blobs/{LAYER.digest}"

    def under(trouble: troubles.Trouble) -> tuple[int, dict[str, str], bytes]:
        registry.trouble("team/app", troubles.on("blobs", trouble))
        assert get(registry, "/v2/team/app/manifests/1")[0] == 200
        return get(registry, path)

    for code in (401, 403, 404, 429, 500):
        assert under(troubles.status(code))[0] == code
    for broken in (troubles.cut_off(), troubles.wrong_length(7), troubles.silent(0.1)):
        with pytest.raises(http.client.HTTPException):
            under(broken)
    data = under(troubles.wrong_bytes())[2]
    assert len(data) == len(LAYER.data)
    assert data != LAYER.data
    assert under(troubles.slow(0.2))[2] == LAYER.data
    assert under(troubles.redirects())[1]["Location"] == path
    assert len(under(troubles.huge(200_000))[2]) == 200_000
    registry.trouble("team/app", troubles.on("blobs", troubles.status(500), times=1))
    assert [get(registry, path)[0] for _ in range(2)] == [500, 200]


def test_a_kept_connection_ends_with_the_registry() -> None:
    with running() as made:
        connection = http.client.HTTPConnection(made.address, timeout=5)
        for _ in range(2):
            connection.request("GET", "/v2/")
            assert connection.getresponse().read() == b"{}"
    port = int(made.address.rpartition(":")[2])
    with running(port=port) as other:
        other.push("team/app", "1", IMAGE)
        assert connection.sock.recv(1) == b""
        assert get(other, "/v2/team/app/manifests/1")[0] == 200
    connection.close()


def test_a_client_that_begins_with_tls_is_told_that_this_is_http(registry: Registry) -> None:
    host, _, port = registry.address.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"\x16\x03\x01\x00\x05hello")
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_it_ends_with_exchanges_under_way() -> None:
    with running() as registry:
        registry.push("app", "1", IMAGE)
        registry.trouble("app", troubles.silent(60))
        connection = http.client.HTTPConnection(registry.address, timeout=5)
        connection.request("GET", "/v2/app/manifests/1")
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.getresponse()
    connection.close()


def test_layers_have_whiteouts_and_links_and_equal_input_gives_equal_bytes() -> None:
    files = [oci.File("l", link="a/b"), oci.whiteout("a/b"), oci.opaque("a/")]
    made = oci.layer(files, compressed=False)
    assert made == oci.layer(files, compressed=False)
    assert made.diff_id == made.blob.digest
    assert b"a/.wh.b" in made.blob.data
    assert b"a/.wh..wh..opq" in made.blob.data
    packed = oci.layer(files, oci.DOCKER)
    assert packed.diff_id == made.diff_id
    assert packed.blob.media_type.endswith("tar.gzip")
