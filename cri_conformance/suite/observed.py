# SPDX-License-Identifier: Apache-2.0
"""What a container is confined to, as its own /proc tells: one script, one parser.

``SCRIPT`` is run in a container by ExecSync and looks at the container's *first* process,
which it finds by a word in its arguments, as not every container has process ids of its
own. ``parse`` makes a value of what it printed; nothing here knows what is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from cri_conformance.wire.host import Mount, mount

#: Begins the last argument of every first process, so that containers can count each other.
MARK = "cri-mark-"
#: The namespaces that a container may share or not.
NAMESPACES = ("ipc", "net", "pid", "user")
#: The five sets of capabilities, by their names in /proc/PID/status.
SETS = {
    "inheritable": "CapInh",
    "permitted": "CapPrm",
    "effective": "CapEff",
    "bounding": "CapBnd",
    "ambient": "CapAmb",
}

#: $1 is the marker as a pattern that does not match itself. For a moment after a fork a child
#: has its parent's arguments: hence until there is just the one.
SCRIPT = """
n=0
until p=$(grep -l -e "$1" /proc/[0-9]*/cmdline 2>/dev/null); [ "$(echo "$p" | wc -w)" = 1 ]; do
  [ $((n += 1)) -lt 50 ] || exit 9
  sleep 0.1 || sleep 1
done
p=${p%/cmdline}
show() { echo "@$1"; shift; "$@" 2>/dev/null; echo; }
namespaces() { for n in ipc net pid user; do echo "$n $(readlink "$p/ns/$n")"; done; }
marks() { cat /proc/[0-9]*/cmdline | tr '\\0' '\\n' | grep -e '^cri-mark-'; }
show status cat "$p/status"
show uids cat "$p/uid_map"
show gids cat "$p/gid_map"
show label cat "$p/attr/current"
show namespaces namespaces
show kernel cat /proc/sys/kernel/random/boot_id
show marks marks
show mounts cat "$p/mountinfo"
show init cat /proc/1/status
show init-mounts cat /proc/1/mountinfo
show init-label cat /proc/1/attr/current
show init-command cat /proc/1/cmdline
show apparmor cat /sys/module/apparmor/parameters/enabled
show filesystems cat /proc/filesystems
"""


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc/PID/status shows it."""

    uid: int
    gid: int
    groups: frozenset[int]
    #: Set → capabilities by number.
    capabilities: Mapping[str, frozenset[int]]
    #: None where the kernel does not tell.
    no_new_privs: int | None
    #: 0 for no seccomp filter, 2 for one; None where the kernel does not tell.
    seccomp: int | None


@dataclass(frozen=True)
class Observed:
    """What the script printed, by section."""

    sections: Mapping[str, str]

    @cached_property
    def process(self) -> Process:
        """The container's first process."""
        return _process(self.sections["status"])

    @cached_property
    def init(self) -> Process:
        """The process with the id 1 among those that the container sees."""
        return _process(self.sections["init"])

    @property
    def init_command(self) -> list[str]:
        """The command line of process 1."""
        return self.sections["init-command"].split("\0")

    @cached_property
    def mounts(self) -> list[Mount]:
        """The mounts that the container sees, in order."""
        return [mount(line) for line in self.sections["mounts"].splitlines()]

    @cached_property
    def init_mounts(self) -> list[Mount]:
        """The mounts that process 1 sees; [] if it can't be looked at."""
        return [mount(line) for line in self.sections["init-mounts"].splitlines()]

    @property
    def uids(self) -> list[tuple[int, int, int]]:
        """The ranges of /proc/PID/uid_map: in the namespace, outside, length."""
        return _ranges(self.sections["uids"])

    @property
    def gids(self) -> list[tuple[int, int, int]]:
        """The ranges of /proc/PID/gid_map."""
        return _ranges(self.sections["gids"])

    @property
    def label(self) -> str:
        """What a security module calls the process; "" without one."""
        return self.sections["label"].strip("\0\n")

    @property
    def init_label(self) -> str:
        """The same of process 1."""
        return self.sections["init-label"].strip("\0\n")

    @property
    def apparmor(self) -> bool:
        """Whether the kernel has AppArmor switched on."""
        return self.sections["apparmor"].strip() == "Y"

    @property
    def selinux(self) -> bool:
        """Whether the kernel has SELinux switched on."""
        return "selinuxfs" in self.sections["filesystems"]

    @property
    def marks(self) -> frozenset[str]:
        """Of the containers of this suite, the first processes that this one sees."""
        return frozenset(self.sections["marks"].split())

    def namespace(self, kind: str) -> str:
        """Where a namespace is, worldwide: its kernel, and its number there."""
        found = dict(line.split() for line in self.sections["namespaces"].splitlines() if line)
        return f"{self.sections['kernel'].strip()}/{found[kind]}"


def parse(text: str) -> Observed:
    """Read what the script printed. Raises ValueError if that is not what it prints."""
    sections: dict[str, list[str]] = {}
    at = None
    for line in text.split("\n"):
        if line.startswith("@"):
            at = sections.setdefault(line[1:], [])
        elif at is not None:
            at.append(line)
    # The script closes every section with a line break of its own.
    found = {name: "\n".join(lines).removesuffix("\n") for name, lines in sections.items()}
    wanted = [line.split()[1] for line in SCRIPT.splitlines() if line.startswith("show ")]
    if missing := [name for name in wanted if name not in found]:
        raise ValueError(f"nothing was printed about {', '.join(missing)}")
    return Observed(found)


def _process(text: str) -> Process:
    shown = {name: rest.split() for name, _, rest in (s.partition(":") for s in text.splitlines())}
    return Process(
        uid=int(shown["Uid"][0]),
        gid=int(shown["Gid"][0]),
        groups=frozenset(map(int, shown["Groups"])),
        capabilities={name: numbers(shown[key][0]) for name, key in SETS.items()},
        no_new_privs=_number(shown.get("NoNewPrivs")),
        seccomp=_number(shown.get("Seccomp")),
    )


def _number(words: list[str] | None) -> int | None:
    return int(words[0]) if words else None


def numbers(mask: str) -> frozenset[int]:
    """The bits that are set in a hexadecimal mask."""
    value = int(mask, 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def _ranges(text: str) -> list[tuple[int, int, int]]:
    lines = (line.split() for line in text.splitlines())
    return [(int(inside), int(outside), int(length)) for inside, outside, length in lines]


#: Capabilities by name, as the kubelet sends them; the number is the bit in a set.
CAPABILITIES: Mapping[str, int] = {
    name: number
    for number, name in enumerate(
        (
            *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID"),
            *("SETUID", "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST"),
            *("NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO"),
            *("SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
            *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE"),
            *("AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM"),
            *("BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
        )
    )
}
_NAMES = {number: name for name, number in CAPABILITIES.items()}


def named(found: frozenset[int]) -> list[str]:
    """Capabilities in words, for a verdict."""
    return sorted(_NAMES.get(number, str(number)) for number in found)
