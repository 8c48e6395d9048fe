"""The verb ``render``: create a run without submitting it."""

from __future__ import annotations

import os
from dataclasses import replace

import click

from slurmslice.actions.create import RunInputs, make_record, render_run_script
from slurmslice.actions.open_run import choose_engine
from slurmslice.cli.commands.new_run import create_or_replace_run, find_existing
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.command_words import WordsCommand
from slurmslice.cli.options.common import dry_run_option
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.new_run_options import EPILOG, new_run_options
from slurmslice.cli.output.console import emit_note, print_message, write_data
from slurmslice.cli.output.preview import relative_path, show_preview
from slurmslice.cli.output.preview_rules import note_all_done
from slurmslice.errors import BadInputError
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.run.directory import RunDirectory
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.spec.command import Command
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system.files import read_file
from slurmslice.system.shell_quoting import quote, quote_words


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
        raise BadInputError(
            "--whole needs --print. A run directory always has slurmslice.sh in a file of its own.",
            "Give both, or leave out --whole.",
            code="whole-without-print",
            option="whole",
        )
    make_run(options, options.read(max_attempts=None), dry_run=dry_run, print_=print_, whole=whole)


def make_run(
    options: NewRunOptions,
    new: RunInputs,
    *,
    shown: Command | None = None,
    dry_run: bool,
    print_: bool = False,
    whole: bool = False,
) -> None:
    """Create a run directory, and say what to type next.

    Args:
        options: the options of the run.
        new: its inputs.
        shown: the command for the preview, if the run's own names files that are not there yet.
        dry_run: create nothing.
        print_: print the script and create nothing.
        whole: print it with the library.
    """
    path = locate_run.new_run_path(new.spec.name, options.run_dir)
    engine = choose_engine(options.engine, path)
    record, silence = make_record(new, engine)
    same, replaced = (None, None) if print_ else find_existing(path, record, new, engine)
    if same:
        _refuse_other_files(same, new)
        raise BadInputError(
            f"This very run exists already in {relative_path(path)}.",
            f"To submit it: slurmslice submit {path.name}",
            code="run-exists",
            run=path.name,
        )
    if note_all_done(new):
        return
    text = render_run_script(record, new, path, with_library=whole)
    if print_:
        write_data((text.encode("utf-8", "surrogateescape"),))
        return
    show_preview(replace(record, command=shown) if shown else record, new, engine)
    if silence:
        emit_note("limits-unknown", f"Slurm did not tell its limits: {silence}")
    if dry_run:
        message = f"--dry-run: no run was created. It would be {relative_path(path)}."
        emit_note("run-not-created", message, path=path)
        return
    directory = create_or_replace_run(record, new, path, replaced)
    _show_next_steps(directory, record, new, by_sbatch=engine.may_be_submitted_by_hand)


def _refuse_other_files(same: RunDirectory, new: RunInputs) -> None:
    """Refuse to take a run for the existing one if a script that it copies has changed.

    Raises:
        BadInputError: a file of the existing run differs.
    """
    for name, data in new.files.items():
        if read_file(same.path / name) != data:
            copy = relative_path(same.path / name)
            raise BadInputError(
                f"The run {same.path.name} exists already, with another text in {copy}.",
                f"To make a new run:  --name {same.path.name}-2\nTo go on with it:    edit {copy}",
                code="run-differs",
                run=same.path.name,
                differences=(copy,),
            )


def _show_next_steps(
    directory: RunDirectory, record: RunRecord, new: RunInputs, *, by_sbatch: bool
) -> None:
    """Print the run directory, the files to read, and the commands that submit the run."""
    write_data((os.fsencode(relative_path(directory.path)) + b"\n",))
    print_message("Read, and edit if necessary:")
    print_message(f"  {relative_path(directory.script)}")
    for name in new.files:
        print_message(f"  {relative_path(directory.path / name)}")
    print_message("Read:")
    print_message(f"  {relative_path(directory.slices)}   (the slices)")
    if not record.direct:
        print_message(
            f"  {relative_path(directory.task_table_path(1))}   (the slice of each array index)"
        )
    print_message(f"Try the first two:  slurmslice submit {record.name} --only 2")
    print_message(f"Submit all:         slurmslice submit {record.name}")
    first = new.table.keys.of(parse_array(record.first).indices)
    script = relative_path(directory.script)
    by_hand = quote_words(("sbatch", *record.first_options.to_argv(), script))
    if not by_sbatch:
        index, what = (first[0], "slice") if record.direct else ("0", "task")
        label = f"One {what} by hand:"
        print_message(f"{label:20}SLURM_ARRAY_TASK_ID={index} bash {quote(script)}")
    elif len(first) == record.slices:
        print_message(f"Or by hand:         {by_hand}")
    else:
        print_message(
            f"Part of it by hand: {by_hand}   ({count_text(len(first))}: {key_ranges(first)})"
        )
