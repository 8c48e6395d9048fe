"""Submission for ``submit`` and ``resubmit``, with messages; a dry run only shows it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from slurmslice.actions.avoid_in_queue import avoid_in_queue
from slurmslice.actions.cancel import wait_until_cancelled
from slurmslice.actions.circuit_breaker import reason_to_hold
from slurmslice.actions.follow import FINISH_ONLY_OPTIONS, record_policy
from slurmslice.actions.judge_nodes import judge_nodes
from slurmslice.actions.release import release
from slurmslice.actions.same_environment import (
    check_environment,
    left_out_note,
    record_environment,
)
from slurmslice.actions.submit import ChooseRows, execute_plan, find_requeued_before
from slurmslice.actions.submit_queued import SubmitOutcome
from slurmslice.cli.output.console import emit_note, print_line, print_note
from slurmslice.cli.output.live_progress import follow_live
from slurmslice.cli.output.preview import note_how_to_return, print_accepted, relative_path
from slurmslice.cli.output.refresh import refresh, wait_for_doubts_with_note
from slurmslice.cli.output.summary import (
    HELD,
    NOT_FINISHED,
    next_commands,
    suggest_options,
    waiting_count,
    waiting_message,
)
from slurmslice.cli.output.typed_line import options_again
from slurmslice.cli.output.unattended import see_to_steward
from slurmslice.errors import BadInputError, EngineError, SubmissionRejectedError
from slurmslice.plan.plan import Choice, Plan, make_plan, refuse_impossible_requests
from slurmslice.plan.planned_submission import PlannedSubmission, overridden_edit_notes
from slurmslice.plan.run_script import ignored_line_notes
from slurmslice.plan.same_code import check_same_code
from slurmslice.reports.counts import count_text, key_ranges
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.run_spec import FailureLimit
from slurmslice.system.shell_quoting import quote, quote_words


def submit_or_show(
    run: Run,
    choose: ChooseRows,
    changes: Mapping[str, str],
    *,
    verb: str,
    again: Callable[[Sequence[str]], Sequence[str]],
    nothing: Callable[[Run], int],
) -> int:
    """Submit the chosen slices, or show the submissions if the run is read-only.

    Args:
        run: the run.
        choose: chooses the slices.
        changes: sbatch options that change their request.
        verb: the verb that was typed.
        again: returns the words of a command that chooses the same slices with the given options.
        nothing: prints that there is nothing to do, and returns the exit code.

    Returns:
        the exit code.
    """
    refresh(run)
    for note in (*judge_nodes(run), *avoid_in_queue(run)):
        print_note(note)
    if not run.directory.read_only:
        wait_for_doubts_with_note(run)
    find_requeued_before(run, choose, verb)
    plan = checked_plan(run, choose, changes)
    if run.directory.read_only:
        return show_plan(run, plan, nothing)
    try:
        outcome = execute_plan(run, plan, verb)
        for found in outcome.notes:
            print_note(found)
        print_accepted(run, outcome.accepted)
        note_left_out(run, outcome)
        outcome.raise_error(ignore_temporary=False)
    except EngineError as why:
        rejected = isinstance(why, SubmissionRejectedError)
        options = suggest_options(run, why.message).split() if rejected else []
        again_with = options_again(changes, options) if rejected else []
        note_run_kept(run, (verb, run.record.name, *again(again_with)), changed=bool(options))
        raise
    if not outcome.accepted and not run.journal_state.queue:
        return nothing(run)
    return _finish(run, outcome)


@contextlib.contextmanager
def job_ids_printed(run: Run, *, wanted: bool) -> Iterator[None]:
    """Print the ids of the jobs that were submitted meanwhile, if that is wanted; one per line.

    If nothing had to be submitted, they are those that have not ended: a line that is typed again
    prints what its job script needs.
    """
    before = set(run.journal_state.submissions)
    try:
        yield
    finally:  # also those before a submission that failed
        new = [one for one in run.journal_state.submissions.values() if one.number not in before]
        for one in (new or run.submissions_in_flight()) if wanted else ():
            if one.job:
                print_line(one.job)


def note_run_kept(run: Run, words: Sequence[str], *, changed: bool) -> None:
    """Name the command that tries again; ``changed`` if it changes the request."""
    line = quote_words(("slurmslice", *words))
    request = ", with a changed request" if changed else ""
    kept = f"The run is kept: {relative_path(run.directory.path)}. To try again{request}: {line}"
    emit_note("run-kept", kept, run=run.record.name, command=line)


def checked_plan(run: Run, choose: ChooseRows, changes: Mapping[str, str]) -> Plan:
    """Plan the submission of the chosen slices, and warn about a lower request.

    Raises:
        BadInputError: the slices could never run, or the user probably forgot an x: a bare number
        is less than a tenth of the slices' last request. Or their environment or, with
        ``--same-code``, their code differs from that of earlier attempts.
    """
    plan = refuse_impossible_requests(run, make_plan(run, Choice(choose(run), changes)))
    plan.raise_refusal()
    for note in ignored_line_notes(run, plan.script):
        print_note(note)
    if plan.requests:
        check_same_code(run)
        check_environment(run, plan)
        if left_out := left_out_note(run, plan):
            print_note(left_out)
    for less, rows in plan.lowered.items():
        option = less.option
        keys = key_ranges([run.table.keys[row] for row in rows])
        found = f"--{option}={less.now} is less than the {less.before} that {keys} had"
        if less.far_lower and changes.get(option, "").isdecimal():
            raise BadInputError(
                f"{found}. Nothing was submitted.",
                f"For {changes[option]} times as much: --{option} {changes[option]}x. To request "
                f"so little: --{option} {less.now}",
                code="request-lowered",
                option=option,
                value=less.now,
            )
        emit_note(
            "lower-request", f"Note: {found}. For twice as much: --{option} 2x",
            option=option, before=less.before, now=less.now, keys=keys,
        )  # fmt: skip
    return plan


def note_left_out(run: Run, outcome: SubmitOutcome) -> None:
    """Name the slices of the plan that were not submitted, because they changed meanwhile."""
    if outcome.left_out_rows:
        left_out = _describe_slices(run, outcome.left_out_rows)
        message = f"Left out, because they changed meanwhile: {left_out}"
        emit_note("slices-left-out", message, **_slice_fields(run, outcome.left_out_rows))


def change_max_failures(run: Run, limit: FailureLimit) -> None:
    """Record ``--max-failures`` in an existing run, and release held slices if the limit allows it.

    A dry run only shows both.

    Args:
        run: the run.
        limit: as ``RunSpec.max_failures`` has it.
    """
    refresh(run)
    if limit != run.max_failures:
        before = run.max_failures
        record_policy(run, max_failures=limit)
        verb = "Would record" if run.directory.read_only else "Recorded"
        message = f"{verb} --max-failures {limit or 'none'}."
        emit_note("policy-recorded", message, max_failures=limit, before=before)
    if not reason_to_hold(run):
        release_held(run)


def use_new_environment(run: Run) -> None:
    """Use the environment of this shell for all later attempts (``--new-env``)."""
    with run.directory.lock("run"):
        run.reload()
        record_environment(run)


def release_held(run: Run) -> None:
    """Release the slices that the circuit breaker holds, and name them.

    Slices with an edited script are cancelled first and then submitted again; this waits until
    Slurm has removed them. A dry run only names the slices.
    """
    result, dry_run = release(run), run.directory.read_only
    if to_resubmit := result.to_resubmit:
        emit_note(
            "held-slices-replaced",
            f"{'Would cancel' if dry_run else 'Cancelled'} {_describe_slices(run, to_resubmit)} "
            "that "
            "the circuit breaker held with the script before its edit. They are submitted again.",
            **_slice_fields(run, to_resubmit), dry_run=dry_run,
        )  # fmt: skip
    if released := result.released:
        verb = "Would release" if dry_run else "Released"
        message = f"{verb} {_describe_slices(run, released)} that the circuit breaker held."
        emit_note("held-slices-released", message, **_slice_fields(run, released), dry_run=dry_run)
    if to_resubmit and not (dry_run or wait_until_cancelled(run, to_resubmit)):
        name = quote(run.record.name)
        message = f"Slurm has not removed them yet. To submit them later: slurmslice run {name}"
        emit_note("cancel-not-finished", message)


def _describe_slices(run: Run, rows: Sequence[int]) -> str:
    return "{} ({keys})".format(count_text(len(rows)), **_slice_fields(run, rows))


def _slice_fields(run: Run, rows: Sequence[int]) -> dict[str, Any]:
    """Return the fields of a note about slices: their number and their keys."""
    return {"slices": len(rows), "keys": key_ranges([run.table.keys[row] for row in rows])}


def _finish(run: Run, outcome: SubmitOutcome) -> int:
    """Follow slices on this machine, which run only while a process follows them; else end."""
    run.engine.wait(0)
    if run.engine.has_running_tasks:
        code = follow_live(run, FINISH_ONLY_OPTIONS)
        return 0 if code == NOT_FINISHED else code  # the submitted slices have ended; others wait
    if not (outcome.accepted or run.submissions_in_flight()):
        note_waiting(run, outcome)  # nothing is there to follow
        return HELD if run.hold.reason else 0
    if run.engine.runs_in_process and outcome.accepted:
        emit_note("other-process-works", "The `slurmslice run` in the other process runs them.")
    note_how_to_return(run)
    see_to_steward(run)
    note_waiting(run, outcome)
    return HELD if run.hold.reason and not outcome.accepted else 0


def note_waiting(run: Run, outcome: SubmitOutcome) -> None:
    """Print the number of waiting slices, the reason, and the command that submits them."""
    if run.hold.reason:
        again = [row for row in run.journal_state.queue if run.journal_state.attempts[row]]
        if again:
            message = (
                f"To be resubmitted: {_describe_slices(run, again)}, after the run is released."
            )
            emit_note("resubmitted-but-held", message, slices=len(again))
        emit_note("next-step", next_commands(run))
        return
    if words := waiting_message(run, outcome.wait_reason):
        emit_note("waiting", words, slices=waiting_count(run))


_SHOWN = 5


def show_plan(run: Run, plan: Plan, nothing: Callable[[Run], int]) -> int:
    """Print the first submissions of a plan and the number of others, or ``nothing``.

    Returns:
        the exit code of the command with this plan, if Slurm accepts it.
    """
    for found in plan.notes:
        print_note(found)
    if run.hold.reason:
        return HELD
    return 0 if show_submissions(run, plan.submissions(run)) else nothing(run)


def show_submissions(run: Run, submissions: Iterator[PlannedSubmission]) -> bool:
    """Print the first of these submissions and the number of others; tell if there are any."""
    first = list(islice(submissions, _SHOWN))
    for submission in first:
        _show_submission(run, submission)
    rest = list(submissions)
    if rest:
        more = sum(len(submission.batch.rows) for submission in rest)
        emit_note(
            "more-submissions",
            f"… and {count_text(more)} in {count_text(len(rest), 'more submission')}, "
            f"up to {rest[-1].number:03d}.",
            slices=more, submissions=len(rest), last=rest[-1].number,
        )  # fmt: skip
    return bool(first)


def nothing_waits(run: Run, changes: ResourceRequest = NO_REQUEST) -> int:
    """Print that no slice of the run waits. That is what ``submit`` is for: the exit code is 0.

    Raises:
        BadInputError: changes of the request were typed, which would change nothing.
    """
    if changes:
        raise nothing_to_change(run, str(changes))
    emit_note("nothing-waits", "No slice of this run waits to be submitted.")
    return 0


def nothing_to_change(run: Run, options: str, queued: str = "") -> BadInputError:
    """Return the error about options for a run of which no slice waits.

    Args:
        run: the run.
        options: the options, as typed.
        queued: what to type for slices in the queue; empty if there are none.
    """
    failed = f"For failed slices: slurmslice resubmit {quote(run.record.name)} {options}"
    return BadInputError(
        f"No slice of the run {run.record.name} waits, so {options} would change nothing.",
        failed + queued,
        code="nothing-waits",
        run=run.record.name,
    )


def _show_submission(run: Run, submission: PlannedSubmission) -> None:
    slices = _describe_slices(run, submission.batch.rows)
    what = f"Would submit {slices} as submission {submission.number:03d}"
    by_sbatch = run.engine.may_be_submitted_by_hand
    fields = _slice_fields(run, submission.batch.rows)
    message = f"{what}{':' if by_sbatch else '.'}"
    emit_note("would-submit", message, **fields, submission=submission.number)
    if not by_sbatch:
        return
    words = [
        "sbatch",
        "--parsable",
        *submission.overrides.to_argv(),
        relative_path(run.directory.script),
        *submission.arguments,
    ]
    print_line(quote_words(words))
    for found in overridden_edit_notes(run, submission):
        print_note(found, "  ")
