"""The only place that starts other programs: argv in, exit code and output out, no shell."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finished:
    """A program that has ended. Output is decoded as UTF-8; other bytes survive as surrogates.

    Attributes:
        argv: what was started.
        returncode: its exit code; negative for a signal; None where it was ended at its
            time-out, or could not be started (then ``stderr`` says why).
    """

    argv: tuple[str, ...]
    returncode: int | None
    stdout: str
    stderr: str
    missing: bool = False

    @property
    def timed_out(self) -> bool:
        """Whether it was ended because it took too long."""
        return self.returncode is None and not self.missing


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
) -> Finished:
    """Run a program to its end, or to the time-out (seconds), with no standard input.

    It is started in a session of its own, so that a Ctrl-C at the terminal does not cut a
    submission in the middle: sbatch ends, and slurmslice records what it said.
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
    """Start a program that is not waited for; its process id. The caller reaps it.

    It starts deaf to SIGINT, SIGTERM and SIGHUP (they are blocked, and wait) until it has set
    itself up to meet them.

    Args:
        argv: the program's path and its arguments.
        stdin: the file descriptor that becomes its standard input; it has no other of ours.
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
