# SPDX-License-Identifier: Apache-2.0
"""``cri-conformance faults``: the list of seeded faults, and the matrix that judges the suite.

The matrix is an ordinary run of the packaged suite by pytest against the reference
runtime, with one server for all faults (see ``matrix_plugin``). Faults that show only
where containers are isolated run with ``--upstream``, in front of a real runtime. Exit
status: 0 if every fault is killed and none is missing, 1 if not, 2 for a user error, 3
if the run itself went wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cri_conformance.arguments import Parser, from_one
from cri_conformance.contract.register import register
from cri_conformance.faults.catalogue import CatalogueError, faults
from cri_conformance.faults.rows import Result, chosen, lines, rows, without_fault

SUITE = Path(__file__).parent.parent / "suite"
_PLUGIN = "cri_conformance.faults.matrix_plugin"
#: Neither the user's settings nor plugins that happen to be installed have a say.
_ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "", "PYTEST_PLUGINS": ""}
#: Seconds of deadline for a call: the reference answers in milliseconds.
_CALL_TIMEOUT = 5


def main(argv: list[str]) -> int:
    """The command. Prints the matrix, its last line 'N of N killed'."""
    arguments = _parser().parse_args(argv)
    try:
        catalogue = faults()
    except CatalogueError as error:
        return _refuse(str(error))
    if arguments.list:
        found = chosen(catalogue, arguments.fault, arguments.clause)
        for fault in found.values():
            where = ", isolated" if fault.isolated else ""
            what = ", ".join(fault.clauses) or f"no clause, a {fault.misbehaves}"
            print(f"{fault.id}: {what} ({fault.says}{where})")
        return 0 if found else _refuse(_NO_MATCH)
    isolated = bool(arguments.upstream)
    wanted = chosen(catalogue, arguments.fault, arguments.clause, isolated=isolated)
    if not wanted:
        elsewhere = chosen(catalogue, arguments.fault, arguments.clause, isolated=not isolated)
        return _refuse(_ELSEWHERE[isolated] if elsewhere else _NO_MATCH)
    try:
        with _endpoint(arguments) as options:
            return _matrix(arguments, list(wanted.values()), options)
    except _MatrixError as error:
        return _refuse(str(error))


_NO_MATCH = "no fault matches; see: cri-conformance faults --list"
_ELSEWHERE = {
    False: "what matches shows only where containers are isolated: give --upstream ENDPOINT",
    True: "what matches shows in the reference runtime: leave out --upstream",
}


class _MatrixError(Exception):
    """The matrix can't be run; one line that says what to do."""


@contextlib.contextmanager
def _endpoint(arguments: argparse.Namespace) -> Iterator[list[str]]:
    """Options of a run that judges what answers under faults. Raises _MatrixError."""
    if not arguments.upstream:
        yield ["--cri-endpoint=reference", f"--cri-timeout={_CALL_TIMEOUT}"]
        return
    # Before grpc is imported, as is said in reference/__main__.py.
    os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"
    from cri_conformance.build.load import default_loader
    from cri_conformance.faults import proxy
    from cri_conformance.wire import endpoint
    from cri_conformance.wire.client import Client
    from cri_conformance.wire.outcome import Ok, RuntimeGone

    with tempfile.TemporaryDirectory(prefix="cri-matrix-") as folder, contextlib.ExitStack() as end:
        try:
            at = endpoint.parse(arguments.upstream)
            listen = end.enter_context(proxy.running(at.text, None, f"unix://{folder}/proxy.sock"))
            client = Client(at)
            end.callback(client.close)
            version = client.call("Version", version="v1")
        except (endpoint.EndpointError, proxy.ProxyError, RuntimeGone) as error:
            raise _MatrixError(f"--upstream: {error}") from None
        options = [f"--cri-endpoint={listen}"]
        if isinstance(version, Ok) and not arguments.test_image:
            # Asked here: the proxy passes on the CRI and nothing else.
            loader = default_loader(version.response.runtime_name, at.socket)
            loader = arguments.image_loader or loader
            options += [f"--cri-image-loader={loader}"] * bool(loader)
        yield [*options, *[f"--cri-test-image={arguments.test_image}"] * bool(arguments.test_image)]


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="cri-conformance faults",
        description="The seeded faults, and whether the suite notices.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--list", action="store_true", help="one line for each fault")
    what.add_argument("--matrix", action="store_true", help="run the suite under every fault")
    parser.add_argument("--fault", default="", metavar="PATTERN", help="only faults with such ids")
    parser.add_argument("--clause", default="", metavar="PATTERN", help="only of these clauses")
    parser.add_argument(
        "--upstream",
        default="",
        metavar="ENDPOINT",
        help="a real runtime: run the faults that show only there, through a proxy",
    )
    parser.add_argument("--test-image", default="", metavar="REF", help="its --cri-test-image")
    parser.add_argument("--image-loader", default="", metavar="COMMAND", help="… and image loader")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    parser.add_argument(
        "--workers",
        type=from_one,
        default=os.cpu_count() or 2,
        metavar="N",
        help="default: one a core",
    )
    return parser


def _matrix(arguments: argparse.Namespace, wanted: list[Any], judged: list[str]) -> int:
    # Imported here: --list needs no pytest, and the plugin must be new to pytest's rewriting.
    import pytest

    began = time.monotonic()
    watcher = _Watcher()
    said = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="cri-matrix-") as folder:
        options = [
            *("-c", os.devnull, f"--rootdir={SUITE.parent}", "--import-mode=importlib"),
            *("-p", "cri_conformance.plugin", "-p", _PLUGIN, "-p", "timeout", "-p", "xdist"),
            *("-p", "no:cacheprovider", "-p", "no:terminal", "-n", str(arguments.workers)),
            *("--cri-matrix", f"--cri-report={folder}", f"--junitxml={folder}/junit.xml", *judged),
            *["--cri-matrix-isolated"] * bool(arguments.upstream),
            f"--cri-matrix-fault={arguments.fault}",
            f"--cri-matrix-clause={arguments.clause}",
        ]
        files = [*sorted(SUITE.glob("test_*.py")), Path(__file__).with_name("sentinel_test.py")]
        with contextlib.redirect_stdout(said), _environment(_ALONE):
            status = pytest.main([*options, *map(str, files)], plugins=[watcher])
    seen = watcher.matrix
    problems = list(seen.problems) if seen else ["the run did not start"]
    if status == pytest.ExitCode.INTERRUPTED:
        problems.append("interrupted")
    elif status in (pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR) and not problems:
        problems.append(f"pytest ended with {int(status)}")
    if problems:
        print(said.getvalue(), file=sys.stderr, end="")
        for problem in problems:
            print(f"cri-conformance: {problem}", file=sys.stderr)
        return 2 if status == pytest.ExitCode.INTERRUPTED else 3
    table = rows(wanted, seen.evidence, register(), arguments.clause)
    narrowed = bool(arguments.fault or arguments.clause)
    missing = [] if narrowed else without_fault(seen.bound, faults().values(), register())
    if arguments.json:
        document = {
            "schema_version": 1,
            "seconds": round(time.monotonic() - began, 1),
            "rows": table,
            "no_fault": missing,
        }
        arguments.json.write_text(json.dumps(document, indent=1), encoding="utf-8")
    for line in lines(table, missing):
        print(line)
    passes = (Result.KILLED, Result.NOT_HERE) if arguments.upstream else (Result.KILLED,)
    return 0 if not missing and all(row["result"] in passes for row in table) else 1


@contextlib.contextmanager
def _environment(settings: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


class _Watcher:
    """Keeps the matrix plugin, which pytest lets go of when it ends, and shows how far it is."""

    matrix: Any = None

    def pytest_sessionstart(self, session: Any) -> None:
        from cri_conformance.faults.matrix_plugin import NAME

        self.matrix = session.config.pluginmanager.get_plugin(NAME)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if hasattr(report, "cri_findings") and sys.stderr.isatty():
            done = sum(seen.walked for seen in self.matrix.evidence.values())
            total = len(self.matrix.faults)
            end = "\n" if done == total else ""
            print(f"\r{done} of {total} faults", file=sys.stderr, end=end, flush=True)


def _refuse(why: str) -> int:
    print(f"cri-conformance: {why}", file=sys.stderr)
    return 2
