"""The verb ``efficiency``: compare requests with their use, and advise on the next ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.cli.options import locate_run
from slurmslice.cli.output.console import print_line, print_note, printable_line
from slurmslice.cli.output.summary import notes_on_silence
from slurmslice.cli.output.tables import Column, print_slices_table, print_table
from slurmslice.reports.advice import Advice
from slurmslice.reports.counts import count_text
from slurmslice.reports.efficiency import GroupReport, report_efficiency, spread
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_memory, format_time

_COLUMNS = (
    Column("USED"),
    Column("MEDIAN", right=True),
    Column("P95", right=True),
    Column("MAX", right=True),
    Column("REQUESTED", right=True),
    Column("SLICES"),
)


@click.command()
@click.argument("run_name", required=False, metavar="[RUN]")
@click.option("--slices", "per_slice", is_flag=True, help="Also show one line per slice.")
@click.option("--toml", "as_toml", is_flag=True, help="Print lines for slurmslice.toml.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a group per request.")
def command(run_name: str | None, per_slice: bool, as_toml: bool, as_json: bool) -> None:
    """Compare memory, time and CPUs with the requests, and advise on the next ones.

    Only slices that are done count. Without enough evidence there is no advice.
    """
    run = open_run(locate_run.find_run(run_name, changing=False))
    polled = poll(run)
    groups = report_efficiency(run)
    if as_json:
        import json

        record = {"run": run.record.name, "groups": [one.record() for one in groups]}
        print_line(json.dumps(record | {"next": _next(run)}, indent=1))
    elif as_toml:
        for line in _toml(groups):
            print_line(line)
    else:
        for one in groups:
            _print_group(one)
        if len(groups) > 1:
            _print_total(groups)
        if per_slice:
            print_slices_table(run, [use.row for one in groups for use in one.uses])
    for note in (*polled.notes, *notes_on_silence(polled)):
        print_note(note)


def _next(run: Run) -> list[list[str]]:
    return [["slurmslice", "efficiency", run.record.name, "--toml"]]


def _print_group(one: GroupReport) -> None:
    name = printable_line(f"{one.request}: ") if one.request else ""
    print_line(f"{name}{count_text(len(one.uses))} done{_left_out(one)}; {_waste([one])}")
    print_table(_COLUMNS, _cells(one))
    for line in (*map(str, one.advice), *one.growth):
        print_line(line)


def _left_out(one: GroupReport) -> str:
    """Return the slices that do not count, in words with a comma before; empty for none."""
    if not one.left_out:
        return ""
    reasons = ", ".join(f"{number} {reason}" for reason, number in one.left_out.items())
    return f", {sum(one.left_out.values())} left out ({reasons})"


def _waste(groups: Sequence[GroupReport]) -> str:
    """Return what groups requested and did not use, in words."""
    core, gib = sum(one.core_h for one in groups), sum(one.gib_h for one in groups)
    unused = sum(one.wasted_core_h for one in groups), sum(one.wasted_gib_h for one in groups)
    return (
        f"not used: {unused[0]:.2f} of {core:.2f} core-hours, "
        f"{unused[1]:.2f} of {gib:.2f} GiB-hours"
    )


def _print_total(groups: Sequence[GroupReport]) -> None:
    done = sum(len(one.uses) for one in groups)
    print_line(f"In all: {count_text(done)} done; {_waste(groups)}")


def _cells(one: GroupReport) -> Iterator[tuple[str, ...]]:
    for name, found in one.figures():
        figures = (*spread(found.used).values(), found.requested)
        texts = ("" if n is None else _text(name, n) for n in figures)
        yield name, *texts, f"{len(found.used)} of {found.done} measured"


def _text(name: str, figure: float) -> str:
    if name == "memory":
        return format_memory(round(figure))
    return format_time(round(figure)) if name == "time" else f"{figure:.1f}"


def _toml(groups: Sequence[GroupReport]) -> Iterator[str]:
    """Yield the lines of a settings file; an option that a group lacks or a column sets is not."""
    yield "[sbatch]"
    for several in zip(*(one.advice for one in groups), strict=False):
        yield from _toml_lines(groups, several)


def _toml_lines(groups: Sequence[GroupReport], several: Sequence[Advice]) -> Iterator[str]:
    for group, one in zip(groups, several, strict=True):
        where = f" ({group.request})" if group.request else ""
        yield printable_line(f"# {one}{where}")  # a value cannot end the comment
    if len(groups) == 1 and (one := several[0]).value:
        value = one.value if one.value.isdecimal() else f'"{one.value}"'
        yield f"{one.option} = {value}"
