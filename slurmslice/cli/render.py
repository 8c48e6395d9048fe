"""``slurmslice render``."""

from __future__ import annotations

import os

import click

from slurmslice.cli import places
from slurmslice.cli.asking import EPILOG, NewRunOptions, made, new_run_options, there_already
from slurmslice.cli.console import data, note, say
from slurmslice.cli.engine import choose
from slurmslice.cli.preview import announce, relative
from slurmslice.cli.shared import WordsCommand, dry_run_option
from slurmslice.command import quote
from slurmslice.errors import BadInput
from slurmslice.ranges import parse_array
from slurmslice.reports.counts import count, key_ranges
from slurmslice.run_spec import RunRecord
from slurmslice.rundir import RunDirectory
from slurmslice.slices import SliceTable
from slurmslice.verbs.create import describe, render


@click.command(cls=WordsCommand, epilog=EPILOG)
@new_run_options
@dry_run_option
@click.option("--print", "print_", is_flag=True, help="The script on stdout; make nothing.")
@click.option("--whole", is_flag=True, help="With --print: slurmslice.sh as part of the script.")
def command(options: NewRunOptions, dry_run: bool, print_: bool, whole: bool) -> None:
    """Make a run directory to review; submit nothing.

    The command comes after --: `{}` in it is the slice's key.
    """
    if whole and not print_:
        raise BadInput(
            "--whole is for --print: a run keeps slurmslice.sh beside its script.",
            "Give both, or leave out --whole.",
            code="whole-without-print",
            option="whole",
        )
    new = options.read(max_attempts=None)
    path = places.new_run(new.spec.name, options.run_dir)
    engine = choose(options.engine, path)
    record, silence = describe(new, engine)
    same, replaced = (None, None) if print_ else there_already(path, record, engine)
    if same:
        raise BadInput(
            f"{relative(path)} is there already, and just this was asked of it.",
            f"`slurmslice submit {path.name}` submits it.",
            code="run-exists",
            run=path.name,
        )
    text = render(record, new, path, with_library=whole)
    if print_:
        data((text.encode("utf-8", "surrogateescape"),))
        return
    announce(record, new, engine)
    if silence:
        note("limits-unknown", f"Slurm could not be asked about its limits: {silence}")
    if dry_run:
        message = f"Nothing was made: --dry-run. It would be {relative(path)}."
        note("run-not-created", message, path=path)
        return
    place = made(record, new, path, replaced)
    _what_next(place, record, new.table)


def _what_next(place: RunDirectory, record: RunRecord, table: SliceTable) -> None:
    """What to read, how to try a few, how to submit all, and the same by hand."""
    data((os.fsencode(relative(place.path)) + b"\n",))
    say("Read, and edit if you like:")
    say(f"  {relative(place.script)}")
    say("Read:")
    say(f"  {relative(place.slices)}   (the slices)")
    if not record.direct:
        say(f"  {relative(place.task_table(1))}   (which slice each array index carries)")
    say(f"Try the first two:  slurmslice submit {record.name} --only 2")
    say(f"Submit all:         slurmslice submit {record.name}")
    first = table.keys.of(parse_array(record.first).indices)
    by_hand = f"sbatch {quote(relative(place.script))}"
    if len(first) == record.slices:
        say(f"The same by hand:   {by_hand}")
    else:
        say(f"A part by hand:     {by_hand}   ({count(len(first))}: {key_ranges(first)})")
