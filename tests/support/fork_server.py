"""The process whose forks are the commands of ``tests/support/commands.py``.

``python -c`` runs the text of this file, so it imports nothing of the tests: the user of a cluster
may be unable to read them. The argument is the path of its socket.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import importlib.util
import io
import os
import pkgutil
import select
import signal
import socket
import sys
from typing import NoReturn, TextIO


def serve(path: str) -> None:
    """Import all of slurmslice, then fork for each client, until stdin ends."""
    import slurmslice

    for module in pkgutil.walk_packages(slurmslice.__path__, "slurmslice."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    if importlib.util.find_spec("coverage"):  # a cluster's user has none
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
    sys.orig_argv = [sys.executable, "-m", "slurmslice", *arguments]
    sys.path[0] = os.fsdecode(folder)
    if "coverage" in sys.modules:
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
