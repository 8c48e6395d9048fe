"""The verb ``render``: create a run without submitting it."""

from __future__ import annotations

import os

import click

from slurmslice.cli import places
from slurmslice.cli.asking import EPILOG, NewRunOptions, new_run_options
from slurmslice.cli.command_words import WordsCommand
from slurmslice.cli.console import data, note, say
from slurmslice.cli.engine import choose
from slurmslice.cli.new_run import create_run, find_existing
from slurmslice.cli.preview import relative, show_preview
from slurmslice.cli.shared import dry_run_option
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
@click.option("--print", "print_", is_flag=True, help="Print the script and create nothing.")
@click.option("--whole", is_flag=True, help="With --print: include slurmslice.sh in the script.")
def command(options: NewRunOptions, dry_run: bool, print_: bool, whole: bool) -> None:
    """Create a run directory to review, and submit nothing.

    Type the command for each slice after --. `{}` in it is the key of the slice.
    """
    if whole and not print_:
        raise BadInput(
            "--whole needs --print. A run directory always has slurmslice.sh in a file of its own.",
            "Give both, or leave out --whole.",
            code="whole-without-print",
            option="whole",
        )
    new = options.read(max_attempts=None)
    path = places.new_run(new.spec.name, options.run_dir)
    engine = choose(options.engine, path)
    record, silence = describe(new, engine)
    same, replaced = (None, None) if print_ else find_existing(path, record, engine)
    if same:
        raise BadInput(
            f"This very run exists already in {relative(path)}.",
            f"To submit it: slurmslice submit {path.name}",
            code="run-exists",
            run=path.name,
        )
    text = render(record, new, path, with_library=whole)
    if print_:
        data((text.encode("utf-8", "surrogateescape"),))
        return
    show_preview(record, new, engine)
    if silence:
        note("limits-unknown", f"Slurm did not tell its limits: {silence}")
    if dry_run:
        message = f"--dry-run: no run was created. It would be {relative(path)}."
        note("run-not-created", message, path=path)
        return
    place = create_run(record, new, path, replaced)
    _show_next_steps(place, record, new.table)


def _show_next_steps(place: RunDirectory, record: RunRecord, table: SliceTable) -> None:
    """Print the run directory, the files to read, and the commands that submit the run."""
    data((os.fsencode(relative(place.path)) + b"\n",))
    say("Read, and edit if necessary:")
    say(f"  {relative(place.script)}")
    say("Read:")
    say(f"  {relative(place.slices)}   (the slices)")
    if not record.direct:
        say(f"  {relative(place.task_table(1))}   (the slice of each array index)")
    say(f"Try the first two:  slurmslice submit {record.name} --only 2")
    say(f"Submit all:         slurmslice submit {record.name}")
    first = table.keys.of(parse_array(record.first).indices)
    by_hand = f"sbatch {quote(relative(place.script))}"
    if len(first) == record.slices:
        say(f"Or by hand:         {by_hand}")
    else:
        say(f"Part of it by hand: {by_hand}   ({count(len(first))}: {key_ranges(first)})")
