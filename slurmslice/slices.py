"""Slices, the table of them, and the readers that make one from what a person gives.

Keys are ``str`` with surrogates for bytes that are not UTF-8 (as file names are in Python);
``os.fsencode`` gives the bytes back. Rows count from 0 in the order given.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from slurmslice.errors import BadInput
from slurmslice.ranges import parse_array

FOLDER_LIMIT = 1000
"""Most entries of a folder of logs; file systems and people grow slow above it."""

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=,+@-]{0,99}", re.ASCII)
_CANONICAL = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


@dataclass(frozen=True)
class SliceTable:
    """A run's slices in order. It never changes after the run is made.

    Attributes:
        keys: a unique key a slice.
        columns: names of the columns; empty where slices have a key only.
        values: a tuple of ``len(columns)`` values a slice; empty where there are no columns.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...] = ()
    values: tuple[tuple[str, ...], ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def rows(self) -> dict[str, int]:
        """The row of each key."""
        return {key: row for row, key in enumerate(self.keys)}

    @cached_property
    def logs(self) -> tuple[str, ...]:
        """Each slice's log, relative to a submission's ``logs`` folder; safe and unique.

        The key itself where it is a safe file name that no other key resembles, else row-N.
        """
        names = _log_names(self.keys)
        if len(names) <= FOLDER_LIMIT:
            return tuple(names)
        # A key that is a number goes by its number, so that the direct form can compute it.
        numbers = self.highest_index
        return tuple(
            f"{(int(self.keys[row]) if numbers is not None else row) // FOLDER_LIMIT}/{name}"
            for row, name in enumerate(names)
        )

    @cached_property
    def highest_index(self) -> int | None:
        """The highest key where every key is a canonical integer and nothing but a key is known.

        Such keys can be array indices themselves; None where they cannot.
        """
        if self.columns or not all(map(canonical, self.keys)):
            return None
        return max(map(int, self.keys))

    def values_of(self, row: int) -> tuple[str, ...]:
        """The values of a row's columns."""
        return self.values[row] if self.columns else ()

    def select(self, wanted: Iterable[str]) -> list[int]:
        """Rows of the slices that a person names, in the table's order.

        Each name is a key as it stands; a name that is no key may be a range of keys in
        sbatch's syntax.

        Raises:
            BadInput: there is no such slice.
        """
        rows: set[int] = set()
        for name in wanted:
            rows.update(self._named(name))
        return sorted(rows)

    def _named(self, name: str) -> list[int]:
        if name in self.rows:
            return [self.rows[name]]
        try:
            keys = range_keys(name)[0]
        except BadInput:
            raise self._unknown(name) from None
        missing = next((key for key in keys if key not in self.rows), None)
        if missing is not None:
            raise self._unknown(missing)
        return [self.rows[key] for key in keys]

    def _unknown(self, key: str) -> BadInput:
        near = difflib.get_close_matches(key, self.keys[:10_000], 1)
        such = f"Slices go by their keys, such as {self.keys[0]!r}."
        hint = f"Did you mean {near[0]!r}?" if near else such
        return BadInput(f"There is no slice {key!r} among the {len(self)} of this run.", hint)


def canonical(key: str) -> bool:
    """Whether a key is a number as Slurm writes an array index: no sign, no leading zero."""
    return _CANONICAL.fullmatch(key) is not None


def _log_names(keys: Sequence[str]) -> list[str]:
    """A file name a key, all different even where a file system folds case."""
    folded: dict[str, int] = {}
    for key in keys:
        name = key.casefold()
        folded[name] = folded.get(name, 0) + 1
    return [
        f"{key}.log"
        if _SAFE_NAME.fullmatch(key) and folded[key.casefold()] == 1 and not key.startswith("row-")
        else f"row-{row}.log"
        for row, key in enumerate(keys)
    ]


def checked(keys: Iterable[str], source: str) -> SliceTable:
    """A table of keys alone.

    Raises:
        BadInput: there is no key, one stands twice, is empty or holds a NUL.
    """
    table = SliceTable(tuple(keys))
    if not table.keys:
        raise BadInput(f"There is no slice in {source}.", "Give at least one.")
    if len(table.rows) < len(table):
        raise BadInput(f"The key {_first_double(table.keys)!r} stands twice in {source}.", _UNIQUE)
    if "" in table.rows:
        raise BadInput(f"Slice {table.rows['']} of {source} is empty.", "A key has a character.")
    nul = next((key for key in table.keys if "\0" in key), None)
    if nul is not None:
        raise BadInput(f"The key {nul!r} in {source} holds a NUL byte.", "No program can take it.")
    return table


_UNIQUE = "Keys name slices for life: make them unique."


def _first_double(keys: Iterable[str]) -> str:
    seen: set[str] = set()
    return next(key for key in keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]


def from_range(text: str) -> tuple[SliceTable, int | None]:
    """Slices from a range in sbatch's syntax, and its throttle.

    A range that begins with a zero-padded number keeps the zeros: ``000-098`` gives ``007``.

    Raises:
        BadInput: the text is no such range.
    """
    keys, throttle = range_keys(text)
    return checked(keys, f"the range {text!r}"), throttle


def range_keys(text: str) -> tuple[list[str], int | None]:
    """The keys that a range names, and its throttle.

    Raises:
        BadInput: the text is no such range.
    """
    if not text.strip():
        raise BadInput("The range of slices is empty.", "Write it as sbatch does: 0-98.")
    expression = parse_array(text)
    widths = _widths(text)
    keys = [
        f"{index:0{width}d}"
        for part, width in zip(expression.parts, widths, strict=True)
        for index in part
    ]
    return keys, expression.throttle


def _widths(text: str) -> Iterator[int]:
    """How many digits each part of a range is padded to; 1 for none."""
    for part in text.strip().partition("%")[0].split(","):
        first = part.partition("-")[0]
        yield len(first) if first.startswith("0") else 1


def from_lines(data: bytes, source: str, *, nul: bool = False) -> SliceTable:
    """Slices from a list of keys, one a line, or ended by NUL.

    A line's end is LF; CR before it belongs to the line's end only where every line has one
    (a file from Windows). Blank lines are left out; with ``nul`` every key is taken as it is.

    Raises:
        BadInput: there is no key, one stands twice or, with ``nul``, one is empty.
    """
    separator = b"\0" if nul else b"\n"
    keys = data.split(separator)
    if not keys[-1]:
        keys.pop()
    if not nul:
        if keys and all(key.endswith(b"\r") for key in keys):
            keys = [key[:-1] for key in keys]
        keys = [key for key in keys if key.strip()]
    return checked((key.decode("utf-8", "surrogateescape") for key in keys), source)
