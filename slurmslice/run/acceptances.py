"""The failures that a person accepts, by the journal. Pure. docs/adr/0038 has the reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from slurmslice.sbatch.array_expression import parse_array


@dataclass(frozen=True, slots=True)
class FailureAccepted:
    """A person accepts that these slices failed or were cancelled.

    Attributes:
        rows: an array expression.
        reason: the person's reason.
        at: epoch seconds.
    """

    rows: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class AcceptanceUndone:
    """The failures of these slices count again.

    Attributes:
        rows: an array expression.
        at: epoch seconds.
    """

    rows: str
    at: float


AcceptEvent = FailureAccepted | AcceptanceUndone


@dataclass
class Acceptances:
    """The accepted failures of a run.

    Attributes:
        of_row: for each row, its acceptance, and the submission that held the row then.
    """

    of_row: dict[int, tuple[FailureAccepted, int]] = field(default_factory=dict)

    def apply(self, event: AcceptEvent, holder: Sequence[int]) -> None:
        """Apply one event.

        Args:
            event: the event.
            holder: for each row, the number of the submission that holds it.

        Raises:
            ValueError: the event names slices that do not exist.
        """
        rows = parse_array(event.rows)
        if rows.highest >= len(holder):
            raise ValueError("an event accepts slices that do not exist")
        for row in rows:
            if isinstance(event, FailureAccepted):
                self.of_row[row] = event, holder[row]
            else:
                self.of_row.pop(row, None)

    def find(self, row: int, holder: int) -> FailureAccepted | None:
        """Return the acceptance of a row that this submission holds; None if there is none."""
        event, held_by = self.of_row.get(row, (None, -1))
        return event if held_by == holder else None
