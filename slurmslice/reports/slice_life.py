"""The life of a slice: its attempts, each with its request and its end, and their ladder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from slurmslice.plan.failure_causes import cause_in
from slurmslice.policy.causes import cause_of
from slurmslice.run.run import Run
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.packing import slice_request
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State

_NO_REQUEST_OF_A_SLICE = frozenset(
    {"array", "begin", "comment", "dependency", "exclude", "job-name", "output", "error"}
)
"""Options that may differ between attempts and are no rung of a ladder."""


@dataclass(frozen=True, slots=True)
class SliceAttempt:
    """One attempt of a slice.

    Attributes:
        submission: the submission that carried it.
        request: the request of the slice in it.
        status: the last that was seen of it; None if it did not fail and was replaced.
        cause: the cause of its failure, in the word that ``--on`` takes; empty if it did not fail.
    """

    submission: Submission
    request: ResourceRequest
    status: SliceStatus | None
    cause: str

    @property
    def end(self) -> str:
        """The end in one word: a cause, ``done``, or the state in small letters."""
        if self.status is None:
            return "replaced"
        word = "done" if self.status.state is State.COMPLETED else self.status.state.lower()
        return self.cause or word


class SliceLives:
    """The lives of a run's slices."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._past = run.statuses.past_submissions()

    def of(self, row: int) -> list[SliceAttempt]:
        """Return all attempts of a slice, the oldest first."""
        known = self._run.journal_state.submissions.values()
        accepted = (one for one in known if one.status is SubmissionStatus.SUBMITTED)
        return self._attempts(row, (one.number for one in accepted if row in one.places))

    def ladder(self, row: int) -> str:
        """Return the failed attempts and the newest one in a line: 2G oom (n3) → 4G done (n7)."""
        numbers = [*self._past.get(row, ()), self._run.statuses.seen(row).submission]
        return ladder_text(self._attempts(row, dict.fromkeys(filter(None, numbers))))

    def _attempts(self, row: int, numbers: Iterable[int]) -> list[SliceAttempt]:
        return [self._attempt(row, number) for number in numbers]

    def _attempt(self, row: int, number: int) -> SliceAttempt:
        run, submission = self._run, self._run.journal_state.submissions[number]
        newest = run.statuses.seen(row)
        status = newest if newest.submission == number else run.statuses.past(row, number)
        failed = status is not None and status.state.failed
        cause = cause_in(run, status, cause_of(status)) if status and failed else ""
        request = slice_request(submission.options_of(row), run.record.packing)
        return SliceAttempt(submission, request, status, cause)


def ladder_text(attempts: Iterable[SliceAttempt]) -> str:
    """Return attempts in a line, each with what its request has alone, its end and its node. Pure.

    Example: ``2G oom (n3) → 4G oom (n7) → 8G done (n1)``.
    """
    known = list(attempts)
    names = dict.fromkeys(name for one in known for name in one.request)
    varying = [
        name
        for name in names
        if name not in _NO_REQUEST_OF_A_SLICE and len({one.request.get(name) for one in known}) > 1
    ]
    return " → ".join(_rung(one, varying) for one in known)


def _rung(one: SliceAttempt, varying: Iterable[str]) -> str:
    values = (_value(name, one.request[name]) for name in varying if name in one.request)
    node = f"({one.status.node})" if one.status and one.status.node else ""
    return " ".join(filter(None, (*values, one.end, node)))


def _value(name: str, value: str) -> str:
    return value if name in {"time", *MEMORY_OPTIONS} else f"--{name}={value}"
