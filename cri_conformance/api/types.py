# SPDX-License-Identifier: Apache-2.0
"""Message classes and enum values of the CRI, by their names in the contract.

``types.pyi`` beside this file is generated and says what stands here.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import message_factory
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from cri_conformance.api.descriptors import descriptor_set, pool


def _define(names: dict[str, Any]) -> None:
    for file in descriptor_set().file:
        described = pool().FindFileByName(file.name)
        for name, message in described.message_types_by_name.items():
            names[name] = message_factory.GetMessageClass(message)
        for name, enum in described.enum_types_by_name.items():
            names[name] = EnumTypeWrapper(enum)
            names.update({value.name: value.number for value in enum.values})


_define(globals())
