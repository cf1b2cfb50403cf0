# SPDX-License-Identifier: Apache-2.0
"""benchmark.json, as types; docs/benchmarks.md is for its readers. Times are in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypedDict, cast

from cri_conformance.report.files import write_text
from cri_conformance.report.schema import Environment

SCHEMA_VERSION = 1
KIND = "cri-conformance benchmark"


class BenchmarkError(Exception):
    """Something can't be read or done; one line that says why."""


class About(TypedDict):
    """What was measured, and how."""

    version: str  # of the suite
    command: str
    started: str  # RFC 3339, UTC
    seconds: float
    endpoint: str
    runtime_name: str
    runtime_version: str
    handler: str
    load_before: float  # of the machine, over a minute
    load_after: float
    iterations: int  # a round
    warmup: int  # iterations before each round that don't count
    rounds: int
    workers: int  # of the parallel part
    confidence: float  # of every interval here


class Latency(TypedDict):
    """How long one step took, or a whole lifecycle (``step`` is then "")."""

    scenario: str
    step: str
    workers: int
    count: int
    median: float
    median_low: float
    median_high: float
    p90: float
    p99: float
    p99_low: float
    p99_high: float
    longest: float
    samples: list[float]


class Throughput(TypedDict):
    """Lifecycles a second: the median of the rounds."""

    scenario: str
    workers: int
    per_second: float
    low: float
    high: float
    samples: list[float]  # one a round
    failed: int  # iterations that did not come to their end
    message: str  # what the first of them met


class Document(TypedDict):
    """All of benchmark.json."""

    kind: str
    schema_version: int
    about: About
    environment: Environment
    latencies: list[Latency]
    throughputs: list[Throughput]


def write(document: Document, path: Path) -> None:
    """Write the document, whole or not at all. Raises OSError."""
    write_text(path, json.dumps(document, indent=1) + "\n")


def read(path: Path) -> Document:
    """A document. Raises BenchmarkError."""
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        told = f"can't read {path}: there is no such file; give the benchmark.json of a run"
        raise BenchmarkError(told) from None
    except OSError as error:
        raise BenchmarkError(f"can't read {path}: {error.strerror}") from None
    except ValueError:
        raise BenchmarkError(f"{path} is not JSON") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise BenchmarkError(f"{path} is no result of cri-conformance benchmark")
    if found.get("schema_version") != SCHEMA_VERSION:
        raise BenchmarkError(
            f"{path} has schema {found.get('schema_version')}, not {SCHEMA_VERSION}"
        )
    return cast("Document", found)
