"""The statuses of a run's slices, and their file ``states.tsv`` with a line per change.

A line has the rows (an array expression), the submission, and the fields of ``_NAMES``. Fields
are separated by tabs and escaped as in the other tables; an empty field is an unknown value. The
last line of a row counts, and only if its submission still holds the row.

A run may have a million slices. The table therefore keeps each line as bytes and decodes it when
its slice is needed. Only the state of each slice is always decoded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from slurmslice.errors import SlurmsliceError
from slurmslice.run.journal_state import JournalState
from slurmslice.run.submission import SubmissionStatus
from slurmslice.sbatch.array_expression import compress_indices, parse_array
from slurmslice.status.observation import FACT_NAMES
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import EvidenceSource, State
from slurmslice.system.escaping import escape, format_row, parse_row

_NUMBERS = tuple(name for name in FACT_NAMES if name != "node")
_FRACTIONS = frozenset({"elapsed_s", "cpu_s"})
_NAMES = ("rows", "submission", "state", "evidence", *_NUMBERS, "log_cause", "node", "reason")
_TABS = len(_NAMES) - 1
STATUS_HEADER = format_row(_NAMES).encode()
"""The first line of the file, for people; readers ignore it."""

_STATES = tuple(State)
_CODES = {state: code for code, state in enumerate(_STATES)}
_WORDS = {state.value.encode(): code for state, code in _CODES.items()}
_FINAL = frozenset(code for state, code in _CODES.items() if state.final)
_SOURCES = frozenset(evidence.value.encode() for evidence in EvidenceSource)
_FAILED = frozenset(code for state, code in _CODES.items() if state.failed)
_STARTED_AT, _ENDED_AT = _NAMES.index("started_at"), _NAMES.index("ended_at")
_PEAK, _REQUESTED = _NAMES.index("max_rss_bytes"), _NAMES.index("requested_mem_bytes")
_WAITING, _SUBMITTED, _CANCELLED, _COMPLETED = (
    _CODES[state] for state in (State.WAITING, State.SUBMITTED, State.CANCELLED, State.COMPLETED)
)


def format_status_lines(changed: Mapping[int, SliceStatus]) -> bytes:
    """Return the lines of these statuses; rows with equal statuses share a line."""
    same: dict[tuple[str, ...], list[int]] = {}
    for row in sorted(changed):
        same.setdefault(_fields(changed[row]), []).append(row)
    text = "".join(
        format_row((str(compress_indices(rows)), *fields)) for fields, rows in same.items()
    )
    return text.encode("utf-8", "surrogateescape")


def _fields(status: SliceStatus) -> tuple[str, ...]:
    numbers = (getattr(status, name) for name in _NUMBERS)
    return (
        str(status.submission),
        status.state,
        status.evidence,
        *("" if number is None else str(round(number, 3)) for number in numbers),
        status.log_cause,
        status.node or "",
        status.reason,
    )


def journal_status(journal_state: JournalState, row: int) -> SliceStatus:
    """Return a row's status by the journal alone, before Slurm has reported on it."""
    submission = journal_state.submission_of(row)
    attempt = journal_state.attempts[row]
    if row in journal_state.queue:
        reason = _QUEUED_AGAIN if attempt else _QUEUED
        if submission is None and row in journal_state.returned:
            reason = journal_state.returned[row][0]
        return SliceStatus(State.WAITING, reason, attempt=attempt)
    if row in journal_state.withdrawn:
        reason = "cancelled before it was submitted"
        return SliceStatus(
            State.CANCELLED, reason, attempt=attempt, ended_at=int(journal_state.withdrawn[row])
        )
    if journal_state.was_done_before(row):
        return SliceStatus(State.COMPLETED, _DONE_BEFORE, EvidenceSource.CHECK)
    if submission is None:
        reason = journal_state.returned.get(
            row, (_REFUSED if journal_state.rejection else _NOT_YET, 0)
        )[0]
        return SliceStatus(State.WAITING, reason, attempt=attempt)
    reason = "submitted; Slurm has not shown it yet"
    if submission.status is SubmissionStatus.INTENDED:
        reason = f"it is not known yet if Slurm accepted submission {submission.number:03d}"
    return SliceStatus(
        State.SUBMITTED,
        reason,
        submission=submission.number,
        index=submission.array_index_of(row),
        attempt=attempt,
        submitted_at=int(submission.submitted_at or submission.intent.at),
    )


_QUEUED = "submitted when there is room in the queue"
_QUEUED_AGAIN = "submitted again when there is room in the queue"
_NOT_YET = "not submitted yet"
_DONE_BEFORE = "done before this run was made"
_REFUSED = "not submitted: the newest submission was rejected"


class StatusTable(Sequence[SliceStatus]):
    """The status of every slice, by row."""

    def __init__(self, journal_state: JournalState) -> None:
        self._ledger = journal_state
        self._lines: list[bytes | SliceStatus | None] = [None] * len(journal_state.holder)
        self._codes = bytearray(
            _SUBMITTED if holder else _WAITING for holder in journal_state.holder
        )
        self._mark(filter(journal_state.was_done_before, journal_state.done_before), _COMPLETED)
        self._mark(journal_state.withdrawn, _CANCELLED)
        self._mark(journal_state.queue, _WAITING)
        self._past_failures: dict[tuple[int, int], bytes | SliceStatus] = {}

    def _mark(self, rows: Iterable[int], code: int) -> None:
        for row in rows:
            self._codes[row] = code

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, row: int) -> SliceStatus:  # type: ignore[override]
        return journal_status(self._ledger, row) if self._is_decided(row) else self.seen(row)

    def seen(self, row: int) -> SliceStatus:
        """Return a row's last observed status, even if the row is queued or withdrawn now."""
        line = self._lines[row]
        if line is None:
            return journal_status(self._ledger, row)
        if isinstance(line, SliceStatus):
            return line
        status = _read(line, self._ledger, row)
        if status.state.failed:  # decisions on failures read it again and again
            self._lines[row] = status
        return status

    def decode(self) -> None:
        """Decode all lines once, for a report that reads each status several times.

        That takes about a kilobyte for each slice.
        """
        for row, line in enumerate(self._lines):
            if isinstance(line, bytes):
                self._lines[row] = _read(line, self._ledger, row)

    def _is_decided(self, row: int) -> bool:
        """Tell if the journal's decision on a row overrides its last observed status."""
        return row in self._ledger.queue or row in self._ledger.withdrawn

    def state(self, row: int) -> State:
        """The state of a row."""
        return _STATES[self._codes[row]]

    def state_counts(self) -> dict[State, int]:
        """Return the number of slices in each occurring state, in the order of ``State``."""
        found = ((state, self._codes.count(code)) for state, code in _CODES.items())
        return {state: number for state, number in found if number}

    def rows_in(self, states: Collection[State]) -> list[int]:
        """Return the rows in one of these states, in order."""
        wanted = {_CODES[state] for state in states}
        return [row for row, code in enumerate(self._codes) if code in wanted]

    def ended(self, row: int) -> bool:
        """Tell if a row is in a final state."""
        return self._codes[row] in _FINAL

    def times(self, rows: Iterable[int]) -> Iterator[Times]:
        """Iterate over the start and the end of the last observed attempt of rows."""
        return (_times(self._lines[row]) for row in rows)

    def attempts(self, rows: Iterable[int]) -> Iterator[SeenAttempt]:
        """Iterate over the last observed attempts of rows, even if they are queued again."""
        return (_attempt(row, line) for row in rows if (line := self._lines[row]) is not None)

    def starts_by_node(self, rows: Iterable[int]) -> dict[str, list[float]]:
        """Group the starts of the last observed attempts of rows by their nodes, epoch seconds.

        It decodes nothing else, because there may be a million rows.
        """
        found: dict[bytes, list[float]] = {}
        for row in rows:
            line = self._lines[row]
            if isinstance(line, bytes):
                fields = line.split(b"\t")
                node, start = fields[-2], _number(fields[_STARTED_AT])
            elif line is not None:
                node, start = escape(line.node or "").encode(), line.started_at
            else:
                continue
            if node and start is not None:
                found.setdefault(node, []).append(start)
        return {parse_row(_text(node))[0]: starts for node, starts in found.items()}

    def past_failures(self) -> Iterator[SeenAttempt]:
        """Iterate over the failed attempts of slices that were submitted again since then."""
        return (_attempt(row, line) for (row, _), line in self._past_failures.items())

    def past_submissions(self) -> dict[int, list[int]]:
        """Group the submissions of failed earlier attempts by row, in their order."""
        found: dict[int, list[int]] = {}
        for row, number in sorted(self._past_failures):
            found.setdefault(row, []).append(number)
        return found

    def past(self, row: int, submission: int) -> SliceStatus | None:
        """Return the status of a failed earlier attempt of a row; None if none was seen."""
        line = self._past_failures.get((row, submission))
        return _read(line, self._ledger, row) if isinstance(line, bytes) else line

    def past_durations(self) -> Iterator[tuple[int, int, int]]:
        """Iterate over the past failed attempts: row, submission and duration, whole seconds."""
        for (row, submission), line in self._past_failures.items():
            started, ended = _times(line)
            yield row, submission, 0 if started is None or ended is None else ended - started

    def requested_before(self, row: int, submission: int) -> int | None:
        """Return the bytes that a failed earlier attempt of a row requested; None if not known."""
        line = self._past_failures.get((row, submission))
        if line is None or isinstance(line, SliceStatus):
            return None if line is None else line.requested_mem_bytes
        return _number(line.split(b"\t", _REQUESTED + 1)[_REQUESTED])

    def requested_in(self, row: int, submission: int) -> int | None:
        """Return the bytes that an observed attempt of a row requested; None if not known."""
        seen = self.seen(row)
        if seen.submission == submission:
            return seen.requested_mem_bytes
        return self.requested_before(row, submission)

    def peaks(self, rows: Iterable[int]) -> Iterator[tuple[int, int]]:
        """Iterate over rows with a measured peak of memory in their last attempt, bytes."""
        for row in rows:
            line = self._lines[row]
            if isinstance(line, SliceStatus):
                peak = line.max_rss_bytes
            else:
                peak = None if line is None else _number(line.split(b"\t", _PEAK + 1)[_PEAK])
            if peak is not None:
                yield row, peak

    def reasons(self, rows: Iterable[int]) -> Counter[str]:
        """Count the reasons of these rows."""
        lines, is_decided = self._lines, self._is_decided
        raw = Counter(
            line[line.rfind(b"\t") + 1 :]
            if isinstance(line := lines[row], bytes) and not is_decided(row)
            else self[row].reason
            for row in rows
        )
        with_rounded_time: Counter[str] = Counter()
        for reason, number in raw.items():
            text = reason if isinstance(reason, str) else parse_row(_text(reason))[0]
            with_rounded_time[text] += number
        return with_rounded_time

    def update(self, changed: Mapping[int, SliceStatus]) -> None:
        """Store the new statuses from a poll."""
        for row, status in changed.items():
            self._lines[row] = status
            self._codes[row] = _CODES[status.state]

    def moved(self, rows: Iterable[int]) -> None:
        """Update rows after the journal has queued, submitted, returned or cancelled them."""
        journal_state = self._ledger
        for row in rows:
            if row in journal_state.queue:
                self._codes[row] = _WAITING
            elif row in journal_state.withdrawn:
                self._codes[row] = _CANCELLED
            else:
                self._keep_failure(row)
                self._lines[row] = None
                self._codes[row] = _SUBMITTED if journal_state.holder[row] else _WAITING

    def _keep_failure(self, row: int) -> None:
        """Keep the last observed attempt of a row that is submitted again, if it failed."""
        line = self._lines[row]
        if isinstance(line, SliceStatus):
            if line.state.failed:
                self._past_failures[row, line.submission] = line
        elif line is not None:
            _, number, state, _ = line.split(b"\t", 3)
            if _WORDS[state] in _FAILED:
                self._past_failures[row, int(number)] = line

    def read(self, lines: bytes) -> None:
        """Apply lines of ``states.tsv``, and skip invalid ones.

        A skipped line does no harm, because the next poll asks Slurm again.
        """
        holder, most, ours, codes = self._ledger.holder, len(self), self._lines, self._codes
        all_open = not (self._ledger.queue or self._ledger.withdrawn)
        for line in lines.split(b"\n"):
            if line.count(b"\t") != _TABS or (b"\\" in line and not _has_valid_escapes(line)):
                continue
            text, number, state, evidence, _ = line.split(b"\t", 4)
            code = _WORDS.get(state)
            # Inlined to be fast for a million lines. A long number would be slow to convert.
            if code is None or evidence not in _SOURCES or len(number) > 9 or not number.isdigit():
                continue
            held_by = int(number)
            single = len(text) < 10 and text.isdigit()
            for row in (int(text),) if single else _rows(text, most):
                if row < most and holder[row] == held_by:
                    ours[row] = line
                    if all_open or not self._is_decided(row):
                        codes[row] = code
                elif row < most and code in _FAILED:
                    self._past_failures[row, held_by] = line


Times = tuple[int | None, int | None]
"""The start and the end of an attempt, epoch seconds; None if not known."""


class SeenAttempt(NamedTuple):
    """An observed attempt: its end or its present state, its node and its times, epoch seconds."""

    row: int
    submission: int
    state: State
    node: str | None
    started_at: int | None
    ended_at: int | None
    log_cause: str = ""


def _attempt(row: int, line: bytes | SliceStatus) -> SeenAttempt:
    if isinstance(line, SliceStatus):
        times = line.started_at, line.ended_at
        return SeenAttempt(row, line.submission, line.state, line.node, *times, line.log_cause)
    fields = line.split(b"\t")
    node = parse_row(_text(fields[-2]))[0] or None
    return SeenAttempt(
        row, int(fields[1]), _STATES[_WORDS[fields[2]]], node,
        _number(fields[_STARTED_AT]), _number(fields[_ENDED_AT]), _text(fields[-3]),
    )  # fmt: skip


def _times(line: bytes | SliceStatus | None) -> Times:
    if line is None:
        return None, None
    if isinstance(line, SliceStatus):
        return line.started_at, line.ended_at
    fields = line.split(b"\t", _ENDED_AT + 1)
    return _number(fields[_STARTED_AT]), _number(fields[_ENDED_AT])


def _number(field: bytes) -> int | None:
    return int(field) if field.isdigit() and len(field) < 16 else None


def _rows(text: bytes, most: int) -> Iterable[int]:
    """The rows of a line; none if they are invalid or beyond the end of this run."""
    try:
        rows = parse_array(text.decode())
    except (ValueError, SlurmsliceError):
        return ()
    return rows if rows.highest < most else ()


def _text(field: bytes) -> str:
    return field.decode("utf-8", "surrogateescape")


def _has_valid_escapes(line: bytes) -> bool:
    """Tell if every escape of a line is valid."""
    try:
        parse_row(_text(line))
    except SlurmsliceError:
        return False
    return True


def _read(line: bytes, journal_state: JournalState, row: int) -> SliceStatus:
    """Return the status of one row of a line."""
    text = _text(line)
    fields = parse_row(text) if "\\" in text else text.split("\t")
    number, state, evidence = int(fields[1]), State(fields[2]), EvidenceSource(fields[3])
    return SliceStatus(
        state,
        fields[-1],
        evidence,
        submission=number,
        index=journal_state.submissions[number].array_index_of(row) if number else None,
        attempt=journal_state.attempts[row],
        node=fields[-2] or None,
        log_cause=fields[-3],
        **dict(_numbers(fields[4:-3])),
    )


def _numbers(fields: Sequence[str]) -> Iterator[tuple[str, Any]]:
    for name, text in zip(_NUMBERS, fields, strict=True):
        try:
            yield name, (float(text) if name in _FRACTIONS else int(text)) if text else None
        except ValueError:  # damaged by an editor
            yield name, None
