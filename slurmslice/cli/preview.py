"""What a person is told before and after a submission."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from slurmslice import directives
from slurmslice.asked import Asked
from slurmslice.cli.console import one_line, say
from slurmslice.command import ShellText, placeholders, quote, show
from slurmslice.engines import Engine, Limits
from slurmslice.errors import NoAnswer
from slurmslice.packing import tasks_at_once
from slurmslice.replaced import runs_another
from slurmslice.reports.counts import count, key_ranges, shortened
from slurmslice.reports.foreseen import Group, groups, request, worst_case
from slurmslice.run import Run
from slurmslice.slices import SliceTable
from slurmslice.verbs.create import interpreted
from slurmslice.verbs.feed import Taken


def announce(asked: Asked, table: SliceTable, engine: Engine) -> Limits | None:
    """How many slices, how many at once, the request, the worst case, first and last command.

    Returns:
        the engine's limits for such tasks; None where it could not be asked.
    """
    typed = groups(asked, table)
    of = [replace(one, options=asked.given(one.options), request=asked.given(one.request))
          for one in typed]  # fmt: skip
    limits, fewest = _limits(engine, of)
    most = _tasks_at_once(asked, of, limits.at_once if limits else None)
    at_once = None if most is None else min(len(table), most * asked.packing.at_once)
    where = f"{asked.engine} on {asked.cluster}" if asked.cluster else asked.engine
    say(f"{asked.name}: {count(len(table))}, {_many(at_once)}, {where}")
    say(f"  slices    {shortened(one_line(asked.source), 100)}")
    say(f"  request   {_request(asked)} a slice")
    if asked.packing.pack > 1:
        say(f"  packing   {_packing(asked, of)}")
    if asked.setup:
        say(f"  setup     {shortened(one_line(asked.setup.strip()), 100)}")
    if asked.check:
        say(f"  check     {shortened(one_line(asked.check.shown), 100)}")
    worst = worst_case(of, _tasks_at_once(asked, of, fewest), most)
    if worst:
        say(f"  at worst  {worst}")
    if limits and limits.why and limits.at_once != 0:
        say(f"  room      {limits.why}")
    for warning in (*_rounded(typed, of), *_warnings(asked, limits)):
        say(f"  note      {warning}")
    rows = [0, len(table) - 1] if len(table) > 1 else [0]
    for label, row in zip(("first", "last "), rows, strict=False):
        columns = dict(zip(table.columns, table.values_of(row), strict=True))
        say(f"  {label}     {show(asked.command, table.keys[row], columns)}")
    return limits


def _rounded(typed: Sequence[Group], of: Sequence[Group]) -> Iterator[str]:
    """To what Slurm rounds time limits, where it does."""
    if rounded := [now for was, now in zip(typed, of, strict=True) if was != now]:
        yield f"Slurm counts whole minutes: {dict(request(rounded))['time']}"


def _warnings(asked: Asked, limits: Limits | None) -> Iterator[str]:
    """What is allowed, and is hardly meant."""
    if limits and limits.at_once == 0:
        yield f"NO SUCH TASK CAN RUN ({limits.why}); `slurmslice doctor` shows what there is"
    elif _unlimited(asked):
        yield "--time=0 is no limit: a slice that hangs would run on"
    if limits and limits.note:
        yield limits.note
    fits = _fits(asked, limits)
    if asked.throttle and fits and asked.throttle > fits and asked.engine == "slurm":
        yield f"the throttle of {asked.throttle} is above the {fits} that can run at once"
    if runs_another(asked.setup):
        yield "an `exec PROGRAM` in the setup takes the script's place: the command would never run"
    if isinstance(asked.command, ShellText):
        if "SLICE" not in asked.command.text:
            yield "the command names no $SLICE: every slice does the same (single quotes keep it)"
        elif "{}" in asked.command.text:
            yield "{} in a shell text is just that: the key is $SLICE"
        return
    words = asked.command.words
    if not placeholders(asked.command):
        yield "the command has no {}: every slice does the same, but for $SLICE in its environment"
    if "{" not in words[0]:
        yield from _not_started(words[0], asked.work_dir)
    script = interpreted(words) or ""
    if _SCRIPT.fullmatch(script) and not os.path.exists(os.path.join(asked.work_dir, script)):
        yield f"{quote(script)} is not found here"


_SCRIPT = re.compile(r"[^\s{]+\.(py|jl|pl|rb|sh|bash|zsh|m?js|jar|[Rr])")
"""What an interpreter is given, where it is a file: a module or a text has no such name."""


def _not_started(program: str, work_dir: str) -> Iterator[str]:
    """Why bash could not start a program here; on the nodes there may be another of that name."""
    path, shown = os.path.join(work_dir, program), quote(program)
    if not os.path.dirname(program):
        if not shutil.which(program):
            here = f"; {quote(f'./{program}')} is" if os.path.isfile(path) else ""
            yield f"{shown} is not found on PATH here{here}"
    elif not os.path.exists(path):
        yield f"{shown} is not found here"
    elif os.path.isdir(path):
        yield f"{shown} is a folder here"
    elif not os.access(path, os.X_OK):
        yield f"{shown} is not executable here: chmod +x {shown}, or name its interpreter before it"


def _unlimited(asked: Asked) -> bool:
    return "time" in dict(asked.options) and directives.needs(asked.options).time_s is None


def _limits(engine: Engine, of: Sequence[Group]) -> tuple[Limits | None, int | None]:
    """What the engine says of the tasks of which most can run at once; None: it says nothing.

    Where groups go to different partitions, how many run at once in all is not known.

    Returns:
        beside it how many run at once of those of which fewest do; None where that is not known.
    """
    asked = [directives.needs(group.request) for group in of]
    try:
        found = [engine.limits(needs) for needs in asked]
    except NoAnswer:
        return None, None
    most = max(found, key=lambda limits: (_or_all(limits.at_once), not limits.never))
    if most.at_once and len({needs.partition for needs in asked}) > 1:
        return replace(most, at_once=None, why=""), None
    return most, min((limits.at_once for limits in found), key=_or_all)


def _or_all(at_once: int | None) -> float:
    return math.inf if at_once is None else at_once


def _tasks_at_once(asked: Asked, of: Sequence[Group], fits: int | None) -> int | None:
    """How many array tasks can run at once where so many fit; None where that is not known."""
    throttle = tasks_at_once(asked.throttle, asked.packing.at_once)
    if throttle is not None and asked.engine == "local":
        fits = None  # a person who says %8 gets eight, however many CPUs are free just now
    known = [number for number in (throttle, fits) if number is not None]
    return min(*known, sum(group.tasks for group in of)) if known else None


def _fits(asked: Asked, limits: Limits | None) -> int | None:
    """How many slices can run at once; None where that is not known."""
    if limits is None or limits.at_once is None:
        return None
    return limits.at_once * asked.packing.at_once


def _many(at_once: int | None) -> str:
    if at_once == 0:
        return "none at once"
    return "as many at once as fit" if at_once is None else f"at most {at_once} at once"


def _request(asked: Asked) -> str:
    return _asked_for(tuple({**dict(asked.options), **dict(asked.per_slice)}.items()))


def _asked_for(options: Sequence[tuple[str, str]]) -> str:
    return " ".join(
        f"--{name}={value}" if value else f"--{name}" for name, value in options
    ) or "the defaults"  # fmt: skip


def _packing(asked: Asked, of: Sequence[Group]) -> str:
    """How many array tasks there are, what each carries, and what it asks for."""
    packing, slices = asked.packing, sum(group.slices for group in of)
    tasks = count(sum(group.tasks for group in of), "array task")
    alike = " that ask for the same" if len(of) > 1 else ""
    turns = f", {packing.at_once} at a time" if packing.at_once > 1 else ""
    cut = asked.pack_asked.isdecimal() and packing.pack < min(int(asked.pack_asked), slices)
    why = " (more do not fit into the partition's time limit)" if cut else ""
    carried = f"{'up to ' if alike else ''}{count(packing.pack)}{alike}"
    return f"{tasks} of {carried}{turns}{why}; {_asked_for(request(of))} a task"


def tell_taken(run: Run, taken: list[Taken]) -> None:
    """Which submissions were made, with what, and what else was noted."""
    for one in taken:
        keys = key_ranges([run.table.keys[row] for row in one.draft.batch.rows])
        changed = " ".join(f"--{name}={value}" for name, value in one.draft.batch.changes)
        say(
            f"Submitted {count(len(one.draft.batch.rows))} ({keys})"
            f"{' with ' + changed if changed else ''}: job {one.job}, "
            f"submission {one.draft.number:03d}."
        )
        for note in one.notes:
            say(f"  {note}")


def tell_how_to_come_back(run: Run) -> None:
    """The lines to type later."""
    name = run.asked.name
    say(f"slurmslice status {name} · watch {name} · cancel {name}")


def relative(path: Path) -> str:
    """A path as short as it can be typed here; never one that looks like an option."""
    try:
        short = str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
    return f"./{short}" if short.startswith("-") else short
