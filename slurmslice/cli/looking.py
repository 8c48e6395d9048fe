"""What is looked up before something is done, and what is said of it."""

from __future__ import annotations

from slurmslice.cli.console import note, print_note
from slurmslice.run import Run
from slurmslice.verbs.poll import poll
from slurmslice.verbs.settle import DOUBT_S, wait_out_doubts


def look(run: Run) -> None:
    """Look once before something is done, and say what was found out by it."""
    for found in poll(run).notes:
        print_note(found)


def settle_doubts(run: Run) -> None:
    """Where it is not known whether a submission was taken: say so, wait, say what became of it.

    Raises:
        NoAnswer: it cannot be looked up.
    """
    if doubts := run.ledger.in_doubt():
        note(
            "looking-for-submission",
            f"Whether submission {doubts[0].number:03d} was taken is not known: "
            f"looking for it, for {DOUBT_S:.0f} s at most.",
            submission=doubts[0].number, seconds=DOUBT_S,
        )  # fmt: skip
        for found in wait_out_doubts(run):
            print_note(found)
