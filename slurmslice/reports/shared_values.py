"""The values that the slices of a group share, and that are not shared by all slices. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

_FEWEST = 3
_SHARE = 0.8
_BY_CHANCE = 0.05


@dataclass(frozen=True, slots=True)
class SharedValue:
    """A value that most slices of a group have.

    Attributes:
        column: the name of its column.
        value: the value.
        count: so many slices of the group have it.
    """

    column: str
    value: str
    count: int


def shared_values(
    group: Mapping[str, Counter[str]], everywhere: Mapping[str, Counter[str]]
) -> Iterator[SharedValue]:
    """Yield a value for each column of which most slices of a group have the same one.

    Args:
        group: the values of the group, by column.
        everywhere: those of all slices, by column. What most slices have tells nothing.
    """
    for column, found in group.items():
        value, count = found.most_common(1)[0]
        members, all_values = found.total(), everywhere[column]
        share = all_values[value] / all_values.total()
        if count >= max(_FEWEST, _SHARE * members) and tells(count, members, share):
            yield SharedValue(column, value, count)


def tells(count: int, members: int, share: float) -> bool:
    """Tell if so many of the members are hardly by chance.

    Args:
        count: the members that have a value.
        members: all members.
        share: the share of this value among all slices, above 0.
    """
    part = count / members
    if part <= share:
        return False
    rest = (1 - part) * math.log((1 - part) / (1 - share)) if part < 1 else 0.0
    divergence = part * math.log(part / share) + rest
    return math.exp(-members * divergence) < _BY_CHANCE  # Chernoff's bound


def most_have(values: Iterable[str], among: Mapping[str, int]) -> tuple[str, int] | None:
    """Return the value that more than half of at least two members have, with their number.

    None if all members of the run have it, because it tells nothing.

    Args:
        values: the value of each member.
        among: the number of all slices with each value.
    """
    found = Counter(values)
    if not found or len(among) < 2:
        return None
    value, count = found.most_common(1)[0]
    return (value, count) if count > 1 and 2 * count > found.total() else None
