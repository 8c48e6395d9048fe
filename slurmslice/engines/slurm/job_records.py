"""Parse the answers of sacct and squeue about jobs into records and reports. Pure.

Each parser returns records or raises ``NoAnswerError``: an error in an answer never becomes a
state.
Sources: sacct(1), squeue(1), ``--parsable2`` and ``--Format``. "Seen" marks a fact observed on
a cluster and not found in the manuals.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from slurmslice.engines.slurm.commands import (
    PREEMPTED_FIELDS,
    SQUEUE_FIELDS,
    TASK_FIELDS,
    WAITING_FIELDS,
)
from slurmslice.engines.slurm.fields import parse_number
from slurmslice.engines.slurm.record_lines import (
    JOB_ID,
    begins_record,
    join_records,
    split_lines,
    split_record,
)
from slurmslice.engines.slurm.sacct_lines import LazyReports, pick_task_lines
from slurmslice.engines.slurm.task_reports import (
    accounting_report,
    brief_report,
    queue_report,
)
from slurmslice.errors import BadInputError, NoAnswerError
from slurmslice.sbatch.array_expression import ArrayExpression, parse_array
from slurmslice.sbatch.option_table import Release
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskId, TaskReport
from slurmslice.status.states import State

NO_IDENTITIES: Mapping[str, JobIdentity] = MappingProxyType({})
"""Nothing but the names of jobs is known."""

# MaxArraySize is at most 4000001 (slurm.conf(5)). More indices would only fill the memory.
_MAX_INDICES = 4_000_001


@dataclass(frozen=True, slots=True)
class JobRecord:
    """One record of an answer.

    Attributes:
        job: the array's job id, or the job's own id.
        indices: the array indices of the record; None for a job without an array.
        is_array_summary: the record stands for all tasks of the array that have not started.
        indices_complete: False if Slurm cut the list of indices.
        step: ``batch``, ``0`` …; None for the record of the job itself.
        name: the name of the job, or of the step.
        report: the facts of the record; they apply to each of its tasks.
    """

    job: str
    indices: ArrayExpression | None
    is_array_summary: bool
    indices_complete: bool
    step: str | None
    name: str
    report: TaskReport


# -- our tasks -------------------------------------------------------------------------------


def parse_accounting_reports(
    text: str,
    names: Mapping[str, str],
    release: Release | None = None,
    identities: Mapping[str, JobIdentity] = NO_IDENTITIES,
) -> Mapping[TaskId, TaskReport]:
    """Parse sacct's answer into reports of our tasks; a report is parsed when it is requested.

    A pending array summary is left out: the queue knows better which tasks have not started. A
    final summary stands for tasks cancelled before their start. A task's own record outranks
    it, because the indices of a summary may be out of date.

    Args:
        text: sacct's answer.
        names: our jobs, and the name of each. Slurm reuses job ids; a name holds a token.
        release: Slurm's release; None if unknown.
        identities: what else is known of these jobs. Then records under other names count too.

    Raises:
        NoAnswerError: the text is no answer of sacct's.
    """
    lines = split_lines(text)
    found, others = pick_task_lines(lines, len(TASK_FIELDS), names)
    if not all(begins_record(line, TASK_FIELDS) for line in others):  # a name holds a line end
        found, others = {}, join_records(lines, TASK_FIELDS)

    def parse_line(line: str) -> TaskReport:
        return accounting_report(split_record(line, TASK_FIELDS), release)

    usual = LazyReports(found, {}, parse_line)
    records = _sacct_records(others, TASK_FIELDS, release)
    records = [record for record in records if is_own_record(record, names, identities)]
    tasks = _reports_by_task(_newest_last([r for r in records if not r.is_array_summary]))
    newest = {
        task: report
        for task, report in tasks.items()
        if not was_submitted_before(report, usual.get(task))
    }
    summaries = [r for r in records if r.is_array_summary and r.report.state.final]
    unstarted = {
        task: replace(report, is_array_summary=True)
        for task, report in _reports_by_task(summaries).items()
        if task not in usual
    }
    return LazyReports(found, {**unstarted, **newest}, parse_line)


def parse_last_ends(
    text: str, names: Mapping[str, str], identities: Mapping[str, JobIdentity] = NO_IDENTITIES
) -> dict[TaskId, State]:
    """Parse sacct's answer about all starts of our tasks into the last end of each task.

    Args:
        text: the answer to ``commands.sacct_starts``.
        names: our jobs, and the name of each.
        identities: as for ``parse_accounting_reports``.

    Raises:
        NoAnswerError: the text is no answer of sacct's.
    """
    records = (r for r in parse_sacct_records(text) if is_own_record(r, names, identities))
    ended = [r for r in records if r.report.state.final and not r.is_array_summary]
    ended.sort(key=lambda record: record.report.ended_at or 0)
    return {task: report.state for task, report in _reports_by_task(ended).items()}


def restarted_seconds(
    text: str, names: Mapping[str, str], identities: Mapping[str, JobIdentity] = NO_IDENTITIES
) -> dict[str, float]:
    """Add up the durations of the starts that were followed by a restart of their task, by job.

    Args and errors are those of ``parse_last_ends``.
    """
    starts: dict[TaskId, list[tuple[float, float]]] = {}
    for record in parse_sacct_records(text):
        if is_own_record(record, names, identities):
            began, ended = record.report.started_at, record.report.ended_at
            for task in task_ids(record):  # one that waits is the newest
                starts.setdefault(task, []).append((began or math.inf, ended or began or math.inf))
    found: dict[str, float] = {}
    for (job, _), spans in starts.items():
        *earlier, _ = sorted(spans)
        if earlier:
            found[job] = found.get(job, 0.0) + sum(ended - began for began, ended in earlier)
    return found


def parse_queue_reports(
    text: str, names: Mapping[str, str], identities: Mapping[str, JobIdentity] = NO_IDENTITIES
) -> dict[TaskId, TaskReport]:
    """Parse squeue's answer into reports of our tasks, one for each index of a record.

    Args:
        text: squeue's answer.
        names: our jobs, and the name of each.
        identities: as for ``parse_accounting_reports``.

    Raises:
        NoAnswerError: the text is no answer of squeue's, or it cuts the indices of a record. The
            absence of a task would mean nothing then.
    """
    records = [r for r in parse_squeue_records(text) if is_own_record(r, names, identities)]
    for record in records:
        if not record.indices_complete:
            raise NoAnswerError(
                f"squeue cut the list of indices of job {record.job}.",
                code="unreadable-answer",
                job=record.job,
            )
    return _reports_by_task(records)


def parse_other_jobs(text: str, identities: Mapping[str, JobIdentity]) -> frozenset[TaskId]:
    """Find tasks in squeue's answer that have an id of ours and are not known to be ours.

    Raises:
        NoAnswerError: the text is no answer of squeue's.
    """
    names = {job: identity.name for job, identity in identities.items()}
    return frozenset(
        task
        for record in parse_squeue_records(text)
        if record.job in names and not is_own_record(record, names, identities)
        for task in task_ids(record)
    )


def parse_preemption_times(
    text: str, names: Mapping[str, str], renamed: Collection[TaskId] = ()
) -> dict[TaskId, int]:
    """Parse the preemption times of our tasks, in epoch seconds.

    Args:
        text: the answer to ``commands.squeue_preempted``.
        names: our jobs, and the name of each.
        renamed: tasks that are ours under any name.

    Raises:
        NoAnswerError: the text is no answer of squeue's.
    """
    times = (
        (_job_record(values, TaskReport(State.UNKNOWN)), parse_number(values["PreemptTime"]))
        for values in _squeue_values(text, PREEMPTED_FIELDS)
    )
    return {
        task: time
        for record, time in times
        if time is not None
        for task in task_ids(record)
        if is_own_record(record, names) or task in renamed
    }


def parse_waiting_tasks(text: str) -> list[tuple[JobRecord, dict[str, str]]]:
    """Parse squeue's answer into records, each with its fields as Slurm shows them.

    Args:
        text: the answer to ``commands.squeue_waiting``.

    Raises:
        NoAnswerError: the text is no answer of squeue's.
    """
    found = []
    for values in _squeue_values(text, WAITING_FIELDS):
        record = _job_record(values, brief_report(values))
        nodes = values["ExcludedNodes"].removeprefix("(null)")
        found.append((record, {**values, "ExcludedNodes": nodes}))
    return found


def _newest_last(records: Sequence[JobRecord]) -> list[JobRecord]:
    return sorted(records, key=lambda record: record.report.submitted_at or 0)


def _reports_by_task(records: Sequence[JobRecord]) -> dict[TaskId, TaskReport]:
    jobs = (record for record in records if record.step is None)
    return {task: job.report for job in jobs for task in task_ids(job)}


# -- records ---------------------------------------------------------------------------------


def parse_sacct_records(text: str, fields: Sequence[str] = TASK_FIELDS) -> list[JobRecord]:
    """Parse all records of sacct's answer to a query for these fields.

    Raises:
        NoAnswerError: the text is no such answer.
    """
    return _sacct_records(join_records(split_lines(text), fields), fields)


def parse_squeue_records(text: str) -> list[JobRecord]:
    """Parse all records of squeue's answer to ``commands.squeue``.

    Raises:
        NoAnswerError: the text is no such answer.
    """
    return [_job_record(v, queue_report(v)) for v in _squeue_values(text, SQUEUE_FIELDS)]


def task_ids(record: JobRecord) -> Iterator[TaskId]:
    """The array tasks of a record."""
    return ((record.job, index) for index in record.indices or ())


def is_own_record(
    record: JobRecord,
    names: Mapping[str, str],
    identities: Mapping[str, JobIdentity] = NO_IDENTITIES,
) -> bool:
    """True if a record belongs to a job of ours, by id and name, or by id and submission time."""
    if record.job not in names:
        return False
    identity = identities.get(record.job)
    return is_same_job_name(names[record.job], record.name) or bool(
        identity and identity.is_submitted_as(record.report)
    )


def is_same_job_name(ours: str, theirs: str) -> bool:
    """True if accounting's copy of a job name is ours.

    Accounting replaces ``"`` by a backtick and characters outside Latin-1 by ``?``, and keeps
    255 bytes (seen on 22.05).
    """
    return ours == theirs or _folded_name(ours) == _folded_name(theirs)


def was_submitted_before(report: TaskReport, other: TaskReport | None) -> bool:
    """True if the job of a report was submitted before the job of another report."""
    return other is not None and (report.submitted_at or 0) < (other.submitted_at or 0)


def _folded_name(name: str) -> str:
    kept = name.encode("utf-8", "surrogateescape")[:255].decode("ascii", "replace")
    return re.sub(r"(?:[^ -~]|\?)+", "?", kept).replace('"', "`")


def _sacct_records(
    records: Iterable[str], fields: Sequence[str], release: Release | None = None
) -> list[JobRecord]:
    values = (split_record(record, fields) for record in records)
    return [_job_record(v, accounting_report(v, release)) for v in values]


def _squeue_values(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    records = join_records(split_lines(text), fields)
    return (split_record(record, fields, end="|") for record in records)


def _job_record(values: Mapping[str, str], report: TaskReport) -> JobRecord:
    text = values.get("JobID") or values.get("JobArrayID", "")
    match = JOB_ID.fullmatch(text)
    if match is None:
        raise NoAnswerError(
            f"Slurm's answer holds {text[:200]!r} in place of a job id.", code="unreadable-answer"
        )
    job, index, several, closed, step = match.groups()
    indices, complete = (_single_index(int(index)) if index else None), True
    if several is not None:
        indices, complete = _parse_indices(several, is_cut=not closed or "..." in several)
    name = values.get("JobName", values.get("Name", ""))
    return JobRecord(job, indices, several is not None, complete, step, name, report)


# -- array indices ---------------------------------------------------------------------------

_RANGE = r"\d{1,8}(?:-\d{1,8}(?::\d{1,8})?)?"
_EXPRESSION = re.compile(rf"{_RANGE}(?:,{_RANGE})*(?:%\d{{1,8}})?", re.ASCII)


def _single_index(index: int) -> ArrayExpression:
    return ArrayExpression((range(index, index + 1),))


def _parse_indices(text: str, *, is_cut: bool) -> tuple[ArrayExpression, bool]:
    """Parse indices such as ``0-98:7%3``; the second value is False if some are missing.

    The last part of a cut text (``0,2,4,...%3``) may end in the middle of a number, so it is
    left out.
    """
    if is_cut:
        text = text.partition("...")[0].rpartition(",")[0]
    if is_cut and not text:
        return ArrayExpression(()), False
    try:
        if not _EXPRESSION.fullmatch(text):
            raise BadInputError("it is no array expression.", code="bad-array")
        indices = parse_array(text)
    except BadInputError as error:
        raise NoAnswerError(
            f"Slurm's answer holds the indices {text[:200]!r}: {error.message}",
            code="unreadable-answer",
        ) from error
    if len(indices) > _MAX_INDICES:
        raise NoAnswerError(
            f"Slurm's answer holds the indices {text[:200]!r}: more than an array can have.",
            code="unreadable-answer",
        )
    return indices, not is_cut
