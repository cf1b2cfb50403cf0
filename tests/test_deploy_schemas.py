# SPDX-License-Identifier: Apache-2.0
"""What is in deploy/ by the schemas of those that read it; these come with the dev extra."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML, of the dev extra")
kubernetes = pytest.importorskip("kubernetes_validate", reason="of the dev extra")

DEPLOY = Path(__file__).parent.parent / "deploy"
#: The oldest of Kubernetes that the manifests are meant for, and the youngest that is known here.
KUBERNETES = ("1.28", kubernetes.latest_version())
#: What Sonobuoy knows of a plugin, from its package plugin/manifest.
SONOBUOY = {"sonobuoy-config", "spec", "podSpec", "extra-volumes", "config-map"}
SONOBUOY_CONFIG = {
    *("driver", "plugin-name", "skip-cleanup", "result-format", "result-files"),
    *("description", "source-url", "order"),
}


def _read(*path: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(DEPLOY.joinpath(*path).read_text(encoding="utf-8"))
    return read


def _by_schema(schema: str, path: Path, *words: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *words, str(path)], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def _broken(folder: Path, path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    broken = folder / path.name
    broken.write_text(text.replace(old, new), encoding="utf-8")
    return broken


@pytest.mark.parametrize(
    ("schema", "file", "old", "new"),
    [
        ("github-actions", "action.yml", "using: composite", "using: composed"),
        ("github-workflows", "example-workflow.yml", "timeout-minutes", "timeout"),
    ],
)
def test_github(tmp_path: Path, schema: str, file: str, old: str, new: str) -> None:
    path = DEPLOY / "github" / file
    status, said = _by_schema(schema, path)
    assert status == 0, said
    status, said = _by_schema(schema, _broken(tmp_path, path, old, new))
    assert status == 1, said


def test_gitlab(tmp_path: Path) -> None:
    """As what a job becomes that extends it: of a hidden job the schema asks nothing."""
    template = _read("gitlab", "cri-conformance.gitlab-ci.yml")
    assert set(template) == {".cri-conformance"}
    job = template[".cri-conformance"]
    pipeline = tmp_path / "gitlab-ci.json"

    def by_schema(job: dict[str, Any]) -> tuple[int, str]:
        pipeline.write_text(json.dumps({"containerd": job}))
        return _by_schema("gitlab-ci", pipeline, "--data-transform", "gitlab-ci")

    status, said = by_schema(job)
    assert status == 0, said
    status, said = by_schema(job | {"artifacts": job["artifacts"] | {"when": "ever"}})
    assert status == 1, said


def _sonobuoy_pod() -> dict[str, Any]:
    """The pod that Sonobuoy makes of the plugin: it adds the container and the results' folder."""
    plugin = _read("sonobuoy", "plugin.yaml")
    spec = plugin["podSpec"]
    spec["containers"] = [*spec["containers"], plugin["spec"]]
    spec["volumes"] = [*spec["volumes"], {"name": "results", "emptyDir": {}}]
    metadata = {"name": plugin["sonobuoy-config"]["plugin-name"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize(
    ("resource", "pod"),
    [
        (_read("kubernetes", "job.yaml"), lambda job: job["spec"]["template"]["spec"]),
        (_sonobuoy_pod(), lambda pod: pod["spec"]),
    ],
    ids=["job", "sonobuoy"],
)
def test_kubernetes(
    resource: dict[str, Any], pod: Callable[[dict[str, Any]], dict[str, Any]], version: str
) -> None:
    """By the strict schema, which admits no field that it does not know."""
    kubernetes.validate(resource, version, strict=True)
    broken = copy.deepcopy(resource)
    pod(broken)["containers"][0]["securityContext"]["priviledged"] = True
    with pytest.raises(kubernetes.ValidationError, match="priviledged"):
        kubernetes.validate(broken, version, strict=True)


def test_sonobuoy() -> None:
    plugin = _read("sonobuoy", "plugin.yaml")
    assert set(plugin) <= SONOBUOY
    assert set(plugin["sonobuoy-config"]) <= SONOBUOY_CONFIG
    assert plugin["sonobuoy-config"]["driver"] in ("Job", "DaemonSet")
    assert plugin["sonobuoy-config"]["result-format"] in ("junit", "e2e", "raw", "manual", "gojson")
