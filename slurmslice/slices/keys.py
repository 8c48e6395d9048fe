"""Lazily decoded keys, keys generated from number ranges, and tests for canonical numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import overload

from slurmslice.errors import BadInputError
from slurmslice.sbatch.array_expression import parse_array

_NOT_CANONICAL = re.compile(r"^(?:0[0-9]|[0-9]{10}|$)", re.MULTILINE)
"""Matches, among lines of digits, a leading zero, too many digits, or an empty line."""


class LazyKeys(Sequence[str]):
    """A sequence of keys, decoded in blocks of neighbours when one of them is needed."""

    _BLOCK = 1000

    def __init__(self, length: int, decode: Callable[[range], list[str]]) -> None:
        """Store the number of keys and the decoder of the keys of some rows."""
        self._rows, self._decode = range(length), decode
        self._blocks: dict[int, list[str]] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        for number in range(0, len(self), self._BLOCK):
            yield from self._block(number // self._BLOCK)

    @overload
    def __getitem__(self, which: int) -> str: ...
    @overload
    def __getitem__(self, which: slice) -> list[str]: ...
    def __getitem__(self, which: int | slice) -> str | list[str]:
        if isinstance(which, slice):
            return [self[row] for row in self._rows[which]]
        row = self._rows[which]
        return self._block(row // self._BLOCK)[row % self._BLOCK]

    def of(self, rows: Sequence[int]) -> list[str]:
        """The keys of these rows; for many rows, faster than one by one."""
        if len(rows) < len(self) // 4:
            return [self[row] for row in rows]
        everything = list(self)
        return [everything[row] for row in rows]

    def _block(self, number: int) -> list[str]:
        block = self._blocks.get(number)
        if block is None:
            first = number * self._BLOCK
            block = self._blocks[number] = self._decode(self._rows[first : first + self._BLOCK])
        return block


class NumberKeys(Collection[str]):
    """Keys generated from ranges of numbers."""

    def __init__(self, *parts: tuple[range, int]) -> None:
        """Store ranges, each with the width to which its numbers are zero-padded."""
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(numbers) for numbers, _ in self._parts)

    def __iter__(self) -> Iterator[str]:
        for numbers, width in self._parts:
            yield from map(str, numbers) if width == 1 else (f"{n:0{width}d}" for n in numbers)

    def __contains__(self, key: object) -> bool:
        return any(key == own for own in self)


def are_all_canonical(keys: Collection[str]) -> bool:
    """Return whether all keys have the form of Slurm array indices: no sign, no leading zero.

    Testing them together is fast.
    """
    text = "\n".join(keys)
    digits = text.replace("\n", "")
    whole = digits.isascii() and digits.isdecimal() and text.count("\n") == len(keys) - 1
    return whole and not _NOT_CANONICAL.search(text)


def keys_from_range(text: str) -> tuple[NumberKeys, int | None]:
    """Return the keys of a range, and its throttle.

    Raises:
        BadInputError: the text is not a range.
    """
    if not text.strip():
        raise BadInputError(
            "The range of slices is empty.", "Write it as in sbatch: 0-98.", code="no-slices"
        )
    expression = parse_array(text)
    if "%" in text and expression.throttle is None:  # sbatch reads %0 as no limit
        raise BadInputError(
            f"{text!r} allows 0 slices at once, so none would ever start.",
            "Leave out %N for no limit.",
            code="bad-number",
            value=text,
        )
    return NumberKeys(*zip(expression.parts, _widths(text), strict=True)), expression.throttle


def _widths(text: str) -> Iterator[int]:
    """The zero-padded width of each part of a range; 1 for no padding."""
    for part in text.partition("%")[0].strip("[] \t").split(","):
        first = part.partition("-")[0]
        yield len(first) if first.startswith("0") else 1
