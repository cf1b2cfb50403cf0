# SPDX-License-Identifier: Apache-2.0
"""Mounts that a test makes on the runtime's host, all below a folder of its own.

Needs root in the mount namespace of the runtime's host. What containers mount there by
propagation goes with the rest.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from cri_conformance.wire.host import Host

_MS_BIND, _MS_SHARED, _MNT_DETACH = 4096, 1 << 20, 2


def tmpfs(path: Path) -> None:
    """Mount an empty file system. Raises OSError."""
    _mount("tmpfs", path, "tmpfs", 0, "size=1m")


def shared(path: Path) -> None:
    """Make a folder a mount of its own, of which others get to see the mounts below.

    Raises OSError.
    """
    _mount(str(path), path, "", _MS_BIND)
    try:
        _mount("", path, "", _MS_SHARED)
    except OSError:
        unmount_below(path)
        raise


def unmount_below(folder: Path) -> None:
    """Take back every mount at or below a folder, the innermost first; never an error."""
    # As the kernel names it: a link may lead there.
    own = folder.resolve()
    targets = [Path(mount.target) for mount in Host(Path("/")).mounts(os.getpid())]
    libc = ctypes.CDLL(None, use_errno=True)
    for target in sorted((t for t in targets if t.is_relative_to(own)), reverse=True):
        libc.umount2(os.fsencode(target), _MNT_DETACH)


def _mount(source: str, target: Path, kind: str, flags: int, options: str = "") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = (source.encode(), os.fsencode(target), kind.encode())
    if libc.mount(*words, ctypes.c_ulong(flags), options.encode()) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))
