# SPDX-License-Identifier: Apache-2.0
"""Reading what a container shows of its network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cri_conformance.expect import NotExercised
from cri_conformance.suite.host_cdi import cdi_device
from cri_conformance.suite.network_files import Resolver, ipv4_addresses, ipv6_addresses
from cri_conformance.wire.host import Host

_FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.1.0.0/24 2 0 2
        |-- 10.1.0.0
           /24 link UNICAST
        |-- 10.1.0.7
           /32 host LOCAL
        |-- 10.1.0.255
           /32 link BROADCAST
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
"""


def test_own_addresses_and_no_others() -> None:
    assert ipv4_addresses(_FIB_TRIE) == {"10.1.0.7", "127.0.0.1"}
    assert ipv4_addresses("") == set()
    line = "20010db8000000000000000000000053 02 40 00 80     eth0\n"
    assert ipv6_addresses(line) == {"2001:db8::53"}
    assert ipv6_addresses("\n") == set()


def test_resolv_conf_as_the_c_library_reads_it() -> None:
    text = (
        "# nameserver 192.0.2.9\n; nothing\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n"
        "search a.example\nsearch b.example c.example\noptions ndots:5\noptions edns0 rotate\n\n"
    )
    assert Resolver.parse(text) == Resolver(
        ("192.0.2.1", "2001:db8::1"), ("b.example", "c.example"), ("ndots:5", "edns0", "rotate")
    )
    assert Resolver.parse("") == Resolver((), (), ())


def test_a_cdi_device_of_the_host(tmp_path: Path) -> None:
    host = Host(tmp_path)
    folder = tmp_path / "own" / "cdi"
    folder.mkdir(parents=True)
    info = {"config": json.dumps({"cdiSpecDirs": ["/own/cdi"]})}
    with pytest.raises(NotExercised):
        cdi_device(host, info)
    (folder / "broken.json").write_text("{", encoding="utf-8")
    bare = {"kind": "a.example/b", "devices": [{"name": "bare"}]}
    (folder / "bare.json").write_text(json.dumps(bare), encoding="utf-8")
    with pytest.raises(NotExercised):
        cdi_device(host, info)
    edits = {"env": ["A=1"], "deviceNodes": [{"path": "/dev/x"}]}
    full = {
        "kind": "a.example/b",
        "containerEdits": {"mounts": [{"hostPath": "/h", "containerPath": "/c"}]},
        "devices": [{"name": "full", "containerEdits": edits}],
    }
    (folder / "full.json").write_text(json.dumps(full), encoding="utf-8")
    device = cdi_device(host, info)
    assert device.name == "a.example/b=full"
    assert device.paths == ("/dev/x", "/c")
    assert device.variables == ("A=1",)
