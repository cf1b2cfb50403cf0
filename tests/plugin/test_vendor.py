# SPDX-License-Identifier: Apache-2.0
"""Tests that a vendor writes, on our fixtures and with our judge."""

from __future__ import annotations

from .conftest import Place, Served

STABLE = "RuntimeService.Version.stable"


def test_fixtures_and_their_removal(place: Place, served: Served) -> None:
    place.write(
        test_vendor__py="""
            def test_runtime(cri_runtime):
                assert cri_runtime.get("Version").runtime_name

            def test_sandbox(cri_runtime, cri_sandbox):
                assert cri_runtime.sandbox_status(cri_sandbox.id).state == 0

            def test_container(cri_runtime, cri_container):
                said = cri_runtime.exec(cri_container, "/bin/sh", "-c", "echo hi")
                assert said.stdout == b"hi\\n"
        """
    )
    before = served.objects()
    ran = place.run(*served.options, "test_vendor.py")
    assert ran.status == 0, ran.output
    assert "3 passed" in ran.output
    assert served.objects() == before
    assert place.left() == []


def test_plain_failure_is_not_ours(places: list[Place], served: Served) -> None:
    """Neither a mistake of the suite nor a broken clause, bound to one or not."""
    plain = """
        def test_own(cri_runtime):
            assert 1 == 2
    """
    judged = f"""
        import pytest

        @pytest.mark.clause("{STABLE}")
        def test_judged(cri_runtime, judge):
            judge.ok("{STABLE}", cri_runtime.call("Version"))
            assert 3 == 4
    """
    for place, text in zip(places, (plain, judged), strict=True):
        place.write(test_vendor__py=text)
    started = [place.start(*served.options, "test_vendor.py") for place in places]
    said = ("assert 1 == 2", "assert 3 == 4")
    for place, process, failure in zip(places, started, said, strict=True):
        ran = place.end(process)
        assert ran.status == 1, ran.output
        assert failure in ran.output
        assert "the suite is wrong" not in ran.output
        assert ran.results["summary"]["broken"] == 0


def test_clauses_are_judged(place: Place, served: Served) -> None:
    place.write(
        test_vendor__py=f"""
            import pytest

            @pytest.mark.clause("{STABLE}")
            def test_kept(cri_runtime, judge):
                judge.ok("{STABLE}", cri_runtime.call("Version"))

            @pytest.mark.clause("RuntimeService.Status.succeeds")
            def test_broken(cri_runtime, judge):
                judge.that("RuntimeService.Status.succeeds", False, permitted="this", actual="that")
        """
    )
    ran = place.run(*served.options, "test_vendor.py")
    assert ran.status == 1, ran.output
    assert ran.verdicts == {STABLE: "held", "RuntimeService.Status.succeeds": "broken"}
    # It is in the vendor's file that the test stands.
    assert ran.line(r"^ +pytest .*--cri-clause=RuntimeService.Status.succeeds").endswith(
        " test_vendor.py"
    )


def test_judged_and_bound_must_agree(place: Place, served: Served) -> None:
    place.write(
        test_vendor__py=f"""
            import pytest

            @pytest.mark.clause("{STABLE}")
            def test_never_judged(judge): pass

            def test_not_bound(judge):
                judge.that("{STABLE}", True, permitted="", actual="")
        """
    )
    ran = place.run(*served.options, "test_vendor.py")
    assert ran.status == 7, ran.output
    assert f"bound to {STABLE} and never judged it" in ran.output
    assert f"this test judges {STABLE} and is not bound to it" in ran.output
    assert ran.output.count("the suite is wrong: ") >= 2


def test_unknown_clause_is_an_error_of_collection(place: Place, served: Served) -> None:
    place.write(
        test_function__py="""
            import pytest

            @pytest.mark.clause("No.function")
            def test_it(): pass
        """,
        test_param__py="""
            import pytest

            @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.clause("No.param"))])
            def test_it(x): pass
        """,
        test_method__py="""
            import pytest

            @pytest.mark.clause("No.class")
            class TestIt:
                def test_it(self): pass
        """,
        test_module__py="""
            import pytest

            pytestmark = pytest.mark.clause("No.module")

            def test_it(): pass
        """,
    )
    names = [f"test_{name}.py" for name in ("function", "param", "method", "module")]
    ran = place.run(*served.options, *names)
    assert ran.status == 2, ran.output
    for name in ("function", "param", "class", "module"):
        assert f"is bound to clauses that the contract has not: No.{name} " in ran.output


def test_refused_setup_is_the_environment(place: Place, served: Served) -> None:
    place.write(
        test_vendor__py="""
            def test_it(cri_runtime):
                cri_runtime.get("PodSandboxStatus", pod_sandbox_id="never-known")
        """
    )
    ran = place.run(*served.options, "test_vendor.py")
    assert ran.status == 6, ran.output
    assert "no verdict: PodSandboxStatus" in ran.output


def test_a_finding_that_is_played_leaves_the_last_report_alone(
    place: Place, served: Served
) -> None:
    place.write(test_finding__py="def test_finding(cri_target): pass")
    reports = place.folder / "reports"
    for words, name in (([], "replay"), (["--cri-report=reports/mine"], "mine")):
        ran = place.run(*served.options, *words, "test_finding.py")
        assert ran.status == 0, ran.output
        assert ran.line("^report: ").endswith(f"reports/{name}/index.html")
    assert sorted(path.name for path in reports.iterdir()) == ["mine", "replay"]
