# SPDX-License-Identifier: Apache-2.0
"""From a red run to a file of what is known, and on to a green one beside its baseline."""

from __future__ import annotations

from cri_conformance import cli

from .conftest import Place, Served

STABLE = "RuntimeService.Version.stable"
_BREAKS = f"""
    import pytest

    @pytest.mark.clause("{STABLE}")
    def test_breaks(cri_runtime, judge):
        judge.that("{STABLE}", False, permitted="this", actual="that")
"""


def test_a_gate_is_set_up(place: Place, served: Served, capsys) -> None:
    place.write(test_breaks__py=_BREAKS)
    red = place.run(*served.options, "test_breaks.py", "--cri-report=first")
    assert red.status == 1, red.output
    first, known = str(place.folder / "first"), place.folder / "known.toml"
    assert cli.main(["expectations", "update", first, "--file", str(known)]) == 0
    assert f"added    {STABLE}" in capsys.readouterr().out
    text = known.read_text(encoding="utf-8")
    assert 'evidence = "permitted this; got that"' in text
    known.write_text(f'{text}flaky = "1 in 70"\nreview = 2020-02-20\n', encoding="utf-8")

    options = ["--cri-expectations=known.toml", f"--cri-baseline={first}"]
    green = place.run(*served.options, *options, "--cri-profiles=stats", "test_breaks.py")
    assert green.status == 0, green.output
    assert green.verdicts == {STABLE: "known"}
    assert green.line("^cri: 1 known violation expected by .*known.toml")
    assert green.line("^cri: only the profiles that are claimed: runtime, sandbox, .*stats$")
    assert green.line(f"^flaky    {STABLE}: 1 in 70: TODO")
    assert green.line(f"^review   {STABLE}: .* looked at again by 2020-02-20")
    assert green.line("^against the baseline .*: 0 newly broken, 0 no longer broken")
    assert "past their review date" in green.report("index.html")


def test_a_file_of_another_runtime_is_refused(place: Place, served: Served) -> None:
    place.write(test_breaks__py=_BREAKS)
    ran = place.run(*served.options, "--cri-expectations=containerd", "test_breaks.py")
    assert ran.status == 4, ran.output
    assert ran.line("--cri-expectations: containerd .*is about containerd, and this runtime")
