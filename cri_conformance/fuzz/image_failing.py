# SPDX-License-Identifier: Apache-2.0
"""Pulls that must fail, as the registry misbehaves, has nothing, or asks for a password; and those
that a password lets succeed."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from cri_conformance.api import types
from cri_conformance.fuzz.image_asking import ImageAsker
from cri_conformance.registry import troubles
from cri_conformance.registry.server import Credentials, Seen
from cri_conformance.suite.image_stepper import DIGEST, PLACES, PULL, TAG, shown
from cri_conformance.suite.images import spec
from cri_conformance.suite.repeating import MINUTE, repeated, succeeded
from cri_conformance.suite.test_image_auth import USER
from cri_conformance.suite.test_image_trouble import LYING, REFUSING
from cri_conformance.wire.outcome import Ok, Outcome, Refused

#: Methods of ImageFailer that are steps of a story.
TOLD = ("pull_troubled", "pull_absent", "pull_malformed", "pull_for_handler", "pull_private")
_TROUBLES = {**REFUSING, **LYING}
#: What of a registry may be troubled, and what it may not have.
KINDS, ABSENT = ("manifests", "blobs"), ("tag", "digest", "repository")
#: In the place of our registry's address.
REGISTRY = "REGISTRY"
#: References that no image can have.
MALFORMED = ("", "UPPER/case", "a b", f"{REGISTRY}/x@sha256:1", "http://x/y", f"{REGISTRY}/x:a b")


def _plain(password: str, address: str) -> types.AuthConfig:
    return types.AuthConfig(username=USER, password=password)


def _packed(password: str, address: str) -> types.AuthConfig:
    return types.AuthConfig(auth=base64.b64encode(f"{USER}:{password}".encode()).decode())


def _named(password: str, address: str) -> types.AuthConfig:
    return types.AuthConfig(username=USER, password=password, server_address=f"http://{address}")


#: How a password is given → the clause by which it opens a repository, and how it is written.
_GIVEN: dict[str, tuple[str, Callable[[str, str], types.AuthConfig]]] = {
    "password": ("AuthConfig.username.with-password", _plain),
    "for-token": ("AuthConfig.username.bearer", _plain),
    "packed": ("AuthConfig.auth.used", _packed),
    "named": ("AuthConfig.server_address.named", _named),
}
#: What opens none.
_WRONG = ("none", "wrong", "none-for-token", "wrong-for-token")


@dataclass
class ImageFailer(ImageAsker):
    """Pulls from a registry that does not serve everybody."""

    #: Digests of what was fetched by pulls that failed, in this sequence or before: it may be left
    #: half or wrong, so that whatever needs it has to be pulled as a kubelet does, repeatedly.
    doubtful: set[str] = field(default_factory=set)
    #: Names whose pull failed though nothing is wrong with them.
    _failed: set[str] = field(default_factory=set, init=False)
    _passwords: dict[int, str] = field(default_factory=dict, init=False)
    #: Places that a password has opened.
    _opened: set[int] = field(default_factory=set, init=False)

    def _why_pulled(self, place: int, by: str) -> str:
        bad = self.name(place, by) in self._failed
        return f"{PULL}.good-after-bad" if bad else super()._why_pulled(place, by)

    def _ask(self, place: int, reference: str, *, for_pod: bool = False) -> Outcome:
        ask = partial(super()._ask, place, reference, for_pod=for_pod)
        self._failed.discard(reference)
        return self._patiently(place, ask)

    def _patiently(self, place: int, ask: Callable[[], Outcome]) -> Outcome:
        """A pull, repeated if it may meet what an earlier one has left."""
        contents = self.served[place].contents
        if not contents & self.doubtful:
            return ask()
        outcome = repeated(ask, succeeded, self.patience, self.meanwhile)
        if isinstance(outcome, Ok):
            self.doubtful -= contents
        return outcome

    def _or_plainly(self, place: int, outcome: Outcome, clause: str) -> tuple[Outcome, str]:
        """What breaks a clause on how an image is pulled, or what comes of a pull as any other,
        where that does not succeed either."""
        why = self._why_pulled(place, TAG)
        plain = self._ask(place, self.name(place))
        return (outcome, clause) if isinstance(plain, Ok) else (plain, why)

    def heal(self, places: Iterable[int]) -> None:
        """Pull what may meet what an earlier pull has left."""
        for place in places:
            if self.served[place].contents & self.doubtful:
                self.pull(place)

    def _seen(self, place: int) -> list[Seen]:
        return self.pulls.registry.seen(self.repositories[place])

    def _refused(self, clause: str, outcome: Outcome) -> None:
        """It must fail; no answer in time is not judged here."""
        if isinstance(outcome, Ok | Refused):
            failed = isinstance(outcome, Refused) and outcome.code != "UNIMPLEMENTED"
            self._that(clause, failed, "an error", outcome)

    # -- a registry that misbehaves --------------------------------------------------

    def pull_troubled(self, place: int, how: str, kind: str, by: str) -> None:
        """Judged if the trouble was met: what is there already need not be asked for."""
        if how in LYING:
            # Else a manifest that is another is just what the tag leads to now.
            by = DIGEST
        registry, before = self.pulls.registry, len(self._seen(place))
        registry.trouble(self.repositories[place], troubles.on(kind, _TROUBLES[how]))
        try:
            outcome = self.pulls.pull(self.name(place, by), MINUTE)
        finally:
            registry.trouble(self.repositories[place], None)
        if any(_is_met(one, how, kind) for one in self._seen(place)[before:]):
            self._refused(
                f"{PULL}.{'refused-error' if how in REFUSING else 'content-checked'}", outcome
            )
        self._after(place, by, outcome)
        if isinstance(outcome, Refused):
            self._failed.add(self.name(place, by))
            self.doubtful |= self.served[place].contents

    def _after(self, place: int, by: str, outcome: Outcome) -> None:
        """Look, after a pull that may well have failed."""
        if isinstance(outcome, Ok):
            self._may_have_come(place, by)
            self.look()
        else:
            self._not_pulled(place, by, outcome)

    def pull_absent(self, place: int, what: str) -> None:
        """What the registry does not have."""
        repository, tag, registry = self.repositories[place], self.pulls.tag, self.pulls.registry
        if what == "repository":
            repository = f"{repository}-none"
            self.repositories.append(repository)
        which = {"tag": f"{tag}-none", "digest": f"sha256:{secrets.token_hex(32)}"}.get(what, tag)
        reference = registry.reference(repository, which)
        self._refused(f"{PULL}.absent-error", self.pulls.pull(reference))
        self._that(
            f"{PULL}.nothing-half-made",
            shown(self._status(reference)) is None,
            f"no image at {reference}",
            "an image",
        )

    def pull_malformed(self, name: str) -> None:
        """By a reference that no image can have; REGISTRY stands for our registry."""
        name = name.replace(REGISTRY, self.pulls.registry.address)
        outcome = self.pulls.runtime.call("PullImage", image=spec(name), deadline=MINUTE)
        self._refused(f"{PULL}.malformed", outcome)

    def pull_for_handler(self, place: int) -> None:
        """For a runtime handler that there is not."""
        wanted = spec(self.name(place))
        wanted.runtime_handler = "no-such-handler"
        outcome = self.pulls.pull(wanted.image, image=wanted)
        self._refused("ImageSpec.runtime_handler.unknown-rejected", outcome)
        self._after(place, TAG, outcome)

    # -- a registry that asks for a password -----------------------------------------

    def pull_private(self, place: int, given: str) -> None:
        """From a repository that asks for a password."""
        registry, before = self.pulls.registry, len(self._seen(place))
        right = self._passwords.setdefault(place, secrets.token_hex(8))
        wrong = f"not-{secrets.token_hex(8)}"
        clause, written = _GIVEN.get(given, ("", _plain))
        sent = right if clause else wrong
        auth = written(sent, registry.address) if not given.startswith("none") else None
        token = given.endswith("for-token")
        registry.protect(self.repositories[place], Credentials(USER, right, bearer=token))
        ask = partial(self.pulls.pull, self.name(place), auth=auth)
        try:
            outcome = self._patiently(place, ask) if clause else ask()
        finally:
            registry.protect(self.repositories[place], None)
        if isinstance(outcome, Refused):
            packed = base64.b64encode(f"{USER}:{sent}".encode()).decode()
            self._that(
                "AuthConfig.password.not-in-errors",
                sent not in outcome.message and packed not in outcome.message,
                "an error text without the password",
                "an error text with the password in it",
            )
        if clause:
            if isinstance(outcome, Ok):
                self._opened.add(place)
            else:
                outcome, clause = self._or_plainly(place, outcome, clause)
            self._pulled(place, TAG, outcome, clause)
            return
        if len(self._seen(place)) > before:
            kept = given.startswith("none") and place in self._opened
            self._refused(f"AuthConfig.username.{'not-kept' if kept else 'wrong-refused'}", outcome)
        self._after(place, TAG, outcome)


def _is_met(one: Seen, how: str, kind: str) -> bool:
    """Whether a trouble was met in an exchange: a wrong body not by who asked for none."""
    return one.kind == kind and (how.isdigit() or one.method == "GET")


_PLACE = st.integers(0, PLACES - 1)


class FailRules:
    """The same as rules of a state machine."""

    steps: Any

    @rule(
        place=_PLACE,
        how=st.sampled_from(sorted(_TROUBLES)),
        kind=st.sampled_from(KINDS),
        by=st.sampled_from((TAG, DIGEST)),
        again=st.booleans(),
    )
    def pull_troubled(self, place: int, how: str, kind: str, by: str, again: bool) -> None:
        self.steps.pull_troubled(place, how, kind, by)
        if again:
            self.steps.pull(place, DIGEST if how in LYING else by)

    @rule(place=_PLACE, what=st.sampled_from(ABSENT))
    def pull_absent(self, place: int, what: str) -> None:
        self.steps.pull_absent(place, what)

    @rule(
        name=st.sampled_from(MALFORMED)
        | st.text("ABC", min_size=1, max_size=8).map(lambda text: f"{REGISTRY}/{text}")
    )
    def pull_malformed(self, name: str) -> None:
        self.steps.pull_malformed(name)

    @rule(place=_PLACE)
    def pull_for_handler(self, place: int) -> None:
        self.steps.pull_for_handler(place)

    @rule(place=_PLACE, given=st.sampled_from((*_GIVEN, *_WRONG)))
    def pull_private(self, place: int, given: str) -> None:
        self.steps.pull_private(place, given)
