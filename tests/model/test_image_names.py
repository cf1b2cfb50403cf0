# SPDX-License-Identifier: Apache-2.0
"""The model of image names: what is certain, and what the contract leaves open."""

from __future__ import annotations

from cri_conformance.model.images import NONE, OPEN, Node

TAG, OTHER = "r/a:1", "r/b:1"


def test_a_tag_that_moves_leaves_its_old_image_in_doubt() -> None:
    node = Node(all_names_go=True)
    node.pull(TAG, "r/a@1", "1")
    node.pull(TAG, "r/a@2", "2")
    assert (node.expected(TAG), node.expected("r/a@2")) == ("2", "2")
    assert node.expected("r/a@1") == OPEN
    node.shown("r/a@1", "1")
    node.shown("r/a@1", NONE)  # too late: it was shown
    assert node.expected("r/a@1") == "1"


def test_with_one_name_all_go_or_nobody_can_tell() -> None:
    for all_go, left in ((True, NONE), (False, OPEN)):
        node = Node(all_names_go=all_go)
        node.pull(TAG, "r/a@1", "1")
        node.pull(OTHER, "r/b@1", "1")
        node.pull("r/c:1", "r/c@2", "2")
        node.remove(TAG)
        assert node.expected(TAG) == NONE
        assert {node.expected(name) for name in (OTHER, "r/a@1", "r/b@1")} == {left}
        assert node.expected("r/c:1") == "2"


def test_removing_what_is_in_doubt_leaves_all_in_doubt() -> None:
    node = Node(all_names_go=True)
    node.pull(TAG, "r/a@1", "1")
    node.pull(TAG, "r/a@2", "2")
    node.remove("r/a@1")
    assert node.expected("r/a@1") == NONE
    assert node.expected(TAG) == OPEN
    assert node.expected("never") == NONE
    node.remove("never")
    assert node.expected("never") == NONE


def test_an_id_is_a_name_that_goes_with_the_last_tag_or_may_not() -> None:
    node = Node(all_names_go=True)
    node.pull(TAG, "r/a@1", "1")
    node.leads_to["sha256:1"] = "1"
    node.pull(TAG, "r/a@2", "2")
    assert node.expected("sha256:1") == OPEN
    assert node.certain() == {"2"}


def test_a_digest_with_a_repository_that_it_was_removed_from_may_find_the_image_again() -> None:
    node = Node(all_names_go=True)
    node.pull(TAG, "r/a@1", "1")
    node.remove(TAG)
    node.pull(OTHER, "r/b@1", "1")
    assert (node.expected("r/a@1"), node.expected(TAG)) == (OPEN, NONE)


def test_of_an_image_in_doubt_no_name_is_certain() -> None:
    node = Node(all_names_go=True)
    node.pull(TAG, "r/a@1", "1")
    node.pull(OTHER, "r/b@2", "2")
    node.doubt("1")
    node.doubt(NONE)
    assert {node.expected(TAG), node.expected("r/a@1")} == {OPEN}
    assert node.expected(OTHER) == "2"
