# SPDX-License-Identifier: Apache-2.0
"""What each command of ``cri-conformance`` does with its arguments; returns the exit status.

Each imports what it needs when it runs, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

#: The exit status of what was interrupted, as shells have it.
INTERRUPTED = 130


class UserError(Exception):
    """What the user asked for can't be done; one line that says why."""


def clauses(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract import patterns
    from cri_conformance.contract.clause import Kind, Level, Needs
    from cri_conformance.contract.register import register
    from cri_conformance.contract.verdict import untested

    contract = register()
    chosen = set(contract.clauses)
    if arguments.pattern:
        try:
            wanted = patterns.resolved(arguments.pattern)
        except patterns.PatternsError as error:
            raise UserError(str(error)) from None
        if pattern := patterns.idle(wanted, contract.matching):
            raise UserError(
                f"no clause matches {pattern!r}; cri-conformance clauses lists them all"
            )
        chosen &= {clause.id for clause in contract.matching(wanted)}
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


def contract_build(arguments: argparse.Namespace) -> int:
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


def contract_diff(arguments: argparse.Namespace) -> int:
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


def expectations_list(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract import expectations
    from cri_conformance.contract.register import register
    from cri_conformance.report.text import known_words

    for name in expectations.shipped():
        found = expectations.find(name, register())
        known = known_words(*expectations.parted(found.entries))
        print(f"{name}: {known} of {found.runtime or 'any runtime'}")
    return 0


def expectations_update(arguments: argparse.Namespace) -> int:
    from cri_conformance.contract.expectations import ExpectationsError
    from cri_conformance.contract.register import register
    from cri_conformance.report import known, load
    from cri_conformance.report.files import write_text

    path = arguments.file
    there = path.exists()
    try:
        text = path.read_text(encoding="utf-8") if there else ""
        found = known.update(text, str(path), load.load(arguments.results), register())
        if found.lines and not arguments.check:
            write_text(path, found.text)
    except (ExpectationsError, load.ResultsError, UnicodeDecodeError) as error:
        raise UserError(str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    for line in (*found.lines, *found.notes):
        print(line)
    if not found.lines:
        print("up to date" if there else f"nothing to write: {path} is not made")
    return 1 if found.lines and arguments.check else 0


def compare(arguments: argparse.Namespace) -> int:
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
        raise UserError(f"can't write the comparison to {path}: {error.strerror}") from None
    for line in compare.lines(matrix):
        print(line)
    return 1 if matrix["worse"] else 0


def fault(arguments: argparse.Namespace) -> int:
    from cri_conformance.faults import proxy

    return int(proxy.serve(arguments.upstream, arguments.fault, arguments.listen) or 0)


def report(arguments: argparse.Namespace) -> int:
    from cri_conformance.report import journal, load, remade, terminal
    from cri_conformance.report.exit import failures
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
    # Also of a run that never came to say so itself.
    return int(bool(results["summary"]["broken"] or failures(results)))


def sweep(arguments: argparse.Namespace) -> int:
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


def replay(arguments: argparse.Namespace) -> int:
    from cri_conformance.fuzz import replay
    from cri_conformance.leaving import Leaving
    from cri_conformance.settings import Settings
    from cri_conformance.wire import endpoint
    from cri_conformance.wire.outcome import RuntimeGone

    name, image_name = arguments.cri_endpoint, arguments.cri_image_endpoint
    # What sends SIGTERM, as ``timeout`` does, is to find nothing of ours left either.
    leaving = Leaving(lambda why: None, lambda: None, lambda why: INTERRUPTED)
    try:
        if name == endpoint.AUTO:
            name, found_image = endpoint.from_crictl()
            image_name = image_name or found_image
        if name != endpoint.REFERENCE:
            endpoint.parse(name)
        leaving.watch(0, "")
        settings = Settings(
            endpoint=name,
            image_endpoint=image_name,
            handler=arguments.cri_runtime_handler,
            test_image=arguments.cri_test_image,
            image_loader=arguments.cri_image_loader,
            restart_command=arguments.cri_restart_command,
        )
        return replay.run(arguments.file, settings, leaving.ending)
    except (endpoint.EndpointError, replay.ReplayError, RuntimeGone) as error:
        raise UserError(str(error)) from None
    except KeyboardInterrupt:
        print("interrupted: nothing is known", file=sys.stderr)
        return INTERRUPTED
    finally:
        leaving.end()


def image(arguments: argparse.Namespace) -> int:
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
