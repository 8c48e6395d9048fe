"""The contents of a report, as texts and shapes. Pure. ADR 45."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from slurmslice import __version__
from slurmslice.reports.counts import count_text, key_ranges, shorten_text
from slurmslice.reports.efficiency import report_efficiency
from slurmslice.reports.failure_groups import FailureGroup, FailureGroups
from slurmslice.reports.measured import elapsed_s, elapsed_text, memory_text
from slurmslice.reports.report_charts import (
    Chart,
    Use,
    duration_text,
    histogram,
    over_time,
    time_and_memory,
)
from slurmslice.reports.report_charts import memory_text as mib_text
from slurmslice.reports.report_data import Numbers, Texts, pack_columns
from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.spec.command import command_to_words
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import BEGUN_STATES, State
from slurmslice.system.shell_quoting import quote_words

_MOST_GROUPS, _MOST_FAILED, _MOST_SUBMISSIONS = 20, 200, 50
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class BarPart:
    """A part of the bar of all slices, whose length is 1000."""

    kind: str
    text: str
    start: float
    width: float


@dataclass(frozen=True, slots=True)
class GroupCard:
    """A group of failures as texts."""

    id: str
    count: int
    cause: str
    line: str
    keys: str
    facts: tuple[str, ...]
    next: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table of texts; ``more`` says what is left out."""

    title: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    more: str = ""


@dataclass(frozen=True)
class Page:
    """All that a report shows, as texts and shapes."""

    name: str
    verdict: str
    bar: Sequence[BarPart]
    facts: Sequence[tuple[str, str]]
    groups: Sequence[GroupCard]
    more_groups: str
    charts: Sequence[Chart]
    advice: Sequence[str]
    tables: Sequence[PageTable]
    script_name: str
    script: str
    slices: int
    kinds: str
    data: str
    made: str
    version: str = __version__


def make_page(run: Run, script: str, on_look: Callable[[int, int], None] | None = None) -> Page:
    """Return the page of a run that was just polled.

    Args:
        run: the run.
        script: the text of its script.
        on_look: as ``FailureTexts`` calls it.
    """
    run.statuses.decode()
    statuses = [run.statuses.seen(row) for row in range(len(run.table))]
    requested, groups = SliceRequests(run), FailureGroups(run, on_look)
    shown = [groups[number] for number in range(min(_MOST_GROUPS, len(groups)))]
    left = len(groups) - len(shown)
    return Page(
        name=run.record.name,
        verdict=_verdict(run),
        bar=_bar(run.statuses.state_counts()),
        facts=list(_facts(run, statuses)),
        groups=[_card(run, group) for group in shown],
        more_groups=f"{count_text(left, 'smaller group')} are not shown." if left else "",
        charts=list(_charts(run, statuses, requested)),
        advice=list(_advice(run)),
        tables=list(_tables(run, requested)),
        script_name=str(run.directory.script),
        script=script,
        slices=len(statuses),
        kinds=json.dumps({str(state): state_kind(state) for state in State}),
        data=pack_columns(_columns(run, statuses, requested)),
        made=_date(run.clock()),
    )


def state_kind(state: State) -> str:
    """Return the name of a state's colour."""
    if state.failed:
        return "failed"
    if state in BEGUN_STATES:
        return "running"
    named = {State.COMPLETED: "done", State.CANCELLED: "cancelled", State.UNKNOWN: "unknown"}
    return named.get(state, "waiting")


def _verdict(run: Run) -> str:
    counts, total = run.statuses.state_counts(), len(run.table)
    done, failed = counts.get(State.COMPLETED, 0), len(run.failed_rows)
    accepted, open_ones = len(run.accepted_rows), sum(
        number for state, number in counts.items() if not state.final
    )  # fmt: skip
    parts = (
        f"{done} of {count_text(total)} done",
        f"{failed} failed" if failed else "",
        f"{accepted} accepted" if accepted else "",
        f"{open_ones} not ended" if open_ones else "",
    )
    return ", ".join(filter(None, parts))


def _bar(counts: dict[State, int]) -> list[BarPart]:
    total, start, parts = sum(counts.values()), 0.0, list[BarPart]()
    order = ["failed", "done", "running", "waiting", "cancelled", "unknown"]
    known = (state for state in State if counts.get(state))
    for state in sorted(known, key=lambda state: order.index(state_kind(state))):
        width = 1000 * counts[state] / total
        text = f"{counts[state]} {state}"
        parts.append(BarPart(state_kind(state), text, round(start, 2), round(width, 2)))
        start += width
    return parts


def _facts(run: Run, statuses: Sequence[SliceStatus]) -> Iterator[tuple[str, str]]:
    record = run.record
    yield "Command", command_to_words(record.command)
    yield "Where", f"{record.engine} on {record.cluster or 'this machine'}, {record.work_dir}"
    request = record.first_request
    if request:
        yield "Request", f"{request} for each slice"
    starts = [one.started_at for one in statuses if one.started_at]
    ends = [one.ended_at for one in statuses if one.ended_at]
    if starts:
        last = max(ends) if ends and run.finished else run.clock()
        yield "Time", f"{_date(min(starts))} to {_date(last)}"
    used = sum(one.cpu_s or 0.0 for one in statuses)
    if used >= 36:
        yield "CPU time", f"{used / 3600:,.2f} hours in the newest attempts"
    attempts = sum(one.attempt for one in statuses)
    yield "Attempts", f"{attempts} for {count_text(len(statuses))}"


def _card(run: Run, group: FailureGroup) -> GroupCard:
    total, key = len(group.rows), run.table.keys[group.example]
    facts = [f"{group.node[1]} of {total} on node {group.node[0]}"] if group.node else []
    facts += [f"{one.count} of {total} have {one.column}={one.value}" for one in group.shared]
    line = group.line or run.statuses[group.example].reason
    return GroupCard(
        id=group.id,
        count=total,
        cause=group.title,
        line=f"{key}: {shorten_text(line, 400)}",
        keys=key_ranges(run.table.keys.of(group.rows)),
        facts=tuple(facts),
        next=tuple(quote_words(words) for words in group.next),
    )


def _charts(run: Run, statuses: Sequence[SliceStatus], requested: SliceRequests) -> Iterator[Chart]:
    now = run.clock()
    times, memories = set[float](), set[float]()
    uses = list[Use]()
    for row, one in enumerate(statuses):
        if not one.state.final or one.elapsed_s is None:
            continue
        request = requested.of(row)
        times |= {request.time_s} if request.time_s else set()
        memories |= {request.mem_bytes / _MIB} if request.mem_bytes else set()
        mib = None if one.max_rss_bytes is None else one.max_rss_bytes / _MIB
        kind = "done" if one.state is State.COMPLETED else "failed"
        uses.append(Use(run.table.keys[row], one.elapsed_s, mib, kind))
    spans = [
        (float(one.submitted_at), float(one.started_at or now), float(one.ended_at or now))
        for one in statuses
        if one.submitted_at and (one.started_at or not one.state.final)
    ]
    known = [one.mib for one in uses if one.mib is not None]
    seconds = [one.seconds for one in uses]
    yield from filter(None, (
        over_time(spans),
        time_and_memory(uses, times, memories),
        histogram("Elapsed time", "elapsed time", seconds, times, duration_text),
        histogram("Peak memory", "peak memory", known, memories, mib_text),
    ))  # fmt: skip


def _advice(run: Run) -> Iterator[str]:
    for group in report_efficiency(run):
        where = f"{group.request}: " if group.request else ""
        for one in group.advice:
            yield f"{where}{one}"
        yield from group.growth


def _tables(run: Run, requested: SliceRequests) -> Iterator[PageTable]:
    failed = run.failed_rows
    if failed:
        names = run.table.columns
        rows = [
            (run.table.keys[row], *run.table.column_values(row), str(status.state),
             requested.why(row), str(status.attempt), status.node or "",
             elapsed_text(status, run.clock()), memory_text(status))
            for row in islice(failed, _MOST_FAILED) for status in (run.statuses[row],)
        ]  # fmt: skip
        left = len(failed) - len(rows)
        heads = ("key", *names, "state", "reason", "attempts", "node", "elapsed", "memory")
        more = f"{left} more are in the table of all slices." if left else ""
        yield PageTable("Failed slices", heads, rows, more)
    submissions = [
        one for one in run.journal_state.submissions.values()
        if one.status is SubmissionStatus.SUBMITTED
    ]  # fmt: skip
    if submissions:
        heads = ("submission", "job", "time", "slices", "changes")
        rows = [_submission_row(one) for one in submissions[:_MOST_SUBMISSIONS]]
        left = len(submissions) - len(rows)
        more = f"{left} later ones are left out." if left else ""
        yield PageTable("Submissions", heads, rows, more)


def _submission_row(one: Submission) -> tuple[str, ...]:
    changes = str(one.intent.changes) if one.intent.changes else ""
    return f"{one.number:03d}", one.job, _date(one.intent.at), str(len(one.rows)), changes


def _columns(
    run: Run, statuses: Sequence[SliceStatus], requested: SliceRequests
) -> list[Numbers | Texts]:
    now, table = run.clock(), run.table
    return [
        Texts("key", list(table.keys)),
        *(Texts(name, list(table.values(name))) for name in table.columns),
        Texts("state", [str(one.state) for one in statuses]),
        Texts("reason", [requested.why(row) for row in range(len(statuses))]),
        Numbers("attempts", [one.attempt for one in statuses]),
        Numbers("elapsed", [elapsed_s(one, now) for one in statuses], "s"),
        Numbers("memory", [one.max_rss_bytes for one in statuses], "B"),
        Numbers("CPU", [one.cpu_s for one in statuses], "s"),
        Numbers("started", [one.started_at for one in statuses], "at"),
        Texts("node", [one.node or "" for one in statuses]),
    ]


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
