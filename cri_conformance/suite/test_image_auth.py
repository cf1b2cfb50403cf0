# SPDX-License-Identifier: Apache-2.0
"""Credentials of a pull: what opens a repository, and that they go nowhere else."""

from __future__ import annotations

import base64
import secrets

import pytest

from cri_conformance.api import types
from cri_conformance.expect import Judge, clause
from cri_conformance.registry.server import Credentials
from cri_conformance.suite.pulls import Pulls, Served, fails
from cri_conformance.wire.outcome import Ok, Refused

USER = "somebody"


@pytest.fixture
def private(pulls: Pulls) -> tuple[Served, str]:
    """An image in a repository that asks for a password, and the password."""
    served, password = pulls.serve(), secrets.token_hex(8)
    pulls.registry.protect(served.repository, Credentials(USER, password))
    return served, password


@clause(
    "AuthConfig.username.with-password",
    "AuthConfig.username.bearer",
    "AuthConfig.auth.used",
    "AuthConfig.server_address.named",
)
def test_what_opens_a_repository(pulls: Pulls, judge: Judge, private: tuple[Served, str]) -> None:
    served, password = private
    both = types.AuthConfig(username=USER, password=password)
    judge.ok("AuthConfig.username.with-password", pulls.pull(served.reference, auth=both))
    pulls.remove(served.reference)
    packed = base64.b64encode(f"{USER}:{password}".encode()).decode()
    judge.ok(
        "AuthConfig.auth.used",
        pulls.pull(served.reference, auth=types.AuthConfig(auth=packed)),
    )
    pulls.remove(served.reference)
    both.server_address = f"http://{pulls.registry.address}"
    judge.ok("AuthConfig.server_address.named", pulls.pull(served.reference, auth=both))
    pulls.remove(served.reference)
    both.server_address = ""
    pulls.registry.protect(served.repository, Credentials(USER, password, bearer=True))
    judge.ok("AuthConfig.username.bearer", pulls.pull(served.reference, auth=both))


@clause(
    "AuthConfig.username.wrong-refused",
    "AuthConfig.password.not-in-errors",
    "AuthConfig.username.not-kept",
)
@pytest.mark.parametrize("bearer", [False, True], ids=["basic", "bearer"])
def test_what_does_not(
    pulls: Pulls, judge: Judge, private: tuple[Served, str], bearer: bool
) -> None:
    served, password = private
    pulls.registry.protect(served.repository, Credentials(USER, password, bearer=bearer))
    wrong = f"not-{secrets.token_hex(8)}"
    for auth in (types.AuthConfig(), types.AuthConfig(username=USER, password=wrong)):
        outcome = pulls.pull(served.reference, auth=auth)
        fails(judge, "AuthConfig.username.wrong-refused", outcome)
        said = outcome.message if isinstance(outcome, Refused) else ""
        packed = base64.b64encode(f"{USER}:{wrong}".encode()).decode()
        judge.that(
            "AuthConfig.password.not-in-errors",
            wrong not in said and packed not in said,
            permitted="an error text without the password",
            actual="an error text with the password in it",
        )
    pulls.pull(served.reference, auth=types.AuthConfig(username=USER, password=password))
    pulls.remove(served.reference)
    fails(judge, "AuthConfig.username.not-kept", pulls.pull(served.reference))


@clause(
    "AuthConfig.server_address.elsewhere",
    "AuthConfig.identity_token.exchanged",
    "AuthConfig.registry_token.sent",
)
def test_what_is_left_open(pulls: Pulls, judge: Judge, private: tuple[Served, str]) -> None:
    served, password = private
    for name, auth in (
        (
            "AuthConfig.server_address.elsewhere",
            types.AuthConfig(username=USER, password=password, server_address="other.example"),
        ),
        (
            "AuthConfig.identity_token.exchanged",
            types.AuthConfig(identity_token=secrets.token_hex(8)),
        ),
        ("AuthConfig.registry_token.sent", types.AuthConfig(registry_token=secrets.token_hex(8))),
    ):
        before = len(pulls.registry.seen(served.repository))
        outcome = pulls.pull(served.reference, auth=auth)
        seen = pulls.registry.seen(served.repository)[before:]
        word = "succeeds" if isinstance(outcome, Ok) else "fails"
        judge.record(
            name,
            f"the pull {word}; {sum(one.authorised for one in seen)} of {len(seen)} requests "
            "had the right credentials",
        )
        pulls.remove(served.reference)
