"""The pauses between the rounds of a steward follow from the recorded rounds. Pure. ADR 22."""

from __future__ import annotations

from collections.abc import Sequence

from slurmslice.run.steward_record import Round

FIRST_PAUSE_S = 120
LONGEST_PAUSE_S = 3600
"""The pauses after rounds that changed nothing begin with the first and end with the longest."""

QUICK_ROUNDS = 24
"""Rounds in a day that may follow each other quickly; the pause after each further one is the
longest, so a day has at most twice as many."""

DAY_S = 86400.0


def next_pause_s(rounds: Sequence[Round], now: float) -> int:
    """Return the least pause after the newest of these rounds, seconds.

    0 means that Slurm may start the steward as soon as it can: about two minutes after a requeue.
    """
    in_vain = 0
    for one in reversed(rounds):
        if one.changed:
            break
        in_vain += 1
    pause = FIRST_PAUSE_S * 2 ** min(in_vain - 1, 10) if in_vain else 0
    today = sum(one.at > now - DAY_S for one in rounds)
    return LONGEST_PAUSE_S if today >= QUICK_ROUNDS else min(pause, LONGEST_PAUSE_S)
