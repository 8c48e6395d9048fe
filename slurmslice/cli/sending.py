"""What ``submit`` and ``resubmit`` share: show it, or do it and say what was done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from slurmslice.submission import Draft, over_edited
from slurmslice.verbs.feed import Fed
from slurmslice.verbs.follow import Policy
from slurmslice.verbs.steer import release, wait_until_gone
from slurmslice.verbs.submit import Choose, check_possible, lowered, preview, rehearse, submit


def send(
    run: Run,
    choose: Choose,
    changes: Mapping[str, str],
    *,
    verb: str,
    again: Callable[[Sequence[str]], Sequence[str]],
    dry_run: bool,
    nothing: Callable[[Run], None],
) -> int:
    """Submit the chosen slices, or show what would be; the exit code.

    Args:
        run: the run.
        choose: picks them.
        changes: sbatch options that change their request.
        verb: what is called.
        again: its words that choose the same slices, with these options.
        dry_run: only show it.
        nothing: says that there is nothing to do.
    """
    look(run)
    check_possible(run, choose, changes)
    tell_lowered(run, choose, changes)
    if dry_run:
        for note in rehearse(run, choose, verb):
            say(note)
        if not run.ledger.held:
            show_all(run, preview(run, choose, changes), nothing)
        return 0
    settle_doubts(run)
    try:
        fed = submit(run, choose, changes, verb)
        tell_taken(run, fed.taken)
        fed.check(passing=False)
    except EngineError as why:
        options = changing_options(why.message).split() if isinstance(why, Refused) else []
        line = join(("slurmslice", verb, run.asked.name, *again(options)))
        with_ = ", with options that change the request" if options else ""
        say(f"The run is kept: {relative(run.place.path)}. To try again{with_}: {line}")
        raise
    if not fed.taken and not run.ledger.queue:
        nothing(run)
        return 0
    return _afterwards(run, fed)


def tell_lowered(run: Run, choose: Choose, changes: Mapping[str, str]) -> None:
    """Say which slices get less than they asked for before: an x may have been forgotten.

    Raises:
        BadInput: it surely was, in a bare number that is less than a tenth.
    """
    for less, rows in lowered(run, choose, changes).items():
        option = less.option
        keys = key_ranges([run.table.keys[row] for row in rows])
        found = f"--{option}={less.now} is less than the {less.before} that {keys} had"
        if less.far and changes.get(option, "").isdecimal():
            raise BadInput(
                f"{found}: nothing was submitted.",
                f"{changes[option]} times as much is --{option} {changes[option]}x. If so little "
                f"is meant: --{option} {less.now}",
            )
        say(f"Note: {found}; twice as much is --{option} 2x.")


def let_start(run: Run, *, dry_run: bool = False) -> None:
    """Release what the breaker holds, or show what would be, and say which slices it is.

    What goes in anew with an edited script is waited for until it can.
    """
    look(run)
    let_go = release(run)
    if renewed := let_go.renewed:
        say(f"{'Would cancel' if dry_run else 'Cancelled'} {_named(run, renewed)} that the breaker "
            "held with script.sh as it was before its edit: they go in anew.")  # fmt: skip
    if released := let_go.released:
        verb = "Would release" if dry_run else "Released"
        say(f"{verb} {_named(run, released)} that the breaker held.")
    if renewed and not (dry_run or wait_until_gone(run, renewed)):
        name = quote(run.asked.name)
        say(f"Slurm has not let them go yet; slurmslice run {name} puts them in when it has.")


def _named(run: Run, rows: Sequence[int]) -> str:
    return f"{count(len(rows))} ({key_ranges([run.table.keys[row] for row in rows])})"


def _afterwards(run: Run, fed: Fed) -> int:
    """On Slurm the work is handed over. This machine works only while a process does."""
    run.engine.wait(0)
    if run.engine.working:
        code = follow_live(run, Policy(submits=False))
        return 0 if code == NOT_FINISHED else code  # what was put in has ended; others wait
    if run.engine.runs_in_process:
        say("The `slurmslice run` that is going on works on them.")
    tell_how_to_come_back(run)
    tell_what_waits(run, fed)
    return 0


def tell_what_waits(run: Run, fed: Fed) -> None:
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


def show_all(run: Run, drafts: Iterator[Draft], nothing: Callable[[Run], None]) -> None:
    """What would be submitted: the first submissions, how many more, or that there is nothing."""
    first = list(islice(drafts, _SHOWN))
    if not first:
        nothing(run)
    for draft in first:
        _show(run, draft)
    rest = list(drafts)
    if rest:
        more = sum(len(draft.batch.rows) for draft in rest)
        say(f"… and {count(more)} in {count(len(rest), 'more submission')}, "
            f"up to {rest[-1].number:03d}.")  # fmt: skip


def nothing_waits(run: Run) -> None:
    """Say so."""
    say("Nothing waits in this run.")


def _show(run: Run, draft: Draft) -> None:
    what = f"Would submit {_named(run, draft.batch.rows)} as submission {draft.number:03d}"
    if not run.engine.may_be_submitted_by_hand:  # no sbatch is called for it
        say(f"{what}.")
        return
    say(f"{what}:")
    words = [
        "sbatch",
        "--parsable",
        *(f"--{name}={value}" if value else f"--{name}" for name, value in draft.overrides),
        relative(run.place.script),
        *draft.arguments,
    ]
    out(join(words))
    for note in over_edited(run, draft):
        say(f"  {note}")
