"""What a run's own decisions come to: which submission holds each slice. A pure fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from slurmslice.journal import (
    Barred,
    Cancelled,
    Dismissed,
    Event,
    Intent,
    Refused,
    Returned,
    Submitted,
    Throttled,
)
from slurmslice.ranges import ArrayExpression, parse_array


class Fate(StrEnum):
    """What became of a submission."""

    INTENDED = "intended"  # sbatch was about to be called; whether it was taken is not known yet
    SUBMITTED = "submitted"
    REFUSED = "refused"
    BARRED = "barred"


@dataclass(frozen=True)
class Submission:
    """One sbatch call of the run's script, as far as it went.

    Attributes:
        intent: what was about to be submitted.
        fate: what became of it.
        job: the array's job id; empty until it is known.
        cluster: the cluster that took it, where that was said.
        submitted_at: epoch seconds on our clock; when the answer came.
        barred_at: when it was barred; 0 where it was not.
        cancelled: rows that were cancelled on request, and when (epoch seconds).
    """

    intent: Intent
    fate: Fate = Fate.INTENDED
    job: str = ""
    cluster: str | None = None
    submitted_at: float = 0.0
    barred_at: float = 0.0
    cancelled: dict[int, float] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.intent.number

    @cached_property
    def array(self) -> ArrayExpression:
        """The indices it was made of, and the throttle."""
        return parse_array(self.intent.array)

    @cached_property
    def rows(self) -> tuple[int, ...]:
        """The rows that its indices carry, pairwise with ``array``."""
        return tuple(parse_array(self.intent.rows))

    @cached_property
    def index_of(self) -> dict[int, int]:
        """The array index that carries each row."""
        return dict(zip(self.rows, self.array, strict=True))


@dataclass
class Ledger:
    """Which submission holds each slice, and how many attempts that makes.

    Attributes:
        submissions: by number, in order.
        holder: for each row, the number of the submission that holds it; 0 for none.
        attempts: for each row, how many attempts were given to it.
        withdrawn: rows that were cancelled while no submission held them, and when.
        returned: why rows were given back that no submission holds since.
        throttle: the newest ``throttle N``; ``throttled`` tells whether there was one.
    """

    submissions: dict[int, Submission]
    holder: list[int]
    attempts: list[int]
    withdrawn: dict[int, float] = field(default_factory=dict)
    returned: dict[int, str] = field(default_factory=dict)
    throttle: int | None = None
    throttled: bool = False
    _before: dict[int, list[int]] = field(default_factory=dict, repr=False)

    @property
    def next_number(self) -> int:
        """The number that the next submission gets."""
        return max(self.submissions, default=0) + 1

    def of_row(self, row: int) -> Submission | None:
        """The submission that holds a row."""
        return self.submissions.get(self.holder[row])

    def rows_of(self, number: int) -> Iterator[int]:
        """The rows that a submission holds (others may have gone on to a later one)."""
        return (row for row in self.submissions[number].rows if self.holder[row] == number)

    def barred_since(self, when: float) -> list[Submission]:
        """Submissions that were barred since then and whose job has not appeared."""
        return [s for s in self.submissions.values() if s.barred_at > when and not s.job]

    def in_doubt(self) -> list[Submission]:
        """Submissions of which it is not known whether they were taken."""
        return [s for s in self.submissions.values() if s.fate is Fate.INTENDED]

    def changes_of(self, row: int) -> tuple[tuple[str, str], ...]:
        """The changed request under which a row was last submitted."""
        submission = self.of_row(row)
        return submission.intent.changes if submission else ()

    def apply(self, event: Event) -> None:
        """Fold one event in."""
        match event:
            case Intent():
                self._intend(event)
            case Submitted():
                self._accept(event)
            case Refused():
                self._undo(event, fate=Fate.REFUSED)
            case Barred():
                self._undo(event, fate=Fate.BARRED, barred_at=event.at)
            case Dismissed():
                self._settle(event.number, job=event.job)
            case Returned():
                self._return(event)
            case Cancelled():
                self._cancel(event)
            case Throttled():
                self.throttle, self.throttled = event.limit, True

    def _intend(self, event: Intent) -> None:
        submission = self.submissions[event.number] = Submission(event)
        rows = parse_array(event.rows)
        if rows.highest >= len(self.holder) or len(rows) != len(submission.array):
            raise ValueError(f"submission {event.number} speaks of slices that are not there")
        self._take(event.number)

    def _take(self, number: int) -> None:
        """Hand a submission's rows to it."""
        submission = self.submissions[number]
        self._before[number] = [self.holder[row] for row in submission.rows]
        for row in submission.rows:
            self.holder[row] = number
            self.attempts[row] += 1
            self.withdrawn.pop(row, None)
            self.returned.pop(row, None)

    def _accept(self, event: Submitted) -> None:
        if self.submissions[event.number].fate in {Fate.REFUSED, Fate.BARRED}:
            self._take(event.number)  # sent again by hand, after it had been refused
        self._settle(
            event.number,
            fate=Fate.SUBMITTED,
            job=event.job,
            cluster=event.cluster,
            submitted_at=event.at,
        )

    def _settle(self, number: int, **what: object) -> None:
        self.submissions[number] = replace(self.submissions[number], **what)  # type: ignore[arg-type]

    def _undo(self, event: Refused | Barred, **what: object) -> None:
        self._settle(event.number, **what)
        submission = self.submissions[event.number]
        for row, before in zip(submission.rows, self._before[event.number], strict=True):
            if self.holder[row] == event.number:
                self.holder[row] = before
                self.attempts[row] -= 1

    def _return(self, event: Returned) -> None:
        for row in parse_array(event.rows):
            if self.holder[row] == event.number:
                self.holder[row] = 0
                self.attempts[row] -= 1
                self.returned[row] = event.reason

    def _cancel(self, event: Cancelled) -> None:
        rows = dict.fromkeys(parse_array(event.rows), event.at)
        if event.number:
            known = self.submissions[event.number].cancelled
            self._settle(event.number, cancelled={**known, **rows})
        else:
            self.withdrawn.update(rows)


def replay(events: Iterable[Event], slices: int) -> Ledger:
    """The ledger of a run of so many slices after these events."""
    ledger = Ledger({}, [0] * slices, [0] * slices)
    for event in events:
        ledger.apply(event)
    return ledger
