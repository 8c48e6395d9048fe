"""The report at the end of a run and in ``status``: counts, keys, and what to type next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slurmslice.cli.console import note, out, painted, print_note
from slurmslice.cli.preview import relative
from slurmslice.command import quote
from slurmslice.engines.slurm.job_states import find_blocking_reason
from slurmslice.engines.slurm.sbatch_result import suggest_change
from slurmslice.judge import is_unseen
from slurmslice.notes import Note
from slurmslice.reports.counts import count, counts, key_ranges
from slurmslice.run import Run
from slurmslice.states import FAILURES, IN_FLIGHT, State
from slurmslice.verbs.poll import Poll


def tell(run: Run) -> None:
    """Counts with key ranges on stdout; what to do about it on stderr."""
    for one in counts(run):
        out(f" {len(one.rows):>7}  {one.keys}  ({one.why})", painted(one.state, 14))
    if run.ledger.refusal:
        note("submission-rejected", run.ledger.refusal)
    for found in stuck(run):
        print_note(found)
    if hint := _not_in_yet(run):
        note("waiting", hint, slices=waiting_count(run))
    if hint := next_step(run):
        note("next-step", hint)


def no_answers(looked: Poll) -> Iterator[Note]:
    """Why a source did not answer, a note each."""
    return (Note("no-answer", f"No answer: {silence}") for silence in looked.silences)


def _not_in_yet(run: Run) -> str:
    """What waits while others are in flight; whether somebody puts it in cannot be seen."""
    if run.ledger.held or not (run.ledger.queue and run.in_flight()):
        return ""
    return f"{waits(run)} Where one of these goes on, nothing is to be typed."


def waits(run: Run, why: str = "not in the queue yet") -> str:
    """How many slices wait, why, and what puts them in; empty where none does."""
    if queued := len(run.ledger.queue):
        puts_in = f"What puts them in as there is room: {_going_on(run)}."
        return f"{count(queued)} waiting ({why}). {puts_in}"
    name, waiting = quote(run.record.name), run.standings.tally().get(State.WAITING, 0)
    return f"{count(waiting)} waiting; `slurmslice submit {name}` puts them in." if waiting else ""


def waiting_count(run: Run) -> int:
    """How many slices wait: those that are queued for room, else those that nobody has queued."""
    return len(run.ledger.queue) or run.standings.tally().get(State.WAITING, 0)


def held_by_throttle(run: Run) -> Note | None:
    """How many arrays the throttle holds, and the commands that let them start; None if none."""
    held = sum(submission.share == 0 for submission in run.in_flight())
    if not held:
        return None
    message = (
        f"Held by the throttle until others have ended: {count(held, 'array')}. "
        f"What lets them start then: {_going_on(run)}."
    )
    return Note("held-for-throttle", message, {"arrays": held})


def _going_on(run: Run) -> str:
    """The commands that go on with a run by themselves."""
    name = quote(run.record.name)
    by_cron = f", or slurmslice tick {name} (from cron)" if run.record.engine == "slurm" else ""
    return f"slurmslice run {name}{by_cron}"


def stuck(run: Run) -> tuple[Note, ...]:
    """Which slices are pending and will not start by themselves, and what to type."""
    if run.ledger.held:
        return ()
    # Held for the throttle is no blocker: the process that follows the run releases it.
    held = {number for number, given in run.ledger.submissions.items() if given.share == 0}
    pending = run.standings.rows_in({State.PENDING})
    pending = [row for row in pending if run.standings[row].submission not in held]
    blockers = {text: find_blocking_reason(text) for text in run.standings.reasons(pending)}
    notes = []
    for blocker in dict.fromkeys(filter(None, blockers.values())):
        rows = [row for row in pending if blockers[run.standings[row].reason] == blocker]
        keys = key_ranges([run.table.keys[row] for row in rows])
        message = (
            f"{keys}: will not start by itself ({blocker.slurm_reason}), it {blocker.explanation}."
        )
        job = (run.job_of(run.standings[rows[0]]) or "").partition("_")[0]
        advice = blocker.advice.format(job=job) or _changed(run, rows, blocker.options_to_change)
        names = {"keys": keys, "reason": blocker.slurm_reason}
        notes.append(Note("will-not-start", f"{message}\n{advice}", names))
    return (*notes, *_lost(run))


LOST_S = 600.0
"""So long after a submission each source knows of it, where it answers and has not lost it."""


def _lost(run: Run) -> list[Note]:
    """Which slices Slurm knows nothing of, though it answers, and how they come back."""
    rows = run.standings.rows_in(IN_FLIGHT)
    if not any(map(is_unseen, run.standings.reasons(rows))):
        return []
    old = {n for n, s in run.ledger.submissions.items() if run.clock() - s.intent.at >= LOST_S}
    standings = ((row, run.standings[row]) for row in rows)
    lost = [row for row, one in standings if one.submission in old and is_unseen(one.reason)]
    if not lost:
        return []
    keys = key_ranges([run.table.keys[row] for row in lost])
    again = _changed(run, lost, "", to="If it stays so:")
    message = f"{keys}: Slurm answers, and does not know it any more."
    return [Note("unknown-to-slurm", f"{message}\n{again}", {"keys": keys})]


def _changed(run: Run, rows: Sequence[int], options: str, *, to: str = "To change it:") -> str:
    """How slices that have not ended go in again, with another request where there is one."""
    name = quote(run.record.name)
    others = sum(n for state, n in run.standings.tally().items() if not state.final) > len(rows)
    keys = f" -- {quote(run.table.keys[rows[0]])} …" if others else ""
    return (
        f"{to} slurmslice cancel {name}{keys}\n"
        f"{'then:':{len(to)}} slurmslice resubmit {name} --state CANCELLED {options}".rstrip()
    )


def next_step(run: Run) -> str:
    """What to type next; empty where there is nothing to do."""
    states, name = run.standings.tally(), quote(run.record.name)
    bad = [state for state in states if state.failed]
    if run.ledger.held and not run.finished:
        # What failed and is to go in again waits too: what it wrote still says why.
        seen = next((row for row in run.ledger.queue if run.standings.seen(row).state.failed), None)
        first = _first_key(run) if bad else "" if seen is None else quote(run.table.keys[seen])
        why = f"See why:      slurmslice logs {name} -- {first}\n" if first else ""
        where = f"Mend it in:   {mend}\n" if (mend := _to_mend(run)) else ""
        mended = f"Once mended:  slurmslice resubmit {name} --no-breaker\n" if bad else ""
        return (
            f"The rest is {run.ledger.held}.\n{why}{where}{mended}"
            f"Go on anyway: slurmslice run {name} --no-breaker"
        )
    if bad:
        lines = [f"slurmslice resubmit {name}{choice}" for choice in _repairs(bad)]
        where = f"Mend it in:  {mend}\n" if (mend := _to_mend(run)) else ""
        return (
            f"See why:     slurmslice logs {name} -- {_first_key(run)}\n{where}"
            f"Once mended: " + "\n             ".join(lines)
        ) + (f"\n{still}" if (still := _stands_still(run)) else "")
    if State.CANCELLED in states and run.finished:
        return f"What was cancelled comes back with: slurmslice resubmit {name} --state CANCELLED"
    return _stands_still(run)


def _stands_still(run: Run) -> str:
    """What puts in the slices that wait and that nobody is asked to put in; empty where none do."""
    waiting = run.standings.tally().get(State.WAITING, 0)
    if not waiting or (run.in_flight() and waiting == len(run.ledger.queue)):
        return ""
    verb, name = "run" if run.record.engine == "local" else "submit", quote(run.record.name)
    if run.ledger.refusal:
        options = changing_options(run.ledger.refusal)
        return f"Change the request, as in: slurmslice {verb} {name} {options}"
    return f"What waits goes in with: slurmslice {verb} {name}"


_SETUP_EXITED = ("setup exited", "its setup exited")


def _to_mend(run: Run) -> str:
    """Where that stands by which slices failed; empty where none did of itself."""
    why = run.standings.reasons(run.standings.rows_in({State.FAILED}))
    if not why:
        return ""
    stands = "resubmit submits it as it stands"
    script = quote(relative(run.place.script))
    if any(reason.startswith(_SETUP_EXITED) for reason in why):
        return f"{script} (its setup; {stands})"
    return f"the program, or {script} ({stands})"


def changing_options(refusal: str) -> str:
    """What to ask for in place of what was refused; an example where that is not known."""
    return suggest_change(refusal)[0] or "-p PARTITION"


def _repairs(bad: Sequence[State]) -> list[str]:
    """What follows ``resubmit RUN``, for each cause another, where there are several."""
    rest = [state for state in bad if state not in _RAISED]
    causes = [([state], more) for state, more in _RAISED.items() if state in bad]
    causes += [(rest, "")] if rest else []
    chosen = [f" --state {','.join(states)}" if len(causes) > 1 else "" for states, _ in causes]
    return [choice + more for choice, (_, more) in zip(chosen, causes, strict=True)]


_RAISED = {State.OUT_OF_MEMORY: " --mem 2x", State.TIMEOUT: " --time 2x"}


def _first_key(run: Run) -> str:
    """The key of the first slice that failed, as it can be typed."""
    return quote(run.table.keys[run.standings.rows_in(FAILURES)[0]])


NOT_FINISHED = 4


def exit_code(run: Run) -> int:
    """0 every slice done, 1 finished and some not done, 4 not finished."""
    if not run.finished:
        return NOT_FINISHED
    return 0 if run.succeeded else 1
