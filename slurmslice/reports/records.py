"""A run as plain records, for ``--json``. Fields are added, never removed."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection

from slurmslice.plan.canary_phase import stop_reason
from slurmslice.plan.failure_causes import cause_of_row
from slurmslice.plan.repairs import AttemptsLeft, repair_policy
from slurmslice.plan.then_phase import is_over
from slurmslice.reports.measured import elapsed_s
from slurmslice.reports.next_steps import next_steps
from slurmslice.reports.remaining_time import measure_pace
from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.reports.steward import report_steward
from slurmslice.reports.then import report_then
from slurmslice.run.continuations import count_continuations, is_continuation
from slurmslice.run.raised_requests import RequestRaised
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.status.observation import FACT_NAMES
from slurmslice.status.states import BEGUN_STATES

Record = dict[str, object]


def run_json(run: Run, rows: Collection[int] | None = None) -> str:
    """Return the run and its slices as JSON, in ASCII, so that non-UTF-8 bytes survive."""
    return json.dumps(run_record(run, rows), indent=1)


def run_record(run: Run, rows: Collection[int] | None = None) -> Record:
    """Return the run as a record; ``counts`` has all slices, ``slices`` only these rows.

    ``stopped`` is the reason if the run stopped by its own rule; else None.
    ``excluded_nodes`` has the suspected nodes that submissions exclude now, with the evidence.
    ``raised_requests`` has the requests of waiting slices that were raised, with the evidence.
    ``accepted`` is the number of slices that failed or were cancelled and that a person accepts;
    ``counts`` has them too. ``pace`` has an estimate of the time that is left, in seconds, with its
    basis; None if there is none. ``next`` has the commands to type, as lists of words.
    """
    chosen = range(len(run.table)) if rows is None else rows
    requested, attempts_left = SliceRequests(run), AttemptsLeft(run)
    return {
        "run": run.record.name,
        "directory": str(run.directory.path),
        "engine": run.record.engine,
        "cluster": run.record.cluster,
        "finished": is_over(run),
        "open": run.is_open,
        "stopped": stop_reason(run) or None,
        "steward": _steward(run),
        "after": run.record.after or None,
        "waits_for_other": run.waits_for_other,
        "then": then.record() if (then := report_then(run)) else None,
        "max_attempts": repair_policy(run).max_attempts,
        "excluded_nodes": [
            dataclasses.asdict(one)
            for one in run.journal_state.nodes.excluded(run.clock()).values()
        ],
        "raised_requests": [_raised(one) for one in run.journal_state.raised.events],
        "counts": {str(state): number for state, number in run.statuses.state_counts().items()},
        "accepted": len(run.accepted_rows),
        "pace": measure_pace(run).record(),
        "next": next_steps(run),
        "slices": [slice_record(run, row, requested, attempts_left) for row in chosen],
    }


def _raised(one: RequestRaised) -> Record:
    return dataclasses.asdict(one) | {"changes": one.changes.to_json()}


def _steward(run: Run) -> Record | None:
    """Return the steward as a record; None if the run has none."""
    report = report_steward(run)
    return report.record() if report else None


def slice_record(
    run: Run, row: int, requested: SliceRequests, attempts_left: AttemptsLeft
) -> Record:
    """Return one slice as a record. Times are epoch seconds; an unknown value is None.

    ``cause`` is the cause of a failure, in the word that ``--on`` takes; else None.
    ``repaired`` has the causes that the policy has repaired since a person submitted the slice.
    ``continued`` is the number of its continuations from its checkpoint.
    ``columns`` has the values of its columns in the slice table. ``elapsed_s`` of a slice that
    runs grows until its end. ``log`` is the file with its output. Several slices may share it: the
    output begins at ``log_offset`` and has ``log_bytes`` bytes (None: up to the end of the file).
    ``accepted`` has the reason and the time with which a person accepted a failure; else None.
    """
    status, limits = run.statuses[row], requested.of(row)
    history = run.journal_state.repairs.of(row)
    return {
        "key": run.table.keys[row],
        "row": row,
        "state": str(status.state),
        "cause": (cause_of_row(run, row) if status.state.failed else "") or None,
        "accepted": acceptance_record(run, row),
        "repaired": [cause for cause in history if not is_continuation(cause)],
        "continued": count_continuations(history),
        "attempt": status.attempt,
        "attempts_left": attempts_left.of(row),
        "job": run.array_task_of(status),
        **{name: getattr(status, name) for name in FACT_NAMES},
        "elapsed_s": elapsed_s(status, run.clock()),
        "requested_mem_bytes": limits.mem_bytes,
        "time_limit_s": limits.time_s,
        **_log_place(run, row),
        "evidence": str(status.evidence),
        "reason": requested.why(row),
        "columns": dict(zip(run.table.columns, run.table.column_values(row), strict=True)),
    }


def acceptance_record(run: Run, row: int) -> Record | None:
    """Return the acceptance of a slice's failure as a record; None if there is none."""
    accepted = run.acceptance_of(row)
    return {"reason": accepted.reason, "at": accepted.at} if accepted else None


def _log_place(run: Run, row: int) -> Record:
    """Return the file with the output of a slice, and the place in it of the newest attempt's."""
    status = run.statuses[row]
    submission = run.journal_state.submissions.get(status.submission or 0)
    if submission is None:
        return {"log": None, "log_offset": None, "log_bytes": None}
    log = SliceLog.of(run, submission, row)
    may_have_text = status.state.final or status.state in BEGUN_STATES
    file = log.file(ended=status.state.final) if may_have_text else log.own
    if file is None:
        return {"log": None, "log_offset": None, "log_bytes": None}
    for section in log.sections()[-1:] if file == log.shared else ():
        size = len(section.text)
        return {"log": str(file), "log_offset": section.offset, "log_bytes": size}
    return {"log": str(file), "log_offset": 0, "log_bytes": None}
