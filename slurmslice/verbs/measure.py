"""Measure: ask once, after the end, what each slice used. Polls do not: steps are dear to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from slurmslice.errors import NoAnswer
from slurmslice.judge import Standing
from slurmslice.ledger import Fate, Submission, apart
from slurmslice.run import Run
from slurmslice.states import Evidence
from slurmslice.verbs.poll import keep


def measure(run: Run) -> None:
    """Fill in CPU time and memory of slices in submissions that have ended, if they lack them.

    Where the engine does not answer nothing is changed; the next time asks again.
    """
    over = (
        submission
        for submission in run.ledger.submissions.values()
        if submission.fate is Fate.SUBMITTED
        and submission.intent.pack == 1  # of one slice among several nothing is measured
        and _over(run, submission)
    )
    for submissions in apart(over):
        _measure(run, submissions)


def _measure(run: Run, submissions: Sequence[Submission]) -> None:
    rows = {
        (submission.job, submission.index_of(row)): row
        for submission in submissions
        for row in run.ledger.rows_of(submission.number)
        if _unmeasured(run.standings[row])
    }
    asked = {job for job, _ in rows}
    if not rows:
        return
    try:
        measured = run.engine.measure([(s.job, s.name) for s in submissions if s.job in asked])
    except NoAnswer:
        return
    changed = {
        row: replace(
            run.standings[row],
            # Zero where nothing is said: the tasks were too short to be sampled.
            cpu_s=(measured[task].cpu_s if task in measured else None) or 0.0,
            max_rss_bytes=measured[task].max_rss_bytes if task in measured else None,
        )
        for task, row in rows.items()
    }
    run.standings.update(changed)
    keep(run, changed)


def _over(run: Run, submission: Submission) -> bool:
    return next(run.open_rows(submission), None) is None


def _unmeasured(standing: Standing) -> bool:
    return standing.evidence is Evidence.ACCOUNTING and standing.cpu_s is None
