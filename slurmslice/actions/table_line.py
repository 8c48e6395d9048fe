"""The line of an unattended run in the user's crontab or scrontab (docs/adr/0030).

It stands for a steward where a job cannot put itself back. It calls ``tick RUN --by TOKEN``.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.plan.planned_submission import new_token
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.run.steward_record import (
    TABLES,
    Steward,
    StewardEnded,
    StewardIntent,
    StewardSubmitted,
)
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.recorded_environment import belongs_to_session
from slurmslice.system.shell_quoting import quote
from slurmslice.system.user_tables import (
    change_table,
    entries_in_block,
    has_block,
    read_table,
    with_block,
    without_block,
)

EVERY_MIN = 5
"""Minutes between two calls. Most calls end at once, because the pause is not over."""

_OWN_JOB = ("SLURM_", "SRUN_")
_OF_CLUSTER = frozenset({"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_JWT"})


@dataclass(frozen=True, slots=True)
class LineInPlace:
    """The line that follows a run.

    Attributes:
        steward: its record.
        is_new: it was added just now.
    """

    steward: Steward
    is_new: bool


def place_of(way: str) -> str:
    """Name the table, and for cron its machine: each machine has crontabs of its own."""
    return f"cron@{socket.gethostname()}" if way == "cron" else way


def is_in_place(steward: Steward) -> bool:
    """Tell if the line of a run is in the table.

    Raises:
        NoAnswerError: the table cannot be read, or it is another machine's.
    """
    return has_block(_table_of(steward), steward.token)


def why_idle(run: Run, steward: Steward) -> str:
    """Return why the line of a run does nothing, for a person; empty if it works.

    Raises:
        NoAnswerError: as ``is_in_place``.
    """
    table, folder = _table_of(steward), StewardFolder(run.directory.path)
    if not has_block(table, steward.token):
        return "its line is gone"
    entries = entries_in_block(table, steward.token)
    if not entries:
        return "its line is switched off in the table"
    if not _calls(entries[-1], folder.line_script):
        return "its line calls the script of another folder"
    if not folder.line_script_calls(f"--by {steward.token}"):
        return f"{folder.line_script} is missing or damaged"
    return ""


def _calls(entry: str, script: Path) -> bool:
    """Tell if an entry of a table calls a script, by whatever path."""
    words = entry.rpartition("/bin/bash ")[2]
    try:
        return words == quote(str(script)) or os.path.samefile(shlex.split(words)[0], script)
    except (OSError, ValueError, IndexError):
        return False


def _table_of(steward: Steward) -> bytes:
    if steward.job and steward.job != place_of(steward.intent.way):
        machine = steward.job.partition("@")[2]
        raise NoAnswerError(
            f"the line of this run is in the crontab of {machine}",
            f"Go to {machine}, or end it there first: slurmslice cancel",
            code="no-user-table",
            machine=machine,
        )
    return read_table(TABLES[steward.intent.way])


def ensure_line(run: Run, way: str) -> LineInPlace:
    """Add the line of a run unless it is there. Its intent is recorded before.

    Raises:
        NoAnswerError: the table cannot be read or changed, or it is another machine's.
        BadInputError: the path of the run cannot be in a line.
    """
    command = _command(run)
    with run.directory.lock("run"):
        run.reload()
        steward = run.journal_state.steward
        if steward and not steward.ended:
            idle = "another line follows the run"
            if steward.intent.way == way and not (idle := why_idle(run, steward)):
                if not steward.job:
                    run.decide(_placed(run, steward.token, way, "found"))
                return LineInPlace(_newest(run), is_new=False)
            run.decide(StewardEnded(steward.token, idle, run.clock()))
            if steward.is_line:
                with contextlib.suppress(NoAnswerError):  # its next call removes it
                    remove_line(run, steward)
        token = new_token()
        run.decide(StewardIntent(token, "", run.clock(), NO_REQUEST, way))
        folder = StewardFolder(run.directory.path)
        folder.write_line_script("\n".join(_script(run, folder, token)) + "\n")
        lines = "\n".join(_lines(run, way, command)) + "\n"
        data = lines.encode("utf-8", "surrogateescape")
        try:
            change_table(TABLES[way], lambda table: with_block(table, token, data))
        except BaseException:
            run.decide(StewardEnded(token, "its line could not be added", run.clock()))
            folder.remove_line_script()
            raise
        run.decide(_placed(run, token, way, "added"))
        return LineInPlace(_newest(run), is_new=True)


def _newest(run: Run) -> Steward:
    steward = run.journal_state.steward
    assert steward is not None  # noqa: S101 - the caller has just recorded it
    return steward


def _placed(run: Run, token: str, way: str, how: str) -> StewardSubmitted:
    return StewardSubmitted(token, place_of(way), how, run.clock())


def remove_line(run: Run, steward: Steward) -> None:
    """Remove the line of a run, and then its script with the environment in it.

    Raises:
        NoAnswerError: the table cannot be read or changed, or it is another machine's. If the end
            of the steward is recorded, the next call of the line removes it.
    """
    if is_in_place(steward):
        change_table(TABLES[steward.intent.way], lambda table: without_block(table, steward.token))
    StewardFolder(run.directory.path).remove_line_script()


def remove_block(token: str) -> None:
    """Remove the line with a token from whichever table of this machine has it.

    Raises:
        NoAnswerError: the table cannot be changed.
    """
    for program in TABLES.values():
        found = False
        with contextlib.suppress(NoAnswerError):  # switched off here, so the line is elsewhere
            found = has_block(read_table(program), token)
        if found:
            change_table(program, lambda table: without_block(table, token))


def _command(run: Run) -> str:
    script = quote(str(StewardFolder(run.directory.path).line_script))
    if script.startswith("$") or "%" in script:
        raise BadInputError(
            f"The path of the run cannot be in a line of a crontab: {script}.",
            "Use a path without % and control characters (--run-dir), or --unattended-by steward.",
            code="path-not-in-table",
            path=str(run.directory.path),
        )
    return f"test ! -e {script} || /bin/bash {script}"  # quiet if the run was removed


def _lines(run: Run, way: str, command: str) -> Iterator[str]:
    """Yield the lines of the block. Each ``#SCRON`` line is about the next entry: scrontab(1)."""
    if way == "scrontab":
        own = {
            "job-name": f"{run.record.name}-line",
            "time": "15",
            "ntasks": "1",
            "mem": f"{512 + len(run.table) // 500}M",
            "output": "/dev/null",
        }
        asked = ResourceRequest.of(own).overridden_by(run.site.steward_sbatch)
        yield from (f"#SCRON {word}" for word in asked.to_argv())
    yield f"*/{EVERY_MIN} * * * * {command}"


def _script(run: Run, folder: StewardFolder, token: str) -> Iterator[str]:
    """Yield the script that the line calls: the environment of the person, and one ``tick``.

    Cron has almost no environment, and later attempts need that of the first one (ADR 16).
    """
    yield "#!/bin/bash"
    yield "# A line of your crontab calls this. It has your environment, so only you may read it."
    yield 'for name in $(compgen -e); do unset "$name"; done'
    for name, value in sorted(run.environ.items()):
        of_job = name.startswith(_OWN_JOB) and name not in _OF_CLUSTER
        kept = name in _OF_CLUSTER or name.startswith("SBATCH_") or not belongs_to_session(name)
        if kept and not of_job and name.isidentifier():
            yield f"export {name}={quote(value)}"
    yield f"exec >>{quote(str(folder.log))} 2>&1"
    words = (sys.executable, "-m", "slurmslice", "tick", str(run.directory.path), "--by", token)
    yield f"exec timeout --kill-after=20 540 {' '.join(map(quote, words))}"
