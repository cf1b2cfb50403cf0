# SPDX-License-Identifier: Apache-2.0
"""The pytest plugin: options, and nothing else until an endpoint is named.

Every pytest run of everyone who has this package installed imports this module. So
it imports nothing but pytest; the rest is loaded when ``--cri-endpoint`` is given.
"""

from __future__ import annotations

import pytest

#: (option, what it is called in help, help). Each may also stand in pytest.ini, as ``cri_level``.
_OPTIONS = (
    (
        "--cri-endpoint",
        "ENDPOINT",
        "judge the runtime at unix:///path.sock, /path.sock or tcp://host:port; 'reference' is "
        "the embedded runtime, 'auto' asks crictl's environment and crictl.yaml",
    ),
    ("--cri-image-endpoint", "ENDPOINT", "where the image service listens, if elsewhere"),
    ("--cri-runtime-handler", "NAME", "the runtime handler to judge (default: the runtime's own)"),
    ("--cri-timeout", "SECONDS", "deadline of a call that has none of its own (default: 10)"),
    (
        "--cri-run-timeout",
        "SECONDS",
        "the whole run ends after so long, with a report of what it has found until then "
        "(default: 3600; with --cri-depth nightly 86400)",
    ),
    ("--cri-level", "LEVELS", "judge only these levels, as in MUST,KUBELET (default: all)"),
    ("--cri-depth", "DEPTH", "gate (minutes, fixed examples; default) or nightly (hours)"),
    (
        "--cri-clause",
        "PATTERNS|@FILE",
        "judge only clauses whose id matches, as in 'StopPodSandbox.*,*.idempotent'; @FILE has one "
        "pattern a line",
    ),
    ("--cri-seed", "N", "seed of all generated examples (default: 0)"),
    ("--cri-version", "MINOR", "judge by the text of this minor, as in 1.31 (default: detected)"),
    ("--cri-test-image", "REF", "an image with /bin/sh that the runtime already has"),
    (
        "--cri-image-loader",
        "COMMAND",
        "how an image archive gets into the runtime, as in 'ctr -n k8s.io images import {}'",
    ),
    (
        "--cri-restart-command",
        "COMMAND",
        "how the runtime is restarted, as in 'systemctl restart containerd': disturbs the node",
    ),
    (
        "--cri-registry",
        "HOST[:PORT]",
        "where the suite's own registry of images listens (default: 127.0.0.1, any port)",
    ),
    (
        "--cri-registry-tls",
        "DIR",
        "serve it by TLS; the authority that the runtime must trust is DIR/ca.pem, made if missing",
    ),
    ("--cri-host-root", "PATH", "where the runtime's file system is seen from here"),
    ("--cri-runtime-log", "PATH", "the runtime's log; excerpts go into the report"),
    (
        "--cri-expectations",
        "NAME|FILE",
        "violations that are known: a file, or one that ships with the suite, as in 'containerd'",
    ),
    ("--cri-profiles", "NAMES", "what the runtime supports, as in image,stats (default: it shows)"),
    (
        "--cri-clauses-as-of",
        "VERSION",
        "judge by the clauses that this version of the suite had",
    ),
    ("--cri-baseline", "FILE", "an earlier results.json: the report says what is new against it"),
    ("--cri-report", "DIR", "where the report goes (default: reports/latest)"),
    (
        "--cri-fuzz",
        "TIME|STEPS",
        "instead of the suite a campaign of generated sequences, for so long (90s, 10m, 8h) or for "
        "so many steps (5000)",
    ),
    ("--cri-fuzz-modes", "MODES", "only these modes of a campaign, as in lives,messages"),
    (
        "--cri-fuzz-dir",
        "DIR",
        "where campaigns keep examples and findings (default: .cri-fuzz); may be shared",
    ),
)
_FLAGS = (
    ("--cri-strict", "a SHOULD that is not kept fails instead of warning"),
    (
        "--cri-shared-node",
        "other pods run there: refuse tests that could disturb them (see docs/safety.md)",
    ),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cri", "container runtime conformance")
    for option, metavar, text in _OPTIONS:
        group.addoption(option, metavar=metavar, default=None, help=text)
        parser.addini(_ini(option), text, default=None)
    for option, text in _FLAGS:
        group.addoption(option, action="store_true", default=None, help=text)
        parser.addini(_ini(option), text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "disturbs(*what): tests that could disturb other pods on the node, and by what"
    )
    config.addinivalue_line("markers", "clause(*ids): the clauses of the contract a test judges")
    if config.getoption("--cri-endpoint") == "":
        # An unset variable of a CI system must not switch the gate off.
        raise pytest.UsageError("--cri-endpoint is empty: name an endpoint, or leave it out")
    if setting(config, "--cri-endpoint"):
        from cri_conformance import fixtures, session

        config.pluginmanager.register(fixtures, "cri-conformance-fixtures")
        config.pluginmanager.register(session.make(config), "cri-conformance-session")
    elif config.getoption("--cri-fuzz") is not None:
        # Whoever asks for a campaign does not want other tests in its place.
        raise pytest.UsageError("--cri-fuzz needs --cri-endpoint: name the runtime to try")


def setting(config: pytest.Config, option: str) -> str | bool | None:
    """The value of an option: from the command line, else from pytest.ini; "" counts as none."""
    given = config.getoption(option)
    value = given if given is not None else config.getini(_ini(option))
    return value or None


def _ini(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


# Fixtures of a run without an endpoint: a vendor's tests say what they lack. With an
# endpoint ``fixtures`` is registered later, so that its fixtures of the same names win.


def _needs_endpoint() -> None:
    pytest.skip("needs --cri-endpoint")


@pytest.fixture
def cri_runtime() -> None:
    """A connected client; all that is made through it is removed after the test."""
    _needs_endpoint()


@pytest.fixture
def cri_sandbox() -> None:
    """A ready pod sandbox."""
    _needs_endpoint()


@pytest.fixture
def cri_container() -> None:
    """A running container."""
    _needs_endpoint()


@pytest.fixture
def judge() -> None:
    """Judges the clauses that a test is bound to."""
    _needs_endpoint()


@pytest.fixture
def explore() -> None:
    """Runs a property of a test over generated examples."""
    _needs_endpoint()
