"""Measure: of tasks whose end is news, what they used and how their job steps ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slurmslice.errors import NoAnswer
from slurmslice.evidence import NO_STEPS, Observation, TaskId, TaskReport
from slurmslice.ledger import Submission
from slurmslice.run import Run

Ends = tuple[dict[TaskId, TaskReport | None], str]
"""Reports by task, and why they are not told."""


def measured(run: Run, group: Sequence[Submission], said: Observation) -> Ends:
    """Accounting's reports of the ends that are news, with their steps; why they are not told.

    Then accounting has not said its word, and the report is None: half of it might be a success
    that is none.

    Steps are dear to ask for: of a task only in the polls that see its end and until it is told.

    Args:
        run: the run.
        group: submissions of it in flight, no two of the same job id.
        said: what a poll saw of them.
    """
    ended, told, silence = _ended(run, group, said), {}, ""
    if ended:
        try:
            told = run.engine.measure([(s.job, s.name) for s in group], ended)
        except NoAnswer as why:
            silence = why.message
    if silence and not run.record.allow_failed_steps:
        return dict.fromkeys(ended), silence
    return {t: _joined(run, report, told.get(t)) for t, report in ended.items()}, silence


def _ended(run: Run, group: Sequence[Submission], said: Observation) -> dict[TaskId, TaskReport]:
    """The reports of tasks that have ended, where the engine has not told their steps as well."""
    reports = said.accounting.reports
    tasks = (
        (submission.job, submission.index_of(row))
        for submission in group
        if submission.intent.pack == 1  # of a pack it is not known which slice a step was of
        for row in run.open_rows(submission)
    )
    told = ((task, report) for task in tasks if (report := reports.get(task)))
    return {
        task: r for task, r in told if r.state.final and not r.is_array_summary and r.steps is None
    }


def _joined(run: Run, report: TaskReport, told: TaskReport | None) -> TaskReport:
    """A report and what its steps say, unless the task has been started again meanwhile."""
    if told is None or (told.started_at, told.ended_at) != (report.started_at, report.ended_at):
        return report
    # Zero where nothing is said: a task that is too short is not sampled.
    used = replace(report, cpu_s=told.cpu_s or 0.0, max_rss_bytes=told.max_rss_bytes)
    if not run.record.allow_failed_steps:
        return replace(used, steps=told.steps)
    return replace(
        used, steps=replace(NO_STEPS, preempted=bool(told.steps and told.steps.preempted))
    )
