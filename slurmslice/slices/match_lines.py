"""Match the lines of a job file, or of a table without keys, with a run's slices by content. Pure.

The keys of such slices are the places that their lines had once. A line that is inserted, deleted
or moved must not change the slice of another line.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.table_difference import TableDifference, Values, in_order


def match_lines(old: SliceTable, new: SliceTable) -> TableDifference:
    """Return the difference of two tables whose keys are places.

    Equal lines are the same slice, wherever they are. A line that is left over was changed if an
    old line is left over at its place: after the same unchanged line. Else it is new.

    Raises:
        BadInputError: lines were changed, and others inserted or deleted, at the same place
            (``ambiguous-lines``).
    """
    before = [old.column_values(row) for row in range(len(old))]
    now, numbers = list(in_order(old, new)), list(new.keys)
    matched = _match_equal(before, now)
    gaps_before, gaps_now = _gaps_of_rows(before, matched), _gaps_of_lines(now, matched)
    changed, added, gone = dict[int, Values](), list[int](), 0
    for place, lines in gaps_now.items():
        rows = gaps_before.pop(place, [])
        at_end = lines[-1] == len(now) - 1 and len(lines) > len(rows)
        if rows and len(rows) != len(lines) and not at_end:
            raise _ambiguous(numbers, lines, len(rows))
        changed.update((row, now[line]) for row, line in zip(rows, lines, strict=False))
        added += lines[len(rows) :]
    gone = sum(map(len, gaps_before.values()))
    keys = _free_keys(old, [numbers[line] for line in sorted(added)])
    values = (now[line] for line in sorted(added))
    return TableDifference(dict(zip(keys, values, strict=True)), changed, gone)


def _match_equal(before: Sequence[Values], now: Sequence[Values]) -> dict[int, int]:
    """Return the row of each line with equal content; the first such lines if there are several."""
    rows_of = defaultdict[Values, deque[int]](deque)
    for row, values in enumerate(before):
        rows_of[values].append(row)
    return {
        line: rows_of[values].popleft() for line, values in enumerate(now) if rows_of.get(values)
    }


def _gaps_of_rows(before: Sequence[Values], matched: dict[int, int]) -> dict[int, list[int]]:
    """Group the rows without a line by the row before them that has one; -1 for none."""
    known, last, gaps = set(matched.values()), -1, dict[int, list[int]]()
    for row in range(len(before)):
        if row in known:
            last = row
        else:
            gaps.setdefault(last, []).append(row)
    return gaps


def _gaps_of_lines(now: Sequence[Values], matched: dict[int, int]) -> dict[int, list[int]]:
    """Group the lines without a row by the row of the line before them; -1 for none."""
    last, gaps = -1, dict[int, list[int]]()
    for line in range(len(now)):
        if line in matched:
            last = matched[line]
        else:
            gaps.setdefault(last, []).append(line)
    return gaps


def _free_keys(old: SliceTable, numbers: Sequence[str]) -> list[str]:
    """Return keys of new lines: their numbers if they are above all others, else the next free."""
    highest, keys = max(map(int, old.keys), default=0), list[str]()
    for number in map(int, numbers):
        highest = max(highest + 1, number)
        keys.append(str(highest))
    return keys


def _ambiguous(numbers: Sequence[str], lines: Sequence[int], rows: int) -> BadInputError:
    first, last = numbers[lines[0]], numbers[lines[-1]]
    which = f"line {first}" if first == last else f"lines {first} to {last}"
    return BadInputError(
        f"At {which}, the number of changed lines differs from that in the run ({rows}): it is not "
        "clear which line is whose.",
        "Change lines first and type this command; then insert or delete lines and type it again.",
        code="ambiguous-lines",
        first=first,
        last=last,
    )
