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
from slurmslice.reports.slice_use import Hours, SliceUse
from slurmslice.run.continuations import count_continuations
from slurmslice.run.run import Run
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory
from slurmslice.spec.packing import slice_request
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State

_MIB = 2**20
_Exceeded = Mapping[tuple[State, int], Sequence[float]]


@dataclass(frozen=True, slots=True)
class GroupReport:
    """The report on slices with the same initial request.

    Attributes:
        request: the options in which the groups differ; empty if there is one group.
        uses: the slices that are done.
        left_out: the number of others, by the reason: ``failed``, ``hung``, ``cancelled``, ``not
            ended`` and ``not measured``.
        memory, time, cpus: the evidence, in MiB, seconds and CPUs.
        advice: the advice on each of these.
        growth: a sentence for each figure that grows with a column.
        hours: what these slices requested, and did not use.
    """

    request: ResourceRequest
    uses: Sequence[SliceUse]
    left_out: Mapping[str, int]
    memory: Evidence
    time: Evidence
    cpus: Evidence
    advice: tuple[Advice, ...]
    growth: tuple[str, ...]
    hours: Hours

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
            **self.hours.record(),
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
    run.statuses.decode()
    groups: dict[ResourceRequest, list[int]] = {}
    for row in range(len(run.table)):
        own = run.initial_request(row) if run.record.per_slice else ResourceRequest()
        groups.setdefault(own, []).append(row)
    requested, exceeded = SliceRequests(run), _exceeded_requests(run)
    differing = run.record.first_request.only({name for own in groups for name in own})
    return [
        _report(run, differing.overridden_by(own), rows, requested, exceeded)
        for own, rows in groups.items()
    ]


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
    busy = [one.elapsed_s for one in uses if one.cpus is not None]
    least_s = _OWN_TIMES_S if run.record.packing.pack > 1 else _SLURM_TIMES_S
    advice = [advise_memory(memory), advise_time(time), advise_cpus(cpus, busy, least_s)]
    advice = _for_options(advice, uses[0].request.options if uses else ResourceRequest())
    return GroupReport(
        own, uses, _left_out(seen, done), memory, time, cpus, tuple(advice),
        tuple(_growth(run, uses)), sum((one.hours for one in uses), Hours()),
    )  # fmt: skip


_OWN_TIMES_S, _SLURM_TIMES_S = 1.0, 10.0
"""The shortest slices whose CPUs are known well enough: they measured their time, or Slurm did, in
whole seconds."""


def _for_options(advice: list[Advice], options: ResourceRequest) -> list[Advice]:
    """Give the advice for the options in force; none on CPUs that memory or processes follow."""
    memory, time, cpus = advice
    used = next((name for name in MEMORY_OPTIONS if name in options), "")
    parts = {"mem-per-cpu": options.cpus, "mem-per-gpu": options.gpus or 1}.get(used, 1)
    memory = replace(memory, option=used or memory.option)
    if memory.amount and parts > 1:
        amount = math.ceil(memory.amount / parts)
        memory = replace(memory, amount=amount, value=format_memory(amount))
    follows = used in {"", "mem-per-cpu"} or "cpus-per-gpu" in options or options.processes > 1
    return [memory, time] if follows else [memory, time, cpus]


def _use(run: Run, row: int, status: SliceStatus, request: SliceRequest) -> SliceUse:
    continued = count_continuations(run.journal_state.repairs.of(row)) > 0
    return SliceUse(row, status, request, continued)


def _memory(uses: Sequence[SliceUse]) -> Evidence:
    used = [mib for one in uses if (mib := one.peak_mib) is not None]
    above = sum(one.above_limit for one in uses)
    few = [one for one in uses if one.few_samples and not one.above_limit]
    floors = [one.status.max_rss_bytes / _MIB for one in few if one.status.max_rss_bytes]
    requested = _most_common([one.request.mem_bytes for one in uses])
    had = requested / _MIB if requested else None
    return Evidence(len(uses), used, had, floor_only=floors, above_limit=above)


def _time(uses: Sequence[SliceUse]) -> Evidence:
    whole = [one for one in uses if not one.continued]
    used = [one.elapsed_s for one in whole]
    return Evidence(len(whole), used, _most_common([one.request.time_s for one in uses]))


def _cpus(uses: Sequence[SliceUse]) -> Evidence:
    used = [cpus for one in uses if (cpus := one.cpus) is not None]
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
    measured = [(one, mib) for one in uses if (mib := one.peak_mib) is not None]
    whole = [(one, one.elapsed_s) for one in uses if not one.continued]
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
