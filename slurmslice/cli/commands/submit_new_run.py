"""``submit`` with a line that describes a new run: create it, submit it, and end."""

from __future__ import annotations

from collections.abc import Sequence

import click

from slurmslice.actions.submit import choose_waiting, find_requeued_before
from slurmslice.actions.unattended_way import Unattended
from slurmslice.cli.commands.new_run import open_new_run
from slurmslice.cli.commands.policy_changes import (
    record_cancel_rest,
    record_repair,
    refuse_contradiction,
)
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.command_words import WordsCommand
from slurmslice.cli.options.common import dry_run_option, split_at_dashes
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.new_run_options import EPILOG, describes_new_run, new_run_options
from slurmslice.cli.options.policy_options import max_attempts_option
from slurmslice.cli.options.sbatch_options import mark_optional_values
from slurmslice.cli.options.steward_options import steward_options
from slurmslice.cli.options.submit_options import only_option, parsable_option
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.submissions import (
    checked_plan,
    job_ids_printed,
    nothing_waits,
    show_plan,
    submit_or_show,
)
from slurmslice.cli.output.unattended import note_steward_planned, start_unattended
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.canary import choose_slices


@click.command(cls=WordsCommand, epilog=EPILOG)
@new_run_options
@dry_run_option
@max_attempts_option
@only_option
@parsable_option
@steward_options
def command(
    options: NewRunOptions,
    dry_run: bool,
    max_attempts: int | None,
    only: str | None,
    parsable: bool,
    unattended: Unattended | None,
) -> int:
    """Create a run, submit its slices, and end. All options are those of `run`.

    Type the command for each slice after --. `{}` in it is the key of the slice.
    """
    refuse_contradiction(options, max_attempts)
    opened = open_new_run(options, max_attempts, unattended, dry_run=dry_run)
    if opened is None:
        if unattended:
            note_steward_planned(None, unattended)
        return 0
    run, _ = opened
    record_repair(run, options, max_attempts)
    record_cancel_rest(run, options)
    with job_ids_printed(run, wanted=parsable):
        if unattended:
            return submit_unattended(run, NO_REQUEST, unattended)
        rows = None if only is None else choose_slices(only, run.table, "only")
        return submit_or_show(
            run, choose_waiting(rows), NO_REQUEST, verb="submit",
            again=lambda changed: (*(("--only", only) if only else ()), *changed),
            nothing=nothing_waits,
        )  # fmt: skip


def is_described(args: Sequence[str]) -> bool:
    """Tell if a line of ``submit`` describes a new run, and names no existing one.

    Args:
        args: the typed words after the verb.
    """
    typed, _, words = split_at_dashes(args)
    ctx = click.Context(command)  # of its own: contexts share what they know with their parents
    try:
        marked = mark_optional_values(command.get_params(ctx), typed)
        _, loose, order = command.make_parser(ctx).parse_args(marked)
    except click.UsageError:  # the command that parses the line explains it
        return bool(words)
    if loose and locate_run.is_run_name(loose[0]):
        return False
    names = (str(param.name) for param in order)
    return bool(words) or any(describes_new_run(name) and name != "name" for name in names)


def submit_unattended(run: Run, changes: ResourceRequest, unattended: Unattended) -> int:
    """Submit what fits, and see to a steward; a run that is only read shows both."""
    refresh(run)
    find_requeued_before(run, choose_waiting(None), "submit")
    plan = checked_plan(run, choose_waiting(None), changes)
    if not run.directory.read_only:
        return start_unattended(run, plan, unattended)
    code = show_plan(run, plan, nothing_waits)
    note_steward_planned(run, unattended)
    return code
