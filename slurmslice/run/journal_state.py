"""The state of a run after its journal's events: pure functions from events to state."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from slurmslice.run.acceptances import Acceptances, AcceptEvent
from slurmslice.run.continuations import count_continuations
from slurmslice.run.hold import Hold
from slurmslice.run.journal import (
    AfterMet,
    CanaryEnded,
    Cancelled,
    Dequeued,
    EndTold,
    EnvironmentRecorded,
    Event,
    Fenced,
    Held,
    Intent,
    JobCarriesMore,
    LateJobCancelled,
    NodeExcluded,
    NodeIncluded,
    PolicyChanged,
    QueueAvoids,
    Queued,
    Rejected,
    Released,
    Requeued,
    Shared,
    SlicesReturned,
    Submitted,
    Throttled,
    Unclear,
)
from slurmslice.run.node_decisions import NodeDecisions
from slurmslice.run.queue_changes import QueueChanged
from slurmslice.run.raised_requests import RaisedRequests, RequestRaised
from slurmslice.run.repair_history import RepairHistory
from slurmslice.run.slice_changes import RunClosed, SliceChanges, SlicesChanged
from slurmslice.run.steward_record import (
    Steward,
    StewardEvent,
    steward_after,
)
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.run.then_record import (
    ThenCalledOff,
    ThenEvent,
    ThenIntent,
    ThenStep,
    then_after,
)
from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices, parse_array
from slurmslice.sbatch.options import FIRST_ONLY
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.recorded_environment import RecordedEnvironment

_Decision = (
    AfterMet | Throttled | PolicyChanged | Held | Released | EnvironmentRecorded | EndTold
    | NodeExcluded | NodeIncluded | CanaryEnded | RunClosed
)  # fmt: skip
"""Events that change no slice."""


@dataclass
class JournalState:
    """The state of a run by its journal: who holds each slice, the queue, and all decisions.

    Attributes:
        submissions: all submissions by number, in order.
        holder: for each row, the number of its submission; 0 for none.
        attempts: for each row, the number of attempts so far.
        queue: queued rows in order, each with its changed options.
        requests: for each row, the changed options of its last submission, if there were any.
        withdrawn: rows cancelled while they waited, each with the time. If a row is queued
            again, it stays here too; the queue wins.
        returned: for each returned row without a new holder: the reason, and how often.
        former_holder: for each returned row, the number of the last submission to return it.
        throttle: the newest ``throttle N``; None for no limit, or if there was none.
        throttled: there was a ``throttle N``.
        max_next_tasks: most tasks of the next submission, after temporary rejections; None for no
            limit.
        policy: the newest recorded change of each part of the policy; None if never changed.
        hold: the newest hold of the run.
        rejection: the error if the newest submission was rejected for good; else empty.
        repairs: the repairs of each row since a person submitted it.
        environment: the newest recorded environment; None: that of the creation of the run.
        nodes: the decisions about nodes.
        done_before: the rows that were done before the run was made.
        raised: the requests that were raised before a first attempt.
        accepted: the failures that a person accepts.
        canary_ended: the slices beside the canary may be submitted.
        after_met: the run does not wait for the other one any more.
        end_told: the ways by which the person was told the present end of the run.
        steward: the newest steward; None if there was none.
        then: the newest start of the step after the run; None if there was none.
        then_called_off: a person cancelled the run after its newest submission.
        changes: the changes of the slices since the run was made.
    """

    submissions: dict[int, Submission]
    holder: list[int]
    attempts: list[int]
    queue: dict[int, ResourceRequest] = field(default_factory=dict)
    requests: dict[int, ResourceRequest] = field(default_factory=dict)
    withdrawn: dict[int, float] = field(default_factory=dict)
    returned: dict[int, tuple[str, int]] = field(default_factory=dict)
    former_holder: dict[int, int] = field(default_factory=dict)
    throttle: int | None = None
    throttled: bool = False
    max_next_tasks: int | None = None
    policy: PolicyChanged = field(default_factory=lambda: PolicyChanged(None, at=0.0))
    hold: Hold = field(default_factory=Hold)
    rejection: str = ""
    repairs: RepairHistory = field(default_factory=RepairHistory)
    environment: RecordedEnvironment | None = None
    nodes: NodeDecisions = field(default_factory=NodeDecisions)
    raised: RaisedRequests = field(default_factory=RaisedRequests)
    accepted: Acceptances = field(default_factory=Acceptances)
    canary_ended: bool = False
    after_met: bool = False
    done_before: frozenset[int] = frozenset()
    end_told: frozenset[str] = frozenset()
    steward: Steward | None = None
    then: ThenStep | None = None
    then_called_off: bool = False
    changes: SliceChanges = field(default_factory=SliceChanges)
    _before: dict[int, _UndoRecord] = field(default_factory=dict, repr=False)

    @classmethod
    def empty(cls, slices: int, done_before: frozenset[int] = frozenset()) -> JournalState:
        """Return the state of a run with this number of slices and no events."""
        return cls({}, [0] * slices, [0] * slices, done_before=done_before)

    @property
    def next_number(self) -> int:
        """The number of the next submission."""
        return max(self.submissions, default=0) + 1

    @property
    def newest_accepted(self) -> int:
        """The number of the newest accepted submission; 0 if there is none."""
        accepted = (
            n for n, s in self.submissions.items() if s.status is SubmissionStatus.SUBMITTED
        )
        return max(accepted, default=0)

    def next_numbers(self, rows: Sequence[int]) -> dict[str, Sequence[int]]:
        """Return the next attempt of each row, and its continuations before that.

        ``attempt`` is left out if all are first attempts, and ``continued`` if there are none.
        """
        found: dict[str, Sequence[int]] = {}
        attempts = [self.attempts[row] + 1 for row in rows]
        if any(one > 1 for one in attempts):
            found["attempt"] = attempts
        continued = [count_continuations(self.repairs.of(row)) for row in rows]
        if any(continued):
            found["continued"] = continued
        return found

    def submission_of(self, row: int) -> Submission | None:
        """The current submission of a row; None if there is none."""
        return self.submissions.get(self.holder[row])

    def last_submission_of(self, row: int) -> Submission | None:
        """The newest accepted submission of a row, even if another one holds the row now."""
        accepted = (s for s in self.submissions.values() if s.status is SubmissionStatus.SUBMITTED)
        return max((s for s in accepted if row in s.places), key=lambda s: s.number, default=None)

    def rows_held_by(self, number: int) -> Iterator[int]:
        """The rows that a submission holds; later submissions may hold its other rows."""
        return (row for row in self.submissions[number].rows if self.holder[row] == number)

    def fenced_since(self, when: float) -> list[Submission]:
        """Submissions fenced after this time, if their job has not appeared."""
        return [s for s in self.submissions.values() if s.fenced_at > when and not s.job]

    def never_arrived(self) -> Iterator[str]:
        """The words of site's programs after which the submission never reached the queue."""
        for one in self.submissions.values():
            if one.status is SubmissionStatus.FENCED and not one.job and one.said is not None:
                yield one.said

    def unconfirmed(self) -> list[Submission]:
        """Submissions of unknown status: sbatch may or may not have accepted them."""
        return [s for s in self.submissions.values() if s.status is SubmissionStatus.INTENDED]

    def apply(self, event: Event) -> ArrayExpression | None:
        """Apply one event.

        Returns:
            the rows whose holder or queue entry changed; None if rows return to an earlier state.
        """
        match event:
            case Intent():
                return self._intend(event)
            case Queued() | Dequeued() | RequestRaised():
                return self._enqueue(event)
            case Submitted():
                return self._accept(event)
            case Rejected() | Fenced() | SlicesChanged():
                self._rebuild(event)
                return None
            case SlicesReturned():
                return self._return(event)
            case Requeued():
                return self._requeue(event)
            case JobCarriesMore():
                return self._add_rows(event)
            case Cancelled():
                return self._cancel(event)
            case LateJobCancelled() | Unclear():
                known = {"said": event.said} if isinstance(event, Unclear) else {"job": event.job}
                self._update(event.number, **known)
            case Shared() | QueueAvoids() | QueueChanged():
                self._change_array(event)
            case _ if isinstance(event, StewardEvent | ThenEvent | AcceptEvent):
                self._follow(event)
            case _:
                self._set_policy(event)
        return NO_ROWS

    def _change_array(self, event: Shared | QueueAvoids | QueueChanged) -> None:
        """Apply an event about the array of a submission in the queue."""
        if isinstance(event, QueueChanged):
            rows, one = parse_array(event.rows), self.submissions[event.number]
            changed = {**one.changed, **dict.fromkeys(rows, event.options)}
            self._update(event.number, changed=changed)
            self.requests.update(dict.fromkeys(rows, event.changes))
            return
        if isinstance(event, QueueAvoids):
            part = "avoids_in_vain" if event.refusal else "avoids"
            self._update(event.number, **{part: event.nodes})
            return
        stopped = self.submissions[event.number].stopped or event.share == 0
        self._update(event.number, share=event.share, stopped=stopped)

    def _rebuild(self, event: Rejected | Fenced | SlicesChanged) -> None:
        """Apply an event after which all statuses are computed anew."""
        if not isinstance(event, SlicesChanged):
            self._undo(event)
            return
        added, done = self.changes.apply(event, len(self.holder), self.next_number - 1)
        self.holder += [0] * added
        self.attempts += [0] * added
        self.done_before |= done

    def is_outdated(self, row: int) -> bool:
        """Tell if the submission of a row has older values than the slice table."""
        return 0 < self.holder[row] <= self.changes.replaced.get(row, 0)

    def _set_policy(self, event: _Decision) -> None:
        match event:
            case Held():
                self.hold = self.hold.after(event, self.next_number - 1)
            case Released():
                self.hold = self.hold.after(event, self.next_number - 1)
                self.end_told = frozenset()
            case Throttled():
                self.throttle, self.throttled = event.limit, True
            case EnvironmentRecorded():
                self.environment = event.environment
            case NodeExcluded() | NodeIncluded():
                self.nodes.apply(event)
            case CanaryEnded():
                self.canary_ended = True
            case RunClosed():
                self.changes.closed = True
            case AfterMet():
                self.after_met, self.end_told = True, frozenset()
            case EndTold():
                told = self.end_told - {event.way}
                self.end_told = told if event.failed else told | {event.way}
            case PolicyChanged():
                self.policy = _with_changes(self.policy, event)

    def _follow(self, event: StewardEvent | ThenEvent | AcceptEvent) -> None:
        """Apply an event about a job beside the slices, or about ends that a person accepts."""
        if isinstance(event, AcceptEvent):
            self.accepted.apply(event, self.holder)
            return
        if isinstance(event, StewardEvent):
            self.steward = steward_after(self.steward, event)
            return
        self.then = then_after(self.then, event)
        if isinstance(event, ThenIntent):
            self.end_told = frozenset()
        if isinstance(event, ThenIntent | ThenCalledOff):
            self.then_called_off = isinstance(event, ThenCalledOff)

    def _intend(self, event: Intent) -> ArrayExpression:
        if event.number in self.submissions:
            raise ValueError(f"submission {event.number} begins twice")
        submission = self.submissions[event.number] = Submission(event)
        self.end_told, self.then_called_off = frozenset(), False
        rows = parse_array(event.rows)
        tasks = -(-len(rows) // event.pack)
        if rows.highest >= len(self.holder) or tasks != len(submission.array):
            raise ValueError(f"submission {event.number} names slices that do not exist")
        self._update(event.number, share=submission.array.throttle)
        self._assign(event.number, rows)
        return rows

    def _assign(self, number: int, rows: ArrayExpression) -> None:
        """Make a submission the holder of rows, and record how to undo this."""
        intent = self.submissions[number].intent
        holders = [holder for part in rows.parts for holder in self.holder[_slice(part)]]
        earlier = {row: self.requests[row] for row in _among(rows, self.requests)}
        waited = {row: self.queue.pop(row) for row in _among(rows, self.queue)}
        away = {row: self.withdrawn.pop(row) for row in _among(rows, self.withdrawn)}
        begun = self.repairs.leave_queue(_among(rows, self.repairs.queued))
        self.repairs.begin(begun)
        self._before[number] = _UndoRecord(holders, waited, earlier, away, begun)
        for part in rows.parts:
            where = _slice(part)
            self.holder[where] = [number] * len(part)
            self.attempts[where] = [attempts + 1 for attempts in self.attempts[where]]
        for row in rows if intent.changes or self.requests else ():
            self.requests[row] = intent.changes

    def _accept(self, event: Submitted) -> ArrayExpression | None:
        submission, moved = self.submissions[event.number], NO_ROWS
        if submission.status in {SubmissionStatus.REJECTED, SubmissionStatus.FENCED}:
            moved = parse_array(submission.intent.rows)
            self._assign(event.number, moved)  # a person submitted it after the rejection
        self._before.pop(event.number, None)
        self.rejection = ""
        if self.max_next_tasks is not None:
            self.max_next_tasks = max(self.max_next_tasks, 2 * len(submission.array))
        self._update(
            event.number,
            status=SubmissionStatus.SUBMITTED,
            job=event.job,
            cluster=event.cluster,
            submitted_at=event.at,
            job_name=event.job_name,
            slurm_at=event.slurm_at,
        )
        return moved

    def _update(self, number: int, **fields: object) -> None:
        self.submissions[number] = replace(self.submissions[number], **fields)  # type: ignore[arg-type]

    def _undo(self, event: Rejected | Fenced) -> None:
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
        self.repairs.undo(before.repairs)
        if isinstance(event, Fenced):
            self._update(number, status=SubmissionStatus.FENCED, fenced_at=event.at)
            return
        self._update(number, status=SubmissionStatus.REJECTED)
        if event.too_many_tasks:
            self.max_next_tasks = max(1, len(self.submissions[number].array) // 2)
        if not event.temporary:
            self.queue.clear()
            self.repairs.queued.clear()
            self.rejection = event.message

    def _enqueue(self, event: Queued | Dequeued | RequestRaised) -> ArrayExpression | None:
        rows = parse_array(event.rows)
        if rows.highest >= len(self.holder):
            raise ValueError("an event queues slices that do not exist")
        if isinstance(event, Dequeued):
            self._dequeue(rows)
            return None
        if isinstance(event, RequestRaised):
            self.raised.apply(event, rows)
        else:
            self._count_repairs(rows, event.cause)
        self.queue.update(dict.fromkeys(rows, event.changes))
        return rows

    def _count_repairs(self, rows: ArrayExpression, cause: str) -> None:
        """Note the cause of a repair; if a person submits rows again, start a new count."""
        if cause:
            for row in rows:
                self.repairs.queue(row, cause, self.holder[row], self.requests.get(row))
            return
        self.raised.forget(rows)
        for row in _among(rows, self.repairs.before):
            if self.holder[row]:  # the engine returned the others: no person decided that
                self.repairs.forget(row)

    def _return(self, event: SlicesReturned) -> ArrayExpression:
        rows = [row for row in parse_array(event.rows) if self.holder[row] == event.number]
        for row in rows:
            self.holder[row] = 0
            self.attempts[row] -= 1
            self.returned[row] = event.reason, self.returned.get(row, ("", 0))[1] + 1
            self.former_holder[row] = event.number
        if event.queued:
            sent = self.submissions[event.number].intent.changes
            requests = {row: self.requests.get(row, sent).without(FIRST_ONLY) for row in rows}
            self.queue.update(requests)
        return compress_indices(rows)

    def _requeue(self, event: Requeued) -> ArrayExpression:
        rows = [
            row for row in parse_array(event.rows) if self.former_holder.get(row) == event.number
        ]
        return self._assign_free(event.number, rows)

    def _add_rows(self, event: JobCarriesMore) -> ArrayExpression:
        intent = self.submissions[event.number].intent
        self._update(event.number, intent=replace(intent, array=event.array, rows=event.rows))
        return self._assign_free(event.number, parse_array(event.rows))

    def _assign_free(self, number: int, rows: Iterable[int]) -> ArrayExpression:
        """Make a submission the holder of rows without one."""
        free = [row for row in rows if not self.holder[row]]
        for row in free:
            self.holder[row] = number
            self.attempts[row] += 1
            self.queue.pop(row, None)
            self.withdrawn.pop(row, None)
        return compress_indices(free)

    def _cancel(self, event: Cancelled) -> ArrayExpression:
        rows = dict.fromkeys(parse_array(event.rows), event.at)
        if event.number:
            known = self.submissions[event.number]
            submit_again = (
                known.submit_again.union(rows)
                if event.submit_again
                else known.submit_again.difference(rows)
            )
            self._update(
                event.number, cancelled={**known.cancelled, **rows}, submit_again=submit_again
            )
            return NO_ROWS
        self.withdrawn.update(rows)
        self._dequeue(rows)
        return parse_array(event.rows)

    def _dequeue(self, rows: Iterable[int]) -> None:
        for row in rows:
            self.queue.pop(row, None)
        self.repairs.leave_queue(rows)

    def was_submitted(self, row: int) -> bool:
        """Tell if a submission holds the row, or has returned it."""
        return self.holder[row] != 0 or row in self.former_holder

    def was_done_before(self, row: int) -> bool:
        """Tell if a row was done before the run was made, and was never submitted since then."""
        return row in self.done_before and not self.was_submitted(row)

    def changes_of(self, row: int) -> ResourceRequest | None:
        """The changed options of a row: the queued ones, else the last submitted; None for none."""
        return self.queue[row] if row in self.queue else self.requests.get(row)


@dataclass(frozen=True, slots=True)
class _UndoRecord:
    """The values before an intent, restored if the submission is rejected or fenced."""

    holders: list[int]
    queue: dict[int, ResourceRequest]
    requests: dict[int, ResourceRequest]
    withdrawn: dict[int, float]
    repairs: dict[int, str]


NO_ROWS = ArrayExpression(())
"""An expression without rows."""


def _among(rows: ArrayExpression, known: Mapping[int, object]) -> list[int]:
    """The rows among the keys of a mapping; fast for an empty mapping, the usual case."""
    return [row for row in rows if row in known] if known else []


def _with_changes(policy: PolicyChanged, event: PolicyChanged) -> PolicyChanged:
    """Return the newest change of each part of the policy."""
    changed = {one.name: getattr(event, one.name) for one in fields(event)}
    return replace(policy, **{name: value for name, value in changed.items() if value is not None})


def _slice(part: range) -> slice:
    """The slice of a list for a range of rows."""
    return slice(part.start, part.stop, part.step)


def replay_events(
    events: Iterable[Event], slices: int, done_before: frozenset[int] = frozenset()
) -> JournalState:
    """Return the state of a run with this number of slices after these events."""
    journal_state = JournalState.empty(slices, done_before)
    for event in events:
        journal_state.apply(event)
    return journal_state
