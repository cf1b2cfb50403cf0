# SPDX-License-Identifier: Apache-2.0
"""The mode ``messages``: one generated request after the other, on a few objects of our own.

Objects stand in a request as ``@sandbox``, ``@running``, ``@created``, so a story can be played
elsewhere; they are made when a request first names them, and again when one has ended them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from cri_conformance.api import types
from cri_conformance.api.rpcs import RPCS
from cri_conformance.build import generate
from cri_conformance.build.constraints import broken
from cri_conformance.build.fields import NOT_SENT, Ours
from cri_conformance.expect.explore import tamed
from cri_conformance.fuzz.campaign import Bench, Campaign
from cri_conformance.fuzz.judging import CampaignJudge
from cri_conformance.fuzz.patches import FOLDER, laid_over, patches, resolve
from cri_conformance.fuzz.story import Story, play, told
from cri_conformance.fuzz.tools import Tools
from cri_conformance.suite.sessions import FLAGS, refusal
from cri_conformance.suite.shown import in_a_word
from cri_conformance.wire.outcome import Ok, Outcome
from cri_conformance.wire.runtime import Container, Runtime, Sandbox

#: Examples of one turn, and requests of one: what is done about an example is done for them all.
EXAMPLES, EACH = 5, 30
NOBODY = "f" * 64
#: Methods of Requests that are steps of a story.
_TOLD = ("send", "create", "spoiled", "spoiled_session")
_OURS = Ours(
    sandboxes=("@sandbox",),
    containers=("@running", "@created"),
    images=("@image",),
    folder=FOLDER,
    files=(f"{FOLDER}/file",),
    labels=(("cri-conformance/fuzzed", "yes"),),
    nobody=NOBODY,
)
#: After these an object is not what it was.
_ENDS = ("StopPodSandbox", "RemovePodSandbox", "StartContainer", "StopContainer", "RemoveContainer")
_OWN_STEPS = ("RunPodSandbox", "CreateContainer", "PullImage", "RemoveImage")
_SENT = sorted(
    name
    for name, rpc in RPCS.items()
    if not rpc.server_streaming and name not in NOT_SENT and name not in _OWN_STEPS
)
_LOOKING = [name for name in _SENT if name.startswith("List") or name.endswith(("Status", "Stats"))]
#: What must be refused about an id that nobody gave out.
_ABSENT = {
    "PodSandboxStatus": "unknown-error",
    "ContainerStatus": "unknown-error",
    **dict.fromkeys(
        (
            "StartContainer",
            "UpdateContainerResources",
            "ReopenContainerLog",
            "ExecSync",
            "ContainerStats",
            "PodSandboxStats",
            "UpdatePodSandboxResources",
        ),
        "absent-error",
    ),
}
_IDEMPOTENT = ("StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer")


class Requests:
    """The steps: one request each, with its oracle."""

    def __init__(self, runtime: Runtime, judge: CampaignJudge, tools: Tools) -> None:
        self.runtime, self.judge, self.tools = runtime, judge, tools
        self.answered = ""
        self._sandbox: Sandbox | None = None
        self._containers: dict[str, Container] = {}

    # -- what is asked about ---------------------------------------------------------

    def _the_sandbox(self) -> Sandbox:
        if self._sandbox is None:
            self._containers.clear()
            self._sandbox = self.runtime.sandbox(labels={"cri-conformance/fuzzed": "yes"})
        return self._sandbox

    def _container(self, name: str) -> Container:
        sandbox = self._the_sandbox()
        if name not in self._containers:
            labels = {"cri-conformance/fuzzed": "yes"}
            made = self.runtime.container(sandbox, labels=labels)
            if name == "@running":
                self.runtime.get("StartContainer", container_id=made.id)
            self._containers[name] = made
        return self._containers[name]

    def _resolved(self, request: Any) -> tuple[Any, list[str]]:
        """The request with ids in place of names, and the names that it had."""
        text = str(request)
        named = [name for name in ("@sandbox", "@running", "@created") if name in text]
        names = {FOLDER: self.tools.folder, "@image": self.runtime.workshop.image}
        for name in named:
            object_ = self._the_sandbox() if name == "@sandbox" else self._container(name)
            names[name] = object_.id
        made = type(request)()
        made.CopyFrom(request)
        return resolve(made, names), named

    # -- steps -----------------------------------------------------------------------

    def send(self, call: str, request: Any) -> None:
        """A request that makes nothing."""
        asked, named = self._resolved(request)
        if call == "ExecSync" and not asked.timeout:
            asked.timeout = 10
        outcome = self.runtime.call(call, asked)
        self.answered = in_a_word(outcome)
        if call in _ENDS and isinstance(outcome, Ok):
            for name in named:
                self._forget(name)
        self._judge_answer(call, asked, outcome)

    def _forget(self, name: str) -> None:
        if name == "@sandbox":
            self._sandbox = None
        self._containers.pop(name, None)

    def _judge_answer(self, call: str, asked: Any, outcome: Outcome) -> None:
        about = getattr(asked, "pod_sandbox_id", "") or getattr(asked, "container_id", "")
        missing = self.answered == "UNIMPLEMENTED"
        if about == NOBODY and call in _ABSENT and not missing:
            self.judge.refused(f"RuntimeService.{call}.{_ABSENT[call]}", outcome, about=(about,))
        elif about == NOBODY and call in _IDEMPOTENT:
            self.judge.ok(f"RuntimeService.{call}.unknown-id", outcome, about=(about,))
        elif about and isinstance(outcome, Ok):
            self._judge_id(call, about, outcome.response)

    def _judge_id(self, call: str, about: str, response: Any) -> None:
        shown = {
            "PodSandboxStatus": ("PodSandboxStatus.id.full-id", "status"),
            "ContainerStatus": ("ContainerStatus.id.as-created", "status"),
            "ContainerStats": ("ContainerStatsRequest.container_id.names-one", "stats.attributes"),
            "PodSandboxStats": (
                "PodSandboxStatsRequest.pod_sandbox_id.names-one",
                "stats.attributes",
            ),
        }.get(call)
        if shown:
            clause, path = shown
            part = response
            for name in path.split("."):
                part = getattr(part, name)
            self.judge.equal(clause, part.id, about, "the id", about=(about,))

    def create(self, patch: types.ContainerConfig, start: bool) -> None:
        """A container with a few fields drawn; what the runtime takes it must show as sent."""
        sandbox = self._the_sandbox()
        config = laid_over(self.runtime.container_config(sandbox), patch, self.tools.folder)
        outcome = self.runtime.create(sandbox, config)
        self.answered = in_a_word(outcome)
        if not isinstance(outcome, Ok):
            return
        made = outcome.response.container_id
        if start:
            self.answered = in_a_word(self.runtime.call("StartContainer", container_id=made))
        shown = self.runtime.call("ContainerStatus", container_id=made)
        if isinstance(shown, Ok):
            status = shown.response.status
            labels = {k: v for k, v in status.labels.items() if k in config.labels}
            for clause, seen, sent in (
                ("ContainerMetadata.attempt.in-status", status.metadata, config.metadata),
                ("ContainerStatus.labels.as-sent", labels, dict(config.labels)),
                (
                    "ContainerStatus.annotations.unaltered",
                    dict(status.annotations),
                    dict(config.annotations),
                ),
            ):
                self.judge.equal(clause, seen, sent, about=(made,))
        self.judge.ok(
            "RuntimeService.RemoveContainer.running"
            if self.answered == "OK" and start
            else "RuntimeService.RemoveContainer.created"
            if not start
            else "RuntimeService.RemoveContainer.failed-start",
            self.runtime.call("RemoveContainer", container_id=made),
            about=(made,),
        )

    def spoiled(self, row: str) -> None:
        """A CreateContainer in which one row is broken: refused, at the latest on its start."""
        sandbox = self._the_sandbox()
        plain = types.CreateContainerRequest(
            pod_sandbox_id=sandbox.id,
            config=self.runtime.container_config(sandbox),
            sandbox_config=sandbox.config,
        )
        rule = {one.id: one for one in generate.spoiling(plain.DESCRIPTOR)}[row]
        request = generate.spoil(plain, rule, Ours(folder=self.tools.folder))
        if request is None or not broken(request):
            return
        outcome = self.runtime.call("CreateContainer", request)
        if isinstance(outcome, Ok):
            made = outcome.response.container_id
            outcome = self.runtime.call("StartContainer", container_id=made)
            self.runtime.call("RemoveContainer", container_id=made)
        self.answered = in_a_word(outcome)
        self.judge.refused(rule.clause, outcome)

    def spoiled_session(self, call: str, row: str, request: Any) -> None:
        """Exec or Attach with one row broken: refused, at the latest when the session is opened."""
        rule = {one.id: one for one in _SESSIONS[call]}[row]
        valid, _ = self._resolved(request)
        asked: Any = generate.spoil(valid, rule, _OURS)
        if asked is None:
            return
        flags = {flag: getattr(asked, flag) for flag in FLAGS}
        came = refusal(self.runtime, call, asked.container_id, *getattr(asked, "cmd", ()), **flags)
        self.answered = "refused" if came else "taken"
        self.judge.that(
            rule.clause,
            came,
            permitted="an error, by the call or in the session",
            actual="a session",
            about=(asked.container_id,),
        )


_SESSIONS = {
    call: [
        row
        for row in generate.spoiling(getattr(types, f"{call}Request").DESCRIPTOR)
        if row.by_session
    ]
    for call in ("Exec", "Attach")
}
_ROWS = [row.id for row in generate.spoiling(types.CreateContainerRequest.DESCRIPTOR)]


def _requests(call: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    requests = generate.message(RPCS[call].request.DESCRIPTOR.name, _OURS)
    return requests.map(lambda request: ("send", {"call": call, "request": request}))


def _sessions(call: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    return st.builds(
        lambda row, request: ("spoiled_session", {"call": call, "row": row, "request": request}),
        st.sampled_from([row.id for row in _SESSIONS[call]]),
        generate.message(RPCS[call].request.DESCRIPTOR.name, _OURS),
    )


#: Any step with its arguments. One about a container that is made takes as long as four others.
STEPS = st.one_of(
    *[st.sampled_from(_LOOKING).flatmap(_requests)] * 2,
    *[st.sampled_from(_SENT).flatmap(_requests)] * 2,
    st.builds(
        lambda patch, start: ("create", {"patch": patch, "start": start}),
        patches("ContainerConfig"),
        st.booleans(),
    ),
    st.sampled_from(_ROWS).map(lambda row: ("spoiled", {"row": row})),
    st.sampled_from(sorted(_SESSIONS)).flatmap(_sessions),
)

#: All drawn before the first is sent: what comes of them must not change what is drawn. The
#: simplest example, which always comes first, has none.
_SEVERAL = st.one_of(st.just(()), st.tuples(*[STEPS] * EACH))


class RequestsPlayer:
    """The mode in a campaign: the objects stay for a turn."""

    def __init__(self, campaign: Campaign) -> None:
        self._campaign = campaign

    def turn(self, seed: int, number: int) -> None:
        campaign = self._campaign
        sent: list[tuple[str, dict[str, Any]]] = []
        campaign.begin(lambda: [told(*one) for one in sent])
        steps = Requests(campaign.runtime, campaign.judge, campaign.tools)
        found: list[tuple[Exception, Story]] = []

        def example(drawn: Sequence[tuple[str, dict[str, Any]]]) -> None:
            for name, arguments in drawn:
                if found:
                    return
                sent.append((name, arguments))
                try:
                    getattr(steps, name)(**arguments)
                except Exception as error:
                    found.append((error, [told(name, arguments)]))
                    return
                campaign.step()

        checked = hypothesis.settings(
            max_examples=1 + EXAMPLES,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )(hypothesis.seed(seed)(hypothesis.given(drawn=_SEVERAL)(example)))
        with tamed():
            checked()
        for error, story in found:
            campaign.found(error, story)

    def close(self) -> None:
        """Nothing is shared between turns."""


class RequestsMode:
    """Generated requests, one by one."""

    name = "messages"
    says = "generated requests of every call, valid or with one thing wrong"
    weight = 1
    steps, told = Requests, _TOLD

    def open(self, campaign: Campaign) -> RequestsPlayer:
        return RequestsPlayer(campaign)

    def play(self, bench: Bench, story: Story) -> str:
        return play(Requests(bench.runtime, bench.judge, bench.tools), story)
