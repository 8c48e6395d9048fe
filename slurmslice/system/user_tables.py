"""The tables of a user's timed commands: crontab(1), and Slurm's scrontab(1).

One block belongs to one token, between two marks. All other bytes stay as they are.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path

from slurmslice.errors import NoAnswerError
from slurmslice.system import locks
from slurmslice.system.process import ProgramResult, run_program

_TIMEOUT_S = 30.0
_EMPTY = re.compile(r"\bno s?crontab for\b", re.I)


def read_table(program: str) -> bytes:
    """Return the user's table; empty if there is none.

    Args:
        program: ``crontab`` or ``scrontab``.

    Raises:
        NoAnswerError: the program is not there, or it failed (``no-user-table``).
    """
    done = run_program((program, "-l"), timeout=_TIMEOUT_S)
    if done.returncode == 0:
        return done.stdout.encode("utf-8", "surrogateescape")
    if done.returncode is not None and _EMPTY.search(done.stderr + done.stdout):
        return b""
    raise _failed(program, done)


def change_table(program: str, edit: Callable[[bytes], bytes]) -> None:
    """Change the user's table, and read it again. Another slurmslice of the user waits meanwhile.

    If it is not what was written, the former table is written back.

    Raises:
        NoAnswerError: as ``read_table``, or the table could not be changed.
        LockedError: another slurmslice changes it for too long.
    """
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    folder = Path(state) / "slurmslice" / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    with locks.hold_lock(folder, program, 0o600):
        before = read_table(program)
        after = edit(before)
        if after == before:
            return
        try:
            _write(program, after)
            found = read_table(program)
        except BaseException:  # Ctrl-C too: nobody would remove the block
            if read_table(program) != before:
                _write(program, before)
            raise
        if found != after:
            _write(program, before)
            raise NoAnswerError(
                f"{program} did not keep what was written; the former table is back.",
                f"Look at it: {program} -l",
                code="no-user-table",
                program=program,
            )


def _write(program: str, table: bytes) -> None:
    if not table:
        done = run_program((program, "-r"), timeout=_TIMEOUT_S)
    else:
        with tempfile.NamedTemporaryFile(prefix="slurmslice-") as file:
            file.write(table)
            file.flush()
            done = run_program((program, file.name), timeout=_TIMEOUT_S)
    if done.returncode != 0:
        raise _failed(program, done)


def _failed(program: str, done: ProgramResult) -> NoAnswerError:
    said = done.stderr.strip() or "no answer in time"
    return NoAnswerError(
        f"{program} cannot be used here: {said[-500:]}.",
        "Choose another way: --unattended-by steward, or keep `slurmslice run` alive.",
        code="no-user-table",
        program=program,
    )


def has_block(table: bytes, token: str) -> bool:
    """Tell if a table has the block of a token."""
    return _block(token).search(table) is not None


def entries_in_block(table: bytes, token: str) -> list[str]:
    """Return the entries in the block of a token; comments are none.

    A person comments an entry out to switch it off, and so does scancel(1).
    """
    found = _block(token).search(table)
    lines = found[0].decode("utf-8", "surrogateescape").splitlines() if found else []
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def with_block(table: bytes, token: str, lines: bytes) -> bytes:
    """Return a table with a block at its start; whole lines.

    There, no line without an end, no ``SHELL=`` and no ``#SCRON`` of the user belongs to the block.
    """
    begin, end = _marks(token)
    return begin + lines + end + without_block(table, token)


def without_block(table: bytes, token: str) -> bytes:
    """Return a table without the block of a token."""
    return _block(token).sub(b"", table)


def _marks(token: str) -> tuple[bytes, bytes]:
    begin, end = f"# slurmslice {token} begin\n", f"# slurmslice {token} end\n"
    return begin.encode("ascii"), end.encode("ascii")


def _block(token: str) -> re.Pattern[bytes]:
    begin, end = (re.escape(mark[:-1]) + rb"\r?\n" for mark in _marks(token))
    return re.compile(rb"^" + begin + rb"(?:(?!# slurmslice ).*\n)*?" + end, re.M)
