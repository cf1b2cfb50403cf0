# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/ and docs/: that it can be read, and names only what there is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from cri_conformance import plugin
from cri_conformance.contract.expectations import shipped

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
yaml = pytest.importorskip("yaml", reason="PyYAML, of the dev extra")

FLEETS = (ROOT / "docs" / "ci-and-fleets.md").read_text(encoding="utf-8")
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
PAGES = sorted((ROOT / "docs").glob("*.md"))
OPTIONS = {option for option, *_ in (*plugin._OPTIONS, *plugin._FLAGS)}
#: Options of commands other than pytest that begin like ours.
_OTHERS = {"--cri-endpoint", "--cri-image-endpoint", "--cri-image-loader"}
_LINK = re.compile(r"\]\(([a-z-]+\.md)(#[a-z0-9-]+)?\)")


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _pods() -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """(name, pod spec, container) of the manifests that make pods."""
    job = _read(DEPLOY / "kubernetes" / "job.yaml")["spec"]["template"]["spec"]
    plugin_ = _read(DEPLOY / "sonobuoy" / "plugin.yaml")
    return [
        ("job", job, job["containers"][0]),
        ("sonobuoy", plugin_["podSpec"], plugin_["spec"]),
    ]


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix == ".yml" or p.suffix == ".yaml"])
def test_yaml_reads(path: Path) -> None:
    assert isinstance(_read(path), dict)


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: path.name)
def test_options_exist(path: Path) -> None:
    named = set(re.findall(r"--cri-[a-z-]*[a-z]", path.read_text(encoding="utf-8")))
    assert named <= OPTIONS | _OTHERS


@pytest.mark.parametrize("path", [*FILES, *PAGES], ids=lambda path: path.name)
def test_expectations_ship(path: Path) -> None:
    """A name (not a file) of expectations is one of ours."""
    named = re.findall(r"--cri-expectations[ =]([a-z0-9][a-z0-9.-]*)", path.read_text("utf-8"))
    assert {name for name in named if not name.endswith(".toml")} <= {*shipped()}


@pytest.mark.parametrize(("name", "pod", "container"), _pods(), ids=lambda x: str(x)[:12])
def test_pods_mount_what_the_text_says(
    name: str, pod: dict[str, Any], container: dict[str, Any]
) -> None:
    volumes = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    if name == "sonobuoy":
        mounts.pop("results")  # Sonobuoy's own
    assert mounts.keys() == volumes.keys()
    said = yaml.dump(container["args"])
    assert "--cri-host-root=/host" in said
    assert mounts["root"]["mountPath"] == "/host"
    assert volumes["root"] == "/"
    assert mounts["root"]["mountPropagation"] == "Bidirectional"
    # What is mounted inside /host would reach the node.
    assert not [m for m in mounts.values() if m["mountPath"].startswith("/host/")]
    socket = re.search(r"unix://(/\S+)/[^/\s]+\.sock", said)
    assert socket
    assert mounts["socket"]["mountPath"] == volumes["socket"] == socket[1]
    for volume in volumes.values():
        assert f"`{volume}`" in FLEETS
    assert pod["hostNetwork"] is pod["hostPID"] is True
    assert container["securityContext"]["privileged"] is True
    # A DaemonSet's pods are always restarted, so the script never ends.
    assert pod.get("restartPolicy") == "Never" or "exec sleep infinity" in said


def _scripts() -> list[tuple[str, str]]:
    steps = _read(DEPLOY / "github" / "action.yml")["runs"]["steps"]
    steps += _read(DEPLOY / "github" / "example-workflow.yml")["jobs"]["containerd"]["steps"]
    gitlab = _read(DEPLOY / "gitlab" / "cri-conformance.gitlab-ci.yml")[".cri-conformance"]
    sonobuoy = _read(DEPLOY / "sonobuoy" / "plugin.yaml")["spec"]["args"]
    return [
        *(("github", step["run"]) for step in steps if "run" in step),
        *(("gitlab", line) for line in gitlab["script"] + gitlab["after_script"]),
        *(("sonobuoy", line) for line in sonobuoy),
        ("on-node", (DEPLOY / "on-node").read_text(encoding="utf-8")),
    ]


@pytest.mark.parametrize(("where", "script"), _scripts(), ids=lambda text: str(text)[:12])
def test_scripts_are_shell(where: str, script: str) -> None:
    shell = "bash" if where == "github" else "sh"
    done = subprocess.run([shell, "-n"], input=script, text=True, capture_output=True, timeout=10)
    assert (done.returncode, done.stderr) == (0, "")


def test_on_node_stops_the_kubelet_only_when_told_and_starts_it_again(tmp_path: Path) -> None:
    """With stand-ins: a process that is called kubelet, and programs that say their words."""
    for name, text in (("pytest", 'echo "pytest $*"; exit 3'), ("nsenter", 'shift 4; echo "$*"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    shutil.copy(shutil.which("sleep") or "", tmp_path / "kubelet")
    kubelet = subprocess.Popen([tmp_path / "kubelet", "60"])

    def run(**variables: str) -> tuple[int, list[str]]:
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", **variables}
        done = subprocess.run(
            [DEPLOY / "on-node", "-q"], env=environment, text=True, capture_output=True, timeout=20
        )
        return done.returncode, done.stdout.splitlines()

    try:
        assert run(CRI_STOP_KUBELET="no") == (4, [])
        status, said = run(CRI_STOP_KUBELET="yes")
    finally:
        kubelet.kill()
        kubelet.wait()
    assert status == 3
    assert said[0].startswith("systemd-run ")
    assert said[1:4] == [
        "systemctl stop kubelet",
        "pytest -p no:cacheprovider -q",
        "systemctl start kubelet",
    ]


def test_what_a_fleet_hands_in_becomes_one_matrix(tmp_path: Path) -> None:
    """The script of the Sonobuoy plugin, with the reference runtime on each of two nodes.

    The folders are other ones, and waiting is left out; a third node had no run.
    """
    (script,) = _read(DEPLOY / "sonobuoy" / "plugin.yaml")["spec"]["args"]
    tools = tmp_path / "tools"
    tools.mkdir()
    stand_ins = {
        "sleep": "exit 0",
        # As the real one, but for the runtime that it asks.
        "on-node": '[ "$NODE" != third ] || exit 4\n'
        f'exec {sys.executable} -m pytest -q -p no:cacheprovider --cri-endpoint=reference "$1" '
        "--cri-clause=RuntimeService.Version.stable",
    }
    for name, text in stand_ins.items():
        (tools / name).write_text(f"#!/bin/sh\n{text}\n")
        (tools / name).chmod(0o755)
    for node in ("first", "second", "third"):
        place, handed = tmp_path / node, tmp_path / "fleet" / node
        handed.mkdir(parents=True)
        (place / "results").mkdir(parents=True)
        words = script.replace("/reports/", f"{place}/").replace(
            "/tmp/sonobuoy/results", f"{place}/results"
        )
        environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "NODE": node}
        subprocess.run(
            ["sh", "-c", words], env=environment, cwd=place, capture_output=True, timeout=60
        )
        # What the aggregator fetches: the archive that `done` names, unpacked by node.
        archive = (place / "results" / "done").read_text()
        subprocess.run(["tar", "xzf", archive, "-C", handed], check=True, timeout=20)
        status = (handed / "status").read_text().strip()
        assert status == ("4" if node == "third" else "0")
        assert (handed / "junit.xml").exists() is (node != "third")

    def compare(*nodes: str) -> subprocess.CompletedProcess[str]:
        folders = [str(tmp_path / "fleet" / node) for node in nodes]
        written = ["--markdown", str(tmp_path / "fleet.md")]
        return subprocess.run(
            [sys.executable, "-m", "cri_conformance.cli", "compare", *folders, *written],
            text=True,
            capture_output=True,
            timeout=60,
        )

    merged = compare("first", "second")
    assert merged.returncode == 0, merged.stderr
    assert (tmp_path / "fleet.md").read_text()
    assert compare("first", "third").returncode == 2


def test_loader_is_one_word_with_a_place_for_the_archive() -> None:
    (job,) = [pod for pod in _pods() if pod[0] == "job"]
    (option,) = [arg for arg in job[2]["args"] if arg.startswith("--cri-image-loader=")]
    words = shlex.split(option.partition("=")[2])
    assert words[:2] == ["sh", "-c"]
    assert words[2].endswith("<{}")


def test_action_uses_its_inputs() -> None:
    action = _read(DEPLOY / "github" / "action.yml")
    used = set(re.findall(r"inputs\.([a-z]+)", (DEPLOY / "github" / "action.yml").read_text()))
    assert used == set(action["inputs"])
    (step,) = [
        s
        for s in _read(DEPLOY / "github" / "example-workflow.yml")["jobs"]["containerd"]["steps"]
        if "cri-conformance" in s.get("uses", "")
    ]
    assert set(step["with"]) <= set(action["inputs"])
    needed = {name for name, one in action["inputs"].items() if one.get("required")}
    assert needed <= set(step["with"])


def test_containerfile_copies_the_package_and_all_that_building_it_takes() -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    assert "COPY . /src" in text
    left_out = (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8").split()
    needed = {"cri_conformance", "native", "proto", "hatch_build.py", "pyproject.toml", "README.md"}
    assert not needed & set(left_out)
    extras = re.search(r"/src\[([a-z,]+)\]", text)
    assert extras
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
    for copied in re.findall(r"^COPY (\S+) /usr", text, re.MULTILINE):
        assert (ROOT / copied).stat().st_mode & 0o111


def test_pages_are_in_the_site_and_their_links_lead_somewhere() -> None:
    nav = re.findall(r": ([a-z-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    assert sorted(nav) == [page.name for page in PAGES]
    for page in PAGES:
        for target, _ in _LINK.findall(page.read_text(encoding="utf-8")):
            assert (ROOT / "docs" / target).exists(), f"{page.name} → {target}"


def test_commands_in_the_pages_exist() -> None:
    """Every `cri-conformance COMMAND` of the pages is one."""
    from cri_conformance import cli

    known = set(cli._HANDED_ON) | set(
        re.findall(r"^    ([a-z]+)", cli._parser().format_help(), re.MULTILINE)
    )
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = set(re.findall(r"^(?: *|`)cri-conformance ([a-z]+)", text, re.MULTILINE))
        assert named <= known, page.name
