# SPDX-License-Identifier: Apache-2.0
"""Arguments of our commands: a mistake in them is one line, as every mistake is."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any, NoReturn

from cri_conformance.report.text import one_line


class _Once(argparse.Action):
    """Takes a value once: argparse would let a second one replace it without a word."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        given = vars(namespace).setdefault("given", set())
        if self.dest in given:
            raise argparse.ArgumentError(self, "given twice")
        given.add(self.dest)
        setattr(namespace, self.dest, values)


class Parser(argparse.ArgumentParser):
    """Says what is wrong, and not how all of it is used: that hides the line which matters."""

    def __init__(self, *words: Any, **named: Any) -> None:
        super().__init__(*words, **named)
        for usual in (None, "store"):
            self.register("action", usual, _Once)

    def error(self, message: str) -> NoReturn:
        program = self.prog.partition(" ")[0]
        self.exit(2, one_line(f"{program}: {message}; see {self.prog} --help", 4_000) + "\n")


def from_one(text: str) -> int:
    """A whole number from 1 up. Raises ArgumentTypeError."""
    return _whole(text, 1)


def from_none(text: str) -> int:
    """A whole number from 0 up. Raises ArgumentTypeError."""
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"a whole number from {least} up, not {text!r}")
    return int(text)


def share(text: str) -> float:
    """A number between 0 and 1. Raises ArgumentTypeError."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"a number between 0 and 1, not {text!r}")
    return number
