# SPDX-License-Identifier: Apache-2.0
"""The 43 calls of the CRI as a table."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import message_factory
from google.protobuf.message import Message

from cri_conformance.api.descriptors import PACKAGE, descriptor_set, pool


@dataclass(frozen=True, slots=True)
class Rpc:
    """One call: ``path`` is what gRPC puts on the wire."""

    name: str
    service: str
    path: str
    request: type[Message]
    response: type[Message]
    server_streaming: bool


def _table() -> dict[str, Rpc]:
    table = {}
    for file in descriptor_set().file:
        for service in pool().FindFileByName(file.name).services_by_name.values():
            for method in service.methods:
                table[method.name] = Rpc(
                    name=method.name,
                    service=service.name,
                    path=f"/{PACKAGE}.{service.name}/{method.name}",
                    request=message_factory.GetMessageClass(method.input_type),
                    response=message_factory.GetMessageClass(method.output_type),
                    server_streaming=method.server_streaming,
                )
    return table


#: Keyed by the call's own name: no two calls of the two services share one.
RPCS: dict[str, Rpc] = _table()
