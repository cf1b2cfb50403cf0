# SPDX-License-Identifier: Apache-2.0
"""What is generated stays within what the Kubernetes API admits."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hypothesis import given

from cri_conformance.build import strategies

_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")


def _check_keys(entries: Mapping[str, str]) -> None:
    for key in entries:
        prefix, slash, name = key.rpartition("/")
        assert _NAME.fullmatch(name), key
        assert len(name) <= 63, key
        assert not slash or (_SUBDOMAIN.fullmatch(prefix) and len(prefix) <= 253), key


def _check_labels(labels: Mapping[str, str]) -> None:
    _check_keys(labels)
    for value in labels.values():
        assert not value or (_NAME.fullmatch(value) and len(value) <= 63), value


def _check_annotations(annotations: Mapping[str, str]) -> None:
    _check_keys(annotations)
    sizes = [len(key.encode()) + len(value.encode()) for key, value in annotations.items()]
    assert sum(sizes) <= strategies.ANNOTATIONS_BYTES


@given(labels=strategies.label_maps())
def test_labels_are_admissible(labels: dict[str, str]) -> None:
    _check_labels(labels)


@given(values=strategies.annotation_maps())
def test_annotations_are_admissible(values: dict[str, str]) -> None:
    _check_annotations(values)


@given(pod=strategies.dns_subdomains(), namespace=strategies.dns_labels())
def test_names_are_admissible(pod: str, namespace: str) -> None:
    assert _SUBDOMAIN.fullmatch(pod)
    assert len(pod) <= 253
    assert _SUBDOMAIN.fullmatch(namespace)
    assert len(namespace) <= 63
    assert "." not in namespace


def test_awkward_values_are_admissible() -> None:
    _check_labels(strategies.AWKWARD_LABELS)
    _check_annotations(strategies.AWKWARD_ANNOTATIONS)


def test_largest_annotations_are_just_as_large_as_admitted() -> None:
    largest = strategies.largest_annotations()
    _check_annotations(largest)
    longer = {key: f"{value}x" for key, value in largest.items()}
    assert sum(len(k) + len(v) for k, v in longer.items()) > strategies.ANNOTATIONS_BYTES
