"""Values that a group of failures shares: named only if they tell something."""

from __future__ import annotations

from collections import Counter

import pytest

from slurmslice.reports.shared_values import SharedValue, common_value, shared_values


@pytest.mark.parametrize(
    ("group", "everywhere", "found"),
    [
        ({"10": 12}, {"10": 12, "0.1": 12}, ("10", 12)),
        ({"10": 3}, {"10": 3, "1": 3, "0.1": 3}, ("10", 3)),
        ({"10": 2}, {"10": 2, "0.1": 100}, None),  # two may be by chance
        ({"10": 3}, {"10": 50, "0.1": 50}, None),  # so may three of a half
        ({"10": 12}, {"10": 12}, None),  # all slices have it
        ({"10": 9}, {"10": 90, "0.1": 10}, None),  # most slices have it
        ({"10": 19, "0.1": 1}, {"10": 20, "0.1": 20}, ("10", 19)),
        ({"10": 11, "0.1": 9}, {"10": 20, "0.1": 20}, None),
        ({"n1": 9}, {}, None),  # nothing is known of the others
        ({}, {}, None),
    ],
)
def test_a_value_tells_only_if_it_is_hardly_by_chance(
    group: dict[str, int], everywhere: dict[str, int], found: tuple[str, int] | None
) -> None:
    """At least three have it, and more than the share of all slices explains."""
    assert common_value(Counter(group), Counter(everywhere)) == found


def test_one_value_for_each_column() -> None:
    """Nearly all members must have it: more than 80 %."""
    group = {"lr": Counter({"10": 9, "1": 1}), "seed": Counter({"1": 6, "2": 4})}
    everywhere = {"lr": Counter({"10": 20, "1": 80}), "seed": Counter({"1": 20, "2": 80})}
    assert list(shared_values(group, everywhere)) == [SharedValue("lr", "10", 9)]
