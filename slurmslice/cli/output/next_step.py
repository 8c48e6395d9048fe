"""The next step of a run for ``--dry-run``: what is repaired, submitted, waits, or stays failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from slurmslice.actions.avoid_in_queue import foresee_updates
from slurmslice.actions.follow import FollowOptions, judge
from slurmslice.actions.foresee_step import foresee_step
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.repairs import note_on_repairs
from slurmslice.cli.output.submissions import show_submissions
from slurmslice.plan.repairs import repair_policy
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import then_words
from slurmslice.system.shell_quoting import quote


def show_step(run: Run, options: FollowOptions, nothing: Callable[[Run], object]) -> None:
    """Print what the next step of a run would do. The run is only read, and was polled.

    Args:
        run: the run.
        options: what the step does.
        nothing: prints that nothing would be submitted.
    """
    for found in judge(run, options):
        print_note(found)
    for found in foresee_updates(run) if options.submit_from_queue else ():
        print_note(found)
    _show_repairs(run)
    step = foresee_step(run, options)
    for found in step.notes:
        print_note(found)
    if run.hold.reason:
        return
    show_submissions(run, iter(step.submissions))
    _note_waiting(run, step.waiting, step.wait_reason)
    if step.runs_then and run.record.then:
        rule = run.record.then
        message = f"Would run now: {then_words(rule)}"
        emit_note("would-run-then", message, command=rule.command, **{"if": rule.condition})
    elif not (step.submissions or step.waiting):
        nothing(run)


def _show_repairs(run: Run) -> None:
    """Print the repair of each failed slice, or the reason why it stays failed."""
    failed = run.failed_rows
    if repairs := note_on_repairs(run, ""):
        print_note(repairs)
    elif failed and repair_policy(run).max_attempts == 1:
        keys, name = key_ranges(run.table.keys.of(failed)), quote(run.record.name)
        message = (
            f"{count_text(len(failed))} ({keys}) stay failed: the run has no repairs.\n"
            f"To repair by cause: slurmslice run {name} --retry"
        )
        emit_note("repairs-off", message, slices=len(failed), keys=keys)


def _note_waiting(run: Run, rows: Sequence[int], why: str) -> None:
    if rows:
        keys = key_ranges(run.table.keys.of(rows))
        message = f"{count_text(len(rows))} ({keys}) would wait: {why}."
        emit_note("would-wait", message, slices=len(rows), keys=keys, reason=why)


def nothing_now(run: Run) -> None:
    """Print that nothing would be submitted now."""
    emit_note("nothing-to-submit", "Nothing would be submitted now.", run=run.record.name)
