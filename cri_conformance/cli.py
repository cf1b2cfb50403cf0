# SPDX-License-Identifier: Apache-2.0
"""The command ``cri-conformance``: arguments in, the work elsewhere, lines out.

A mistake of the user's is one line on stderr and exit status 2. Each command imports
what it needs when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cri_conformance import __version__

PROGRAM = "cri-conformance"
#: Commands whose words are read by the module that does the work.
_HANDED_ON = {
    "serve": "run the reference runtime in the foreground",
    "faults": "the seeded faults and their matrix (--list, --matrix, …)",
    "benchmark": "how fast a runtime is, and whether it became slower (compare)",
}


class UserError(Exception):
    """What the user asked for can't be done; one line that says why."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        status = _handed_on(words) if words[:1] and words[0] in _HANDED_ON else _run(words)
        sys.stdout.flush()
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
        return 130
    return status


def _run(words: list[str]) -> int:
    arguments = _parser().parse_args(words)
    command: Callable[[argparse.Namespace], int] = arguments.command
    return command(arguments)


def _handed_on(words: list[str]) -> int:
    name, *rest = words
    try:
        if name == "serve":
            from cri_conformance.reference.__main__ import main as serve

            return int(serve(rest) or 0)
        if name == "benchmark":
            from cri_conformance.benchmark.main import main as benchmark

            return benchmark(rest)
        from cri_conformance.faults.matrix import main as faults

        return int(faults(rest) or 0)
    except SystemExit as ended:
        # argparse has said what was wrong.
        return ended.code if isinstance(ended.code, int) else 2


def _parser() -> _Parser:
    parser = _Parser(
        prog=PROGRAM,
        description="Beside `pytest --cri-endpoint ENDPOINT`, which judges a runtime.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)

    def command(
        name: str, does: Callable[[argparse.Namespace], int], text: str, parent: Any = commands
    ) -> _Parser:
        made: _Parser = parent.add_parser(name, help=text, description=text)
        made.set_defaults(command=does)
        return made

    clauses = command("clauses", _clauses, "list the clauses of the contract")
    clauses.add_argument("pattern", nargs="?", metavar="PATTERN", help="as in 'StopPodSandbox.*'")
    clauses.add_argument("--element", metavar="E", help="only those of this element")
    clauses.add_argument("--level", metavar="L", help="only this level, as in MUST")
    clauses.add_argument("--kind", metavar="K", help="only this kind, as in idempotency")
    clauses.add_argument("--needs", metavar="N", help="only what needs this, as in host")
    tested = clauses.add_mutually_exclusive_group()
    tested.add_argument("--tested", action="store_true", default=None, help="only tested ones")
    tested.add_argument("--untested", action="store_false", dest="tested", help="only untested")

    text = "what is generated from proto/, and what upstream's file has that ours has not"
    contract = commands.add_parser("contract", help=text, description=text)
    parts = contract.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    build = command("build", _contract_build, "generate descriptor set, type stubs, ages", parts)
    build.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")
    build.add_argument(
        "--reworded",
        metavar="PATTERN",
        default="",
        help="these clauses oblige to what they did before: they keep their age",
    )
    diff = command(
        "diff", _contract_diff, "compare an api.proto with ours; 1 if they differ", parts
    )
    diff.add_argument("path", type=Path, metavar="PATH", help="Kubernetes' api.proto")
    diff.add_argument(
        "--lock", metavar="VERSION", help="take PATH's comments as read, at this version of it"
    )

    text = "files of known violations (--cri-expectations)"
    expectations = commands.add_parser("expectations", help=text, description=text)
    parts = expectations.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    command("list", _expectations_list, "those that ship with the suite, by name", parts)
    update = command(
        "update", _expectations_update, "bring a file up to date from a run's results", parts
    )
    update.add_argument("results", type=Path, metavar="RESULTS.json")
    update.add_argument("--file", type=Path, required=True, metavar="F", help="made if not there")
    update.add_argument("--check", action="store_true", help="write nothing; 1 if out of date")

    compare = command(
        "compare",
        _compare,
        "runtimes or versions beside each other; 1 if one is worse than the first",
    )
    compare.add_argument("results", type=Path, nargs="+", metavar="RESULTS.json")
    for form, what in (("html", "a page"), ("markdown", "tables"), ("json", "data")):
        compare.add_argument(f"--{form}", type=Path, metavar="FILE", help=f"write {what}")

    fault = command("fault", _fault, "a proxy in front of a runtime that breaks one promise")
    for option in ("--upstream", "--fault", "--listen"):
        fault.add_argument(option, required=True, metavar="ID" if option == "--fault" else "URL")

    report = command("report", _report, "make the report of a run that was killed, or goes on")
    report.add_argument("folder", type=Path, metavar="DIR", help="what --cri-report named")

    sweep = command("sweep", _sweep, "remove what killed runs left behind, and nothing else")
    sweep.add_argument("--cri-endpoint", required=True, metavar="ENDPOINT")
    sweep.add_argument("--cri-image-endpoint", metavar="ENDPOINT", default="")
    sweep.add_argument("--dry-run", action="store_true", help="name it, remove nothing")

    replay = command(
        "replay", _replay, "play a campaign's finding again; 1 if it still happens, 0 if not"
    )
    replay.add_argument("file", type=Path, metavar="FILE", help="its replay.json, or its folder")
    replay.add_argument("--cri-endpoint", required=True, metavar="ENDPOINT")
    for option in (
        "--cri-image-endpoint",
        "--cri-runtime-handler",
        "--cri-test-image",
        "--cri-image-loader",
        "--cri-restart-command",
    ):
        replay.add_argument(option, metavar="X", default="", help=f"as in pytest {option}")

    image = command("image", _image, "write the test image as an OCI archive")
    image.add_argument("out", type=Path, metavar="OUT.tar")
    image.add_argument("--ref", metavar="REF", help="its name (default: one of our own)")
    image.add_argument("--entrypoint", metavar="COMMAND", default="", help="none unless given")

    for name, text in _HANDED_ON.items():
        commands.add_parser(name, help=text)
    return parser


def _clauses(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract.clause import Kind, Level, Needs
    from cri_conformance.contract.register import register
    from cri_conformance.contract.verdict import untested

    contract = register()
    chosen = set(contract.clauses)
    if arguments.pattern:
        chosen &= {clause.id for clause in contract.matching(arguments.pattern)}
    if arguments.element:
        # Its own clauses, not those of what stands below it: for these there is PATTERN.
        named = (arguments.element, f"*.{arguments.element}")
        chosen &= {
            clause.id
            for clause in contract.clauses.values()
            if any(fnmatch.fnmatchcase(clause.element, name) for name in named)
        }
    if not chosen:
        raise UserError("no clause has that name; cri-conformance clauses lists them all")
    level = _word(Level, arguments.level, "--level")
    kind = _word(Kind, arguments.kind, "--kind")
    needs = _word(Needs, arguments.needs, "--needs")
    if arguments.tested is not None:
        bound = _bound()
        chosen = {name for name in chosen if (name in bound) is arguments.tested}
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for clause in contract.clauses.values():
        if (
            clause.id in chosen
            and level in (None, clause.level)
            and kind in (None, clause.kind)
            and needs in (None, clause.needs)
        ):
            words = [clause.id, clause.level, clause.kind, clause.since]
            if arguments.tested is False:
                words.append(f"({untested(clause.needs)})")
            line = "  ".join(map(str, [*words, clause.text]))
            print(line if not width or len(line) <= width else f"{line[: width - 1]}…")
    return 0


def _word(kinds: Any, given: str | None, option: str) -> Any:
    """A member of an enum by its value in any case. Raises UserError."""
    if given is None:
        return None
    for member in kinds:
        if member.value.lower() == given.lower():
            return member
    raise UserError(f"{option} is one of {', '.join(kinds)}, not {given!r}")


def _bound() -> dict[str, list[str]]:
    from cri_conformance import bindings

    try:
        return bindings.bound()
    except bindings.BindingsError as error:
        raise UserError(str(error)) from None


def _contract_build(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract import build
    from cri_conformance.contract.grammar import GrammarError

    if not build.PROTO_ROOT.is_dir():
        raise UserError(f"no {build.PROTO_ROOT}: this command wants a checkout of the project")
    try:
        made = build.generate(reworded=arguments.reworded)
    except (build.BuildError, GrammarError) as error:
        raise UserError(str(error)) from None
    stale = [path for path, data in made.items() if not path.is_file() or path.read_bytes() != data]
    for path in stale:
        if not arguments.check:
            path.write_bytes(made[path])
        print(f"{'out of date' if arguments.check else 'written'}: {path}")
    if not stale:
        print("up to date")
    return 1 if stale and arguments.check else 0


def _contract_diff(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract import diff

    try:
        upstream = diff.read(arguments.path)
        if arguments.lock:
            diff.write_lock(upstream.comments, arguments.lock)
        lines = diff.wire_changes(upstream.shapes) + diff.comment_changes(upstream.comments)
        version, _ = diff.read_lock()
    except diff.DiffError as error:
        raise UserError(str(error)) from None
    for line in lines:
        print(line)
    print(f"{len(lines)} found to differ; comments were last read at {version or '?'}")
    return 1 if lines else 0


def _expectations_list(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract import expectations
    from cri_conformance.contract.register import register

    for name in expectations.shipped():
        found = expectations.find(name, register())
        print(f"{name}: {len(found.entries)} known violations of {found.runtime or 'any runtime'}")
    return 0


def _expectations_update(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract.expectations import ExpectationsError
    from cri_conformance.contract.register import register
    from cri_conformance.report import known, load
    from cri_conformance.report.files import write_text

    path = arguments.file
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        found = known.update(text, str(path), load.load(arguments.results), register())
        if found.lines and not arguments.check:
            write_text(path, found.text)
    except (ExpectationsError, load.ResultsError, UnicodeDecodeError) as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    for line in found.lines:
        print(line)
    if not found.lines:
        print("up to date")
    return 1 if found.lines and arguments.check else 0


def _compare(arguments: argparse.Namespace) -> int:
    from cri_conformance.report import compare, load
    from cri_conformance.report.files import write_text

    try:
        matrix = compare.compare([(str(p), load.load(p)) for p in arguments.results])
        for path, write in (
            (arguments.html, compare.as_html),
            (arguments.markdown, compare.as_markdown),
            (arguments.json, compare.as_json),
        ):
            if path:
                write_text(path, write(matrix))
    except load.ResultsError as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"can't write the comparison: {error}") from None
    for line in compare.lines(matrix):
        print(line)
    return 1 if matrix["worse"] else 0


def _fault(arguments: argparse.Namespace) -> int:
    from cri_conformance.faults import proxy

    return int(proxy.serve(arguments.upstream, arguments.fault, arguments.listen) or 0)


def _report(arguments: argparse.Namespace) -> int:
    from cri_conformance.report import journal, load, remade, terminal
    from cri_conformance.report.folder import PAGE, write

    folder: Path = arguments.folder
    try:
        results = remade.results(folder, _bound)
        write(results, folder)
    except (journal.JournalError, load.ResultsError) as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"the report can't be written to {folder}: {error.strerror}") from None
    for line, _ in terminal.summary_lines(results, 0):
        print(line)
    print(f"report: {folder / PAGE}")
    return 0


def _sweep(arguments: argparse.Namespace) -> int:
    from cri_conformance import sweep
    from cri_conformance.wire import endpoint
    from cri_conformance.wire.client import Client
    from cri_conformance.wire.outcome import RuntimeGone

    try:
        name, image_name = arguments.cri_endpoint, arguments.cri_image_endpoint
        if name == endpoint.AUTO:
            name, found_image = endpoint.from_crictl()
            image_name = image_name or found_image
        if name == endpoint.REFERENCE:
            raise UserError("the reference runtime ends with the run that started it")
        at = endpoint.parse(name)
        image_at = endpoint.parse(image_name) if image_name else None
    except endpoint.EndpointError as error:
        raise UserError(str(error)) from None
    client, left = Client(at, image_at), 0
    try:
        if not client.wait_ready(2.0):
            raise UserError(f"nothing takes gRPC connections at {at.text}: is the runtime running?")
        lines = sweep.plan(client) if arguments.dry_run else sweep.sweep(client)
        seen = False
        for line, gone in sweep.told(lines):
            print(line, flush=True)
            seen, left = True, left + (not gone)
    except RuntimeGone as error:
        raise UserError(str(error)) from None
    finally:
        client.close()
    if not seen:
        print("nothing to sweep")
    return 1 if left else 0


def _replay(arguments: argparse.Namespace) -> int:
    from cri_conformance.fuzz import replay
    from cri_conformance.settings import Settings
    from cri_conformance.wire import endpoint
    from cri_conformance.wire.outcome import RuntimeGone

    name, image_name = arguments.cri_endpoint, arguments.cri_image_endpoint
    try:
        if name == endpoint.AUTO:
            name, found_image = endpoint.from_crictl()
            image_name = image_name or found_image
        if name != endpoint.REFERENCE:
            endpoint.parse(name)
        settings = Settings(
            endpoint=name,
            image_endpoint=image_name,
            handler=arguments.cri_runtime_handler,
            test_image=arguments.cri_test_image,
            image_loader=arguments.cri_image_loader,
            restart_command=arguments.cri_restart_command,
        )
        return replay.run(arguments.file, settings)
    except (endpoint.EndpointError, replay.ReplayError, RuntimeGone) as error:
        raise UserError(str(error)) from None


def _image(arguments: argparse.Namespace) -> int:
    from cri_conformance.build import image

    reference = arguments.ref or f"{image.REPOSITORY}:made-by-hand"
    # Equal arguments give an equal file; another name or entrypoint gives another image id.
    nonce = hashlib.sha256(reference.encode()).hexdigest()[:8]
    try:
        entrypoint = shlex.split(arguments.entrypoint)
        made = image.build_archive(arguments.out, reference, nonce, entrypoint)
    except (image.ImageError, ValueError) as error:
        raise UserError(str(error)) from None
    print(f"{made.reference} {made.id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
