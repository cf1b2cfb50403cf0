# SPDX-License-Identifier: Apache-2.0
"""A relay in front of a runtime that cuts every connection when it is told to.

The reference runtime keeps what it knows in memory, so that nothing would be left after a restart.
Behind this its clients meet what they meet at a restart that went well: calls under way are broken
off, the endpoint takes connections again, and what was there is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cri_conformance.wire import endpoint as endpoints

_CHUNK = 64 * 1024


@contextlib.contextmanager
def cutting(endpoint: str) -> Iterator[tuple[str, str]]:
    """An endpoint in front of that of a runtime (a unix socket), and the command that cuts all
    its connections: it ends when they are cut."""
    with tempfile.TemporaryDirectory(prefix="cri-") as folder:
        front, order = Path(folder, "s"), Path(folder, "order")
        behind = endpoints.parse(endpoint).socket
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, front, str(behind), order],
            stdout=subprocess.PIPE,
        )
        try:
            assert child.stdout
            child.stdout.readline()
            done = f"while [ -e {order} ]; do sleep 0.01; done"
            yield f"unix://{front}", f"sh -c 'touch {order} && kill -USR1 {child.pid}; {done}'"
        finally:
            child.kill()
            child.communicate()


async def _serve(front: str, behind: str, order: Path) -> None:
    open_ones: set[asyncio.StreamWriter] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other, onward = await asyncio.open_unix_connection(behind)
        pair = {writer, onward}
        open_ones.update(pair)
        await asyncio.gather(copy(reader, onward), copy(other, writer))
        open_ones.difference_update(pair)

    def cut() -> None:
        for writer in open_ones:
            writer.transport.abort()
        order.unlink()

    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, cut)
    server = await asyncio.start_unix_server(connected, front)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
