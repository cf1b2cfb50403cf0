# SPDX-License-Identifier: Apache-2.0
"""The file of known violations: what it says, and each way in which it can be wrong."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from cri_conformance.contract.clause import Level
from cri_conformance.contract.expectations import (
    Expectation,
    ExpectationsError,
    find,
    load,
    shipped,
)
from cri_conformance.contract.register import register

STOP = "RuntimeService.StopPodSandbox.idempotent"
REMOVE = "RuntimeService.RemovePodSandbox.idempotent"
MAY = next(c.id for c in register().clauses.values() if c.level is Level.MAY)


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "known.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    return path


def test_entries_by_clause(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        f'[[known]]\nclause = "{STOP}"\nreason = " slow "\nlink = "https://example.org/1"\n'
        f'[[known]]\nclause = "{REMOVE}"\nreason = "odd"\n',
    )
    loaded = load(path, register())
    assert loaded.entries == (
        Expectation(STOP, "slow", "https://example.org/1"),
        Expectation(REMOVE, "odd"),
    )
    assert loaded.at("any", "1.0").entries == {e.clause: e for e in loaded.entries}


def test_an_empty_file_expects_nothing(tmp_path: Path) -> None:
    loaded = load(_write(tmp_path, "# nothing is known\n"), register())
    assert loaded.at("any", "1.0").entries == {}


def _entry(clause: str = STOP, **more: str) -> str:
    keys = "".join(f"{key} = {value}\n" for key, value in more.items())
    return f'[[known]]\nclause = "{clause}"\nreason = "x"\n{keys}'


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("1.5.9", None),
        ("1.6.0-rc.1", "old"),
        ("1.6.20~ds1", "old"),
        ("v1.7.99", "old"),
        ("2.0.0-beta.1", None),
        ("2.0.5", None),
        ("2.1.9+unknown", "new"),
        ("3", None),
        ("dirty", None),
    ],
)
def test_entries_hold_for_their_versions(tmp_path: Path, version: str, reason: str | None) -> None:
    path = _write(
        tmp_path,
        _entry(since='"1.6"', until='"2.0"').replace('"x"', '"old"')
        + _entry(since='"2.1"').replace('"x"', '"new"')
        + _entry(REMOVE),
    )
    found = load(path, register()).at("any", version)
    assert REMOVE in found.entries
    assert found.elsewhere == 2 - bool(reason)
    assert (found.entries[STOP].reason if STOP in found.entries else None) == reason
    assert bool(found.notes) is (version in ("dirty", "3"))


def test_a_file_may_name_its_runtime(tmp_path: Path) -> None:
    loaded = load(_write(tmp_path, 'runtime = "containerd"\n' + _entry()), register())
    assert loaded.at("containerd", "1.0").entries
    with pytest.raises(ExpectationsError, match=r"about containerd.*'cri-o'"):
        loaded.at("cri-o", "1.0")


def test_what_only_campaigns_break_is_expected_of_them_alone(tmp_path: Path) -> None:
    loaded = load(_write(tmp_path, _entry(campaigns="true") + _entry(REMOVE)), register())
    assert loaded.at("any", "1.0", campaign=True).entries.keys() == {STOP, REMOVE}
    suite = loaded.at("any", "1.0")
    assert suite.entries.keys() == {REMOVE}
    assert suite.elsewhere == 0


def test_what_is_past_its_review(tmp_path: Path) -> None:
    path = _write(tmp_path, _entry(review="2027-01-31") + _entry(REMOVE))
    applied = load(path, register()).at("any", "1.0")
    assert applied.overdue(date(2027, 1, 30)) == []
    assert [e.clause for e in applied.overdue(date(2027, 1, 31))] == [STOP]


def test_by_name_come_those_that_ship_with_the_suite(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "containerd" in shipped()
    assert find("containerd", register()).runtime == "containerd"
    _write(tmp_path, _entry())
    assert len(find("known.toml", register()).entries) == 1
    assert len(find("./known.toml", register()).entries) == 1
    with pytest.raises(ExpectationsError, match=r"no expectations named 'cri-o'.*containerd"):
        find("cri-o", register())
    (tmp_path / "mine").touch()
    with pytest.raises(ExpectationsError, match=r"write \./mine"):
        find("mine", register())


@pytest.mark.parametrize("name", shipped())
def test_those_that_ship_can_be_read(name: str) -> None:
    found = find(name, register())
    assert found.runtime
    assert found.entries
    for version in ("1.6.20~ds1", "1.7.24~ds1", "2.1.9+unknown"):
        assert found.at(found.runtime, version).entries


@pytest.mark.parametrize("version", ["1.6.20~ds1", "1.7.24~ds1", "2.1.9+unknown"])
def test_an_input_that_never_ends_is_known_of_all_that_showed_it(version: str) -> None:
    found = find("containerd", register())
    clause = "ExecRequest.stdin.half-close"
    assert clause in found.at("containerd", version, campaign=True).entries
    # A run of the suite sends a line, which never stood.
    assert clause not in found.at("containerd", version).entries


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[known]\n", "not valid TOML"),
        ("\udcff", "not valid TOML"),
        ("known = 3\n", "double brackets"),
        ("known = [3]\n", "double brackets"),
        ("[known]\n", "double brackets"),
        ("[[expected]]\n", "unknown key 'expected'"),
        ('[[known]]\nreason = "x"\n', "no clause"),
        (f'[[known]]\nclause = "{STOP}"\n', "no reason"),
        (f'[[known]]\nclause = "{STOP}"\nreason = " "\n', "no reason"),
        (f'[[known]]\nclause = "{STOP}"\nreason = 3\n', "reason is a text in quotes"),
        ("runtime = 3\n", "runtime is a text"),
        (_entry(since="1.6"), "since is a text in quotes"),
        (_entry(since='"new"'), "not a version such as 1.7.24: 'new'"),
        (_entry(since='"2.0"', until='"1.9"'), "no version lies from 2.0 to before 1.9"),
        (_entry(review='"2027-01-31"'), "review is a day without quotes"),
        (
            _entry(review="2027-01-31T07:00:00"),
            "review is a day without quotes, as in 2027-01-31, not 2027-01-31T07:00:00",
        ),
        (_entry(review="07:00:00"), "as in 2027-01-31, not 07:00:00"),
        (_entry(review="true"), "as in 2027-01-31, not true"),
        (_entry(since="2027-01-31"), "since is a text in quotes, not 2027-01-31"),
        (_entry(campaigns="2027-01-31"), "without quotes, not 2027-01-31"),
        (_entry(flaky='"often"'), 'as in "1 in 70"'),
        (_entry(flaky='"3 in 3"'), 'as in "1 in 70"'),
        (_entry(campaigns='"yes"'), "campaigns is true or false"),
        (_entry(until='"2.0"') + _entry(since='"1.7"'), "stands twice for the same versions"),
        (_entry(since='"2.0"') + _entry(), "stands twice for the same versions"),
        (f'[[known]]\nclause = "{STOP}"\nreason = "x"\nurl = "y"\n', "unknown key 'url'"),
        ('[[known]]\nclause = "No.Such.Thing"\nreason = "x"\n', "no clause 'No.Such.Thing'"),
        (f'[[known]]\nclause = "{STOP}x"\nreason = "x"\n', f"did you mean {STOP}?"),
        (f'[[known]]\nclause = "{MAY}"\nreason = "x"\n', "never judged"),
        (2 * f'[[known]]\nclause = "{STOP}"\nreason = "x"\n', "stands twice"),
    ],
)
def test_a_mistake_is_one_line_with_the_file(tmp_path: Path, text: str, said: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(ExpectationsError) as caught:
        load(path, register())
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = _write(tmp_path, _entry("No.Such", review='"x"') + _entry() + _entry(flaky='"often"'))
    with pytest.raises(ExpectationsError) as caught:
        load(path, register())
    told = str(caught.value).splitlines()
    assert [line.partition(", ")[2].partition(":")[0] for line in told] == [
        "entry 1",
        "entry 1",
        "entry 3",
    ]
    assert "there is no clause" in told[0]
    assert "review is a day" in told[1]
    assert 'as in "1 in 70"' in told[2]


def test_a_folder_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for given in (".", "mine", "./mine"):
        with pytest.raises(ExpectationsError, match=r"is a folder; give a file in it"):
            find(given, register())


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExpectationsError, match=r"can't read .*none\.toml"):
        load(tmp_path / "none.toml", register())
