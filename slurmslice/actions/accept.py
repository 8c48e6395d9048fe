"""Accept failures: a person's word that slices failed and that this is enough (docs/adr/0038)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from slurmslice.run.acceptances import AcceptanceUndone, FailureAccepted
from slurmslice.run.accepted_rows import ACCEPTABLE
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import compress_indices


@dataclass(frozen=True, slots=True)
class AcceptResult:
    """The result for some slices.

    Attributes:
        rows: the rows whose failure is accepted now, or counts again.
        others: the rows for which that is impossible.
    """

    rows: tuple[int, ...]
    others: tuple[int, ...]


def accept(run: Run, rows: Collection[int], reason: str) -> AcceptResult:
    """Accept the failures of these slices. Slices that have not failed are left out.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    with run.directory.lock("accept"):
        run.reload()
        able = [row for row in sorted(rows) if run.statuses.state(row) in ACCEPTABLE]
        new = [row for row in able if _reason(run, row) != reason]
        if new:
            run.decide(FailureAccepted(str(compress_indices(new)), reason, run.clock()))
        return _result(rows, able)


def undo_accept(run: Run, rows: Collection[int]) -> AcceptResult:
    """Let the accepted failures among these slices count again.

    Raises:
        LockedError: another process holds the lock for too long.
    """
    with run.directory.lock("accept"):
        run.reload()
        able = [row for row in sorted(rows) if run.acceptance_of(row)]
        if able:
            run.decide(AcceptanceUndone(str(compress_indices(able)), run.clock()))
        return _result(rows, able)


def _reason(run: Run, row: int) -> str | None:
    accepted = run.acceptance_of(row)
    return accepted.reason if accepted else None


def _result(rows: Collection[int], able: Sequence[int]) -> AcceptResult:
    return AcceptResult(tuple(able), tuple(sorted(set(rows).difference(able))))
