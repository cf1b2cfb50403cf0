# SPDX-License-Identifier: Apache-2.0
"""The reference runtime pulls for real: from the registry of the suite, well and badly served."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.reference import process
from cri_conformance.reference.pull import Reference
from cri_conformance.registry import oci, troubles
from cri_conformance.registry.server import Credentials, Registry, running

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "")
SETTINGS: dict[str, Any] = {
    "Entrypoint": ["/bin/sh", "-c", 'echo "$0" "$@" $OF_IMAGE; pwd; exit 3', "entry"],
    "Cmd": ["cmd"],
    "Env": ["OF_IMAGE=yes"],
    "WorkingDir": "/usr",
    "User": "0:0",
    "StopSignal": "SIGRTMIN+3",
}
LAYERS = [
    oci.layer([oci.File("a/"), oci.File("a/b", b"1" * 70_000), oci.File("c", b"2")]),
    oci.layer([oci.whiteout("c"), oci.File("d", b"3")], compressed=False),
]
IMAGE = oci.image(LAYERS, SETTINGS, architecture=ARCHITECTURE)


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def call() -> Iterator[Any]:
    started = process.start()
    target = started.endpoint.replace("unix://", "unix:")
    with grpc.insecure_channel(target, [("grpc.default_authority", "localhost")]) as channel:

        def make(name: str, **fields: Any) -> Any:
            rpc = RPCS[name]
            stub = channel.unary_unary(
                rpc.path, rpc.request.SerializeToString, rpc.response.FromString
            )
            return stub(rpc.request(**fields), timeout=15)

        yield make
    started.stop()


def spec(reference: str) -> types.ImageSpec:
    return types.ImageSpec(image=reference)


def code_of(call: Any, reference: str, **more: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        call("PullImage", image=spec(reference), **more)
    assert "secret" not in caught.value.details()
    return str(caught.value.code().name)


@pytest.mark.parametrize("words", [oci.OCI, oci.DOCKER])
def test_pull_list_and_remove(call: Any, registry: Registry, words: oci.Words) -> None:
    layers = [oci.layer([oci.File("x", b"layer")], words)]
    image = oci.image(layers, {"User": "someone"}, architecture=ARCHITECTURE, words=words)
    other = oci.image([], {}, architecture="mips", words=words)
    registry.push("app", "1", image)
    registry.push("app", "other", other)
    listed = oci.index([other, image], words)
    registry.put("app", listed, [], "2")
    before = call("ImageFsInfo").image_filesystems[0].used_bytes.value
    one, two = registry.reference("app", "1"), registry.reference("app", "2")
    assert call("PullImage", image=spec(one)).image_ref == image.id
    assert call("PullImage", image=spec(two)).image_ref == image.id
    found = call("ImageStatus", image=spec(one)).image
    assert (found.id, list(found.repo_tags), found.username) == (image.id, [one, two], "someone")
    assert list(found.repo_digests) == [
        registry.reference("app", image.manifest.digest),
        registry.reference("app", listed.digest),
    ]
    assert call("ImageFsInfo").image_filesystems[0].used_bytes.value > before
    assert call("ImageStatus", image=spec(found.repo_digests[0])).image == found
    assert call("ListImages", filter={"image": {"image": two}}).images[0] == found
    for _ in range(2):
        call("RemoveImage", image=spec(one))
    assert not call("ImageStatus", image=spec(two)).HasField("image")
    assert call("ImageFsInfo").image_filesystems[0].used_bytes.value == before


def test_a_tag_that_moved_leads_to_the_new_image(call: Any, registry: Registry) -> None:
    first, second = (
        oci.image([], {"Labels": {"n": str(n)}}, architecture=ARCHITECTURE) for n in range(2)
    )
    reference = registry.push("moves", "t", first)
    call("PullImage", image=spec(reference))
    registry.push("moves", "t", second)
    call("PullImage", image=spec(reference))
    assert call("ImageStatus", image=spec(reference)).image.id == second.id
    old = call("ImageStatus", image=spec(first.id)).image
    assert (list(old.repo_tags), len(old.repo_digests)) == ([], 1)
    for image in (first, second):
        call("RemoveImage", image=spec(image.id))


def test_the_config_of_the_image_is_obeyed(call: Any, registry: Registry, tmp_path: Any) -> None:
    reference = registry.push("run", "1", IMAGE)
    call("PullImage", image=spec(reference))
    metadata = types.PodSandboxMetadata(name="p", uid="u", namespace="n")
    config = types.PodSandboxConfig(metadata=metadata, log_directory=str(tmp_path))
    sandbox = call("RunPodSandbox", config=config).pod_sandbox_id

    def create(name: str, **more: Any) -> str:
        made = types.ContainerConfig(
            metadata=types.ContainerMetadata(name=name), image=spec(reference), **more
        )
        answer = call("CreateContainer", pod_sandbox_id=sandbox, config=made)
        return str(answer.container_id)

    container = create("c", log_path="c.log")
    status = call("ContainerStatus", container_id=container).status
    assert status.stop_signal == types.SIGNAL_SIGRTMINPLUS3
    assert status.image_id == IMAGE.id
    assert status.image_ref == registry.reference("run", IMAGE.manifest.digest)
    call("StartContainer", container_id=container)
    while call("ContainerStatus", container_id=container).status.state != types.CONTAINER_EXITED:
        pass
    lines = [line.split(" F ")[1] for line in (tmp_path / "c.log").read_text().splitlines()]
    assert lines == ["entry cmd yes", "/usr"]
    mounted = types.Mount(container_path="/m", image=spec(reference), image_sub_path="a/b")
    create("m", mounts=[mounted])
    mounted.image_sub_path = "c"  # hidden by the second layer
    with pytest.raises(grpc.RpcError):
        create("n", mounts=[mounted])
    call("RemovePodSandbox", pod_sandbox_id=sandbox)
    call("RemoveImage", image=spec(reference))


@pytest.mark.parametrize("bearer", [False, True])
def test_credentials(call: Any, registry: Registry, bearer: bool) -> None:
    reference = registry.push("private", "1", IMAGE)
    registry.protect("private", Credentials("me", "secret", bearer=bearer))
    right = types.AuthConfig(username="me", password="secret")
    assert code_of(call, reference) == "UNAUTHENTICATED"
    wrong = types.AuthConfig(username="me", password="no secret")
    assert code_of(call, reference, auth=wrong) == "UNAUTHENTICATED"
    elsewhere = types.AuthConfig(username="me", password="secret", server_address="other.example")
    assert code_of(call, reference, auth=elsewhere) == "UNAUTHENTICATED"
    for auth in (right, types.AuthConfig(auth="bWU6c2VjcmV0", server_address=registry.address)):
        assert call("PullImage", image=spec(reference), auth=auth).image_ref == IMAGE.id
    call("RemoveImage", image=spec(reference))


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (troubles.status(403), "PERMISSION_DENIED"),
        (troubles.status(429), "UNAVAILABLE"),
        (troubles.status(500), "UNAVAILABLE"),
        (troubles.cut_off(), "DATA_LOSS UNAVAILABLE"),
        (troubles.wrong_bytes(), "DATA_LOSS"),
        (troubles.wrong_length(5), "OUT_OF_RANGE DATA_LOSS UNAVAILABLE"),
        (troubles.wrong_length(-5), "DATA_LOSS"),
        (troubles.redirects(), "UNAVAILABLE"),
        (troubles.silent(0.2), "UNAVAILABLE"),
    ],
)
@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_nothing_is_half_pulled(
    call: Any, registry: Registry, trouble: troubles.Trouble, code: str, kind: str
) -> None:
    registry.push("bad", "1", IMAGE)
    # By digest, so that a wrong manifest shows as well.
    reference = registry.reference("bad", IMAGE.manifest.digest)
    registry.trouble("bad", troubles.on(kind, trouble))
    before = call("ListImages"), call("ImageFsInfo").image_filesystems[0].used_bytes
    assert code_of(call, reference) in code.split()
    assert (call("ListImages"), call("ImageFsInfo").image_filesystems[0].used_bytes) == before
    registry.trouble("bad", None)
    assert call("PullImage", image=spec(reference)).image_ref == IMAGE.id
    call("RemoveImage", image=spec(reference))


def test_what_is_no_image(call: Any, registry: Registry) -> None:
    manifest, blobs = oci.artefact(b"note")
    registry.put("note", manifest, blobs, "1")
    assert code_of(call, registry.reference("note", "1")) == "FAILED_PRECONDITION"
    assert code_of(call, registry.reference("note", "none")) == "NOT_FOUND"
    foreign = oci.image([], {}, architecture="mips")
    registry.put("foreign", oci.index([foreign]), [], "1")
    assert code_of(call, registry.reference("foreign", "1")) == "NOT_FOUND"
    registry.push("huge", "1", IMAGE)
    registry.trouble("huge", troubles.on("manifests", troubles.huge(50_000_000)))
    assert code_of(call, registry.reference("huge", "1")) == "OUT_OF_RANGE"
    for malformed in ("", "UPPER/x", "a b", "a@sha256:1"):
        assert code_of(call, malformed) == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("text", "full"),
    [
        ("busybox", ("docker.io", "library/busybox", "latest", "")),
        ("a/b:1", ("docker.io", "a/b", "1", "")),
        ("localhost/a", ("localhost", "a", "latest", "")),
        ("127.0.0.1:5000/a/b", ("127.0.0.1:5000", "a/b", "latest", "")),
        (f"x.io/a:1@sha256:{'0' * 64}", ("x.io", "a", "1", f"sha256:{'0' * 64}")),
        (f"x.io/a@sha256:{'0' * 64}", ("x.io", "a", "", f"sha256:{'0' * 64}")),
    ],
)
def test_names(text: str, full: tuple[str, ...]) -> None:
    found = Reference.parse(text)
    assert (found.host, found.path, found.tag, found.digest) == full
