"""What ``submit`` and ``resubmit`` share: show it, or do it and say what was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from slurmslice.cli.console import note, out, print_note
from slurmslice.cli.live import follow_live
from slurmslice.cli.looking import look, settle_doubts
from slurmslice.cli.preview import relative, tell_how_to_come_back, tell_taken
from slurmslice.cli.summary import NOT_FINISHED, changing_options, next_step, waiting_count, waits
from slurmslice.command import join, quote
from slurmslice.errors import BadInput, EngineError, Refused
from slurmslice.reports.counts import count, key_ranges
from slurmslice.run import Run
from slurmslice.submission import PlannedSubmission, over_edited
from slurmslice.submission_plan import Choice, Plan, make_plan, with_limits
from slurmslice.verbs.follow import ONLY_FINISH
from slurmslice.verbs.steer import release, wait_until_gone
from slurmslice.verbs.submit import Choose, execute, look_before
from slurmslice.verbs.submit_queued import SubmitOutcome


def send(
    run: Run,
    choose: Choose,
    changes: Mapping[str, str],
    *,
    verb: str,
    again: Callable[[Sequence[str]], Sequence[str]],
    nothing: Callable[[Run], None],
) -> int:
    """Plan to submit the chosen slices, and do it; of a read-only run show it. The exit code.

    Args:
        run: the run.
        choose: picks them.
        changes: sbatch options that change their request.
        verb: what is called.
        again: its words that choose the same slices, with these options.
        nothing: says that there is nothing to do.
    """
    look(run)
    if not run.place.read_only:
        settle_doubts(run)
    look_before(run, choose, verb)
    plan = checked_plan(run, choose, changes)
    if run.place.read_only:
        show_plan(run, plan, nothing)
        return 0
    try:
        fed = execute(run, plan, verb)
        tell_taken(run, fed.taken)
        tell_left_out(run, fed)
        fed.check(passing=False)
    except EngineError as why:
        options = changing_options(why.message).split() if isinstance(why, Refused) else []
        line = join(("slurmslice", verb, run.record.name, *again(options)))
        with_ = ", with options that change the request" if options else ""
        kept = f"The run is kept: {relative(run.place.path)}. To try again{with_}: {line}"
        note("run-kept", kept, run=run.record.name, command=line)
        raise
    if not fed.taken and not run.ledger.queue:
        nothing(run)
        return 0
    return _afterwards(run, fed)


def checked_plan(run: Run, choose: Choose, changes: Mapping[str, str]) -> Plan:
    """Plan to submit the chosen slices, and say what is hardly meant.

    Raises:
        BadInput: they could never run, or an x was surely forgotten: a bare number is less than a
            tenth of what slices had.
    """
    plan = with_limits(run, make_plan(run, Choice(choose(run), changes)))
    plan.check()
    for less, rows in plan.lowered.items():
        option = less.option
        keys = key_ranges([run.table.keys[row] for row in rows])
        found = f"--{option}={less.now} is less than the {less.before} that {keys} had"
        if less.far and changes.get(option, "").isdecimal():
            raise BadInput(
                f"{found}: nothing was submitted.",
                f"{changes[option]} times as much is --{option} {changes[option]}x. If so little "
                f"is meant: --{option} {less.now}",
                code="request-lowered",
                option=option,
                value=less.now,
            )
        note(
            "lower-request", f"Note: {found}; twice as much is --{option} 2x.",
            option=option, before=less.before, now=less.now, keys=keys,
        )  # fmt: skip
    return plan


def tell_left_out(run: Run, fed: SubmitOutcome) -> None:
    """Say which slices of the plan were not submitted, because something happened to them."""
    if fed.left_out:
        message = f"Left out: {_named(run, fed.left_out)}, which changed since they were looked at."
        note("slices-left-out", message, **_these(run, fed.left_out))


def let_start(run: Run) -> None:
    """Release what the breaker holds, and say which slices it is; of a read-only run only say it.

    What goes in anew with an edited script is waited for until it can.
    """
    look(run)
    let_go, would = release(run), run.place.read_only
    if renewed := let_go.renewed:
        note(
            "held-slices-replaced",
            f"{'Would cancel' if would else 'Cancelled'} {_named(run, renewed)} that the breaker "
            "held with script.sh as it was before its edit: they go in anew.",
            **_these(run, renewed), dry_run=would,
        )  # fmt: skip
    if released := let_go.released:
        verb = "Would release" if would else "Released"
        message = f"{verb} {_named(run, released)} that the breaker held."
        note("held-slices-released", message, **_these(run, released), dry_run=would)
    if renewed and not (would or wait_until_gone(run, renewed)):
        name = quote(run.record.name)
        message = f"Slurm has not let them go yet; slurmslice run {name} puts them in when it has."
        note("cancel-not-finished", message)


def _named(run: Run, rows: Sequence[int]) -> str:
    return "{} ({keys})".format(count(len(rows)), **_these(run, rows))


def _these(run: Run, rows: Sequence[int]) -> dict[str, Any]:
    """How many slices, and their keys: the fields of a note that names them."""
    return {"slices": len(rows), "keys": key_ranges([run.table.keys[row] for row in rows])}


def _afterwards(run: Run, fed: SubmitOutcome) -> int:
    """On Slurm the work is handed over. This machine works only while a process does."""
    run.engine.wait(0)
    if run.engine.working:
        code = follow_live(run, ONLY_FINISH)
        return 0 if code == NOT_FINISHED else code  # what was put in has ended; others wait
    if run.record.engine == "local":
        note("other-process-works", "The `slurmslice run` that is going on works on them.")
    tell_how_to_come_back(run)
    tell_what_waits(run, fed)
    return 0


def tell_what_waits(run: Run, fed: SubmitOutcome) -> None:
    """How many slices wait, why, and what puts them in."""
    if run.ledger.held:
        again = [row for row in run.ledger.queue if run.ledger.attempts[row]]
        if again:
            wait = "slice waits" if len(again) == 1 else "slices wait"
            message = f"{len(again)} {wait} to go in again, {run.ledger.held}."
            note("resubmitted-but-held", message, slices=len(again))
        note("next-step", next_step(run))
        return
    if words := waits(run, fed.waits):
        note("waiting", words, slices=waiting_count(run))


_SHOWN = 5


def show_plan(run: Run, plan: Plan, nothing: Callable[[Run], None]) -> None:
    """Show a plan: its first submissions, how many more, or that there is nothing to do."""
    for found in plan.notes:
        print_note(found)
    if run.ledger.held:
        return
    submissions = plan.submissions(run)
    first = list(islice(submissions, _SHOWN))
    if not first:
        nothing(run)
    for submission in first:
        _show(run, submission)
    rest = list(submissions)
    if rest:
        more = sum(len(submission.batch.rows) for submission in rest)
        note(
            "more-submissions",
            f"… and {count(more)} in {count(len(rest), 'more submission')}, "
            f"up to {rest[-1].number:03d}.",
            slices=more, submissions=len(rest), last=rest[-1].number,
        )  # fmt: skip


def nothing_waits(run: Run) -> None:
    """Say so."""
    note("nothing-waits", "Nothing waits in this run.")


def _show(run: Run, submission: PlannedSubmission) -> None:
    what = (
        f"Would submit {_named(run, submission.batch.rows)} as submission {submission.number:03d}"
    )
    local = run.record.engine == "local"  # no sbatch is called for it
    these = _these(run, submission.batch.rows)
    note("would-submit", f"{what}{'.' if local else ':'}", **these, submission=submission.number)
    if local:
        return
    words = [
        "sbatch",
        "--parsable",
        *submission.overrides.to_argv(),
        relative(run.place.script),
        *submission.arguments,
    ]
    out(join(words))
    for found in over_edited(run, submission):
        print_note(found, "  ")
