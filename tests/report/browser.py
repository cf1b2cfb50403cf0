# SPDX-License-Identifier: Apache-2.0
"""A real browser: Debian's chromium, driven over chromedriver's plain HTTP."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: Seconds that any command may take: this machine may be busy.
PATIENCE = 60
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
)


def installed() -> bool:
    """Whether there is one here."""
    return bool(shutil.which("chromium") and shutil.which("chromedriver"))


class Browser:
    """One window."""

    def __init__(self, address: str, profile: Path, size: tuple[int, int], script: bool) -> None:
        self._address = address
        options: dict[str, Any] = {
            "binary": shutil.which("chromium"),
            "args": [*_FLAGS, f"--user-data-dir={profile}", "--window-size={},{}".format(*size)],
        }
        if not script:
            # What a reader sees whose browser runs no script.
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/session/{made['sessionId']}"

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._address + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None

    def open(self, address: str) -> None:
        """Load a page to its end."""
        self._ask("POST", f"{self._session}/url", {"url": address})

    def run(self, script: str, *arguments: object) -> Any:
        """What a function of this body returns on the page."""
        body = {"script": script, "args": arguments}
        return self._ask("POST", f"{self._session}/execute/sync", body)

    def picture(self, path: Path) -> None:
        """A screenshot."""
        path.write_bytes(base64.b64decode(self._ask("GET", f"{self._session}/screenshot")))

    def complaints(self) -> list[str]:
        """What the browser wrote to its console."""
        log = self._ask("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in log]

    def end(self) -> None:
        self._ask("DELETE", self._session)


@contextlib.contextmanager
def browser(
    folder: Path, *, size: tuple[int, int] = (1400, 1000), script: bool = True
) -> Iterator[Browser]:
    """A browser with an empty profile in ``folder``."""
    # On a busy machine Chromium leaves what it has put here; in ``folder`` the path of its socket
    # might be too long.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary,
        _driver(temporary) as address,
    ):
        made = Browser(address, folder / "profile", size, script)
        try:
            yield made
        finally:
            made.end()


@contextlib.contextmanager
def _driver(temporary: str) -> Iterator[str]:
    """Where chromedriver listens."""
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"],
        env={**os.environ, "TMPDIR": temporary},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert driver.stdout
        port = ""
        for line in driver.stdout:
            if found := re.search(r"started successfully on port (\d+)", line):
                port = found[1]
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        driver.terminate()
        driver.wait(PATIENCE)
        if driver.stdout:
            driver.stdout.close()
