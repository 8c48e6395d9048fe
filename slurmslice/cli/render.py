"""``slurmslice render``."""

from __future__ import annotations

import os

import click

from slurmslice.asked import Asked
from slurmslice.cli import places
from slurmslice.cli.asking import EPILOG, Asking, asking, made, there_already
from slurmslice.cli.console import data, say
from slurmslice.cli.engine import choose
from slurmslice.cli.preview import announce, relative
from slurmslice.cli.shared import WordsCommand, dry_run_option
from slurmslice.command import quote
from slurmslice.errors import BadInput
from slurmslice.ranges import parse_array
from slurmslice.reports.counts import count, key_ranges
from slurmslice.rundir import RunDirectory
from slurmslice.slices import SliceTable
from slurmslice.verbs.create import check_name, default_name, describe, render


@click.command(cls=WordsCommand, epilog=EPILOG)
@asking
@dry_run_option
@click.option("--print", "print_", is_flag=True, help="The script on stdout; make nothing.")
@click.option("--whole", is_flag=True, help="With --print: slurmslice.sh as part of the script.")
def command(asking: Asking, dry_run: bool, print_: bool, whole: bool) -> None:
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
    wanted = asking.wanted(max_attempts=1)
    path = places.new_run(check_name(wanted.name or default_name(wanted.command)), asking.run_dir)
    engine = choose(asking.engine, path)
    asked, silence = describe(wanted, engine)
    same, replaced = (None, None) if print_ else there_already(path, asked, engine)
    if same:
        raise BadInput(
            f"{relative(path)} is there already, and just this was asked of it.",
            f"`slurmslice submit {path.name}` submits it.",
        )
    text = render(asked, wanted, path, with_library=whole)
    if print_:
        data((text.encode("utf-8", "surrogateescape"),))
        return
    announce(asked, wanted, engine)
    if silence:
        say(f"Slurm could not be asked about its limits: {silence}")
    if dry_run:
        say(f"Nothing was made: --dry-run. It would be {relative(path)}.")
        return
    place = made(asked, wanted, path, replaced)
    _what_next(place, asked, wanted.table)


def _what_next(place: RunDirectory, asked: Asked, table: SliceTable) -> None:
    """What to read, how to try a few, how to submit all, and the same by hand."""
    data((os.fsencode(relative(place.path)) + b"\n",))
    say("Read, and edit if you like:")
    say(f"  {relative(place.script)}")
    say("Read:")
    say(f"  {relative(place.slices)}   (the slices)")
    if not asked.direct:
        say(f"  {relative(place.task_table(1))}   (which slice each array index carries)")
    say(f"Try the first two:  slurmslice submit {asked.name} --only 2")
    say(f"Submit all:         slurmslice submit {asked.name}")
    first = table.keys.of(parse_array(asked.first).indices)
    by_hand = f"sbatch {quote(relative(place.script))}"
    if len(first) == asked.slices:
        say(f"The same by hand:   {by_hand}")
    else:
        say(f"A part by hand:     {by_hand}   ({count(len(first))}: {key_ranges(first)})")
