# SPDX-License-Identifier: Apache-2.0
"""What the status and the list say of a container, beside what was sent for it.

One container is looked at in every state of its life. What the status and the list
both say must be the same; what names its image must lead to the image it was made of;
and what the runtime reports of limits, signals and users must not contradict the request.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from cri_conformance.api import types
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import RESOURCES, Life
from cri_conformance.suite.views import ContainerView
from cri_conformance.wire.runtime import Runtime, Sandbox

_HEX = frozenset("0123456789abcdef")
#: The order in which a container goes through its states.
_RANK = {types.CONTAINER_CREATED: 0, types.CONTAINER_RUNNING: 1, types.CONTAINER_EXITED: 2}


@dataclass(frozen=True, slots=True)
class Promise:
    """A clause on every view of a container. ``kept`` is asked of a view and of its id."""

    clause: str
    shown: Callable[[ContainerView], Any]
    kept: Callable[[Any, Life], bool]
    permitted: str


def _digested(reference: Any) -> bool:
    words = str(reference).replace("@", ":").split(":")
    return any(len(word) == 64 and _HEX.issuperset(word) for word in words)


def _agreement(field: str) -> Promise:
    return Promise(
        f"Container.{field}.agrees-with-status",
        lambda view: (getattr(view.item, field), getattr(view.status, field)),
        lambda shown, life: bool(shown[0] == shown[1]),
        f"the same {field} in list and status",
    )


PROMISES = [
    Promise(
        "ContainerStatus.id.as-created",
        lambda view: view.status.id,
        lambda shown, life: bool(shown == life.container.id),
        "the id that CreateContainer returned",
    ),
    Promise(
        "Container.id.as-created",
        lambda view: view.item.id,
        lambda shown, life: bool(shown == life.container.id),
        "the id that CreateContainer returned",
    ),
    Promise(
        "Container.pod_sandbox_id.owner",
        lambda view: view.item.pod_sandbox_id,
        lambda shown, life: bool(shown == life.sandbox.id),
        "the id of its sandbox",
    ),
    Promise(
        "ContainerStatusResponse.status.present",
        lambda view: view.response.HasField("status"),
        lambda shown, life: bool(shown),
        "a status in the answer",
    ),
    Promise(
        "ContainerStatus.image.present",
        lambda view: view.status.image.image,
        lambda shown, life: bool(shown),
        "the image's name",
    ),
    Promise(
        "ContainerStatus.image_ref.non-empty",
        lambda view: view.status.image_ref,
        lambda shown, life: bool(shown),
        "a reference",
    ),
    Promise(
        "ContainerStatus.image_ref.digested",
        lambda view: view.status.image_ref,
        lambda shown, life: _digested(shown),
        "a reference with 64 hexadecimal digits",
    ),
    Promise(
        "ContainerStatus.resources.as-created",
        lambda view: view.status.resources.linux,
        # A limit at zero is one that is not reported.
        lambda shown, life: all(
            getattr(shown, field) in (0, value) for field, value in RESOURCES.items()
        ),
        f"no limits but {RESOURCES}",
    ),
    Promise(
        "ContainerStatus.stop_signal.matches-config",
        lambda view: types.Signal.Name(view.status.stop_signal),
        lambda shown, life: shown in ("SIGNAL_RUNTIME_DEFAULT", "SIGNAL_SIGUSR1"),
        "SIGNAL_SIGUSR1, or nothing",
    ),
    Promise(
        "ContainerStatus.stop_signal.reported",
        lambda view: types.Signal.Name(view.status.stop_signal),
        lambda shown, life: bool(shown == "SIGNAL_SIGUSR1"),
        "SIGNAL_SIGUSR1",
    ),
    Promise(
        "ContainerStatusResponse.info.empty-without-verbose",
        lambda view: dict(view.response.info),
        lambda shown, life: not shown,
        "no info, as it was not asked for",
    ),
    Promise(
        "ContainerUser.linux.set-on-linux",
        lambda view: view.status.user if view.status.HasField("user") else "no user",
        lambda shown, life: isinstance(shown, str) or shown.HasField("linux"),
        "a linux part in the user, where there is one",
    ),
    Promise(
        "ContainerStatus.log_path.joined",
        lambda view: view.status.log_path,
        lambda shown, life: (
            posixpath.normpath(shown)
            == posixpath.join(life.sandbox.config.log_directory, life.container.config.log_path)
        ),
        "the log directory joined with the log path",
    ),
    Promise(
        "ContainerStatus.log_path.absolute",
        lambda view: view.status.log_path,
        lambda shown, life: posixpath.isabs(shown),
        "an absolute path",
    ),
    # -- the list and the status
    *(_agreement(field) for field in ("image_ref", "created_at", "image_id")),
]


@pytest.mark.parametrize(
    "promise", [pytest.param(each, marks=clause(each.clause), id=each.clause) for each in PROMISES]
)
def test_promises_on_every_state(promise: Promise, container_life: Life, judge: Judge) -> None:
    if ".log_path." in promise.clause and not container_life.sandbox.config.log_directory:
        judge.skip(Reason.REMOTE, "no log directory can be given")
    for when, view in container_life.views.items():
        shown = promise.shown(view)
        judge.that(
            promise.clause,
            promise.kept(shown, container_life),
            permitted=promise.permitted,
            actual=f"when {when}: {shown!r}",
            about=[container_life.container.id],
        )


# -- the image ---------------------------------------------------------------------------


def _found(runtime: Runtime, reference: str) -> str:
    """The id of the image that the runtime knows by this reference, or ""."""
    if not reference:
        return ""
    image = runtime.get("ImageStatus", image=types.ImageSpec(image=reference)).image
    found: str = image.id
    return found


NAMES_IMAGE = {
    "ContainerStatus.image.same-image": lambda view: view.status.image.image,
    "Container.image.same-image": lambda view: view.item.image.image,
    "ContainerStatus.image_ref.names-image": lambda view: view.status.image_ref,
}


@pytest.mark.parametrize(
    ("clause_id", "look"),
    [pytest.param(name, look, marks=clause(name), id=name) for name, look in NAMES_IMAGE.items()],
)
def test_names_of_the_image_lead_to_it(
    clause_id: str,
    look: Callable[[ContainerView], str],
    container_life: Life,
    runtime: Runtime,
    judge: Judge,
) -> None:
    requested = container_life.container.config.image.image
    image = _found(runtime, requested)
    for when, view in container_life.views.items():
        shown = look(view)
        judge.that(
            clause_id,
            shown == requested or _found(runtime, shown) == image,
            permitted=f"{requested}, or another name of the image {image}",
            actual=f"when {when}: {shown!r}",
            about=[container_life.container.id],
        )


@clause("ContainerStatus.image_id.names-image")
def test_image_id_is_that_of_the_image(
    container_life: Life, runtime: Runtime, judge: Judge
) -> None:
    image = _found(runtime, container_life.container.config.image.image)
    for when, view in container_life.views.items():
        judge.that(
            "ContainerStatus.image_id.names-image",
            view.status.image_id in ("", image),
            permitted=f"{image}, or none",
            actual=f"when {when}: {view.status.image_id!r}",
            about=[container_life.container.id],
        )


@clause("Container.image_id.image-in-use")
def test_the_image_is_seen_to_be_in_use(
    container_life: Life, runtime: Runtime, judge: Judge
) -> None:
    listed = {image.id for image in runtime.get("ListImages").images}
    for when, view in container_life.views.items():
        shown = view.item.image_id or view.item.image_ref
        judge.that(
            "Container.image_id.image-in-use",
            shown in listed,
            permitted=f"one of the ids in ListImages: {sorted(listed)}",
            actual=f"when {when}: {shown!r}",
            about=[container_life.container.id],
        )


# -- verbose -----------------------------------------------------------------------------


@clause("ContainerStatusRequest.verbose.status-unaffected")
def test_verbose_changes_nothing_in_the_status(container_life: Life, judge: Judge) -> None:
    # Taken one after the other while nothing happened to the container.
    for when, verbose in container_life.verbose.items():
        judge.equal(
            "ContainerStatusRequest.verbose.status-unaffected",
            verbose.status,
            container_life.views[when].status,
            f"when {when}",
            about=[container_life.container.id],
        )


@clause("ContainerStatusResponse.info.json-values")
def test_info_is_json(container_life: Life, judge: Judge) -> None:
    for when, verbose in container_life.verbose.items():
        wrong = sorted(key for key, value in verbose.info.items() if not _is_json(value))
        judge.equal(
            "ContainerStatusResponse.info.json-values",
            wrong,
            [],
            f"when {when}, keys whose value is no JSON:",
            about=[container_life.container.id],
        )


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


# -- what is reported at all -------------------------------------------------------------


@clause("ContainerStatus.resources.reported", "ContainerStatus.user.reported")
def test_which_extras_are_reported(container_life: Life, judge: Judge) -> None:
    for field in ("resources", "user"):
        reported = [
            when for when, view in container_life.views.items() if view.status.HasField(field)
        ]
        judge.record(f"ContainerStatus.{field}.reported", ", ".join(reported) or "never")


# -- states in status and list -----------------------------------------------------------


@clause("Container.state.agrees-with-status")
def test_status_and_list_never_go_back(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    # One that ends at once passes through all states while it is watched.
    for _ in range(3):
        container = runtime.container(shared_sandbox, command=["/bin/sh", "-c", "exit 0"])
        filter_ = types.ContainerFilter(id=container.id)
        last, seen_in = types.CONTAINER_CREATED, "CreateContainer"
        for turn in range(400):
            if turn == 2:
                runtime.get("StartContainer", container_id=container.id)
                last, seen_in = max((last, types.CONTAINER_CREATED), key=_rank), "StartContainer"
            if turn % 2:
                listed = runtime.get("ListContainers", filter=filter_).containers
                states = [item.state for item in listed]
                where = "the list"
            else:
                states = [runtime.container_status(container.id).state]
                where = "the status"
            judge.that(
                "Container.state.agrees-with-status",
                states and _rank(states[0]) >= _rank(last),
                permitted=f"{_name(last)}, which {seen_in} gave before, or a later state",
                actual=f"{_name(states[0]) if states else 'nothing'} in {where}",
                about=[container.id],
            )
            if last == states[0] == types.CONTAINER_EXITED:
                break
            last, seen_in = states[0], where


def _rank(state: int) -> int:
    """How far on a state is; UNKNOWN contradicts nothing."""
    return _RANK.get(state, 2)  # type: ignore[call-overload, no-any-return]


def _name(state: int) -> str:
    return types.ContainerState.Name(state)  # type: ignore[arg-type]
