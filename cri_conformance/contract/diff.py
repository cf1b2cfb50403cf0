# SPDX-License-Identifier: Apache-2.0
"""What another api.proto has that ours has not, and which of its comments are news.

The wire is compared element by element. Of upstream's comments nothing is kept but
a hash each, in one lock file: a hash tells that a comment has changed since somebody
last read it and wrote clauses for it, and that is all that is wanted of it.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import descriptor_pb2

from cri_conformance.api.descriptors import PACKAGE, descriptor_set
from cri_conformance.contract.build import PROTO_ROOT, BuildError, compile_set
from cri_conformance.contract.register import walk

LOCK = PROTO_ROOT / "upstream.lock"

_Field = descriptor_pb2.FieldDescriptorProto
_READ_AT = "# read at: "
_LOCK_HEADER = """\
# SPDX-License-Identifier: Apache-2.0
# Hashes of the comments in Kubernetes' api.proto as they were when somebody last read them.
# `cri-conformance contract diff PATH` names those that have changed since;
# `cri-conformance contract diff PATH --lock VERSION` writes this file anew.
"""


class DiffError(Exception):
    """The two can't be compared; one line that says why."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An api.proto: what each element is on the wire, and the hash of its comment."""

    shapes: Mapping[str, str]
    comments: Mapping[str, str]


def read(path: Path) -> Upstream:
    """Compile an api.proto from anywhere. Raises DiffError."""
    try:
        source = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DiffError(f"can't read {path}: there is no such file; give an api.proto") from None
    except OSError as error:
        raise DiffError(f"can't read {path}: {error.strerror}; give an api.proto") from None
    except UnicodeDecodeError:
        raise DiffError(f"can't read {path}: it is no text; give an api.proto") from None
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "api.proto").write_text(_without_gogo(source), encoding="utf-8")
        try:
            files = compile_set(Path(scratch), "api.proto")
        except BuildError as error:
            # The compiler may log warnings before it comes to the point.
            point = re.search(r"api\.proto:\d.*", str(error))
            raise DiffError(f"{path} does not compile: {point[0] if point else error}") from None
    if PACKAGE not in {file.package for file in files.file}:
        raise DiffError(f"{path} is not the CRI's api.proto: it declares no package {PACKAGE}")
    return Upstream(shapes(files), dict(_comments(files)))


def wire_changes(upstream: Mapping[str, str]) -> list[str]:
    """One line for every element that differs on the wire, in the order of the files."""
    ours = shapes(descriptor_set())
    lines = [f"added    {name}: {upstream[name]}" for name in upstream if name not in ours]
    lines += [f"removed  {name}: {ours[name]}" for name in ours if name not in upstream]
    return lines + [
        f"changed  {name}: {ours[name]} → {upstream[name]}"
        for name in ours
        if name in upstream and upstream[name] != ours[name]
    ]


def comment_changes(upstream: Mapping[str, str], lock: Path = LOCK) -> list[str]:
    """One line for every comment that is not as the lock file has it. Raises DiffError."""
    _, known = read_lock(lock)
    lines = [
        f"comment  {name}: {'changed' if name in known else 'never read'}"
        for name, digest in upstream.items()
        if known.get(name) != digest
    ]
    return lines + [f"comment  {name}: gone" for name in known if name not in upstream]


def read_lock(lock: Path = LOCK) -> tuple[str, dict[str, str]]:
    """The version at which upstream's comments were read, and their hashes. Raises DiffError."""
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise DiffError(f"no {lock}: this command wants a checkout of cri-conformance") from None
    version = next((line.removeprefix(_READ_AT) for line in lines if line.startswith(_READ_AT)), "")
    rows = (line.split() for line in lines if line and not line.startswith("#"))
    return version, {row[0]: row[1] for row in rows if len(row) == 2}


def write_lock(comments: Mapping[str, str], version: str, lock: Path = LOCK) -> None:
    """Take all comments of ``version`` as read. Raises DiffError."""
    rows = "".join(f"{name} {digest}\n" for name, digest in comments.items())
    text = f"{_LOCK_HEADER}{_READ_AT}{' '.join(version.split())}\n{rows}"
    try:
        lock.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DiffError(f"can't write {lock}: {error.strerror}") from None


def shapes(files: descriptor_pb2.FileDescriptorSet) -> dict[str, str]:
    """What each element is on the wire, in words that two files can be compared by."""
    found: dict[str, str] = {}
    for file in files.file:
        for service in file.service:
            found[service.name] = "service"
            for method in service.method:
                found[f"{service.name}.{method.name}"] = _call(method)
        for message in file.message_type:
            found.update(_message(message, message.name))
        for enum in file.enum_type:
            found.update(_enum(enum, enum.name))
    return found


def _call(method: descriptor_pb2.MethodDescriptorProto) -> str:
    asks = f"{'stream ' if method.client_streaming else ''}{_short(method.input_type)}"
    answers = f"{'stream ' if method.server_streaming else ''}{_short(method.output_type)}"
    return f"call ({asks}) returns ({answers})"


def _message(message: descriptor_pb2.DescriptorProto, name: str) -> Iterator[tuple[str, str]]:
    yield name, "message"
    maps = {nested.name: nested for nested in message.nested_type if nested.options.map_entry}
    for field in message.field:
        yield f"{name}.{field.name}", _field(field, message, maps)
    for nested in message.nested_type:
        if nested.name not in maps:
            yield from _message(nested, f"{name}.{nested.name}")
    for enum in message.enum_type:
        yield from _enum(enum, f"{name}.{enum.name}")


def _field(
    field: descriptor_pb2.FieldDescriptorProto,
    message: descriptor_pb2.DescriptorProto,
    maps: Mapping[str, descriptor_pb2.DescriptorProto],
) -> str:
    entry = maps.get(_short(field.type_name).rpartition(".")[2])
    words = ["field", str(field.number)]
    if entry:
        words.append(f"map<{', '.join(_type(side) for side in entry.field)}>")
    else:
        if field.label == _Field.LABEL_REPEATED:
            words.append("repeated")
        words.append(_type(field))
    if field.proto3_optional:
        words.append("optional")
    elif field.HasField("oneof_index"):
        words.append(f"in oneof {message.oneof_decl[field.oneof_index].name}")
    if field.options.HasField("packed"):
        words.append("packed" if field.options.packed else "not packed")
    if field.options.deprecated:
        words.append("deprecated")
    return " ".join(words)


def _enum(enum: descriptor_pb2.EnumDescriptorProto, name: str) -> Iterator[tuple[str, str]]:
    yield name, "enum with aliases" if enum.options.allow_alias else "enum"
    for value in enum.value:
        yield f"{name}.{value.name}", f"value {value.number}"


def _type(field: descriptor_pb2.FieldDescriptorProto) -> str:
    if field.type_name:
        return _short(field.type_name)
    return _Field.Type.Name(field.type).removeprefix("TYPE_").lower()


def _short(name: str) -> str:
    return name.removeprefix(f".{PACKAGE}.")


def _comments(files: descriptor_pb2.FileDescriptorSet) -> Iterator[tuple[str, str]]:
    for file in files.file:
        said = {tuple(location.path): location for location in file.source_code_info.location}
        for name, _, path in walk(file):
            location = said.get(path)
            # A comment that is only wrapped anew says nothing new.
            words = location.leading_comments.split() if location else []
            words += location.trailing_comments.split() if location else []
            text = " ".join(words)
            yield name, hashlib.sha256(text.encode()).hexdigest()[:16] if text else "-"


def _without_gogo(source: str) -> str:
    """Older files set options of a Go generator, which mean nothing on the wire."""
    source = re.sub(r'^import "[^"]*gogo[^"]*";', "", source, flags=re.MULTILINE)
    source = re.sub(r"^\s*option\s*\(gogoproto\.[^;]*;", "", source, flags=re.MULTILINE)
    return re.sub(r"\s*\[\s*\(gogoproto\.[^]]*\]", "", source)
