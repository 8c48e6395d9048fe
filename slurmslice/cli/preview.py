"""What a person is told before and after a submission."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from slurmslice import directives
from slurmslice.asked import Asked
from slurmslice.cli.console import one_line, say
from slurmslice.command import ShellText, placeholders, quote, show
from slurmslice.engines import Engine, Limits
from slurmslice.errors import NoAnswer
from slurmslice.packing import fitted, tasks_at_once
from slurmslice.reports.counts import count, key_ranges, shortened
from slurmslice.reports.foreseen import Group, groups, request, worst_case
from slurmslice.run import Run
from slurmslice.slices import SliceTable
from slurmslice.verbs.create import Wanted, interpreted
from slurmslice.verbs.feed import Taken


def announce(asked: Asked, wanted: Wanted, engine: Engine) -> Limits | None:
    """How many slices, how many at once, the request, the worst case, first and last command.

    Returns:
        the engine's limits for such tasks; None where it could not be asked.
    """
    typed = groups(asked, wanted.table)
    given = partial(asked.given, minutes=engine.counts_whole_minutes)
    of = [replace(one, options=given(one.options), request=given(one.request)) for one in typed]
    limits, fewest = _limits(engine, of)
    in_process = engine.runs_in_process
    most = _tasks_at_once(asked, of, limits.at_once if limits else None, exactly=in_process)
    at_once = None if most is None else min(asked.slices, most * asked.packing.at_once)
    where = f"{asked.engine} on {asked.cluster}" if asked.cluster else asked.engine
    say(f"{asked.name}: {count(asked.slices)}, {_many(at_once)}, {where}")
    told = (
        ("slices", shortened(one_line(asked.source), 100)),
        ("request", f"{_request(asked)} a slice"),
        *(("", text) for text in _differing(asked, of)),
        ("packing", _packing(asked, of) or _not_packed(asked, wanted, limits)),
        ("setup", shortened(one_line(asked.setup.strip()), 100)),
        ("check", shortened(one_line(asked.check.shown), 100)),
        ("at worst", worst_case(of, _tasks_at_once(asked, of, fewest, exactly=in_process), most)),
        ("room", limits.why if limits and limits.at_once != 0 else ""),
        *(
            ("note", warning)
            for warning in (*_rounded(typed, of), *_warnings(asked, engine, limits))
        ),
        *zip(("first", "last"), _commands(asked, wanted.table), strict=False),
    )
    for label, text in told:
        if text:
            say(f"  {label:9} {text}")
    return limits


def _commands(asked: Asked, table: SliceTable) -> Iterator[str]:
    """The command of the first slice, and of the last where there are several."""
    for row in sorted({0, len(table) - 1}):
        columns = dict(zip(table.columns, table.values_of(row), strict=True))
        yield show(asked.command, table.keys[row], columns)


def _rounded(typed: Sequence[Group], of: Sequence[Group]) -> Iterator[str]:
    """To what Slurm rounds time limits, where it does."""
    if rounded := [now for was, now in zip(typed, of, strict=True) if was != now]:
        yield f"Slurm counts whole minutes: {dict(request(rounded))['time']}"


def _warnings(asked: Asked, engine: Engine, limits: Limits | None) -> Iterator[str]:
    """What is allowed, and is hardly meant."""
    if limits and limits.at_once == 0:
        yield f"NO SUCH TASK CAN RUN ({limits.why}); `slurmslice doctor` shows what there is"
    elif _unlimited(asked):
        yield "--time=0 is no limit: a slice that hangs would run on"
    if limits and limits.note:
        yield limits.note
    fits = _fits(asked, limits)
    if asked.throttle and fits and asked.throttle > fits and not engine.runs_in_process:
        yield f"the throttle of {asked.throttle} is above the {fits} that can run at once"
    if asked.packing.pack > 1 and _NAMES_SLICE.search(asked.setup):
        yield "the setup names $SLICE, which is not set there: with --pack it runs once a task"
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


_NAMES_SLICE = re.compile(r"\$\{?[#!]?SLICE(?![A-Za-z0-9])")
"""``$SLICE`` or one of its columns, ``$SLICE_MASS``."""

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


def _tasks_at_once(
    asked: Asked, of: Sequence[Group], fits: int | None, *, exactly: bool
) -> int | None:
    """Return how many array tasks can run at once if so many fit; None if that is not known.

    Args:
        asked: the run.
        of: its groups.
        fits: how many fit.
        exactly: as many run as the throttle says, whatever fits.
    """
    throttle = tasks_at_once(asked.throttle, asked.packing.at_once)
    if throttle is not None and exactly:
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


def _differing(asked: Asked, of: Sequence[Group]) -> Iterator[str]:
    """How many slices ask for what, of that which differs between them."""
    names = dict(asked.per_slice)
    for group in of if names else ():
        own = [(name, value) for name, value in group.options if name in names]
        yield f"{count(group.slices)}: {_asked_for(own)}"


def _asked_for(options: Sequence[tuple[str, str]]) -> str:
    return " ".join(
        f"--{name}={value}" if value else f"--{name}" for name, value in options
    ) or "the defaults"  # fmt: skip


def _packing(asked: Asked, of: Sequence[Group]) -> str:
    """How many array tasks there are, what each carries and asks for; empty where it is a slice."""
    if asked.packing.pack == 1:
        return ""
    packing, slices = asked.packing, sum(group.slices for group in of)
    tasks = count(sum(group.tasks for group in of), "array task")
    alike = " that ask for the same" if len(of) > 1 else ""
    turns = f", {packing.at_once} at a time" if packing.at_once > 1 else ""
    cut = asked.pack_asked.isdecimal() and packing.pack < min(int(asked.pack_asked), slices)
    why = " (more do not fit into the partition's time limit)" if cut else ""
    carried = f"{'up to ' if alike else ''}{count(packing.pack)}{alike}"
    return f"{tasks} of {carried}{turns}{why}; {_asked_for(request(of))} a task"


def _not_packed(asked: Asked, wanted: Wanted, limits: Limits | None) -> str:
    """Why each slice has a task of its own where --pack was asked for; empty where it was not."""
    if asked.pack_asked in {"", "1"} or asked.slices == 1:
        return ""
    if wanted.packing.pack == 1:
        return "none: a slice takes as long as a task should"
    if limits and fitted(wanted.packing, limits.max_time_s).pack == 1:
        return "none: two slices do not fit into the partition's time limit"
    return "none: there is room for all slices at once, each in a task of its own"


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
        if one.starved:
            keys = key_ranges([run.table.keys[row] for row in one.starved])
            say(f"  {keys} went over the memory that is asked for again. Should it be so once "
                f"more: slurmslice resubmit {quote(run.asked.name)} --mem 2x")  # fmt: skip


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
