"""How many slices are in which state, which ones, and why."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.keys import canonical
from slurmslice.ranges import compress
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.tables import escape

_MOST_KEYS = 8
_MOST_TEXT = 60


@dataclass(frozen=True, slots=True)
class Count:
    """The slices in one state.

    Attributes:
        state: the state.
        rows: their rows.
        keys: their keys, in little room.
        why: their most frequent reasons, with counts where there are several.
    """

    state: State
    rows: tuple[int, ...]
    keys: str
    why: str


def counts(run: Run) -> list[Count]:
    """A count for each state that occurs, in the order in which states are declared."""
    return [_count(run, state) for state in run.standings.tally()]


def _count(run: Run, state: State) -> Count:
    rows = run.standings.rows_in({state})
    keys = key_ranges([run.table.keys[row] for row in rows])
    return Count(state, tuple(rows), keys, reasons(run, rows))


def count(number: int, what: str = "slice") -> str:
    """``1 slice``, ``2 slices``."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def key_ranges(keys: list[str]) -> str:
    """Keys in little room: numbers as ranges, names as a few and how many more."""
    if all(map(canonical, keys)):
        return shortened(str(compress(sorted(map(int, keys)))))
    shown = ", ".join(escape(key) for key in keys[:_MOST_KEYS])
    more = f" and {len(keys) - _MOST_KEYS} more" if len(keys) > _MOST_KEYS else ""
    return shortened(shown) + more


def shortened(text: str, most: int = _MOST_TEXT) -> str:
    """At most so many characters, with an ellipsis where it is cut."""
    return text if len(text) <= most else text[: most - 1].rstrip(",") + "…"


def reasons(run: Run, rows: list[int]) -> str:
    """The most frequent reasons among some slices."""
    found = run.standings.reasons(rows).most_common(3)
    if len(found) == 1:
        return escape(found[0][0])
    return "; ".join(f"{escape(reason)} ({number})" for reason, number in found)
