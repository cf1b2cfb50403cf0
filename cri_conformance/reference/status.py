# SPDX-License-Identifier: Apache-2.0
"""The runtime about itself: Version, Status and its configuration."""

from __future__ import annotations

import ipaddress
import json
import os

from cri_conformance import __version__
from cri_conformance.api import types
from cri_conformance.reference import RUNTIME_NAME, handlers, validate

#: The only value with which a kubelet goes on; it says nothing about this runtime.
KUBELET_API_VERSION = "0.1.0"


def Version(_: types.VersionRequest) -> types.VersionResponse:
    """Who answers, whatever version the client says it has."""
    return types.VersionResponse(
        version=KUBELET_API_VERSION,
        runtime_name=RUNTIME_NAME,
        runtime_version=__version__,
        runtime_api_version="v1",
    )


def Status(request: types.StatusRequest) -> types.StatusResponse:
    """Ready as soon as it answers at all."""
    response = types.StatusResponse(
        status=types.RuntimeStatus(
            conditions=[
                types.RuntimeCondition(type="RuntimeReady", status=True),
                types.RuntimeCondition(type="NetworkReady", status=True),
            ]
        ),
        runtime_handlers=[
            types.RuntimeHandler(name=name, features=types.RuntimeHandlerFeatures())
            for name in handlers.HANDLERS
        ],
        # Groups can be set by root only.
        features=types.RuntimeFeatures(supplemental_groups_policy=os.geteuid() == 0),
    )
    if request.verbose:
        response.info["info"] = json.dumps({"pid": os.getpid(), "isolation": None})
    return response


def RuntimeConfig(_: types.RuntimeConfigRequest) -> types.RuntimeConfigResponse:
    """Nothing that a client would have to match: this runtime manages no cgroups."""
    return types.RuntimeConfigResponse()


def UpdateRuntimeConfig(
    request: types.UpdateRuntimeConfigRequest,
) -> types.UpdateRuntimeConfigResponse:
    """Looked at and let go: addresses here tell sandboxes apart and lead nowhere."""
    for text in request.runtime_config.network_config.pod_cidr.split(","):
        try:
            # Host bits are let pass, as other runtimes do.
            ipaddress.ip_network(text or "0.0.0.0/0", strict=False)
        except ValueError:
            validate.invalid(f"pod_cidr is no range of addresses: {text!r}")
    return types.UpdateRuntimeConfigResponse()
