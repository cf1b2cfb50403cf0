# SPDX-License-Identifier: Apache-2.0
"""The reference runtime: the contract as a program that can be run and read.

Its containers are processes of the host, without any isolation. What a client can
see through the CRI (states, times, codes, output, logs, signals, grace periods) is
real; what only a namespace or a mount could do is taken, reported and not enforced.

Where to read: ``sandboxes`` and ``containers`` hold the rules of the two life
cycles, ``exec`` that of commands, ``validate`` what is refused. ``state`` says how
threads share what is known, ``processes`` how a container's processes are found and
ended. The rest is plumbing. Nothing here is shared with the suite that judges.
"""

#: What Version calls it; a client may know by it which image with a shell is built in.
RUNTIME_NAME = "cri-conformance-reference"
SHELL_IMAGE = "localhost/cri-conformance/shell:reference"
