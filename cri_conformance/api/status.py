# SPDX-License-Identifier: Apache-2.0
"""The error with which the server side answers a call."""

from __future__ import annotations


class StatusError(Exception):
    """A call is answered with an error: ``code`` is gRPC's name, as in ``NOT_FOUND``."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
