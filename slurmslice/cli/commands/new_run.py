"""The run that a line of ``run``, ``submit`` or ``render`` describes: created, or continued."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from slurmslice.actions.after_run import check_after
from slurmslice.actions.create import RunInputs, create_run, make_record
from slurmslice.actions.open_run import choose_engine, open_run
from slurmslice.actions.replace_refused_run import is_replaceable, replace_refused_run
from slurmslice.actions.submit import choose_waiting
from slurmslice.actions.unattended_way import Unattended, check_unattended
from slurmslice.cli.commands.existing_run import go_on_without_canary, plan_waiting
from slurmslice.cli.commands.policy_changes import record_failure_limit
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.output.console import emit_note, printable_line
from slurmslice.cli.output.end_notice import note_missing_mail
from slurmslice.cli.output.long_work import shown_if_long
from slurmslice.cli.output.preview import relative_path, show_preview
from slurmslice.cli.output.preview_rules import note_all_done
from slurmslice.cli.output.submissions import checked_plan
from slurmslice.engines.protocol import Engine, TaskLimits
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Plan
from slurmslice.plan.repairs import effective_policy
from slurmslice.policy.ladder import RepairPolicy
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.run.steward_record import BY_JOB
from slurmslice.sbatch.resource_request import NO_REQUEST
from slurmslice.slices.sources.input_form import is_by_place
from slurmslice.slices.table_growth import compare_tables
from slurmslice.spec.run_spec import RunRecord
from slurmslice.system.shell_quoting import quote, quote_words


def open_new_run(
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
    way = check_unattended(engine, unattended.way) if unattended else ""
    record, silence = make_record(new, engine)
    same, replaced = find_existing(path, record, new, engine)
    if same:
        return _continue_same(open_run(same, changing=True, read_only=dry_run), options)
    if note_all_done(new):
        return None
    _refuse_if_never_runs(show_preview(record, new, engine))
    note_missing_mail(record, by_job=way == BY_JOB)
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
    if run.hold.reason or options.max_failures != run.max_failures:
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


def find_existing(
    path: Path, record: RunRecord, new: RunInputs, engine: Engine
) -> tuple[RunDirectory | None, Run | None]:
    """Look for an existing run in the place of a new one.

    Returns:
        the existing run if it is the same as the new one, and the existing run if the new one
        replaces it, because Slurm rejected each of its submissions. At most one is not None.

    Raises:
        BadInputError: another run is there. The message lists the differences, the hint the ways
        out.
    """
    if not os.path.exists(path):  # also False for a name that is too long; creation reports that
        return None, None
    directory = RunDirectory.open(path)
    different = directory.read_record().differences(record)
    grown = _are_slices(different) and new.spec.form == directory.read_record().form
    if not different or (grown and _has_these_slices(directory, new)):
        return directory, None
    there = Run(directory, engine)
    ours = (there.record.engine, there.record.cluster) == (record.engine, record.cluster)
    if not (ours and directory.foreign_owner is None and is_replaceable(there)):
        raise BadInputError(
            f"Another run {record.name} exists already:\n  "
            + "\n  ".join(map(printable_line, different)),
            "\n".join((*_ways_out(there, record, different), *_growth(there, grown))),
            code="run-differs",
            run=record.name,
            differences=tuple(different),
        )
    return None, there


def _are_slices(different: list[str]) -> bool:
    return len(different) == 1 and different[0].startswith("slices:")


def _has_these_slices(directory: RunDirectory, new: RunInputs) -> bool:
    """Tell if a run has these slices now, because it has grown."""
    table, by_place = directory.read_present_table(), is_by_place(new.spec.form)
    try:
        difference = compare_tables(table, new.table, by_place=by_place)
    except BadInputError:
        return False
    return not difference and not difference.gone


def _growth(there: Run, grown: bool) -> Iterator[str]:
    if grown:
        name = quote(there.record.name)
        yield f"To add the new slices:      slurmslice extend {name} {there.record.form} …"


def create_or_replace_run(
    record: RunRecord, new: RunInputs, path: Path, replaced: Run | None
) -> RunDirectory:
    """Create the run; replace the given one if there is one."""
    if replaced is None:
        with shown_if_long("Writing the run directory"):
            directory = create_run(record, new, path)
    else:
        directory = replace_refused_run(replaced, record, new)
        message = f"Replaced the earlier run {record.name}: Slurm had rejected it."
        emit_note("run-replaced", message, run=record.name)
    locate_run.remember_run(path)
    return directory


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


_SCRIPT_DIFFERENCES = ("command:", "setup:", "check:")


def _ways_out(there: Run, record: RunRecord, different: list[str]) -> Iterator[str]:
    name = quote(record.name)
    yield f"To make a new run:          --name {record.name}-2"
    if all(line.startswith("options:") for line in different):
        had, now = there.record.request, record.request
        changed = now.differing_from(had).to_argv()
        if had.keys() <= now.keys():
            yield f"To continue it, changed:    slurmslice run {name} {quote_words(changed)}"
        else:
            yield (
                f"To continue it, changed:    edit the #SBATCH lines of "
                f"{relative_path(there.directory.script)}, then slurmslice run {name}"
            )
    if any(line.startswith(_SCRIPT_DIFFERENCES) for line in different):
        yield f"To edit its command:        {quote(relative_path(there.directory.script))}"
    if not there.journal_state.submissions:
        path = quote(relative_path(there.directory.path))
        yield f"To delete it (nothing was submitted yet):  rm -r {path}"
