# SPDX-License-Identifier: Apache-2.0
"""What is small on the wire and huge in memory is not taken; what is only large is."""

from __future__ import annotations

from cri_conformance.api import types
from cri_conformance.wire import bounds

LIST = types.ListContainersResponse.DESCRIPTOR


def test_millions_of_empty_items_are_too_much() -> None:
    assert "more than 256 MiB" in bounds.too_much(LIST, b"\x0a\x00" * 10_000_000)


def test_a_large_honest_list_and_large_output_are_not() -> None:
    labels = {f"key-{n}": "v" * 40 for n in range(10)}
    one = types.Container(id="a" * 64, pod_sandbox_id="b" * 64, labels=labels)
    honest = types.ListContainersResponse(containers=[one] * 9_000).SerializeToString()
    assert bounds.too_much(LIST, honest) == ""
    output = types.ExecSyncResponse(stdout=b"\x01" * 32_000_000)
    assert bounds.too_much(output.DESCRIPTOR, output.SerializeToString()) == ""


def test_what_is_no_message_does_not_matter_here() -> None:
    for data in (b"\xff" * 2_000_000, b"\x07" * 2_000_000, b"\x0a\xff\xff\xff\xff\x7f" * 400_000):
        bounds.too_much(LIST, data)
