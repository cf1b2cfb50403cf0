# SPDX-License-Identifier: Apache-2.0
"""Runs that end before their time: the runtime dies, somebody presses Ctrl-C, or worse."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

from .conftest import Place, Ran, Served, command

#: Waits in a call, with a sandbox and a container made, until somebody ends the run.
_WAITS = """
    from pathlib import Path

    def test_waits(cri_runtime, cri_container):
        Path("ready").write_text(cri_container.id)
        cri_runtime.exec(cri_container, "/bin/sh", "-c", "sleep 60", timeout=100)

    def test_after(): Path("after").touch()
"""


def test_runtime_dies(places: list[Place], serve: Callable[[], Served]) -> None:
    kills = """
        import os
        from pathlib import Path
        import pytest

        @pytest.mark.clause("RuntimeService.Version.stable")
        def test_sees_it(cri_runtime, cri_container, judge):
            os.kill(int(os.environ["RUNTIME"]), 9)
            judge.ok("RuntimeService.Version.stable", cri_runtime.call("Version"))

        def test_later(cri_runtime): Path("later").touch()
    """
    started = []
    for place, workers in zip(places, ("-n0", "-n2"), strict=True):
        place.write(test_kills__py=kills)
        served = serve()
        runtime = str(served.process.pid)
        started.append(place.start(*served.options, workers, "test_kills.py", RUNTIME=runtime))
    for place, process in zip(places, started, strict=True):
        ran = place.end(process)
        assert ran.status == 6, ran.output
        assert not (place.folder / "later").exists()
        assert "no longer answers" in ran.results["suite"]["stopped"]
        assert ran.results["suite"]["complete"] is False
        assert "no longer answers" in ran.report("index.html")
        assert ran.line("^no verdict.*no longer answers")
        assert place.left() == []


def test_ctrl_c(places: list[Place], served: Served) -> None:
    """A terminal sends it to the workers too, and to the embedded runtime if it could."""
    before = served.objects()
    targets = (["--cri-endpoint=reference"], [*served.options, "-n2"])
    started = []
    for place, words in zip(places, targets, strict=True):
        place.write(test_waits__py=_WAITS)
        started.append(place.start(*words, "test_waits.py"))
    for place, process in zip(places, started, strict=True):
        place.await_file("ready")
        os.killpg(process.pid, signal.SIGINT)
    for place, process in zip(places, started, strict=True):
        _assert_ended_in_good_order(place, place.end(process))
    assert served.objects() == before


def test_sigterm(place: Place, served: Served) -> None:
    before = served.objects()
    place.write(test_waits__py=_WAITS)
    process = place.start(*served.options, "test_waits.py")
    place.await_file("ready")
    process.terminate()
    _assert_ended_in_good_order(place, place.end(process))
    assert served.objects() == before


def _assert_ended_in_good_order(place: Place, ran: Ran) -> None:
    assert ran.status == 2, ran.output
    assert not (place.folder / "after").exists()
    assert place.left() == []
    assert ran.results["suite"]["stopped"] == "interrupted"
    assert ran.results["leftovers"] == []
    assert ran.report("index.html")


def test_killed_run_is_swept_and_nothing_else(place: Place, served: Served) -> None:
    theirs = served.foreign_sandbox("theirs")
    place.write(test_waits__py=_WAITS)
    killed = place.start(*served.options, "test_waits.py")
    place.await_file("ready")
    dead = served.objects() - {theirs}
    killed.kill()
    place.end(killed)
    (place.folder / "ready").unlink()
    alive = place.start(*served.options, "test_waits.py")
    place.await_file("ready")
    living = served.objects() - dead - {theirs}
    assert len(dead) == len(living) == 2
    assert len(place.left()) == 2

    place.write(test_none__py="def test_none(): pass")
    next_run = place.run(*served.options, "test_none.py")
    line = next_run.line("^cri: earlier runs left 3 objects behind")
    assert f"cri-conformance sweep --cri-endpoint {served.url}" in line
    beside = next_run.line("^cri: another run goes on beside this one: ")
    assert beside.endswith(f": process {alive.pid}")
    assert served.objects() == dead | living | {theirs}

    swept = command("sweep", "--cri-endpoint", served.url, env={"TMPDIR": str(place.temporary)})
    told, _ = swept.communicate()
    assert swept.returncode == 0, told
    assert set(re.findall(r"^removed (?:sandbox|container) (\S+)", told, re.MULTILINE)) == dead
    assert served.objects() == living | {theirs}
    assert len(place.left()) == 1

    alive.send_signal(signal.SIGINT)
    assert place.end(alive).status == 2
    assert served.objects() == {theirs}
    assert place.left() == []
    served.client.call("RemovePodSandbox", pod_sandbox_id=theirs)
