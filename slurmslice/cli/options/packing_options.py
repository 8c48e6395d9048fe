"""``--pack``, ``--at-once`` and ``--slice-time``: the number of slices in an array task."""

from __future__ import annotations

import statistics
from itertools import islice

from slurmslice.cli.options import locate_run
from slurmslice.cli.output.console import emit_note
from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.run.directory import RunDirectory
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_time, parse_digits, parse_duration, parse_time
from slurmslice.spec.command import Command
from slurmslice.spec.packing import Packing, automatic_pack
from slurmslice.spec.per_slice_options import has_column_names
from slurmslice.spec.run_spec import RunRecord, command_with_placeholders
from slurmslice.status.states import State

_SAMPLE = 1000
_SHORTEST_S = 0.5
"""Assumed seconds of a slice that took 0 s. Slurm counts whole seconds."""


def parse_packing(
    pack: str | None,
    at_once: int,
    slice_time: str | None,
    request: ResourceRequest,
    command: Command,
    slices: int,
) -> Packing:
    """Return the packing that the options ask for.

    Raises:
        BadInputError: ``--pack`` is no number, or ``auto`` and the duration of a slice is unknown.
    """
    limit = request.get("time")
    if pack and limit and has_column_names(limit):
        raise BadInputError(
            f"--time={limit} differs between slices, but --pack runs several in one task.",
            "Give the same --time to every slice, or leave out --pack.",
            code="varying-time",
            option="time",
            value=limit,
        )
    seconds = parse_time(limit) if limit and pack else None
    if pack == "auto":
        return Packing(
            automatic_pack(_slice_seconds(slice_time, command), at_once, slices), at_once, seconds
        )
    if slice_time is not None:
        raise BadInputError(
            "--slice-time needs --pack auto.",
            "For the time limit of a slice: --time",
            code="option-needs-another",
            option="slice-time",
            needs="pack",
        )
    number = parse_digits("1" if pack is None else pack)
    if not number:
        raise BadInputError(
            f"--pack {pack!r} is not a number from 1 up.",
            "Give such a number, or: --pack auto",
            code="bad-number",
            option="pack",
            value=pack,
        )
    return Packing(min(number, slices), at_once, seconds)


def _slice_seconds(slice_time: str | None, command: Command) -> float:
    """Return the duration of a slice in seconds.

    Raises:
        BadInputError: it is not known, or ``--slice-time`` is not a time.
    """
    if slice_time is not None:
        try:
            return parse_duration(slice_time)
        except BadInputError as why:
            raise why.inside("--slice-time", option="slice-time") from why
    found = (_median_seconds(directory) for directory in _earlier_runs(command))
    measured = next((seconds for seconds in found if seconds is not None), None)
    if measured is None:
        raise BadInputError(
            "--pack auto does not know the duration of a slice: no earlier run of this command has "
            "a completed slice.",
            "Give --slice-time, or run a few slices first: -a 0-4",
            code="unknown-slice-time",
            option="pack",
        )
    time = format_time(round(measured)) if measured >= 1 else f"{measured:.2f} s"
    emit_note("slice-time", f"A slice took {time} in an earlier run.", seconds=measured)
    return measured


def _earlier_runs(command: Command) -> list[RunDirectory]:
    """Return the runs of the same command here, newest first."""
    template = command_with_placeholders(command)
    found = []
    for path in locate_run.runs_here():
        directory = RunDirectory(path)
        try:
            same = command_with_placeholders(directory.read_record().command) == template
        except SlurmsliceError:
            continue
        if same:
            found.append(directory)
    return found


def _median_seconds(directory: RunDirectory) -> float | None:
    """Return the median duration of completed slices in seconds; None if there is none."""
    from slurmslice.run.journal_state import replay_events
    from slurmslice.run.statuses import StatusTable

    record: RunRecord = directory.read_record()
    statuses = StatusTable(replay_events(directory.events(), record.slices, record.done_rows))
    statuses.read(directory.read_states(0)[0])
    done = islice(statuses.rows_in({State.COMPLETED}), _SAMPLE)
    times = [statuses[row].elapsed_s for row in done]
    known = [seconds for seconds in times if seconds is not None]
    return max(statistics.median(known), _SHORTEST_S) if known else None
