# SPDX-License-Identifier: Apache-2.0
"""Containers that are each confined in one way, made when a test first looks, and looked at once.

A table says what each asks for; tests name a cell and judge what was observed in it. Many
clauses are so judged from one container, and a test of one clause pays for no other.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from cri_conformance.api import types
from cri_conformance.build import messages
from cri_conformance.suite.images import NAMED_USER, Images, spec
from cri_conformance.suite.observed import CAPABILITIES, MARK, SCRIPT, Observed, parse
from cri_conformance.wire.outcome import Outcome, SetupFailed
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

Mode: TypeAlias = "types.NamespaceMode.ValueType"
Security: TypeAlias = types.LinuxContainerSecurityContext

#: What a kubelet has masked, and made read-only, unless it is asked for an unmasked /proc.
MASKED = (
    *("/proc/asound", "/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats"),
    *("/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"),
)
READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

#: Ids that no image has in its /etc/passwd or /etc/group.
UID, GID, GROUPS = 12345, 23456, (34567, 45678)
#: The sandbox's own: none of them is a container's.
SANDBOX_UID, SANDBOX_GID, SANDBOX_GROUP = 54321, 54322, 54323
#: A capability that containers have by default, and two that they have not.
DROPPED, ADDED, AMBIENT = "CHOWN", "SYS_PTRACE", "NET_ADMIN"
#: One that is asked for in both lists.
BOTH = "SYS_NICE"

#: A label that the policy for containers has, other than that of a container by default.
SELINUX = {"user": "system_u", "role": "system_r", "type": "spc_t", "level": "s0:c111,c222"}

#: Of a file and a folder: both have something to read wherever there is a /proc.
HIDDEN_FILE, HIDDEN_FOLDER = "/proc/version", "/proc/sys/vm"
LOCKED = "/etc"


@dataclass(frozen=True, slots=True)
class Cell:
    """What one container asks for, and in which of the sandboxes below.

    ``target`` names the cell whose process ids are joined, ``image`` one made for the purpose
    (a property of Images); else it is the test image.
    """

    security: Security = field(default_factory=Security)
    sandbox: str = "plain"
    pid: Mode | None = types.CONTAINER
    ipc: Mode = types.POD
    target: str = ""
    image: str = ""


def _user(uid: int | None = None, gid: int | None = None, **more: object) -> Security:
    security = Security(**more)  # type: ignore[arg-type]
    if uid is not None:
        security.run_as_user.value = uid
    if gid is not None:
        security.run_as_group.value = gid
    return security


def _seccomp(kind: types.SecurityProfile.ProfileType.ValueType, ref: str = "") -> Security:
    return Security(seccomp=types.SecurityProfile(profile_type=kind, localhost_ref=ref))


CELLS: dict[str, Cell] = {
    "plain": Cell(),
    # -- users
    "listed-user": Cell(_user(65534)),
    "numbers": Cell(
        _user(
            UID,
            GID,
            supplemental_groups=GROUPS,
            capabilities=types.Capability(add_capabilities=[ADDED]),
        )
    ),
    "root": Cell(_user(0)),
    "zero": Cell(_user(0), image="odd_user"),
    "name": Cell(Security(run_as_username=NAMED_USER), image="named_user"),
    "name-and-group": Cell(_user(gid=GID, run_as_username=NAMED_USER), image="named_user"),
    "merge": Cell(
        Security(run_as_username=NAMED_USER, supplemental_groups=GROUPS), image="named_user"
    ),
    "strict": Cell(
        Security(
            run_as_username=NAMED_USER,
            supplemental_groups=GROUPS,
            supplemental_groups_policy=types.Strict,
        ),
        image="named_user",
    ),
    # -- capabilities
    "added": Cell(Security(capabilities=types.Capability(add_capabilities=[ADDED, AMBIENT]))),
    "less": Cell(
        Security(
            capabilities=types.Capability(drop_capabilities=[DROPPED]),
            no_new_privs=True,
            readonly_rootfs=True,
        )
    ),
    "ambient": Cell(
        _user(
            UID,
            capabilities=types.Capability(
                add_capabilities=[BOTH], add_ambient_capabilities=[AMBIENT, BOTH]
            ),
        )
    ),
    "ambient-root": Cell(
        Security(capabilities=types.Capability(add_ambient_capabilities=[AMBIENT]))
    ),
    "add-all": Cell(Security(capabilities=types.Capability(add_capabilities=["ALL"]))),
    "drop-all": Cell(
        Security(
            capabilities=types.Capability(drop_capabilities=["ALL"]),
            seccomp_profile_path="runtime/default",
        )
    ),
    # -- files and privileges
    "masked": Cell(Security(masked_paths=[HIDDEN_FILE, HIDDEN_FOLDER])),
    "locked": Cell(Security(readonly_paths=[LOCKED, "/proc/sys"])),
    # Beside privileged a kubelet sends the masks and profiles of any container.
    "privileged": Cell(
        Security(
            privileged=True,
            masked_paths=MASKED,
            readonly_paths=READONLY,
            seccomp=types.SecurityProfile(profile_type=types.SecurityProfile.RuntimeDefault),
        ),
        "privileged",
    ),
    "privileged-and-less": Cell(
        Security(
            privileged=True,
            capabilities=types.Capability(drop_capabilities=[DROPPED]),
            seccomp=types.SecurityProfile(profile_type=types.SecurityProfile.RuntimeDefault),
        ),
        "privileged",
    ),
    "beside-privileged": Cell(sandbox="privileged"),
    # -- profiles
    "seccomp-default": Cell(_seccomp(types.SecurityProfile.RuntimeDefault)),
    "seccomp-off": Cell(_seccomp(types.SecurityProfile.Unconfined)),
    # -- namespaces
    "neighbour": Cell(),
    "elsewhere": Cell(sandbox="other", pid=types.POD),
    "node": Cell(sandbox="node", pid=types.NODE, ipc=types.NODE),
    "node-too": Cell(sandbox="node-too", pid=types.NODE, ipc=types.NODE),
    "sharing": Cell(sandbox="sharing", pid=types.POD),
    "sharing-too": Cell(sandbox="sharing", pid=types.POD),
    "by-default": Cell(sandbox="sharing", pid=None),
    "target": Cell(),
    "joining": Cell(pid=types.TARGET, target="target"),
    # -- the sandbox's own settings
    "in-dressed": Cell(
        # To look at process 1, whose user is another.
        Security(capabilities=types.Capability(add_capabilities=["SYS_PTRACE"])),
        "dressed",
        pid=types.POD,
    ),
    "undressed": Cell(sandbox="dressed", pid=types.POD),
    "in-profiled": Cell(sandbox="profiled", pid=types.POD),
    "in-labelled": Cell(sandbox="labelled", pid=types.POD),
    # -- user namespaces
    "in-userns": Cell(sandbox="userns"),
    "in-userns-too": Cell(sandbox="userns"),
    "in-node-userns": Cell(sandbox="node-userns"),
}


def _namespaces(network: Mode, pid: Mode, ipc: Mode) -> Callable[[types.PodSandboxConfig], None]:
    def edit(config: types.PodSandboxConfig) -> None:
        options = config.linux.security_context.namespace_options
        options.network, options.pid, options.ipc = network, pid, ipc
        if network == types.NODE:
            config.hostname = ""

    return edit


def _privileged(config: types.PodSandboxConfig) -> None:
    config.linux.security_context.privileged = True


def _dressed(config: types.PodSandboxConfig) -> None:
    """Settings for the sandbox's own process, which is seen by who shares its process ids."""
    security = config.linux.security_context
    security.namespace_options.pid = types.POD
    security.run_as_user.value = SANDBOX_UID
    security.run_as_group.value = SANDBOX_GID
    security.supplemental_groups.append(SANDBOX_GROUP)
    security.readonly_rootfs = True
    security.seccomp.profile_type = types.SecurityProfile.RuntimeDefault


def _sharing(config: types.PodSandboxConfig) -> None:
    security = config.linux.security_context
    security.namespace_options.pid = types.POD
    security.seccomp.profile_type = types.SecurityProfile.Unconfined


def _profiled(config: types.PodSandboxConfig) -> None:
    security = config.linux.security_context
    security.namespace_options.pid = types.POD
    security.seccomp.profile_type = types.SecurityProfile.Localhost
    security.seccomp.localhost_ref = str(seccomp_profile(config.log_directory))


def _old_notation(config: types.PodSandboxConfig) -> None:
    config.linux.security_context.namespace_options.pid = types.POD
    config.linux.security_context.seccomp_profile_path = "runtime/default"


def _labelled(config: types.PodSandboxConfig) -> None:
    """For hosts with a security module; each takes notice of its own setting only."""
    security = config.linux.security_context
    security.namespace_options.pid = types.POD
    security.selinux_options.CopyFrom(types.SELinuxOption(**SELINUX))
    security.apparmor.profile_type = types.SecurityProfile.Unconfined


#: A range of ids: the first in the container, the first on the host, how many.
Mapping = tuple[int, int, int]
#: Far above what a kubelet hands out first.
USERNS: list[Mapping] = [(0, 20_000 * 65536, 65536)]


def in_userns(
    config: types.PodSandboxConfig,
    mode: Mode,
    uids: Iterable[Mapping] = (),
    gids: Iterable[Mapping] = (),
) -> None:
    """Ask for a user namespace with these ranges."""
    options = config.linux.security_context.namespace_options.userns_options
    options.mode = mode
    for mappings, ranges in ((options.uids, uids), (options.gids, gids)):
        for inside, outside, length in ranges:
            mappings.add(container_id=inside, host_id=outside, length=length)


#: Sandboxes beside "plain", which is the one that all tests share.
SANDBOXES: dict[str, Callable[[types.PodSandboxConfig], None]] = {
    "other": _old_notation,
    "node": _namespaces(types.NODE, types.NODE, types.NODE),
    "node-too": _namespaces(types.NODE, types.NODE, types.NODE),
    "sharing": _sharing,
    "privileged": _privileged,
    "dressed": _dressed,
    "profiled": _profiled,
    "labelled": _labelled,
    "userns": lambda config: in_userns(config, types.POD, USERNS, USERNS),
    "node-userns": lambda config: in_userns(config, types.NODE),
}


class Cells:
    """The cells of one run. What can't be made ends the test that asks for it (SetupFailed)."""

    def __init__(self, runtime: Runtime, plain: Sandbox, images: Images) -> None:
        self._runtime = runtime
        self._images = images
        self._sandboxes = {"plain": plain}
        self._containers: dict[str, Container] = {}
        self._observed: dict[str, Observed] = {}

    def sandbox(self, name: str) -> Sandbox:
        """One of the sandboxes."""
        if name not in self._sandboxes:
            config = self._runtime.sandbox_config()
            SANDBOXES[name](config)
            self._sandboxes[name] = self._runtime.sandbox(config)
        return self._sandboxes[name]

    def container(self, name: str) -> Container:
        """The running container of a cell."""
        if name not in self._containers:
            cell = CELLS[name]
            sandbox = self.sandbox(cell.sandbox)
            config = self.config(cell, sandbox)
            container = self._runtime.container(sandbox, config)
            self._runtime.get("StartContainer", container_id=container.id)
            self._containers[name] = container
        return self._containers[name]

    def config(self, cell: Cell, sandbox: Sandbox) -> types.ContainerConfig:
        """What a cell asks for, idle and marked."""
        config = marked(self._runtime, sandbox, cell.security)
        if cell.image:
            config.image.CopyFrom(spec(getattr(self._images, cell.image)))
        security = config.linux.security_context
        if cell.pid is None:
            security.ClearField("namespace_options")
            return config
        options = security.namespace_options
        of_pod = sandbox.config.linux.security_context.namespace_options
        options.pid, options.ipc = cell.pid, cell.ipc
        # The kubelet sends the pod's with each container.
        if of_pod.HasField("userns_options"):
            options.userns_options.CopyFrom(of_pod.userns_options)
        if cell.target:
            options.target_id = self.container(cell.target).id
        return config

    def try_out(self, cell: Cell) -> Outcome:
        """Whether such a container comes to run: the answer of the call that decides."""
        sandbox = self.sandbox(cell.sandbox)
        return self._runtime.create_and_start(sandbox, self.config(cell, sandbox))

    def one(
        self, runtime: Runtime, cell: Cell, sandbox: Sandbox | None = None
    ) -> tuple[Container, Observed]:
        """A container for one test only, in ``runtime``'s scope, and what is observed in it."""
        sandbox = sandbox or self.sandbox(cell.sandbox)
        container = runtime.container(sandbox, self.config(cell, sandbox))
        runtime.get("StartContainer", container_id=container.id)
        return container, observe(runtime, container)

    def observed(self, name: str, *, anew: bool = False) -> Observed:
        """What is observed in a cell; looked at ``anew`` if other cells matter that came later."""
        if anew or name not in self._observed:
            self._observed[name] = observe(self._runtime, self.container(name))
        return self._observed[name]

    def mark(self, name: str) -> str:
        """The word by which the first process of a cell is known."""
        return mark_of(self.container(name))

    def does(self, name: str, script: str) -> bool:
        """Whether a script ends well in a cell."""
        return self.said(name, script)[0] == 0

    def said(self, name: str, script: str) -> tuple[int, str]:
        """Exit code and output of a script in a cell."""
        return run(self._runtime, self.container(name), script)


def marked(runtime: Runtime, sandbox: Sandbox, security: Security) -> types.ContainerConfig:
    """The config of an idle container with these settings, whose first process can be told."""
    command = ["/bin/sh", "-c", messages.IDLE, MARK + secrets.token_hex(8)]
    config = runtime.container_config(sandbox, command=command)
    config.linux.security_context.MergeFrom(security)
    return config


def mark_of(container: Container) -> str:
    """The word by which the first process of a container is known."""
    return container.config.command[-1]


def observe(runtime: Runtime, container: Container) -> Observed:
    """Look at the first process of a container. Raises SetupFailed if that is not possible."""
    mark = mark_of(container)
    said = runtime.exec(container, "/bin/sh", "-c", SCRIPT, "sh", f"[{mark[0]}]{mark[1:]}")
    try:
        return parse(said.stdout.decode(errors="replace"))
    except (ValueError, KeyError) as error:
        raise SetupFailed(f"can't look at container {container.id[:12]}: {error}") from None


def run(runtime: Runtime, container: Container, script: str) -> tuple[int, str]:
    """Exit code and output, of both streams, of a shell script in a container."""
    said = runtime.exec(container, "/bin/sh", "-c", f"{{ {script}\n}} 2>&1")
    return said.exit_code, said.stdout.decode(errors="replace").strip()


def bits(*names: str) -> frozenset[int]:
    """Capabilities by number."""
    return frozenset(CAPABILITIES[name] for name in names)


#: What a program needs that is in every image with a shell.
FORBIDDEN = ("mkdir", "mkdirat")


def seccomp_profile(folder: str) -> Path:
    """A seccomp profile in a folder of ours on the runtime's host; it forbids making folders."""
    rule = {"names": FORBIDDEN, "action": "SCMP_ACT_ERRNO", "errnoRet": 1}
    file = Path(folder) / f"forbids-mkdir-{secrets.token_hex(4)}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    file.write_text(json.dumps(profile), encoding="utf-8")
    return file
