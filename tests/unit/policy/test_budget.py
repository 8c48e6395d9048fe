"""The budget of automatic attempts: its forms, and what it limits."""

from __future__ import annotations

import pytest

from slurmslice.errors import BadInputError
from slurmslice.policy.budget import NO_COST, Cost, budget_limit, check_budget
from slurmslice.sbatch.resource_request import ResourceRequest

HOUR = 3600


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("1x", Cost(100, 7)),
        ("0.5x", Cost(50, 3.5)),
        ("10x", Cost(1000, 70)),
        ("200h", Cost(200 * HOUR, 200 * HOUR)),
        ("1.5h", Cost(1.5 * HOUR, 1.5 * HOUR)),
    ],
)
def test_a_budget_is_a_share_of_the_run_or_hours(text: str, limit: Cost) -> None:
    """GPU time is counted apart from CPU time."""
    assert budget_limit(check_budget(text), Cost(100, 7)) == limit


@pytest.mark.parametrize(
    "text",
    ["", "0x", "0h", "0.0x", "-1x", "1", "x", "h", "1 x", "1m", "1e3h", "infh", "nanx", "９x"],
)
def test_another_text_is_refused(text: str) -> None:
    """A budget of 0 too: it would repair nothing."""
    with pytest.raises(BadInputError) as refused:
        check_budget(text)
    assert refused.value.code == "bad-budget"


def test_cpus_and_gpus_are_compared_apart() -> None:
    """A cost fits only if both fit."""
    request = ResourceRequest.of({"cpus-per-task": "4", "gres": "gpu:2"})
    cost = Cost.of(request, HOUR)
    assert cost == Cost(4 * HOUR, 2 * HOUR)
    assert cost.within(Cost(4 * HOUR, 2 * HOUR))
    assert not cost.within(Cost(4 * HOUR, HOUR))
    assert not cost.within(Cost(3 * HOUR, 9 * HOUR))
    assert NO_COST.within(NO_COST)
    assert cost + cost == cost.times(2)
