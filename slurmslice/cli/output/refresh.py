"""Polls before a verb acts, and their notes."""

from __future__ import annotations

from slurmslice.actions.poll import poll
from slurmslice.actions.resolve_doubts import FENCE_AFTER_S, wait_for_doubts
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.run.run import Run


def refresh(run: Run) -> None:
    """Poll the run once and print the notes of the poll."""
    for found in poll(run).notes:
        print_note(found)


def wait_for_doubts_with_note(run: Run) -> None:
    """Wait until it is known if Slurm accepted each submission; a note names the first one.

    Raises:
        NoAnswerError: Slurm cannot be asked for them.
    """
    if doubts := run.journal_state.unconfirmed():
        emit_note(
            "looking-for-submission",
            f"Looking for submission {doubts[0].number:03d} for up to {FENCE_AFTER_S:.0f} s: it "
            "is not "
            f"known if Slurm took it.",
            submission=doubts[0].number, seconds=FENCE_AFTER_S,
        )  # fmt: skip
        for found in wait_for_doubts(run):
            print_note(found)
