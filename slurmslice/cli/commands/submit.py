"""The verb ``submit``: submit slices that wait, and end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from slurmslice.actions.after_run import follow_other
from slurmslice.actions.open_run import open_run
from slurmslice.actions.submit import ChooseRows, choose_waiting
from slurmslice.actions.unattended_way import Unattended, check_unattended
from slurmslice.cli.commands import submit_new_run
from slurmslice.cli.commands.submit_new_run import submit_unattended
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import (
    ChangingCommand,
    dry_run_option,
    max_failures_option,
    new_env_option,
    run_and_keys_argument,
    same_code_option,
    typed_words_and_request,
)
from slurmslice.cli.options.steward_options import steward_options
from slurmslice.cli.options.submit_options import only_option, parsable_option
from slurmslice.cli.output.console import emit_note, print_line
from slurmslice.cli.output.submissions import (
    change_max_failures,
    job_ids_printed,
    nothing_waits,
    submit_or_show,
    use_new_environment,
)
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Choice, make_plan
from slurmslice.reports.counts import count_text
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.canary import choose_slices
from slurmslice.spec.run_spec import FailureLimit


class SubmitCommand(ChangingCommand):
    """The command for an existing run. A line that describes a new run goes to another one."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the line, as that of a new run if it describes one."""
        if not submit_new_run.is_described(args):
            return super().make_context(info_name, args, parent, **extra)
        return submit_new_run.command.make_context(info_name, args, parent, **extra)


@click.command(cls=SubmitCommand)
@run_and_keys_argument
@only_option
@dry_run_option
@max_failures_option
@new_env_option
@same_code_option
@click.option(
    "--test-only",
    is_flag=True,
    help="Ask Slurm when the slices would start, and submit nothing (sbatch --test-only).",
)
@parsable_option
@steward_options
def command(
    words: tuple[str, ...],
    only: str | None,
    dry_run: bool,
    max_failures: FailureLimit | None,
    new_env: bool,
    same_code: bool | None,
    test_only: bool,
    parsable: bool,
    unattended: Unattended | None,
) -> int:
    """Submit waiting slices of a run, all or the named ones, and end.

    sbatch's options (-p, --mem, …) change the request of these slices. To make a new run and submit
    it, type the options and the command as for `run`: slurmslice submit -a 0-98 -- COMMAND
    """
    after_dashes, changes = typed_words_and_request()
    directory, keys = locate_run.find_run_and_keys(words + after_dashes, changing=True)
    run = open_run(directory, changing=True, read_only=dry_run)
    if not dry_run:
        follow_other(run)
    _refuse_two_choices(keys, only)
    if unattended:
        check_unattended(run.engine, unattended.way)
        _refuse_choice(keys, only)
    rows = None if only is None else choose_slices(only, run.table, "only")
    rows = run.table.select(keys) if keys else rows
    choose = choose_waiting(rows)
    if test_only:
        return _test_only(run, choose, changes)
    run.same_code = run.same_code if same_code is None else same_code
    if new_env:
        use_new_environment(run)
    if max_failures is not None:
        change_max_failures(run, max_failures)
    chosen = ("--only", only) if only else keys
    with job_ids_printed(run, wanted=parsable):
        if unattended:
            return submit_unattended(run, changes, unattended)
        return submit_or_show(
            run, choose, changes, verb="submit", again=lambda options: (*chosen, *options),
            nothing=lambda run: nothing_waits(run, changes),
        )  # fmt: skip


def _refuse_choice(keys: Sequence[str], only: str | None) -> None:
    """Refuse some slices together with ``--unattended``: a steward submits all.

    Raises:
        BadInputError: slices were named.
    """
    if keys or only:
        raise BadInputError(
            "--unattended submits all slices of the run, as they fit.",
            "Leave out the names of slices, or --unattended.",
            code="options-conflict",
            option="unattended",
            other=only or keys[0],
        )


def _refuse_two_choices(keys: Sequence[str], only: str | None) -> None:
    """Refuse keys together with ``--only``.

    Raises:
        BadInputError: both were given.
    """
    if keys and only:
        raise BadInputError(
            f"The slice {keys[0]!r} and --only {only} are two choices of slices.",
            "Give one of them.",
            code="options-conflict",
            option="only",
            value=only,
            other=keys[0],
        )


def _test_only(run: Run, choose: ChooseRows, changes: ResourceRequest) -> int:
    """Print Slurm's answer about the next submission, and submit nothing."""
    plan = make_plan(run, Choice(choose(run), changes))
    planned = next(plan.submissions(run), None)
    if planned is None:
        nothing_waits(run)
        return 0
    slices = len(planned.batch.rows)
    message = f"Slurm's answer about submission {planned.number:03d} ({count_text(slices)}):"
    emit_note("test-only", message, submission=planned.number, slices=slices)
    print_line(run.engine.test_submission(planned.submit_request(run)))
    return 0
