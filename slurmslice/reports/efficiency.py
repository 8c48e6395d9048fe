"""The use of memory, time and CPUs by a run's slices, against their requests. ADR 44."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from slurmslice.policy.causes import cause_of
from slurmslice.reports.advice import Advice, Evidence, advise_cpus, advise_memory, advise_time
from slurmslice.reports.growth import find_growth
from slurmslice.reports.slice_requests import SliceRequest, SliceRequests
from slurmslice.run.continuations import count_continuations
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import parse_sampling_interval
from slurmslice.spec.packing import slice_request
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State

_MIB, _HOUR = 2**20, 3600
_Exceeded = Mapping[tuple[State, int], Sequence[float]]
_LEAST_SAMPLES = 3


@dataclass(frozen=True, slots=True)
class SliceUse:
    """The use of resources by a slice that is done.

    Attributes:
        row: its row.
        status: its last attempt.
        request: the request of that attempt.
        few_samples: its peak comes from fewer than three measurements.
        continued: an earlier attempt did a part of its work.
    """

    row: int
    status: SliceStatus
    request: SliceRequest
    few_samples: bool
    continued: bool


@dataclass(frozen=True, slots=True)
class GroupReport:
    """The report on slices with the same initial request.

    Attributes:
        request: their own options; empty if the run has one request for all.
        uses: the slices that are done.
        left_out: the number of others, by the reason: ``failed``, ``hung``, ``cancelled``, ``not
            ended`` and ``not measured``.
        memory, time, cpus: the evidence, in MiB, seconds and CPUs.
        advice: the advice on each of these.
        growth: a sentence for each figure that grows with a column.
        core_h, gib_h: requested by these slices, as far as their use was measured, in core-hours
            and GiB-hours.
        wasted_core_h, wasted_gib_h: the parts of these that were not used.
    """

    request: ResourceRequest
    uses: Sequence[SliceUse]
    left_out: Mapping[str, int]
    memory: Evidence
    time: Evidence
    cpus: Evidence
    advice: tuple[Advice, ...]
    growth: tuple[str, ...]
    core_h: float
    gib_h: float
    wasted_core_h: float
    wasted_gib_h: float

    def record(self) -> dict[str, object]:
        """Return it as a plain record, for ``--json``; memory in MiB, time in seconds."""
        return {
            "request": self.request.to_json(),
            "done": len(self.uses),
            "left_out": sum(self.left_out.values()),
            "left_out_by": dict(self.left_out),
            **{
                name: {"requested": one.requested, "measured": len(one.used), **spread(one.used)}
                for name, one in self.figures()
            },
            "core_hours": self.core_h,
            "gib_hours": self.gib_h,
            "wasted_core_hours": self.wasted_core_h,
            "wasted_gib_hours": self.wasted_gib_h,
            "growth": list(self.growth),
            "advice": [asdict(one) for one in self.advice],
        }

    def figures(self) -> tuple[tuple[str, Evidence], ...]:
        """Return the evidence of each resource with its name."""
        return ("memory", self.memory), ("time", self.time), ("cpus", self.cpus)


def spread(figures: Sequence[float]) -> dict[str, float | None]:
    """Return the median, the 95th percentile and the maximum (nearest rank); None without any."""
    ordered = sorted(figures)

    def at(share: float) -> float | None:
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None

    return {"median": at(0.5), "p95": at(0.95), "max": at(1.0)}


def report_efficiency(run: Run) -> list[GroupReport]:
    """Report on each group of slices with the same initial request."""
    groups: dict[ResourceRequest, list[int]] = {}
    for row in range(len(run.table)):
        own = run.initial_request(row) if run.record.per_slice else ResourceRequest()
        groups.setdefault(own, []).append(row)
    requested, exceeded = SliceRequests(run), _exceeded_requests(run)
    return [_report(run, own, rows, requested, exceeded) for own, rows in groups.items()]


def _report(
    run: Run,
    own: ResourceRequest,
    rows: Sequence[int],
    requested: SliceRequests,
    exceeded: _Exceeded,
) -> GroupReport:
    seen = {row: run.statuses.seen(row) for row in rows}
    done = {r: s for r, s in seen.items() if _counts(run, r, s)}
    uses = [_use(run, row, status, requested.of(row)) for row, status in done.items()]
    memory, time, cpus = _memory(uses), _time(uses), _cpus(uses)
    memory = _with_exceeded(memory, State.OUT_OF_MEMORY, seen, exceeded)
    time = _with_exceeded(time, State.TIMEOUT, seen, exceeded)
    busy = [u.status.elapsed_s or 0.0 for u in uses if _cpus_used(u) is not None]
    advice = [advise_memory(memory), advise_time(time), advise_cpus(cpus, busy)]
    advice = _for_options(advice, uses[0].request.options if uses else ResourceRequest())
    return GroupReport(
        own, uses, _left_out(seen, done), memory, time, cpus, tuple(advice),
        tuple(_growth(run, uses)), *_waste(uses),
    )  # fmt: skip


def _for_options(advice: list[Advice], options: ResourceRequest) -> list[Advice]:
    """Give the advice for the options in force; none on CPUs that memory or processes follow."""
    memory, time, cpus = advice
    if "mem-per-cpu" in options and memory.value:
        value = options.with_changes({"mem": memory.value})["mem-per-cpu"]
        memory = replace(memory, option="mem-per-cpu", value=value)
    follows = "mem" not in options or options.processes > 1
    return [memory, time] if follows else [memory, time, cpus]


def _use(run: Run, row: int, status: SliceStatus, request: SliceRequest) -> SliceUse:
    own = request.options.get("acctg-freq")
    interval = parse_sampling_interval(own) if own else run.engine.sampling_s or 0.0
    few = (status.elapsed_s or 0.0) < _LEAST_SAMPLES * interval
    continued = count_continuations(run.journal_state.repairs.of(row)) > 0
    return SliceUse(row, status, request, few, continued)


def _peak_mib(use: SliceUse) -> float | None:
    """Return a reliable peak, MiB; None if there is none."""
    peak, limit = use.status.max_rss_bytes, use.request.mem_bytes
    unreliable = peak is None or use.few_samples or (limit is not None and peak > limit)
    return None if unreliable or peak is None else peak / _MIB


def _cpus_used(use: SliceUse) -> float | None:
    cpu, elapsed = use.status.cpu_s, use.status.elapsed_s
    return cpu / elapsed if cpu is not None and elapsed else None


def _memory(uses: Sequence[SliceUse]) -> Evidence:
    known = [(one, one.status.max_rss_bytes) for one in uses]
    peaks = [(one, peak) for one, peak in known if peak is not None]
    above = [
        one.row for one, peak in peaks if one.request.mem_bytes and peak > one.request.mem_bytes
    ]
    floors = [peak / _MIB for one, peak in peaks if one.few_samples and one.row not in above]
    used = [mib for one in uses if (mib := _peak_mib(one)) is not None]
    requested = _most_common([one.request.mem_bytes for one in uses])
    had = requested / _MIB if requested else None
    return Evidence(len(uses), used, had, floor_only=floors, above_limit=len(above))


def _time(uses: Sequence[SliceUse]) -> Evidence:
    whole = [one for one in uses if not one.continued]
    used = [one.status.elapsed_s or 0.0 for one in whole]
    return Evidence(len(whole), used, _most_common([one.request.time_s for one in uses]))


def _cpus(uses: Sequence[SliceUse]) -> Evidence:
    used = [cpus for one in uses if (cpus := _cpus_used(one)) is not None]
    return Evidence(len(uses), used, _most_common([one.request.cpus for one in uses]))


def _most_common(values: Sequence[int | None]) -> int | None:
    found = Counter(value for value in values if value).most_common(1)
    return found[0][0] if found else None


def _exceeded_requests(run: Run) -> _Exceeded:
    """Return the requests that earlier attempts exceeded, by state and row."""
    found: dict[tuple[State, int], list[float]] = {}
    for one in run.statuses.past_failures():
        if one.state in {State.OUT_OF_MEMORY, State.TIMEOUT}:
            request = _exceeded_request(run, one.row, one.submission, one.state)
            if request:
                found.setdefault((one.state, one.row), []).append(request)
    return found


def _with_exceeded(
    evidence: Evidence, state: State, seen: Mapping[int, SliceStatus], exceeded: _Exceeded
) -> Evidence:
    """Add the requests that attempts exceeded; a slice that hung is left out."""
    open_ones = sum(one.state is state and cause_of(one) != "hang" for one in seen.values())
    done = (row for row, one in seen.items() if one.state is State.COMPLETED)
    floors = (request for row in done for request in exceeded.get((state, row), ()))
    return replace(evidence, floors=tuple(floors), exceeded=open_ones)


def _counts(run: Run, row: int, status: SliceStatus) -> bool:
    """Tell if a slice says what such slices need: it is done, and its time was measured."""
    ended = run.statuses.ended(row) and status.state is State.COMPLETED
    return ended and status.elapsed_s is not None


def _left_out(seen: Mapping[int, SliceStatus], done: Collection[int]) -> dict[str, int]:
    """Count the slices that do not count, by the reason, the most first."""
    reasons = Counter(_reason(one) for row, one in seen.items() if row not in done)
    return dict(reasons.most_common())


def _reason(one: SliceStatus) -> str:
    if one.state.failed:
        return "hung" if cause_of(one) == "hang" else "failed"
    if one.state is State.CANCELLED:
        return "cancelled"
    return "not measured" if one.state.final else "not ended"


def _exceeded_request(run: Run, row: int, number: int, state: State) -> float | None:
    packing = run.record.packing
    request = slice_request(run.journal_state.submissions[number].intent.options, packing)
    past = run.statuses.past(row, number)
    if state is State.TIMEOUT:
        return None if past and cause_of(past) == "hang" else request.time_s
    given = run.statuses.requested_before(row, number)
    return given / packing.at_once / _MIB if given else request.mem_mib


def _growth(run: Run, uses: Sequence[SliceUse]) -> Iterator[str]:
    measured = [(one, mib) for one in uses if (mib := _peak_mib(one)) is not None]
    whole = [(one, one.status.elapsed_s or 0.0) for one in uses if not one.continued]
    for name, pairs in (("memory", measured), ("time", whole)):
        columns = _columns(run, [one.row for one, _ in pairs])
        column = find_growth(columns, [figure for _, figure in pairs])
        if not column and name == "memory":
            times = {"time": [str(one.status.elapsed_s) for one, _ in pairs]}
            column = find_growth(times, [figure for _, figure in pairs])
            columns |= times
        if column:
            yield f"{name} grows with {column}: the advice holds up to {column} = " + max(
                columns[column], key=float
            )


def _columns(run: Run, rows: Sequence[int]) -> dict[str, list[str]]:
    names = run.table.columns
    values = [run.table.column_values(row) for row in rows]
    columns = {name: [one[at] for one in values] for at, name in enumerate(names)}
    return columns | {"key": [run.table.keys[row] for row in rows]}


def _waste(uses: Sequence[SliceUse]) -> tuple[float, float, float, float]:
    """Return the requested core-hours and GiB-hours, and the unused ones, as far as measured."""
    core = gib = unused_core = unused_gib = 0.0
    for one in uses:
        elapsed, limit = one.status.elapsed_s or 0.0, one.request
        if one.status.cpu_s is not None:
            asked = (limit.cpus or 1) * elapsed
            core, unused_core = core + asked, unused_core + max(0.0, asked - one.status.cpu_s)
        if (mib := _peak_mib(one)) is not None and limit.mem_bytes:
            had = limit.mem_bytes / _MIB
            gib += had / 1024 * elapsed
            unused_gib += max(0.0, had - mib) / 1024 * elapsed
    return core / _HOUR, gib / _HOUR, unused_core / _HOUR, unused_gib / _HOUR
