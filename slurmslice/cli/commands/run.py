"""The verb ``run``: create a run or continue one, and follow it to its end."""

from __future__ import annotations

from pathlib import Path

import click

from slurmslice.actions.after_run import check_after
from slurmslice.actions.create import make_record
from slurmslice.actions.follow import FollowOptions
from slurmslice.actions.judge_nodes import include_node
from slurmslice.actions.open_run import choose_engine, open_run
from slurmslice.actions.submit import choose_waiting
from slurmslice.actions.unattended_way import Unattended, check_unattended
from slurmslice.cli.commands.existing_run import (
    go_on_without_canary,
    go_on_without_other,
    open_existing_run,
    plan_waiting,
)
from slurmslice.cli.commands.new_run import (
    create_or_replace_run,
    find_existing,
    refuse_if_never_runs,
)
from slurmslice.cli.commands.policy_changes import (
    check_continues,
    record_cancel_rest,
    record_failure_limit,
    record_repair,
)
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.command_words import WordsCommand
from slurmslice.cli.options.common import ChangingCommand, dry_run_option, new_env_option
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.new_run_options import EPILOG, follow_options, new_run_options
from slurmslice.cli.options.parameters import is_typed
from slurmslice.cli.options.steward_options import steward_options
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.live_progress import follow_live
from slurmslice.cli.output.next_step import show_step
from slurmslice.cli.output.preview import relative_path, show_preview
from slurmslice.cli.output.preview_rules import note_all_done
from slurmslice.cli.output.submissions import checked_plan, nothing_waits, use_new_environment
from slurmslice.cli.output.unattended import note_steward_planned, start_unattended
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Plan
from slurmslice.plan.repairs import effective_policy
from slurmslice.policy.ladder import RepairPolicy
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST
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
    slices that are not submitted yet.
    """
    _refuse_contradiction(options, max_attempts)
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
        opened = _open_new(options, max_attempts, unattended, dry_run=dry_run)
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


def _open_new(
    options: NewRunOptions,
    max_attempts: int | None,
    unattended: Unattended | None,
    *,
    dry_run: bool,
) -> tuple[Run, Plan | None] | None:
    """Create the described run, or open it if it exists.

    Args:
        options: the options of the run.
        max_attempts: the typed number; None if none was typed.
        unattended: how it is followed without a process here; None: by this process.
        dry_run: create nothing.

    Returns:
        the run and what to submit first; None if a dry run created nothing.
    """
    policy = effective_policy(
        max_attempts, retry=options.retry, on=options.rules(options.causes), causes=options.causes
    )
    _refuse_budget_in_vain(options, policy)
    new = options.read(policy.max_attempts)
    path = locate_run.new_run_path(new.spec.name, options.run_dir)
    if new.spec.after:
        check_after(Path(new.spec.after), path)
    engine = choose_engine(options.engine, path)
    if unattended:
        check_unattended(engine, unattended.way)
    record, silence = make_record(new, engine)
    same, replaced = find_existing(path, record, engine)
    if same:
        return _continue_same(open_run(same, changing=True, read_only=dry_run), options)
    if note_all_done(new):
        return None
    refuse_if_never_runs(show_preview(record, new, engine))
    if silence:
        emit_note("limits-unknown", f"Slurm did not tell its limits: {silence}")
    if dry_run:
        message = f"--dry-run: no run was created. It would be {relative_path(path)}."
        emit_note("run-not-created", message, path=path)
        return None
    run = Run(create_or_replace_run(record, new, path, replaced), engine)
    run.unsubmitted_at = run.clock()  # the script is new: nobody can have submitted it by hand
    # If requests differ, a later slice may request more than the first: check all of them.
    return run, checked_plan(run, choose_waiting(None), NO_REQUEST) if record.per_slice else None


def _continue_same(run: Run, options: NewRunOptions) -> tuple[Run, Plan]:
    """Continue an existing run whose line was typed again; plan what it submits first."""
    name = run.record.name
    emit_note(
        "run-continued", f"Continuing {name} in {relative_path(run.directory.path)}", run=name
    )
    if run.journal_state.held or options.max_failures != run.max_failures:
        record_failure_limit(run, options.max_failures)
    go_on_without_canary(run, options)
    return run, plan_waiting(run, NO_REQUEST)


def _refuse_budget_in_vain(options: NewRunOptions, policy: RepairPolicy) -> None:
    """Refuse ``--budget`` for a run without repairs.

    Raises:
        BadInputError: the run has none.
    """
    if options.budget and policy.max_attempts == 1:
        raise BadInputError(
            f"--budget {options.budget} limits repairs, and no option asks for repairs.",
            "Add --retry, or leave out --budget.",
            code="budget-without-repair",
            option="budget",
            value=options.budget,
        )


def _refuse_contradiction(options: NewRunOptions, max_attempts: int | None) -> None:
    """Refuse rules together with a single attempt, which repairs nothing.

    Raises:
        BadInputError: both were typed.
    """
    typed = [f"--{name}" for name in ("retry", "on") if is_typed(name)]
    if typed and max_attempts == 1 and is_typed("max_attempts"):
        raise BadInputError(
            f"--max-attempts 1 repairs nothing, and {typed[0]} repairs failed slices.",
            "Give a larger number, or leave out one of them.",
            code="options-conflict",
            option="max-attempts",
            value=1,
            other=typed[0].removeprefix("--"),
        )


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
