# SPDX-License-Identifier: Apache-2.0
"""The page, read as a browser would: nothing of the runtime becomes markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from cri_conformance.contract.expectations import Expectation
from cri_conformance.report import html
from cri_conformance.report.cards import CALLS
from cri_conformance.report.view import banner

from .fakes import (
    CONTAINER,
    broken,
    call,
    found,
    large,
    record,
    results,
    small_register,
    suite,
    target,
)

STOP = "RuntimeService.StopPodSandbox.idempotent"
RUN = "RuntimeService.RunPodSandbox.ready"
TWO = small_register((STOP, "MUST"), (RUN, "FIELD"))

_VOID = {"meta", "input", "br", "rect"}


class Page(HTMLParser):
    """Collects what the tests ask about, and insists on well-nested tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: dict[str, int] = {}
        self.attributes: set[str] = set()
        self.titles: list[str] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if tag not in _VOID:
            self._open.append(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name == "title":
                self.titles.append(value or "")

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def big() -> tuple[str, Page]:
    text = html.render(large())
    return text, Page(text)


def test_every_clause_has_one_anchor_and_every_link_a_goal(big):
    _, page = big
    assert len(page.ids) == len(set(page.ids))
    goals = {f"#{name}" for name in page.ids}
    assert not [link for link in page.links if link.startswith("#") and link not in goals]
    assert {clause["id"] for clause in large()["clauses"]} <= set(page.ids)


def test_nothing_is_fetched_from_anywhere(big):
    text, page = big
    assert page.tags["script"] == 1 + text.count('<script type="application/json">')
    assert page.tags["style"] == 1
    assert not page.tags.keys() & {"link", "img", "iframe", "object", "embed", "base"}
    assert "src" not in page.attributes
    assert not {name for name in page.attributes if name.startswith("on")}
    assert "style" not in page.attributes  # the policy would not let it work
    assert not re.search(r"url\(|@import", text)
    for tag in ("style", "script"):
        inner = re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        assert inner
        digest = base64.b64encode(hashlib.sha256(inner[1].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in text


def test_a_failure_shows_everything(big):
    _, page = big
    shown = " ".join(page.text)
    assert "BROKEN 5" in shown
    for part in (
        "Permitted",
        "Seen",
        "See it again",
        "StopContainer",
        "--cri-clause",
        "level=error",
    ):
        assert part in shown
    assert CONTAINER in page.titles


def test_what_is_new_against_the_baseline_comes_first(big):
    text, _ = big
    first = text.partition("<nav")[0]
    assert "2 newly broken" in re.sub("<[^>]+>", "", first).replace("\n", " ")
    (broke,) = re.findall('<ol class="index">(.*?)</ol>', first, re.DOTALL)
    lines = broke.strip().split("</li>")[:-1]
    assert [">new<" in line for line in lines] == [True] * 2 + [False] * 3
    assert all(f'href="#profile-{one["name"]}"' in first for one in large()["profiles"])


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg/onload=alert(1)>",
    "</style></script><script>alert(1)</script>",
    "{{ 7*7 }}{% raw %}",
    "&lt;b&gt;",
    "javascript:alert(1)",
    "\x00\x1b[31m\u202e\udc80",
]


def hostile(text: str) -> str:
    story: dict[str, Any] = {
        "transcript": [
            call(
                text,
                text,
                request={text: text, "n": {"k": [text, 1]}},
                response={"r": text},
                message=text,
            )
        ],
        "replay": text,
        "log": text,
        "details": text,
        "table": [{"call": text, "state": text, "permitted": text, "clause": STOP, "seen": text}],
    }
    return html.render(
        results(
            TWO,
            broken(text, STOP, permitted=text, actual=text, message=text, **story),
            broken("other" + text, STOP, permitted=text, actual=text, message=text, **story),
            record("t", found(RUN, "known", permitted=text, actual=text, reason=text), **story),
            record("u" + text, blame="environment", **{**story, "message": text}),
            known={RUN: Expectation(RUN, text, text)},
            leftovers=(text,),
            about=suite(command=text, stopped=text, complete=False, selection={"keyword": text}),
            runtime=target(
                runtime_name=text,
                runtime_version=text,
                endpoint=text,
                info={text: text},
                status={text: text},
            ),
        )
    )


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(text):
    page = hostile(text)
    page.encode("utf-8")
    plain, read = Page(hostile("plain")), Page(page)
    assert read.tags == plain.tags
    assert read.attributes == plain.attributes
    assert not [link for link in read.links if not link.startswith("#")]
    assert not set(page) & set("\x00\x1b\u202e\udc80")
    if text.isprintable():
        assert text in "".join(read.text)


def test_links_are_followed_only_to_the_web():
    known = record("t", found(STOP, "known", reason="r"))
    page = Page(
        html.render(
            results(TWO, known, known={STOP: Expectation(STOP, "r", "https://example.org/7")})
        )
    )
    assert "https://example.org/7" in page.links


def test_megabytes_make_no_megabytes():
    page = hostile("<x>" * 1_000_000)
    assert len(page) < 2_000_000
    assert "(3000000 characters)" in page
    Page(page)


def test_of_a_long_list_of_clauses_the_page_has_the_beginning():
    asked = ",".join(f"Thing.clause-{number}" for number in range(900))
    made = results(TWO, record("t", found(STOP, "held")), about=suite(selection={"clause": asked}))
    told = next(note for note in banner(made).notes if "narrowed" in note)
    assert told.startswith("The run was narrowed: clause Thing.clause-0,")
    assert len(told) < 300
    assert made["suite"]["selection"]["clause"] == asked


@pytest.mark.parametrize(
    ("made", "headline"),
    [
        (results(TWO, *(record(f"t::{n}", found(n, "held")) for n in (STOP, RUN))), "CONFORMS"),
        (
            results(TWO, record("t", found(STOP, "held")), about=suite(selection={"clause": STOP})),
            "SELECTION HELD",
        ),
        (
            results(TWO, record("t", found(STOP, "known"), found(RUN, "held"))),
            "NOTHING NEW BROKEN, 1 KNOWN",
        ),
        (results(TWO, broken("t", STOP)), "BROKEN 1"),
        (
            results(
                TWO, record("t", found(STOP, "held")), known={STOP: Expectation(STOP, "r", "")}
            ),
            "EXPECTATIONS STALE",
        ),
        (results(TWO, record("t", found(STOP, "held")), bound={RUN: ["u"]}), "INCOMPLETE"),
        (results(TWO, record("t", blame="environment")), "ENVIRONMENT TROUBLE"),
        (results(TWO, record("t", blame="suite")), "MISTAKE OF THE SUITE"),
        (results(TWO, about=suite(complete=False, stopped="interrupted")), "INTERRUPTED"),
        (results(TWO), "NOTHING JUDGED"),
    ],
)
def test_the_banner_says_how_it_ended(made, headline):
    page = html.render(made)
    assert f"<h1>{headline}</h1>" in page
    Page(page)


def test_an_empty_register_makes_a_page():
    Page(html.render(results(small_register())))


def test_earlier_calls_are_lines_for_everybody_and_data_for_the_script():
    text = "</script><script>alert(1)</script>&<!--"
    calls = [call("Version", at=n, message=text, request={"n": [text]}) for n in range(30)]
    page = html.render(results(TWO, broken("t", STOP, transcript=calls)))
    assert Page(page).tags["script"] == 2
    (data,) = re.findall('<script type="application/json">(.*?)</script>', page)
    rows = json.loads(data)
    assert len(rows) == 30 - CALLS
    assert rows[0] == ["0.000", "4.2 ms", "0", "Version", f"n=[{text!r}]", "OK", text, ""]
    (lines,) = re.findall('<pre class="lines">(.*?)</pre>', page, re.DOTALL)
    assert len(lines.splitlines()) == 30 - CALLS
    assert page.count('<tr data-row="') == CALLS
    assert '<tr data-row="29"' in page


def test_the_lifecycle_never_says_more_than_the_judge():
    row = {
        "call": "StopContainer",
        "state": "container removed",
        "permitted": "ok",
        "clause": STOP,
        "seen": "INTERNAL",
    }
    held = html.render(results(TWO, record("t", found(STOP, "not exercised"), table=[row])))
    assert 'class="answer v-broken"' not in held
    bad = html.render(results(TWO, broken("t", STOP, table=[row])))
    assert 'class="answer v-broken"' in bad
