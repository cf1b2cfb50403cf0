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
