"""``states.tsv``: what was seen of the slices, a line a change, and the standings it gives.

A line is: rows (an array expression), submission, then the fields below; tab-separated, escaped
as the tables are; empty is: not known. The last line about a row counts, and only while the
submission it speaks of is the one that holds the row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from slurmslice.errors import SlurmsliceError
from slurmslice.evidence import FACTS
from slurmslice.judge import Standing
from slurmslice.ledger import Fate, Ledger
from slurmslice.ranges import compress, parse_array
from slurmslice.states import Evidence, State
from slurmslice.tables import format_row, parse_row

_NUMBERS = tuple(name for name in FACTS if name != "node")
_FRACTIONS = frozenset({"elapsed_s", "cpu_s"})
_NAMES = ("rows", "submission", "state", "evidence", *_NUMBERS, "node", "reason")
HEADER = format_row(_NAMES).encode()
"""The first line of the file, for a person; it is no sighting."""


def to_lines(changed: Mapping[int, Standing]) -> bytes:
    """Lines for the standings of these rows; rows that share everything share a line."""
    same: dict[tuple[str, ...], list[int]] = {}
    for row in sorted(changed):
        same.setdefault(_fields(changed[row]), []).append(row)
    text = "".join(format_row((str(compress(rows)), *fields)) for fields, rows in same.items())
    return text.encode("utf-8", "surrogateescape")


def _fields(standing: Standing) -> tuple[str, ...]:
    numbers = (getattr(standing, name) for name in _NUMBERS)
    return (
        str(standing.submission),
        standing.state,
        standing.evidence,
        *("" if number is None else str(round(number, 3)) for number in numbers),
        standing.node or "",
        standing.reason,
    )


def baseline(ledger: Ledger, row: int) -> Standing:
    """Where a row stands by our own decisions alone, before anything was seen of it."""
    submission = ledger.of_row(row)
    attempt = ledger.attempts[row]
    if submission is None:
        if row in ledger.withdrawn:
            return Standing(
                State.CANCELLED,
                "cancelled before it was submitted",
                attempt=attempt,
                ended_at=int(ledger.withdrawn[row]),
            )
        reason = ledger.returned.get(row, "not submitted yet")
        return Standing(State.WAITING, reason, attempt=attempt)
    reason = "submitted; Slurm has not shown it yet"
    if submission.fate is Fate.INTENDED:
        reason = f"whether submission {submission.number:03d} was taken is not known yet"
    return Standing(
        State.SUBMITTED,
        reason,
        submission=submission.number,
        index=submission.index_of[row],
        attempt=attempt,
        submitted_at=int(submission.submitted_at or submission.intent.at),
    )


class Standings(Sequence[Standing]):
    """Where every slice stands, by row."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._all = [baseline(ledger, row) for row in range(len(ledger.holder))]

    def __len__(self) -> int:
        return len(self._all)

    def __getitem__(self, row: int) -> Standing:  # type: ignore[override]
        return self._all[row]

    def states(self) -> list[State]:
        """The state of every row."""
        return [standing.state for standing in self._all]

    def update(self, changed: Mapping[int, Standing]) -> None:
        """Take in what a poll made of these rows."""
        for row, standing in changed.items():
            self._all[row] = standing

    def read(self, lines: bytes) -> None:
        """Take in lines of ``states.tsv``; one that cannot be read is left out."""
        for line in lines.splitlines():
            try:
                self._take(parse_row(line.decode("utf-8", "surrogateescape")))
            except (ValueError, IndexError, SlurmsliceError):
                continue  # losing a line is harmless: the next poll asks again

    def _take(self, fields: Sequence[str]) -> None:
        submission = int(fields[1])
        state, evidence = State(fields[2]), Evidence(fields[3])
        numbers = dict(_numbers(fields[4 : 4 + len(_NUMBERS)]))
        node, reason = fields[4 + len(_NUMBERS)], fields[5 + len(_NUMBERS)]
        for row in parse_array(fields[0]):
            if self._ledger.holder[row] != submission:
                continue
            self._all[row] = replace(
                baseline(self._ledger, row),
                state=state,
                evidence=evidence,
                node=node or None,
                reason=reason,
                **numbers,
            )


def _numbers(fields: Sequence[str]) -> Iterable[tuple[str, Any]]:
    for name, text in zip(_NUMBERS, fields, strict=True):
        if not text:
            yield name, None
        else:
            yield name, float(text) if name in _FRACTIONS else int(text)
