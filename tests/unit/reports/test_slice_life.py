"""The ladder of a slice's attempts in one line."""

from __future__ import annotations

import pytest

from slurmslice.reports.slice_life import SliceAttempt, ladder_text
from slurmslice.run.journal import Intent
from slurmslice.run.submission import Submission
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State

SUBMISSION = Submission(Intent(1, "t", "x", "0", "0", NO_REQUEST, NO_REQUEST, "", "", 0.0))


def attempt(state: State | None, node: str = "", cause: str = "", **options: str) -> SliceAttempt:
    """Return an attempt with this end and this request."""
    request = ResourceRequest.of((name.replace("_", "-"), value) for name, value in options.items())
    seen = None if state is None else SliceStatus(state, "why", node=node or None)
    return SliceAttempt(SUBMISSION, request, seen, cause)


@pytest.mark.parametrize(
    ("attempts", "text"),
    [
        (
            [
                attempt(State.OUT_OF_MEMORY, "n3", "oom", mem="2G", time="60"),
                attempt(State.OUT_OF_MEMORY, "n7", "oom", mem="4G", time="60"),
                attempt(State.COMPLETED, mem="8G", time="60"),
            ],
            "2G oom (n3) → 4G oom (n7) → 8G done",
        ),
        (
            [
                attempt(State.NODE_FAIL, "n3", "node", mem="2G"),
                attempt(State.RUNNING, "n4", mem="2G", exclude="n3"),
            ],
            "node (n3) → running (n4)",
        ),
        (
            [
                attempt(State.TIMEOUT, "n1", "timeout", time="01:00:00", partition="main"),
                attempt(None, time="02:00:00", partition="fat"),
                attempt(State.PENDING, time="02:00:00", partition="fat"),
            ],
            "01:00:00 --partition=main timeout (n1) → 02:00:00 --partition=fat replaced → "
            "02:00:00 --partition=fat pending",
        ),
        ([attempt(State.FAILED, "n1", "exit:3", mem="2G")], "exit:3 (n1)"),
        ([], ""),
    ],
)
def test_a_ladder_has_what_differs(attempts: list[SliceAttempt], text: str) -> None:
    """Values that all attempts share are left out, and so are options that are no rung."""
    assert ladder_text(attempts) == text
