"""The verb ``extend``: add what is new to a run, or close it."""

from __future__ import annotations

from typing import Any

import click

from slurmslice.actions.after_run import follow_other
from slurmslice.actions.extend import (
    Correction,
    cancel_outdated,
    change_slices,
    check_folder,
    check_same_source,
    choose_changed,
    close_run,
    find_difference,
    rows_are_computed,
)
from slurmslice.actions.follow import follow_step, tick_options
from slurmslice.actions.open_run import open_run
from slurmslice.actions.poll import poll
from slurmslice.actions.steward_round import OPEN
from slurmslice.actions.unattended_way import Unattended
from slurmslice.cli.commands.submit_new_run import submit_unattended
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import (
    ChangingCommand,
    dry_run_option,
    new_env_option,
    typed_words_and_request,
)
from slurmslice.cli.options.parameters import with_options
from slurmslice.cli.options.slice_options import SLICE_OPTIONS, any_slices_given, read_slices
from slurmslice.cli.options.task_id_mentions import refuse_growing_value
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.end_notice import tell_end
from slurmslice.cli.output.preview import print_accepted
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.submissions import submit_or_show, use_new_environment
from slurmslice.cli.output.summary import NOTHING_TO_DO, notes_on_silence
from slurmslice.cli.output.unattended import start_unattended
from slurmslice.errors import BadInputError
from slurmslice.plan.run_script import read_script
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.slices.sources.input_form import FormSlices
from slurmslice.slices.table_difference import TableDifference
from slurmslice.spec.array_variables import NUMBER_OF_SLICES, SLICE_ROW
from slurmslice.system.shell_quoting import quote

_NOTHING_GIVEN = frozenset({"no-match", "no-slices", "not-settled"})
"""The codes of a source without slices: nothing is new then."""


@click.command(cls=ChangingCommand)
@click.argument("words", nargs=-1, metavar="[RUN]")
@click.option("--close", is_flag=True, help="The run gets no more slices (`run --open`).")
@click.option(
    "--again",
    metavar="KEYS",
    multiple=True,
    help="Run these slices, which are done, again with the new values. Separate keys by commas.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Let slices that have begun or are done keep their old values.",
)
@new_env_option
@dry_run_option
def _extend(
    words: tuple[str, ...],
    close: bool,
    again: tuple[str, ...],
    keep: bool,
    new_env: bool,
    dry_run: bool,
    **values: Any,
) -> int:
    """Add the slices that are new to a run, correct changed ones, and submit them.

    Give the slice option of the run again, in the same folder. Slices of the run keep their keys
    and states. If the values of a slice were changed, its next attempt gets the new ones; if it is
    pending, it is cancelled and submitted anew. sbatch's options change the request of all these.
    The exit code is 5 if nothing is new.
    """
    after_dashes, changes = typed_words_and_request()
    _refuse_words((*words[1:], *after_dashes))
    given = _read(values) if any_slices_given(values) or not close else None
    directory = locate_run.find_run(words[0] if words else None, changing=True)
    run = open_run(directory, changing=True, read_only=dry_run)
    code = NOTHING_TO_DO
    if any_slices_given(values):
        if not dry_run:
            follow_other(run)
        if new_env:
            use_new_environment(run)
        decided = Correction(tuple(key for one in again for key in _keys(run, one)), keep)
        code = _extend_run(run, given, changes, decided)
    if close:
        return _close(run, code)
    return code


command = with_options(_extend, SLICE_OPTIONS)


def _refuse_words(words: tuple[str, ...]) -> None:
    if words:
        raise BadInputError(
            f"extend takes a run and a slice option, and no {words[0]!r}.",
            "The command of a run stays. Quote a pattern: slurmslice extend RUN --glob 'in/*'",
            code="too-many-words",
            word=words[0],
        )


def _read(values: dict[str, Any]) -> FormSlices | None:
    """Return the slices that the source has; None if it has none."""
    try:
        return read_slices(values)
    except BadInputError as why:
        if why.code not in _NOTHING_GIVEN:
            raise
        emit_note("nothing-found", why.message, reason=why.code)
        return None


def _keys(run: Run, text: str) -> list[str]:
    """Return the keys in the value of ``--again``."""
    return [text] if run.table.row_of(text) is not None else text.split(",")


def _extend_run(
    run: Run, given: FormSlices | None, changes: ResourceRequest, decided: Correction
) -> int:
    """Add and correct slices, submit them, and return the exit code."""
    refresh(run)
    if given is not None:
        check_folder(run)
        check_same_source(run, given)
        _refuse_values_that_differ(run, find_difference(run, given, decided))
        _note_difference(run, change_slices(run, given, decided))
    if outdated := cancel_outdated(run):
        _note_cancelled(run, outdated)
    if not (run.journal_state.submissions or run.journal_state.queue):
        return _note_not_submitted(run)
    if (steward := run.journal_state.steward) and steward.ended == OPEN and choose_changed(run):
        wanted = Unattended(steward.intent.way, steward.intent.options)
        return submit_unattended(run, changes, wanted)
    return submit_or_show(
        run, choose_changed, changes, verb="extend", again=lambda options: options,
        nothing=_nothing_new,
    )  # fmt: skip


def _refuse_values_that_differ(run: Run, difference: TableDifference) -> None:
    """Refuse a growth that would change a value for the command of the run.

    Raises:
        BadInputError: a text of the run uses the number of slices, or a row that is not known.
    """
    if not difference.added:
        return
    script = read_script(run).text if run.directory.script_edited else ""
    refuse_growing_value(run.record, run.table, NUMBER_OF_SLICES, script)
    if not rows_are_computed(run, difference):
        refuse_growing_value(run.record, run.table, SLICE_ROW, script)


def _note_difference(run: Run, difference: TableDifference) -> None:
    if difference.added:
        verb = "Would add" if run.directory.read_only else "Added"
        keys, number = key_ranges(list(difference.added)), len(difference.added)
        message = f"{verb} {count_text(number)} ({keys}): {len(run.table)} now."
        emit_note("slices-added", message, slices=number, keys=keys, total=len(run.table))
    if difference.changed:
        verb = "Would correct" if run.directory.read_only else "Corrected"
        rows = sorted(difference.changed)
        keys = key_ranges(run.table.keys.of(rows))
        message = f"{verb} {count_text(len(rows))} ({keys})."
        emit_note("slices-corrected", message, slices=len(rows), keys=keys)


def _note_cancelled(run: Run, rows: list[int]) -> None:
    verb = "Would cancel" if run.directory.read_only else "Cancelled"
    keys = key_ranges(run.table.keys.of(rows))
    message = f"{verb} {count_text(len(rows))} ({keys}) with old values: they go in anew."
    emit_note("outdated-cancelled", message, slices=len(rows), keys=keys)


def _note_not_submitted(run: Run) -> int:
    """Say how to submit a run that was only made, and return the exit code."""
    if not choose_changed(run):
        return _nothing_new(run)
    message = (
        f"Nothing was submitted yet. To submit all: slurmslice submit {quote(run.record.name)}"
    )
    emit_note("next-step", message)
    return 0


def _nothing_new(run: Run) -> int:
    emit_note("nothing-new", f"Nothing is new for the run {run.record.name}.", run=run.record.name)
    return NOTHING_TO_DO


def _close(run: Run, code: int) -> int:
    """Close the run, and start what follows its end; return the exit code.

    Args:
        run: the run.
        code: the exit code so far; ``NOTHING_TO_DO`` if nothing was added.
    """
    dry_run = run.directory.read_only
    if not close_run(run):
        emit_note("not-open", f"The run {run.record.name} is not open.", run=run.record.name)
        return code
    verb = "Would close" if dry_run else "Closed"
    emit_note("run-closed", f"{verb} the run: it gets no more slices.", run=run.record.name)
    if not dry_run:
        _follow_end(run)
    return 0 if code == NOTHING_TO_DO else code


def _follow_end(run: Run) -> None:
    """Do one step of a closed run; on this machine, say which command does it."""
    if run.engine.runs_in_process:
        message = f"To finish it: slurmslice run {quote(run.record.name)}"
        emit_note("next-step", message)
        return
    if (steward := run.journal_state.steward) and steward.ended == OPEN:
        start_unattended(run, None, Unattended(steward.intent.way, steward.intent.options))
    else:
        polled = poll(run)
        outcome = follow_step(run, tick_options(run))
        for found in (*polled.notes, *outcome.notes, *notes_on_silence(polled)):
            print_note(found)
        print_accepted(run, outcome.accepted)
    tell_end(run)
