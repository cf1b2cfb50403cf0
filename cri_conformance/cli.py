# SPDX-License-Identifier: Apache-2.0
"""The command ``cri-conformance``: arguments in, the work elsewhere, lines out.

A mistake of the user's is one line on stderr and exit status 2.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cri_conformance import __version__
from cri_conformance import commands as do
from cri_conformance.arguments import Parser
from cri_conformance.commands import UserError
from cri_conformance.report.text import REPLAY_OPTIONS

PROGRAM = "cri-conformance"
#: Commands whose words are read by the module that does the work.
_HANDED_ON = {
    "serve": "run the reference runtime in the foreground",
    "faults": "the seeded faults and their matrix (--list, --matrix, …)",
    "benchmark": "how fast a runtime is, and whether it became slower (compare)",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _handed_on(words) if words[:1] and words[0] in _HANDED_ON else _run(words)
        sys.stdout.flush()
    except SystemExit as ended:
        # argparse has said what was wrong, or helped.
        return ended.code if isinstance(ended.code, int) else 2
    except UserError as error:
        from cri_conformance.report.text import one_line

        # A runtime's own words may be in it.
        print(f"{PROGRAM}: {one_line(str(error), 4_000)}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # The reader (head, less) has seen enough. Python flushes stdout once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return do.INTERRUPTED
    return status


def _run(words: list[str]) -> int:
    arguments = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = arguments.command
    return command(arguments)


def _handed_on(words: list[str]) -> int:
    name, *rest = words
    if name == "serve":
        from cri_conformance.reference.__main__ import main as serve

        return int(serve(rest) or 0)
    if name == "benchmark":
        from cri_conformance.benchmark.main import main as benchmark

        return benchmark(rest)
    from cri_conformance.faults.matrix import main as faults

    return int(faults(rest) or 0)


def _parser() -> Parser:
    parser = Parser(
        prog=PROGRAM,
        description="Beside `pytest --cri-endpoint ENDPOINT`, which judges a runtime.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)

    def command(
        name: str, does: Callable[[argparse.Namespace], int], text: str, parent: Any = commands
    ) -> Parser:
        made: Parser = parent.add_parser(name, help=text, description=text)
        made.set_defaults(command=does)
        return made

    clauses = command("clauses", do.clauses, "list the clauses of the contract")
    clauses.add_argument(
        "pattern",
        nargs="?",
        metavar="PATTERNS|@FILE",
        help="as in 'StopPodSandbox.*', or a file with one a line",
    )
    clauses.add_argument("--element", metavar="E", help="only those of this element")
    clauses.add_argument("--level", metavar="L", help="only this level, as in MUST")
    clauses.add_argument("--kind", metavar="K", help="only this kind, as in idempotency")
    clauses.add_argument("--needs", metavar="N", help="only what needs this, as in host")
    tested = clauses.add_mutually_exclusive_group()
    tested.add_argument("--tested", action="store_true", default=None, help="only tested ones")
    tested.add_argument("--untested", action="store_false", dest="tested", help="only untested")

    text = "what is generated from proto/, and what upstream's file has that ours has not"
    contract = commands.add_parser("contract", help=text, description=text)
    parts = contract.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    build = command("build", do.contract_build, "generate descriptor set, type stubs, ages", parts)
    build.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    build.add_argument(
        "--reworded",
        metavar="PATTERN",
        default="",
        help="these clauses oblige to what they did before: they keep their age",
    )
    diff = command(
        "diff", do.contract_diff, "compare an api.proto with ours; 1 if they differ", parts
    )
    diff.add_argument("path", type=Path, metavar="PATH", help="Kubernetes' api.proto")
    diff.add_argument(
        "--lock", metavar="VERSION", help="take PATH's comments as read, at this version of it"
    )

    text = "files of known violations (--cri-expectations)"
    expectations = commands.add_parser("expectations", help=text, description=text)
    parts = expectations.add_subparsers(required=True, metavar="COMMAND", parser_class=Parser)
    command("list", do.expectations_list, "those that ship with the suite, by name", parts)
    update = command(
        "update", do.expectations_update, "bring a file up to date from a run's results", parts
    )
    update.add_argument("results", type=Path, metavar="RESULTS.json")
    update.add_argument("--file", type=Path, required=True, metavar="F", help="made if not there")
    update.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")

    compare = command(
        "compare",
        do.compare,
        "runtimes or versions beside each other; 1 if one is worse than the first",
    )
    compare.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    for form, what in (("html", "a page"), ("markdown", "tables"), ("json", "data")):
        compare.add_argument(f"--{form}", type=Path, metavar="FILE", help=f"write {what}")

    fault = command("fault", do.fault, "a proxy in front of a runtime that breaks one promise")
    for option in ("--upstream", "--fault", "--listen"):
        fault.add_argument(option, required=True, metavar="ID" if option == "--fault" else "URL")

    report = command("report", do.report, "make the report of a run that was killed, or goes on")
    report.add_argument("folder", type=Path, metavar="DIR", help="what --cri-report named")

    sweep = command("sweep", do.sweep, "remove what killed runs left behind, and nothing else")
    sweep.add_argument("--cri-endpoint", required=True, metavar="ENDPOINT")
    sweep.add_argument("--cri-image-endpoint", metavar="ENDPOINT", default="")
    sweep.add_argument("--dry-run", action="store_true", help="name it, remove nothing")

    replay = command(
        "replay", do.replay, "play a campaign's finding again; 1 if it still happens, 0 if not"
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="its replay.json, or its folder")
    replay.add_argument("--cri-endpoint", required=True, metavar="ENDPOINT")
    for option in REPLAY_OPTIONS[1:]:
        replay.add_argument(option, metavar="X", default="", help=f"as in pytest {option}")

    image = command("image", do.image, "write the test image as an OCI archive")
    image.add_argument("out", type=Path, metavar="OUT.tar")
    image.add_argument("--ref", metavar="REF", help="its name (default: one of our own)")
    image.add_argument("--entrypoint", metavar="COMMAND", default="", help="none unless given")

    for name, text in _HANDED_ON.items():
        commands.add_parser(name, help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
