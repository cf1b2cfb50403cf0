# SPDX-License-Identifier: Apache-2.0
"""What a setting must not bring into a container: lines in its files, or files of the host.

Each of these was a hole in some runtime once.
"""

from __future__ import annotations

import secrets

from cri_conformance.api import types
from cri_conformance.build.messages import IDLE
from cri_conformance.expect import Judge, clause
from cri_conformance.suite.container_life import look
from cri_conformance.suite.images import Images
from cri_conformance.suite.mounting import own_folder, started
from cri_conformance.wire.runtime import Runtime, Sandbox

_USER = b"cri-conformance:"
_LINE = f"{_USER.decode()}x:0:0::/:/bin/sh"


@clause("ContainerConfig.envs.nothing-else")
def test_a_variable_is_no_line_of_passwd(
    isolation: None, runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    # Some runtimes write a line with the home folder for a user that the image has not.
    config = runtime.container_config(shared_sandbox, envs={"HOME": f"/\n{_LINE}"})
    config.linux.security_context.run_as_user.CopyFrom(types.Int64Value(value=12345))
    container, outcome = started(runtime, shared_sandbox, config)
    lines = b""
    if container:
        lines = runtime.exec(container, "cat", "/etc/passwd").stdout
    judge.that(
        "ContainerConfig.envs.nothing-else",
        not any(line.startswith(_USER) for line in lines.splitlines()),
        permitted="no line of the variable's making, or a refusal",
        actual=f"/etc/passwd has a user of the variable's making ({outcome})",
        about=[container.id] if container else [],
    )


@clause("ContainerConfig.envs.same-name")
def test_a_variable_that_is_sent_twice(
    runtime: Runtime, shared_sandbox: Sandbox, judge: Judge
) -> None:
    marker = secrets.token_hex(8)
    config = runtime.container_config(shared_sandbox, command=["/bin/sh", "-c", IDLE, marker])
    for value in (b"first", b"second"):
        config.envs.add(key="CRI_TWICE", value=value)
    container, outcome = started(runtime, shared_sandbox, config)
    found = str(outcome)
    if container:
        entries = look(runtime, container, marker, "environ").decode().split("\0")
        found = ", ".join(entry for entry in entries if entry.startswith("CRI_TWICE="))
    judge.record("ContainerConfig.envs.same-name", found)


@clause("ContainerConfig.image.no-host-files")
def test_a_volume_leads_to_no_file_of_the_host(
    isolation: None, runtime: Runtime, shared_sandbox: Sandbox, images: Images, judge: Judge
) -> None:
    with own_folder(runtime, shared_sandbox) as folder:
        (folder / "word").write_text("of the host", encoding="utf-8")
        volume = f"{'/..' * 20}{folder}"
        image = images.made(f"volume-{folder.name}", Volumes={volume: {}})
        config = runtime.container_config(
            shared_sandbox, image=images.bring("volume", image), command=["/bin/sh", "-c", IDLE]
        )
        container, outcome = started(runtime, shared_sandbox, config)
        seen = b""
        if container:
            seen = runtime.exec(container, "cat", str(folder / "word")).stdout
    judge.that(
        "ContainerConfig.image.no-host-files",
        not seen,
        permitted="nothing of the host's, or a refusal",
        actual=f"a file of the host ({outcome})",
        about=[container.id] if container else [],
    )
