# SPDX-License-Identifier: Apache-2.0
"""Judging: what a clause permits against what came."""

from cri_conformance.expect.judge import Judge, clause
from cri_conformance.expect.violation import NotExercised, SuiteMistake, Violation

__all__ = ["Judge", "NotExercised", "SuiteMistake", "Violation", "clause"]
