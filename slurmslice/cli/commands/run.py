"""The verb ``run``: create a run or continue one, and follow it to its end."""

from __future__ import annotations

import click

from slurmslice.actions.follow import FollowOptions
from slurmslice.actions.judge_nodes import include_node
from slurmslice.actions.unattended_way import Unattended, check_unattended
from slurmslice.cli.commands.existing_run import (
    go_on_without_canary,
    go_on_without_other,
    open_existing_run,
    plan_waiting,
)
from slurmslice.cli.commands.new_run import open_new_run
from slurmslice.cli.commands.policy_changes import (
    check_continues,
    record_cancel_rest,
    record_failure_limit,
    record_repair,
    refuse_contradiction,
)
from slurmslice.cli.options.command_words import WordsCommand
from slurmslice.cli.options.common import ChangingCommand, dry_run_option, new_env_option
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.new_run_options import EPILOG, follow_options, new_run_options
from slurmslice.cli.options.steward_options import steward_options
from slurmslice.cli.output.console import print_note
from slurmslice.cli.output.live_progress import follow_live
from slurmslice.cli.output.next_step import show_step
from slurmslice.cli.output.submissions import nothing_waits, use_new_environment
from slurmslice.cli.output.unattended import note_steward_planned, start_unattended
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Plan
from slurmslice.run.run import Run
from slurmslice.system.shell_quoting import quote


class RunCommand(WordsCommand, ChangingCommand):
    """The words after ``--`` describe a new run; options change the request of an existing one."""

    def multiplies(self) -> bool:
        """Return whether an existing run is named."""
        return bool(click.get_current_context().params["run_name"])


@click.command(cls=RunCommand, epilog=EPILOG)
@click.argument("run_name", metavar="[RUN]", required=False)
@new_run_options
@dry_run_option
@follow_options
@steward_options
@new_env_option
@click.option(
    "--include-node",
    "include_nodes",
    multiple=True,
    metavar="NODE",
    help="Use a node again that RUN excludes, because slices failed on it.",
)
def command(
    run_name: str | None,
    options: NewRunOptions,
    dry_run: bool,
    max_attempts: int | None,
    interval: float | None,
    new_env: bool,
    include_nodes: tuple[str, ...],
    unattended: Unattended | None,
) -> int:
    """Submit slices, follow them until all have ended, and report.

    Type the command for each slice after --. `{}` in it is the key of the slice.

    You can press Ctrl-C or lose your connection: jobs on the cluster keep running. Type the same
    line again, or `run RUN`, to continue. With RUN, sbatch's options change the request of the
    slices that are not submitted yet; partition, time, memory and excluded nodes also in the queue.
    """
    refuse_contradiction(options, max_attempts)
    _refuse_without_run(run_name, include_nodes)
    if run_name:
        run = open_existing_run(run_name, options, read_only=dry_run)
        _check_changes(run, options, unattended)
        if new_env:
            use_new_environment(run)
        for node in include_nodes:
            print_note(include_node(run, node))
        plan: Plan | None = _change(run, options)
    else:
        opened = open_new_run(options, max_attempts, unattended, dry_run=dry_run)
        if opened is None:
            if unattended:
                note_steward_planned(None, unattended)
            return 0
        run, plan = opened
    record_repair(run, options, max_attempts)
    record_cancel_rest(run, options)
    if run.directory.read_only and plan:
        run.places_kept = int(bool(unattended))
        show_step(run, FollowOptions(plan=plan), nothing_waits)
        if unattended:
            note_steward_planned(run, unattended)
        return 0
    if unattended:
        return start_unattended(run, plan, unattended)
    return follow_live(run, FollowOptions(interval=interval, plan=plan))


def _check_changes(run: Run, options: NewRunOptions, unattended: Unattended | None) -> None:
    """Check what was typed for an existing run, before anything is recorded.

    Raises:
        BadInputError: an option is wrong for this run.
    """
    options.rules(run.record.cause)
    check_continues(run, options)
    limit = run.max_failures if options.max_failures is None else options.max_failures
    options.refuse_cancel_without_limit(limit)
    if unattended:
        check_unattended(run.engine, unattended.way)


def _change(run: Run, options: NewRunOptions) -> Plan:
    """Record what was typed for an existing run, and plan what it submits first."""
    record_failure_limit(run, options.max_failures)
    go_on_without_canary(run, options)
    go_on_without_other(run, options)
    return plan_waiting(run, options.sbatch)


def _refuse_without_run(run_name: str | None, include_nodes: tuple[str, ...]) -> None:
    """Refuse ``--include-node`` without a run that may exclude the node.

    Raises:
        BadInputError: no run is named.
    """
    if include_nodes and not run_name:
        raise BadInputError(
            f"--include-node {include_nodes[0]} needs an existing run that excludes the node.",
            f"Name it: slurmslice run RUN --include-node {quote(include_nodes[0])}",
            code="option-not-allowed",
            option="include-node",
            verb="run",
        )
