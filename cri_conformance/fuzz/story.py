# SPDX-License-Identifier: Apache-2.0
"""Stories: the steps of a sequence as plain data, which can be played again elsewhere.

A step is a method of some object that makes steps, with its arguments. An id that an earlier
step answered stands as ``{"ref": "s1"}``, a message as its type and its JSON; so a story knows
nothing of the run that it comes from.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from random import Random
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message

from cri_conformance.api import types

Story = list[dict[str, Any]]


class Recorder:
    """Wraps an object: its methods named in ``told`` are written down as they are called.

    ``after`` is called after each, ``before`` before each with the method's name.
    """

    def __init__(
        self,
        inner: Any,
        told: Collection[str],
        before: Callable[[str], None] = lambda name: None,
        after: Callable[[], None] = lambda: None,
    ) -> None:
        self.inner = inner
        self.story: Story = []
        self._told = frozenset(told)
        self._before, self._after = before, after
        self._names: dict[str, str] = {}

    def knows(self, object_id: str) -> bool:
        """Whether a step gave this, so that later ones can name it."""
        return object_id in self._names

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if name not in self._told:
            return found

        def recorded(*args: Any, **kwargs: Any) -> Any:
            bound = inspect.signature(found).bind(*args, **kwargs)
            step: dict[str, Any] = {
                "do": name,
                "with": {key: self._plain(value) for key, value in bound.arguments.items()},
            }
            for one in bound.signature.parameters.values():
                if one.kind is one.VAR_KEYWORD:
                    step["with"].update(step["with"].pop(one.name, {}))
            self._before(name)
            # Written down first: it is the step that may end the story.
            self.story.append(step)
            made = found(*args, **kwargs)
            if isinstance(made, str) and made:
                step["gives"] = self._names.setdefault(made, f"{name[0]}{len(self.story)}")
            self._after()
            return made

        return recorded

    def _plain(self, value: Any) -> Any:
        if isinstance(value, str) and value in self._names:
            return {"ref": self._names[value]}
        return encoded(value, self._plain)


def encoded(value: Any, inner: Callable[[Any], Any] | None = None) -> Any:
    """A value of a step as plain data."""
    inner = inner or encoded
    if isinstance(value, Message):
        fields = json_format.MessageToDict(value, preserving_proto_field_name=True)
        return {"message": value.DESCRIPTOR.name, "fields": fields}
    if isinstance(value, dict):
        return {key: inner(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [inner(one) for one in value]
    return value


def told(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """A step that names no other."""
    return {"do": name, "with": encoded(arguments)}


class _Missing(Exception):
    """A step refers to what no step before it gave."""


def decoded(value: Any, names: dict[str, str]) -> Any:
    """The value that ``encoded`` has written down. Raises _Missing."""
    if isinstance(value, dict):
        if value.keys() == {"ref"}:
            if value["ref"] not in names:
                raise _Missing(value["ref"])
            return names[value["ref"]]
        if value.keys() == {"message", "fields"}:
            return json_format.ParseDict(value["fields"], getattr(types, value["message"])())
        return {key: decoded(one, names) for key, one in value.items()}
    if isinstance(value, list):
        return [decoded(one, names) for one in value]
    return value


def play(steps: Any, story: Story) -> str:
    """Make the steps of a story; one that refers to what was not made is left out.

    Returns which was left out first, and why; "" if it was played whole. Raises what the steps
    raise.
    """
    names: dict[str, str] = {}
    left_out = ""
    for number, step in enumerate(story, 1):
        try:
            arguments = decoded(step["with"], names)
        except _Missing as missing:
            left_out = left_out or (
                f"step {number}, {step['do']}, is about {missing}, which no step before it gave"
            )
            continue
        try:
            made = getattr(steps, step["do"])(**arguments)
        except Exception as error:
            error.add_note(f"step {number}, {step['do']}")
            raise
        if "gives" in step and made:
            names[step["gives"]] = made
    return left_out


def playable(story: Story) -> Story:
    """Without the steps that are left out whenever it is played."""
    given: set[str] = set()
    kept = []
    for step in story:
        if refs(step) <= given:
            kept.append(step)
            given.add(step.get("gives", ""))
    return kept


def alone(story: Story, number: int) -> Story:
    """One step, and those before it that it cannot do without."""
    wanted = refs(story[number])
    kept = [story[number]]
    for step in reversed(story[:number]):
        if step.get("gives") in wanted:
            wanted |= refs(step)
            kept.insert(0, step)
    return kept


def refs(value: Any) -> set[str]:
    """What a step refers to."""
    if isinstance(value, dict):
        if value.keys() == {"ref"}:
            return {value["ref"]}
        return set().union(*map(refs, value.values()))
    if isinstance(value, list):
        return set().union(*map(refs, value))
    return set()


def at_other_moments(story: Story, chance: Random) -> Story:
    """With calls given up after 1 ms to 0.3 s: how long they take differs by machine and load."""
    return [
        {**step, "with": {**step["with"], "seconds": 10 ** chance.uniform(-3, -0.5)}}
        if _given_up(step)
        else step
        for step in story
    ]


def _given_up(step: dict[str, Any]) -> bool:
    # A step that takes any field takes any value.
    seconds = step["with"].get("seconds")
    return bool(seconds) and isinstance(seconds, int | float)


def at_pace(story: Story, factor: float) -> Story:
    """With calls given up so much sooner or later."""
    return [
        {**step, "with": {**step["with"], "seconds": step["with"]["seconds"] * factor}}
        if _given_up(step)
        else step
        for step in story
    ]


def smaller(story: Story, shows: Callable[[Story], bool]) -> Story:
    """A story as short as can be that still ``shows`` it (which also ends this, by raising).

    Steps are left out from the end, many at once and then one by one; then the fields of
    messages that are not needed.
    """
    size = max(1, len(story) // 2)
    while True:
        at = len(story)
        while at > 0:
            shorter = story[: max(0, at - size)] + story[at:]
            if shorter and len(shorter) < len(story) and shows(shorter):
                story = shorter
            at -= size
        if size == 1:
            break
        size = max(1, size // 2)
    return _plainer(story, shows)


def _plainer(story: Story, shows: Callable[[Story], bool]) -> Story:
    """Without the fields of messages, and the arguments, that are not needed."""
    for number in range(len(story)):
        for name, value in list(story[number]["with"].items()):
            if _is_list(value):
                for place in reversed(range(len(value))):
                    fewer = value[:place] + value[place + 1 :]
                    candidate = _with(story, number, name, fewer)
                    if fewer and shows(candidate):
                        story, value = candidate, fewer
            if not isinstance(value, dict) or value.keys() != {"message", "fields"}:
                continue
            for path in _paths(value["fields"]):
                less = _without(value["fields"], path)
                if less is None:
                    continue
                lesser = {**value, "fields": less}
                candidate = _with(story, number, name, lesser)
                if shows(candidate):
                    story, value = candidate, lesser
    return story


def _with(story: Story, number: int, name: str, value: Any) -> Story:
    """A story with another argument in one of its steps."""
    step = {**story[number], "with": {**story[number]["with"], name: value}}
    return [*story[:number], step, *story[number + 1 :]]


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict | str) for one in value)


def _paths(fields: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Whatever can be left out, the outermost first."""
    keys: list[Any] = (
        list(fields)
        if isinstance(fields, dict)
        else list(reversed(range(len(fields))))
        if isinstance(fields, list)
        else []
    )
    own = [(*before, key) for key in keys]
    return own + [path for key in keys for path in _paths(fields[key], (*before, key))]


def _without(fields: Any, path: tuple[Any, ...]) -> Any:
    """A copy without what is at a path; None if there is nothing."""
    first, *rest = path
    if isinstance(fields, dict):
        if first not in fields:
            return None
        if not rest:
            return {key: value for key, value in fields.items() if key != first}
        less = _without(fields[first], tuple(rest))
        return None if less is None else {**fields, first: less}
    if isinstance(fields, list) and first < len(fields):
        less = None if not rest else _without(fields[first], tuple(rest))
        if rest and less is None:
            return None
        return fields[:first] + ([less] if rest else []) + fields[first + 1 :]
    return None
