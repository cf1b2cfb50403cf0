# SPDX-License-Identifier: Apache-2.0
"""Operators on images: what is told, kept and taken away under which name."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from typing import Any

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults.conditions import When
from cri_conformance.faults.fault import Call, Operator, Proceed
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators.core import copy_of, operator

#: Seconds within which a registry must tell what it has.
_ASKED_WITHIN = 5.0


def name_of(call: Call) -> str:
    """The image that a call of ImageService is about."""
    return str(call.request.image.image)


def image_of(call: Call, name: str | None = None) -> Any:
    """The image that a name leads to upstream; None if there is none."""
    wanted = types.ImageSpec(image=name_of(call) if name is None else name)
    try:
        answer = call.upstream("ImageStatus", types.ImageStatusRequest(image=wanted))
    except StatusError:
        return None
    return answer.image if answer.HasField("image") else None


#: The image is there upstream.
there = When("image-there", lambda call, memory: image_of(call) is not None)
#: It is not.
absent = When("image-absent", lambda call, memory: image_of(call) is None)
by_digest = When("by-digest", lambda call, memory: "@" in name_of(call))
by_id = When("by-id", lambda call, memory: name_of(call).startswith("sha256:"))
nameless = When("nameless", lambda call, memory: not name_of(call))


def manifest_of(name: str) -> dict[str, Any]:
    """What a registry on loopback serves under a reference; {} if it does not."""
    host, _, path = name.partition("/")
    repository, mark, reference = path.partition("@") if "@" in path else path.rpartition(":")
    connection = http.client.HTTPConnection(host, timeout=_ASKED_WITHIN)
    try:
        connection.request("GET", f"/v2/{repository}/manifests/{reference}")
        document = json.loads(connection.getresponse().read()) if mark else {}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
    return document if isinstance(document, dict) else {}


def served_as(media_type: str) -> When:
    """The registry has a manifest of a type with this word in it."""
    return When(
        f"served-as-{media_type}",
        lambda call, memory: media_type in str(manifest_of(name_of(call)).get("mediaType")),
    )


def takes_first_of_list() -> Operator:
    """Breaks "for this platform": of a list of images the first is pulled."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        listed = manifest_of(name_of(call)).get("manifests")
        if not listed:
            return proceed(call.request)
        changed = copy_of(call.request)
        repository = name_of(call).rpartition(":")[0].partition("@")[0]
        changed.image.image = f"{repository}@{listed[0]['digest']}"
        return proceed(changed)

    return operator("pull-first-of-list", "PullImage", "PullImage takes the first of a list", step)


def pulls_if_not_there() -> Operator:
    """Breaks "asks the registry": what is there already is the answer."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        found = image_of(call)
        if found is None:
            return proceed(call.request)
        return types.PullImageResponse(image_ref=found.id)

    return operator("pull-if-not-there", "PullImage", "PullImage asks no registry again", step)


def after_refusal(name: str, says: str, then: Callable[[Call, StatusError], Any]) -> Operator:
    """Breaks "a failed pull can be repeated": once it failed, ``then`` answers each repetition."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "refused", name_of(call)
        if (before := memory.kept(key, lambda: None)) is not None:
            return then(call, before)
        try:
            return proceed(call.request)
        except StatusError as error:
            memory.keep(key, error)
            raise

    return operator(name, "PullImage", says, step)


def shows_what_failed() -> Operator:
    """Breaks "nothing half made": a pull that failed leaves an image under its name."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "half", name_of(call)
        if call.rpc == "PullImage":
            try:
                return proceed(call.request)
            except StatusError:
                memory.keep(key, True)
                raise
        response = proceed(call.request)
        if memory.kept(key, lambda: False) and not response.HasField("image"):
            return types.ImageStatusResponse(image=types.Image(id="sha256:half", size=1))
        return response

    return operator(
        "half-made-image",
        ("PullImage", "ImageStatus"),
        "ImageStatus shows an image whose pull failed",
        step,
    )


def on_refusal(name: str, says: str, then: Callable[[Call, StatusError], Any]) -> Operator:
    """Breaks a promise on how a pull fails: ``then`` answers in place of the runtime's error."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        try:
            return proceed(call.request)
        except StatusError as error:
            return then(call, error)

    return operator(name, "PullImage", says, step)


def keeps_credentials() -> Operator:
    """Breaks "not kept": credentials that opened a repository are used for the next pull too."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "credentials", name_of(call)
        request = copy_of(call.request)
        if not request.auth.ByteSize() and (kept := memory.kept(key, lambda: None)) is not None:
            request.auth.CopyFrom(kept)
        response = proceed(request)
        if call.request.auth.ByteSize():
            memory.keep(key, copy_of(call.request.auth))
        return response

    return operator("credentials-kept", "PullImage", "PullImage keeps credentials", step)


def removes_one_name() -> Operator:
    """Breaks "with one tag all go": the other tags are still answered with the image."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        if call.rpc == "RemoveImage":
            found = image_of(call)
            response = proceed(call.request)
            for tag in found.repo_tags if found else ():
                if tag != name_of(call):
                    memory.keep(("name", tag), found)
            return response
        response = proceed(call.request)
        kept = memory.kept(("name", name_of(call)), lambda: None)
        if kept is not None and not response.HasField("image"):
            return types.ImageStatusResponse(image=kept)
        return response

    return operator(
        "remove-one-name",
        ("RemoveImage", "ImageStatus"),
        "RemoveImage takes one tag and leaves the others",
        step,
    )


def removes_another_too() -> Operator:
    """Breaks "others stay": with an image goes the one that was pulled first of the others."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        response = proceed(call.request)
        pulled: dict[str, None] = memory.kept("pulled", dict)
        if call.rpc == "PullImage":
            pulled[name_of(call)] = None
            return response
        for name in list(pulled):
            del pulled[name]
            if image_of(call, name) is not None:
                wanted = types.ImageSpec(image=name)
                call.upstream("RemoveImage", types.RemoveImageRequest(image=wanted))
                break
        return response

    return operator(
        "remove-another-too",
        ("PullImage", "RemoveImage"),
        "RemoveImage also takes another image that was pulled",
        step,
    )


def removed_for_good() -> Operator:
    """Breaks "can be pulled again": a name that was removed is refused for ever."""

    def step(call: Call, memory: Memory, proceed: Proceed) -> Any:
        key = "gone", name_of(call)
        if call.rpc == "PullImage":
            if memory.kept(key, lambda: False):
                raise StatusError("ALREADY_EXISTS", "the image is being removed")
            return proceed(call.request)
        tags = list(found.repo_tags) if (found := image_of(call)) else []
        response = proceed(call.request)
        for tag in tags:
            memory.keep(("gone", tag), True)
        return response

    return operator(
        "removed-for-good",
        ("PullImage", "RemoveImage"),
        "an image that was removed can't be pulled again",
        step,
    )
