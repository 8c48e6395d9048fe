"""An open run: its directory, its engine, what was decided and what was seen.

What is done with it stands in ``slurmslice.verbs``, a small file each. Data goes one way:
poll → standings → decisions → submission.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from slurmslice.asked import Asked
from slurmslice.engines import Engine
from slurmslice.errors import BadInput, DamagedRun
from slurmslice.journal import Event, Returned
from slurmslice.judge import Standing
from slurmslice.ledger import Fate, Ledger, Submission, replay
from slurmslice.ranges import compress
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
        self.asked: Asked = place.asked()
        self.table: SliceTable = place.table(self.asked.slices_sha256)
        self._journal = b"not read yet"
        self._states_read = 0
        self.ledger: Ledger
        self.standings: Standings
        self.reload()

    # -- what is on disk ---------------------------------------------------------------------

    def reload(self) -> None:
        """Follow what this or another process has written since.

        Raises:
            DamagedRun: the journal cannot be read.
        """
        journal = self.place.journal()
        if journal != self._journal:
            self.ledger = self._replayed()
            self.standings = Standings(self.ledger)
            self._journal, self._states_read = journal, 0
        lines, self._states_read = self.place.read_states(self._states_read)
        self.standings.read(lines)

    def _replayed(self) -> Ledger:
        try:
            return replay(self.place.events(), len(self.table))
        except (ValueError, LookupError, BadInput) as why:
            raise DamagedRun(
                f"The journal of {self.place.path} does not fit its slices: {why}.",
                "Restore journal.jsonl; nothing was changed.",
            ) from why

    def decide(self, event: Event) -> None:
        """Write a decision down and follow it. Hold the lock."""
        self.place.append(event)
        self.reload()

    # -- which slices are where --------------------------------------------------------------

    def in_flight(self) -> list[Submission]:
        """Submissions that were taken and hold slices that have not ended."""
        return [
            submission
            for submission in self.ledger.submissions.values()
            if submission.fate is Fate.SUBMITTED
            and next(self.open_rows(submission), None) is not None
        ]

    def open_rows(self, submission: Submission) -> Iterator[int]:
        """The rows that a submission holds and that have not ended."""
        for row in self.ledger.rows_of(submission.number):
            if not self.standings[row].state.final:
                yield row

    def given_back(self) -> dict[int, list[int]]:
        """Rows that the engine gave back and that still belong to a submission, by its number."""
        groups: dict[int, list[int]] = {}
        for row, standing in enumerate(self.standings):
            if standing.state is State.WAITING and standing.submission:
                groups.setdefault(standing.submission, []).append(row)
        return groups

    def take_back(self) -> None:
        """Note what the engine gave back, so that it can be submitted anew. Hold the lock."""
        for number, rows in self.given_back().items():
            reason = self.standings[rows[0]].reason
            self.decide(Returned(number, str(compress(rows)), reason, self.clock()))

    # -- summing up --------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing waits."""
        return all(standing.state.final for standing in self.standings)

    @property
    def succeeded(self) -> bool:
        """Every slice is done."""
        return all(standing.state is State.COMPLETED for standing in self.standings)

    def job_of(self, standing: Standing) -> str | None:
        """The array task that a standing speaks of (``419_17``); None where no job is known."""
        submission = self.ledger.submissions.get(standing.submission)
        if submission is None or not submission.job:
            return None
        return f"{submission.job}_{standing.index}"
