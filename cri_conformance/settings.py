# SPDX-License-Identifier: Apache-2.0
"""What the user asked for, checked. Every mistake is one line that says what to do."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest

from cri_conformance import __version__
from cri_conformance.contract import expectations, patterns, profiles
from cri_conformance.contract.clause import FIRST_MINOR, Level, Minor
from cri_conformance.contract.register import register
from cri_conformance.contract.versions import Version
from cri_conformance.plugin import setting
from cri_conformance.report.text import count
from cri_conformance.wire import endpoint

DEPTHS = ("gate", "nightly")
DEFAULT_TIMEOUT = 10.0
#: Seconds of a whole run, by its depth: a last resort, many times what a run takes.
DEFAULT_RUN_TIMEOUT = {"gate": 3600.0, "nightly": 86_400.0}
DEFAULT_REPORT = "reports/latest"
DEFAULT_FUZZ_DIR = ".cri-fuzz"
#: The file in which a campaign writes a finding as a test.
FINDING_TEST = "test_finding.py"
LOOPBACK = "127.0.0.1"
#: The longest time that an option takes: a year. Clocks of the system end somewhere above.
MOST_SECONDS = 366 * 86_400.0
_HOST = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9.-]*")


@dataclass(frozen=True)
class Budget:
    """How long a campaign lasts: ``seconds``, or ``steps`` by each process; 0 for the other."""

    seconds: float = 0.0
    steps: int = 0

    def __str__(self) -> str:
        return f"{self.seconds:g} s" if self.seconds else count(self.steps, "step")

    @property
    def option(self) -> str:
        """As --cri-fuzz has it."""
        return f"{self.seconds:g}s" if self.seconds else str(self.steps)


@dataclass(frozen=True)
class Settings:
    """The options of a run. Endpoints are as given; "" where an option was not."""

    endpoint: str
    image_endpoint: str = ""
    handler: str = ""
    timeout: float = DEFAULT_TIMEOUT
    run_timeout: float = DEFAULT_RUN_TIMEOUT["gate"]
    levels: frozenset[Level] = frozenset()
    strict: bool = False
    #: Tests that could disturb other pods are refused.
    shared_node: bool = False
    depth: str = DEPTHS[0]
    #: Patterns of the clauses to judge, with commas between; "" for all.
    clause: str = ""
    seed: int = 0
    version: Minor | None = None
    test_image: str = ""
    image_loader: str = ""
    host_root: Path | None = None
    runtime_log: Path | None = None
    #: A path, or the name of a file that ships with the suite; "" for none.
    expectations: str = ""
    report: Path = Path(DEFAULT_REPORT)
    restart_command: str = ""
    #: (host, port) on which the suite's own registry listens; port 0 is any.
    registry: tuple[str, int] = (LOOPBACK, 0)
    #: The folder of the authority by whose certificate it serves; None for plain HTTP.
    registry_tls: Path | None = None
    #: A campaign instead of the suite; None for none.
    fuzz: Budget | None = None
    #: The modes of a campaign by name; () for all.
    fuzz_modes: tuple[str, ...] = ()
    fuzz_dir: Path = Path(DEFAULT_FUZZ_DIR)
    #: What the runtime claims to support, with the core; empty for all that it shows.
    profiles: frozenset[str] = frozenset()
    #: The version of the suite by whose clauses is judged; "" for this one.
    as_of: str = ""
    baseline: Path | None = None

    @property
    def nightly(self) -> bool:
        return self.depth == "nightly"

    @property
    def replay_report(self) -> Path:
        """Where the report of a replay goes: beside the run's own, which is still being read."""
        beside, here = _replayed(self.report), Path.cwd()
        return beside.relative_to(here) if beside.is_relative_to(here) else beside

    def options(self) -> list[str]:
        """The options that another run needs to see the same verdicts.

        Each is one word: pytest takes a path that stands alone for a file of tests, before it
        knows our options, and looks for its root and its configuration there.
        """
        found = [f"--cri-endpoint={self.endpoint}"]
        for option, value in (
            ("--cri-image-endpoint", self.image_endpoint),
            ("--cri-runtime-handler", self.handler),
            ("--cri-test-image", self.test_image),
            ("--cri-image-loader", self.image_loader),
            ("--cri-restart-command", self.restart_command),
            ("--cri-registry", _shown(*self.registry)),
            ("--cri-registry-tls", self.registry_tls or ""),
        ):
            if value:
                found.append(f"{option}={value}")
        if self.version:
            found.append(f"--cri-version={self.version}")
        if self.timeout != DEFAULT_TIMEOUT:
            found.append(f"--cri-timeout={self.timeout:g}")
        if self.as_of:
            found.append(f"--cri-clauses-as-of={self.as_of}")
        if self.strict:
            found.append("--cri-strict")
        if self.shared_node:
            found.append("--cri-shared-node")
        if self.nightly:
            found.append(f"--cri-depth={self.depth}")
        if self.fuzz:
            found.append(f"--cri-fuzz={self.fuzz.option}")
            found += [f"--cri-fuzz-modes={','.join(self.fuzz_modes)}"] * bool(self.fuzz_modes)
        return [*found, f"--cri-seed={self.seed}"]


def read(config: pytest.Config) -> Settings:
    """The settings of this run. Raises pytest.UsageError."""

    def text(option: str) -> str:
        return str(setting(config, option) or "")

    def path(option: str) -> Path | None:
        return Path(text(option)).absolute() if text(option) else None

    depth = text("--cri-depth") or DEPTHS[0]
    if depth not in DEPTHS:
        raise pytest.UsageError(f"--cri-depth is {' or '.join(DEPTHS)}, not {depth!r}")
    for option in ("--cri-host-root", "--cri-runtime-log", "--cri-baseline"):
        if (given := path(option)) and not given.exists():
            raise pytest.UsageError(f"{option}: there is no {given}")
    name, image_name = text("--cri-endpoint"), text("--cri-image-endpoint")
    try:
        if name == endpoint.AUTO:
            name, found = endpoint.from_crictl()
            image_name = image_name or found
        for given_endpoint in (name, image_name):
            if given_endpoint and given_endpoint != endpoint.REFERENCE:
                endpoint.parse(given_endpoint)
    except endpoint.EndpointError as error:
        raise pytest.UsageError(str(error)) from None
    if config.getoption("--cri-fuzz") == "":
        # An unset variable of a CI system must not make a run of the suite of a campaign.
        raise pytest.UsageError("--cri-fuzz is empty: say for how long, or leave it out")
    fuzz = _budget(text("--cri-fuzz"))
    for option in ("--cri-fuzz-modes", "--cri-fuzz-dir"):
        if (given := config.getoption(option)) is not None and not (fuzz and given):
            empty = "is empty: name some, or leave it out"
            why = empty if fuzz else "is of a campaign: add --cri-fuzz"
            raise pytest.UsageError(f"{option} {why}")
    modes = text("--cri-fuzz-modes")
    seed = text("--cri-seed")
    return Settings(
        endpoint=name,
        image_endpoint=image_name,
        handler=text("--cri-runtime-handler"),
        timeout=_seconds("--cri-timeout", text("--cri-timeout"), DEFAULT_TIMEOUT),
        run_timeout=_seconds(
            "--cri-run-timeout",
            text("--cri-run-timeout"),
            # A campaign takes the time it was given, or as long as its steps take.
            max(DEFAULT_RUN_TIMEOUT["nightly" if fuzz else depth], 2 * fuzz.seconds if fuzz else 0),
        ),
        levels=_levels(text("--cri-level")),
        strict=bool(setting(config, "--cri-strict")),
        shared_node=bool(setting(config, "--cri-shared-node")),
        depth=depth,
        clause=_clauses(text("--cri-clause")),
        # The next campaign is to try something else than the last one.
        seed=secrets.randbelow(2**32) if fuzz and not seed else _seed(seed),
        version=_minor(text("--cri-version")),
        test_image=text("--cri-test-image"),
        image_loader=text("--cri-image-loader"),
        host_root=path("--cri-host-root"),
        runtime_log=path("--cri-runtime-log"),
        expectations=_expectations(text("--cri-expectations")),
        profiles=_profiles(text("--cri-profiles")),
        as_of=_as_of(text("--cri-clauses-as-of")),
        baseline=path("--cri-baseline"),
        report=_report(config, path("--cri-report") or Path(DEFAULT_REPORT).absolute()),
        restart_command=text("--cri-restart-command"),
        registry=_registry(text("--cri-registry")),
        fuzz=fuzz,
        fuzz_modes=tuple(one.strip() for one in modes.split(",")) if modes else (),
        fuzz_dir=path("--cri-fuzz-dir") or Path(DEFAULT_FUZZ_DIR).absolute(),
        registry_tls=path("--cri-registry-tls"),
    )


def _report(config: pytest.Config, report: Path) -> Path:
    """A campaign's finding that is played leaves the report alone in which it is told."""
    given = config.getoption("--cri-report")
    if given == "":
        raise pytest.UsageError("--cri-report is empty: name a folder, or leave it out")
    return report if given or not _plays_findings(config) else _replayed(report)


def _replayed(report: Path) -> Path:
    return report.with_name("replay")


def _plays_findings(config: pytest.Config) -> bool:
    """Whether the tests to run are findings, by their files or by folders that hold one."""
    here = config.invocation_params.dir
    paths = [here / arg.partition("::")[0] for arg in config.args]
    return bool(paths) and all(
        path.name == FINDING_TEST
        or (path / FINDING_TEST).exists()
        or any(path.glob(f"*/{FINDING_TEST}"))
        for path in paths
    )


_UNITS = {"s": 1, "m": 60, "h": 3600}


def _budget(text: str) -> Budget | None:
    if not text:
        return None
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "")
    try:
        budget = Budget(seconds=float(number) * _UNITS[unit]) if unit else Budget(steps=int(number))
    except ValueError:
        budget = Budget()
    if not (0 < budget.seconds <= MOST_SECONDS or budget.steps > 0):
        raise pytest.UsageError(
            "--cri-fuzz is a time such as 90s, 10m or 8h, a year at most, "
            f"or a number of steps, not {text!r}"
        )
    return budget


def _registry(text: str) -> tuple[str, int]:
    host, colon, port = (text or LOOPBACK).partition(":")
    if not _HOST.fullmatch(host) or (colon and not (port.isdecimal() and 0 < int(port) < 2**16)):
        raise pytest.UsageError(
            f"--cri-registry is an address of this host that the runtime reaches, "
            f"as in 10.0.0.5 or 10.0.0.5:5000, not {text!r}"
        )
    return host, int(port or 0)


def _shown(host: str, port: int) -> str:
    if (host, port) == (LOOPBACK, 0):
        return ""
    return f"{host}:{port}" if port else host


def _seconds(option: str, text: str, default: float) -> float:
    try:
        value = float(text) if text else default
    except ValueError:
        value = 0.0
    if not 0 < value <= MOST_SECONDS:
        raise pytest.UsageError(
            f"{option} is a number of seconds above 0, a year at most, not {text!r}"
        )
    return value


def _seed(text: str) -> int:
    if text and not text.isdecimal():
        raise pytest.UsageError(f"--cri-seed is a whole number from 0 up, not {text!r}")
    return int(text or 0)


def _levels(text: str) -> frozenset[Level]:
    words = text.split(",") if text else []
    try:
        return frozenset(Level(word.strip().upper()) for word in words)
    except ValueError:
        known = ", ".join(Level)
        raise pytest.UsageError(f"--cri-level takes any of {known}, not {text!r}") from None


def _clauses(text: str) -> str:
    try:
        return patterns.resolved(text)
    except patterns.PatternsError as error:
        raise pytest.UsageError(f"--cri-clause: {error}") from None


def _expectations(text: str) -> str:
    """The path made absolute, as workers may run elsewhere; a name as it stands."""
    if not expectations.is_path(text):
        return text
    path = Path(text).absolute()
    if not path.exists():
        raise pytest.UsageError(f"--cri-expectations: there is no {path}")
    return str(path)


def _profiles(text: str) -> frozenset[str]:
    try:
        return profiles.claimed(text)
    except profiles.ProfilesError as error:
        raise pytest.UsageError(f"--cri-profiles: {error}") from None


def _as_of(text: str) -> str:
    if not text:
        return ""
    try:
        version = Version.parse(text)
    except ValueError as error:
        raise pytest.UsageError(f"--cri-clauses-as-of: {error}") from None
    oldest = min(Version.parse(c.came) for c in register().clauses.values() if c.came)
    if not oldest <= version <= Version.parse(__version__):
        raise pytest.UsageError(
            f"--cri-clauses-as-of: the clauses are known from {oldest} to {__version__}, "
            f"not as of {text!r}"
        )
    return text


def _minor(text: str) -> Minor | None:
    if not text:
        return None
    try:
        minor = Minor.parse(text)
    except ValueError as error:
        raise pytest.UsageError(f"--cri-version: {error}") from None
    latest = register().latest
    if not FIRST_MINOR <= minor <= latest:
        raise pytest.UsageError(
            f"--cri-version: the contract is known from {FIRST_MINOR} to {latest}, not {text!r}"
        )
    return minor
