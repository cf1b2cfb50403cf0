# SPDX-License-Identifier: Apache-2.0
"""Sends broken messages and judges what comes of them."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from cri_conformance.api.rpcs import RPCS
from cri_conformance.malformed import oracle
from cri_conformance.malformed.boundaries import boundaries
from cri_conformance.malformed.fields import Path as Where
from cri_conformance.malformed.fields import Tree, at
from cri_conformance.malformed.mutations import Mutation, apply, by_chance
from cri_conformance.malformed.oracle import Kind, Misbehaviour
from cri_conformance.malformed.safety import Refuse, incomplete
from cri_conformance.wire.client import PATIENCE, Client
from cri_conformance.wire.outcome import Ok, Outcome, Unknown
from cri_conformance.wire.raw import RawClient, peer

if TYPE_CHECKING:
    from cri_conformance.malformed.yard import Base, Yard

#: Seconds in which any call must have been answered, the second time it is made. No message of
#: ours asks for anything that takes longer.
ANSWER_WITHIN = 10.0
#: Seconds that a stream is listened to: many say nothing, rightly.
STREAM_WITHIN = 0.2
#: What a message came to that was not sent, as it might have touched what is not ours.
NOT_SENT = "NOT-SENT"
#: The clause of those who send incomplete requests.
SURVIVES = "RuntimeService.Status.survives-incomplete"
_SHOWN = 240
#: The cause of what may be of any of several messages.
THESE = "these calls"


#: A message as it was sent: what was broken, and how.
Sent: TypeAlias = "tuple[Base, Sequence[Mutation]]"


class Pulse:
    """Whether a runtime lives. Asks under the same metadata as all calls."""

    def __init__(self, client: Client, raw: RawClient, patience: Sequence[float] = PATIENCE):
        self._client, self._raw, self._patience = client, raw, patience
        self.begin()

    def begin(self) -> None:
        """From now on the process that listens is to go on: it may have been restarted before."""
        self._pid = peer(self._client.endpoint)

    def check(self, what: str, cause: str = "") -> None:
        """Raises Misbehaviour if it is gone, or another process than before.

        ``what`` came before; ``cause`` is the same for all that is alike.
        """
        cause = cause or what
        outcome: Outcome | None = None
        for seconds in self._patience:
            outcome = self._raw.call("Version", b"", deadline=seconds)
            if isinstance(outcome, Ok):
                break
            if not oracle.no_answer(outcome):
                self._client.wait_ready(seconds)
        else:
            told = f"after {what} Version is answered with {outcome}"
            if outcome and oracle.no_answer(outcome):
                # All of it, which is another matter than a call that alone has no answer.
                raise Misbehaviour(Kind.HANG, f"Version after {cause}", told)
            raise Misbehaviour(Kind.CRASH, cause, told)
        pid = peer(self._client.endpoint)
        if pid != self._pid and self._pid and pid:
            before, self._pid = self._pid, pid
            raise Misbehaviour(
                Kind.CRASH,
                cause,
                f"after {what} another process listens ({before} before, now {pid})",
            )


class Assay:
    """Messages of one yard. ``log`` is the runtime's, where it can be read.

    ``complete``: nothing is sent that lacks a part without which some runtimes die.
    """

    def __init__(
        self,
        yard: Yard,
        client: Client,
        *,
        within: float = ANSWER_WITHIN,
        patience: Sequence[float] = PATIENCE,
        log: Path | None = None,
        complete: bool = False,
    ) -> None:
        self.yard = yard
        self.raw = RawClient(client)
        self.pulse = Pulse(client, self.raw, patience)
        self.codes: Counter[tuple[str, str]] = Counter()
        self.complete = complete
        self._within = within
        self._log = log
        self._read = self._written()
        #: Whether a call had no answer since the last ``settle``: it may yet come about.
        self._doubtful = False

    def begin(self) -> None:
        """What was before, and what the log says of it, is not of these messages."""
        self.pulse.begin()
        self._read = self._written()

    def _written(self) -> int:
        return self._log.stat().st_size if self._log and self._log.exists() else 0

    def send(self, base: Base, mutations: Sequence[Mutation]) -> str:
        """One message: its code. Raises Misbehaviour."""
        data = apply(base.tree, mutations)
        try:
            self.yard.guard.check(base.rpc, data)
            if self.complete and incomplete(base.rpc, data):
                raise Refuse("some runtimes die of it")
        except Refuse:
            self.codes[base.rpc, NOT_SENT] += 1
            return NOT_SENT
        streaming = RPCS[base.rpc].server_streaming
        within = STREAM_WITHIN if streaming else self._within
        outcome = self.raw.call(base.rpc, data, deadline=within)
        code = oracle.code(outcome)
        self.codes[base.rpc, code] += 1
        oracle.look_at(base.rpc, outcome, self.yard.secrets)
        if isinstance(outcome, Ok):
            self.yard.made(base.rpc, outcome.response)
        elif oracle.broke_off(outcome):
            # UNAVAILABLE in the runtime's own words, of a registry, say, is an answer.
            self._doubtful |= isinstance(outcome, Unknown)
            self.pulse.check(f"{base.rpc} {words(mutations)}", cause(base, mutations))
        elif base.name == "full" and not self._doubtful and not oracle.no_answer(outcome):
            # It takes time as it is: looked at now, what is left needs no search for its cause.
            try:
                self.yard.left()
            except Misbehaviour as error:
                # Nothing of its kind is sent any more: that it is told by its field makes no more.
                error.cause += f" by {cause(base, mutations)}" * error.lasting
                raise
        elif oracle.no_answer(outcome) and streaming:
            # Rightly silent, or the end of all: asked at once, the call is known that was it.
            self.pulse.check(f"{base.rpc} {words(mutations)}", cause(base, mutations))
        elif oracle.no_answer(outcome):
            self._doubtful = True
            # A loaded machine is slow once.
            again = self.raw.call(base.rpc, data, deadline=within)
            self.pulse.check(f"{base.rpc} {words(mutations)}", cause(base, mutations))
            if oracle.no_answer(again):
                told = f"{base.rpc} has no answer after {within:g} s, twice"
                raise Misbehaviour(Kind.HANG, cause(base, mutations), told)
        return code

    def batch(self, base: Base, seed: int, count: int, *, ends: bool = False) -> None:
        """So many broken messages, the same for the same seed, and a look at everything.

        ``ends``: before them the ends of what each field holds. Raises Misbehaviour, with the
        smallest message that was found to lead to it.
        """
        choose = by_chance(seed ^ zlib.crc32(f"{base.rpc}.{base.name}".encode()))
        sent: list[Sequence[Mutation]] = []
        first = ((one,) for one in boundaries(base.tree)) if ends else ()
        for mutations in chain(first, (base.mutator.some(choose) for _ in range(count))):
            sent.append(mutations)
            try:
                self.send(base, mutations)
            except Misbehaviour as error:
                raise self.told(base, mutations, error) from None
        try:
            self.settle()
        except Misbehaviour as error:
            found = self.culprit([(base, one) for one in sent], error)
            raise self.told(base, found[1] if found else (), error) from None

    def settle(self) -> None:
        """Look at what was not named, at what is left, and at the log. Raises Misbehaviour."""
        self.pulse.check(THESE)
        doubtful, self._doubtful = self._doubtful, False
        self.yard.check(doubtful=doubtful)
        if self._log and self._log.exists():
            with self._log.open("rb") as file:
                file.seek(self._read if self._read <= self._written() else 0)
                new = file.read()
            self._read = self._written()
            oracle.look_at_log(new.decode(errors="replace"), self.yard.secrets)

    # -- what was it? ----------------------------------------------------------------

    def shows(self, base: Base, mutations: Sequence[Mutation], kind: Kind) -> bool:
        """Whether a message leads to misbehaviour of this kind, with what is seen afterwards."""
        try:
            self.send(base, mutations)
            self.settle()
        except Misbehaviour as error:
            return error.kind is kind
        return False

    def culprit(self, sent: Sequence[Sent], error: Misbehaviour) -> Sent | None:
        """The message of several after which something is wrong; None if none does it alone."""
        if error.lasting:
            return None
        for base, mutations in sent:
            with suppress(Misbehaviour):
                if self.shows(base, mutations, error.kind):
                    return base, mutations
        return None

    def told(self, base: Base, mutations: Sequence[Mutation], error: Misbehaviour) -> Misbehaviour:
        """An error with the message that led to it, made smaller if the runtime still lives."""
        if error.kind not in (Kind.CRASH, Kind.HANG) and mutations and not error.lasting:
            mutations = smaller(mutations, lambda less: self.shows(base, less, error.kind))
        data = apply(base.tree, mutations)
        shown = data[:_SHOWN].hex() + ("…" if len(data) > _SHOWN else "")
        return Misbehaviour(
            error.kind,
            error.cause,
            f"{error.actual}; sent {base.rpc} ({base.name}) with {words(mutations)}: "
            f"{len(data)} bytes {shown}",
            lasting=error.lasting,
        )


def smaller(
    mutations: Sequence[Mutation], shows: Callable[[Sequence[Mutation]], bool]
) -> Sequence[Mutation]:
    """Fewer mutations that still show it."""
    for index in reversed(range(len(mutations))):
        less = [*mutations[:index], *mutations[index + 1 :]]
        if less and shows(less):
            mutations = less
    return mutations


def cause(base: Base, mutations: Sequence[Mutation]) -> str:
    """A message, the same for all that is alike: its call and the fields that were broken."""
    fields = {".".join(_names(base.tree, one.where)) or "message" for one in mutations}
    return " ".join([base.rpc, *sorted(fields)])


def _names(tree: Tree, where: Where) -> Iterator[str]:
    for depth in range(len(where)):
        if field := at(tree, where[: depth + 1]):
            yield field.name or str(field.number)


def words(mutations: Sequence[Mutation]) -> str:
    """What was done to a message, for people."""
    return ", ".join(
        f"{one.what} {'.'.join(map(str, one.where)) or 'all'} {one.n}/{one.m}" for one in mutations
    )
