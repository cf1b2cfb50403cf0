# SPDX-License-Identifier: Apache-2.0
"""What a container takes from its image, and what the request puts in the place of that.

One image with an ENTRYPOINT, CMD, ENV and WORKDIR that nothing else would put there. A word of
the entrypoint is that by which the process is found, so containers of it run one after the
other.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from cri_conformance.api import types
from cri_conformance.build.image import PATH
from cri_conformance.build.messages import IDLE
from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import look
from cri_conformance.suite.images import Images
from cri_conformance.suite.test_container_signals import NUMBERS, stop
from cri_conformance.wire.outcome import SetupFailed
from cri_conformance.wire.runtime import Runtime, Sandbox

_CONFIG = "ContainerConfig"
_SHELL = ("/bin/sh", "-c", IDLE)
_WORKING_DIR = "/usr/bin"
_ENV = {"CRI_IMAGE_ONLY": "from the image = and more", "CRI_BOTH": "from the image"}
_ASKED = {"CRI_BOTH": "from the request"}


@dataclass(frozen=True, slots=True)
class Defaults:
    """An image; ``entrypoint`` and ``cmd`` are its own, ``marker`` is in the first."""

    reference: str
    marker: str
    entrypoint: tuple[bytes, ...]
    cmd: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A container's first process, as /proc shows it; without argv if it has not its marker."""

    id: str
    argv: tuple[bytes, ...]
    environment: dict[bytes, bytes]
    directory: str


@pytest.fixture(scope="module")
def defaults(images: Images) -> Defaults:
    """The image."""
    marker = secrets.token_hex(8)
    entrypoint, cmd = (*_SHELL, marker), ("cmd of the image", "its second word")
    image = images.made(
        f"defaults-{marker}",
        Entrypoint=list(entrypoint),
        Cmd=list(cmd),
        Env=[PATH, *(f"{name}={value}" for name, value in _ENV.items())],
        WorkingDir=_WORKING_DIR,
    )
    reference = images.bring(f"defaults-{marker}", image)
    return Defaults(
        reference,
        marker,
        tuple(word.encode() for word in entrypoint),
        tuple(word.encode() for word in cmd),
    )


def _run(
    runtime: Runtime,
    sandbox: Sandbox,
    defaults: Defaults,
    command: Sequence[str] = (),
    args: Sequence[str] = (),
) -> Seen:
    """Run a container of the image, look at its process, and remove it."""
    config = runtime.container_config(
        sandbox, image=defaults.reference, command=command, envs=_ASKED
    )
    config.args.extend(args)
    container = runtime.container(sandbox, config)
    runtime.get("StartContainer", container_id=container.id)
    # Whatever the command is, it ends with the marker of the image or one of its own.
    marker = command[-1] if command else defaults.marker
    try:
        words = look(runtime, container, marker, "cmdline").removesuffix(b"\0")
    except SetupFailed:
        return Seen(container.id, (), {}, "")
    argv = words.split(b"\0")
    entries = look(runtime, container, marker, "environ").split(b"\0")
    directory = look(runtime, container, marker, "cwd").decode().rstrip("\n")
    runtime.get("RemoveContainer", container_id=container.id)
    pairs = (entry.partition(b"=") for entry in entries if entry)
    return Seen(container.id, tuple(argv), {key: value for key, _, value in pairs}, directory)


@pytest.fixture(scope="module")
def untouched(module_runtime: Runtime, shared_sandbox: Sandbox, defaults: Defaults) -> Seen:
    """A container that asks for neither command nor args."""
    return _run(module_runtime, shared_sandbox, defaults)


def _known(seen: Seen) -> Seen:
    """Raises SetupFailed if the process is not the image's: that is another clause's matter."""
    if not seen.argv:
        raise SetupFailed("the image's entrypoint does not run")
    return seen


@clause(f"{_CONFIG}.command.image-default")
def test_the_image_says_what_is_run(untouched: Seen, defaults: Defaults, judge: Judge) -> None:
    judge.equal(
        f"{_CONFIG}.command.image-default",
        untouched.argv,
        (*defaults.entrypoint, *defaults.cmd),
        about=[untouched.id],
    )


@clause(f"{_CONFIG}.args.replaces-cmd")
def test_args_replace_the_cmd(
    runtime: Runtime, shared_sandbox: Sandbox, defaults: Defaults, judge: Judge
) -> None:
    seen = _run(runtime, shared_sandbox, defaults, args=["an arg", ""])
    judge.equal(
        f"{_CONFIG}.args.replaces-cmd",
        seen.argv,
        (*defaults.entrypoint, b"an arg", b""),
        about=[seen.id],
    )


@clause(f"{_CONFIG}.command.replaces-entrypoint", f"{_CONFIG}.command.drops-image-cmd")
def test_a_command_replaces_both(
    runtime: Runtime, shared_sandbox: Sandbox, defaults: Defaults, judge: Judge
) -> None:
    marker = secrets.token_hex(8)
    seen = _run(runtime, shared_sandbox, defaults, command=[*_SHELL, marker])
    left = [word for word in seen.argv if word == defaults.marker.encode()]
    judge.that(
        f"{_CONFIG}.command.replaces-entrypoint",
        not left and seen.argv[: len(_SHELL)] == tuple(word.encode() for word in _SHELL),
        permitted="the command, and nothing of the entrypoint",
        actual=seen.argv,
        about=[seen.id],
    )
    judge.equal(
        f"{_CONFIG}.command.drops-image-cmd",
        [word for word in seen.argv if word in defaults.cmd],
        [],
        "words of the image's CMD:",
        about=[seen.id],
    )


@clause(f"{_CONFIG}.working_dir.image-default")
def test_the_image_says_where(untouched: Seen, judge: Judge) -> None:
    judge.equal(
        f"{_CONFIG}.working_dir.image-default",
        _known(untouched).directory,
        _WORKING_DIR,
        about=[untouched.id],
    )


@clause(f"{_CONFIG}.envs.overrides-image", f"{_CONFIG}.envs.image-kept")
def test_variables_of_request_and_image(untouched: Seen, judge: Judge) -> None:
    for name, sent, clause_id in (
        ("CRI_BOTH", _ASKED["CRI_BOTH"], f"{_CONFIG}.envs.overrides-image"),
        ("CRI_IMAGE_ONLY", _ENV["CRI_IMAGE_ONLY"], f"{_CONFIG}.envs.image-kept"),
    ):
        value = _known(untouched).environment.get(name.encode(), b"not set")
        judge.equal(clause_id, value, sent.encode(), f"{name}:", about=[untouched.id])


# -- how it is stopped -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def signalled(images: Images) -> str:
    """An image that wants to be stopped by SIGUSR2, and whose containers start where they may."""
    return images.bring("signalled", images.made("signalled", StopSignal="SIGUSR2", WorkingDir=""))


@clause(f"{_CONFIG}.stop_signal.overrides-image")
def test_the_requests_signal_goes_first(
    runtime: Runtime, shared_sandbox: Sandbox, signalled: str, judge: Judge
) -> None:
    name = f"{_CONFIG}.stop_signal.overrides-image"
    if judge.rules.register[name].since > judge.rules.minor:
        judge.skip(Reason.YOUNGER, "stop signals came with 1.33")
    stopped = stop(runtime, shared_sandbox, types.SIGNAL_SIGUSR1, image=signalled)
    judge.equal(
        name, stopped.got, NUMBERS["USR1"], "signal that the process got:", about=[stopped.id]
    )


@clause(f"{_CONFIG}.stop_signal.image-default")
def test_the_images_signal(
    runtime: Runtime, shared_sandbox: Sandbox, signalled: str, images: Images, judge: Judge
) -> None:
    # Images may give a number in place of the name.
    number = images.made("signalled-12", StopSignal=str(NUMBERS["USR2"]), WorkingDir="")
    told = []
    for form, image in (("name", signalled), ("number", images.bring("signalled-12", number))):
        got = stop(runtime, shared_sandbox, types.SIGNAL_RUNTIME_DEFAULT, image=image).got
        used = {NUMBERS["USR2"]: "used", NUMBERS["TERM"]: "not used: SIGTERM"}
        told.append(f"by {form} {used.get(got, f'signal {got}')}")
    judge.record(f"{_CONFIG}.stop_signal.image-default", ", ".join(told))
