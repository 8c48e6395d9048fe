"""Collect the evidence for the status of a slice: reports, progress lines, and its own log."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from slurmslice.actions.fetch_job_steps import EndReports
from slurmslice.run.run import Run
from slurmslice.run.slice_logs import SliceLog
from slurmslice.run.submission import Submission
from slurmslice.script.progress_lines import (
    SlotProgress,
    TaskProgress,
    parse_progress,
    setup_progress,
)
from slurmslice.status.observation import Observation, TaskReport
from slurmslice.status.reconcile import SliceEvidence
from slurmslice.status.states import State


def slice_has_log(run: Run, submission: Submission, row: int) -> bool:
    """True if a slice's log proves that it began; its process creates it first of all."""
    return SliceLog.of(run, submission, row).proves_begin


def may_have_begun(run: Run, submission: Submission, row: int) -> bool:
    """True if a slice's own log exists, or if the log of its task cannot be read."""
    path = run.directory.task_log_path(submission.number, submission.array_index_of(row))
    return path in run.directory.unreadable_logs or slice_has_log(run, submission, row)


def array_end_times(observation: Observation) -> dict[str, float]:
    """Return the end times of arrays that have left the queue, epoch seconds, by job id."""
    if not (observation.queue.answered and observation.accounting.answered):
        return {}
    queue = observation.queue
    queued = {job for job, _ in (*queue.reports, *queue.other_jobs)}
    ended: dict[str, float] = {}
    for job, index in observation.accounting.reports:
        if job in queued:  # do not parse its reports: for a million tasks that takes seconds
            continue
        ended_at = observation.accounting.reports[job, index].ended_at
        if ended_at is not None:
            ended[job] = max(ended.get(job, 0.0), ended_at)
    return ended


def slice_evidence(
    run: Run,
    submission: Submission,
    row: int,
    observation: Observation,
    ends: EndReports,
    *,
    over: Mapping[str, float],
    now: float,
    foreign_jobs: Collection[str] = (),
) -> SliceEvidence:
    """Collect the reports about one slice; its progress lines are read later, if they matter.

    Args:
        run: the run.
        submission: the slice's submission.
        row: the slice.
        observation: the answers of accounting and of the queue.
        ends: the reports of ended tasks.
        over: the end times of arrays that have left the queue (``array_end_times``).
        now: epoch seconds.
        foreign_jobs: job ids that Slurm has given to other jobs.
    """
    task = submission.job, submission.array_index_of(row)
    ended, silence = ends
    untold = task in ended and ended[task] is None
    return SliceEvidence(
        accounting=ended[task] if task in ended else observation.accounting.reports.get(task),
        queue=observation.queue.reports.get(task),
        progress=None,
        accounting_silence=silence if untold else observation.accounting.silence,
        queue_silence=observation.queue.silence,
        other_job=task in observation.queue.other_jobs and submission.job not in foreign_jobs,
        accounting_off=observation.accounting.off,
        cancelled_at=submission.cancelled.get(row),
        task_goes_on=row in submission.cancelled and task_goes_on(run, submission, row),
        array_ended_at=over.get(submission.job),
        now=now,
    )


def task_goes_on(run: Run, submission: Submission, row: int) -> bool:
    """True if the array task of a row has a slice that may run and was not cancelled."""
    others = submission.rows_of_task[submission.array_index_of(row)]
    holder, ended = run.journal_state.holder, run.statuses.ended
    return any(
        holder[other] == submission.number and not ended(other)
        for other in others
        if other not in submission.cancelled
    )


def read_slice_progress(
    run: Run,
    submission: Submission,
    row: int,
    accounting: TaskReport | None,
    queue: TaskReport | None,
) -> SlotProgress | None:
    """Read a task's progress lines, if they matter: to read one file per slice takes long.

    They matter if Slurm does not report the task, if it FAILED (perhaps by its slice's check) or
    ran over its time limit, and if accounting says that it never began.
    """
    for report in (accounting, queue):
        if report is not None and report.progress is not None:
            return report.progress
    states = {report.state for report in (accounting, queue) if report is not None}
    ended = accounting is not None and accounting.state.final and not accounting.is_array_summary
    is_reported = queue is not None or ended
    if is_reported and not states & {State.FAILED, State.TIMEOUT, State.WAITING}:
        return None
    index = submission.array_index_of(row)
    wrote = read_task_progress(run, submission, index)
    if wrote.setup_exit is not None:  # even if the setup printed lines like a slice's
        return setup_progress(wrote)
    began = SlotProgress() if may_have_begun(run, submission, row) else None
    return wrote.slots.get(0, began)


def read_task_progress(run: Run, submission: Submission, index: int) -> TaskProgress:
    """Read the progress lines of an array task; none if its log is missing or unreadable."""
    return parse_progress(
        run.directory.read_task_log(submission.number, index) or b"", submission.job
    )
