"""``states.tsv``: what was seen of the slices, a line a change, and the standings it gives.

A line is: rows (an array expression), submission, then the fields below; tab-separated, escaped
as the tables are; empty is: not known. The last line about a row counts, and only while the
submission it speaks of is the one that holds the row.

A run may have a million slices: lines are kept as they are and read where a slice is asked for.
What is always at hand is each slice's state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
_TABS = len(_NAMES) - 1
HEADER = format_row(_NAMES).encode()
"""The first line of the file, for a person; it is no sighting."""

_STATES = tuple(State)
_CODES = {state: code for code, state in enumerate(_STATES)}
_WORDS = {state.value.encode(): code for state, code in _CODES.items()}
_FINAL = frozenset(code for state, code in _CODES.items() if state.final)
_SOURCES = frozenset(evidence.value.encode() for evidence in Evidence)
_WAITING, _SUBMITTED, _CANCELLED = (
    _CODES[state] for state in (State.WAITING, State.SUBMITTED, State.CANCELLED)
)


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
    if row in ledger.queue:
        reason = "to be submitted again as there is room" if attempt else _QUEUED
        if submission is None and row in ledger.returned:
            reason = ledger.returned[row][0]
        return Standing(State.WAITING, ledger.held or reason, attempt=attempt)
    if row in ledger.withdrawn:
        reason = "cancelled before it was submitted"
        return Standing(
            State.CANCELLED, reason, attempt=attempt, ended_at=int(ledger.withdrawn[row])
        )
    if submission is None:
        reason = ledger.returned.get(row, (_REFUSED if ledger.refusal else _NOT_YET, 0))[0]
        return Standing(State.WAITING, reason, attempt=attempt)
    reason = "submitted; Slurm has not shown it yet"
    if submission.fate is Fate.INTENDED:
        reason = f"whether submission {submission.number:03d} was taken is not known yet"
    return Standing(
        State.SUBMITTED,
        reason,
        submission=submission.number,
        index=submission.index_of(row),
        attempt=attempt,
        submitted_at=int(submission.submitted_at or submission.intent.at),
    )


_QUEUED = "to be submitted as there is room"
_NOT_YET = "not submitted yet"
_REFUSED = "not submitted: the newest submission was refused"


class Standings(Sequence[Standing]):
    """Where every slice stands, by row."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lines: list[bytes | Standing | None] = [None] * len(ledger.holder)
        self._codes = bytearray(_SUBMITTED if holder else _WAITING for holder in ledger.holder)
        self._mark(ledger.withdrawn, _CANCELLED)
        self._mark(ledger.queue, _WAITING)

    def _mark(self, rows: Iterable[int], code: int) -> None:
        for row in rows:
            self._codes[row] = code

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, row: int) -> Standing:  # type: ignore[override]
        return baseline(self._ledger, row) if self._waits(row) else self.seen(row)

    def seen(self, row: int) -> Standing:
        """What was last seen of a row, whether or not it is queued to be submitted again."""
        line = self._lines[row]
        if line is None:
            return baseline(self._ledger, row)
        return line if isinstance(line, Standing) else _read(line, self._ledger, row)

    def _waits(self, row: int) -> bool:
        """Whether our own decision about a row outranks what was seen of it."""
        return row in self._ledger.queue or row in self._ledger.withdrawn

    def state(self, row: int) -> State:
        """The state of a row."""
        return _STATES[self._codes[row]]

    def tally(self) -> dict[State, int]:
        """How many slices are in each state that occurs, in the order of ``State``."""
        found = ((state, self._codes.count(code)) for state, code in _CODES.items())
        return {state: number for state, number in found if number}

    def rows_in(self, states: Collection[State]) -> list[int]:
        """The rows in one of these states, in order."""
        wanted = {_CODES[state] for state in states}
        return [row for row, code in enumerate(self._codes) if code in wanted]

    def ended(self, row: int) -> bool:
        """Whether a row is in a final state."""
        return self._codes[row] in _FINAL

    def reasons(self, rows: Iterable[int]) -> Counter[str]:
        """How often each reason is given among these rows."""
        lines, waits = self._lines, self._waits
        raw = Counter(
            line[line.rfind(b"\t") + 1 :]
            if isinstance(line := lines[row], bytes) and not waits(row)
            else self[row].reason
            for row in rows
        )
        counted: Counter[str] = Counter()
        for reason, number in raw.items():
            text = reason if isinstance(reason, str) else parse_row(_text(reason))[0]
            counted[text] += number
        return counted

    def update(self, changed: Mapping[int, Standing]) -> None:
        """Take in what a poll made of these rows."""
        for row, standing in changed.items():
            self._lines[row] = standing
            self._codes[row] = _CODES[standing.state]

    def moved(self, rows: Iterable[int]) -> None:
        """Follow the ledger, in which these rows were queued, submitted, given back, cancelled."""
        ledger = self._ledger
        for row in rows:
            if row in ledger.queue:
                self._codes[row] = _WAITING
            elif row in ledger.withdrawn:
                self._codes[row] = _CANCELLED
            else:
                self._lines[row] = None
                self._codes[row] = _SUBMITTED if ledger.holder[row] else _WAITING

    def read(self, lines: bytes) -> None:
        """Take in lines of ``states.tsv``; one that cannot be read is left out.

        Losing a line is harmless: the next poll asks again.
        """
        holder, most, ours, codes = self._ledger.holder, len(self), self._lines, self._codes
        undecided = not (self._ledger.queue or self._ledger.withdrawn)
        for line in lines.split(b"\n"):
            if line.count(b"\t") != _TABS or (b"\\" in line and not _is_whole(line)):
                continue
            text, number, state, evidence, _ = line.split(b"\t", 4)
            code = _WORDS.get(state)
            # Written out, for a million lines: numbers, and none that takes long to read.
            if code is None or evidence not in _SOURCES or len(number) > 9 or not number.isdigit():
                continue
            held_by = int(number)
            single = len(text) < 10 and text.isdigit()
            for row in (int(text),) if single else _rows(text, most):
                if row < most and holder[row] == held_by:
                    ours[row] = line
                    if undecided or not self._waits(row):
                        codes[row] = code


def _rows(text: bytes, most: int) -> Iterable[int]:
    """The rows of a line; none where they cannot be read, or are not all rows of this run."""
    try:
        rows = parse_array(text.decode())
    except (ValueError, SlurmsliceError):
        return ()
    return rows if rows.highest < most else ()


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def _is_whole(line: bytes) -> bool:
    """Whether every escape of a line can be read."""
    try:
        parse_row(_text(line))
    except SlurmsliceError:
        return False
    return True


def _read(line: bytes, ledger: Ledger, row: int) -> Standing:
    """The standing that a line gives to one of its rows."""
    fields = parse_row(_text(line))
    number, state, evidence = int(fields[1]), State(fields[2]), Evidence(fields[3])
    return Standing(
        state,
        fields[-1],
        evidence,
        submission=number,
        index=ledger.submissions[number].index_of(row) if number else None,
        attempt=ledger.attempts[row],
        node=fields[-2] or None,
        **dict(_numbers(fields[4:-2])),
    )


def _numbers(fields: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name, text in zip(_NUMBERS, fields, strict=True):
        try:
            yield name, (float(text) if name in _FRACTIONS else int(text)) if text else None
        except ValueError:  # spoilt by hand
            yield name, None
