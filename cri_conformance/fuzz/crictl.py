# SPDX-License-Identifier: Apache-2.0
"""Calls as a shell script for crictl, where it can be said in crictl."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from cri_conformance.wire.history import Call
from cri_conformance.wire.outcome import Ok, Unknown

_HEAD = """#!/bin/sh
# {title}
# Images are those of the run that found it: set IMAGE to one that the runtime has.
export CONTAINER_RUNTIME_ENDPOINT="${{1:?usage: sh crictl.sh ENDPOINT [IMAGE]}}"
IMAGE="${{2:-{image}}}"
cd "$(mktemp -d)" || exit 2
set -x
"""


def script(title: str, calls: Iterable[Call]) -> str:
    """A script that makes the same calls; "" if one of them can't be said in crictl: others, calls
    at the same time, calls that were given up."""
    made, ended, open_end = _Script(), 0.0, False
    for call in sorted(calls, key=lambda call: call.at):
        if call.at < ended or open_end or not made.add(call):
            return ""
        ended, open_end = call.at + call.seconds, isinstance(call.outcome, Unknown)
    return _HEAD.format(title=title, image=made.image) + "\n".join(made.lines) + "\n"


class _Script:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.image = ""
        self._ids: dict[str, str] = {}
        self._pods: dict[str, str] = {}
        self._numbers = {"pod": 0, "ctr": 0}

    def add(self, call: Call) -> bool:
        say = _SAID.get(call.rpc)
        if say is None:
            return False
        line = say(self, call.request)
        if line is None:
            return False
        made = (
            getattr(call.outcome.response, "pod_sandbox_id", "")
            or getattr(call.outcome.response, "container_id", "")
            if isinstance(call.outcome, Ok)
            else ""
        )
        if made and call.rpc in ("RunPodSandbox", "CreateContainer"):
            kind = "S" if call.rpc == "RunPodSandbox" else "C"
            name = f"{kind}{sum(one.startswith(kind) for one in self._ids.values()) + 1}"
            self._ids[made] = name
            line = f"{name}=$({line})"
        self.lines.append(line)
        return True

    def id(self, given: str) -> str:
        """An id as it stands in the script."""
        return f'"${self._ids[given]}"' if given in self._ids else shlex.quote(given)

    def file(self, kind: str, config: Any) -> str:
        """A file with a config, which the script writes first."""
        self._numbers[kind] += 1
        name = f"{kind}{self._numbers[kind]}.json"
        text = json.dumps(plain(config), ensure_ascii=False, indent=1)
        if kind == "ctr":
            self.image = self.image or config.image.image
            text = text.replace(json.dumps(config.image.image), '"$IMAGE"')
            text = text.replace("\\", "\\\\").replace("`", "\\`")
            text = _dollars(text)
            self.lines.append(f"cat > {name} <<EOF\n{text}\nEOF")
        else:
            self.lines.append(f"cat > {name} <<'EOF'\n{text}\nEOF")
        return name


def _dollars(text: str) -> str:
    """The shell is to put in the image, and nothing else."""
    return text.replace("$", "\\$").replace('"\\$IMAGE"', '"$IMAGE"')


def _create(script: _Script, request: Any) -> str:
    pod = script.file("pod", request.sandbox_config)
    container = script.file("ctr", request.config)
    return f"crictl create {script.id(request.pod_sandbox_id)} {container} {pod}"


def _run(script: _Script, request: Any) -> str:
    handler = request.runtime_handler
    option = f" --runtime {shlex.quote(handler)}" if handler else ""
    return f"crictl runp{option} {script.file('pod', request.config)}"


def _exec(script: _Script, request: Any) -> str:
    words = shlex.join(request.cmd)
    return f"crictl exec -s --timeout {request.timeout} {script.id(request.container_id)} {words}"


def _container(words: str) -> Callable[[_Script, Any], str]:
    return lambda script, request: f"crictl {words} {script.id(request.container_id)}"


def _sandbox(words: str) -> Callable[[_Script, Any], str]:
    return lambda script, request: f"crictl {words} {script.id(request.pod_sandbox_id)}"


def _image(words: str) -> Callable[[_Script, Any], str]:
    return lambda script, request: f"crictl {words} {shlex.quote(request.image.image)}"


def _plain(words: str) -> Callable[[_Script, Any], str]:
    return lambda script, request: f"crictl {words}"


_SAID: dict[str, Callable[[_Script, Any], str | None]] = {
    "Version": _plain("version"),
    "Status": _plain("info"),
    "RunPodSandbox": _run,
    "StopPodSandbox": _sandbox("stopp"),
    "RemovePodSandbox": _sandbox("rmp -f"),
    "PodSandboxStatus": _sandbox("inspectp"),
    "ListPodSandbox": _plain("pods"),
    "CreateContainer": _create,
    "StartContainer": _container("start"),
    "StopContainer": lambda script, request: (
        f"crictl stop --timeout {request.timeout} {script.id(request.container_id)}"
    ),
    "RemoveContainer": _container("rm -f"),
    "ContainerStatus": _container("inspect"),
    "ListContainers": _plain("ps -a"),
    "ExecSync": _exec,
    "ContainerStats": _container("stats"),
    "ListContainerStats": _plain("stats -a"),
    "ListPodSandboxStats": _plain("statsp"),
    # No PullImage: our registry serves only as long as the run goes on.
    "RemoveImage": _image("rmi"),
    "ImageStatus": _image("inspecti"),
    "ListImages": _plain("images"),
}


def plain(message: Any) -> dict[str, Any]:
    """A message as crictl reads it: field names of the contract, numbers as numbers."""
    found: dict[str, Any] = {}
    for field, value in message.ListFields():
        if field.message_type and field.message_type.GetOptions().map_entry:
            found[field.name] = dict(value)
        elif field.is_repeated:
            found[field.name] = [_one(field, one) for one in value]
        else:
            found[field.name] = _one(field, value)
    return found


def _one(field: Any, value: Any) -> Any:
    if field.message_type:
        return plain(value)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return value.decode(errors="replace")
    return value
