"""``--pack``, ``--at-once`` and ``--slice-time``: how many slices an array task carries."""

from __future__ import annotations

import statistics
from itertools import islice

from slurmslice.cli import places
from slurmslice.cli.console import note
from slurmslice.command import Command
from slurmslice.errors import BadInput, SlurmsliceError
from slurmslice.packing import Packing, automatic
from slurmslice.requests import names_columns
from slurmslice.resources import ResourceRequest
from slurmslice.run_spec import RunRecord, show_template
from slurmslice.rundir import RunDirectory
from slurmslice.states import State
from slurmslice.units import format_time, parse_time

_SAMPLE = 1000
_SHORTEST_S = 0.5
"""What counts for a slice that took 0 s: Slurm counts whole seconds."""


def packing_of(
    pack: str | None,
    at_once: int,
    slice_time: str | None,
    request: ResourceRequest,
    command: Command,
    slices: int,
) -> Packing:
    """How array tasks are to carry slices.

    Raises:
        BadInput: ``--pack`` is no number, or ``auto`` where nothing tells how long a slice takes.
    """
    limit = request.get("time")
    if pack and limit and names_columns(limit):
        raise BadInput(
            f"--time={limit} differs between slices, and --pack puts several into one task.",
            "Give one --time that holds for every slice, or leave out --pack.",
            code="varying-time",
            option="time",
            value=limit,
        )
    seconds = parse_time(limit) if limit and pack else None
    if pack == "auto":
        return Packing(automatic(_taken(slice_time, command), at_once, slices), at_once, seconds)
    if slice_time is not None:
        raise BadInput(
            "--slice-time is for --pack auto.",
            "The limit of a slice is --time.",
            code="option-needs-another",
            option="slice-time",
            needs="pack",
        )
    if pack is not None and not (pack.isascii() and pack.isdecimal() and int(pack)):
        raise BadInput(
            f"--pack {pack!r} is no number of slices from 1 up.",
            "Or say --pack auto.",
            code="bad-number",
            option="pack",
            value=pack,
        )
    return Packing(min(int(pack or 1), slices), at_once, seconds)


def _taken(slice_time: str | None, command: Command) -> float:
    """How long a slice takes, seconds."""
    if slice_time is not None:
        seconds = parse_time(slice_time)
        if seconds is None:
            raise BadInput(
                f"--slice-time {slice_time!r} is no time.",
                "Write it as --time is.",
                code="bad-time",
                option="slice-time",
                value=slice_time,
            )
        return seconds
    found = (_measured(place) for place in _earlier(command))
    measured = next((seconds for seconds in found if seconds is not None), None)
    if measured is None:
        raise BadInput(
            "--pack auto does not know how long a slice takes: there is no earlier run of this "
            "command with a slice that is done.",
            "Say it with --slice-time, or try a few slices first: -a 0-4.",
            code="unknown-slice-time",
            option="pack",
        )
    time = format_time(round(measured)) if measured >= 1 else f"{measured:.2f} s"
    note("slice-time", f"A slice took {time} in an earlier run.", seconds=measured)
    return measured


def _earlier(command: Command) -> list[RunDirectory]:
    """The runs here that did the same to other slices, the newest first."""
    template = show_template(command)
    found = []
    for path in places.here():
        place = RunDirectory(path)
        try:
            same = show_template(place.record().command) == template
        except SlurmsliceError:
            continue
        if same:
            found.append(place)
    return found


def _measured(place: RunDirectory) -> float | None:
    """The median time of slices that are done, seconds; None where there is none."""
    from slurmslice.ledger import replay
    from slurmslice.sightings import Standings

    record: RunRecord = place.record()
    standings = Standings(replay(place.events(), record.slices))
    standings.read(place.read_states(0)[0])
    done = islice(standings.rows_in({State.COMPLETED}), _SAMPLE)
    times = [standings[row].elapsed_s for row in done]
    known = [seconds for seconds in times if seconds is not None]
    return max(statistics.median(known), _SHORTEST_S) if known else None
