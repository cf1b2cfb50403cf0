# SPDX-License-Identifier: Apache-2.0
"""One self-contained page: no network, nothing beside it, readable without JavaScript.

Nearly every text on it may come from the runtime. So nothing is marked as safe but our
own style and script; all else is made visible and then escaped, on its way out and
whatever the template does. The policy in the page's head lets no other script run.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from cri_conformance.report.files import write_text
from cri_conformance.report.schema import Results
from cri_conformance.report.text import count, tried, visible
from cri_conformance.report.view import view

#: Longest text that the page shows of one value, and of a log or a message as a whole.
LONGEST = 2_000
LONGEST_BLOCK = 20_000


class _Shown(str):
    """Text that is visible and cut already, to a length of its own."""

    __slots__ = ()


def write(results: Results, path: Path) -> None:
    """Write the page, whole or not at all. Raises OSError."""
    write_text(path, render(results))


def render(results: Results) -> str:
    """The page."""
    style, script = _ours("page.css"), _ours("page.js")
    return (
        _environment()
        .from_string(_ours("page.html.jinja"))
        .render(
            view=view(results),
            style=Markup(style),
            script=Markup(script),
            policy=(
                "default-src 'none'; base-uri 'none'; form-action 'none'; "
                f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
            ),
        )
    )


def render_page(template: str, styles: tuple[str, ...], **shown: object) -> str:
    """Another page of ours, without a script."""
    style = "\n".join(map(_ours, styles))
    policy = f"default-src 'none'; base-uri 'none'; form-action 'none'; style-src '{_hash(style)}'"
    made = _environment().from_string(_ours(template))
    return made.render(style=Markup(style), policy=policy, **shown)


def _environment() -> Environment:
    environment = Environment(
        autoescape=True,
        finalize=_finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["block"] = lambda text: _Shown(visible(str(text), LONGEST_BLOCK))
    environment.filters["lines"] = lambda lines: _Shown("\n".join(lines))
    environment.filters["data"] = _data
    environment.filters["count"] = count
    environment.filters["tried"] = tried
    return environment


def _finalize(value: object) -> object:
    if isinstance(value, Markup | _Shown) or not isinstance(value, str):
        return value
    return visible(value, LONGEST)


def _data(value: object) -> Markup:
    """JSON that a script reads: nothing in it can end the element that it stands in."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _ours(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8").strip()


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"
