"""Commands of slurmslice that start fast: each is a fork of one process that has all imports.

``forked()`` returns the first words of such a command. They start a small program, which passes its
arguments, folder, environment, umask and streams to the server, waits, and ends in the same way.
The command is a process of its own, and its coverage is measured. Only the start of Python and its
imports are shared, and they take most of a command's time. Tests of the start itself (locale,
terminal, limits, signals, kills) use ``SLURMSLICE``, a real start.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from tests.support.paths import REPOSITORY

SLURMSLICE = [sys.executable, "-m", "slurmslice"]
"""The words before slurmslice's arguments, for a real start of Python."""

READ_AT_START = ("LC_", "LANG", "PYTHON", "TZ")
"""Beginnings of the names of the variables that Python or the C library reads when it starts."""

# Started without `site`, in a hundredth of a second.
CLIENT = """\
import _socket, os, sys
for fd in range(3):
    os.fstat(fd)  # else the link would take the place of a closed stream
link = _socket.socket(_socket.AF_UNIX)
link.connect(sys.argv[1])
streams = b"".join(fd.to_bytes(4, sys.byteorder) for fd in range(3))
link.sendmsg([b"-"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
umask = os.umask(0)
words = [os.fsencode(word) for word in sys.argv[2:]]
order = repr((words, os.getcwdb(), {**os.environb}, umask)).encode()
link.sendall(len(order).to_bytes(8, "big") + order)
code = int(link.recv(16))
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def forked(env: Mapping[str, str]) -> list[str]:
    """Return the words before slurmslice's arguments, for a command with this environment.

    A real start, if the environment differs in what Python reads when it starts.
    """
    if read_at_start(env) != read_at_start(os.environ):
        return SLURMSLICE
    return _own_server()


def read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python or the C library reads when it starts."""
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}


@functools.cache
def _own_server() -> list[str]:
    env = {k: v for k, v in os.environ.items() if k != "COVERAGE_PROCESS_CONFIG"}
    return start_server(sys.executable, cwd=REPOSITORY, env=env)


def start_server(python: str, **whom: Any) -> list[str]:
    """Start a server, which ends with this process; return the first words of its commands.

    Args:
        python: an interpreter that has slurmslice.
        whom: arguments of ``Popen``: the user, the folder and the environment of the server.
    """
    folder = tempfile.mkdtemp(prefix="slurmslice-commands-")
    path = os.path.join(folder, "socket")
    if "user" in whom:
        shutil.chown(folder, whom["user"])
    source = Path(__file__).with_name("fork_server.py").read_text()
    # setsid --fork: it is no child of this process, so no test that ends children ends the server.
    starter = subprocess.Popen(
        ["setsid", "--fork", python, "-c", source, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, **whom,
    )  # fmt: skip
    assert starter.stdin is not None
    assert starter.stdout is not None
    atexit.register(_end, starter.stdin, Path(folder))
    with starter.stdout as said:
        assert said.readline() == b"ready\n"
    starter.wait()
    return [python, "-I", "-S", "-c", CLIENT, path]


def _end(alive: IO[bytes], folder: Path) -> None:
    alive.close()
    for path in (folder / "socket", folder):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
