"""The number of slices in each state, their keys and their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from slurmslice.reports.slice_requests import SliceRequests
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import ArrayExpression, compress_indices
from slurmslice.slices.keys import are_all_canonical
from slurmslice.status.states import State
from slurmslice.system.escaping import escape

_MOST_KEYS = 8
_MOST_TEXT = 60
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class StateCount:
    """The slices in one state.

    Attributes:
        state: the state.
        rows: their rows.
        keys: their keys, in short form.
        why: their most frequent reasons, with counts if there are several.
        accepted: a person accepts that they are in this state.
    """

    state: State
    rows: tuple[int, ...]
    keys: str
    why: str
    accepted: bool = False

    @property
    def label(self) -> str:
        """The state in a list of several: ``FAILED``, or ``FAILED (accepted)``."""
        return f"{self.state} (accepted)" if self.accepted else str(self.state)


def counts_by_state(
    run: Run, among: Collection[int] | None = None, known: Mapping[int, str] = MappingProxyType({})
) -> list[StateCount]:
    """Count the slices in each state that occurs, in the order of ``State``.

    Slices with an accepted failure are counted apart, after the others in their state.

    Args:
        run: the run.
        among: count only these rows; None for all.
        known: the groups of failures of rows, in words, which say more than their reasons.
    """
    found = ((state, run.statuses.rows_in({state})) for state in run.statuses.state_counts())
    if among is not None:
        chosen = frozenset(among)
        found = ((state, [row for row in rows if row in chosen]) for state, rows in found)
    requested, accepted = SliceRequests(run), frozenset(run.accepted_rows)
    return [
        _accepted(run, count) if is_accepted else count
        for state, rows in found
        for is_accepted, some in _divide(rows, accepted)
        for count in (_count(run, state, some, requested, known),)
    ]


def _divide(rows: list[int], accepted: frozenset[int]) -> Iterator[tuple[bool, list[int]]]:
    """Yield the rows that are not accepted, then the accepted ones, if there are any."""
    others = [row for row in rows if row not in accepted] if accepted else rows
    if others:
        yield False, others
    if len(others) < len(rows):
        yield True, [row for row in rows if row in accepted]


def _accepted(run: Run, count: StateCount) -> StateCount:
    words = (escape(one.reason) for row in count.rows if (one := run.acceptance_of(row)))
    why = f"accepted: {_most_frequent(Counter(words))}; {count.why}"
    return replace(count, why=why, accepted=True)


def _count(
    run: Run, state: State, rows: list[int], requested: SliceRequests, known: Mapping[int, str]
) -> StateCount:
    keys = key_ranges(run.table.keys.of(rows))
    waits = run.hold.reason or run.waits_for_canary or run.waits_for_other
    if state is State.WAITING and waits:
        return StateCount(state, tuple(rows), keys, run.reason_of(rows[-1]))
    return StateCount(
        state, tuple(rows), keys, requested.over(state, rows, frequent_reasons(run, rows, known))
    )


def count_text(number: int, what: str = "slice") -> str:
    """Return ``1 slice``, ``2 slices``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def key_ranges(keys: list[str]) -> str:
    """Return keys in short form: numbers as ranges, names one by one, and the number left out.

    A key that is too long by itself is cut.
    """
    if are_all_canonical(keys):
        parts = compress_indices(sorted(map(int, keys))).parts
        ranges = ((str(ArrayExpression((part,))), len(part)) for part in parts)
        return _fitting(",", ranges, len(keys))
    return _fitting(", ", ((escape(key), 1) for key in keys[:_MOST_KEYS]), len(keys))


def _fitting(separator: str, parts: Iterable[tuple[str, int]], total: int) -> str:
    """Join the first of these texts that fit; add the number of keys that are left out.

    Args:
        separator: the text between them.
        parts: texts, each with the number of its keys.
        total: the number of all keys.
    """
    shown: list[str] = []
    room, left = _MOST_TEXT, total
    for text, keys in parts:
        if shown and len(text) > room:
            break
        shown.append(shorten_text(text))
        room -= len(text) + len(separator)
        left -= keys
    return separator.join(shown) + (f" and {left} more" if left else "")


def shorten_text(text: str, most: int = _MOST_TEXT) -> str:
    """Cut a text to at most so many characters; a cut text ends in an ellipsis."""
    return text if len(text) <= most else text[: most - 1].rstrip(",") + "…"


def frequent_reasons(
    run: Run, rows: list[int], known: Mapping[int, str] = MappingProxyType({})
) -> str:
    """Return the most frequent reasons of some slices, and the number with other reasons.

    Args:
        run: the run.
        rows: the slices.
        known: texts in place of the reasons of some rows.
    """
    reasons = Counter(escape(known[row]) for row in rows if row in known)
    others = [row for row in rows if row not in known]
    for reason, number in run.statuses.reasons(others).items():
        reasons[escape(reason)] += number
    return _most_frequent(reasons, "failures" if known else "status --slices")


def _most_frequent(reasons: Counter[str], verb: str = "status --slices") -> str:
    found = reasons.most_common()
    if len(found) == 1:
        return found[0][0]
    shown = [f"{reason} ({number})" for reason, number in found[:_MOST_REASONS]]
    if rest := sum(number for _, number in found[_MOST_REASONS:]):
        shown.append(f"others ({rest}), which {verb} shows")
    return "; ".join(shown)
