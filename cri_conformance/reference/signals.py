# SPDX-License-Identifier: Apache-2.0
"""The signals of the contract and their numbers on this host."""

from __future__ import annotations

import signal

from cri_conformance.api import types

_RTMIN, _RTMAX = "SIGRTMINPLUS", "SIGRTMAXMINUS"


def number(stop_signal: types.Signal.ValueType) -> int:
    """The signal to stop a container with; SIGTERM where none was asked for."""
    if stop_signal == types.SIGNAL_RUNTIME_DEFAULT:
        return signal.SIGTERM
    name = types.Signal.Name(stop_signal).removeprefix("SIGNAL_")
    if name.startswith(_RTMIN):
        return signal.SIGRTMIN + int(name.removeprefix(_RTMIN))
    if name.startswith(_RTMAX):
        return signal.SIGRTMAX - int(name.removeprefix(_RTMAX))
    # Python has no SIGIOT of its own everywhere; it is SIGABRT by definition.
    return signal.SIGABRT if name == "SIGIOT" else signal.Signals[name]
