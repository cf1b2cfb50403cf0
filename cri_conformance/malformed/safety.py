# SPDX-License-Identifier: Apache-2.0
"""What must not be sent, however broken a message is: it could touch what is not ours.

Judged is the tree of fields, not a parsed message, and every occurrence of a field: so whichever
of them a decoder takes, and however lenient it is, the message is harmless. Bytes that are no
fields at all no decoder can take for a request.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from cri_conformance.api.rpcs import RPCS
from cri_conformance.malformed.fields import Field, Kind, NotAMessage, Tree, parse, places

#: Calls that only look.
_LOOKING = re.compile(r"Version|Status|RuntimeConfig|.*(Status|Stats|Info)|(List|Stream|Get).+")
#: Calls that make what others list: old runtimes take invalid text and give it back to all.
_MAKING = ("RunPodSandbox", "CreateContainer", "RestorePod")
#: Fields whose objects a call acts on.
_IDS = ("pod_sandbox_id", "container_id", "container_ids")
#: Paths on the host: below our own folder.
_HOST_PATHS = ("log_directory", "location", "output_path", "checkpoint_path", "host_path")
#: What reaches beyond a sandbox of ours. No request of ours has them; none gets them by chance.
_NEVER = frozenset(
    ("mounts", "devices", "CDI_devices", "sysctls", "host_port", "privileged", "localhost_ref",
     "seccomp_profile_path", "apparmor_profile", "runtime_config", "image_ref", "target_id",
     "network", "windows", "checkpoint_options", "container_configs", "server_address")
)  # fmt: skip
#: How far up a log path may lead: it starts so deep below our folder.
LEVELS = 2
#: A prefix of one of our ids that is so long means nobody else's.
_LONG_PREFIX = 16
#: The registry of images that are asked for: nobody listens there.
NOWHERE = "127.0.0.1:1/"


#: Parts without which a request that makes something is none. There are runtimes that such a one
#: is the end of, and with them of everybody's work on the node.
_PARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "RunPodSandbox": (("config", "metadata"), ("config", "linux")),
    "CreateContainer": (
        ("config", "metadata"),
        ("config", "image"),
        ("config", "linux"),
        ("sandbox_config", "metadata"),
        ("sandbox_config", "linux"),
    ),
    "PullImage": (("image",),),
    "UpdateContainerResources": (("linux",),),
}


def incomplete(rpc: str, data: bytes) -> bool:
    """Whether a request lacks one of the messages that it is made of, for some decoder or other."""
    wanted = _PARTS.get(rpc)
    if not wanted:
        return False
    try:
        tree = parse(data, RPCS[rpc].request.DESCRIPTOR)
    except NotAMessage:
        return False
    return not all(_has(tree, part) for part in wanted)


def _has(tree: Tree, part: tuple[str, ...]) -> bool:
    first, *rest = part
    within = [one.value for one in tree if one.name == first and isinstance(one.value, tuple)]
    # Said twice, a message is merged.
    return bool(within) and (not rest or any(_has(one, tuple(rest)) for one in within))


class Refuse(Exception):
    """This must not be sent; says why."""


@dataclass
class Guard:
    """``ids`` are those of this run, ``root`` is our folder on the runtime's host, ``usual`` are
    the values that fields of ours have anyway, ``foreign`` gives ids that are not ours."""

    ids: Collection[str]
    nonce: str
    root: str
    usual: frozenset[tuple[str, bytes | int]]
    foreign: Callable[[], Collection[str]]

    def check(self, rpc: str, data: bytes) -> None:
        """Raises Refuse."""
        if _LOOKING.fullmatch(rpc):
            return
        try:
            tree = parse(data, RPCS[rpc].request.DESCRIPTOR)
        except NotAMessage:
            return
        top: dict[str, list[Field]] = {}
        for field in tree:
            top.setdefault(field.name, []).append(field)
        self._ids(rpc, top)
        if rpc in _MAKING:
            self._listable(tree)
        logs, directories = [], []
        for _, field in places(tree):
            name, value = field.name, field.value
            if name in _NEVER and (name, value) not in self.usual:
                raise Refuse(f"{name} is set")
            if name == "cgroup_parent" and (name, value) not in self.usual and value != b"":
                raise Refuse("another cgroup_parent")
            if not isinstance(value, bytes):
                if name in (*_HOST_PATHS, "log_path") and not isinstance(value, int):
                    raise Refuse(f"{name} has fields")
                continue
            if name in _HOST_PATHS:
                self._below(name, value, log=name == "log_directory")
            if name == "log_directory":
                directories.append(value)
            elif name == "log_path":
                logs.append(value)
        for path in logs:
            self._log(path)
        if rpc in ("PullImage", "RemoveImage"):
            self._image(rpc, tree)

    @staticmethod
    def _listable(tree: Tree) -> None:
        for _, field in places(tree):
            if field.kind is Kind.TEXT and isinstance(field.value, bytes):
                try:
                    field.value.decode()
                except UnicodeDecodeError:
                    raise Refuse(f"{field.name} is no UTF-8 and could get into lists") from None

    def _ids(self, rpc: str, top: dict[str, list[Field]]) -> None:
        foreign: Collection[str] | None = None
        for name in _IDS:
            if name not in RPCS[rpc].request.DESCRIPTOR.fields_by_name:
                continue
            values = {field.value for field in top.get(name, ())}
            # Without the field, or with another type than it has, it is empty.
            for value in values or {b""}:
                given = value.decode(errors="replace") if isinstance(value, bytes) else ""
                if name == "container_ids" and not given:
                    continue
                if self._ours(given):
                    continue
                # Asked for once: a field may stand there five hundred times.
                foreign = self.foreign() if foreign is None else foreign
                if any(one.startswith(cut) for one in foreign for cut in _as_read(given)):
                    raise Refuse(f"{name} could mean an object that is not ours")

    def _ours(self, given: str) -> bool:
        return given in self.ids or (
            len(given) >= _LONG_PREFIX
            and any(given.startswith(own) or own.startswith(given) for own in self.ids)
        )

    def _below(self, name: str, value: bytes, *, log: bool) -> None:
        for path in _paths(value):
            if path in ("", ".") or (name, value) in self.usual:
                continue
            normal = posixpath.normpath(path)
            depth = normal.removeprefix(self.root).count("/")
            if not normal.startswith(f"{self.root}/") or (log and depth <= LEVELS):
                raise Refuse(f"{name} leads out of our folder")

    def _log(self, value: bytes) -> None:
        for path in _paths(value):
            if not path:
                continue
            start = "/".join(["", *("x" * LEVELS)])
            if path.startswith("/") and posixpath.normpath(path) not in ("/", "//"):
                raise Refuse("log_path is absolute")
            if not posixpath.normpath(f"/our{start}/{path}").startswith("/our"):
                raise Refuse("log_path leads out of our folder")

    def _image(self, rpc: str, tree: Tree) -> None:
        names = [field.value for _, field in places(tree) if field.name == "image"]
        texts = [value for value in names if isinstance(value, bytes)]
        if rpc == "RemoveImage" and not texts:
            raise Refuse("an image without a name might mean any")
        for text in texts:
            allowed = NOWHERE + (self.nonce if rpc == "RemoveImage" else "")
            if not text.startswith(allowed.encode()) and not (rpc == "PullImage" and not text):
                raise Refuse("another image")


def _as_read(text: str) -> tuple[str, ...]:
    """As it is, up to a NUL, and without blanks: as a careless reader may have it."""
    return text, text.partition("\0")[0], text.strip()


def _paths(value: bytes) -> list[str]:
    return list(_as_read(value.decode(errors="surrogateescape")))
