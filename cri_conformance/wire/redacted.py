# SPDX-License-Identifier: Apache-2.0
"""Messages as they may be shown: without what the contract marks as secret (``debug_redact``)."""

from __future__ import annotations

from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

#: In the place of a secret.
HIDDEN = "(hidden)"


def redacted(message: Message) -> Message:
    """A message of which nothing is secret: a copy, if something was."""
    if not _may_have_secrets(message.DESCRIPTOR):
        return message
    shown = type(message)()
    shown.CopyFrom(message)
    _hide(shown)
    return shown


@cache
def _may_have_secrets(kind: Descriptor) -> bool:
    return any(
        field.GetOptions().debug_redact
        or (field.message_type is not None and _may_have_secrets(field.message_type))
        for field in kind.fields
    )


def _hide(message: Any) -> None:
    for field, value in message.ListFields():
        if field.GetOptions().debug_redact:
            setattr(message, field.name, HIDDEN)
        elif field.message_type is not None and not field.is_repeated:
            _hide(value)
