# SPDX-License-Identifier: Apache-2.0
"""The streams of Exec, Attach and PortForward: SPDY/3.1 and WebSocket, both sides.

``spdy``, ``channels`` and ``upgrade`` are the protocols, without I/O; ``transport`` and
``connection`` put them on sockets; ``client`` opens sessions, ``server`` serves them. No
right or wrong here: what a server promises is judged elsewhere.
"""
