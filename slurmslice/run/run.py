"""An open run: its directory, its engine, the decisions in its journal and its slices' statuses.

The actions on a run are in ``slurmslice.actions``, one file each. Data flows in one direction:
poll → statuses → decisions → submission.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from slurmslice.engines.protocol import Engine, TaskLimits
from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.run.acceptances import FailureAccepted
from slurmslice.run.accepted_rows import acceptance_of, accepted_rows
from slurmslice.run.directory import RunDirectory
from slurmslice.run.hold import Hold
from slurmslice.run.journal import Event, SlicesReturned, parse_events
from slurmslice.run.journal_state import JournalState
from slurmslice.run.site_rules import NO_RULES
from slurmslice.run.statuses import StatusTable
from slurmslice.run.submission import Submission, SubmissionStatus
from slurmslice.run.then_record import ThenSeen
from slurmslice.sbatch.array_expression import compress_indices, parse_array
from slurmslice.sbatch.options import FIRST_ONLY
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.canary import canary_rows
from slurmslice.spec.per_slice_options import PerSliceOptions
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.spec.run_spec import FailureLimit, RunRecord
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import FAILED_STATES, State


@dataclass(frozen=True, slots=True)
class AfterSeen:
    """The run that another one waits for, as it was last seen.

    Attributes:
        done: every slice of it is done, and the step after it.
        failed: the reason why it will not be done by itself; empty if there is none.
        silence: the reason why that is not known; empty if it is.
    """

    done: bool = False
    failed: str = ""
    silence: str = ""


class Run:
    """One run, opened with its engine."""

    def __init__(
        self, directory: RunDirectory, engine: Engine, clock: Callable[[], float] = time.time
    ) -> None:
        self.directory = directory
        self.engine = engine
        self.clock = clock
        self.environ: Mapping[str, str] = os.environ
        """The caller's environment."""
        self.record: RunRecord = directory.read_record()
        self.same_code = self.record.same_code
        """A later attempt is refused if the code has changed."""
        self._first_table = self.table = directory.read_table(self.record.slices_sha256)
        self.shares_sent: set[int] = set()
        """Submissions whose share of the throttle this process has sent to the engine."""
        self.known_limits: dict[ResourceRequest, TaskLimits] = {}
        """The engine's limits for the requests of repairs, as far as this process asked it."""
        self.known_checkpoints: dict[int, dict[int, tuple[int, int]] | None] = {}
        """The checkpoints before each submission, as far as they were read; None: not recorded."""
        self.checkpoint_looks: dict[tuple[int, int], tuple[float, bool]] = {}
        """For each row and submission: the answer after which its checkpoint was looked at, and if
        it had changed then."""
        self.uses_all_nodes = False
        """Submissions exclude no suspected node, because one without them was rejected."""
        self.answered_at = float("-inf")
        """The last time when all sources answered about all slices in flight, epoch seconds."""
        self.site = NO_RULES
        """The rules of the site, as the last poll read them."""
        self.places_kept = 0
        """Places in the engine's queue that submissions of slices leave free."""
        self.foreign_jobs: set[str] = set()
        """Job ids of this run that Slurm has given to other jobs."""
        self.unsubmitted_at = float("-inf")
        """The last time when Slurm knew no job of a hand-submitted script, epoch seconds."""
        self.then_seen: ThenSeen | None = None
        """The state of the step after the run, as this process saw it last."""
        self.after_seen = AfterSeen()
        """The run that this one waits for, as this process saw it last."""
        self._read_all()

    # -- the files of the run ----------------------------------------------------------------

    def _read_all(self) -> None:
        self._journal_read = self._states_read = self._events = 0
        self._tables_read, self.table = 0, self._first_table
        self.journal_state = JournalState.empty(self.record.slices, self.record.done_rows)
        self.statuses = StatusTable(self.journal_state)
        self.reload()

    def forget_unwritten(self) -> None:
        """Forget decisions that only this process knows, if another process wrote one since then.

        Raises:
            DamagedRunError: the journal cannot be read.
        """
        if self.directory.forget_outdated():
            self._read_all()

    def reload(self) -> None:
        """Read the lines that this or another process has written since the last call.

        Raises:
            DamagedRunError: the journal cannot be read.
        """
        before = self._journal_read
        lines, self._journal_read = self.directory.read_journal(before)
        if self._journal_read < before:
            raise DamagedRunError(
                f"{self.directory.path} was replaced, or its journal became shorter, just now.",
                "Run `slurmslice status` to see the run as it is now.",
                code="changed-meanwhile",
                run=self.directory.path.name,
            )
        if lines and not self._apply(lines):
            self._read_changed_table()
            self.statuses = StatusTable(self.journal_state)
            self._states_read = 0
        lines, self._states_read = self.directory.read_states(self._states_read)
        self.statuses.read(lines)

    def _read_changed_table(self) -> None:
        changes = self.journal_state.changes.tables
        if len(changes) == self._tables_read:
            return
        new = changes[self._tables_read :]
        self.table = self.directory.read_changed_table(self.table, new)
        self._tables_read = len(changes)
        self.__dict__.pop("_requests", None)

    def _apply(self, lines: bytes) -> bool:
        """Apply lines of the journal.

        Returns:
            True if the statuses were updated too; False if they must be rebuilt.
        """
        updated = self._events > 0  # after the first read they are built once, from all events
        try:
            for event in parse_events(lines, self._events + 1):
                self._events += 1
                moved = self.journal_state.apply(event)
                if moved is None:
                    updated = False
                elif updated:
                    self.statuses.moved(moved)
        except (ValueError, LookupError, BadInputError) as why:
            raise DamagedRunError(
                f"The journal of {self.directory.path} does not match its slices: {why}.",
                "Restore journal.jsonl. Nothing was changed.",
                path=str(self.directory.path),
            ) from why
        return updated

    def decide(self, event: Event) -> None:
        """Append a decision to the journal and apply it. The caller holds the lock."""
        self.directory.append(event)
        self.reload()

    # -- slices and their submissions --------------------------------------------------------

    def submissions_in_flight(self) -> list[Submission]:
        """List the accepted submissions with slices that have not ended."""
        if self.finished:
            return []
        return [
            submission
            for submission in self.journal_state.submissions.values()
            if submission.status is SubmissionStatus.SUBMITTED
            and next(self.unfinished_rows(submission), None) is not None
        ]

    def unfinished_rows(self, submission: Submission) -> Iterator[int]:
        """Iterate over the rows of a submission that have not ended."""
        ended, queue = self.statuses.ended, self.journal_state.queue
        rows = self.journal_state.rows_held_by(submission.number)
        return (row for row in rows if not ended(row) and row not in queue)

    def returned_rows(self) -> dict[int, list[int]]:
        """Group the rows that the engine returned without running them, by submission number.

        They still belong to that submission.
        """
        groups: dict[int, list[int]] = {}
        for row in self.statuses.rows_in({State.WAITING}):
            number = self.journal_state.holder[row]
            if number and row not in self.journal_state.queue:
                groups.setdefault(number, []).append(row)
        return groups

    def record_returned_rows(self) -> None:
        """Record the returned rows, so that they can be submitted again. The caller holds the lock.

        On Slurm they are queued again. On this machine only ``run`` submits them.
        """
        wanted = self.engine.jobs_outlive_us
        for number, rows in self.returned_rows().items():
            reason = self.statuses[rows[0]].reason
            self.decide(
                SlicesReturned(number, str(compress_indices(rows)), reason, self.clock(), wanted)
            )

    def request_of(self, row: int) -> ResourceRequest:
        """Return the options of a slice that differ from the script's request."""
        decided = self.journal_state.changes_of(row)
        return self.initial_request(row) if decided is None else decided

    def initial_request(self, row: int) -> ResourceRequest:
        """Return the options of a slice's first submission that the script does not have.

        They are those of its columns, if options name columns, and those that are never in a
        script.
        """
        record = self.record
        if not record.per_slice:
            return record.first_options
        own = self._requests.of(row)
        first = record.first_options.overridden_by(own.only(FIRST_ONLY))
        return own.differing_from(record.first_request).without(FIRST_ONLY).overridden_by(first)

    @cached_property
    def _requests(self) -> PerSliceOptions:
        return PerSliceOptions(self.record.per_slice, self.table)

    @cached_property
    def first_rows(self) -> Sequence[int]:
        """The rows of the script's own array, in the order of its indices, from 0."""
        return parse_array(self.record.first).indices

    @cached_property
    def canary(self) -> Sequence[int]:
        """The rows of the canary, which are submitted first; empty if there is none."""
        return canary_rows(self.record.canary, self._first_table, self.record.done_rows)

    @property
    def recorded_attempts(self) -> int | None:
        """The number of attempts that each slice gets by the recorded policy; None: not recorded.

        ``run`` records it; a run that ``render`` made has none until then.
        """
        return self.journal_state.policy.max_attempts or self.record.max_attempts

    @property
    def retry(self) -> bool:
        """The recorded ``--retry``."""
        changed = self.journal_state.policy.retry
        return self.record.retry if changed is None else changed

    @property
    def on(self) -> tuple[str, ...]:
        """The recorded rules of ``--on``."""
        changed = self.journal_state.policy.on
        return self.record.on if changed is None else changed

    @property
    def budget(self) -> str:
        """The recorded ``--budget``; empty for none."""
        changed = self.journal_state.policy.budget
        return self.record.budget if changed is None else changed

    @property
    def continue_on(self) -> str:
        """The recorded ``--continue-on``; empty for none."""
        changed = self.journal_state.policy.continue_on
        return self.record.continue_on if changed is None else changed

    @property
    def max_continues(self) -> int:
        """The recorded ``--max-continues``."""
        return self.journal_state.policy.max_continues or self.record.max_continues

    @property
    def recorded_environment(self) -> RecordedEnvironment:
        """The environment of all attempts."""
        return self.journal_state.environment or self.record.recorded_environment

    @property
    def max_failures(self) -> FailureLimit | None:
        """The recorded limit of the circuit breaker, as ``RunSpec.max_failures`` has it."""
        changed = self.journal_state.policy.max_failures
        return self.record.max_failures if changed is None else changed

    @property
    def allow_changed(self) -> bool:
        """The recorded ``--allow-changed``."""
        changed = self.journal_state.policy.allow_changed
        return self.record.allow_changed if changed is None else changed

    @property
    def cancel_rest(self) -> bool:
        """The recorded ``--cancel-rest``."""
        changed = self.journal_state.policy.cancel_rest
        return self.record.cancel_rest if changed is None else changed

    @property
    def hold(self) -> Hold:
        """The newest hold of the run by its circuit breaker."""
        return self.journal_state.hold

    @property
    def first_is_outdated(self) -> bool:
        """True if the table of the script's own array has values that were corrected since."""
        return not self.journal_state.changes.replaced.keys().isdisjoint(self.first_rows)

    @property
    def is_open(self) -> bool:
        """True if the run may get more slices, and so is not over (``--open``)."""
        return self.record.open and not self.journal_state.changes.closed

    @property
    def waits_for_canary(self) -> bool:
        """True if the run has a canary whose end is not recorded."""
        return bool(self.canary) and not self.journal_state.canary_ended

    @property
    def waits_for_other(self) -> bool:
        """True if the run waits for another one (``--after``), as far as is recorded."""
        return bool(self.record.after) and not self.journal_state.after_met

    @property
    def has_steward(self) -> bool:
        """True if a steward follows the run, as far as is known."""
        steward = self.journal_state.steward
        return steward is not None and not steward.ended

    @property
    def then_seen_state(self) -> State | None:
        """The last seen state of the step's newest start; None if this process saw none."""
        seen, step = self.then_seen, self.journal_state.then
        return seen.state if seen and step and seen.token == step.token else None

    def reason_of(self, row: int) -> str:
        """Return the reason for a slice's state.

        If the rest of the run is held, or waits for a canary or another run, that is why a slice
        waits.
        """
        if self.waits_for_other and self.statuses[row].state is State.WAITING:
            return f"submitted when the run {os.path.basename(self.record.after)} is done"
        status, held = self.statuses[row], self.journal_state.hold.reason
        behind = self.waits_for_canary and row not in self.canary
        if behind and status.state is State.WAITING and not held:
            return "submitted when the canary is done"
        return held if held and status.state is State.WAITING else status.reason

    # -- summary -----------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """True if no slice is in flight and none waits."""
        return all(state.final for state in self.statuses.state_counts())

    @property
    def succeeded(self) -> bool:
        """True if every slice is COMPLETED, or its failure is accepted."""
        done = self.statuses.state_counts().get(State.COMPLETED, 0)
        return done + len(self.accepted_rows) == len(self.table)

    def acceptance_of(self, row: int) -> FailureAccepted | None:
        """Return the acceptance of a slice that has failed or was cancelled; None if none."""
        return acceptance_of(self.journal_state, self.statuses, row)

    @property
    def accepted_rows(self) -> list[int]:
        """The rows whose failure is accepted, in order."""
        return accepted_rows(self.journal_state, self.statuses)

    @property
    def failed_rows(self) -> list[int]:
        """The rows that have failed, in order, without those whose failure is accepted."""
        failed = self.statuses.rows_in(FAILED_STATES)
        accepted = frozenset(self.accepted_rows)
        return [row for row in failed if row not in accepted] if accepted else failed

    def array_task_of(self, status: SliceStatus) -> str | None:
        """Return the array task of a status (``419_17``); None if no job is known."""
        submission = self.journal_state.submissions.get(status.submission)
        if submission is None or not submission.job:
            return None
        return f"{submission.job}_{status.index}"
