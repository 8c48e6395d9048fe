"""What ``submit`` and ``resubmit`` share: show it, or do it and say what was done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice

from slurmslice.cli.console import out, say
from slurmslice.cli.live import follow_live
from slurmslice.cli.looking import look, settle_doubts
from slurmslice.cli.preview import relative, tell_how_to_come_back, tell_taken
from slurmslice.cli.summary import NOT_FINISHED, changing_options, next_step, waits
from slurmslice.command import join, quote
from slurmslice.errors import BadInput, EngineError, Refused
from slurmslice.reports.counts import count, key_ranges
from slurmslice.run import Run
from slurmslice.submission import PlannedSubmission, over_edited
from slurmslice.submission_plan import Choice, Plan, make_plan, with_limits
from slurmslice.verbs.follow import Policy
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
        say(f"The run is kept: {relative(run.place.path)}. To try again{with_}: {line}")
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
                code="far-less",
                option=option,
            )
        say(f"Note: {found}; twice as much is --{option} 2x.")
    return plan


def tell_left_out(run: Run, fed: SubmitOutcome) -> None:
    """Say which slices of the plan were not submitted, because something happened to them."""
    if fed.left_out:
        say(f"Left out: {_named(run, fed.left_out)}, which changed since they were looked at.")


def let_start(run: Run) -> None:
    """Release what the breaker holds, and say which slices it is; of a read-only run only say it.

    What goes in anew with an edited script is waited for until it can.
    """
    look(run)
    let_go, would = release(run), run.place.read_only
    if renewed := let_go.renewed:
        say(f"{'Would cancel' if would else 'Cancelled'} {_named(run, renewed)} that the breaker "
            "held with script.sh as it was before its edit: they go in anew.")  # fmt: skip
    if released := let_go.released:
        verb = "Would release" if would else "Released"
        say(f"{verb} {_named(run, released)} that the breaker held.")
    if renewed and not would and not wait_until_gone(run, renewed):
        name = quote(run.record.name)
        say(f"Slurm has not let them go yet; slurmslice run {name} puts them in when it has.")


def _named(run: Run, rows: Sequence[int]) -> str:
    return f"{count(len(rows))} ({key_ranges([run.table.keys[row] for row in rows])})"


def _afterwards(run: Run, fed: SubmitOutcome) -> int:
    """On Slurm the work is handed over. This machine works only while a process does."""
    run.engine.wait(0)
    if run.engine.working:
        code = follow_live(run, Policy(submits=False))
        return 0 if code == NOT_FINISHED else code  # what was put in has ended; others wait
    if run.record.engine == "local":
        say("The `slurmslice run` that is going on works on them.")
    tell_how_to_come_back(run)
    tell_what_waits(run, fed)
    return 0


def tell_what_waits(run: Run, fed: SubmitOutcome) -> None:
    """How many slices wait, why, and what puts them in."""
    if run.ledger.held:
        again = [row for row in run.ledger.queue if run.ledger.attempts[row]]
        if again:
            wait = "slice waits" if len(again) == 1 else "slices wait"
            say(f"{len(again)} {wait} to go in again, {run.ledger.held}.")
        say(next_step(run))
        return
    if words := waits(run, fed.waits):
        say(words)


_SHOWN = 5


def show_plan(run: Run, plan: Plan, nothing: Callable[[Run], None]) -> None:
    """Show a plan: its first submissions, how many more, or that there is nothing to do."""
    for note in plan.notes:
        say(note)
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
        say(f"… and {count(more)} in {count(len(rest), 'more submission')}, "
            f"up to {rest[-1].number:03d}.")  # fmt: skip


def nothing_waits(run: Run) -> None:
    """Say so."""
    say("Nothing waits in this run.")


def _show(run: Run, submission: PlannedSubmission) -> None:
    what = (
        f"Would submit {_named(run, submission.batch.rows)} as submission {submission.number:03d}"
    )
    if run.record.engine == "local":  # no sbatch is called for it
        say(f"{what}.")
        return
    say(f"{what}:")
    words = [
        "sbatch",
        "--parsable",
        *submission.overrides.to_argv(),
        relative(run.place.script),
        *submission.arguments,
    ]
    out(join(words))
    for note in over_edited(run, submission):
        say(f"  {note}")
