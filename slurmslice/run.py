"""An open run: its directory, its engine, what was decided and what was seen.

What is done with it stands in ``slurmslice.verbs``, a small file each. Data goes one way:
poll → standings → decisions → submission.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from slurmslice.engines import Engine
from slurmslice.errors import BadInput, DamagedRun
from slurmslice.journal import Event, Returned, from_lines
from slurmslice.judge import Standing
from slurmslice.ledger import Fate, Ledger, Submission
from slurmslice.ranges import compress, parse_array
from slurmslice.requests import Requests
from slurmslice.resources import NO_REQUEST, ResourceRequest
from slurmslice.run_spec import RunRecord
from slurmslice.rundir import RunDirectory
from slurmslice.sightings import Standings
from slurmslice.slices import SliceTable
from slurmslice.states import State


class Run:
    """One run, opened with the engine that it belongs to."""

    def __init__(
        self, place: RunDirectory, engine: Engine, clock: Callable[[], float] = time.time
    ) -> None:
        self.place = place
        self.engine = engine
        self.clock = clock
        self.record: RunRecord = place.record()
        self.table: SliceTable = place.table(self.record.slices_sha256)
        self.told: set[int] = set()
        """Submissions whose arrays this process has told their share of the throttle."""
        self.unsent_at = float("-inf")
        """When it was last known that nobody had sent the script by hand, epoch seconds."""
        self._read_all()

    # -- what is on disk ---------------------------------------------------------------------

    def _read_all(self) -> None:
        self._journal_read = self._states_read = self._events = 0
        self.ledger = Ledger.empty(len(self.table))
        self.standings = Standings(self.ledger)
        self.reload()

    def forget_unwritten(self) -> None:
        """Forget decisions that only this process knows, if another process has decided since.

        Raises:
            DamagedRun: the journal cannot be read.
        """
        if self.place.forget_outdated():
            self._read_all()

    def reload(self) -> None:
        """Follow what this or another process has written since.

        Raises:
            DamagedRun: the journal cannot be read.
        """
        before = self._journal_read
        lines, self._journal_read = self.place.read_journal(before)
        if self._journal_read < before:
            raise DamagedRun(
                f"{self.place.path} was made anew, or its journal cut off, at this moment.",
                "`slurmslice status` shows what is there now.",
                code="changed-meanwhile",
                run=self.place.path.name,
            )
        if lines and not self._follow(lines):
            self.standings = Standings(self.ledger)
            self._states_read = 0
        lines, self._states_read = self.place.read_states(self._states_read)
        self.standings.read(lines)

    def _follow(self, lines: bytes) -> bool:
        """Take in lines of the journal; whether the standings could follow."""
        followed = self._events > 0  # at first they are made once, of all that was decided
        try:
            for event in from_lines(lines, self._events + 1):
                self._events += 1
                moved = self.ledger.apply(event)
                if moved is None:
                    followed = False
                elif followed:
                    self.standings.moved(moved)
        except (ValueError, LookupError, BadInput) as why:
            raise DamagedRun(
                f"The journal of {self.place.path} does not fit its slices: {why}.",
                "Restore journal.jsonl; nothing was changed.",
                path=str(self.place.path),
            ) from why
        return followed

    def decide(self, event: Event) -> None:
        """Write a decision down and follow it. Hold the lock."""
        self.place.append(event)
        self.reload()

    # -- which slices are where --------------------------------------------------------------

    def in_flight(self) -> list[Submission]:
        """Submissions that were taken and hold slices that have not ended."""
        if self.finished:
            return []
        return [
            submission
            for submission in self.ledger.submissions.values()
            if submission.fate is Fate.SUBMITTED
            and next(self.open_rows(submission), None) is not None
        ]

    def open_rows(self, submission: Submission) -> Iterator[int]:
        """The rows that a submission holds and that have not ended."""
        ended, queue = self.standings.ended, self.ledger.queue
        rows = self.ledger.rows_of(submission.number)
        return (row for row in rows if not ended(row) and row not in queue)

    def given_back(self) -> dict[int, list[int]]:
        """Rows that the engine gave back and that still belong to a submission, by its number."""
        groups: dict[int, list[int]] = {}
        for row in self.standings.rows_in({State.WAITING}):
            number = self.ledger.holder[row]
            if number and row not in self.ledger.queue:
                groups.setdefault(number, []).append(row)
        return groups

    def take_back(self) -> None:
        """Note what the engine gave back, so that it can be submitted anew. Hold the lock.

        On Slurm it is still wanted; on this machine only ``run`` puts it in.
        """
        wanted = self.record.engine == "slurm"
        for number, rows in self.given_back().items():
            reason = self.standings[rows[0]].reason
            self.decide(Returned(number, str(compress(rows)), reason, self.clock(), wanted))

    def request_of(self, row: int) -> ResourceRequest:
        """What a slice asks for where it differs from the script's request."""
        decided = self.ledger.request_of(row)
        return self._initial(row) if decided is None else decided

    def _initial(self, row: int) -> ResourceRequest:
        """What its columns say, where options name columns."""
        if not self.record.per_slice:
            return NO_REQUEST
        return self._requests.of(row).differing_from(self.record.first_request)

    @cached_property
    def _requests(self) -> Requests:
        return Requests(self.record.per_slice, self.table)

    @cached_property
    def first_rows(self) -> Sequence[int]:
        """The rows that the script's own array carries, by index."""
        return parse_array(self.record.first).indices

    @property
    def recorded_attempts(self) -> int | None:
        """The number of attempts that each slice gets by the recorded policy; None: not recorded.

        ``run`` records it; a run that ``render`` made has none until then.
        """
        return self.ledger.max_attempts or self.record.max_attempts

    @property
    def max_attempts(self) -> int:
        """The number of attempts that each slice gets: 1 if none is recorded."""
        return self.recorded_attempts or 1

    @property
    def max_failures(self) -> int | None:
        """The recorded limit of the circuit breaker, as ``RunSpec.max_failures`` has it."""
        changed = self.ledger.max_failures
        return self.record.max_failures if changed is None else changed

    # -- summing up --------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing waits."""
        return all(state.final for state in self.standings.tally())

    @property
    def succeeded(self) -> bool:
        """Every slice is done."""
        return set(self.standings.tally()) == {State.COMPLETED}

    def job_of(self, standing: Standing) -> str | None:
        """The array task that a standing speaks of (``419_17``); None where no job is known."""
        submission = self.ledger.submissions.get(standing.submission)
        if submission is None or not submission.job:
            return None
        return f"{submission.job}_{standing.index}"
