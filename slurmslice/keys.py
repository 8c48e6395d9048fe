"""Keys that are made when they are asked for, and those that are numbers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import overload

from slurmslice.errors import BadInput
from slurmslice.ranges import parse_array

_CANONICAL = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)
_NOT_CANONICAL = re.compile(r"^(?:0[0-9]|[0-9]{10}|$)", re.MULTILINE)
"""Among lines of digits: a leading zero, too many digits, or none."""


class LazyKeys(Sequence[str]):
    """Keys that are decoded, some neighbours at a time, when one of them is asked for."""

    _BLOCK = 1000

    def __init__(self, length: int, decode: Callable[[range], list[str]]) -> None:
        """Take how many there are, and what gives the keys of some rows."""
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
        """The keys of these rows; of many, quicker than one by one."""
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


class Numbers(Collection[str]):
    """Keys that are numbers, made when they are asked for: of a range, or of the rows."""

    def __init__(self, *parts: tuple[range, int]) -> None:
        """Take ranges, each with the digits that its numbers are padded to."""
        self._parts = parts

    def __len__(self) -> int:
        return sum(len(numbers) for numbers, _ in self._parts)

    def __iter__(self) -> Iterator[str]:
        for numbers, width in self._parts:
            yield from map(str, numbers) if width == 1 else (f"{n:0{width}d}" for n in numbers)

    def __contains__(self, key: object) -> bool:
        return any(key == own for own in self)


def canonical(key: str) -> bool:
    """Whether a key is a number as Slurm writes an array index: no sign, no leading zero."""
    return _CANONICAL.fullmatch(key) is not None


def all_canonical(keys: Collection[str]) -> bool:
    """Whether all of them are ``canonical``: many are looked at together."""
    text = "\n".join(keys)
    digits = text.replace("\n", "")
    whole = digits.isascii() and digits.isdecimal() and text.count("\n") == len(keys) - 1
    return whole and not _NOT_CANONICAL.search(text)


def range_keys(text: str) -> tuple[Numbers, int | None]:
    """The keys that a range names, and its throttle.

    Raises:
        BadInput: the text is no such range.
    """
    if not text.strip():
        raise BadInput(
            "The range of slices is empty.", "Write it as sbatch does: 0-98.", code="no-slices"
        )
    expression = parse_array(text)
    if "%" in text and expression.throttle is None:  # sbatch takes it for no limit
        raise BadInput(
            f"{text!r} lets 0 slices run at once.",
            "Without %N there is no limit.",
            code="bad-number",
            value=text,
        )
    return Numbers(*zip(expression.parts, _widths(text), strict=True)), expression.throttle


def _widths(text: str) -> Iterator[int]:
    """How many digits each part of a range is padded to; 1 for none."""
    for part in text.strip().partition("%")[0].split(","):
        first = part.partition("-")[0]
        yield len(first) if first.startswith("0") else 1
