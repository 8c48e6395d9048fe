"""The explanation of one slice: its attempts, the evidence, the ends of its logs, what to type."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from slurmslice.errors import DamagedRunError, NotAFileError
from slurmslice.plan.repairs import find_repairs
from slurmslice.reports.raw_evidence import RawEvidence, ask_sources
from slurmslice.reports.slice_life import SliceAttempt, SliceLives, ladder_text
from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import slice_command_line
from slurmslice.status.observation import FACT_NAMES
from slurmslice.status.states import State
from slurmslice.system import files

_TAIL_BYTES = 64 * 1024
_TAIL_LINES = 10
_SLURM_LINE = re.compile(rb"^(?:slurmstepd|srun|slurmd)[^\n:]*: [^\n]*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The end of a log.

    Attributes:
        path: its file.
        lines: its last lines, without their line ends.
    """

    path: Path
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a slice: what is known of it, and why it is in its state.

    Attributes:
        row: its row.
        key: its key.
        state: its state.
        reason: the reason for it, for a person.
        values: its columns in the slice table.
        command: its command as a line for the shell.
        attempts: all its attempts, the oldest first.
        old_values: for each attempt, the values of columns that were corrected since.
        evidence: what the sources say of the newest one; None before the first.
        log: the end of its log; None if there is none.
        slurm_lines: the last lines of Slurm's own programs in the log of its array task.
        repair: what the policy does about its failure; empty if it has not failed.
        next: the commands to type, as words, the most useful first.
    """

    row: int
    key: str
    state: State
    reason: str
    values: dict[str, str]
    command: str
    attempts: tuple[SliceAttempt, ...]
    old_values: tuple[dict[str, str], ...]
    evidence: RawEvidence | None
    log: LogEnd | None
    slurm_lines: tuple[str, ...]
    repair: str
    next: tuple[tuple[str, ...], ...]

    @property
    def ladder(self) -> str:
        """The attempts in a line."""
        return ladder_text(self.attempts)

    def record(self) -> dict[str, object]:
        """Return it as a plain record, for ``--json``."""
        evidence = self.evidence
        return {
            "key": self.key,
            "state": str(self.state),
            "reason": self.reason,
            "columns": self.values,
            "command": self.command,
            "ladder": self.ladder,
            "attempts": [
                {**_attempt_record(one), "columns": {**self.values, **old}}
                for one, old in zip(self.attempts, self.old_values, strict=True)
            ],
            "evidence": evidence and {
                "accounting": evidence.accounting,
                "queue": evidence.queue,
                "lines": list(evidence.lines),
            },
            "log": self.log and {"path": str(self.log.path), "lines": list(self.log.lines)},
            "slurm_lines": list(self.slurm_lines),
            "repair": self.repair or None,
            "next": [list(words) for words in self.next],
        }  # fmt: skip


def _attempt_record(one: SliceAttempt) -> dict[str, object]:
    facts = {name: getattr(one.status, name, None) for name in FACT_NAMES}
    return {
        "submission": one.submission.number,
        "job": one.submission.job,
        "end": one.end,
        "reason": one.status.reason if one.status else None,
        "request": dict(one.request),
        **facts,
    }


def explain_slice(run: Run, row: int) -> Explanation:
    """Explain one slice of a run that was just polled. The engine is asked once more."""
    attempts = tuple(SliceLives(run).of(row))
    newest = attempts[-1].submission if attempts else None
    columns = dict(zip(run.table.columns, run.table.column_values(row), strict=True))
    log = SliceLog.of(run, newest, row) if newest else None
    return Explanation(
        row=row,
        key=run.table.keys[row],
        state=run.statuses[row].state,
        reason=SliceRequests(run).why(row),
        values=columns,
        command=slice_command_line(run.record.command, run.table.keys[row], columns),
        attempts=attempts,
        old_values=tuple(_old_values(run, one.submission.number, row) for one in attempts),
        evidence=ask_sources(run, newest, row) if newest else None,
        log=_end_of_log(log) if log else None,
        slurm_lines=_slurm_lines(log) if log else (),
        repair=_repair(run, row),
        next=tuple(_commands(run, row)),
    )


def _old_values(run: Run, number: int, row: int) -> dict[str, str]:
    """Return the values of a slice in a submission, if they were corrected since then.

    They are in the task table of the submission, which never changes.
    """
    if number > run.journal_state.changes.replaced.get(row, 0):
        return {}
    path = run.directory.task_table_path(number)
    try:
        table = SliceTable.read(files.read_file(path), str(path))
    except (OSError, NotAFileError, DamagedRunError):
        return {}
    at = table.row_of(run.table.keys[row])
    had = dict(zip(table.columns, table.column_values(at), strict=True)) if at is not None else {}
    now = zip(run.table.columns, run.table.column_values(row), strict=True)
    return {name: had[name] for name, value in now if had.get(name, value) != value}


def _end_of_log(log: SliceLog) -> LogEnd | None:
    try:
        lines = _last_lines(log.tail(_TAIL_BYTES))
        path = log.file(ended=True)
    except (OSError, NotAFileError):
        return None
    return LogEnd(path, lines) if path else None


def _slurm_lines(log: SliceLog) -> tuple[str, ...]:
    """Return the last lines that Slurm's own programs wrote into the log of the task."""
    found = list[bytes]()
    with contextlib.suppress(OSError):
        for chunk in files.read_chunks(log.directory.task_log_path(log.number, log.index)):
            found += _SLURM_LINE.findall(chunk)
    return _last_lines(b"\n".join(found))


def _last_lines(data: bytes) -> tuple[str, ...]:
    lines = data.decode("utf-8", "surrogateescape").splitlines()
    return tuple(lines[-_TAIL_LINES:])


def _repair(run: Run, row: int) -> str:
    """Return what the policy does about the failure of a slice; empty if it has none."""
    if not run.statuses[row].state.failed:
        return ""
    if run.acceptance_of(row):
        return "left: a person accepts the failure"
    repairs = find_repairs(run)
    for choice in repairs.due:
        if row in choice.rows:
            changes = " ".join(f"--{name}={value}" for name, value in choice.changes.items())
            return f"{choice.cause}: it is submitted again" + (
                f" with {changes}" if changes else ""
            )
    for left in repairs.left:
        if row in left.rows:
            return f"{left.cause}: left, {left.reason}"
    return "left: the run has no repairs"


def _commands(run: Run, row: int) -> Iterator[tuple[str, ...]]:
    """Yield the commands that help with a slice in this state."""
    name, key = run.record.name, run.table.keys[row]
    state = run.statuses[row].state
    if run.statuses[row].submission:
        yield "slurmslice", "logs", name, "--all", "--", key
    if state.failed or state is State.CANCELLED:
        raised = {State.OUT_OF_MEMORY: ("--mem", "2x"), State.TIMEOUT: ("--time", "2x")}
        dashes = ("--",) if key.startswith("-") else ()
        yield "slurmslice", "resubmit", name, *raised.get(state, ()), *dashes, key
        if run.acceptance_of(row):
            yield "slurmslice", "accept", name, "--undo", "--", key
    elif state is State.WAITING:
        yield "slurmslice", "run", name
