# SPDX-License-Identifier: Apache-2.0
"""Text from a runtime, made fit to be shown.

A terminal obeys escape sequences, a browser and a terminal both obey marks that turn
the direction of writing, and a lone surrogate cannot be written at all. Shown as
escapes such characters do nothing, and the reader sees that they were there.
"""

from __future__ import annotations

import re
import shlex

#: Control characters but tab and line feed, direction and other invisible marks, surrogates.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)

#: What `cri-conformance replay` has to be told as pytest was.
REPLAY_OPTIONS = (
    "--cri-endpoint",
    "--cri-image-endpoint",
    "--cri-runtime-handler",
    "--cri-test-image",
    "--cri-image-loader",
    "--cri-restart-command",
)


def visible(text: str, longest: int = 0) -> str:
    """The text with unseen characters as escapes; cut after ``longest`` characters if given."""
    # Cut first: escaping a few megabytes that nobody will read takes its time.
    cut = text[:longest] if longest and len(text) > longest else text
    shown = _UNSEEN.sub(_escape, cut)
    return shown if cut is text else f"{shown}… ({len(text)} characters)"


def one_line(text: str, longest: int = 400) -> str:
    """The text in one line, its unseen characters as escapes, cut after ``longest``."""
    # More than enough to fill the line, however much of it is white space.
    head = text if len(text) <= longest * 8 else text[: longest * 8]
    words = " ".join(head.split())
    if len(words) <= longest and head is text:
        return visible(words)
    return visible(words[: longest - 1]) + "…"


def because(reason: str, link: str) -> str:
    """Why something is known, and where that is tracked."""
    return one_line(reason) + (f" <{visible(link)}>" if link else "")


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: lone surrogates as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def count(number: int, one: str, many: str = "") -> str:
    """``1 test``, ``3 tests``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def known_words(violations: int, findings: int) -> str:
    """How much is known, as in ``2 known violations and 1 known finding``; "" for nothing."""
    counted = ((violations, "known violation"), (findings, "known finding"))
    return " and ".join(count(number, what) for number, what in counted if number)


def tried(again: str, untried: str) -> str:
    """How often a finding showed when it was tried again, as in ``3 of 3``; why no oftener."""
    if not again:
        return f"not tried again: {untried}"
    return f"again {again}" + (f" until {untried}" if untried else "")


def sweep_command(endpoint: str, image_endpoint: str = "") -> str:
    """Removes what a run has left behind, for a shell."""
    words = ["cri-conformance", "sweep", "--cri-endpoint", endpoint]
    if image_endpoint:
        words += ["--cri-image-endpoint", image_endpoint]
    return shlex.join(words)


def took(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 1:
        return f"{seconds * 1000:.1f} ms"
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
