# SPDX-License-Identifier: Apache-2.0
"""Every clause belongs to one profile, and every name in a profile to the contract."""

from __future__ import annotations

import fnmatch

import pytest

from cri_conformance.contract.profiles import (
    ADVERTISED,
    CORE,
    NAMES,
    PROFILES,
    ProfilesError,
    advertised,
    candidates,
    claimed,
    clauses_of,
    profile_of,
)
from cri_conformance.contract.register import register


def test_every_clause_belongs_to_exactly_one_profile() -> None:
    elements = {clause.element for clause in register().clauses.values()}
    wrong = {e: candidates(e) for e in sorted(elements) if len(candidates(e)) != 1}
    assert not wrong, "give these elements one profile in contract/profiles.py"
    parts = [clauses_of([name], register()) for name in NAMES]
    assert sum(map(len, parts)) == len(register().clauses)
    assert all(parts)


@pytest.mark.parametrize("profile", PROFILES, ids=NAMES)
def test_a_profile_names_what_the_contract_has(profile) -> None:
    names = register().elements
    for pattern in profile.elements.split():
        assert any(fnmatch.fnmatchcase(name, pattern) for name in names), pattern
    assert 0 < profile.minimum <= 1
    assert profile.text


def test_signs_lead_to_clauses() -> None:
    for patterns in ADVERTISED.values():
        for pattern in patterns:
            assert any(fnmatch.fnmatchcase(name, pattern) for name in register().clauses), pattern


def test_what_the_nearest_name_says() -> None:
    assert profile_of("ContainerConfig.tty") == "streaming"
    assert profile_of("ContainerConfig.envs") == "container"
    assert profile_of("ContainerConfig") == "container"
    assert profile_of("Nothing.of.ours") == ""


def test_the_core_is_claimed_by_every_runtime() -> None:
    assert claimed("") == frozenset()
    assert claimed(" stats, image") == CORE | {"stats", "image"}
    with pytest.raises(ProfilesError, match="no profile 'sats', only runtime, sandbox"):
        claimed("stats,sats")


def test_signs_in_a_status() -> None:
    there = {"features": {"user_namespaces": True, "recursive_read_only_mounts": False}}
    status = {
        "runtime_handlers": [{"features": {}}, {"name": "runc", **there}],
        "features": {"supplemental_groups_policy": True},
    }
    groups = "features.supplemental_groups_policy"
    assert advertised(status, "") == [groups]
    assert advertised(status, "runc") == ["runtime_handlers.features.user_namespaces", groups]
    assert advertised({}, "") == []
