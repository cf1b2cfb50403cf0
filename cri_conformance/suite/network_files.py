# SPDX-License-Identifier: Apache-2.0
"""Files by which a container tells of its network, read without any tool in its image."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resolver:
    """What a resolv.conf says."""

    servers: tuple[str, ...]
    searches: tuple[str, ...]
    options: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Resolver:
        """As the C library reads it: the last search list counts."""
        lines = [line.split() for line in text.splitlines() if line[:1] not in "#;"]
        servers = tuple(words[1] for words in lines if words[:1] == ["nameserver"])
        searches = [tuple(words[1:]) for words in lines if words[:1] in (["search"], ["domain"])]
        options = tuple(word for words in lines if words[:1] == ["options"] for word in words[1:])
        return cls(servers, searches[-1] if searches else (), options)


def ipv4_addresses(fib_trie: str) -> set[str]:
    """The addresses in /proc/net/fib_trie: leaves that are of the host itself."""
    found, leaf = set(), ""
    for line in fib_trie.splitlines():
        words = line.split()
        if words[:1] == ["|--"]:
            leaf = words[1]
        elif words[:2] == ["/32", "host"] and "LOCAL" in words:
            found.add(leaf)
    return found


def ipv6_addresses(if_inet6: str) -> set[str]:
    """The addresses in /proc/net/if_inet6."""
    found = (line.split()[0] for line in if_inet6.splitlines() if line.strip())
    return {str(ipaddress.IPv6Address(int(digits, 16))) for digits in found}
