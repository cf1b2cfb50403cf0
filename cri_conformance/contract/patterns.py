# SPDX-License-Identifier: Apache-2.0
"""Patterns that choose clauses: one, several with commas between, or a file of them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path


class PatternsError(ValueError):
    """A file of patterns can't be used; one line that says why."""


def each(text: str) -> list[str]:
    """The patterns of a text, which has commas between them."""
    return [word for word in map(str.strip, text.split(",")) if word]


def idle(text: str, matching: Callable[[str], Collection[object]]) -> str:
    """The first pattern of a text that matches nothing, "" if each matches something.

    In a list a slip of the pen must not leave a clause out unseen.
    """
    return next((pattern for pattern in each(text) if not matching(pattern)), "")


def resolved(text: str) -> str:
    """For ``@FILE`` what stands in it, as a text with commas; another text as it is.

    A line of the file is a pattern; from a # on it is for people. Raises PatternsError.
    """
    if not text.startswith("@"):
        if file := _file_in(text):
            raise PatternsError(f"{file} stands alone: put the other patterns into that file")
        return text
    path = Path(text[1:])
    try:
        # Editors on Windows begin a file with a mark.
        content = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        # A file's name may have commas, so that only here it is known for a mistake.
        wanted = "a file stands alone" if "," in text else "give one with a pattern a line"
        raise PatternsError(f"can't read {path}: there is no such file; {wanted}") from None
    except OSError as error:
        raise PatternsError(f"can't read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise PatternsError(f"{path} is no text in UTF-8") from None
    found = ",".join(filter(None, (line.partition("#")[0].strip() for line in content.split("\n"))))
    if not found:
        raise PatternsError(f"{path} names no clause")
    if file := _file_in(found):
        raise PatternsError(f"{path} has {file}: a line is a pattern, and no other file")
    return found


def _file_in(text: str) -> str:
    return next((pattern for pattern in each(text) if pattern.startswith("@")), "")
