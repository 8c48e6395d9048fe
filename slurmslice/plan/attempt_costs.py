"""The CPU time and the GPU time that the attempts of a run have used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.plan.request_changes import previous_request
from slurmslice.plan.run_script import script_request
from slurmslice.policy.budget import NO_COST, Cost
from slurmslice.run.continuations import CONTINUE, is_continuation
from slurmslice.run.identity import job_identity
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest

DefaultTime = Callable[[ResourceRequest], int | None]
"""A function that returns the time limit of a request without one, seconds; None if not known."""


class AttemptCosts:
    """The costs of attempts: requested CPUs and GPUs × duration.

    An attempt that is queued or in flight costs its time limit, because it may use all of it.

    Args:
        run: the run.
        default_time: the time limit of a request without one.
    """

    def __init__(self, run: Run, default_time: DefaultTime = lambda _: None) -> None:
        self._run, self._default_time = run, default_time
        self._requests: dict[ResourceRequest, ResourceRequest] = {}

    def repairs(self) -> Cost:
        """Return the cost of the automatic attempts since a person submitted their slices."""
        state, used = self._run.journal_state, NO_COST
        before = {row: number for row, (number, _) in state.repairs.before.items()}
        past: dict[int, list[tuple[int, int]]] = {row: [] for row in before}
        for row, number, seconds in self._run.statuses.past_durations():
            if row in before and number > before[row]:
                past[row].append((number, seconds))
        for row, number in before.items():
            *earlier, last = state.repairs.begun.get(row, ()) or ("",)
            if not is_continuation(last):
                used += self._last(row, number)
            used += self._queued(row) + self._earlier(row, earlier, sorted(past[row]))
        return used

    def _earlier(self, row: int, causes: Sequence[str], past: Sequence[tuple[int, int]]) -> Cost:
        """Return the cost of a row's earlier automatic attempts; a continuation costs nothing.

        Args:
            row: the row.
            causes: the cause of each.
            past: submission and duration of those that ``states.tsv`` still has.
        """
        charged = [not is_continuation(cause) for cause in causes]
        if len(past) == len(charged):
            past = [one for one, counts in zip(past, charged, strict=True) if counts]
        used = sum((self._past(*one) for one in past), NO_COST)
        return used + self._unknown(row, sum(charged) - len(past))

    def all_attempts(self) -> Cost:
        """Return the cost of all attempts, as far as their durations are known."""
        last = (self._last(row, 0) for row in range(len(self._run.table)))
        past = (self._past(number, s) for _, number, s in self._run.statuses.past_durations())
        return sum(past, sum(last, NO_COST))

    def restarted(self) -> Cost:
        """Return the cost of the starts that the cluster has restarted. It is asked for them.

        Raises:
            NoAnswerError: it did not answer.
        """
        run = self._run
        sent = {one.job: one for one in run.journal_state.submissions.values() if one.job}
        found = run.engine.restarted_seconds([job_identity(run, one) for one in sent.values()])
        slices = run.record.packing.at_once
        costs = (
            Cost.of(self.request(sent[job].intent.changes), seconds * slices)
            for job, seconds in found.items()
        )
        return sum(costs, NO_COST)

    def of(self, kept: ResourceRequest) -> Cost | None:
        """Return the most that an attempt may cost; None if its time limit is not known.

        Args:
            kept: the whole request of the slice.
        """
        seconds = kept.time_s or self._default_time(kept)
        return Cost.of(kept, seconds) if seconds else None

    def request(self, own: ResourceRequest) -> ResourceRequest:
        """Return the whole request of a slice with these options of its own."""
        if own not in self._requests:
            try:
                self._requests[own] = previous_request(self._run, self._script, own)
            except BadInputError:  # a number that cannot be read: the submission will say so
                self._requests[own] = NO_REQUEST
        return self._requests[own]

    def _last(self, row: int, after: int) -> Cost:
        """Return the cost of a row's last attempt, if its submission is newer than ``after``."""
        run = self._run
        submission = run.journal_state.submission_of(row)
        if submission is None or submission.number <= after:
            return NO_COST
        request = self.request(run.request_of(row))
        if run.statuses.state(row).in_flight:
            return self.of(request) or NO_COST
        ((started, ended),) = run.statuses.times([row])
        return NO_COST if started is None or ended is None else Cost.of(request, ended - started)

    def _queued(self, row: int) -> Cost:
        """Return the most that a repair may cost that is queued and not submitted yet."""
        state = self._run.journal_state
        cause = state.repairs.queued.get(row, CONTINUE)
        if row not in state.queue or is_continuation(cause):
            return NO_COST
        return self.of(self.request(state.queue[row])) or NO_COST

    def _unknown(self, row: int, attempts: int) -> Cost:
        """Return the most that attempts may have cost whose durations ``states.tsv`` has lost."""
        limit = self.of(self.request(self._run.request_of(row))) if attempts > 0 else None
        return limit.times(attempts) if limit else NO_COST

    def _past(self, number: int, seconds: int) -> Cost:
        changes = self._run.journal_state.submissions[number].intent.changes
        return Cost.of(self.request(changes), seconds)

    @cached_property
    def _script(self) -> ResourceRequest:
        try:
            return script_request(self._run)
        except SlurmsliceError:  # the script is damaged: only a submission must know
            return NO_REQUEST
