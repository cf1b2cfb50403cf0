# SPDX-License-Identifier: Apache-2.0
"""Where a message hangs in the contract: under the first call that reaches it.

Messages are shared by many calls. To list each clause once, a message belongs to the
first call, in the order of the register, whose request or response holds it at any depth.
"""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf import descriptor_pb2

from cri_conformance.contract.clause import Element
from cri_conformance.contract.register import Register


def homes(files: descriptor_pb2.FileDescriptorSet) -> dict[str, str]:
    """Message or enum → ``Service.Rpc``, named as in the register; without the unreached ones."""
    uses = {name: used for file in files.file for name, used in _uses(file)}
    found: dict[str, str] = {}
    for file in files.file:
        for service in file.service:
            for method in service.method:
                call = f"{service.name}.{method.name}"
                waiting = [_bare(method.output_type, file), _bare(method.input_type, file)]
                while waiting:
                    name = waiting.pop()
                    if name not in found and name in uses:
                        found[name] = call
                        waiting += reversed(uses[name])
    return found


def calls(files: descriptor_pb2.FileDescriptorSet) -> list[str]:
    """Every ``Service.Rpc``, in the order in which the contract has them."""
    return [
        f"{service.name}.{method.name}"
        for file in files.file
        for service in file.service
        for method in service.method
    ]


def call_of(element: str, register: Register, where: dict[str, str]) -> str:
    """The call under which an element's clauses hang; a service for its own, "" for none."""
    known: Element | None = register.elements.get(element)
    if known is not None and known.kind in ("service", "rpc"):
        return element
    while element:
        if element in where:
            return where[element]
        element = element.rpartition(".")[0]
    return ""


def message_of(element: str, register: Register) -> str:
    """The message or enum that an element is or is in; "" for a service or a call."""
    known: Element | None = register.elements.get(element)
    if known is None or known.kind in ("service", "rpc"):
        return ""
    return element.rpartition(".")[0] if known.kind in ("field", "value") else element


def _uses(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[str, list[str]]]:
    for enum in file.enum_type:
        yield enum.name, []
    for message in file.message_type:
        yield from _message(message, message.name, file)


def _message(
    message: descriptor_pb2.DescriptorProto, name: str, file: descriptor_pb2.FileDescriptorProto
) -> Iterator[tuple[str, list[str]]]:
    # Maps are messages too: their values are reached through the entry like any other field.
    yield name, [_bare(field.type_name, file) for field in message.field if field.type_name]
    for enum in message.enum_type:
        yield f"{name}.{enum.name}", []
    for nested in message.nested_type:
        yield from _message(nested, f"{name}.{nested.name}", file)


def _bare(type_name: str, file: descriptor_pb2.FileDescriptorProto) -> str:
    """A type's name as the register has it: without the package."""
    return type_name.removeprefix(".").removeprefix(f"{file.package}.")
