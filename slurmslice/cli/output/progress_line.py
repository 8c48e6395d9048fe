"""The one line that shows how far a run is. It fits its width."""

from __future__ import annotations

from collections.abc import Mapping

import click

from slurmslice.cli.output.console import colored_state
from slurmslice.status.states import BEGUN_STATES, State

_BARS = (30, 10, 0)
_LEAST_WHY = 12


def progress_line(states: Mapping[State, int], why: str = "", room: int | None = None) -> str:
    """Return a bar, the number of ended slices, the count of each state, and a remark.

    The counts of failed and running slices come first and are never cut. A line that is too long
    gets a shorter bar, then a shorter remark, then one number for all failures.

    Args:
        states: the number of slices in each state.
        why: the remark.
        room: the width of the line, in characters; None for any.
    """
    counts = _counts(states)
    lines = [_bar(states, bar) + counts for bar in _BARS]
    if room is None:
        return lines[0] + why
    for line in lines:
        if line_width(line + why) <= room:
            return line + why
    for line in lines[1:]:
        if (left := room - line_width(line)) >= 0:
            return line + (cut_line(why, left) if left >= _LEAST_WHY else "")
    return cut_line(click.unstyle(_bar(states, 0) + _summed_counts(states)), room)


def _bar(states: Mapping[State, int], width: int) -> str:
    """Return the bar (ended otherwise, done, begun) and the number of ended slices."""
    total = sum(states.values())
    done, begun = states.get(State.COMPLETED, 0), sum(states.get(s, 0) for s in BEGUN_STATES)
    ended = sum(n for state, n in states.items() if state.final)
    cells = [round(width * n / total) for n in (ended - done, ended, ended + begun)]
    cells[0] = max(cells[0], min(ended - done, cells[1], 1))  # a single failure is seen too
    bar = "x" * cells[0] + "█" * (cells[1] - cells[0]) + "▒" * (cells[2] - cells[1])
    return f"{bar:·<{width}} {ended}/{total} ended: ".lstrip()


def _rank(state: State) -> tuple[int, str]:
    return (0 if state.failed else 1 if state is State.RUNNING else 2), state


def _counts(states: Mapping[State, int]) -> str:
    shown = sorted((state for state in states if states[state]), key=_rank)
    return ", ".join(f"{states[state]} {colored_state(state)}" for state in shown)


def _summed_counts(states: Mapping[State, int]) -> str:
    """Return the counts with one number for all failures, and without colours."""
    failed = sum(number for state, number in states.items() if state.failed)
    others = {state: number for state, number in states.items() if not state.failed}
    return ", ".join([*([f"{failed} failed"] if failed else []), *filter(None, [_counts(others)])])


def cut_line(text: str, room: int) -> str:
    """Cut a text without colours to this width; a cut text ends in an ellipsis."""
    from rich.cells import set_cell_size

    return text if line_width(text) <= room else f"{set_cell_size(text, room - 1)}…"


def line_width(line: str) -> int:
    """Return the number of cells that a line takes on a terminal, without its colours."""
    from rich.cells import cell_len

    return cell_len(click.unstyle(line))
