# SPDX-License-Identifier: Apache-2.0
"""Faults seeded for Version."""

from cri_conformance.faults import changes
from cri_conformance.faults import conditions as when
from cri_conformance.faults.fault import fault
from cri_conformance.faults.operators import answer_error, drifts, drop, set_value

FAULTS = [
    # A runtime that takes the version for a demand instead of a greeting.
    fault(
        "RuntimeService.Version.empty-version",
        answer_error("Version", when.missing("version"), "INVALID_ARGUMENT"),
        ordinary=False,
    ),
    fault(
        "RuntimeService.Version.kubelet-version",
        answer_error("Version", when.requested("version", "0.1.0"), "UNIMPLEMENTED"),
    ),
    fault(
        "RuntimeService.Version.stable",
        drifts("Version", "runtime_version", changes.suffixed("+1")),
    ),
    fault("VersionResponse.version.not-empty", drop("Version", "version")),
    fault("VersionResponse.runtime_name.not-empty", drop("Version", "runtime_name")),
    fault("VersionResponse.version.kubelet-value", set_value("Version", "version", "v1")),
    fault(
        "VersionResponse.runtime_version.readable",
        set_value("Version", "runtime_version", "unknown"),
    ),
    fault("VersionResponse.runtime_api_version.readable", drop("Version", "runtime_api_version")),
]
