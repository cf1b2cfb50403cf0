# SPDX-License-Identifier: Apache-2.0
"""Options: from where they come, and what is said of a bad one."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from cri_conformance import plugin, session, settings
from cri_conformance.contract.clause import Level, Minor
from cri_conformance.target import CONNECT_WITHIN, Preparation, TargetError

from .conftest import IMAGE, Place, Ran, Served

#: Seconds until a wrong endpoint is told, and what a busy machine takes for the same.
PROMISED, BUSY = 5.0, 3.0
#: Seconds to wait for an answer where waiting is not the point.
WAITS = 0.5


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cri-endpoint=nonsense"], "not an endpoint: 'nonsense'"),
        (["--cri-endpoint=unix://run/x.sock"], "not an endpoint"),
        (["--cri-endpoint=tcp://host"], "not an endpoint"),
        (["--cri-endpoint=tcp://host:0"], "not an endpoint"),
        ([f"--cri-endpoint=/{'x' * 120}"], "longer than 107 bytes"),
        (["--cri-endpoint=auto"], "neither $CONTAINER_RUNTIME_ENDPOINT nor"),
        (["--cri-image-endpoint=zz"], "not an endpoint: 'zz'"),
        (["--cri-timeout=0"], "--cri-timeout is a number of seconds"),
        (["--cri-timeout=nan"], "--cri-timeout is a number of seconds"),
        (["--cri-timeout=soon"], "--cri-timeout is a number of seconds"),
        (["--cri-level=MUST,WILL"], "--cri-level takes any of MUST, FIELD"),
        (["--cri-level=,"], "--cri-level takes any of MUST, FIELD"),
        (["--cri-report="], "--cri-report is empty: name a folder, or leave it out"),
        (["--cri-fuzz="], "--cri-fuzz is empty: say for how long, or leave it out"),
        (["--cri-fuzz=99999999999999999999s"], "--cri-fuzz is a time such as 90s"),
        (["--cri-fuzz=9000h"], "a year at most"),
        (["--cri-fuzz=infs"], "--cri-fuzz is a time such as 90s"),
        (["--cri-fuzz=-5"], "--cri-fuzz is a time such as 90s"),
        (["--cri-fuzz=s"], "--cri-fuzz is a time such as 90s"),
        (["--cri-run-timeout=1e20"], "--cri-run-timeout is a number of seconds"),
        (["--cri-depth=deep"], "--cri-depth is gate or nightly"),
        (["--cri-seed=-1"], "--cri-seed is a whole number"),
        (["--cri-seed=²"], "--cri-seed is a whole number"),
        (["--cri-version=9"], "--cri-version: not a Kubernetes minor"),
        (["--cri-version=1.5"], "--cri-version: the contract is known from"),
        (["--cri-version=1.99"], "--cri-version: the contract is known from"),
        (["--cri-expectations=/none.toml"], "--cri-expectations: there is no /none.toml"),
        (["--cri-baseline=/none.json"], "--cri-baseline: there is no /none.json"),
        (["--cri-clause=@/none.txt"], "--cri-clause: can't read /none.txt: there is no such"),
        (["--cri-profiles=stats,sats"], "--cri-profiles: there is no profile 'sats', only runtime"),
        (["--cri-clauses-as-of=new"], "--cri-clauses-as-of: not a version"),
        (["--cri-clauses-as-of=99.0"], "--cri-clauses-as-of: the clauses are known from"),
        (["--cri-host-root=/none"], "--cri-host-root: there is no /none"),
        (["--cri-runtime-log=/none"], "--cri-runtime-log: there is no /none"),
        (["--cri-image-endpoint=http://x:1"], "not an endpoint"),
        (["--cri-registry=http://x"], "--cri-registry is an address of this host"),
        (["--cri-registry=10.0.0.5:99999"], "--cri-registry is an address of this host"),
    ],
    ids=lambda value: value[0][6:40] if isinstance(value, list) else "",
)
def test_bad_value(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("CRI_CONFIG_FILE", "/nonexistent")
    config = pytester.parseconfig("--cri-endpoint=reference", *options)
    with pytest.raises(pytest.UsageError) as raised:
        settings.read(config)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "options",
    [
        ["--cri-clause=nothing-of-that-name"],
        ["--cri-report=/proc/none"],
        ["--cri-fuzz-dir=/proc/nothere", "--cri-fuzz=5"],
        ["--cri-fuzz-dir=/etc/passwd", "--cri-fuzz=5"],
        ["--cri-fuzz-dir=/etc/passwd/below", "--cri-fuzz=5"],
        ["--cri-image-endpoint=/none/x.sock"],
        ["--cri-runtime-handler=none-such"],
    ],
    ids=lambda value: value[0][6:],
)
def test_bad_value_ends_a_run_with_one_line(place: Place, options: list[str]) -> None:
    ran = place.run("--cri-endpoint=reference", *options)
    assert ran.status == 4, ran.output
    lines = [line for line in ran.output.splitlines() if line.strip()]
    assert [line for line in lines if "Traceback" in line] == []
    assert lines[-1].startswith("ERROR: ")
    assert options[0].split("=")[1] in lines[-1]
    # One option is wrong, so one is named.
    assert lines[-1].count("--cri-") <= 1
    assert place.left() == []


def test_a_list_of_clauses_is_judged_and_nothing_else(place: Place) -> None:
    place.write(ours__txt="# ours\nVersion.stable\nRuntimeService.Status.succeeds\n")
    narrow = ["--cri-endpoint=reference", "--cri-clause=@ours.txt", "-n2"]
    ran = place.run(*narrow)
    assert ran.status == 0, ran.output
    listed = ["RuntimeService.Version.stable", "RuntimeService.Status.succeeds"]
    assert ran.verdicts == dict.fromkeys(listed, "held")
    # A report tells what was judged, also when the file has changed since.
    assert ran.results["suite"]["selection"] == {"clause": f"Version.stable,{listed[1]}"}


def test_one_of_a_list_that_is_no_clause_is_named(place: Place) -> None:
    place.write(ours__txt="Version.stable\nno-such-clause\n")
    for chosen in ("@ours.txt", "Version.stable,no-such-clause"):
        ran = place.run("--cri-endpoint=reference", f"--cri-clause={chosen}")
        assert ran.status == 4, ran.output
        assert ran.line("^ERROR: no clause matches --cri-clause 'no-such-clause'; see: ")


@pytest.mark.parametrize("budget", ["20", ""])
def test_a_campaign_without_a_runtime(place: Place, budget: str) -> None:
    place.write(test_own__py="def test_own(): pass")
    ran = place.run(f"--cri-fuzz={budget}")
    assert ran.status == 4, ran.output
    assert ran.line("^ERROR: --cri-fuzz needs --cri-endpoint")
    assert "Traceback" not in ran.output


def test_a_campaign_in_pytest_ini_is_for_runs_with_a_runtime(place: Place) -> None:
    place.write(pytest__ini="[pytest]\ncri_fuzz = 20\n", test_own__py="def test_own(): pass")
    assert place.run().status == 0


def test_a_campaign_of_several_processes_says_what_each_does(place: Place) -> None:
    told = ["--cri-endpoint=reference", "--cri-fuzz=9", "--cri-fuzz-modes=messages", "--cri-seed=7"]
    ran = place.run(*told, "-n2", "--cri-restart-command=true")
    assert ran.line("^cri: a campaign by 2 processes: each draws seeds of its own from 7")
    assert ran.line("^cri: with -n nothing is restarted but .*--cri-restart-command")
    assert ran.line("^campaign gw0, drawn from seed 7: .* 9 steps ")
    alone = place.run(*told, "--cri-restart-command=true")
    assert alone.line("^campaign, seed 7: ")
    assert "a campaign by" not in alone.output
    assert "with -n" not in alone.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cri-fuzz-modes=lives"], "--cri-fuzz-modes is of a campaign: add --cri-fuzz"),
        (["--cri-fuzz-dir=here"], "--cri-fuzz-dir is of a campaign: add --cri-fuzz"),
        (["--cri-fuzz=9", "--cri-fuzz-modes="], "--cri-fuzz-modes is empty: name some"),
        (["--cri-fuzz=9", "--cri-fuzz-dir="], "--cri-fuzz-dir is empty: name some"),
        (["--cri-fuzz=9", "--cri-fuzz-modes=lives,,wire"], "--cri-fuzz-modes: there is no mode ''"),
    ],
)
def test_options_of_a_campaign_that_say_nothing(
    pytester: pytest.Pytester, options: list[str], said: str
) -> None:
    config = pytester.parseconfig("--cri-endpoint=reference", *options)
    with pytest.raises(pytest.UsageError, match=re.escape(said)):
        session.make(config).pytest_configure(config)


def test_modes_are_taken_with_spaces(pytester: pytest.Pytester) -> None:
    config = pytester.parseconfig("--cri-endpoint=reference", "--cri-fuzz=9")
    config.option.cri_fuzz_modes = "lives, wire"
    assert settings.read(config).fuzz_modes == ("lives", "wire")


def test_processes_of_a_campaign_are_heard_of_while_they_play(place: Place) -> None:
    told = ["--cri-endpoint=reference", "--cri-fuzz=4s", "--cri-fuzz-modes=messages"]
    ran = place.run(*told, "-n2")
    assert ran.status == 0, ran.output
    for worker in ("gw0", "gw1"):
        assert ran.line(rf"^cri-fuzz: {worker}: \d+ s, ")


def test_unknown_clause_is_expected(pytester: pytest.Pytester) -> None:
    pytester.makefile(".toml", known='[[known]]\nclause = "No.such"\nreason = "x"\n')
    config = pytester.parseconfig("--cri-endpoint=reference", "--cri-expectations=known.toml")
    with pytest.raises(pytest.UsageError, match=r"known.toml, entry 1: there is no .*No\.such"):
        session.make(config)


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--cri-test-image=none", "has no image 'none'"),
        ("--cri-image-endpoint=unix:///none.sock", "--cri-image-endpoint: no socket at /none.sock"),
    ],
)
def test_image_that_is_not_there(
    pytester: pytest.Pytester, served: Served, option: str, said: str
) -> None:
    config = pytester.parseconfig(f"--cri-endpoint={served.url}", option)
    with pytest.raises(TargetError, match=said), Preparation(settings.read(config)):
        pass


class Fakes:
    """Listeners that are no runtime."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._end = threading.Event()
        self._undo: list[Callable[[], Any]] = []

    def close(self) -> None:
        self._end.set()
        for undo in self._undo:
            undo()

    def missing(self) -> Path:
        return self.folder / "missing.sock"

    def file(self) -> Path:
        path = self.folder / "file"
        path.touch()
        return path

    def below_a_file(self) -> Path:
        return self.file() / "cri.sock"

    def stale(self) -> Path:
        path = self.folder / "stale.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
        return path

    def mute(self) -> Path:
        path = self.folder / "mute.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        self._undo.append(listener.close)
        return path

    def other(self) -> Path:
        return self._serve("other.sock", None)

    def hanging(self) -> Path:
        return self._serve("hanging.sock", lambda request, context: self._end.wait(30))

    def _serve(self, name: str, answer: Callable[[Any, Any], Any] | None) -> Path:
        path = self.folder / name
        server = grpc.server(ThreadPoolExecutor(4))
        if answer:
            handler = grpc.unary_unary_rpc_method_handler(answer)
            server.add_generic_rpc_handlers(
                (
                    grpc.method_handlers_generic_handler(
                        "runtime.v1.RuntimeService", {"Version": handler}
                    ),
                )
            )
        server.add_insecure_port(f"unix:{path}")
        server.start()
        self._undo.append(lambda: server.stop(None).wait())
        return path


@pytest.fixture
def fakes(short: Callable[[], Path]) -> Iterator[Fakes]:
    made = Fakes(short())
    yield made
    made.close()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "no socket at"),
        ("below_a_file", "no socket at"),
        ("file", "is not a socket"),
        ("stale", "nothing takes gRPC connections"),
        ("mute", "nothing takes gRPC connections"),
        ("other", "does it serve CRI v1"),
        ("hanging", "does not answer Version"),
    ],
)
def test_no_runtime_there(
    pytester: pytest.Pytester, fakes: Fakes, monkeypatch: pytest.MonkeyPatch, kind: str, said: str
) -> None:
    path: Path = getattr(fakes, kind)()
    monkeypatch.setattr("cri_conformance.target.CONNECT_WITHIN", WAITS)
    config = pytester.parseconfig(f"--cri-endpoint=unix://{path}")
    began = time.monotonic()
    with pytest.raises(TargetError) as raised, Preparation(settings.read(config)):
        pass
    assert time.monotonic() - began < PROMISED - 2 * CONNECT_WITHIN + 2 * WAITS
    assert said in str(raised.value)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_permission(
    pytester: pytest.Pytester, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fakes.stale()
    monkeypatch.setattr(
        "cri_conformance.target.os.access", lambda path, mode: False
    )  # we may be root
    config = pytester.parseconfig(f"--cri-endpoint=unix://{path}")
    with (
        pytest.raises(TargetError, match="no permission to use"),
        Preparation(settings.read(config)),
    ):
        pass


def test_a_run_says_so_in_time(place: Place, fakes: Fakes) -> None:
    def timed(path: Path) -> tuple[Ran, float]:
        began = time.monotonic()
        return place.run(f"--cri-endpoint={path}"), time.monotonic() - began

    # What pytest takes to start on a busy machine is seen where nothing is waited for.
    _, start = timed(fakes.missing())
    ran, took = timed(fakes.hanging())
    assert took < 2 * start + PROMISED + BUSY
    assert ran.status == 4
    assert ran.line("^ERROR: --cri-endpoint .*does not answer Version")
    assert "Traceback" not in ran.output
    assert place.left() == []


def test_options_stand_in_pytest_ini(pytester: pytest.Pytester, tmp_path: Path) -> None:
    pytester.makeini(
        f"""
        [pytest]
        cri_endpoint = reference
        cri_level = must, KUBELET
        cri_strict = true
        cri_seed = 7
        cri_version = 1.27
        cri_timeout = 3.5
        cri_report = {tmp_path}
        """
    )
    read = settings.read(pytester.parseconfig("--cri-seed=8"))
    assert (read.endpoint, read.strict, read.timeout) == ("reference", True, 3.5)
    assert read.levels == {Level.MUST, Level.KUBELET}
    assert read.version == Minor(1, 27)
    assert read.report == tmp_path
    assert read.seed == 8, "the command line wins"


def test_auto_reads_the_environment(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CONTAINER_RUNTIME_ENDPOINT", "unix:///run/a.sock")
    monkeypatch.setenv("IMAGE_SERVICE_ENDPOINT", "unix:///run/b.sock")
    read = settings.read(pytester.parseconfig("--cri-endpoint=auto"))
    assert (read.endpoint, read.image_endpoint) == ("unix:///run/a.sock", "unix:///run/b.sock")


def test_auto_reads_crictl_yaml(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    file = pytester.makefile(".yaml", crictl="runtime-endpoint: unix:///run/c.sock\ntimeout: 2\n")
    monkeypatch.setenv("CRI_CONFIG_FILE", str(file))
    assert settings.read(pytester.parseconfig("--cri-endpoint=auto")).endpoint == (
        "unix:///run/c.sock"
    )
    # Only where it is asked for.
    assert not plugin.setting(pytester.parseconfig(), "--cri-endpoint")


def test_socket_as_a_word_of_its_own(place: Place, served: Served) -> None:
    """pytest takes it for a file of tests, and its folder for the root: that is told."""
    place.write(pytest__ini="[pytest]\n")
    socket_path = served.url.removeprefix("unix://")
    words = [f"--cri-test-image={IMAGE}", "--cri-clause=RuntimeService.Version.stable"]
    ran = place.run("--cri-endpoint", socket_path, *words)
    assert ran.status == 0, ran.output
    assert f"--cri-endpoint={socket_path}" in ran.line("^cri: rootdir")
    assert (place.folder / "reports/latest/index.html").exists()


def test_a_shared_node_is_spared(place: Place) -> None:
    place.write(
        test_it__py="""
        import pytest

        @pytest.mark.disturbs("load")
        @pytest.mark.clause("RuntimeService.Version.stable")
        def test_disturbs(cri_runtime, judge): raise AssertionError("it ran")

        def test_other(cri_runtime): pass
        """
    )
    ran = place.run("--cri-endpoint=reference", "--cri-shared-node", "test_it.py")
    assert ran.reason("RuntimeService.Version.stable") == (
        "switched off by option: --cri-shared-node (load)"
    )
    assert ran.results["suite"]["selection"]["shared_node"] is True
