# SPDX-License-Identifier: Apache-2.0
"""What is generated from proto/: the descriptor set, the type stubs and the ages of clauses.

Needs the ``dev`` extra (grpcio-tools, mypy-protobuf); nothing at run time does.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from google.protobuf import descriptor_pb2
from google.protobuf.compiler import plugin_pb2

from cri_conformance.contract import ages, register

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = PACKAGE_ROOT.parent / "proto"
DESCRIPTOR_SET = PACKAGE_ROOT / "api" / "cri.binpb"
STUBS = PACKAGE_ROOT / "api" / "types.pyi"

_STUB_HEADER = (
    "# SPDX-License-Identifier: Apache-2.0\n"
    "# Generated from proto/ by `cri-conformance contract build`.\n"
)


class BuildError(Exception):
    """The contract does not compile, or a tool for it is missing."""


def generate(proto_root: Path = PROTO_ROOT, reworded: str = "") -> dict[Path, bytes]:
    """Every generated file and what it must hold.

    Clauses that match ``reworded`` say what they said before, in other words. Raises BuildError.
    """
    compiled = compile_set(proto_root, "services.proto")
    made = register.read(compiled)
    try:
        before = ages.read(ages.LOCK.read_text(encoding="utf-8")) if ages.LOCK.is_file() else {}
    except ages.AgesError as error:
        raise BuildError(str(error)) from None
    same = frozenset(clause.id for clause in made.matching(reworded)) if reworded else frozenset()
    lock = ages.written(made.clauses.values(), before, reworded=same)
    return {
        DESCRIPTOR_SET: compiled.SerializeToString(deterministic=True),
        STUBS: _stubs(compiled).encode(),
        ages.LOCK: lock.encode(),
    }


def compile_set(root: Path, *files: str) -> descriptor_pb2.FileDescriptorSet:
    """Compile .proto files below ``root`` into a set with source info. Raises BuildError."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "set.binpb")
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{root}", "--include_imports"]
        command += ["--include_source_info", f"--descriptor_set_out={out}", *files]
        done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False)
        if "No module named" in done.stderr:
            raise BuildError("no proto compiler: pip install 'cri-conformance[dev]'")
        if done.returncode:
            raise BuildError(done.stderr.strip())
        return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def merged(
    files: descriptor_pb2.FileDescriptorSet, name: str
) -> descriptor_pb2.FileDescriptorProto:
    """All files of a set as one, so that one stub module can describe them."""
    whole = descriptor_pb2.FileDescriptorProto(name=name, package=files.file[0].package)
    whole.syntax = "proto3"
    for file in files.file:
        whole.message_type.extend(file.message_type)
        whole.enum_type.extend(file.enum_type)
    return whole


def _stubs(files: descriptor_pb2.FileDescriptorSet) -> str:
    request = plugin_pb2.CodeGeneratorRequest(file_to_generate=["types.proto"])
    request.proto_file.append(merged(files, "types.proto"))
    done = subprocess.run(
        [sys.executable, "-m", "mypy_protobuf.main"],
        input=request.SerializeToString(),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"mypy-protobuf: {done.stderr.decode(errors='replace').strip()}")
    response = plugin_pb2.CodeGeneratorResponse.FromString(done.stdout)
    if response.error or len(response.file) != 1:
        raise BuildError(f"mypy-protobuf: {response.error or 'made no stubs'}")
    return _STUB_HEADER + response.file[0].content
