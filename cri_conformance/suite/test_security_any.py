# SPDX-License-Identifier: Apache-2.0
"""Generated security contexts: what holds of one setting holds of any of them together.

The settings are those that a kubelet passes on from a pod that the API admits. Each example
is one container; all clauses about what it asks for are judged of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.expect.explore import Explorer
from cri_conformance.suite.cells import (
    GID,
    GROUPS,
    MASKED,
    READONLY,
    UID,
    Cell,
    Cells,
    Security,
    bits,
    run,
)
from cri_conformance.suite.observed import SETS, Process, named
from cri_conformance.wire.runtime import Runtime

_SECURITY = "LinuxContainerSecurityContext"
#: Examples of the gate: each costs a container.
_EXAMPLES = 8

#: Ids that the API admits.
_IDS = st.one_of(st.integers(0, 3), st.integers(0, 2**31 - 1), st.just(65534))
#: What a container may hold by default, and what not; none of them does a host any harm.
_CAPABILITIES = ("CHOWN", "KILL", "SETGID", "NET_RAW", "MKNOD", "SYS_PTRACE", "NET_ADMIN")
_FLAGS = ("readonly_rootfs", "no_new_privs")
_FILTERED = types.SecurityProfile.RuntimeDefault
_PROFILES = (_FILTERED, types.SecurityProfile.Unconfined)


def _contexts() -> SearchStrategy[Security]:
    return st.builds(
        _context,
        uid=st.none() | _IDS,
        gid=st.none() | _IDS,
        groups=st.lists(_IDS, max_size=4, unique=True),
        added=st.lists(st.sampled_from(_CAPABILITIES), max_size=3, unique=True),
        dropped=st.lists(st.sampled_from(_CAPABILITIES), max_size=3, unique=True),
        flags=st.lists(st.sampled_from(_FLAGS), max_size=2, unique=True),
        profile=st.none() | st.sampled_from(_PROFILES),
        paths=st.booleans(),
    )


def _context(
    uid: int | None,
    gid: int | None,
    groups: list[int],
    added: list[str],
    dropped: list[str],
    flags: list[str],
    profile: types.SecurityProfile.ProfileType.ValueType | None,
    paths: bool,
) -> Security:
    security = Security(
        supplemental_groups=groups,
        capabilities=types.Capability(
            # In both lists, the text does not say which of them wins.
            add_capabilities=[name for name in added if name not in dropped],
            drop_capabilities=dropped,
        ),
        masked_paths=MASKED if paths else (),
        readonly_paths=READONLY if paths else (),
    )
    if uid is not None:
        security.run_as_user.value = uid
        if gid is not None:
            security.run_as_group.value = gid
    for flag in flags:
        setattr(security, flag, True)
    if profile is not None:
        security.seccomp.profile_type = profile
    return security


#: Prints what should be hidden, locked or read-only and is not.
_LEAKS = f"""
for p in {" ".join(MASKED)}; do
  [ -d "$p" ] && said=$(ls -A "$p") || said=$(head -c 1 "$p" | wc -c)
  case $said in ""|0) ;; *) echo "reads:$p" ;; esac
done
( : >> /proc/sys/kernel/hostname ) && echo writes
: > /cri-conformance-writes && echo "root"
true
"""

#: A clause, what it permits here, whether that is so, and what is seen.
_Duty = tuple[str, str, bool, object]


def _duties(asked: Security, seen: Process, leaks: list[str]) -> Iterator[_Duty]:
    """What a container owes that asked for this."""
    for field, what in (("run_as_user", seen.uid), ("run_as_group", seen.gid)):
        if asked.HasField(field):  # type: ignore[arg-type]
            wanted = getattr(asked, field).value
            yield f"{_SECURITY}.{field}.in-force", f"id {wanted}", what == wanted, what
    groups = set(asked.supplemental_groups)
    yield (
        f"{_SECURITY}.supplemental_groups.in-force",
        f"groups with {sorted(groups)} among them",
        seen.groups >= groups,
        sorted(seen.groups),
    )
    yield from _of_sets(asked.capabilities, seen)
    yield (
        f"{_SECURITY}.no_new_privs.{'in-force' if asked.no_new_privs else 'unset'}",
        f"NoNewPrivs {int(asked.no_new_privs)}",
        seen.no_new_privs in (int(asked.no_new_privs), None),
        seen.no_new_privs,
    )
    if asked.HasField("seccomp") and asked.seccomp.profile_type == _FILTERED:
        clause_id = "SecurityProfile.ProfileType.RuntimeDefault.seccomp-filters"
        yield clause_id, "Seccomp 2", seen.seccomp in (2, None), seen.seccomp
    for name, asks, leak in (
        ("masked_paths.hidden", asked.masked_paths, "reads:"),
        ("readonly_paths.not-writable", asked.readonly_paths, "writes"),
        ("readonly_rootfs.in-force", asked.readonly_rootfs, "root"),
    ):
        found = [line for line in leaks if line.startswith(leak)]
        if asks:
            yield f"{_SECURITY}.{name}", "no more than was asked for", not found, found


def _of_sets(asked: types.Capability, seen: Process) -> Iterator[_Duty]:
    added, dropped = bits(*asked.add_capabilities), bits(*asked.drop_capabilities)
    sets = seen.capabilities
    for name in ("effective", "permitted", "bounding"):
        if name == "bounding" or seen.uid == 0:
            yield (
                f"Capability.add_capabilities.{name}",
                f"{', '.join(asked.add_capabilities)} in the {name} set",
                sets[name] >= added,
                named(sets[name]),
            )
    left = frozenset().union(*sets.values()) & dropped
    yield (
        "Capability.drop_capabilities.from-all-sets",
        f"no {', '.join(asked.drop_capabilities)} in any set",
        not left,
        named(left),
    )


#: Everything at once, so that each run judges every clause that the test is bound to.
_ALL = _context(UID, GID, list(GROUPS), ["NET_ADMIN"], ["CHOWN"], list(_FLAGS), _FILTERED, True)
_AS_ROOT = _context(0, 0, [], ["SYS_PTRACE"], ["NET_RAW"], [], None, False)
_NOBODY = Process(0, 0, frozenset(), dict.fromkeys(SETS, frozenset()), 0, 0)
_CLAUSES = sorted({duty[0] for asked in (_ALL, _AS_ROOT) for duty in _duties(asked, _NOBODY, [])})


@clause(*_CLAUSES)
def test_settings_together(cells: Cells, explore: Explorer, runtime: Runtime, judge: Judge) -> None:
    def check(asked: Security) -> None:
        container, seen = cells.one(runtime, Cell(asked))
        leaks = run(runtime, container, _LEAKS)[1].splitlines()
        for clause_id, permitted, kept, actual in _duties(asked, seen.process, leaks):
            judge.that(clause_id, kept, permitted=permitted, actual=actual, about=[container.id])

    explore(
        check,
        examples=_EXAMPLES,
        tried=({"asked": _ALL}, {"asked": _AS_ROOT}),
        asked=_contexts(),
    )
