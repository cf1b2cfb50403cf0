# SPDX-License-Identifier: Apache-2.0
"""Imports go one way. The table is the architecture; this holds it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cri_conformance

ROOT = Path(cri_conformance.__file__).parent
OURS = "cri_conformance"

#: What each part may import of the others; a part that is not here may import anything.
MAY_IMPORT: dict[str, set[str]] = {
    "contract": {"api"},
    "api": set(),
    "model": {"api", "contract"},
    "build": {"api", "registry"},
    "registry": set(),
    "wire": {"api", "build"},
    "streaming": {"api"},
    "expect": {"api", "contract", "wire", "model", "build"},
    "arguments": {"report.text"},
    "listening": set(),
    "reference": {
        "api",
        "arguments",
        "faults",
        "listening",
        "streaming",
    },  # faults only when asked for, as a layer
    "malformed": {"api", "expect", "wire"},
    "fuzz": {
        "api",
        "build",
        "contract",
        "expect",
        "malformed",
        "model",
        "pulling",
        "registry",
        "report.files",
        "report.text",
        "settings",
        "suite",
        "target",
        "wire",
    },
    "benchmark": {
        "api",
        "arguments",
        "pulling",
        "registry",
        "report",
        "settings",
        "suite",
        "target",
        "wire",
    },
    "report": {
        "contract",
        "api.descriptors",
        "wire.brief",
        "wire.history",
        "wire.latency",
        "wire.lines",
    },
    "plugin": {"session", "fixtures"},
}
#: The oracle and the reference runtime meet only over the socket.
NEVER = {
    "suite": {"reference", "faults"},
    "fuzz": {"reference", "faults"},
    "malformed": {"reference", "faults"},
    "expect": {"reference", "faults"},
    "model": {"reference", "faults"},
    "faults": {"suite", "model"},
}
WITHOUT = {
    "contract": {"grpc", "hypothesis", "jinja2"},
    "model": {"grpc", "hypothesis", "jinja2"},
    "registry": {"grpc", "hypothesis", "jinja2", "google"},
    "report": {"grpc", "hypothesis"},
    "reference": {"hypothesis", "pytest", "jinja2"},
    "wire": {"hypothesis", "pytest", "jinja2"},
    "streaming": {"grpc", "hypothesis", "pytest", "jinja2"},
}


def _imports() -> Iterator[tuple[Path, str, str]]:
    """(file, part it belongs to, what it imports) for every import of the package."""
    for path in sorted(ROOT.rglob("*.py")):
        part = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from ((path, part, name.name) for name in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}: relative import"
                for name in node.names:
                    yield path, part, f"{node.module}.{name.name}"


def test_imports_go_one_way() -> None:
    wrong = []
    for path, part, name in _imports():
        top, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if top == OURS and other not in ("", part, "__version__"):
            allowed = other not in NEVER.get(part, set()) and any(
                f"{rest}.".startswith(f"{given}.") for given in MAY_IMPORT.get(part, {other})
            )
        else:
            allowed = top not in WITHOUT.get(part, set())
        if not allowed:
            wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not wrong


def test_a_pytest_run_without_an_endpoint_loads_next_to_nothing() -> None:
    """The plugin is imported in every pytest run of its users."""
    heavy = ("grpc", "google.protobuf", "hypothesis", "jinja2", "websockets")
    code = f"import sys, {OURS}.plugin; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_files_of_tests_may_share_a_name() -> None:
    """Outside a package pytest imports a file by its bare name, and stops at a second one."""
    folders = {path.parent for path in Path(__file__).parent.rglob("test_*.py")}
    assert [path for path in sorted(folders) if not (path / "__init__.py").exists()] == []
