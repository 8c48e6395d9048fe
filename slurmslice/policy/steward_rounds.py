"""The pauses between the rounds of a steward follow from the recorded rounds. Pure. ADR 22."""

from __future__ import annotations

import math
from collections.abc import Sequence

from slurmslice.run.steward_record import Round

FIRST_PAUSE_S = 120
LONGEST_PAUSE_S = 3600
"""The pauses after rounds that changed nothing begin with the first and end with the longest."""

ROUNDS_PER_DAY = 48
"""The most rounds in a day. The first half may follow each other quickly."""

DAY_S = 86400.0


def next_pause_s(
    rounds: Sequence[Round], now: float, least_s: int = 0, per_day: int = ROUNDS_PER_DAY
) -> int:
    """Return the least pause after the newest of these rounds, seconds.

    0 means that Slurm may start the steward as soon as it can: about two minutes after a requeue.

    Args:
        rounds: the rounds, the oldest first.
        now: epoch seconds.
        least_s: the least pause that the site allows, seconds.
        per_day: the most rounds in a day that the site allows.
    """
    in_vain = 0
    for one in reversed(rounds):
        if one.changed:
            break
        in_vain += 1
    pause = FIRST_PAUSE_S * 2 ** min(in_vain - 1, 10) if in_vain else 0
    today = sum(one.at > now - DAY_S for one in rounds)
    quick = per_day // 2
    if today >= quick:  # those that may still follow share the day
        return max(least_s, LONGEST_PAUSE_S, math.ceil(DAY_S / (per_day - quick)))
    return max(least_s, min(pause, LONGEST_PAUSE_S))
