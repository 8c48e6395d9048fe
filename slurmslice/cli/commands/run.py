"""The verb ``run``: create a run or continue one, and follow it to its end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from slurmslice.actions.after_run import NO_RUN, check_after, wait_no_longer
from slurmslice.actions.canary import end_canary
from slurmslice.actions.create import make_record
from slurmslice.actions.follow import FollowOptions, record_policy
from slurmslice.actions.judge_nodes import include_node
from slurmslice.actions.open_run import choose_engine, open_run
from slurmslice.actions.submit import choose_waiting, find_requeued_before
from slurmslice.actions.unattended_way import check_unattended
from slurmslice.cli.commands.new_run import create_or_replace_run, find_existing
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.command_words import WordsCommand, guess_mistake
from slurmslice.cli.options.common import ChangingCommand, dry_run_option, new_env_option
from slurmslice.cli.options.new_run_options import (
    EPILOG,
    NewRunOptions,
    follow_options,
    is_typed,
    new_run_options,
)
from slurmslice.cli.options.policy_options import refuse_incomplete_continuation
from slurmslice.cli.options.steward_options import parse_steward_sbatch
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.live_progress import follow_live
from slurmslice.cli.output.next_step import show_step
from slurmslice.cli.output.preview import relative_path, show_preview
from slurmslice.cli.output.preview_rules import note_all_done
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.submissions import (
    change_max_failures,
    checked_plan,
    nothing_waits,
    use_new_environment,
)
from slurmslice.cli.output.unattended import note_steward_planned, start_unattended
from slurmslice.engines.protocol import TaskLimits
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Plan
from slurmslice.plan.repairs import effective_policy, repair_policy
from slurmslice.policy.ladder import DEFAULT_ATTEMPTS, RepairPolicy
from slurmslice.policy.repair_rules import parse_rules
from slurmslice.reports.counts import count_text
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.canary import NO_CANARY
from slurmslice.spec.run_spec import FailureLimit
from slurmslice.status.states import State
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
    unattended: bool,
    unattended_by: str | None,
    steward_sbatch: str,
) -> int:
    """Submit slices, follow them until all have ended, and report.

    Type the command for each slice after --. `{}` in it is the key of the slice.

    You can press Ctrl-C or lose your connection: jobs on the cluster keep running. Type the same
    line again, or `run RUN`, to continue. With RUN, sbatch's options change the request of the
    slices that are not submitted yet.
    """
    _refuse_contradiction(options, max_attempts)
    _refuse_without_run(run_name, include_nodes)
    steward = parse_steward_sbatch(steward_sbatch, unattended=unattended)
    if run_name:
        run = _open_existing(run_name, options, read_only=dry_run)
        options.rules(run.record.cause)  # refused before anything is recorded
        _check_continues(run, options)
        limit = run.max_failures if options.max_failures is None else options.max_failures
        options.refuse_cancel_without_limit(limit)
        if unattended:
            check_unattended(run.engine, unattended_by)
        if new_env:
            use_new_environment(run)
        for node in include_nodes:
            print_note(include_node(run, node))
        _record_failure_limit(run, options.max_failures)
        _go_on_without_canary(run, options)
        _go_on_without_other(run, options)
        plan: Plan | None = _plan(run, options.sbatch)
    else:
        way = (unattended_by or "") if unattended else None
        opened = _open_new(options, max_attempts, dry_run=dry_run, unattended=way)
        if opened is None:
            if unattended:
                note_steward_planned(None, steward, unattended_by)
            return 0
        run, plan = opened
    _record_repair(run, options, max_attempts)
    _record_cancel_rest(run, options)
    if run.directory.read_only and plan:
        run.places_kept = int(unattended)
        show_step(run, FollowOptions(plan=plan), nothing_waits)
        if unattended:
            note_steward_planned(run, steward, unattended_by)
        return 0
    if unattended:
        return start_unattended(run, plan, steward, unattended_by)
    return follow_live(run, FollowOptions(interval=interval, plan=plan))


def _open_new(
    options: NewRunOptions, max_attempts: int | None, *, dry_run: bool, unattended: str | None
) -> tuple[Run, Plan | None] | None:
    """Create the described run, or open it if it exists.

    Args:
        options: the options of the run.
        max_attempts: the typed number; None if none was typed.
        dry_run: create nothing.
        unattended: the typed way of an unattended run, or an empty text; None: it is attended.

    Returns:
        the run and what to submit first; None if a dry run created nothing.
    """
    policy = effective_policy(
        max_attempts, retry=options.retry, on=options.rules(options.causes), causes=options.causes
    )
    if options.budget and policy.max_attempts == 1:
        raise BadInputError(
            f"--budget {options.budget} limits repairs, and no option asks for repairs.",
            "Add --retry, or leave out --budget.",
            code="budget-without-repair",
            option="budget",
            value=options.budget,
        )
    new = options.read(policy.max_attempts)
    path = locate_run.new_run_path(new.spec.name, options.run_dir)
    if new.spec.after:
        check_after(Path(new.spec.after), path)
    engine = choose_engine(options.engine, path)
    if unattended is not None:
        check_unattended(engine, unattended)
    record, silence = make_record(new, engine)
    same, replaced = find_existing(path, record, engine)
    if same:
        emit_note(
            "run-continued", f"Continuing {record.name} in {relative_path(path)}", run=record.name
        )
        run = open_run(same, changing=True, read_only=dry_run)
        if run.journal_state.held or options.max_failures != run.max_failures:
            _record_failure_limit(run, options.max_failures)
        _go_on_without_canary(run, options)
        return run, _plan(run, NO_REQUEST)
    if note_all_done(new):
        return None
    _refuse_if_never_runs(show_preview(record, new, engine))
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


def _plan(run: Run, changes: ResourceRequest) -> Plan:
    """Plan the submission of the waiting slices of an existing run."""
    if is_typed("same_code"):
        run.same_code = click.get_current_context().params["same_code"]
    if changes:
        _check_waiting(run, changes)
    if run.directory.read_only:
        refresh(run)
        find_requeued_before(run, choose_waiting(None), "run")
    return checked_plan(run, choose_waiting(None), changes)


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


def _check_continues(run: Run, options: NewRunOptions) -> None:
    """Refuse continuations that were typed for a run without a checkpoint.

    Raises:
        BadInputError: the run has none, or there is no such cause.
    """
    causes = options.continues(run.record.cause)
    if is_typed("continue_on") or is_typed("max_continues"):
        causes = causes or run.continue_on
        most = options.values["max_continues"]
        refuse_incomplete_continuation(causes, run.record.checkpoint, most)


def _record_repair(run: Run, options: NewRunOptions, max_attempts: int | None) -> None:
    """Record ``--retry``, ``--on`` and ``--max-attempts`` in an existing run, or show the change.

    Rules are added to the recorded ones; a rule for the same cause replaces it. A settings file
    describes new runs: it does not change a recorded policy.
    """
    before, wanted = repair_policy(run), _wanted_policy(run, options, max_attempts)
    if not wanted:
        return
    record_policy(run, **wanted)  # a dry run remembers it, and plans by it
    after = replace(before, **wanted)
    verb = "Would record" if run.directory.read_only else "Recorded"
    message = f"{verb} {after}; it was {before}."
    emit_note("policy-recorded", message, before=before.max_attempts, **_fields(after))


def _fields(policy: RepairPolicy) -> dict[str, Any]:
    parts = (
        *("max_attempts", "retry", "on", "budget", "allow_changed"),
        *("continue_on", "max_continues"),
    )
    return {part: getattr(policy, part) for part in parts}


def _wanted_policy(run: Run, options: NewRunOptions, max_attempts: int | None) -> dict[str, Any]:
    """Return the parts of the recorded policy to change."""
    wanted: dict[str, Any] = {}
    recorded = run.recorded_attempts
    rules, causes = options.rules(run.record.cause), run.record.cause
    typed = any(map(is_typed, ("retry", "on", "max_attempts")))
    if is_typed("on"):
        wanted["on"] = tuple(rule.text for rule in parse_rules((*run.on, *rules), causes))
    elif not set(rules) <= set(run.on):
        _policy_kept("on", " ".join(run.on) or "none", quote(rules[0]))
    if is_typed("retry"):
        wanted["retry"] = True
    elif options.retry and not run.retry:
        _policy_kept("retry", "off", "")
    if is_typed("budget"):
        wanted["budget"] = options.budget
    elif options.budget not in {"", run.budget}:
        _policy_kept("budget", run.budget or "none", options.budget)
    if is_typed("continue_on"):
        wanted["continue_on"] = options.continues(causes)
    if is_typed("max_continues"):
        wanted["max_continues"] = options.values["max_continues"]
    if is_typed("allow_changed"):
        wanted["allow_changed"] = True
    if max_attempts is not None and (is_typed("max_attempts") or not recorded):
        wanted["max_attempts"] = max_attempts
    elif max_attempts is not None and max_attempts != recorded:
        _policy_kept("max-attempts", str(recorded), str(max_attempts))
    elif typed and recorded in {None, 1}:
        wanted["max_attempts"] = DEFAULT_ATTEMPTS
    now = _fields(repair_policy(run))
    return {name: value for name, value in wanted.items() if value != now[name]}


def _record_failure_limit(run: Run, wanted: FailureLimit | None) -> None:
    """If ``--max-failures`` was typed, record it in the existing run and release held slices."""
    if wanted is None:
        return
    if is_typed("max_failures"):
        change_max_failures(run, wanted)
    elif wanted != run.max_failures:
        kept = "the default" if run.max_failures is None else str(run.max_failures or "none")
        _policy_kept("max-failures", kept, str(wanted or "none"))


def _record_cancel_rest(run: Run, options: NewRunOptions) -> None:
    """If ``--cancel-rest`` or ``--hold-rest`` was typed, record it in the existing run."""
    wanted = options.cancel_rest
    if wanted is None or wanted is run.cancel_rest:
        return
    word, other = ("cancel-rest", "hold-rest")[:: 1 if wanted else -1]
    if not is_typed("cancel_rest"):
        _policy_kept(other, "recorded", "")
        return
    verb = "Would record" if run.directory.read_only else "Recorded"
    record_policy(run, cancel_rest=wanted)
    emit_note("policy-recorded", f"{verb} --{word}.", before=not wanted, cancel_rest=wanted)


def _go_on_without_canary(run: Run, options: NewRunOptions) -> None:
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


def _go_on_without_other(run: Run, options: NewRunOptions) -> None:
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


def _policy_kept(option: str, kept: str, wanted: str) -> None:
    """Say that a settings file does not change the recorded policy.

    Args:
        option: the option, without its dashes.
        kept: the recorded value.
        wanted: the value to type, quoted; empty for a flag.
    """
    emit_note(
        "policy-kept",
        f"This run keeps its recorded --{option} ({kept}). To change it, type "
        f"{f'--{option} {wanted}'.rstrip()}.",
        option=option, kept=kept,
    )  # fmt: skip


def _check_waiting(run: Run, changes: ResourceRequest) -> None:
    """Say which slices keep their request, because they are in Slurm's queue already.

    Raises:
        BadInputError: no slice waits, so the options would change nothing.
    """
    refresh(run)
    name, options = quote(run.record.name), str(changes)
    state_counts = run.statuses.state_counts()
    queued = state_counts.get(State.PENDING, 0) + state_counts.get(State.SUBMITTED, 0)
    again = f"slurmslice cancel {name}, then slurmslice resubmit {name} --state CANCELLED {options}"
    if not state_counts.get(State.WAITING):
        failed = f"For failed slices: slurmslice resubmit {name} {options}"
        raise BadInputError(
            f"No slice of the run {run.record.name} waits, so {options} would change nothing.",
            failed + (f"\nFor slices in the queue: {again}" if queued else ""),
            code="nothing-waits",
            run=run.record.name,
        )
    if queued:
        emit_note(
            "already-queued",
            f"{count_text(queued)} in the queue already: {options} does not change them. To change "
            f"them too: {again}",
            slices=queued, command=again,
        )  # fmt: skip


def _open_existing(run_name: str, options: NewRunOptions, *, read_only: bool) -> Run:
    if options.first_typed:
        if not locate_run.is_run_name(run_name):
            given = options.first_typed
            raise BadInputError(
                f"There is no run {run_name!r} here, and {given} describes a new run.",
                guess_mistake(click.get_current_context()),
                code="no-such-run",
                run=run_name,
            )
        to_change = f"\nTo change its throttle: slurmslice throttle {quote(run_name)} N"
        raise BadInputError(
            f"{run_name!r} is an existing run, but {options.first_typed} describes a new run.",
            "For a new run: slurmslice run --name NAME … -- COMMAND\n"
            f"To continue {run_name}: slurmslice run {quote(run_name)}"
            + (to_change if options.first_typed == "--throttle" else ""),
            code="run-and-new-run",
            run=run_name,
        )
    return open_run(
        locate_run.find_run(run_name, changing=True), changing=True, read_only=read_only
    )


def _refuse_if_never_runs(limits: TaskLimits | None) -> None:
    """Refuse a run whose slices can never start.

    Raises:
        BadInputError: no slice of the run can ever start.
    """
    if limits is not None and limits.impossible_reason:
        raise BadInputError(
            f"Run not created: its slices can never start ({limits.impossible_reason}).",
            "`slurmslice doctor` shows what the cluster has. To submit anyway: slurmslice render "
            "…, then sbatch SCRIPT.",
            code="never-runs",
            reason=limits.impossible_reason,
        )
