# SPDX-License-Identifier: Apache-2.0
"""The file of known violations: what it says, and each way in which it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cri_conformance.contract.clause import Level
from cri_conformance.contract.expectations import Expectation, ExpectationsError, load
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
    assert load(path, register()) == {
        STOP: Expectation(STOP, "slow", "https://example.org/1"),
        REMOVE: Expectation(REMOVE, "odd"),
    }


def test_an_empty_file_expects_nothing(tmp_path: Path) -> None:
    assert load(_write(tmp_path, "# nothing is known\n"), register()) == {}


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


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ExpectationsError, match=r"can't read .*none\.toml"):
        load(tmp_path / "none.toml", register())
