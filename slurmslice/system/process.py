"""Execution of other programs, without a shell. No other module imports ``subprocess``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn


@dataclass(frozen=True, slots=True)
class ProgramResult:
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


def run_program(
    argv: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    data: bytes | None = None,
) -> ProgramResult:
    """Run a program until it ends or the time-out (seconds) is over, with ``data`` as its stdin.

    The program has its own session, so Ctrl-C at the terminal does not interrupt an sbatch call:
    it ends normally, and slurmslice records the result.
    """
    stdin: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    try:
        done = subprocess.run(
            list(argv),
            **stdin,
            capture_output=True,
            timeout=timeout,
            env=None if env is None else dict(env),
            start_new_session=True,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return ProgramResult(tuple(argv), None, _text(late.stdout), _text(late.stderr))
    except OSError as why:
        return ProgramResult(tuple(argv), None, "", f"{argv[0]}: {why.strerror}", missing=True)
    return ProgramResult(tuple(argv), done.returncode, _text(done.stdout), _text(done.stderr))


def run_hook(
    argv: Sequence[str], *, data: bytes, timeout: float, cwd: str
) -> tuple[int | None, str]:
    """Run a person's command until it ends, and return its exit code and its last words.

    Its output is kept in no memory, and what it leaves in the background is not waited for.

    Args:
        argv: the command.
        data: its standard input.
        timeout: seconds; then its process group is killed, and the exit code is None.
        cwd: its working directory.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(data)
        given.seek(0)
        null = subprocess.DEVNULL
        try:
            child = subprocess.Popen(
                list(argv), stdin=given, stdout=null, stderr=said, cwd=cwd, start_new_session=True
            )
        except OSError as why:
            return 127, f"{cwd}: {why.strerror}"
        try:
            code: int | None = child.wait(timeout)
        except BaseException as why:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if not isinstance(why, subprocess.TimeoutExpired):
                raise
            code = None
        said.seek(max(0, said.seek(0, os.SEEK_END) - _LAST_WORDS))
        lines = _text(said.read()).strip().splitlines()
        return code, lines[-1] if lines else ""


_LAST_WORDS = 2000


class Program:
    """A program that runs in a session of its own.

    Args:
        child: its process.
    """

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._child = child
        self.pid = child.pid

    def wait(self) -> int:
        """Wait for its end, and return its exit code; 128 and the number after a signal."""
        code = self._child.wait()
        return code if code >= 0 else 128 - code

    def kill_group(self) -> None:
        """Kill its process group, and wait for its own end."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._child.wait()


def start_program(argv: Sequence[str], *, env: Mapping[str, str], output: Path) -> Program:
    """Start a program without standard input; its output is appended to a file.

    Raises:
        OSError: it could not be started.
    """
    with open(output, "ab") as file:
        child = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(env),
            start_new_session=True,
        )  # fmt: skip
    return Program(child)


_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
"""Operations of prctl(2)."""


def fork_worker(
    argv: Sequence[str],
    env: Mapping[str, str],
    *,
    output: int,
    keep: Sequence[int],
    mark: str,
    death_signal: signal.Signals,
    nice: int,
) -> int:
    """Start a program as a worker of this process, and return its process id.

    The worker leads a session of its own. It is a subreaper: it adopts the orphans of its children.
    When this process ends, the kernel sends the worker a signal. Call this function from the main
    thread, because the kernel sends the signal at the end of the calling thread (prctl(2)). The
    caller must reap the worker.

    Args:
        argv: the program's path and its arguments.
        env: its environment.
        output: the file descriptor for its standard output and standard error.
        keep: other file descriptors that it inherits.
        mark: the name of a variable. Its value is the worker's process id, which is also the id of
            its session.
        death_signal: the signal for the worker when this process ends.
        nice: its minimum nice value.

    Raises:
        OSError: the process could not be created.
    """
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    parent, before = os.getpid(), signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if not pid:
            try:
                os.setsid()
                prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
                prctl(_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
                if os.getppid() == parent:  # else it ended before the kernel was asked
                    _become(argv, {**env, mark: str(os.getpid())}, output, keep, nice)
            finally:
                os._exit(127)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become(
    argv: Sequence[str], env: Mapping[str, str], output: int, keep: Sequence[int], nice: int
) -> None:
    """Turn this process, just forked, into a program."""
    os.setpriority(os.PRIO_PROCESS, 0, max(nice, os.getpriority(os.PRIO_PROCESS, 0)))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    for fd in keep:
        os.set_inheritable(fd, True)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.execve(argv[0], list(argv), dict(env))  # noqa: S606  (argv lists without a shell)


def replace_process(argv: Sequence[str]) -> NoReturn:
    """Run another program in place of this one, with the same environment.

    Raises:
        OSError: it cannot be started.
    """
    os.execv(argv[0], list(argv))  # noqa: S606  (argv lists without a shell)


def _text(output: bytes | None) -> str:
    return (output or b"").decode("utf-8", "surrogateescape")
