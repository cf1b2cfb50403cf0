# SPDX-License-Identifier: Apache-2.0
"""What the address of a sandbox is good for: who asks there reaches the sandbox."""

from __future__ import annotations

import pytest

from cri_conformance.contract.verdict import Reason
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.marked import marked, process_of
from cri_conformance.suite.pod_servers import ask, free_ports, pod_servers
from cri_conformance.wire.host import Host
from cri_conformance.wire.runtime import Runtime, Sandbox

pytestmark = pytest.mark.usefixtures("isolation")

_REACHED = "PodSandboxNetworkStatus.ip.reached-from-node"


@clause(_REACHED)
def test_the_node_reaches_the_sandbox(
    runtime: Runtime, shared_sandbox: Sandbox, host: Host, judge: Judge
) -> None:
    ip = runtime.sandbox_status(shared_sandbox.id).network.ip
    if not ip:
        judge.skip(Reason.NO_OCCASION, "no address is reported")
    _, mark = marked(runtime, shared_sandbox)
    word, (port,) = f"in {shared_sandbox.id}", free_ports(1)
    with pod_servers(host, process_of(host, mark)) as servers:
        servers.serve("tcp", port, word, "::" if ":" in ip else "0.0.0.0")
        judge.equal(
            _REACHED,
            ask("tcp", ip, port),
            word,
            f"at port {port} of {ip} answers",
            about=[shared_sandbox.id],
        )
