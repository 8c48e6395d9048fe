"""What Slurm's programs answer about jobs, as records. Pure.

Any text gives records or ``NoAnswer``: an error in an answer is no information, never a state.
Sources: sacct(1), squeue(1), ``--parsable2`` and ``--Format``; what was seen and is not in the
manuals says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from slurmslice.engines.slurm.commands import PREEMPTED_FIELDS, SQUEUE_FIELDS, TASK_FIELDS
from slurmslice.engines.slurm.fields import first_node, parse_clock, parse_number, parse_size
from slurmslice.engines.slurm.job_states import is_completing, parse_state
from slurmslice.engines.slurm.sacct_lines import LazyReports, pick_task_lines
from slurmslice.engines.slurm.versions import Release, may_be_truncated
from slurmslice.errors import BadInput, NoAnswer
from slurmslice.evidence import TaskId, TaskReport
from slurmslice.ranges import ArrayExpression, parse_array
from slurmslice.states import State

_JOB = re.compile(
    r"(\d{1,10})(?:\+\d+)?(?:_(?:(\d{1,8})|\[([^\]|]*)(\]?)))?(?:\.([\w+]+))?", re.ASCII
)
# MaxArraySize is at most 4000001 (slurm.conf(5)): what is beyond is no index, and a lot of memory.
_MOST_INDICES = 4_000_001


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A line of an answer.

    Attributes:
        job: the array's job id, or the job's own.
        indices: the array indices it stands for; None for a job without an array.
        unstarted: it is the one record of the tasks that have not started.
        whole: all of them are in ``indices``; else the text was cut short.
        step: ``batch``, ``0`` …; None for the row of the job itself.
        name: the job's, or the step's.
        report: what it says of each of them.
    """

    job: str
    indices: ArrayExpression | None
    is_array_summary: bool
    indices_complete: bool
    step: str | None
    name: str
    report: TaskReport


def parse_sacct_records(text: str, fields: Sequence[str] = TASK_FIELDS) -> list[JobRecord]:
    """The rows of sacct, which was asked for these fields.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    return _accounting_rows(_records(_lines(text), fields), fields)


def _accounting_rows(
    records: Iterable[str], fields: Sequence[str], release: Release | None = None
) -> list[JobRecord]:
    parted = (_parted(record, fields) for record in records)
    return [_row(words, _accounted(words, release)) for words in parted]


def parse_squeue_records(text: str) -> list[JobRecord]:
    """The rows of squeue, as ``commands.squeue`` asks for them.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    return [_row(words, _queued(words)) for words in _queue_words(text, SQUEUE_FIELDS)]


def parse_preemption_times(text: str, names: Mapping[str, str]) -> dict[TaskId, int]:
    """When those of our tasks that were told to make room were told so, epoch seconds.

    Args:
        text: the answer to ``commands.squeue_preempted``.
        names: our jobs, and the name of each.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    told = (
        (_row(words, TaskReport(State.UNKNOWN)), parse_number(words["PreemptTime"]))
        for words in _queue_words(text, PREEMPTED_FIELDS)
    )
    ours = ((row, when) for row, when in told if when is not None and is_own_record(row, names))
    return {task: when for row, when in ours for task in task_ids(row)}


def _queue_words(text: str, fields: Sequence[str]) -> Iterator[dict[str, str]]:
    return (_parted(record, fields, end="|") for record in _records(_lines(text), fields))


def parse_accounting_reports(
    text: str, names: Mapping[str, str], release: Release | None = None
) -> Mapping[TaskId, TaskReport]:
    """What accounting says of our tasks. A report is read when it is asked for.

    The record of tasks that have not started is left out while it is pending: the queue knows
    better which they are. Once it has ended, all that had not started were cancelled with it;
    a task's own row outranks it, since its expression may be an old one.

    Args:
        text: sacct's answer.
        names: our jobs, and the name of each: ids are used again, and names bear a token.
        release: Slurm's; None where it is not known.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    lines = _lines(text)
    found, others = pick_task_lines(lines, len(TASK_FIELDS), names)
    if not all(_begins(line, TASK_FIELDS) for line in others):  # names with line ends: none is
        found, others = {}, _records(lines, TASK_FIELDS)

    def of_task(line: str) -> TaskReport:
        return _accounted(_parted(line, TASK_FIELDS), release)

    told = LazyReports(found, {}, of_task)
    rows = _accounting_rows(others, TASK_FIELDS, release)
    rows = [row for row in rows if is_own_record(row, names)]
    own = _by_task(_newest_last([row for row in rows if not row.is_array_summary]))
    newest = {
        task: report
        for task, report in own.items()
        if not was_submitted_before(report, told.get(task))
    }
    rest = _by_task([row for row in rows if row.is_array_summary and row.report.state.final])
    is_array_summary = {
        task: replace(r, is_array_summary=True) for task, r in rest.items() if task not in told
    }
    return LazyReports(found, {**is_array_summary, **newest}, of_task)


def was_submitted_before(report: TaskReport, other: TaskReport | None) -> bool:
    """Whether a report is of a job that was submitted before that of another report."""
    return other is not None and (report.submitted_at or 0) < (other.submitted_at or 0)


def _newest_last(rows: Sequence[JobRecord]) -> list[JobRecord]:
    return sorted(rows, key=lambda row: row.report.submitted_at or 0)


def parse_queue_reports(text: str, names: Mapping[str, str]) -> dict[TaskId, TaskReport]:
    """What the queue says of our tasks, a report for every index of a record.

    Args:
        text: squeue's answer.
        names: our jobs, and the name of each.

    Raises:
        NoAnswer: the text is not such an answer, or a record is cut short, so that a task's
            absence would mean nothing.
    """
    rows = [row for row in parse_squeue_records(text) if is_own_record(row, names)]
    for row in rows:
        if not row.indices_complete:
            raise NoAnswer(
                f"squeue cuts the indices of job {row.job} short.",
                code="unreadable-answer",
                job=row.job,
            )
    return _by_task(rows)


def _by_task(rows: Sequence[JobRecord]) -> dict[TaskId, TaskReport]:
    return {task: row.report for row in rows if row.step is None for task in task_ids(row)}


def task_ids(row: JobRecord) -> Iterator[TaskId]:
    """The array tasks that a row stands for."""
    return ((row.job, index) for index in row.indices or ())


def is_own_record(row: JobRecord, names: Mapping[str, str]) -> bool:
    """Whether a row is of one of our jobs, by id and name: ids are used again."""
    return row.job in names and is_same_job_name(names[row.job], row.name)


def is_same_job_name(ours: str, theirs: str) -> bool:
    """Whether a job's name, as accounting kept it, is ours.

    Accounting turns ``"`` into a backtick, what is not in Latin-1 into ``?``, and keeps 255
    bytes (seen on 22.05).
    """
    return ours == theirs or _folded(ours) == _folded(theirs)


def _folded(name: str) -> str:
    kept = name.encode("utf-8", "surrogateescape")[:255].decode("ascii", "replace")
    return re.sub(r"(?:[^ -~]|\?)+", "?", kept).replace('"', "`")


def _lines(text: str) -> list[str]:
    """The lines of an answer. The last one ends too: where it does not, more is missing."""
    *lines, rest = text.split("\n")
    if rest:
        raise NoAnswer(
            f"Slurm's answer ends in the middle: {rest[-200:]!r}", code="unreadable-answer"
        )
    return lines


def _begins(line: str, fields: Sequence[str]) -> bool:
    """Whether a record of so many fields begins with this line."""
    return line.count("|") >= len(fields) - 1 and _JOB.match(line) is not None


def _records(lines: Iterable[str], fields: Sequence[str]) -> list[str]:
    """The records in lines: the last field, a name, may hold ``|`` and line ends."""
    records: list[str] = []
    for line in lines:
        if _begins(line, fields):
            records.append(line)
        elif records:
            records[-1] += f"\n{line}"
        else:
            raise NoAnswer(
                f"This is no answer of Slurm's: {line[:200]!r}", code="unreadable-answer"
            )
    return records


def _parted(record: str, fields: Sequence[str], end: str = "") -> dict[str, str]:
    words = record.removesuffix(end).split("|", len(fields) - 1)
    if not record.endswith(end) or len(words) < len(fields):
        raise NoAnswer(
            f"Slurm's answer ends in the middle: {record[:200]!r}", code="unreadable-answer"
        )
    return dict(zip(fields, words, strict=True))


def _row(fields: Mapping[str, str], report: TaskReport) -> JobRecord:
    text = fields.get("JobID") or fields.get("JobArrayID", "")
    match = _JOB.fullmatch(text)
    if match is None:
        raise NoAnswer(f"{text[:200]!r} in Slurm's answer is no job.", code="unreadable-answer")
    job, index, several, closed, step = match.groups()
    indices, whole = (_single(int(index)) if index else None), True
    if several is not None:
        indices, whole = _indices(several, cut=not closed or "..." in several)
    name = fields.get("JobName", fields.get("Name", ""))
    return JobRecord(job, indices, several is not None, whole, step, name, report)


def _single(index: int) -> ArrayExpression:
    return ArrayExpression((range(index, index + 1),))


_RANGE = r"\d{1,8}(?:-\d{1,8}(?::\d{1,8})?)?"
_EXPRESSION = re.compile(rf"{_RANGE}(?:,{_RANGE})*(?:%\d{{1,8}})?", re.ASCII)


def _indices(text: str, *, cut: bool) -> tuple[ArrayExpression, bool]:
    """The indices in ``0-98:7%3``, and whether that is all of them.

    Of one that is cut (``0,2,4,...%3``) the last part may be cut in the middle of a number.
    """
    if cut:
        text = text.partition("...")[0].rpartition(",")[0]
    if cut and not text:
        return ArrayExpression(()), False
    try:
        if not _EXPRESSION.fullmatch(text):
            raise BadInput("it is no array expression.", code="bad-array")
        indices = parse_array(text)
    except BadInput as why:
        raise NoAnswer(
            f"{text[:200]!r} in Slurm's answer: {why.message}", code="unreadable-answer"
        ) from why
    if len(indices) > _MOST_INDICES:
        raise NoAnswer(
            f"{text[:200]!r} in Slurm's answer is more than an array can hold.",
            code="unreadable-answer",
        )
    return indices, not cut


def _accounted(fields: Mapping[str, str], release: Release | None) -> TaskReport:
    word = fields["State"]
    state = parse_state(word)
    exit_code, signal = _exit(fields["ExitCode"]) if state.final else (None, None)
    reason = fields["Reason"] if state is State.PENDING else ""  # else an old one (seen)
    return TaskReport(
        state,
        word,
        exit_code=exit_code,
        signal=signal,
        submitted_at=parse_number(fields["Submit"]),
        started_at=parse_number(fields["Start"]),
        ended_at=parse_number(fields["End"]),
        elapsed_s=parse_number(fields["ElapsedRaw"]),
        cpu_s=parse_clock(fields.get("TotalCPU", "")),
        max_rss_bytes=parse_size(fields.get("MaxRSS", "")),
        requested_mem_bytes=parse_size(fields["ReqMem"], parse_number(fields["AllocCPUS"])),
        node=first_node(fields["NodeList"]),
        reason="" if reason == "None" else reason,
        step_exit=_exit(fields["DerivedExitCode"])[0] or 0,
        exit_code_truncated=state is State.FAILED
        and not signal
        and may_be_truncated(exit_code, release),
    )


def _exit(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal of ``3:0``."""
    code, _, signal = text.partition(":")
    return parse_number(code), parse_number(signal) or None


def _queued(fields: Mapping[str, str]) -> TaskReport:
    word = fields["State"]
    state = parse_state(word)
    exit_code, signal = _queue_exit(fields["exit_code"]) if state.final else (None, None)
    reason = fields["Reason"]
    return TaskReport(
        state,
        word,
        exit_code=exit_code,
        signal=signal,
        submitted_at=parse_number(fields["SubmitTime"]),
        # Of what has not started or ended squeue tells when it expects it to (seen).
        started_at=None if state is State.PENDING else parse_number(fields["StartTime"]),
        ended_at=parse_number(fields["EndTime"]) if state.final else None,
        node=first_node(fields["NodeList"]),
        reason="" if reason == "None" else reason,
        restarts=parse_number(fields["RestartCnt"]),
        completing=is_completing(word),
    )


def _queue_exit(text: str) -> tuple[int | None, int | None]:
    """Exit code and signal of squeue's exit_code (``versions.QUEUE_EXIT_PAIR``)."""
    if ":" in text:
        return _exit(text)
    status = parse_number(text)
    if status is None:
        return None, None
    return status >> 8 & 0xFF, status & 0x7F or None
