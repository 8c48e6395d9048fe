"""Match the lines of a job file, or of a table without keys, with a run's slices by content. Pure.

The keys of such slices are the places that their lines had once. A line that is inserted, deleted
or moved must not change the slice of another line.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Sequence

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable, checked_table
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
    pairs = _pair(before, now, numbers)
    changed = {row: now[line] for line, row in pairs.items() if now[line] != before[row]}
    added = [line for line in range(len(now)) if line not in pairs]
    keys = _free_keys(old.keys, [numbers[line] for line in added])
    values = (now[line] for line in added)
    return TableDifference(dict(zip(keys, values, strict=True)), changed, len(before) - len(pairs))


def renumber_lines(old: SliceTable, new: SliceTable) -> SliceTable:
    """Return a table of lines and parameters in which each line has the number that it had once.

    Its keys are ``NUMBER,PARAMETERS``. Lines are compared in one combination of parameters that
    both tables have: there they differ only in their own columns.

    Raises:
        BadInputError: as ``match_lines``, or no combination is in both tables.
    """
    parts_before, parts_now = _key_parts(old), _key_parts(new)
    shared = Counter(part for _, part in parts_before)
    known = {part for _, part in parts_now}
    common = max((part for part in shared if part in known), key=shared.__getitem__, default=None)
    if common is None:
        raise _nothing_shared()
    rows = [row for row, (_, part) in enumerate(parts_before) if part == common]
    lines = [line for line, (_, part) in enumerate(parts_now) if part == common]
    values, numbers = list(in_order(old, new)), [parts_now[line][0] for line in lines]
    before, now = [old.column_values(row) for row in rows], [values[line] for line in lines]
    pairs = _pair(before, now, numbers)
    final = {numbers[line]: parts_before[rows[row]][0] for line, row in pairs.items()}
    added = [number for number in numbers if number not in final]
    final |= zip(added, _free_keys([one for one, _ in parts_before], added), strict=True)
    keys = [f"{final[number]},{part}" for number, part in parts_now]
    columns = {name: list(new.values(name)) for name in new.columns}
    return checked_table(keys, "the new slices", columns)


def _key_parts(table: SliceTable) -> list[tuple[str, str]]:
    """Return the number of the line and the parameters in each key."""
    return [(number, part) for number, _, part in (key.partition(",") for key in table.keys)]


def _pair(
    before: Sequence[Values], now: Sequence[Values], numbers: Sequence[str]
) -> dict[int, int]:
    """Return the row of each line that is equal or was changed; new lines have none.

    Raises:
        BadInputError: it is not clear which line is whose (``ambiguous-lines``).
    """
    pairs = _match_equal(before, now)
    gaps_before, gaps_now = _gaps_of_rows(before, pairs), _gaps_of_lines(now, pairs)
    for place, lines in gaps_now.items():
        rows = gaps_before.get(place, [])
        at_end = lines[-1] == len(now) - 1 and len(lines) > len(rows)
        if rows and len(rows) != len(lines) and not at_end:
            raise _ambiguous(numbers, lines, len(rows))
        pairs.update(zip(lines, rows, strict=False))
    return pairs


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


def _free_keys(old: Iterable[str], numbers: Sequence[str]) -> list[str]:
    """Return keys of new lines: their numbers if they are above all others, else the next free."""
    highest, keys = max(map(int, old), default=0), list[str]()
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


def _nothing_shared() -> BadInputError:
    return BadInputError(
        "Not one combination of --grid and --zip is in the run: it is not clear which row of the "
        "table is whose.",
        "Give at least one of the run's combinations too; or make another run with another --name.",
        code="ambiguous-lines",
        first="",
        last="",
    )
