# SPDX-License-Identifier: Apache-2.0
"""How a command ended, as the error stream of v4 and v5 tells it: a metav1.Status in JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Status:
    """``exit_code`` is None if the command did not come to an end of its own.

    ``raw`` is what came, whole: "" for a server that closed the stream without a word.
    """

    success: bool
    exit_code: int | None = None
    message: str = ""
    reason: str = ""
    raw: str = ""

    def __str__(self) -> str:
        if self.exit_code is not None:
            return f"exit code {self.exit_code}"
        return f"failure: {self.message or self.raw or 'nothing was said'}"


def ended(exit_code: int) -> Status:
    """The status of a command that ran to its end."""
    if exit_code == 0:
        return Status(True, 0)
    message = f"command terminated with non-zero exit code: exit status {exit_code}"
    return Status(False, exit_code, message, "NonZeroExitCode")


def failed(message: str) -> Status:
    """The status of a command that could not be run."""
    return Status(False, None, message, "InternalError")


def parse(raw: bytes) -> Status:
    """Read a status. Raises ValueError, with what came, if it is none (yet)."""
    text = raw.decode("utf-8", "replace")
    try:
        said = json.loads(text)
        success = {"Success": True, "Failure": False}[said["status"]]
        code: int | None = 0 if success else None
        for cause in (said.get("details") or {}).get("causes") or ():
            if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdecimal():
                code = int(cause["message"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError(f"not a Status: {text[:400]!r}") from None
    return Status(success, code, str(said.get("message", "")), str(said.get("reason", "")), text)


def render(status: Status) -> bytes:
    """A status as it is sent."""
    said: dict[str, Any] = {"metadata": {}, "status": "Success" if status.success else "Failure"}
    if not status.success:
        said["message"], said["reason"] = status.message, status.reason
        if status.exit_code is None:
            said["code"] = 500
        else:
            cause = {"reason": "ExitCode", "message": str(status.exit_code)}
            said["details"] = {"causes": [cause]}
    return json.dumps(said, separators=(",", ":")).encode()
