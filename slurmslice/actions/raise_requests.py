"""Raise the memory of queued slices, after others with the same request exceeded it."""

from __future__ import annotations

from slurmslice.notes import Note
from slurmslice.plan.repair_forward import find_raises
from slurmslice.run.raised_requests import RequestRaised
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array


def raise_requests(run: Run) -> tuple[Note, ...]:
    """Record the requests that are raised now. The caller holds the lock.

    Returns:
        a note on each.
    """
    events = [
        RequestRaised(
            one.rows, one.request, one.rung, one.before, one.now, one.evidence.over,
            one.evidence.judged, one.given_bytes, run.clock(),
        )
        for one in find_raises(run)
    ]  # fmt: skip
    for event in events:
        run.decide(event)
    return tuple(map(raise_note, events))


def raise_note(event: RequestRaised) -> Note:
    """Return a note on a raised request, with its evidence."""
    slices = len(parse_array(event.rows))
    request = "slice that waited requests" if slices == 1 else "slices that waited request"
    message = (
        f"{slices} {request} {event.now} and not {event.before}, because {event.over} of "
        f"{event.judged} slices that ended, or ran longer than those, exceeded {event.before}."
    )
    return Note(
        "memory-raised",
        message,
        {"before": event.before, "now": event.now, "slices": slices,
         "over": event.over, "judged": event.judged},
    )  # fmt: skip
