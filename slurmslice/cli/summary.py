"""The report at the end of a run and in ``status``: counts, keys, and what to type next."""

from __future__ import annotations

import shlex

from slurmslice.cli.console import out, painted, say
from slurmslice.reports.counts import counts
from slurmslice.run import Run
from slurmslice.states import FAILURES, State


def tell(run: Run) -> None:
    """Counts with key ranges on stdout; what to do about it on stderr."""
    for count in counts(run):
        out(f"{painted(count.state, 14)} {len(count.rows):>7}  {count.keys}  ({count.why})")
    hint = next_step(run)
    if hint:
        say(hint)


def next_step(run: Run) -> str:
    """What to type next; empty where there is nothing to do."""
    states, name = run.standings.tally(), shlex.quote(run.asked.name)
    if run.ledger.held:
        return (
            f"The rest is {run.ledger.held}.\n"
            f"See why:      slurmslice logs {name} -- {_first_key(run)}\n"
            f"Go on anyway: slurmslice run {name} --no-breaker"
        )
    bad = [state for state in states if state.failed]
    if bad:
        more = " --mem 2x" if State.OUT_OF_MEMORY in states else ""
        more += " --time 2x" if State.TIMEOUT in states else ""
        return (
            f"See why:   slurmslice logs {name} -- {_first_key(run)}\n"
            f"Once mended: slurmslice resubmit {name}{more}"
        )
    if State.CANCELLED in states and run.finished:
        return f"What was cancelled comes back with: slurmslice resubmit {name} --state CANCELLED"
    if State.WAITING in states and not run.in_flight():
        verb = "run" if run.asked.engine == "local" else "submit"
        return f"What waits goes in with: slurmslice {verb} {name}"
    return ""


def _first_key(run: Run) -> str:
    """The key of the first slice that failed, as it can be typed."""
    return shlex.quote(run.table.keys[run.standings.rows_in(FAILURES)[0]])


NOT_FINISHED = 4


def exit_code(run: Run) -> int:
    """0 every slice done, 1 finished and some not done, 4 not finished."""
    if not run.finished:
        return NOT_FINISHED
    return 0 if run.succeeded else 1
