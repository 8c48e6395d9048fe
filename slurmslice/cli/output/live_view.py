"""The lines of `run` and `watch` beside the bar: pace, the slow slice, groups of failures."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from slurmslice.cli.output.console import printable_line
from slurmslice.cli.output.progress_line import cut_line
from slurmslice.reports.counts import shorten_text
from slurmslice.reports.failure_groups import FailureGroups
from slurmslice.reports.remaining_time import Pace, measure_pace
from slurmslice.run.run import Run
from slurmslice.sbatch.units import format_time
from slurmslice.status.states import State
from slurmslice.system.escaping import escape

_WINDOW_S, _LEAST_WINDOW_S = 600.0, 20.0
_MOST_GROUPS, _MOST_TITLE, _MOST_FAILURES = 3, 120, 2000


class LiveView:
    """The lines beneath the bar of one run; it remembers what it saw at earlier polls."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()
        self._failed: list[int] = []
        self._groups: tuple[str, ...] = ()

    def pace_text(self, run: Run) -> str:
        """Return rate, time, estimate and throttle, with commas."""
        return ", ".join(self._pace_parts(run, measure_pace(run)))

    def lines(self, run: Run, room: int) -> list[str]:
        """Return the lines beneath the bar; each fits the room."""
        pace = measure_pace(run)
        lines = [", ".join(self._pace_parts(run, pace)), *_slow_line(run, pace)]
        every = (*filter(None, lines), *self._group_lines(run))
        return [cut_line(printable_line(f"  {line}"), room) for line in every]

    def _pace_parts(self, run: Run, pace: Pace) -> Iterator[str]:
        if rate := self._rate(run):
            yield f"{rate:.3g}/min"
        begun = [one.intent.at for one in run.journal_state.submissions.values()]
        if begun:
            yield f"{_duration(run.clock() - min(begun))} elapsed"
        if pace.left_s is not None:
            yield f"about {_duration(pace.left_s)} left (from {pace.ended} ended)"
        state = run.journal_state
        throttle = state.throttle if state.throttled else run.record.throttle
        if throttle:
            yield f"at most {throttle} at once"

    def _rate(self, run: Run) -> float:
        """Return the slices that ended per minute, in the last ten minutes; 0 if not known."""
        counts, now = run.statuses.state_counts(), run.clock()
        ended = sum(number for state, number in counts.items() if state.final)
        self._seen.append((now, ended))
        while now - self._seen[0][0] > _WINDOW_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return 60 * max(0, ended - before) / (now - since) if now - since > _LEAST_WINDOW_S else 0.0

    def _group_lines(self, run: Run) -> tuple[str, ...]:
        """Return the largest groups of failures; logs are read only when others have failed."""
        failed = run.failed_rows
        if failed != self._failed and len(failed) <= _MOST_FAILURES:
            groups = FailureGroups(run)
            shown = (groups[number] for number in range(min(_MOST_GROUPS, len(groups))))
            self._groups = tuple(
                f"{one.id}  {len(one.rows):>5}  {one.cause}  "
                + shorten_text(one.line or run.statuses[one.example].reason, _MOST_TITLE)
                for one in shown
            )
        self._failed = failed
        return self._groups if failed else ()


def _slow_line(run: Run, pace: Pace) -> Iterator[str]:
    if pace.slow and pace.median_s is not None:
        row, age = pace.slow
        if run.statuses.state(row) is State.RUNNING:
            key = escape(run.table.keys[row])
            usual = _duration(pace.median_s)
            yield f"{key} runs for {_duration(age)} (the median is {usual})"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else format_time(round(seconds))
