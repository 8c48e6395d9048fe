"""What a run's own decisions come to: which submission holds each slice. A pure fold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property

from slurmslice.journal import (
    Barred,
    Cancelled,
    Dismissed,
    Dropped,
    Event,
    Held,
    Intent,
    PolicyChanged,
    Queued,
    Refused,
    Released,
    Restarted,
    Returned,
    Shared,
    Submitted,
    Throttled,
    Widened,
)
from slurmslice.ranges import ArrayExpression, compress, parse_array
from slurmslice.resources import ResourceRequest


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
        anew: those of them that are to be submitted again once the engine has let them go.
        share: how many tasks of the array may run at once, as it was last told; 0: no more of
            them start; None: no limit.
        stopped: its share was 0 at some time.
        job_name: the job's, where it is not the intent's.
    """

    intent: Intent
    fate: Fate = Fate.INTENDED
    job: str = ""
    cluster: str | None = None
    submitted_at: float = 0.0
    barred_at: float = 0.0
    cancelled: dict[int, float] = field(default_factory=dict)
    anew: frozenset[int] = frozenset()
    share: int | None = None
    stopped: bool = False
    job_name: str = ""

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job_name or self.intent.job_name

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.intent.number

    @cached_property
    def array(self) -> ArrayExpression:
        """The indices it was made of, and the throttle that it was submitted with."""
        return parse_array(self.intent.array)

    @cached_property
    def rows(self) -> Sequence[int]:
        """The rows that it carries, ``pack`` for each index, by index."""
        return parse_array(self.intent.rows).indices

    @cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """For each row the array index that carries it, and its slot in that task, from 0."""
        pack, indices = self.intent.pack, sorted(self.array)
        return {row: (indices[n // pack], n % pack) for n, row in enumerate(self.rows)}

    def index_of(self, row: int) -> int:
        """The array index that carries a row."""
        return self.places[row][0]


def apart(submissions: Iterable[Submission]) -> list[list[Submission]]:
    """Groups in which no job id stands twice: a controller that lost its state gives ids again."""
    groups: list[list[Submission]] = []
    for submission in submissions:
        for group in groups:
            if all(other.job != submission.job for other in group):
                group.append(submission)
                break
        else:
            groups.append([submission])
    return groups


@dataclass
class Ledger:
    """Which submission holds each slice, which are to be submitted, and what else was decided.

    Attributes:
        submissions: by number, in order.
        holder: for each row, the number of the submission that holds it; 0 for none.
        attempts: for each row, how many attempts were given to it.
        queue: rows that are to be submitted as there is room, in order, each with its request.
        requests: the changed request under which each row was last submitted, where it was.
        withdrawn: rows that were cancelled while they waited, and when; a row that is queued
            again is in both, and waits.
        returned: why rows were given back that no submission holds since, and how often.
        former: the number of the submission that last gave each row back.
        throttle: the newest ``throttle N``; ``throttled`` tells whether there was one.
        max_attempts: the newest recorded change of the attempts a slice gets; None: no change.
        most: how many tasks the next submission may have at most, after refusals for now; None
            where there was none.
        held: why nothing is to start; empty where nothing is held.
        max_failures: the newest recorded change of ``RunSpec.max_failures``; None: no change.
        refusal: why the newest submission was refused for good; empty where it was not.
    """

    submissions: dict[int, Submission]
    holder: list[int]
    attempts: list[int]
    queue: dict[int, ResourceRequest] = field(default_factory=dict)
    requests: dict[int, ResourceRequest] = field(default_factory=dict)
    withdrawn: dict[int, float] = field(default_factory=dict)
    returned: dict[int, tuple[str, int]] = field(default_factory=dict)
    former: dict[int, int] = field(default_factory=dict)
    throttle: int | None = None
    throttled: bool = False
    max_attempts: int | None = None
    most: int | None = None
    held: str = ""
    max_failures: int | None = None
    refusal: str = ""
    _before: dict[int, _Before] = field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls, slices: int) -> Ledger:
        """Of a run of so many slices before anything was decided."""
        return cls({}, [0] * slices, [0] * slices)

    @property
    def next_number(self) -> int:
        """The number that the next submission gets."""
        return max(self.submissions, default=0) + 1

    def of_row(self, row: int) -> Submission | None:
        """The submission that holds a row."""
        return self.submissions.get(self.holder[row])

    def last_of(self, row: int) -> Submission | None:
        """The newest submission that was taken and carried a row, whoever holds it now."""
        taken = (s for s in self.submissions.values() if s.fate is Fate.SUBMITTED)
        return max((s for s in taken if row in s.places), key=lambda s: s.number, default=None)

    def rows_of(self, number: int) -> Iterator[int]:
        """The rows that a submission holds (others may have gone on to a later one)."""
        return (row for row in self.submissions[number].rows if self.holder[row] == number)

    def barred_since(self, when: float) -> list[Submission]:
        """Submissions that were barred since then and whose job has not appeared."""
        return [s for s in self.submissions.values() if s.barred_at > when and not s.job]

    def in_doubt(self) -> list[Submission]:
        """Submissions of which it is not known whether they were taken."""
        return [s for s in self.submissions.values() if s.fate is Fate.INTENDED]

    def apply(self, event: Event) -> ArrayExpression | None:
        """Fold one event in.

        Returns:
            the rows that it moved; None where earlier states of some count again.
        """
        match event:
            case Intent():
                return self._intend(event)
            case Queued() | Dropped():
                return self._enqueue(event)
            case Submitted():
                return self._accept(event)
            case Refused() | Barred():
                self._undo(event)
                return None
            case Returned():
                return self._return(event)
            case Restarted():
                return self._restart(event)
            case Widened():
                return self._widen(event)
            case Cancelled():
                return self._cancel(event)
            case Dismissed():
                self._settle(event.number, job=event.job)
            case Shared():
                stopped = self.submissions[event.number].stopped or event.share == 0
                self._settle(event.number, share=event.share, stopped=stopped)
            case Throttled() | PolicyChanged():
                self._set_policy(event)
            case Held() | Released():
                self.held = event.reason if isinstance(event, Held) else ""
        return NOTHING

    def _set_policy(self, event: Throttled | PolicyChanged) -> None:
        if isinstance(event, Throttled):
            self.throttle, self.throttled = event.limit, True
        else:
            if event.max_attempts is not None:
                self.max_attempts = event.max_attempts
            if event.max_failures is not None:
                self.max_failures = event.max_failures

    def _intend(self, event: Intent) -> ArrayExpression:
        if event.number in self.submissions:
            raise ValueError(f"submission {event.number} begins twice")
        submission = self.submissions[event.number] = Submission(event)
        rows = parse_array(event.rows)
        tasks = -(-len(rows) // event.pack)
        if rows.highest >= len(self.holder) or tasks != len(submission.array):
            raise ValueError(f"submission {event.number} speaks of slices that are not there")
        self._settle(event.number, share=submission.array.throttle)
        self._take(event.number, rows)
        return rows

    def _take(self, number: int, rows: ArrayExpression) -> None:
        """Hand rows to a submission."""
        intent = self.submissions[number].intent
        holders = [holder for part in rows.parts for holder in self.holder[_slice(part)]]
        earlier = {row: self.requests[row] for row in _among(rows, self.requests)}
        waited = {row: self.queue.pop(row) for row in _among(rows, self.queue)}
        away = {row: self.withdrawn.pop(row) for row in _among(rows, self.withdrawn)}
        self._before[number] = _Before(holders, waited, earlier, away)
        for part in rows.parts:
            where = _slice(part)
            self.holder[where] = [number] * len(part)
            self.attempts[where] = [attempts + 1 for attempts in self.attempts[where]]
        for row in rows if intent.changes or self.requests else ():
            self.requests[row] = intent.changes

    def _accept(self, event: Submitted) -> ArrayExpression | None:
        submission, moved = self.submissions[event.number], NOTHING
        if submission.fate in {Fate.REFUSED, Fate.BARRED}:
            moved = parse_array(submission.intent.rows)
            self._take(event.number, moved)  # sent again by hand, after it had been refused
        self._before.pop(event.number, None)
        self.refusal = ""
        self.most = self.most and max(self.most, 2 * len(submission.array))
        self._settle(
            event.number,
            fate=Fate.SUBMITTED,
            job=event.job,
            cluster=event.cluster,
            submitted_at=event.at,
            job_name=event.job_name,
        )
        return moved

    def _settle(self, number: int, **what: object) -> None:
        self.submissions[number] = replace(self.submissions[number], **what)  # type: ignore[arg-type]

    def _undo(self, event: Refused | Barred) -> None:
        number = event.number
        before, rows = self._before.pop(number), parse_array(self.submissions[number].intent.rows)
        for row, holder in zip(rows, before.holders, strict=True):
            if self.holder[row] == number:
                self.holder[row] = holder
                self.attempts[row] -= 1
                self.requests.pop(row, None)
        self.requests.update(before.requests)
        self.withdrawn.update(before.withdrawn)
        self.queue = {**before.queue, **self.queue}
        if isinstance(event, Barred):
            self._settle(number, fate=Fate.BARRED, barred_at=event.at)
            return
        self._settle(number, fate=Fate.REFUSED)
        if event.too_many:
            self.most = max(1, len(self.submissions[number].array) // 2)
        if not event.passing:
            self.queue.clear()
            self.refusal = event.message

    def _enqueue(self, event: Queued | Dropped) -> ArrayExpression | None:
        rows = parse_array(event.rows)
        if rows.highest >= len(self.holder):
            raise ValueError("slices were queued that are not there")
        if isinstance(event, Dropped):
            for row in rows:
                self.queue.pop(row, None)
            return None
        self.queue.update(dict.fromkeys(rows, event.changes))
        return rows

    def _return(self, event: Returned) -> ArrayExpression:
        rows = [row for row in parse_array(event.rows) if self.holder[row] == event.number]
        for row in rows:
            self.holder[row] = 0
            self.attempts[row] -= 1
            self.returned[row] = event.reason, self.returned.get(row, ("", 0))[1] + 1
            self.former[row] = event.number
        if event.queued:
            self.queue.update(dict.fromkeys(rows, self.submissions[event.number].intent.changes))
        return compress(rows)

    def _restart(self, event: Restarted) -> ArrayExpression:
        rows = [row for row in parse_array(event.rows) if self.former.get(row) == event.number]
        return self._give(event.number, rows)

    def _widen(self, event: Widened) -> ArrayExpression:
        intent = self.submissions[event.number].intent
        self._settle(event.number, intent=replace(intent, array=event.array, rows=event.rows))
        return self._give(event.number, parse_array(event.rows))

    def _give(self, number: int, rows: Iterable[int]) -> ArrayExpression:
        """Hand a submission those of these rows that none holds."""
        free = [row for row in rows if not self.holder[row]]
        for row in free:
            self.holder[row] = number
            self.attempts[row] += 1
            self.queue.pop(row, None)
            self.withdrawn.pop(row, None)
        return compress(free)

    def _cancel(self, event: Cancelled) -> ArrayExpression:
        rows = dict.fromkeys(parse_array(event.rows), event.at)
        if event.number:
            known = self.submissions[event.number]
            anew = known.anew.union(rows) if event.anew else known.anew.difference(rows)
            self._settle(event.number, cancelled={**known.cancelled, **rows}, anew=anew)
            return NOTHING
        self.withdrawn.update(rows)
        for row in rows:
            self.queue.pop(row, None)
        return parse_array(event.rows)

    def request_of(self, row: int) -> ResourceRequest | None:
        """The changed request of a row: that it is queued with, else its last one; None: none."""
        return self.queue[row] if row in self.queue else self.requests.get(row)


@dataclass(frozen=True, slots=True)
class _Before:
    """What an intent changed, to be put back where it is refused."""

    holders: list[int]
    queue: dict[int, ResourceRequest]
    requests: dict[int, ResourceRequest]
    withdrawn: dict[int, float]


NOTHING = ArrayExpression(())
"""No rows."""


def _among(rows: ArrayExpression, known: Mapping[int, object]) -> list[int]:
    """The rows of which something is known; most often of none."""
    return [row for row in rows if row in known] if known else []


def _slice(part: range) -> slice:
    """The places of a list that a range of rows names."""
    return slice(part.start, part.stop, part.step)


def replay(events: Iterable[Event], slices: int) -> Ledger:
    """The ledger of a run of so many slices after these events."""
    ledger = Ledger.empty(slices)
    for event in events:
        ledger.apply(event)
    return ledger
