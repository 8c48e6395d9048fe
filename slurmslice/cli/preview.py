"""What a person is told before and after a submission."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from slurmslice.cli.console import note, one_line, print_note, say
from slurmslice.command import ShellText, placeholders, quote, show
from slurmslice.engines import Engine, Limits
from slurmslice.errors import NoAnswer
from slurmslice.notes import Note
from slurmslice.packing import fitted, tasks_at_once
from slurmslice.reports.counts import count, key_ranges, shortened
from slurmslice.reports.foreseen import Group, groups, request, worst_case
from slurmslice.resources import ResourceRequest
from slurmslice.run import Run
from slurmslice.run_spec import RunRecord
from slurmslice.slices import SliceTable
from slurmslice.verbs.create import RunInputs, interpreted
from slurmslice.verbs.submit_queued import AcceptedSubmission


def show_preview(record: RunRecord, new: RunInputs, engine: Engine) -> Limits | None:
    """How many slices, how many at once, the request, the worst case, first and last command.

    Returns:
        the engine's limits for such tasks; None where it could not be asked.
    """
    typed = groups(record, new.table)
    of = [replace(one, options=record.counted(one.options), request=record.counted(one.request))
          for one in typed]  # fmt: skip
    limits, fewest = _limits(engine, of)
    most = _tasks_at_once(record, of, limits.at_once if limits else None)
    at_once = None if most is None else min(record.slices, most * record.packing.at_once)
    where = f"{record.engine} on {record.cluster}" if record.cluster else record.engine
    headline = f"{record.name}: {count(record.slices)}, {_many(at_once)}, {where}"
    note("preview", headline, run=record.name, slices=record.slices, at_once=at_once)
    told: tuple[tuple[str, str | Note | None], ...] = (
        ("slices", shortened(one_line(record.source), 100)),
        ("request", f"{_request(record)} a slice"),
        *(("", text) for text in _differing(record, of)),
        ("packing", _packing(record, of) or _not_packed(record, new, limits)),
        ("setup", shortened(one_line(record.setup.strip()), 100)),
        ("check", shortened(one_line(record.check.shown), 100)),
        ("at worst", worst_case(of, _tasks_at_once(record, of, fewest), most)),
        ("room", limits.why if limits and limits.at_once != 0 else ""),
        *(("note", warning) for warning in (*_rounded(typed, of), *_warnings(record, limits))),
        *zip(("first", "last"), _commands(record, new.table), strict=False),
    )
    for label, text in told:
        if isinstance(text, Note):
            print_note(text, f"  {label:9} ")
        elif text:
            say(f"  {label:9} {text}")
    return limits


def _commands(record: RunRecord, table: SliceTable) -> Iterator[str]:
    """The command of the first slice, and of the last where there are several."""
    for row in sorted({0, len(table) - 1}):
        columns = dict(zip(table.columns, table.values_of(row), strict=True))
        yield show(record.command, table.keys[row], columns)


def _rounded(typed: Sequence[Group], of: Sequence[Group]) -> Iterator[Note]:
    """To what Slurm rounds time limits, where it does."""
    if rounded := [now for was, now in zip(typed, of, strict=True) if was != now]:
        time = request(rounded)["time"]
        yield Note("time-rounded", f"Slurm counts whole minutes: {time}", {"time": time})


def _warnings(record: RunRecord, limits: Limits | None) -> Iterator[Note]:
    """What is allowed, and is hardly meant."""
    if limits and limits.at_once == 0:
        yield Note(
            "no-task-can-run",
            f"NO SUCH TASK CAN RUN ({limits.why}); `slurmslice doctor` shows what there is",
        )
    elif _unlimited(record):
        yield Note("no-time-limit", "--time=0 is no limit: a slice that hangs would run on")
    if limits and limits.note:
        yield Note("engine-note", limits.note)
    fits = _fits(record, limits)
    if record.throttle and fits and record.throttle > fits and record.engine == "slurm":
        yield Note(
            "throttle-above-fit",
            f"the throttle of {record.throttle} is above the {fits} that can run at once",
            {"throttle": record.throttle, "fit": fits},
        )
    if record.packing.pack > 1 and _NAMES_SLICE.search(record.setup):
        yield Note(
            "setup-names-slice",
            "the setup names $SLICE, which is not set there: with --pack it runs once a task",
        )
    if isinstance(record.command, ShellText):
        if "SLICE" not in record.command.text:
            yield Note(
                "same-command",
                "the command names no $SLICE: every slice does the same (single quotes keep it)",
            )
        elif "{}" in record.command.text:
            yield Note("braces-in-shell", "{} in a shell text is just that: the key is $SLICE")
        return
    words = record.command.words
    if not placeholders(record.command):
        yield Note(
            "same-command",
            "the command has no {}: every slice does the same, but for $SLICE in its environment",
        )
    if "{" not in words[0]:
        yield from _not_started(words[0], record.work_dir)
    script = interpreted(words) or ""
    if _SCRIPT.fullmatch(script) and not os.path.exists(os.path.join(record.work_dir, script)):
        yield Note("program-not-found", f"{quote(script)} is not found here", {"path": script})


_NAMES_SLICE = re.compile(r"\$\{?[#!]?SLICE(?![A-Za-z0-9])")
"""``$SLICE`` or one of its columns, ``$SLICE_MASS``."""

_SCRIPT = re.compile(r"[^\s{]+\.(py|jl|pl|rb|sh|bash|zsh|m?js|jar|[Rr])")
"""What an interpreter is given, where it is a file: a module or a text has no such name."""


def _not_started(program: str, work_dir: str) -> Iterator[Note]:
    """Why bash could not start a program here; on the nodes there may be another of that name."""
    path, shown, names = os.path.join(work_dir, program), quote(program), {"path": program}
    if not os.path.dirname(program):
        if not shutil.which(program):
            here = f"; {quote(f'./{program}')} is" if os.path.isfile(path) else ""
            message = f"{shown} is not found on PATH here{here}"
            yield Note("program-not-on-path", message, names)
    elif not os.path.exists(path):
        yield Note("program-not-found", f"{shown} is not found here", names)
    elif os.path.isdir(path):
        yield Note("program-is-folder", f"{shown} is a folder here", names)
    elif not os.access(path, os.X_OK):
        yield Note(
            "program-not-executable",
            f"{shown} is not executable here: chmod +x {shown}, or name its interpreter before it",
            names,
        )


def _unlimited(record: RunRecord) -> bool:
    return "time" in record.first_request and record.first_request.time_s is None


def _limits(engine: Engine, of: Sequence[Group]) -> tuple[Limits | None, int | None]:
    """What the engine says of the tasks of which most can run at once; None: it says nothing.

    Where groups go to different partitions, how many run at once in all is not known.

    Returns:
        beside it how many run at once of those of which fewest do; None where that is not known.
    """
    asked = [group.request.verify() for group in of]
    try:
        found = [engine.limits(request) for request in asked]
    except NoAnswer:
        return None, None
    most = max(found, key=lambda limits: (_or_all(limits.at_once), not limits.never))
    if most.at_once and len({request.partition for request in asked}) > 1:
        return replace(most, at_once=None, why=""), None
    return most, min((limits.at_once for limits in found), key=_or_all)


def _or_all(at_once: int | None) -> float:
    return math.inf if at_once is None else at_once


def _tasks_at_once(record: RunRecord, of: Sequence[Group], fits: int | None) -> int | None:
    """How many array tasks can run at once where so many fit; None where that is not known."""
    throttle = tasks_at_once(record.throttle, record.packing.at_once)
    if throttle is not None and record.engine == "local":
        fits = None  # a person who says %8 gets eight, however many CPUs are free just now
    known = [number for number in (throttle, fits) if number is not None]
    return min(*known, sum(group.tasks for group in of)) if known else None


def _fits(record: RunRecord, limits: Limits | None) -> int | None:
    """How many slices can run at once; None where that is not known."""
    if limits is None or limits.at_once is None:
        return None
    return limits.at_once * record.packing.at_once


def _many(at_once: int | None) -> str:
    if at_once == 0:
        return "none at once"
    return "as many at once as fit" if at_once is None else f"at most {at_once} at once"


def _request(record: RunRecord) -> str:
    return _asked_for(record.first_request.overridden_by(record.per_slice))


def _differing(record: RunRecord, of: Sequence[Group]) -> Iterator[Note]:
    """How many slices ask for what, of that which differs between them."""
    for group in of if record.per_slice else ():
        own = group.options.only(record.per_slice)
        message = f"{count(group.slices)}: {_asked_for(own)}"
        yield Note("request-group", message, {"slices": group.slices, "options": dict(own)})


def _asked_for(request: ResourceRequest) -> str:
    return str(request) or "the defaults"


def _packing(record: RunRecord, of: Sequence[Group]) -> Note | None:
    """How many array tasks there are, what each carries and asks for; None where it is a slice."""
    if record.packing.pack == 1:
        return None
    packing, slices = record.packing, sum(group.slices for group in of)
    tasks = sum(group.tasks for group in of)
    alike = " that ask for the same" if len(of) > 1 else ""
    turns = f", {packing.at_once} at a time" if packing.at_once > 1 else ""
    cut = record.pack not in {None, "auto"} and packing.pack < min(int(record.pack or 1), slices)
    why = " (more do not fit into the partition's time limit)" if cut else ""
    carried = f"{'up to ' if alike else ''}{count(packing.pack)}{alike}"
    return Note(
        "packing",
        f"{count(tasks, 'array task')} of {carried}{turns}{why}; {_asked_for(request(of))} a task",
        {"tasks": tasks, "pack": packing.pack, "at_once": packing.at_once, "cut": cut,
         "options": dict(request(of))},
    )  # fmt: skip


def _not_packed(record: RunRecord, new: RunInputs, limits: Limits | None) -> Note | None:
    """Why each slice has a task of its own where --pack was asked for; None where it was not."""
    if record.pack in {None, "1"} or record.slices == 1:
        return None
    if new.spec.packing.pack == 1:
        return Note("not-packed-long-slice", "none: a slice takes as long as a task should")
    if limits and fitted(new.spec.packing, limits.max_time_s).pack == 1:
        return Note(
            "not-packed-time-limit", "none: two slices do not fit into the partition's time limit"
        )
    return Note(
        "not-packed-room-for-all",
        "none: there is room for all slices at once, each in a task of its own",
    )


def print_taken(run: Run, taken: list[AcceptedSubmission]) -> None:
    """Which submissions were made, with what, and what else was noted."""
    for one in taken:
        keys = key_ranges([run.table.keys[row] for row in one.planned.batch.rows])
        changed = str(one.planned.batch.changes)
        note(
            "submitted",
            f"Submitted {count(len(one.planned.batch.rows))} ({keys})"
            f"{' with ' + changed if changed else ''}: job {one.job}, "
            f"submission {one.planned.number:03d}.",
            slices=len(one.planned.batch.rows), keys=keys, changes=dict(one.planned.batch.changes),
            job=one.job, submission=one.planned.number,
        )  # fmt: skip
        for found in one.notes:
            print_note(found, "  ")
        if one.starved:
            keys = key_ranges([run.table.keys[row] for row in one.starved])
            note(
                "memory-not-raised",
                f"  {keys} went over the memory that is asked for again. Should it be so once "
                f"more: slurmslice resubmit {quote(run.record.name)} --mem 2x",
                keys=keys,
            )


def note_how_to_return(run: Run) -> None:
    """The lines to type later."""
    name = run.record.name
    note("how-to-return", f"slurmslice status {name} · watch {name} · cancel {name}")


def relative(path: Path) -> str:
    """A path as short as it can be typed here; never one that looks like an option."""
    try:
        short = str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
    return f"./{short}" if short.startswith("-") else short
