# SPDX-License-Identifier: Apache-2.0
"""A bare grpcio server that answers one call with one message: bare_server.py SOCKET RPC < MESSAGE.

What the reference runtime is measured against. It serves until its standard input ends, of
which the first line is the message in hexadecimal digits.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor

# As the reference runtime has it. Read when grpc is imported.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

import grpc
from google.protobuf.message import Message

from cri_conformance.api.descriptors import PACKAGE
from cri_conformance.api.rpcs import RPCS


def main() -> None:
    socket, name = sys.argv[1:]
    rpc = RPCS[name]
    message = rpc.response.FromString(bytes.fromhex(sys.stdin.readline()))

    def answer(_request: Message, _context: grpc.ServicerContext) -> Message:
        return message

    handler = grpc.unary_unary_rpc_method_handler(
        answer, rpc.request.FromString, rpc.response.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(f"{PACKAGE}.{rpc.service}", {name: handler}),)
    )
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    print("ready", flush=True)
    sys.stdin.read()
    server.stop(0)


if __name__ == "__main__":
    main()
