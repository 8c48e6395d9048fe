"""The preview of a new run, and the messages after a submission."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from slurmslice.actions.create import RunInputs, interpreter_script
from slurmslice.actions.submit_queued import AcceptedSubmission
from slurmslice.cli.output.console import emit_note, print_message, print_note, printable_line
from slurmslice.cli.output.named_files import first_command, named_files, run_texts
from slurmslice.cli.output.preview_rules import (
    after_text,
    canary_note,
    cause_notes,
    continue_note,
    done_before_notes,
    end_text,
    stop_note,
    then_text,
)
from slurmslice.cli.output.repairs import ladder_notes
from slurmslice.engines.protocol import Engine, TaskLimits
from slurmslice.errors import NoAnswerError
from slurmslice.notes import Note
from slurmslice.reports.counts import count_text, key_ranges, shorten_text
from slurmslice.reports.estimate import RequestGroup, request_groups, request_range, worst_case_text
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.array_variables import find_mention
from slurmslice.spec.command import ShellText, command_placeholders, slice_command_line
from slurmslice.spec.job_script import job_script_notes
from slurmslice.spec.key_in_code import code_notes
from slurmslice.spec.odd_words import braces_in_shell, odd_word_notes
from slurmslice.spec.packing import fit_time_limit, throttle_in_tasks
from slurmslice.spec.run_spec import RunRecord
from slurmslice.spec.split_values import split_value_notes
from slurmslice.system.shell_quoting import quote


def show_preview(record: RunRecord, new: RunInputs, engine: Engine) -> TaskLimits | None:
    """Print the size of a new run, its request, its worst case, and its first and last command.

    Returns:
        the engine's limits for these tasks; None if the engine did not answer.
    """
    typed = request_groups(record, new.table)
    with_rounded_time = partial(record.with_rounded_time, minutes=engine.counts_whole_minutes)
    of = [
        replace(one, options=with_rounded_time(one.options), request=with_rounded_time(one.request))
        for one in typed
    ]
    limits, fewest = _limits(engine, of)
    exactly = engine.runs_in_process
    most = _tasks_at_once(record, of, limits.at_once if limits else None, exactly=exactly)
    at_once = None if most is None else min(record.slices, most * record.packing.at_once)
    where = f"{record.engine} on {record.cluster}" if record.cluster else record.engine
    headline = f"{record.name}: {count_text(record.slices)}, {_describe_at_once(at_once)}, {where}"
    emit_note("preview", headline, run=record.name, slices=record.slices, at_once=at_once)
    worst = worst_case_text(of, _tasks_at_once(record, of, fewest, exactly=exactly), most)
    sizes: tuple[_Labelled, ...] = (
        ("slices", shorten_text(printable_line(record.source), 100)),
        ("request", _asked_for(_request(record), "slice")),
        *(("", text) for text in _request_groups(record, of)),
        ("packing", _packing(record, of) or _not_packed(record, new, limits)),
        ("setup", shorten_text(printable_line(record.setup.strip()), 100)),
        ("check", shorten_text(printable_line(record.check.shown), 100)),
        ("output", shorten_text(printable_line(record.output_options), 100)),
        ("at worst", worst),
        ("room", limits.why if limits and limits.at_once != 0 else ""),
    )
    warnings: tuple[Note, ...] = (
        *_rounded(typed, of),
        *_warnings(record, new.table, engine, limits),
        *split_value_notes(record, new.table),
    )
    lines: list[_Labelled] = [
        *sizes,
        *_rules(record, new, of, engine),
        *(("note", warning) for warning in warnings),
        *zip(("first", "last"), _commands(record, new.table), strict=False),
    ]
    _print_labelled(lines)
    return limits


_Labelled = tuple[str, str | Note | None]
"""A line of the preview: its label, and its text; nothing is printed without a text."""


def _rules(
    record: RunRecord, new: RunInputs, of: Sequence[RequestGroup], engine: Engine
) -> Iterator[_Labelled]:
    """Yield the lines about what the run does by itself."""
    for found in done_before_notes(record, new):
        yield "done", found
    yield "canary", canary_note(record, new)
    yield "stop", stop_note(record)
    yield "continue", continue_note(record)
    for ladder in ladder_notes(record, of, engine):
        yield "repair", ladder
    for left in cause_notes(record):
        yield "note", left
    yield "after", after_text(record)
    yield "then", then_text(record)
    yield "at end", end_text(record)


def _print_labelled(lines: Iterable[_Labelled]) -> None:
    for label, text in lines:
        if isinstance(text, Note):
            print_note(text, f"  {label:9} ")
        elif text:
            print_message(f"  {label:9} {text}")


def _commands(record: RunRecord, table: SliceTable) -> Iterator[str]:
    """Return the command of the first slice, and of the last one if there are several."""
    for row in sorted({0, len(table) - 1}):
        columns = dict(zip(table.columns, table.column_values(row), strict=True))
        yield slice_command_line(record.command, table.keys[row], columns)


def _rounded(typed: Sequence[RequestGroup], of: Sequence[RequestGroup]) -> Iterator[Note]:
    """Return a note with the rounded time limit, if Slurm rounds it."""
    if rounded := [now for was, now in zip(typed, of, strict=True) if was != now]:
        time = request_range(rounded)["time"]
        yield Note("time-rounded", f"Slurm rounds up to whole minutes: {time}", {"time": time})


def _warnings(
    record: RunRecord, table: SliceTable, engine: Engine, limits: TaskLimits | None
) -> Iterator[Note]:
    """Return a note on each request that is allowed but probably a mistake."""
    if limits and limits.at_once == 0:
        yield Note(
            "no-task-can-run",
            f"no task can run now ({limits.why}); see `slurmslice doctor`",
        )
    elif _unlimited(record):
        yield Note("no-time-limit", "--time=0 means no limit: a slice that hangs runs forever")
    if limits and limits.note:
        yield Note("engine-note", limits.note)
    fits = _fits(record, limits)
    if record.throttle and fits and record.throttle > fits and not engine.runs_in_process:
        yield Note(
            "throttle-above-fit",
            f"the throttle is {record.throttle}, but only {fits} slices can run at once",
            {"throttle": record.throttle, "fit": fits},
        )
    if record.packing.pack > 1 and _NAMES_SLICE.search(record.setup):
        yield Note(
            "setup-names-slice",
            "$SLICE is not set in the setup: with --pack the setup runs once per task",
        )
    yield from _command_warnings(record, table)


def _command_warnings(record: RunRecord, table: SliceTable) -> Iterator[Note]:
    """Return a note on each part of the command that is probably a mistake."""
    texts = list(run_texts(record, table))
    files = list(named_files(texts, first_command(record, table)))
    yield from job_script_notes(record, texts, files)
    if isinstance(record.command, ShellText):
        if "SLICE" not in record.command.text and not find_mention("", record.command.text):
            yield Note(
                "same-command",
                "the command has no $SLICE, so it is the same for every slice (use single quotes)",
            )
        else:
            yield from braces_in_shell(record.command, table.columns)
        return
    yield from code_notes(record.command)
    yield from odd_word_notes(record.command)
    words = record.command.words
    mentions = any(find_mention(*one) for one in (*texts, *files))
    if not command_placeholders(record.command) and not mentions:
        yield Note(
            "same-command",
            "the command has no {}, so it is the same for every slice; only its variables differ "
            "($SLICE, SLURM_ARRAY_TASK_ID)",
        )
    if "{" not in words[0]:
        yield from _check_program(words[0], record.work_dir)
    script = interpreter_script(words) or ""
    if _SCRIPT.fullmatch(script) and not os.path.exists(os.path.join(record.work_dir, script)):
        yield Note("program-not-found", f"{quote(script)} is not found here", {"path": script})


_NAMES_SLICE = re.compile(r"\$\{?[#!]?SLICE(?![A-Za-z0-9])")
"""``$SLICE`` or one of its columns, ``$SLICE_MASS``."""

_SCRIPT = re.compile(r"[^\s{]+\.(py|jl|pl|rb|sh|bash|zsh|m?js|jar|[Rr])")
"""A file name of a script. Modules and inline code do not match."""


def _check_program(program: str, work_dir: str) -> Iterator[Note]:
    """Return a note if bash could not start the program here. The nodes may have another one."""
    path, shown, fields = os.path.join(work_dir, program), quote(program), {"path": program}
    if not os.path.dirname(program):
        if not shutil.which(program):
            here = f"; {quote(f'./{program}')} is" if os.path.isfile(path) else ""
            message = f"{shown} is not found on PATH here{here}"
            yield Note("program-not-on-path", message, fields)
    elif not os.path.exists(path):
        yield Note("program-not-found", f"{shown} is not found here", fields)
    elif os.path.isdir(path):
        yield Note("program-is-folder", f"{shown} is a folder here", fields)
    elif not os.access(path, os.X_OK):
        yield Note(
            "program-not-executable",
            f"{shown} is not executable here: chmod +x {shown}, or type its interpreter before it",
            fields,
        )


def _unlimited(record: RunRecord) -> bool:
    return "time" in record.first_request and record.first_request.time_s is None


def _limits(engine: Engine, of: Sequence[RequestGroup]) -> tuple[TaskLimits | None, int | None]:
    """Return the limits of the group with most tasks at once, and the fewest tasks of a group.

    If groups use different partitions, the total number of tasks at once is unknown.

    Returns:
        the limits, None if the engine did not answer; and the fewest tasks, None if unknown.
    """
    asked = [group.request.verify() for group in of]
    try:
        found = [engine.limits(request) for request in asked]
    except NoAnswerError:
        return None, None
    most = max(found, key=lambda limits: (_or_all(limits.at_once), not limits.impossible_reason))
    if most.at_once and len({request.partition for request in asked}) > 1:
        return replace(most, at_once=None, why=""), None
    return most, min((limits.at_once for limits in found), key=_or_all)


def _or_all(at_once: int | None) -> float:
    return math.inf if at_once is None else at_once


def _tasks_at_once(
    record: RunRecord, of: Sequence[RequestGroup], fits: int | None, *, exactly: bool
) -> int | None:
    """Return the number of array tasks that can run at once; None if it is not known.

    Args:
        record: the run.
        of: its groups.
        fits: the number of tasks that fit; None if not known.
        exactly: use the throttle, even if fewer tasks fit.
    """
    throttle = throttle_in_tasks(record.throttle, record.packing.at_once)
    if throttle is not None and exactly:
        fits = None  # the throttle %8 gives eight, even if fewer CPUs are free now
    known = [number for number in (throttle, fits) if number is not None]
    return min(*known, sum(group.tasks for group in of)) if known else None


def _fits(record: RunRecord, limits: TaskLimits | None) -> int | None:
    """Return how many slices can run at once; None if unknown."""
    if limits is None or limits.at_once is None:
        return None
    return limits.at_once * record.packing.at_once


def _describe_at_once(at_once: int | None) -> str:
    if at_once == 0:
        return "none at once"
    return "as many at once as fit" if at_once is None else f"at most {at_once} at once"


def _request(record: RunRecord) -> ResourceRequest:
    shown = record.first_request.without({"mail-user"} if record.mail else ())
    return shown.filled_in(record.per_slice)


def _request_groups(record: RunRecord, of: Sequence[RequestGroup]) -> Iterator[Note]:
    """Return a note on each group of slices with the same request, if requests differ."""
    for group in of if record.per_slice else ():
        own = group.options.only(record.per_slice)
        message = f"{count_text(group.slices)}: {_asked_for(own)}"
        yield Note("request-group", message, {"slices": group.slices, "options": dict(own)})


def _asked_for(request: ResourceRequest, unit: str = "") -> str:
    per = f" per {unit}" if unit else ""
    return f"{request}{per}" if request else "defaults"


def _packing(record: RunRecord, of: Sequence[RequestGroup]) -> Note | None:
    """Return a note on the array tasks of a packed run; None if each task runs one slice."""
    if record.packing.pack == 1:
        return None
    packing, slices = record.packing, sum(group.slices for group in of)
    tasks = sum(group.tasks for group in of)
    alike = " with the same request" if len(of) > 1 else ""
    rounds = f", {packing.at_once} at a time" if packing.at_once > 1 else ""
    cut = record.pack not in {None, "auto"} and packing.pack < min(int(record.pack or 1), slices)
    why = " (more do not fit into the partition's time limit)" if cut else ""
    carried = f"{'up to ' if alike else ''}{count_text(packing.pack)}{alike}"
    return Note(
        "packing",
        f"{count_text(tasks, 'array task')} of {carried}{rounds}{why}; "
        f"{_asked_for(request_range(of), 'task')}",
        {"tasks": tasks, "pack": packing.pack, "at_once": packing.at_once, "cut": cut,
         "options": dict(request_range(of))},
    )  # fmt: skip


def _not_packed(record: RunRecord, new: RunInputs, limits: TaskLimits | None) -> Note | None:
    """Return a note on the reason why ``--pack`` packs nothing; None if it was not given."""
    if record.pack in {None, "1"} or record.slices == 1:
        return None
    if new.spec.packing.pack == 1:
        return Note("not-packed-long-slice", "none: one slice takes as long as a task should")
    if limits and fit_time_limit(new.spec.packing, limits.max_time_s).pack == 1:
        return Note(
            "not-packed-time-limit", "none: two slices do not fit into the partition's time limit"
        )
    return Note(
        "not-packed-room-for-all",
        "none: all slices can run at once, each in its own task",
    )


def print_accepted(run: Run, accepted: list[AcceptedSubmission]) -> None:
    """Print each submission that was made, with its changes and notes."""
    for one in accepted:
        keys = key_ranges([run.table.keys[row] for row in one.planned.batch.rows])
        changed = str(one.planned.batch.changes)
        emit_note(
            "submitted",
            f"Submitted {count_text(len(one.planned.batch.rows))} ({keys})"
            f"{' with ' + changed if changed else ''}: job {one.job}, "
            f"submission {one.planned.number:03d}.",
            slices=len(one.planned.batch.rows), keys=keys, changes=dict(one.planned.batch.changes),
            job=one.job, submission=one.planned.number,
        )  # fmt: skip
        for found in one.notes:
            print_note(found, "  ")
        if one.short_of_memory:
            keys = key_ranges([run.table.keys[row] for row in one.short_of_memory])
            emit_note(
                "memory-not-raised",
                f"  {keys} exceeded their memory before, and request as much again. If they fail: "
                f"slurmslice resubmit {quote(run.record.name)} --mem 2x",
                keys=keys,
            )


def note_how_to_return(run: Run) -> None:
    """Print the commands that show, follow and cancel the run."""
    name = run.record.name
    emit_note("how-to-return", f"slurmslice status {name} · watch {name} · cancel {name}")


def relative_path(path: Path) -> str:
    """Return a path relative to this folder if it is inside; it never looks like an option."""
    try:
        short = str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
    return f"./{short}" if short.startswith("-") else short
