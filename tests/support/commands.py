"""Commands of slurmslice that start fast: each is a fork of one process that has all imports.

``forked()`` returns the first words of such a command. They start a small program, which passes its
arguments, folder, environment, umask and streams to the server, waits, and ends in the same way.
The command is a process of its own, and its coverage is measured. Only the start of Python and its
imports are shared, and they take most of a command's time. Tests of the start itself (locale,
terminal, limits, signals, kills) use ``SLURMSLICE``, a real start.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import functools
import gc
import importlib
import io
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NoReturn, TextIO

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
    if _read_at_start(env) != _read_at_start(os.environ):
        return SLURMSLICE
    return [sys.executable, "-I", "-S", "-c", CLIENT, _server()]


def _read_at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(READ_AT_START)}


@functools.cache
def _server() -> str:
    """Start the server, which ends with this process, and return the path of its socket."""
    folder = tempfile.mkdtemp(prefix="slurmslice-commands-")
    path = os.path.join(folder, "socket")
    env = {k: v for k, v in os.environ.items() if k != "COVERAGE_PROCESS_CONFIG"}
    # setsid --fork: it is no child of this process, so no test that ends children ends the server.
    starter = subprocess.Popen(
        ["setsid", "--fork", sys.executable, "-m", "tests.support.commands", path],
        cwd=REPOSITORY, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert starter.stdin is not None
    assert starter.stdout is not None
    atexit.register(_end, starter.stdin, Path(folder))
    with starter.stdout as said:
        assert said.readline() == b"ready\n"
    starter.wait()
    return path


def _end(alive: IO[bytes], folder: Path) -> None:
    alive.close()
    for path in (folder / "socket", folder):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


# -- the server ------------------------------------------------------------------------------


def serve(path: str) -> None:
    """Import all of slurmslice, then fork for each client, until stdin ends."""
    import slurmslice

    for module in pkgutil.walk_packages(slurmslice.__path__, "slurmslice."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    importlib.import_module("coverage")
    importlib.import_module("slurmslice.script.template").shipped_template()
    gc.freeze()  # a command does not collect what it shares, when it ends
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([listener.fileno(), 0], [], [])
        if 0 in ready:
            return
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _attend(client)
        client.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _attend(client: socket.socket) -> None:
    """Run a client's command, and tell its exit code. If the client is killed, so is the command.

    Returns in the process of the command only.
    """
    _, streams, _, _ = socket.recv_fds(client, 1, 3)
    with client.makefile("rb") as told:
        order = told.read(int.from_bytes(told.read(8), "big"))
    command = os.fork()
    if command == 0:
        client.close()
        _become(streams, *ast.literal_eval(order.decode()))
    for stream in (*streams, 0, 1):
        os.close(stream)
    handle = os.pidfd_open(command)
    ready, _, _ = select.select([handle, client.fileno()], [], [])
    if handle not in ready:
        os.kill(command, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(OSError):
        client.sendall(str(code).encode())
    os._exit(0)


def _become(
    streams: list[int], words: list[bytes], folder: bytes, env: dict[bytes, bytes], umask: int
) -> NoReturn:
    """Be the command, as if Python had just started it."""
    for fd, stream in enumerate(streams):
        os.dup2(stream, fd)
        os.close(stream)
    os.chdir(folder)
    os.umask(umask)
    os.environb.clear()
    os.environb.update(env)
    sys.stdin, sys.stdout, sys.stderr = (
        _stream(fd, text) for fd, text in enumerate((sys.stdin, sys.stdout, sys.stderr))
    )
    arguments = [os.fsdecode(word) for word in words]
    sys.argv = ["slurmslice", *arguments]
    sys.orig_argv = [*SLURMSLICE, *arguments]
    sys.path[0] = os.fsdecode(folder)
    import coverage

    coverage.process_startup(force=True)
    from slurmslice.cli.app import main

    main()
    raise AssertionError("main() does not return")


def _stream(fd: int, like: TextIO) -> io.TextIOWrapper:
    """Return a standard stream as Python opens it."""
    buffer = os.fdopen(fd, "wb" if fd else "rb", closefd=False)
    return io.TextIOWrapper(
        buffer, like.encoding, like.errors, line_buffering=fd == 2 or buffer.isatty()
    )


if __name__ == "__main__":
    serve(sys.argv[1])
