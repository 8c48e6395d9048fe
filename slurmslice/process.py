"""Execution of other programs, without a shell. No other module imports ``subprocess``."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """The result of a program. Output is decoded as UTF-8; other bytes become surrogates.

    Attributes:
        argv: the program and its arguments.
        returncode: its exit code; the negative signal number after a signal; None if it was
            killed at the time-out or could not be started (``stderr`` then says why).
        missing: it could not be started.
    """

    argv: tuple[str, ...]
    returncode: int | None
    stdout: str
    stderr: str
    missing: bool = False

    @property
    def timed_out(self) -> bool:
        """Tell if the program was killed at its time-out."""
        return self.returncode is None and not self.missing


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program until it ends or the time-out (seconds) is over; it has no standard input.

    The program has its own session, so Ctrl-C at the terminal does not interrupt an sbatch call:
    it ends normally, and slurmslice records the result.
    """
    try:
        done = subprocess.run(
            list(argv),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout,
            env=None if env is None else dict(env),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return Finished(tuple(argv), None, _text(late.stdout), _text(late.stderr))
    except OSError as why:
        return Finished(tuple(argv), None, "", f"{argv[0]}: {why.strerror}", missing=True)
    return Finished(tuple(argv), done.returncode, _text(done.stdout), _text(done.stderr))


def spawn(argv: Sequence[str], *, stdin: int, env: Mapping[str, str]) -> int:
    """Start a program in the background and return its process id. The caller reaps it.

    SIGINT, SIGTERM and SIGHUP are blocked at the start; the program unblocks them when it is
    ready to handle them.

    Args:
        argv: the program's path and its arguments.
        stdin: the file descriptor of its standard input.
        env: its environment.

    Raises:
        OSError: it could not be started.
    """
    return os.posix_spawn(
        argv[0],
        list(argv),
        dict(env),
        file_actions=[
            (os.POSIX_SPAWN_DUP2, stdin, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
        ],
        setsigmask=(signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
    )


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", "surrogateescape")
