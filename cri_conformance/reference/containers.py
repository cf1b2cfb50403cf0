# SPDX-License-Identifier: Apache-2.0
"""Containers: CREATED, then RUNNING, then EXITED, and never back.

A container is RUNNING as long as its first process is. When that has ended, the rest of
its processes are killed, as the end of a pid namespace would do; what they wrote is
taken to the log; and only then is the container EXITED, with the time and code of its
first process. So whoever sees EXITED finds the log complete and no process left.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

from cri_conformance.api import types
from cri_conformance.api.status import StatusError
from cri_conformance.reference import filters, identity, resources, signals, validate
from cri_conformance.reference.events import Events
from cri_conformance.reference.image import Image
from cri_conformance.reference.images import Images
from cri_conformance.reference.logs import LogFile
from cri_conformance.reference.processes import Command, Process, Processes
from cri_conformance.reference.state import Container, Sandbox, Store, new_id
from cri_conformance.reference.sweep import StateDirectory

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: The code that runtimes report for a command that could not be executed.
_START_ERROR = 128


class Containers:
    """The calls about containers. All raise StatusError where they refuse."""

    def __init__(
        self,
        store: Store,
        processes: Processes,
        directory: StateDirectory,
        events: Events,
        images: Images,
    ) -> None:
        self._events = events
        self._images = images
        self._store = store
        self._processes = processes
        self._directory = directory

    def CreateContainer(
        self, request: types.CreateContainerRequest
    ) -> types.CreateContainerResponse:
        """Name and attempt are taken in the sandbox until it is removed (ALREADY_EXISTS).

        The sandbox's config is that of RunPodSandbox; the one sent again is not looked at.
        """
        sandbox_id = validate.object_id("pod_sandbox_id", request.pod_sandbox_id)
        if not request.HasField("config") or not request.config.HasField("metadata"):
            validate.invalid("there is no config, or no metadata in it")
        sandbox = self._store.sandbox(sandbox_id)
        config = types.ContainerConfig()
        config.CopyFrom(request.config)
        image = self._images.get(config.image)
        container_id = new_id()
        with sandbox.lock:
            if sandbox.stopping:
                raise StatusError("FAILED_PRECONDITION", f"sandbox {sandbox_id} was stopped")
            siblings = {one.id: one.config for one in sandbox.containers.values()}
            validate.container(config, sandbox.config, siblings, self._images.get)
            resources.check(config.linux.resources)
            who = identity.of(config.linux.security_context, image.user)
            self._store.reserve(_name(sandbox, config), container_id)
            try:
                self._directory.make_container(container_id, who.uid, who.gid)
            except OSError as error:
                self._store.release(_name(sandbox, config), container_id)
                raise StatusError("INTERNAL", f"no directory for the container: {error}") from None
            container = self._new(container_id, sandbox, config, image, who)
            # Nobody who finds it can remove it before it is told that it was created.
            with container.lock:
                sandbox.containers[container_id] = container
                self._store.containers[container_id] = container
                self._tell(types.CONTAINER_CREATED_EVENT, container)
        return types.CreateContainerResponse(container_id=container_id)

    def _new(
        self,
        container_id: str,
        sandbox: Sandbox,
        config: types.ContainerConfig,
        image: Image,
        who: identity.Identity,
    ) -> Container:
        digested = self._images.digested(image)
        status = types.ContainerStatus(
            id=container_id,
            metadata=config.metadata,
            state=types.CONTAINER_CREATED,
            created_at=self._store.clock.now(),
            image=config.image,
            image_ref=digested,
            image_id=image.id,
            labels=config.labels,
            annotations=config.annotations,
            mounts=config.mounts,
            user=types.ContainerUser(
                linux=types.LinuxContainerUser(
                    uid=who.uid, gid=who.gid, supplemental_groups=who.groups
                )
            ),
            stop_signal=config.stop_signal or image.stop_signal or types.SIGNAL_SIGTERM,
        )
        if sandbox.config.log_directory and config.log_path:
            status.log_path = str(Path(sandbox.config.log_directory) / config.log_path)
        if config.linux.HasField("resources"):
            status.resources.linux.CopyFrom(config.linux.resources)
        item = types.Container(
            id=container_id,
            pod_sandbox_id=sandbox.id,
            metadata=config.metadata,
            image=config.image,
            image_ref=digested,
            image_id=image.id,
            state=types.CONTAINER_CREATED,
            created_at=status.created_at,
            labels=config.labels,
            annotations=config.annotations,
        )
        return Container(
            id=container_id,
            sandbox=sandbox,
            config=config,
            image=image,
            identity=who,
            response=types.ContainerStatusResponse(status=status),
            item=item,
        )

    def StartContainer(self, request: types.StartContainerRequest) -> types.StartContainerResponse:
        """Once, from CREATED, in a sandbox that is not being stopped (FAILED_PRECONDITION).

        When the command can't be executed the call fails, and the container is EXITED.
        """
        container = self._container(request.container_id)
        with container.lock:
            if container.status.state != types.CONTAINER_CREATED or container.removing:
                raise StatusError(
                    "FAILED_PRECONDITION",
                    f"container {container.id} is {_state(container)}, not CONTAINER_CREATED",
                )
            if container.sandbox.stopping:
                raise StatusError("FAILED_PRECONDITION", "the container's sandbox was stopped")
            started_at = self._store.clock.now()
            try:
                container.process = self._start(container)
            except (OSError, ValueError) as error:
                self._publish_failed_start(container, started_at, str(error))
                raise StatusError(
                    "FAILED_PRECONDITION", f"can't start container {container.id}: {error}"
                ) from None
            container.publish(
                types.ContainerStatus(state=types.CONTAINER_RUNNING, started_at=started_at)
            )
            self._tell(types.CONTAINER_STARTED_EVENT, container)
        return types.StartContainerResponse()

    def _start(self, container: Container) -> Process:
        """Raises OSError. With the container's lock held."""
        log = LogFile(container.status.log_path)
        try:
            process = self._processes.spawn(
                self.command(container),
                log.stdout,
                log.stderr,
                on_exit=lambda process: self._on_exit(container, process, log),
            )
        except BaseException:
            log.close()
            raise
        container.log = log
        self._directory.note_process(container.id, process.pid, process.start)
        return process

    def command(self, container: Container) -> Command:
        """What its first process is; one of ExecSync is like it but for what it runs."""
        config = container.config
        environment = {b"PATH": os.environ.get("PATH", _DEFAULT_PATH).encode()}
        environment.update(container.image.env)
        environment.update((variable.key.encode(), variable.value) for variable in config.envs)
        return Command(
            argv=container.image.argv(config.command, config.args),
            marker=container.id,
            environment=environment,
            directory=config.working_dir
            or container.image.working_dir
            or str(self._directory.work(container.id)),
            identity=container.identity,
            stdin=config.stdin,
            tty=config.tty,
        )

    def _publish_failed_start(self, container: Container, started_at: int, why: str) -> None:
        # The kubelet reads the start time of whatever was to be started: it gets the attempt's.
        container.publish(
            types.ContainerStatus(
                state=types.CONTAINER_EXITED,
                started_at=started_at,
                finished_at=self._store.clock.now(),
                exit_code=_START_ERROR,
                reason="StartError",
                message=why,
            )
        )
        self._tell(types.CONTAINER_STOPPED_EVENT, container)
        container.exited.set()

    def _on_exit(self, container: Container, process: Process, log: LogFile) -> None:
        """The first process has ended. From the loop, which must go on: hence a thread."""
        finished_at = self._store.clock.now()
        threading.Thread(
            target=self._finish,
            args=(container, process, log, finished_at),
            name=f"end of {container.id[:12]}",
            daemon=True,
        ).start()

    def _finish(
        self, container: Container, process: Process, log: LogFile, finished_at: int
    ) -> None:
        with container.lock:
            # Comes after StartContainer, which holds the lock until it has reported RUNNING.
            container.ending = True
        self._processes.kill_members(container.id, process)
        self._processes.loop.call(process.close_output)
        log.close()
        self._processes.reap(process)
        with container.lock:
            container.process = None
            container.publish(
                types.ContainerStatus(
                    state=types.CONTAINER_EXITED,
                    finished_at=finished_at,
                    exit_code=process.code,
                    reason="Error" if process.code else "Completed",
                )
            )
            self._tell(types.CONTAINER_STOPPED_EVENT, container)
        container.exited.set()

    def _tell(self, kind: types.ContainerEventType.ValueType, container: Container) -> None:
        self._events.publish(kind, container.id, container.sandbox)

    def ReopenContainerLog(
        self, request: types.ReopenContainerLogRequest
    ) -> types.ReopenContainerLogResponse:
        """Only while it runs (FAILED_PRECONDITION): whoever has ended writes no more."""
        container = self._container(request.container_id)
        # With the lock it can't end meanwhile, so no file is made for one that has.
        with container.lock:
            if container.log is None or not container.running or container.ending:
                raise StatusError("FAILED_PRECONDITION", f"container {container.id} does not run")
            if failure := self._reopen(container.log):
                raise StatusError("FAILED_PRECONDITION", f"can't open the log anew: {failure}")
        return types.ReopenContainerLogResponse()

    def _reopen(self, log: LogFile) -> str:
        """Have the loop do it, which writes the log; what went wrong, or ""."""
        failures = []

        def reopen() -> None:
            try:
                log.reopen()
            except OSError as error:
                failures.append(str(error))

        self._processes.loop.call(reopen)
        return "".join(failures)

    def StopContainer(self, request: types.StopContainerRequest) -> types.StopContainerResponse:
        """Returns when the container is EXITED. Unknown, never started, exited: nothing to do.

        Each stop waits for its own time; the first whose time is over kills. The stop signal
        is sent by the first stop only. A negative timeout is none.
        """
        container_id = validate.object_id("container_id", request.container_id)
        container = self._store.containers.get(container_id)
        if container:
            self._stop(container, min(max(request.timeout, 0), threading.TIMEOUT_MAX))
        return types.StopContainerResponse()

    def _stop(self, container: Container, grace: float) -> None:
        if grace > 0:
            with container.lock:
                if container.process and not container.signalled:
                    container.signalled = True
                    container.process.signal(signals.number(container.status.stop_signal))
                running = container.running
            if not running or container.exited.wait(grace):
                return
        if self.kill(container):
            container.exited.wait()

    def kill(self, container: Container) -> bool:
        """Kill its first process; the others follow. False if it does not run."""
        with container.lock:
            if container.process:
                container.process.signal(signal.SIGKILL)
            return container.running

    def RemoveContainer(
        self, request: types.RemoveContainerRequest
    ) -> types.RemoveContainerResponse:
        """Killed first if it runs. An unknown container is a removed one."""
        container_id = validate.object_id("container_id", request.container_id)
        container = self._store.containers.get(container_id)
        if container:
            self.remove(container)
        return types.RemoveContainerResponse()

    def remove(self, container: Container) -> None:
        """Returns when nothing of it is left; its log stays, as that is the client's."""
        with container.lock:
            container.removing = True
        if self.kill(container):
            container.exited.wait()
        shutil.rmtree(self._directory.container(container.id), ignore_errors=True)
        self._store.containers.pop(container.id, None)
        # Of several removals at the same time one takes it out, and tells so.
        if container.sandbox.containers.pop(container.id, None):
            self._tell(types.CONTAINER_DELETED_EVENT, container)
        self._store.release(_name(container.sandbox, container.config), container.id)

    def ContainerStatus(
        self, request: types.ContainerStatusRequest
    ) -> types.ContainerStatusResponse:
        """NOT_FOUND if it is not there."""
        container = self._container(request.container_id)
        if not request.verbose:
            return container.response
        response = types.ContainerStatusResponse()
        response.CopyFrom(container.response)
        process = container.process
        info = {
            "sandbox": container.sandbox.id,
            "pid": process.pid if process else 0,
            "argv": self.command(container).argv,
        }
        response.info["info"] = json.dumps(info)
        return response

    def ListContainers(self, request: types.ListContainersRequest) -> types.ListContainersResponse:
        """Those that match the filter, oldest first."""
        items = [container.item for container in list(self._store.containers.values())]
        return types.ListContainersResponse(containers=filters.containers(items, request.filter))

    def wait_for_all(self, seconds: float) -> None:
        """At the runtime's end, when all processes were killed: let their ends be written down."""
        for container in list(self._store.containers.values()):
            if container.running and not container.exited.wait(seconds):
                print(f"container {container.id} has not ended", file=sys.stderr)

    def _container(self, container_id: str) -> Container:
        return self._store.container(validate.object_id("container_id", container_id))


def _name(sandbox: Sandbox, config: types.ContainerConfig) -> tuple[object, ...]:
    return (sandbox.id, config.metadata.name, config.metadata.attempt)


def _state(container: Container) -> str:
    return types.ContainerState.Name(container.status.state)
