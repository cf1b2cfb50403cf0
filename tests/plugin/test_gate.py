# SPDX-License-Identifier: Apache-2.0
"""From a red run to a file of what is known, and on to a green one beside its baseline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cri_conformance import cli

from .conftest import IMAGE, Place, Served, command, stop

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


@pytest.mark.parametrize("processes", [[], ["-n2"]])
def test_a_campaign_becomes_a_gate(
    place: Place, served: Served, short: Callable[[], Path], capsys, processes: list[str]
) -> None:
    url = f"unix://{short()}/fault.sock"
    process = command("fault", "--upstream", served.url, "--fault", "panic-on-nul", "--listen", url)
    assert process.stdout is not None
    process.stdout.readline()
    options = [f"--cri-endpoint={url}", f"--cri-test-image={IMAGE}", "--cri-seed=1", *processes]
    options += ["--cri-fuzz=60", "--cri-fuzz-modes=wire"]
    known = place.folder / "known.toml"
    try:
        red = place.run(*options)
        assert red.status == 1, red.output
        report = str(place.folder / "reports/latest")
        assert cli.main(["expectations", "update", report, "--file", str(known)]) == 0
        assert "added    panic: " in capsys.readouterr().out
        green = place.run(*options, "--cri-expectations=./known.toml")
    finally:
        stop(process)
    assert green.status == 0, green.output
    assert green.line(r"^cri: \d+ known findings? expected by .*known.toml")
    assert green.line("^  known panic: TODO")
    assert green.line("^the campaign found nothing that counts, but for .* known finding")
    # Another runtime has no such fault, and what stays away proves nothing.
    text = known.read_text(encoding="utf-8").replace("review = 2", "review = 1")
    known.write_text(text, encoding="utf-8")
    sound = place.run(
        *served.options, "--cri-fuzz=20", "--cri-fuzz-modes=wire", "--cri-expectations=./known.toml"
    )
    assert sound.status == 0, sound.output
    assert sound.line(
        "^review   panic: .*: its entry in .*known.toml was to be looked at again by 1"
    )
    assert "stale" not in sound.output.lower()
