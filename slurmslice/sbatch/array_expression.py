"""Array expressions such as ``0-98:7,200%10``, and their indices.

Source: sbatch(1), ``--array``. Indices count from 0; a range includes both ends. The same syntax
is used for a person's request, for sbatch's option, and to show many keys in short form.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from slurmslice.errors import BadInputError

_PART = re.compile(r"(\d{1,18})(?:-(\d{1,18})(?::(\d{1,18}))?)?")
MAX_INDICES = 10_000_000
"""Most indices of an expression with several ranges, because they are compared for duplicates."""

_WANTED = "Write it as in sbatch: 0-98, or 1,3,7-9, or 0-100:5. Add %N to run N at a time."


@dataclass(frozen=True, slots=True)
class ArrayExpression:
    """A parsed ``--array`` value.

    Attributes:
        parts: ranges in the order written; ``len`` of each is the number of its indices.
        throttle: most tasks at once (``%N``); None for no limit (not given, or 0).
    """

    parts: tuple[range, ...]
    throttle: int | None = None

    def __iter__(self) -> Iterator[int]:
        for part in self.parts:
            yield from part

    def __len__(self) -> int:
        return sum(len(part) for part in self.parts)

    def __str__(self) -> str:
        text = ",".join(_text(part) for part in self.parts)
        return f"{text}%{self.throttle}" if self.throttle else text

    @property
    def indices(self) -> Sequence[int]:
        """All indices in order; a ``range`` if there is one part, so that it needs no memory."""
        return self.parts[0] if len(self.parts) == 1 else tuple(self)

    @property
    def highest(self) -> int:
        """The highest index; -1 if there is none."""
        return max((part[-1] for part in self.parts if part), default=-1)


def parse_array(text: str) -> ArrayExpression:
    """Parse an array expression.

    Raises:
        BadInputError: the text is not an array expression, a range runs backwards, a step is 0, an
            index occurs twice, or several ranges together name more than ``MAX_INDICES``.
    """
    body, percent, limit = _without_brackets(text.lstrip()).partition("%")
    if percent and not re.fullmatch(r"\d{1,18}", limit):
        raise BadInputError(
            f"The throttle %{limit} in {text!r} is not a number.",
            _WANTED,
            code="bad-number",
            value=limit,
        )
    parts = tuple(_part(part, text) for part in body.split(","))
    number = sum(map(len, parts))
    if len(parts) > 1 and number > MAX_INDICES:
        raise BadInputError(
            f"{text[:200]!r} names {number:,} indices; at most {MAX_INDICES:,} are allowed.",
            _WANTED,
            code="too-many-indices",
            indices=number,
        )
    if _overlap(parts):
        raise BadInputError(
            f"An index occurs twice in {text!r}.",
            "Name each index once.",
            code="duplicate-index",
            value=text,
        )
    return ArrayExpression(parts, int(limit) or None if percent else None)


def _without_brackets(text: str) -> str:
    """Remove the brackets of ``[0-3]%2`` and ``[0-3%2]``, which sbatch ignores."""
    inside, bracket, after = text.partition("]")
    return f"{inside[1:]}{after}" if bracket and text[0] == "[" else text


def _part(text: str, whole: str) -> range:
    match = _PART.fullmatch(text)
    if match is None or not text.isascii():
        raise BadInputError(
            f"{text!r} in {whole!r} is neither an index nor a range.",
            _WANTED,
            code="bad-array",
            value=text,
        )
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    step = int(match[3]) if match[3] else 1
    if last < first:
        raise BadInputError(
            f"The range {text!r} runs backwards.",
            f"Did you mean {last}-{first}?",
            code="backward-range",
            value=text,
        )
    if step == 0:
        raise BadInputError(
            f"The step in {text!r} is 0.", "Use a step of 1 or more.", code="bad-number", value=text
        )
    return range(first, last + 1, step)


def _overlap(parts: tuple[range, ...]) -> bool:
    seen: set[int] = set()
    if sum(map(len, parts)) > max((part[-1] for part in parts), default=0) + 1:
        return True
    for part in parts if len(parts) > 1 else ():
        if not seen.isdisjoint(part):
            return True
        seen.update(part)
    return False


def compress_indices(indices: Iterable[int], throttle: int | None = None) -> ArrayExpression:
    """Return a short expression for indices in their order; steps of equal size are joined.

    ``list(compress(xs)) == list(xs)`` for every sequence of distinct indices. Two indices, or
    three with a step above 1, are listed one by one for easier reading.
    """
    if isinstance(indices, range) and len(indices) > 3 and indices.step > 0:
        return ArrayExpression((indices,), throttle)
    numbers = indices if isinstance(indices, Sequence) else list(indices)
    parts: list[range] = []
    at = 0
    while at < len(numbers):
        part = _longest_run(numbers, at)
        parts.append(part)
        at += len(part)
    return ArrayExpression(tuple(parts), throttle)


def _longest_run(numbers: Sequence[int], at: int) -> range:
    first = numbers[at]
    if at + 1 == len(numbers) or numbers[at + 1] <= first:
        return range(first, first + 1)
    step = numbers[at + 1] - first
    end = at + 2
    while end < len(numbers) and numbers[end] - numbers[end - 1] == step:
        end += 1
    if end - at < 4 and step > 1:
        return range(first, first + 1)
    return range(first, numbers[end - 1] + 1, step)


def _text(part: range) -> str:
    if len(part) == 1:
        return str(part[0])
    return f"{part[0]}-{part[-1]}" + (f":{part.step}" if part.step > 1 else "")
