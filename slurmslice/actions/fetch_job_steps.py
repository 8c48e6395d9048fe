"""Fetch the job steps of tasks that have just ended: their resource use and exit codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slurmslice.errors import NoAnswerError
from slurmslice.run.identity import job_identity
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import parse_sampling_interval
from slurmslice.status.observation import NO_JOB_STEPS, Observation, TaskId, TaskReport

EndReports = tuple[dict[TaskId, TaskReport | None], str]
"""Reports by task (None: the steps are not known), and the reason of a missing answer."""


def fetch_job_steps(run: Run, group: Sequence[Submission], said: Observation) -> EndReports:
    """Fetch accounting's reports, with job steps, of the tasks that have just ended.

    If the steps of a task cannot be read, its report is None. A report without steps could hide a
    failed step.

    A question for steps is expensive. So slurmslice asks it only from the poll that sees the end of
    the task until the poll that gets an answer.

    Args:
        run: the run.
        group: its submissions in flight, with unique job ids.
        said: the observation of this poll.

    Returns:
        the reports by task, and the reason why the engine did not answer (else empty).
    """
    ended, with_steps, silence = _ended(run, group, said), {}, ""
    if ended:
        try:
            with_steps = run.engine.fetch_job_steps([job_identity(run, s) for s in group], ended)
        except NoAnswerError as why:
            silence = why.message
    if silence and not run.record.allow_failed_steps:
        return dict.fromkeys(ended), silence
    options = {s.job: s.intent.options for s in group}
    full = {task: _with_own_interval(r, options[task[0]]) for task, r in with_steps.items()}
    return {t: _joined(run, report, full.get(t)) for t, report in ended.items()}, silence


def _ended(run: Run, group: Sequence[Submission], said: Observation) -> dict[TaskId, TaskReport]:
    """Return the reports of ended tasks whose steps the engine has not reported yet."""
    reports = said.accounting.reports
    tasks = (
        (submission.job, submission.array_index_of(row))
        for submission in group
        if submission.intent.pack == 1  # in a pack, a step cannot be assigned to a slice
        for row in run.unfinished_rows(submission)
    )
    found = ((task, report) for task in tasks if (report := reports.get(task)))
    return {
        task: r for task, r in found if r.state.final and not r.is_array_summary and r.steps is None
    }


def _with_own_interval(report: TaskReport, options: ResourceRequest) -> TaskReport:
    """Replace the cluster's interval of measurements by the one that the job requested."""
    own = options.get("acctg-freq")
    return replace(report, sampling_s=parse_sampling_interval(own)) if own else report


def _joined(run: Run, report: TaskReport, full: TaskReport | None) -> TaskReport:
    """Join a report with its steps, unless the task was started again between the two answers."""
    if full is None or (full.started_at, full.ended_at) != (report.started_at, report.ended_at):
        return report
    used = replace(
        report, cpu_s=full.cpu_s, max_rss_bytes=full.max_rss_bytes, sampling_s=full.sampling_s
    )
    if not run.record.allow_failed_steps:
        return replace(used, steps=full.steps)
    preempted = bool(full.steps and full.steps.preempted)
    return replace(used, steps=replace(NO_JOB_STEPS, preempted=preempted))
