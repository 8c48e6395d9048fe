"""An existing run that ``run`` continues: what may be typed for it, and what it submits first."""

from __future__ import annotations

from collections.abc import Sequence

import click

from slurmslice.actions.after_run import NO_RUN, wait_no_longer
from slurmslice.actions.canary import end_canary
from slurmslice.actions.change_waiting import change_waiting
from slurmslice.actions.open_run import open_run
from slurmslice.actions.submit import choose_waiting, find_requeued_before
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.command_words import guess_mistake
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.new_run_options import first_typed
from slurmslice.cli.options.parameters import is_typed
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.submissions import checked_plan, nothing_to_change
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Plan
from slurmslice.reports.counts import count_text
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.slices.keys import are_all_canonical
from slurmslice.spec.canary import NO_CANARY
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote, quote_words

_MOST_TEXT = 300
"""Characters of keys in a command to type."""


def open_existing_run(run_name: str, options: NewRunOptions, *, read_only: bool) -> Run:
    """Open the run that was named.

    Raises:
        BadInputError: there is no such run, or a typed option describes a new one.
    """
    given = first_typed(options)
    if given and not locate_run.is_run_name(run_name):
        raise BadInputError(
            f"There is no run {run_name!r} here, and {given} describes a new run.",
            guess_mistake(click.get_current_context()),
            code="no-such-run",
            run=run_name,
        )
    if given:
        to_change = f"\nTo change its throttle: slurmslice throttle {quote(run_name)} N"
        raise BadInputError(
            f"{run_name!r} is an existing run, but {given} describes a new run.",
            "For a new run: slurmslice run --name NAME … -- COMMAND\n"
            f"To continue {run_name}: slurmslice run {quote(run_name)}"
            + (to_change if given == "--throttle" else ""),
            code="run-and-new-run",
            run=run_name,
        )
    directory = locate_run.find_run(run_name, changing=True)
    return open_run(directory, changing=True, read_only=read_only)


def plan_waiting(run: Run, changes: ResourceRequest) -> Plan:
    """Plan the submission of the waiting slices of an existing run."""
    if is_typed("same_code"):
        run.same_code = click.get_current_context().params["same_code"]
    if changes:
        _check_waiting(run, changes)
    if run.directory.read_only:
        refresh(run)
        find_requeued_before(run, choose_waiting(None), "run")
    return checked_plan(run, choose_waiting(None), changes)


def _check_waiting(run: Run, changes: ResourceRequest) -> None:
    """Change what waits in the queue, and say which slices keep their request.

    Raises:
        BadInputError: no slice waits, so the options would change nothing.
    """
    refresh(run)
    options = str(changes)
    found = change_waiting(run, changes)
    for note in found.notes:
        print_note(note)
    again = _cancel_and_resubmit(run, found.left, options)
    if not (found.changed or run.statuses.state_counts().get(State.WAITING)):
        queued = f"\nFor slices in the queue ({found.reason}): {again}" if found.left else ""
        raise nothing_to_change(run, options, queued)
    if found.left:
        emit_note(
            "already-queued",
            f"{count_text(len(found.left))} in the queue already: {options} does not change them, "
            f"because {found.reason}. To change them too: {again}",
            slices=len(found.left), reason=found.reason, command=again,
        )  # fmt: skip


def _cancel_and_resubmit(run: Run, rows: Sequence[int], options: str) -> str:
    """Return the two commands that change the request of rows in the queue."""
    keys = run.table.keys.of(rows)
    words = [str(compress_indices(map(int, keys)))] if are_all_canonical(keys) else keys
    named = quote_words(("--", *words)) if sum(map(len, words)) < _MOST_TEXT else "-- KEYS"
    name = quote(run.record.name)
    cancel = f"slurmslice cancel {name} {named}"
    return f"{cancel}, then slurmslice resubmit {name} --state CANCELLED {options} {named}"


def go_on_without_canary(run: Run, options: NewRunOptions) -> None:
    """If ``--canary none`` was typed, let the other slices of an existing run be submitted.

    Raises:
        BadInputError: another canary was typed: it is chosen when the run is made.
    """
    if not is_typed("canary") or options.canary == run.record.canary:
        return
    if options.canary != NO_CANARY:
        raise BadInputError(
            f"The canary of {run.record.name} was chosen when the run was made: "
            f"{run.record.canary or 'none'}.",
            f"To go on without it: slurmslice run {quote(run.record.name)} --canary none",
            code="canary-is-chosen",
            option="canary",
            canary=run.record.canary,
        )
    end_canary(run)


def go_on_without_other(run: Run, options: NewRunOptions) -> None:
    """If ``--after none`` was typed, let an existing run wait for no other one.

    Raises:
        BadInputError: another run was typed: it is chosen when the run is made.
    """
    if not is_typed("after"):
        return
    if options.after != NO_RUN:
        raise BadInputError(
            f"The run that {run.record.name} waits for was chosen when it was made: "
            f"{run.record.after or 'none'}.",
            f"To go on without it: slurmslice run {quote(run.record.name)} --after none",
            code="after-is-chosen",
            option="after",
            after=run.record.after,
        )
    if not run.directory.read_only:
        wait_no_longer(run, "a person decided that")
