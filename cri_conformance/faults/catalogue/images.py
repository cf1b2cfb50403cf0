# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for ImageService: pulls, credentials, removals, what is listed and told."""

from __future__ import annotations

import re
from typing import Any, NoReturn

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.catalogue.retry import stuck_when_abandoned
from cri_conformance.faults.changes import Change
from cri_conformance.faults.fault import Call, Fault, fault
from cri_conformance.faults.memory import Memory
from cri_conformance.faults.operators import (
    Which,
    alter,
    answer_error,
    answer_ok,
    delay,
    drifts,
    drop,
    duplicate_item,
    edit,
    edit_request,
    freezes,
    ignore_filter,
    ignore_request,
    images,
    leave_out,
    one_at_a_time,
    overlap_fails,
    set_request,
    set_value,
    shift,
    side_effect,
    skip_effect,
    together,
    waits_for,
)

_PULL, _REMOVE = "PullImage", "RemoveImage"
_STATUS, _LIST, _FS = "ImageStatus", "ListImages", "ImageFsInfo"
_pull, _remove = "ImageService.PullImage", "ImageService.RemoveImage"

#: Images of the suite's that nothing is made of: those of tests, and of campaigns.
_PASSING = re.compile(r"[^/]+/cri-conformance/pull-[0-9a-f]{8}-[0-9a-f]{8}[:@].+")


def _is_passing(image: Any) -> bool:
    return any(map(_PASSING.fullmatch, (*image.repo_tags, *image.repo_digests)))


_ours = Which("pulled", lambda item, call, memory: _is_passing(item))
_twice = Change("twice", lambda items: [*items, *items])
_no_json = {"about": "not json"}
_malformed = when.When(
    "malformed", lambda call, memory: not images.name_of(call) or "UPPER" in images.name_of(call)
)


def _once_overlapped(call: Call, memory: Memory) -> bool:
    # The last of them, which overlaps none, does nothing either.
    key = "overlapped", images.name_of(call)
    if when.overlapping(call, memory):
        memory.keep(key, True)
    return bool(memory.kept(key, lambda: False))


_overlapped = when.When("once-overlapped", _once_overlapped)
_unfiltered = when.missing("filter.image")
_filter_misses = when.When(
    "filter-misses",
    lambda call, memory: (
        bool(call.request.filter.image.image)
        and images.image_of(call, call.request.filter.image.image) is None
    ),
)


def _returns_reference(response: Any, call: Call, memory: Memory) -> None:
    response.image_ref = images.name_of(call)


def _tag_of_its_own(response: Any, call: Call, memory: Memory) -> None:
    if "@" in images.name_of(call) and response.HasField("image"):
        response.image.repo_tags.append("example.com/added:latest")


def _forgive(call: Call, error: StatusError) -> Any:
    return types.PullImageResponse(image_ref="sha256:forgiven")


def _forgive_content(call: Call, error: StatusError) -> Any:
    if error.code in ("DATA_LOSS", "OUT_OF_RANGE"):
        return _forgive(call, error)
    raise error


def _forgive_absence(call: Call, error: StatusError) -> Any:
    if error.code == "NOT_FOUND":
        return _forgive(call, error)
    raise error


def _forgive_login(call: Call, error: StatusError) -> Any:
    if error.code == "UNAUTHENTICATED" and call.request.auth.username:
        return _forgive(call, error)
    raise error


def _tell_password(call: Call, error: StatusError) -> NoReturn:
    raise StatusError(error.code, f"{error.message} (as {call.request.auth.password})")


def _dawdle(call: Call, error: StatusError) -> NoReturn:
    call.ended.wait(2.5)
    raise error


def _refuse_again(call: Call, error: StatusError) -> NoReturn:
    raise error


def _an_image_listed(request: Any, call: Call, memory: Memory) -> None:
    """An empty name is taken for the beginning of every id."""
    listed = call.upstream(_LIST, types.ListImagesRequest()).images
    mine = [image for image in listed if _is_passing(image)]
    if mine:
        request.image.image = mine[0].id


def _twin(call: Call, memory: Memory, response: Any) -> Any:
    """The image ``plain`` of the suite, which shares layers with that of the test."""
    for image in call.upstream(_LIST, types.ListImagesRequest()).images:
        for tag in image.repo_tags:
            if "/cri-conformance/plain:" in tag:
                return types.RemoveImageRequest(image=types.ImageSpec(image=tag))
    return None


def _its_container(call: Call, memory: Memory, response: Any) -> Any:
    for container in call.upstream("ListContainers", types.ListContainersRequest()).containers:
        if container.image.image == images.name_of(call):
            return types.StopContainerRequest(container_id=container.id)
    return None


FAULTS: list[Fault] = [
    # -- pull
    fault(f"{_pull}.present-afterwards", skip_effect(_PULL, ~images.by_digest)),
    fault(f"{_pull}.by-digest", skip_effect(_PULL, images.by_digest)),
    fault("ImageService.ImageStatus.by-digest", drop(_STATUS, "image", when=images.by_digest)),
    fault("ImageService.ImageStatus.by-id", drop(_STATUS, "image", when=images.by_id)),
    fault("ImageService.ListImages.pulled-is-listed", leave_out(_LIST, _ours)),
    fault("PullImageResponse.image_ref.not-empty", drop(_PULL, "image_ref")),
    fault(
        "PullImageResponse.image_ref.finds-image",
        set_value(_PULL, "image_ref", f"sha256:{'0' * 64}"),
    ),
    fault(
        "Image.id.matches-pull",
        edit(
            "pull-returns-reference", _PULL, "image_ref is the name asked for", _returns_reference
        ),
    ),
    fault("Image.id.not-empty", drop(_STATUS, "image.id")),
    fault("Image.id.stable", drifts(_STATUS, "image.id", changes.suffixed("0"))),
    fault("Image.repo_tags.pulled-tag", drop(_STATUS, "image.repo_tags")),
    fault("Image.repo_tags.every-tag", alter(_STATUS, "image.repo_tags", changes.cut(1))),
    fault("Image.repo_tags.no-other", alter(_STATUS, "image.repo_tags", _twice)),
    fault(
        "Image.repo_digests.every-repository",
        alter(_STATUS, "image.repo_digests", changes.cut(1), when=images.by_digest),
    ),
    fault("Image.repo_digests.pulled-digest", drop(_STATUS, "image.repo_digests")),
    fault(
        "Image.repo_digests.by-digest-no-tag",
        edit("tag-of-its-own", _STATUS, "an image pulled by digest has a tag", _tag_of_its_own),
    ),
    fault("Image.size.positive", drop(_STATUS, "image.size")),
    fault("Image.size.plausible", set_value(_STATUS, "image.size", 4096)),
    fault(f"{_pull}.again", answer_error(_PULL, images.there, "ALREADY_EXISTS")),
    fault(
        "PullImageRequest.sandbox_config.accepted",
        answer_error(_PULL, when.given("sandbox_config"), "INVALID_ARGUMENT"),
    ),
    fault(f"{_pull}.tag-moved", images.pulls_if_not_there()),
    fault(
        [f"{_pull}.concurrent-same", f"{_pull}.concurrent-different"],
        answer_error(_PULL, when.in_company, "UNAVAILABLE"),
    ),
    fault(f"{_pull}.not-held-up", one_at_a_time(_PULL)),
    fault("ImageService.ListImages.prompt-during-pull", waits_for(_LIST, _PULL)),
    fault("ImageService.ImageStatus.prompt-during-pull", waits_for(_STATUS, _PULL)),
    fault("ImageService.ImageFsInfo.prompt-during-pull", waits_for(_FS, _PULL)),
    fault(f"{_pull}.this-platform", images.takes_first_of_list()),
    fault(f"{_pull}.oci-manifest", answer_error(_PULL, images.served_as("oci.image.index"))),
    fault(f"{_pull}.docker-manifest", answer_error(_PULL, images.served_as("docker"))),
    fault(
        f"{_pull}.absent-error",
        images.on_refusal("forgive-absence", "an absent image is pulled", _forgive_absence),
    ),
    fault(
        f"{_pull}.refused-error",
        images.on_refusal("forgive-all", "a pull that failed is answered with OK", _forgive),
    ),
    fault(
        f"{_pull}.content-checked",
        images.on_refusal("forgive-content", "wrong content is taken", _forgive_content),
    ),
    fault(f"{_pull}.nothing-half-made", images.shows_what_failed()),
    fault(
        f"{_pull}.good-after-bad",
        images.after_refusal("pull-refused-for-ever", "a failed pull fails again", _refuse_again),
    ),
    fault(
        f"{_pull}.bounded",
        images.on_refusal("dawdle-on-failure", "a pull that fails takes its time", _dawdle),
    ),
    fault(f"{_pull}.retry-after-deadline", stuck_when_abandoned(_PULL)),
    fault(f"{_pull}.malformed", answer_ok(_PULL, _malformed)),
    fault(
        "ImageSpec.runtime_handler.unknown-rejected", ignore_request(_PULL, "image.runtime_handler")
    ),
    # -- credentials
    fault("AuthConfig.username.with-password", ignore_request(_PULL, "auth.password")),
    fault("AuthConfig.auth.used", ignore_request(_PULL, "auth.auth")),
    fault(
        "AuthConfig.server_address.named",
        ignore_request(_PULL, "auth", when=when.given("auth.server_address")),
    ),
    fault(
        "AuthConfig.username.bearer",
        # The test's fourth pull.
        ignore_request(_PULL, "auth.password", when=when.from_time(4)),
    ),
    fault(
        "AuthConfig.username.wrong-refused",
        images.on_refusal("forgive-login", "a wrong password is taken", _forgive_login),
    ),
    fault(
        "AuthConfig.password.not-in-errors",
        images.on_refusal("tell-password", "the password is in the error text", _tell_password),
    ),
    fault("AuthConfig.username.not-kept", images.keeps_credentials()),
    # -- remove
    fault(f"{_remove}.gone", skip_effect(_REMOVE)),
    fault(f"{_remove}.by-each-name", answer_error(_REMOVE, images.by_digest & images.there)),
    fault(
        [f"{_remove}.idempotent", f"{_remove}.unknown"],
        answer_error(_REMOVE, images.absent, "NOT_FOUND"),
    ),
    fault(
        ["ImageService.ImageStatus.absent-no-image", "ImageService.ImageStatus.removed-no-image"],
        answer_error(_STATUS, images.absent, "NOT_FOUND"),
    ),
    fault(f"{_remove}.all-tags", images.removes_one_name()),
    fault(
        f"{_remove}.others-untouched",
        side_effect(_REMOVE, _REMOVE, _twin),
    ),
    fault(f"{_remove}.others-untouched", images.removes_another_too()),
    fault(f"{_remove}.in-use-unharmed", side_effect(_REMOVE, "StopContainer", _its_container)),
    fault(f"{_remove}.pull-after-removal", images.removed_for_good()),
    fault(f"{_remove}.concurrent", overlap_fails(_REMOVE)),
    fault(f"{_remove}.concurrent-gone", skip_effect(_REMOVE, _overlapped)),
    fault(
        f"{_remove}.empty",
        edit_request(
            "nameless-means-some",
            _REMOVE,
            "RemoveImage of an empty name removes some image",
            _an_image_listed,
            when=images.nameless,
        ),
    ),
    fault(
        "ImageService.ImageStatus.empty",
        edit_request(
            "nameless-finds-some",
            _STATUS,
            "ImageStatus of an empty name finds some image",
            _an_image_listed,
            when=images.nameless,
        ),
    ),
    fault(f"{_remove}.retry-after-deadline", stuck_when_abandoned(_REMOVE)),
    # -- list
    fault("ImageService.ListImages.each-once", duplicate_item(_LIST)),
    fault(
        "ImageService.ListImages.agrees-with-status",
        shift(_LIST, "images.size", changes.plus(1)),
    ),
    fault("ListImagesRequest.filter.absent-all", leave_out(_LIST, _ours, when=_unfiltered)),
    fault(
        "ImageService.ListImages.during-churn",
        # Long enough for a list to be asked for meanwhile.
        together(
            delay(_PULL, 0.03),
            leave_out(_LIST, _ours, when=when.during(_PULL) | when.during(_REMOVE)),
        ),
    ),
    fault("ImageFilter.image.match-listed", leave_out(_LIST, when=when.given("filter.image"))),
    fault("ImageFilter.image.others-left-out", ignore_filter(_LIST)),
    fault("ImageFilter.image.no-match-empty", answer_error(_LIST, _filter_misses, "NOT_FOUND")),
    # -- fields
    fault("Image.uid.of-number", drop(_STATUS, "image.uid")),
    fault("Image.uid.root-stays-root", set_value(_STATUS, "image.uid.value", 65534)),
    fault("Image.uid.not-with-username", set_value(_STATUS, "image.username", "root")),
    fault("Image.username.of-name", drop(_STATUS, "image.username")),
    fault(
        "Image.username.none",
        edit(
            "name-the-nameless-user",
            _STATUS,
            "an image without a user has one",
            lambda response, call, memory: _name_user(response),
        ),
    ),
    fault(
        "ImageStatusRequest.verbose.same-image",
        shift(_STATUS, "image.size", changes.plus(1), when=when.given("verbose")),
    ),
    fault("ImageStatusResponse.info.only-verbose", set_request(_STATUS, "verbose", True)),
    fault(
        "ImageStatusResponse.info.json",
        set_value(_STATUS, "info", _no_json, when=when.given("verbose")),
    ),
    # -- file systems
    fault("ImageService.ImageFsInfo.succeeds", drop(_FS, "image_filesystems")),
    fault(
        "ImageFsInfoResponse.image_filesystems.timestamp",
        drop(_FS, "image_filesystems.timestamp"),
    ),
    fault(
        "ImageFsInfoResponse.image_filesystems.mountpoint",
        set_value(_FS, "image_filesystems.fs_id.mountpoint", "/nowhere/at/all"),
    ),
    fault(
        "ImageFsInfoResponse.image_filesystems.grows",
        freezes(_FS, "image_filesystems.used_bytes.value"),
    ),
    fault(
        "ImageFsInfoResponse.image_filesystems.inodes",
        freezes(_FS, "image_filesystems.inodes_used.value"),
    ),
]


def _name_user(response: Any) -> None:
    image = response.image
    if response.HasField("image") and not image.HasField("uid") and not image.username:
        image.username = "root"
