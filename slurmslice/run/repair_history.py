"""The repairs of slices since a person submitted them, by the journal. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from slurmslice.sbatch.resource_request import ResourceRequest


@dataclass
class RepairHistory:
    """The repairs of each row since a person submitted it.

    Attributes:
        begun: for each row that the policy submitted again: the causes that it repaired, in order.
        queued: for each row that is queued for a repair, its cause.
        before: for each of these rows: the submission before the first repair, and its changed
            options, None if there were none.
    """

    begun: dict[int, tuple[str, ...]] = field(default_factory=dict)
    queued: dict[int, str] = field(default_factory=dict)
    before: dict[int, tuple[int, ResourceRequest | None]] = field(default_factory=dict)

    def of(self, row: int) -> tuple[str, ...]:
        """Return the causes repaired since a person submitted the row, a queued one too."""
        queued = self.queued.get(row)
        return (*self.begun.get(row, ()), *([queued] if queued else []))

    def queue(self, row: int, cause: str, number: int, changes: ResourceRequest | None) -> None:
        """Queue a repair of a row; its last submission had this number and these changes."""
        self.before.setdefault(row, (number, changes))
        self.queued[row] = cause

    def leave_queue(self, rows: Iterable[int]) -> dict[int, str]:
        """Remove the queued repairs of rows, and return them."""
        return {row: self.queued.pop(row) for row in rows if row in self.queued}

    def begin(self, repairs: Mapping[int, str]) -> None:
        """Count repairs as submitted."""
        for row, cause in repairs.items():
            self.begun[row] = (*self.begun.get(row, ()), cause)

    def undo(self, repairs: Mapping[int, str]) -> None:
        """Queue repairs again whose submission was rejected or fenced."""
        self.queued = {**repairs, **self.queued}
        for row in repairs:
            self.begun[row] = self.begun[row][:-1]

    def forget(self, row: int) -> None:
        """Forget the repairs of a row, because a person submits it."""
        self.begun.pop(row, None)
        self.queued.pop(row, None)
        self.before.pop(row, None)
