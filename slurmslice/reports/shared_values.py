"""The values that the slices of a group share, and that are not shared by all slices. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_FEWEST = 3
_SHARE = 0.8
_MOST = 0.5
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
    """Yield a value for each column of which nearly all slices of a group have the same one.

    Args:
        group: the values of the group, by column.
        everywhere: those of all slices, by column. What most slices have tells nothing.
    """
    for column, found in group.items():
        if shared := common_value(found, everywhere[column], _SHARE):
            yield SharedValue(column, *shared)


def common_value(
    group: Counter[str], everywhere: Counter[str], least: float = _MOST
) -> tuple[str, int] | None:
    """Return the value that most members of a group have, with their number; None if none tells.

    Args:
        group: the values of the members.
        everywhere: the values of all slices, as far as they are known.
        least: the least share of the members that have it.
    """
    for value, count in group.most_common(1):
        members, share = group.total(), everywhere[value] / (everywhere.total() or 1)
        enough = count >= _FEWEST and count > least * members
        if enough and share and tells(count, members, share):
            return value, count
    return None


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
