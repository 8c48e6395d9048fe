"""Release the slices that the circuit breaker holds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

from slurmslice.actions.cancel import cancel_in_engine, cancel_request
from slurmslice.plan.run_script import check_script, read_script
from slurmslice.run.directory import read_required_file, sha256_hex
from slurmslice.run.identity import job_identity
from slurmslice.run.journal import Released
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class ReleasedRows:
    """The result of a release. Both fields are empty if no row was held.

    Attributes:
        released: rows that can start now, or are submitted when there is room.
        to_resubmit: rows that were cancelled, to be submitted again with the script as it is now.
    """

    released: tuple[int, ...] = ()
    to_resubmit: tuple[int, ...] = ()


def release(run: Run) -> ReleasedRows:
    """Release the slices that the circuit breaker holds.

    Slurm keeps the script of the submission. If a person edited the script later, slurmslice
    cancels the held tasks, and their slices are submitted again with the edited script.

    Raises:
        BadInputError: bash cannot read the edited script.
        EngineError: the engine did not answer; try again.
    """
    with run.directory.lock("release"):
        run.reload()
        held = _held(run)
        outdated = _outdated(run) if held else {}
        if outdated:
            check_script(run, read_script(run))
        for number, rows in outdated.items():
            request = cancel_request(run, number, rows, submit_again=True)
            run.decide(request)
            cancel_in_engine(run, request)
        run.decide(Released(run.clock()))  # last, so that all is repeated after a kill
        for submission in run.submissions_in_flight():
            if submission.share != 0 and not submission.submit_again.issuperset(
                run.unfinished_rows(submission)
            ):
                run.engine.release(job_identity(run, submission))
    to_resubmit = sorted(chain.from_iterable(outdated.values()))
    return ReleasedRows(tuple(sorted(held.difference(to_resubmit))), tuple(to_resubmit))


def _held(run: Run) -> set[int]:
    if not run.hold.reason:
        return set()
    return {*run.statuses.rows_in({State.PENDING, State.SUBMITTED}), *run.journal_state.queue}


def _outdated(run: Run) -> dict[int, list[int]]:
    """Group pending rows by submission, if the script was edited after the submission.

    On this machine a task runs the script as it is when the task starts, so none is outdated.
    """
    if not run.engine.jobs_outlive_us:
        return {}
    now = sha256_hex(read_required_file(run.directory.script))
    old = (
        submission
        for submission in run.submissions_in_flight()
        if submission.intent.script_sha256 != now
    )
    found = {submission.number: _not_begun(run, submission) for submission in old}
    return {number: rows for number, rows in found.items() if rows}


def _not_begun(run: Run, submission: Submission) -> list[int]:
    """List the rows of array tasks without a slice that has begun, as the last poll found them."""
    pending = set(run.statuses.rows_in({State.PENDING})).intersection(
        run.unfinished_rows(submission)
    )
    begun = {submission.array_index_of(row) for row in submission.rows if row not in pending}
    return sorted(row for row in pending if submission.array_index_of(row) not in begun)
