"""The verb ``then``: run the step after a run again, or although its condition is not met."""

from __future__ import annotations

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.then_step import settle_then, start_then
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import dry_run_option, run_argument
from slurmslice.cli.options.parameters import parse_sbatch_words
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.refresh import refresh
from slurmslice.cli.output.summary import run_exit_code
from slurmslice.cli.output.then_step import note_on_then
from slurmslice.errors import BadInputError
from slurmslice.plan.then_phase import ThenPhase, then_phase
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import then_words
from slurmslice.spec.then_rule import ThenRule
from slurmslice.system.shell_quoting import quote


@click.command()
@run_argument
@click.option(
    "--then-sbatch", metavar="OPTIONS", default="",
    help="sbatch's options for its job, in place of those that the run has.",
)  # fmt: skip
@dry_run_option
def command(run_name: str | None, then_sbatch: str, dry_run: bool) -> int:
    """Run the step after a run (`run --then`) again, or although its condition is not met.

    It is refused while slices are in the queue, and while the step itself runs.
    """
    options = parse_sbatch_words("then_sbatch", then_sbatch)
    directory = locate_run.find_run(run_name, changing=True)
    run = open_run(directory, changing=True, read_only=dry_run)
    rule = _rule_of(run)
    refresh(run)
    if not dry_run:
        settle_then(run)
    _refuse_beside_others(run)
    if dry_run:
        message = f"Would run now: {then_words(rule)}"
        emit_note("would-run-then", message, command=rule.command, **{"if": rule.condition})
        return 0
    try:
        for note in start_then(run, options or None, again=True):
            print_note(note)
    finally:
        run.engine.close()
    if then := note_on_then(run):
        print_note(then)
    return run_exit_code(run) if run.engine.runs_in_process else 0


def _rule_of(run: Run) -> ThenRule:
    if run.record.then is None:
        raise BadInputError(
            f"The run {run.record.name} has no step afterwards.",
            "It is chosen when a run is made: slurmslice run … --then COMMAND",
            code="no-then",
            run=run.record.name,
        )
    return run.record.then


def _refuse_beside_others(run: Run) -> None:
    name = quote(run.record.name)
    if run.submissions_in_flight() or run.journal_state.unconfirmed():
        raise BadInputError(
            "Slices of this run are in the queue, so the step afterwards cannot run yet.",
            f"To follow them: slurmslice run {name}",
            code="slices-in-flight",
            run=run.record.name,
        )
    if then_phase(run) is ThenPhase.STARTED:
        raise BadInputError(
            "The step afterwards runs already.",
            f"To look: slurmslice status {name}",
            code="then-runs",
            run=run.record.name,
        )
