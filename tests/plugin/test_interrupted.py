# SPDX-License-Identifier: Apache-2.0
"""Runs that are stopped, by people and by the watchdog: what is cleaned, said and written."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from cri_conformance.wire.identity import owner_alive

from .conftest import Place, Served, command, wait_for

_HELD = "RuntimeService.Version.stable"
_WORKERS = pytest.mark.parametrize("workers", ["-n0", "-n2"])

_JUDGES = """
    import pytest

    @pytest.mark.clause("RuntimeService.Version.stable")
    def test_a_judges(cri_runtime, judge):
        judge.ok("RuntimeService.Version.stable", cri_runtime.call("Version"))
"""
#: Judges a clause, then waits in a call with a container made, until somebody ends the run.
_SUITE = f"""{_JUDGES}
    from pathlib import Path

    def test_b_waits(cri_runtime, cri_container):
        Path("ready").write_text(cri_container.id)
        cri_runtime.exec(cri_container, "/bin/sh", "-c", "sleep 60", timeout=100)

    def test_c_after(): Path("after").touch()
"""
#: Cleaning up takes long, so that there is time for a second signal.
_SLOW_END = """
    import time
    from pathlib import Path
    import pytest

    @pytest.fixture(scope="session", autouse=True)
    def slow():
        yield
        Path("cleaning").touch()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            time.sleep(0.1)
"""


def _start(place: Place, served: Served, *words: str, **files: str) -> subprocess.Popen[str]:
    place.write(test_it__py=_SUITE, **files)
    process = place.start(*served.options, *words, "test_it.py")
    place.await_file("ready")
    return process


def _await_journal(place: Place) -> None:
    """Until what was judged has arrived where results are collected."""
    path = place.folder / "reports/latest/results.jsonl"
    wait_for(lambda: path.exists() and _HELD in path.read_text(encoding="utf-8"), "its results")


@pytest.mark.parametrize(
    ("number", "workers"),
    [
        (signal.SIGINT, "-n2"),
        (signal.SIGTERM, "-n2"),
        (signal.SIGTERM, "-n0"),
        (signal.SIGHUP, "-n0"),
    ],
)
def test_once(place: Place, served: Served, number: signal.Signals, workers: str) -> None:
    """The leading process alone is told, as by a CI system."""
    before = served.objects()
    process = _start(place, served, workers)
    _await_journal(place)
    process.send_signal(number)
    ran = place.end(process)
    assert ran.status == 2, ran.output
    assert ran.results["suite"]["stopped"] == "interrupted"
    assert ran.verdicts[_HELD] == "held"
    assert ran.report("index.html")
    assert not (place.folder / "reports/latest/results.jsonl").exists()
    assert not (place.folder / "after").exists()
    assert served.objects() == before
    assert place.left() == []


@pytest.mark.parametrize("times", [1, 2])
def test_while_workers_start(place: Place, served: Served, times: int) -> None:
    """A terminal tells those too that are still loading, and would show where."""
    place.write(test_it__py=_SUITE)
    process = place.start(*served.options, "-n2", "test_it.py")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_for(children.read_text, "its first worker")
    for _ in range(times):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        signal.sigtimedwait([], 0.6)
    ran = place.end(process)
    # A second one may come when Python itself ends.
    often = (2, 128 + signal.SIGINT, -signal.SIGINT)
    assert ran.status in often[: 1 if times == 1 else None], ran.output
    assert "Traceback" not in ran.output
    assert "INTERNALERROR" not in ran.output
    _sweep(place, served)


def test_once_more_while_pytest_ends(place: Place, served: Served) -> None:
    """After the report, when plugins end."""
    slow = """
        import time
        from pathlib import Path

        def pytest_unconfigure():
            Path("ending").touch()
            time.sleep(60)
    """
    process = _start(place, served, conftest__py=slow)
    process.send_signal(signal.SIGINT)
    place.await_path("ending")
    signal.sigtimedwait([], 0.6)
    process.send_signal(signal.SIGINT)
    ran = place.end(process)
    assert ran.status == -signal.SIGINT, ran.output
    assert "Traceback" not in ran.output
    assert ran.report("index.html")
    assert place.left() == []


@_WORKERS
def test_twice(place: Place, served: Served, workers: str) -> None:
    before = served.objects()
    process = _start(place, served, workers, conftest__py=_SLOW_END)
    _await_journal(place)
    # A terminal sends to all of them.
    os.killpg(process.pid, signal.SIGINT)
    place.await_path("cleaning")
    # Soon enough after the first one it would count as the same.
    signal.sigtimedwait([], 0.6)
    os.killpg(process.pid, signal.SIGINT)
    ran = place.end(process, within=15)
    assert ran.status == 128 + signal.SIGINT, ran.output
    assert ran.line("^cri: left at once")
    sweep = ran.line("^cri: remove it with: cri-conformance sweep")
    assert sweep.endswith(f"--cri-endpoint {served.url}")
    told = ran.line("^cri: see what was found with: cri-conformance report")
    assert _report(told.split()[-1]).startswith("interrupted")
    assert ran.verdicts[_HELD] == "held"
    _sweep(place, served)
    assert served.objects() == before
    assert place.left() == []


def test_once_while_it_cleans_up_after_its_last_test(place: Place, served: Served) -> None:
    slow = """
        import time
        from pathlib import Path
        from cri_conformance.target import Preparation

        def clean(self):
            Path("cleaning").touch()
            time.sleep(60)

        Preparation.clean = clean
    """
    place.write(conftest__py=slow, test_it__py=_JUDGES)
    process = place.start(*served.options, "test_it.py")
    place.await_path("cleaning")
    process.send_signal(signal.SIGINT)
    ran = place.end(process)
    assert ran.status == 2, ran.output
    assert "Traceback" not in ran.output
    assert ran.verdicts[_HELD] == "held"
    assert ran.results["suite"]["stopped"] == "interrupted"
    assert "not yet removed" in ran.results["leftovers"][-1]
    assert ran.line("^remove it with: cri-conformance sweep").endswith(served.url)
    assert served.url in ran.report("index.html")
    assert place.left() == []


@_WORKERS
def test_killed(place: Place, served: Served, workers: str) -> None:
    before = served.objects()
    process = _start(place, served, workers)
    _await_journal(place)
    process.kill()
    ran = place.end(process)
    assert ran.status == -signal.SIGKILL
    folder = place.folder / "reports/latest"
    assert not (folder / "results.json").exists()

    assert _report(str(folder)).startswith("interrupted")
    assert ran.verdicts == {_HELD: "held"}
    assert ran.results["suite"]["complete"] is False
    assert "the run ended before its test" in ran.reason("RuntimeService.Status.succeeds")
    assert "INTERRUPTED" in ran.report("index.html")

    # The next run names what is left, and by its own report takes the place of the old one.
    place.write(test_none__py="def test_none(): pass")
    next_run = place.run(*served.options, "test_none.py")
    # Workers notice that they are alone, and remove what they made themselves.
    assert next_run.line(r"^cri: earlier runs left \d objects? behind")
    if workers == "-n0":
        container = (place.folder / "ready").read_text(encoding="utf-8")
        assert any(f"container {container}" in what for what in next_run.results["leftovers"])
    assert next_run.results["suite"]["complete"] is True
    assert not (folder / "results.jsonl").exists()
    _sweep(place, served)
    assert served.objects() == before


def test_first_results_of_a_run_that_goes_on(place: Place, served: Served) -> None:
    process = _start(place, served)
    _await_journal(place)
    _report(str(place.folder / "reports/latest"))
    process.terminate()
    ran = place.end(process)
    assert ran.status == 2, ran.output
    assert ran.results["suite"]["stopped"] == "interrupted"


@_WORKERS
def test_its_time_is_over(place: Place, served: Served, workers: str) -> None:
    before = served.objects()
    ran = place.end(_start(place, served, workers, "--cri-run-timeout=5"))
    assert ran.status == 6, ran.output
    assert "--cri-run-timeout=5" in ran.results["suite"]["stopped"]
    assert ran.verdicts[_HELD] == "held"
    assert served.objects() == before
    assert place.left() == []


def test_what_does_not_end_in_good_order_is_ended_by_force(place: Place, served: Served) -> None:
    impatient = _SLOW_END + "\n    from cri_conformance import leaving\n    leaving.GRACE = 2\n"
    process = _start(place, served, "--cri-run-timeout=5", conftest__py=impatient)
    ran = place.end(process)
    assert ran.status == 6, ran.output
    assert ran.verdicts[_HELD] == "held"
    assert "by force" in ran.results["leftovers"][0]
    assert ran.line("^cri: ended by force: the run took longer than --cri-run-timeout=5")
    assert ran.report("index.html")
    _sweep(place, served)


def _report(folder: str) -> str:
    """Has the report made; the line that says what the run came to."""
    made = command("report", folder)
    told, _ = made.communicate()
    assert made.returncode == 0, told
    return told.splitlines()[-2]


def _sweep(place: Place, served: Served) -> None:
    """As soon as workers that outlived their run are gone."""
    owners = [
        match[1]
        for path in place.temporary.glob("cri-*/owner")
        if (match := re.fullmatch(r"(\S+)\s*", path.read_text(encoding="utf-8")))
    ]
    wait_for(lambda: not any(map(owner_alive, owners)), "the run to be gone")
    swept = command("sweep", "--cri-endpoint", served.url, env={"TMPDIR": str(place.temporary)})
    told, _ = swept.communicate()
    assert swept.returncode == 0, told
