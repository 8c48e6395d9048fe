"""The output of ``efficiency``: use and requests of groups and slices, the advice, and its TOML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slurmslice.cli.output.console import print_line, printable_line
from slurmslice.cli.output.tables import Column, print_table
from slurmslice.reports.advice import Advice
from slurmslice.reports.counts import count_text
from slurmslice.reports.efficiency import GroupReport, spread
from slurmslice.reports.measured import NOT_MEASURED
from slurmslice.reports.slice_use import Hours, SliceUse
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_memory, format_time
from slurmslice.system.escaping import escape

_COLUMNS = (
    Column("USED"),
    Column("MEDIAN", right=True),
    Column("P95", right=True),
    Column("MAX", right=True),
    Column("REQUESTED", right=True),
    Column("SLICES"),
)
_SLICE_COLUMNS = (
    Column("KEY"),
    *(Column(name, right=True) for name in ("MEMORY", "TIME", "CPUS")),
    *(Column(name, right=True) for name in ("UNUSED CORE-H", "UNUSED GIB-H")),
)


def print_groups(groups: Sequence[GroupReport]) -> None:
    """Print each group with its advice, and the total of several."""
    for one in groups:
        name = printable_line(f"{one.request}: ") if one.request else ""
        waste = _waste(one.hours)
        print_line(f"{name}{count_text(len(one.uses))} done{_left_out(one)}; {waste}")
        print_table(_COLUMNS, _cells(one))
        for line in (*map(str, one.advice), *one.growth):
            print_line(line)
    if len(groups) > 1:
        done, hours = sum(len(one.uses) for one in groups), (one.hours for one in groups)
        print_line(f"In all: {count_text(done)} done; {_waste(sum(hours, Hours()))}")


def _left_out(one: GroupReport) -> str:
    """Return the slices that do not count, in words with a comma before; empty for none."""
    if not one.left_out:
        return ""
    reasons = ", ".join(f"{number} {reason}" for reason, number in one.left_out.items())
    return f", {sum(one.left_out.values())} left out ({reasons})"


def _waste(hours: Hours) -> str:
    return (
        f"not used: {hours.unused_core:.2f} of {hours.core:.2f} core-hours, "
        f"{hours.unused_gib:.2f} of {hours.gib:.2f} GiB-hours"
    )


def _cells(one: GroupReport) -> Iterator[tuple[str, ...]]:
    for name, found in one.figures():
        figures = (*spread(found.used).values(), found.requested)
        texts = ("" if n is None else _text(name, n) for n in figures)
        yield name, *texts, f"{len(found.used)} of {found.done} measured"


def _text(name: str, figure: float) -> str:
    if name == "memory":
        return format_memory(round(figure))
    return format_time(round(figure)) if name == "time" else f"{figure:.1f}"


def print_uses(run: Run, groups: Sequence[GroupReport]) -> None:
    """Print one line per slice that is done: use, requests, and the hours that it did not use."""
    print_line("")
    print_table(_SLICE_COLUMNS, (_use_cells(run, use) for use in _in_order(groups)))


def _in_order(groups: Sequence[GroupReport]) -> list[SliceUse]:
    return sorted((use for one in groups for use in one.uses), key=lambda use: use.row)


def _use_cells(run: Run, use: SliceUse) -> tuple[str, ...]:
    requested = use.request
    memory = requested.mem_bytes and requested.mem_bytes / 2**20
    return (
        escape(run.table.keys[use.row]),
        _of("memory", use.peak_mib, memory),
        _of("time", use.elapsed_s, requested.time_s),
        _of("cpus", use.cpus, requested.cpus),
        f"{use.hours.unused_core:.3f}",
        f"{use.hours.unused_gib:.3f}",
    )


def _of(name: str, used: float | None, requested: float | None) -> str:
    """Return a use and its share of the request: ``2400M of 8G (29%)``."""
    if used is None:
        return NOT_MEASURED
    share = f" of {_text(name, requested)} ({used / requested:.0%})" if requested else ""
    return f"{_text(name, used)}{share}"


def use_records(run: Run, groups: Sequence[GroupReport]) -> Iterator[dict[str, object]]:
    """Yield a plain record per slice that is done; memory in MiB, time in seconds."""
    for use in _in_order(groups):
        requested = use.request
        yield {
            "key": run.table.keys[use.row],
            "memory": use.peak_mib,
            "memory_requested": requested.mem_bytes and requested.mem_bytes / 2**20,
            "time": use.elapsed_s,
            "time_requested": requested.time_s,
            "cpus": use.cpus,
            "cpus_requested": requested.cpus,
            **use.hours.record(),
        }


def settings_lines(groups: Sequence[GroupReport]) -> Iterator[str]:
    """Yield the lines of a settings file with the advice on each option.

    A file has one value for all groups: the largest advice, if each group has one, and if no column
    of the slice table sets the option. All advice is there as comments.
    """
    yield "[sbatch]"
    for several in zip(*(one.advice for one in groups), strict=False):
        for group, one in zip(groups, several, strict=True):
            where = f" ({group.request})" if group.request else ""
            yield printable_line(f"# {one}{where}")  # a value cannot end the comment
        if all(one.value for one in several) and not _set_by_column(groups, several):
            largest = max(several, key=lambda one: one.amount)
            value = largest.value if largest.value.isdecimal() else f'"{largest.value}"'
            yield f"{largest.option} = {value}"


def _set_by_column(groups: Sequence[GroupReport], several: Sequence[Advice]) -> bool:
    same = len({one.option for one in several}) == 1
    return not same or any(several[0].option in group.request for group in groups)
