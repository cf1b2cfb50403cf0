# SPDX-License-Identifier: Apache-2.0
"""The record of calls: what is kept, and what of it a failure shows."""

from __future__ import annotations

import threading

from cri_conformance.api import types
from cri_conformance.wire import history
from cri_conformance.wire.history import History
from cri_conformance.wire.lines import folded, in_lines
from cri_conformance.wire.outcome import Ok, Outcome, Refused, Unknown

ID = 64 * "a"


def _stop(record: History, pod: str, outcome: Outcome | None = None) -> None:
    request = types.StopPodSandboxRequest(pod_sandbox_id=pod)
    outcome = outcome or Ok(types.StopPodSandboxResponse())
    record.add("StopPodSandbox", request, outcome, record.began + 1, 0.25)


def test_a_transcript_is_the_tests_own_calls_led_by_earlier_ones_about_the_same_objects() -> None:
    record = History(100.0)
    made = Ok(types.RunPodSandboxResponse(pod_sandbox_id=ID))
    record.add("RunPodSandbox", types.RunPodSandboxRequest(), made, 100.5, 0.1)
    _stop(record, "other")
    mark = record.mark()
    _stop(record, ID)
    assert [call["rpc"] for call in record.transcript(mark)] == ["RunPodSandbox", "StopPodSandbox"]
    assert [call.rpc for call in record.since(mark)] == ["StopPodSandbox"]
    assert record.transcript(mark)[0]["at"] == 0.5


def test_objects_of_a_violation_bring_their_calls_along() -> None:
    record = History(0.0)
    _stop(record, "other")
    assert record.transcript(record.mark()) == []
    assert len(record.transcript(record.mark(), about=["other"])) == 1


def test_what_is_secret_is_not_shown() -> None:
    record = History(0.0)
    given = types.AuthConfig(username="me", password="p1", auth="p2", identity_token="p3")
    request = types.PullImageRequest(auth=given)
    record.add("PullImage", request, Ok(types.PullImageResponse()), 1.0, 0.1)
    [shown] = record.transcript(0)
    hidden = dict.fromkeys(("password", "auth", "identity_token"), "(hidden)")
    assert shown["request"] == {"auth": {"username": "me", **hidden}}
    # What was sent is as it was.
    assert request.auth.password == "p1"


def test_the_three_outcomes_in_words() -> None:
    record = History(0.0)
    _stop(record, "a")
    _stop(record, "b", Refused("NOT_FOUND", "no such thing"))
    _stop(record, "c", Unknown("the deadline of 2 s passed"))
    shown = [(call["outcome"], call["message"], call["response"]) for call in record.transcript(0)]
    assert shown == [
        ("OK", "", {}),
        ("NOT_FOUND", "no such thing", None),
        ("UNKNOWN-OUTCOME", "the deadline of 2 s passed", None),
    ]


def test_a_long_transcript_keeps_its_beginning_and_its_end() -> None:
    record = History(0.0)
    for number in range(500):
        _stop(record, str(number))
    shown = [call["request"]["pod_sandbox_id"] for call in record.transcript(0)]
    assert len(shown) == history.SHOWN
    assert (shown[0], shown[-1]) == ("0", "499")


def test_what_a_long_transcript_leaves_out_is_told_and_is_the_least_telling() -> None:
    record = History(0.0)
    no = Refused("NOT_FOUND", "no such thing")
    for number in range(600):
        if number in (200, 300, 310):
            _stop(record, ID)
        else:
            _stop(record, ID if number % 2 else "other", no)
    _stop(record, "other")
    for about in ((ID,), ()):
        told = record.transcript(0, about)
        assert len(told) == history.SHOWN
        left_out = [call.get("left_out", 0) for call in told]
        assert sum(left_out) == 601 - history.SHOWN
        lines = in_lines(told)
        assert lines.count(f"… {max(left_out)} calls left out …") == 1
        between = told[30:60]
        answered = [call for call in between if call["outcome"] == "OK"]
        of = {call["request"]["pod_sandbox_id"] for call in between}
        assert (len(answered), of) == ((3, {ID}) if about else (0, {"other"}))
    assert not any("left_out" in call for call in record.transcript(590, ["none"]))


def test_of_calls_that_are_alike_the_first_and_the_last_are_told() -> None:
    record = History(0.0)
    no = Refused("UNKNOWN", "at work already")
    for pod, outcome, times in (("a", None, 3), ("b", no, 30), ("b", None, 1), ("c", no, 4)):
        for _ in range(times):
            _stop(record, pod, outcome)
    whole = record.transcript(0)
    told = folded(whole)
    assert [(call["request"]["pod_sandbox_id"], call.get("alike", 0)) for call in told] == [
        *(("a", 0), ("a", 0), ("a", 0)),
        *(("b", 28), ("b", 0)),
        ("b", 0),
        *(("c", 2), ("c", 0)),
    ]
    lines = in_lines(told)
    assert (lines[4], lines[8]) == ("… 28 more like it …", "… 2 more like it …")
    assert len(lines) == len(told) + 2
    assert not any("alike" in call for call in whole)


def test_calls_of_several_threads_are_alike_in_each() -> None:
    record = History(0.0)
    turns = [threading.Event() for _ in range(41)]
    turns[0].set()

    def stop(number: int) -> None:
        for turn in range(number, 40, 2):
            turns[turn].wait()
            _stop(record, f"of {number}")
            turns[turn + 1].set()

    threads = [threading.Thread(target=stop, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = folded(record.transcript(0))
    assert [(call["thread"], call.get("alike")) for call in told] == [
        *((0, 18), (1, 18)),
        *((0, None), (1, None)),
    ]
    assert in_lines(told)[3] == "[thread 1] … 18 more like it …"


def test_what_is_left_out_between_calls_that_are_alike_is_told_with_them() -> None:
    record = History(0.0)
    for _ in range(20):
        _stop(record, "a")
    calls = record.transcript(0)
    calls[0]["left_out"], calls[10]["left_out"], calls[12]["left_out"] = 1, 3, 4
    first, _, more, _ = in_lines(folded(calls))
    assert first == "… 1 call left out …"
    assert more == "… 18 more like it, 7 calls left out …"
    calls[19]["left_out"] = 2
    *_, left_out, _ = in_lines(folded(calls))
    assert left_out == "… 2 calls left out …"


def test_old_calls_fall_out() -> None:
    record = History(0.0)
    for _ in range(history.CAPACITY + 5):
        _stop(record, "x")
    assert len(record.since(0)) == history.CAPACITY
    assert record.mark() == history.CAPACITY + 5


def test_threads_are_told_apart() -> None:
    record = History(0.0)
    _stop(record, "a")
    thread = threading.Thread(target=_stop, args=(record, "b"))
    thread.start()
    thread.join()
    assert [call["thread"] for call in record.transcript(0)] == [0, 1]
    assert "[thread 1]" in in_lines(record.transcript(0))[1]


def test_lines_are_cut_to_the_width_and_show_ids_short() -> None:
    record = History(0.0)
    _stop(record, ID, Refused("UNKNOWN", 300 * "x"))
    (line,) = in_lines(record.transcript(0), width=80)
    assert len(line) == 80
    assert "StopPodSandbox(pod_sandbox_id=aaaaaaaaaaaa…) → UNKNOWN" in line
    _stop(record, 300 * "y", Refused("NOT_FOUND", "no such thing"))
    line = in_lines(record.transcript(1), width=80)[-1]
    assert len(line) == 80
    assert "yyy…) → NOT_FOUND" in line


def test_long_values_are_cut_and_ids_stay_whole() -> None:
    labels = {f"key{number}": 2000 * "v" for number in range(100)}
    plain = history.as_dict(types.PodSandbox(id=ID, labels=labels))
    assert plain["id"] == ID
    assert len(plain["labels"]) < 40
    assert all(len(value) < 600 for value in plain["labels"].values())


def test_of_large_output_only_the_beginning_is_kept_and_its_size_told() -> None:
    record = History(0.0)
    size = 1024 * 1024
    answer = types.ExecSyncResponse(stdout=size * b"x", stderr=b"short", exit_code=3)
    record.add("ExecSync", types.ExecSyncRequest(container_id=ID), Ok(answer), 0.0, 0.0)
    (call,) = record.since(0)
    assert isinstance(call.outcome, Ok)
    assert call.outcome.response.ByteSize() < 1024
    assert len(answer.stdout) == size
    response = record.transcript(0)[0]["response"]
    assert response
    assert response["stdout"].endswith(f"… ({size} bytes)")
    assert response["exit_code"] == 3
    assert not response["stderr"].endswith("bytes)")
