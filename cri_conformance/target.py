# SPDX-License-Identifier: Apache-2.0
"""The runtime that is judged: found, asked who it is, and made ready.

All this happens once, on the process that leads the run. What the workers need of it
is plain data (``Facts``), which travels to them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cri_conformance import reference, sweep
from cri_conformance.api import types
from cri_conformance.build import image as image_builder
from cri_conformance.build import load
from cri_conformance.contract.clause import FIRST_MINOR, Minor
from cri_conformance.contract.register import register
from cri_conformance.pulling import Pulling, RegistryError, check
from cri_conformance.registry import authority
from cri_conformance.registry.oci import architecture_here
from cri_conformance.report.text import one_line, sweep_command
from cri_conformance.settings import Settings
from cri_conformance.wire import cgroups, endpoint
from cri_conformance.wire.client import Client
from cri_conformance.wire.history import as_dict
from cri_conformance.wire.host_mounts import unmount_below
from cri_conformance.wire.identity import Run
from cri_conformance.wire.outcome import Ok, Outcome, Refused, RuntimeGone, SetupFailed, answer
from cri_conformance.wire.runtime import Runtime, Workshop, ours, poll, remove

#: Seconds within which an endpoint must take a connection, and then answer.
CONNECT_WITHIN = 2.0
#: Seconds within which the runtime knows an image that was loaded beside it.
LOADED_WITHIN = 5.0
#: Characters of a name or a key, of a value of verbose Status, and how many of these are kept.
_KEY, _INFO, _INFOS = 256, 256 * 1024, 64
#: Seconds for removing what is left at the end, and how many removals may fail: a runtime may list
#: more than there can be.
CLEAN_WITHIN, MOST_FAILED = 60.0, 100


class TargetError(Exception):
    """The runtime can't be judged; one line that says what was tried and what to check."""


def of_option(given: str, error: Exception) -> str:
    """An error as that of --cri-endpoint, where it does not name another option itself."""
    text = one_line(str(error), 2_000)
    return text if text.startswith("--cri-") else f"--cri-endpoint {given}: {text}"


@dataclass(frozen=True)
class Facts:
    """What the leading process found out. Plain data, sent to the workers.

    ``minor`` is the contract's minor by which the runtime is judged.
    """

    endpoint: str
    image_endpoint: str
    runtime_name: str
    runtime_version: str
    runtime_api_version: str
    minor: str
    minor_source: str
    handler: str
    image: str
    status: dict[str, Any]
    info: dict[str, str]
    run_nonce: str
    run_owner: str
    log_root: str
    #: The command that loads image archives; "" if none is known.
    loader: str
    #: The runtime's, by OCI's name.
    architecture: str
    #: Why the runtime doesn't pull from our registry, and what to do; "" if it does.
    no_pulls: str
    #: Whether containers have namespaces and cgroups of their own.
    isolates: bool
    #: Where the file system of the runtime's host is seen from here; "" if it can't be.
    host_root: str
    #: The cgroup that sandboxes go below; "" for the runtime's own choice.
    cgroup_parent: str

    def workshop(self) -> Workshop:
        """What the scopes of this run share."""
        return Workshop(
            Run(self.run_nonce, self.run_owner),
            self.image,
            self.handler,
            self.log_root,
            self.cgroup_parent,
        )

    @property
    def sweep_command(self) -> str:
        """Removes what a run has left behind, for a shell."""
        return sweep_command(self.endpoint, self.image_endpoint)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


#: What is said of objects that a runtime which is gone may still have.
NOT_LOOKED = "could not look for what this run left"


@dataclass(frozen=True)
class Target:
    """One process's connection to the runtime, and what is known of it."""

    facts: Facts
    client: Client
    workshop: Workshop
    settings: Settings

    @contextlib.contextmanager
    def scope(self) -> Iterator[Runtime]:
        """A scope whose objects are removed at its end."""
        runtime = Runtime(self.client, self.workshop)
        try:
            yield runtime
        finally:
            runtime.end()


def connect(settings: Settings, facts: Facts, metadata: tuple[tuple[str, str], ...] = ()) -> Target:
    """A connection of this process to the runtime that ``prepare`` found."""
    client = Client(
        endpoint.parse(facts.endpoint),
        endpoint.parse(facts.image_endpoint) if facts.image_endpoint else None,
        timeout=settings.timeout,
        metadata=metadata,
    )
    return Target(facts, client, facts.workshop(), settings)


class Preparation:
    """Everything that a run needs before its first test, and its removal afterwards."""

    def __init__(self, settings: Settings, *, faults: bool = False, pulls: bool = False) -> None:
        """``pulls``: find out whether the runtime pulls from our registry."""
        self.settings = settings
        self.run = Run.new()
        self.facts: Facts
        #: Where the runtime is, as a sweep is to know it: one of our own does not outlive us.
        self._place = endpoint.REFERENCE
        self._faults = faults
        self._pulls = pulls
        self._undo = contextlib.ExitStack()

    def __enter__(self) -> Preparation:
        """Raises TargetError within a few seconds if there is no runtime to judge."""
        try:
            self.facts = self._prepare()
        except (RuntimeGone, SetupFailed) as error:
            self._undo.close()
            raise TargetError(str(error)) from None
        except BaseException:
            self._undo.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def look(self) -> tuple[list[str], list[str]]:
        """What earlier runs left behind, in words, and the owners of others that may go on."""
        found = sweep.find(self._client)
        return found.lines(), found.others(self.run)

    def clean(self) -> list[str]:
        """Remove whatever of this run is still there; what could not be, in words.

        Scopes have done so already, unless a worker was killed or a call had no answer.
        """
        until = time.monotonic() + CLEAN_WITHIN
        left: list[str] = []
        try:
            for lister, rpc in (
                ("ListPodSandbox", "RemovePodSandbox"),
                ("ListContainers", "RemoveContainer"),
            ):
                items = ours(self._client, self.run, lister)
                for number, item in enumerate(items):
                    if time.monotonic() > until or len(left) >= MOST_FAILED:
                        more = len(items) - number
                        left.append(f"{more} more of {lister}: given up, or no time was left")
                        break
                    if line := remove(self._client, rpc, item.id):
                        left.append(one_line(line))
            for name in self._image_names():
                if time.monotonic() > until:
                    left.append("images: no time was left to remove them")
                    break
                _remove_image(self._client, name)
            return left
        except (RuntimeGone, SetupFailed) as error:
            return [*left, f"{NOT_LOOKED}: {one_line(str(error))}"]

    def _image_names(self) -> list[str]:
        """The names of this run's own images, by tag and by digest."""
        listed = answer(self._client.call("ListImages"), "ListImages")
        names = [name for one in listed.images for name in (*one.repo_tags, *one.repo_digests)]
        return [name for name in names if image_builder.owner_in_name(name)[0] == self.run.nonce]

    def _prepare(self) -> Facts:
        settings = self.settings
        name = settings.endpoint
        registry_ca = self._authority()
        if name == endpoint.REFERENCE:
            name = self._start_reference(registry_ca)
        at = endpoint.parse(name)
        if settings.endpoint != endpoint.REFERENCE:
            self._place = at.place
        image_at = endpoint.parse(settings.image_endpoint) if settings.image_endpoint else None
        if image_at:
            try:
                _look_at(image_at)
            except TargetError as error:
                raise TargetError(f"--cri-image-endpoint: {error}") from None
        client = Client(at, image_at, timeout=settings.timeout)
        self._client = client
        self._undo.callback(client.close)
        version = self._hello(client, at)
        status = client.call("Status", verbose=True)
        facts_status = status.response if isinstance(status, Ok) else types.StatusResponse()
        _check_handler(settings.handler, facts_status)
        embedded = version.runtime_name == reference.RUNTIME_NAME
        minor, source = self._minor(client, embedded=embedded)
        log_root = self._log_root(at)
        loader = settings.image_loader or load.default_loader(version.runtime_name, at.socket)
        pulling = self._pulling(client)
        host_root = str(settings.host_root or "/" if at.local or settings.host_root else "")
        return Facts(
            endpoint=at.text,
            image_endpoint=image_at.text if image_at else "",
            runtime_name=version.runtime_name[:_KEY],
            runtime_version=version.runtime_version[:_KEY],
            runtime_api_version=version.runtime_api_version[:_KEY],
            minor=str(minor),
            minor_source=source,
            handler=settings.handler,
            image=self._image(client, loader, version.runtime_name),
            status=as_dict(
                types.StatusResponse(
                    status=facts_status.status,
                    runtime_handlers=facts_status.runtime_handlers,
                    features=facts_status.features,
                )
            ),
            info={
                key[:_KEY]: value[:_INFO] for key, value in list(facts_status.info.items())[:_INFOS]
            },
            run_nonce=self.run.nonce,
            run_owner=self.run.owner,
            log_root=log_root,
            loader=loader,
            architecture=pulling.architecture,
            no_pulls=pulling.why_not,
            isolates=not embedded,
            host_root=host_root,
            cgroup_parent="" if embedded else self._cgroup_parent(client, host_root),
        )

    def _minor(self, client: Client, *, embedded: bool) -> tuple[Minor, str]:
        """The minor to judge by, and how it is known."""
        if self.settings.version:
            return self.settings.version, "--cri-version"
        if embedded:
            return register().latest, "the whole contract"
        return detect_minor(client)

    def _authority(self) -> Path | None:
        """What signs for our registry. Here, before workers look for it."""
        folder = self.settings.registry_tls
        try:
            return authority.prepare(folder) if folder else None
        except authority.TlsError as error:
            raise TargetError(f"--cri-registry-tls: {error}") from None

    def _pulling(self, client: Client) -> Pulling:
        if not self._pulls:
            return Pulling(architecture_here())
        try:
            return check(client, self.settings, self.run)
        except RegistryError as error:
            raise TargetError(str(error)) from None

    def _start_reference(self, registry_ca: Path | None) -> str:
        from cri_conformance.reference import process

        try:
            started = process.start(faults=self._faults, registry_ca=registry_ca)
        except process.NotStarted as error:
            raise TargetError(str(error)) from None
        self._undo.callback(started.stop)
        return started.endpoint

    def _hello(self, client: Client, at: endpoint.Endpoint) -> types.VersionResponse:
        _look_at(at)
        if not client.wait_ready(CONNECT_WITHIN):
            raise TargetError(
                f"nothing takes gRPC connections at {at.text} (tried for {CONNECT_WITHIN:g} s): "
                "is the runtime running, and is this its CRI endpoint?"
            )
        # Once, without the patience that a run under way has with a loaded runtime.
        if not client.alive((CONNECT_WITHIN,)):
            raise TargetError(
                f"{at.text} takes connections and does not answer Version within "
                f"{CONNECT_WITHIN:g} s: see the runtime's log"
            )
        version = client.call("Version", version="v1")
        if isinstance(version, Ok):
            response: types.VersionResponse = version.response
            return response
        raise TargetError(
            f"{at.text} answers Version with {version}: does it serve CRI v1 (runtime.v1)?"
        )

    def _log_root(self, at: endpoint.Endpoint) -> str:
        """A folder for logs on the runtime's host, under the path that it has there.

        Where the runtime sees another file system than we do (--cri-host-root), a link makes the
        path lead to the same folder here. "" if that file system can't be reached.
        """
        seen = self.settings.host_root
        if not seen:
            return self._temporary("logs") if at.local else ""
        try:
            folder = Path(self._temporary("logs", below=seen / "tmp"))
            there = Path("/") / folder.relative_to(seen)
            if not there.exists():
                there.parent.symlink_to(folder.parent)
                self._undo.callback(there.parent.unlink, missing_ok=True)
        except OSError as error:
            raise TargetError(
                f"--cri-host-root: no folder can be made in {seen / 'tmp'}: {error.strerror}"
            ) from None
        return str(there)

    def _cgroup_parent(self, client: Client, host_root: str) -> str:
        """What a kubelet always gives, and some runtimes can't measure a sandbox without.

        "" where we could not remove afterwards what the runtime leaves of it, or would have to
        guess the form that its cgroup driver wants.
        """
        if not host_root or os.geteuid() != 0:
            return ""
        there = Path(host_root) / cgroups.HIERARCHIES.relative_to("/")
        self._undo.callback(cgroups.remove, there, self.run.nonce)
        told = client.call("RuntimeConfig")
        if not isinstance(told, Ok) or not told.response.HasField("linux"):
            return ""
        by_path = told.response.linux.cgroup_driver == types.CGROUPFS
        return cgroups.parent(self.run.nonce) if by_path else ""

    def _temporary(self, what: str, below: Path | None = None) -> str:
        prefix = f"{sweep.FOLDER_PREFIX}{self.run.nonce}-"
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=below))
        self._undo.callback(shutil.rmtree, folder, ignore_errors=True)
        self._undo.callback(unmount_below, folder)
        folder.joinpath(sweep.ENDPOINT_FILE).write_bytes(os.fsencode(self._place))
        folder.joinpath(sweep.OWNER_FILE).write_text(self.run.owner, encoding="utf-8")
        inner = folder / what
        inner.mkdir()
        return str(inner)

    def _image(self, client: Client, command: str, runtime_name: str) -> str:
        """The reference of an image with a shell that the runtime has."""
        given = self.settings.test_image
        if not given and runtime_name == reference.RUNTIME_NAME:
            given = reference.SHELL_IMAGE
        if given:
            if not _has_image(client, given):
                raise TargetError(
                    f"the runtime has no image {given!r}: pull it there first, or leave out "
                    "--cri-test-image to have one built"
                )
            return given
        if not command:
            ctr = ", or put a ctr that reaches it in PATH" if runtime_name == "containerd" else ""
            raise TargetError(
                f"no way to get a test image into {runtime_name}: give --cri-image-loader "
                "'COMMAND {}' to load an OCI archive, or --cri-test-image REF for one it has" + ctr
            )
        name = image_builder.reference_for(self.run.nonce, self.run.owner)
        archive = Path(self._temporary("image")) / "shell.tar"
        try:
            image_builder.build_archive(archive, name, self.run.nonce)
            self._undo.callback(_remove_image, client, name)
            load.load(archive, command)
        except (image_builder.ImageError, load.LoadError) as error:
            raise TargetError(str(error)) from None
        try:
            # containerd's CRI learns of an import by an event, a moment later.
            poll(lambda: _has_image(client, name), bool, LOADED_WITHIN, f"the image {name}")
        except SetupFailed:
            raise TargetError(
                f"'{command}' loaded no image that the runtime knows as {name}: does it load "
                "into the runtime's own store (for containerd: namespace k8s.io)?"
            ) from None
        return name


def _look_at(at: endpoint.Endpoint) -> None:
    """Refuse what can be seen to be no endpoint without a connection. Raises TargetError."""
    if not at.socket:
        return
    try:
        mode = at.socket.stat().st_mode
    except PermissionError:
        raise TargetError(f"no permission to look for {at.socket}: run as root") from None
    except OSError:
        raise TargetError(
            f"no socket at {at.socket}: is the runtime running, and is this its endpoint?"
        ) from None
    if not stat.S_ISSOCK(mode):
        raise TargetError(f"{at.socket} is not a socket: is this the runtime's endpoint?")
    if not os.access(at.socket, os.R_OK | os.W_OK):
        raise TargetError(f"no permission to use {at.socket}: run as root or as its group")


def _check_handler(name: str, status: types.StatusResponse) -> None:
    """Refuse a handler that the runtime does not list. Some list none: then a sandbox will tell."""
    listed = [handler.name for handler in status.runtime_handlers]
    if name and listed and name not in listed:
        raise TargetError(
            f"--cri-runtime-handler: the runtime has no handler {name!r}, but "
            f"{', '.join(filter(None, listed)) or 'only the default one'}"
        )


def _has_image(client: Client, reference: str) -> bool:
    outcome = client.call(
        "ImageStatus",
        image=types.ImageSpec(image=reference, user_specified_image=reference),
    )
    if isinstance(outcome, Ok):
        return bool(outcome.response.HasField("image"))
    raise TargetError(f"ImageStatus({reference}) answers {outcome}: is the image service there?")


def _remove_image(client: Client, reference: str) -> None:
    # By its tag, which carries our nonce: it can mean nobody else's image.
    with contextlib.suppress(RuntimeGone):
        client.call("RemoveImage", image=types.ImageSpec(image=reference), deadline=30)


#: An id of the usual form that no runtime ever gave out.
_NOBODY = "c0ffee" + "0" * 58

#: (minor, call, fields): a call that came with this minor. Only the answer UNIMPLEMENTED counts.
_SIGNALS: tuple[tuple[Minor, str, dict[str, Any]], ...] = (
    (Minor(1, 33), "UpdatePodSandboxResources", {"pod_sandbox_id": _NOBODY}),
    (Minor(1, 28), "RuntimeConfig", {}),
    (Minor(1, 26), "ListMetricDescriptors", {}),
    (Minor(1, 23), "PodSandboxStats", {"pod_sandbox_id": _NOBODY}),
)


def detect_minor(client: Client) -> tuple[Minor, str]:
    """The youngest minor that the runtime gives a sign of, and the sign.

    Nothing tells a runtime's minor outright (Version says "v1"), so this is what it
    has at least: it is never judged by a wording younger than what it shows.
    """
    signs: list[tuple[Minor, str]] = [(FIRST_MINOR, "nothing younger was seen")]
    status = client.call("Status")
    if isinstance(status, Ok):
        if status.response.HasField("features"):
            signs.append((Minor(1, 31), "Status.features"))
        if status.response.runtime_handlers:
            signs.append((Minor(1, 30), "Status.runtime_handlers"))
    nothing = types.PodSandboxFilter(id=_NOBODY)
    with client.stream("StreamPodSandboxes", filter=nothing) as stream:
        stream.next(within=client.timeout)
        if stream.messages or (stream.outcome and _implemented(stream.outcome)):
            signs.append((Minor(1, 36), "StreamPodSandboxes"))
    for minor, rpc, fields in _SIGNALS:
        if _implemented(client.call(rpc, **fields)):
            signs.append((minor, rpc))
    return max(signs)


def _implemented(outcome: Outcome) -> bool:
    return not (isinstance(outcome, Refused) and outcome.code == "UNIMPLEMENTED")
