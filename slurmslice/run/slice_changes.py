"""The changes of a run's slices after it was made, by the journal: growth, and its end. Pure.

docs/adr/0034 describes them. The rows of a change are in a file of their own, ``slices-002.tsv``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from slurmslice.sbatch.array_expression import parse_array


@dataclass(frozen=True, slots=True)
class SlicesChanged:
    """From now on the rows of a table count. The file was written before this event.

    Attributes:
        number: the number of the table, from 2; ``slices.tsv`` is the first one.
        rows: the rows in it, in order, as an array expression: new ones follow the last one.
        slices: the number of slices of the run with them.
        sha256: the digest of the table.
        at: epoch seconds.
        done: the new rows that were done before (``--skip-done``); empty if none.
    """

    number: int
    rows: str
    slices: int
    sha256: str
    at: float
    done: str = ""


@dataclass(frozen=True, slots=True)
class RunClosed:
    """The run gets no more slices: a run with ``--open`` can be over from now on."""

    at: float


@dataclass
class SliceChanges:
    """The changes of a run's slices.

    Attributes:
        tables: all changes, in order.
        closed: a person closed the run.
        replaced: for each row with new values, the newest submission before that.
    """

    tables: list[SlicesChanged] = field(default_factory=list)
    closed: bool = False
    replaced: dict[int, int] = field(default_factory=dict)

    def apply(self, event: SlicesChanged, slices: int, newest: int) -> tuple[int, frozenset[int]]:
        """Apply a change.

        Args:
            event: the change.
            slices: the number of slices before it.
            newest: the number of the newest submission before it.

        Returns:
            the number of new slices, and the new rows that were done before.

        Raises:
            ValueError: the event does not follow the ones before.
        """
        rows, added = parse_array(event.rows), event.slices - slices
        new = [row for row in rows if row >= slices]
        if event.number != self.next_number or new != list(range(slices, event.slices)):
            raise ValueError(f"the slice table {event.number} does not follow the one before")
        self.tables.append(event)
        self.replaced.update((row, newest) for row in rows if row < slices)
        return added, frozenset(parse_array(event.done) if event.done else ())

    @property
    def next_number(self) -> int:
        """The number of the next table."""
        return len(self.tables) + 2
