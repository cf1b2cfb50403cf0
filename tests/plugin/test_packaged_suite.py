# SPDX-License-Identifier: Apache-2.0
"""Without paths the suite that ships is run, whatever stands in the user's folder."""

from __future__ import annotations

import shutil

from .conftest import ROOT, Place

REFERENCE = ("--cri-endpoint=reference", "--cri-clause=RuntimeService.Version.*")


def test_from_an_empty_folder(place: Place) -> None:
    ran = place.run(*REFERENCE)
    assert ran.status == 0, ran.output
    # What a restart must leave is asked only where the user says how to restart.
    restart = {name for name in ran.verdicts if name.endswith("after-restart")}
    assert {ran.verdicts[name] for name in ran.verdicts.keys() - restart} == {"held"}
    assert all(name.startswith("RuntimeService.Version.") for name in ran.verdicts)
    for test in ran.results["tests"]:
        # With the file in it pytest-xdist gives one worker one file, and people find the test.
        file = "test_restart.py" if "after-restart" in test["test"] else "test_version.py"
        assert test["test"].startswith(f"cri_conformance/suite/{file}::")
    assert {path.name for path in (place.folder / "reports/latest").iterdir()} == {
        "index.html",
        "junit.xml",
        "results.json",
        "summary.md",
    }
    assert place.left() == []


def test_beside_tests_and_settings_of_the_users_own(place: Place) -> None:
    place.write(
        pytest__ini="""
            [pytest]
            testpaths = check_own.py
            python_files = check_*.py
            python_functions = check_*
            python_classes = Check
            addopts = --strict-markers --strict-config --import-mode=importlib
            filterwarnings = error
            xfail_strict = true
        """,
        check_own__py="def check_own(): assert 0",
        conftest__py="collect_ignore = []",
    )
    ran = place.run(*REFERENCE)
    assert ran.status == 0, ran.output
    assert ran.verdicts


def test_as_installed_from_a_wheel(place: Place) -> None:
    site = place.folder / ".venv/site-packages"
    shutil.copytree(
        ROOT / "cri_conformance",
        site / "cri_conformance",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    information = site / "cri_conformance-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Name: cri-conformance\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text(
        "[pytest11]\ncri_conformance = cri_conformance.plugin\n"
    )
    place.write(
        conftest__py="""
            import cri_conformance
            assert "site-packages" in cri_conformance.__file__
        """
    )
    ran = place.run(*REFERENCE, PYTHONPATH=str(site))
    assert ran.status == 0, ran.output
    assert ran.verdicts
