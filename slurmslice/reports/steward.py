"""The steward of a run, for ``status``: its job, its state, and when it looks next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from slurmslice.actions.steward import look_at
from slurmslice.actions.table_line import EVERY_MIN, why_idle
from slurmslice.errors import NoAnswerError
from slurmslice.run.run import Run
from slurmslice.run.steward_folder import StewardFolder
from slurmslice.run.steward_record import BY_JOB, TABLES, Round, Steward
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class StewardReport:
    """The steward of a run at this moment.

    Attributes:
        job: its job id, or the place of its line; empty if it is not known if Slurm accepted it.
        state: ``waits``, ``runs``, ``ended`` (its own end, or by ``cancel``), ``gone`` (it ended
            otherwise), or ``unknown`` (no answer).
        why: the reason of an end, or why Slurm does not start it; empty if there is none.
        rounds: the number of rounds of this run's stewards.
        last: the newest round; None if there was none.
        not_before: the earliest time of its next round, epoch seconds; None if not known.
        way: its way.
        waits_for: what it waits for, for a person; empty if only the time counts.
        trouble: what went wrong in the newest round, for a person; empty if nothing did.
        overdue: it waits for nothing more, and Slurm or cron has not started it.
    """

    job: str
    state: str
    why: str = ""
    rounds: int = 0
    last: Round | None = None
    not_before: float | None = None
    way: str = BY_JOB
    waits_for: str = ""
    trouble: str = ""
    overdue: bool = False

    @property
    def place(self) -> str:
        """Name it for a person: its job, or the table with its line."""
        return describe(self.way, self.job)

    @property
    def died(self) -> bool:
        """True if it is a job that ended against its will, and no person cancelled it."""
        return self.state == "gone" and self.way == BY_JOB and self.why != State.CANCELLED

    def record(self) -> dict[str, object]:
        """Return it as a plain record, for ``--json``."""
        return {
            "job": self.job or None,
            "way": self.way,
            "state": self.state,
            "reason": self.why,
            "rounds": self.rounds,
            "last_round_at": self.last.at if self.last else None,
            "waits_for": self.waits_for,
            "not_before": self.not_before,
            "overdue": self.overdue,
            "trouble": self.trouble,
        }


def report_steward(run: Run) -> StewardReport | None:
    """Report on the steward of a run; None if it has none. The engine may be asked."""
    steward = run.journal_state.steward
    if steward is None:
        return None
    folder = StewardFolder(run.directory.path)
    rounds = folder.rounds()
    state, why = _state(run, steward)
    last = rounds[-1] if rounds else None
    found = StewardReport(steward.job, state, why, len(rounds), last, way=steward.intent.way)
    found = replace(found, overdue=_is_overdue(run, steward, found, folder.due_at()))
    if (vain := folder.trouble()) is not None:
        not_before, waits_for, trouble = vain.not_before, "", vain.why
    elif last is not None:
        not_before, waits_for, trouble = last.not_before, last.waits_for, last.trouble
    else:
        return replace(found, waits_for=_FIRST_WAKE if state == "waits" else "")
    if state != "waits":
        return replace(found, trouble=trouble)
    return replace(found, not_before=not_before or None, waits_for=waits_for, trouble=trouble)


_FIRST_WAKE = "a slice fails or a job has ended"


def _is_overdue(run: Run, steward: Steward, found: StewardReport, due_at: float) -> bool:
    """Tell if a steward waits for nothing more, and Slurm or cron has not started it."""
    if found.state != "waits":
        return False
    if steward.is_line:
        last_at = found.last.at if found.last else steward.intent.at
        return run.clock() > max(due_at, last_at) + _CALLS_MISSED * 60 * EVERY_MIN
    return found.why not in _WAITS and "Held" not in found.why


_WAITS = frozenset({"", "Dependency", "BeginTime"})
"""Slurm's reasons of a job that waits for what it should wait for."""

_CALLS_MISSED = 3
"""Calls of a line that did not come, after which it is overdue."""


def describe(way: str, job: str) -> str:
    """Name a steward for a person: its job, or the table with its line."""
    if way not in TABLES:
        return f"Job {job}" if job else "A steward"
    machine = job.partition("@")[2]
    return f"A line in your {TABLES[way]}{f' on {machine}' if machine else ''}"


def _state(run: Run, steward: Steward) -> tuple[str, str]:
    if steward.ended:
        return "ended", steward.ended
    if steward.is_line:
        return _line_state(run, steward)
    if not steward.job:
        return "unknown", "it is not known if Slurm accepted it"
    try:
        report = look_at(run, steward)
    except NoAnswerError as silence:
        return "unknown", silence.message
    if report is None:
        return "gone", "Slurm does not know it any more"
    return _slurm_state(report)


def _line_state(run: Run, steward: Steward) -> tuple[str, str]:
    if run.directory.foreign_owner is not None:
        return "unknown", "its line is another user's"
    try:
        idle = why_idle(run, steward)
    except NoAnswerError as silence:
        return "unknown", silence.message
    return ("gone", idle) if idle else ("waits", "")


def _slurm_state(report: TaskReport) -> tuple[str, str]:
    if report.state.final:
        return "gone", str(report.state)
    if report.state is State.PENDING:
        return "waits", report.reason
    return "runs", ""
