# SPDX-License-Identifier: Apache-2.0
"""The compiled contract: one descriptor set, loaded into a pool of its own.

A vendor's test process may well hold its own CRI stubs. Two files that define
``runtime.v1`` cannot share protobuf's default pool, so ours never enters it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from google.protobuf import descriptor_pb2, descriptor_pool

PACKAGE = "runtime.v1"
DESCRIPTOR_SET = "cri.binpb"


@cache
def descriptor_set() -> descriptor_pb2.FileDescriptorSet:
    """The checked-in descriptor set, with its source info (where the clauses stand)."""
    data = resources.files(__package__).joinpath(DESCRIPTOR_SET).read_bytes()
    return descriptor_pb2.FileDescriptorSet.FromString(data)


@cache
def pool() -> descriptor_pool.DescriptorPool:
    """A private pool with every file of the contract, dependencies first."""
    private = descriptor_pool.DescriptorPool()
    for file in descriptor_set().file:
        bare = descriptor_pb2.FileDescriptorProto()
        bare.CopyFrom(file)
        bare.ClearField("source_code_info")
        private.AddSerializedFile(bare.SerializeToString())
    return private
