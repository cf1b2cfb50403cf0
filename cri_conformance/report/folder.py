# SPDX-License-Identifier: Apache-2.0
"""All files of a report, in the folder that --cri-report names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from cri_conformance.report import json_file, junit
from cri_conformance.report.junit import Foreign
from cri_conformance.report.schema import Results

RESULTS, PAGE, JUNIT, SUMMARY = "results.json", "index.html", "junit.xml", "summary.md"


def write(results: Results, folder: Path, foreign: Iterable[Foreign] = ()) -> None:
    """Write them; the one that programs read first. Raises OSError."""
    # Workers have no use for the page, and the template engine is not light.
    from cri_conformance.report import html, markdown

    folder.mkdir(parents=True, exist_ok=True)
    json_file.write(results, folder / RESULTS)
    html.write(results, folder / PAGE)
    junit.write(results, folder / JUNIT, foreign)
    markdown.write(results, folder / SUMMARY)


def clear(folder: Path) -> None:
    """Remove what a run before has written: nobody is to take it for this one's."""
    for name in (RESULTS, PAGE, JUNIT, SUMMARY):
        with contextlib.suppress(OSError):
            folder.joinpath(name).unlink(missing_ok=True)
