# SPDX-License-Identifier: Apache-2.0
"""Versions as runtimes and distributions write them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from cri_conformance.contract.versions import Version


def test_from_old_to_young() -> None:
    ordered = (
        "1.6.20~ds1 1.7.0-alpha.1 1.7.0-rc.2 v1.7.0~rc3 1.7 1.7.24~ds1 1.30.0+dev 2.0.0-beta.0 "
        "2.1.9+unknown 2.1.10-50-gdeadbee"
    )
    for older, younger in pairwise(map(Version.parse, ordered.split())):
        assert older < younger


@pytest.mark.parametrize("same", ["1.7", "v1.7", "1.7.0", "1.7.0~ds1", "1.7.0-50-gdeadbee"])
def test_what_stands_behind_the_numbers_does_not_count(same: str) -> None:
    assert Version.parse(same) == Version.parse("1.7.0")
    assert hash(Version.parse(same)) == hash(Version.parse("1.7.0"))


def test_the_previews_of_a_release_belong_to_its_range() -> None:
    assert Version.bound("2") <= Version.parse("2.0.0-alpha.1") < Version.parse("2.0")
    assert Version.parse("2.0.0-beta.1") < Version.bound("2.0.0-rc.1")
    assert Version.parse("1.9.9") < Version.bound("2.0")


@pytest.mark.parametrize("text", ["", "dirty", "7f3ab2", "3", "x1.2", ".1.2"])
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a version"):
        Version.parse(text)
