"""The tasks that run now: started, watched over their time, ended, judged.

Knows nothing of orders' books: it is told what to start, and says what was started and what
became of it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.cells import ENTER, Cell, Cells, open_cells
from slurmslice.engines.local.link import Began, Ended, Failed, Link
from slurmslice.engines.local.machine import descendants, usage
from slurmslice.engines.local.warden import children
from slurmslice.states import State

GRACE_S = 5.0
"""From SIGTERM to SIGKILL: at the time limit, when cancelled, when the runner stops."""

_AGAIN_S = 1.0
"""Seconds between two attempts to kill a task."""


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be started.

    Attributes:
        job, index: which array task.
        log: takes its output.
        argv: the command.
        env: its own variables, beside those that all tasks get.
        demand: what it takes up.
        limited: its memory is to be enforced, where it can be.
        time_s: its time limit, seconds.
        warning: a signal for its script, and how many seconds before the limit.
    """

    job: str
    index: int
    log: Path
    argv: Sequence[str]
    env: Mapping[str, str]
    demand: Demand
    limited: bool
    time_s: int | None
    warning: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended. Times are epoch seconds."""

    state: State
    exit_code: int | None
    signal: int | None
    started: float
    ended: Ended
    max_rss_bytes: int
    reason: str


@dataclass(slots=True)
class Task:
    """A task that was handed to the warden and whose end was not heard of.

    Attributes:
        start: what it is.
        cell: its control group, where it has one.
        pid: its process, once it is known.
        began: when, epoch seconds; ``ends`` and ``warns``: monotonic, once it is known.
        used, peak: bytes in use at the last look, and the most of all looks.
        cause: why it was told to end: TIMEOUT, CANCELLED; None where it was not.
        kill_at: monotonic; when it is killed after that.
    """

    start: Start
    cell: Cell | None
    pid: int | None = None
    began: float = 0.0
    ends: float | None = None
    warns: float | None = None
    used: int = 0
    peak: int = 0
    cause: State | None = None
    kill_at: float | None = None


Happened = tuple[Task, Began | Failed | Outcome | None]
"""A task, and what became of it; None: it was ended because the runner stops."""


class Pool:
    """The running tasks, their warden and their cells.

    Args:
        mark: the variable that marks tasks' processes.
        env: the environment that all tasks get.

    Raises:
        OSError: the warden could not be started.
    """

    def __init__(self, mark: str, env: Mapping[str, str]) -> None:
        self._mark = mark
        self._cells: Cells | None = open_cells()
        # The warden bears the mark too: where it outlives us, whoever sweeps ends it as well,
        # or it might still start what it was told to.
        marked = {**env, mark: ""}
        self._link = Link(mark, GRACE_S, marked, self._cells.path if self._cells else None)
        self._tasks: dict[str, Task] = {}
        self.ended_at = 0.0

    @property
    def tasks(self) -> Sequence[Task]:
        """What runs."""
        return tuple(self._tasks.values())

    @property
    def alive(self) -> bool:
        """Whether the warden is there."""
        return self._link.open

    def demands(self) -> list[Demand]:
        """What runs, with what it uses as of the last look."""
        return [
            Demand(task.start.demand.cpus, task.start.demand.memory, task.used)
            for task in self._tasks.values()
        ]

    # -- doing -------------------------------------------------------------------------------

    def start(self, start: Start) -> None:
        """Have a task started."""
        key = f"{start.job}_{start.index}"
        cell = self._cell(key, start)
        argv = start.argv
        if cell is not None:
            argv = ("/bin/sh", "-c", ENTER, str(cell.path), *argv)
        self._tasks[key] = Task(start, cell)
        self._link.start(key, start.log, argv, {**start.env, self._mark: key})

    def _cell(self, key: str, start: Start) -> Cell | None:
        if self._cells is None or not start.limited:
            return None
        try:
            return self._cells.make(key, start.demand.memory)
        except OSError:
            return None  # somebody removed the group: admission is left

    def end(self, task: Task, cause: State | None) -> None:
        """Have a task end: SIGTERM now, SIGKILL when the grace is over."""
        if task.kill_at is None:
            task.cause = cause
            task.kill_at = time.monotonic() + GRACE_S
            self._link.signal(_key(task), signal.SIGTERM, whole=True)

    def watch_time(self) -> None:
        """Warn, end and kill those whose time has come."""
        now = time.monotonic()
        for task in self._tasks.values():
            if task.warns is not None and now >= task.warns and task.start.warning:
                task.warns = None
                self._link.signal(_key(task), task.start.warning[0], whole=False)
            if task.ends is not None and now >= task.ends:
                self.end(task, State.TIMEOUT)
            if task.kill_at is not None and now >= task.kill_at:
                task.kill_at = now + _AGAIN_S
                self._link.kill(_key(task))

    def next_time(self) -> float:
        """When ``watch_time`` is due next, monotonic; infinity for never."""
        times = (
            at
            for task in self._tasks.values()
            for at in ((task.kill_at,) if task.kill_at else (task.ends, task.warns))
            if at is not None
        )
        return min(times, default=float("inf"))

    def look(self) -> float:
        """See what the tasks use; the CPU seconds of all our processes so far."""
        warden = usage(self._link.pid)
        cpu = time.process_time() + (warden.cpu_s if warden else 0.0)
        rss: dict[int, int] = {}
        for child in children(self._link.pid):
            used = [seen for pid in descendants(child) if (seen := usage(pid))]
            cpu += sum(seen.cpu_s for seen in used)
            rss[child] = sum(seen.rss for seen in used)
        for task in self._tasks.values():
            task.used = task.cell.memory() if task.cell else rss.get(task.pid or 0, 0)
            task.peak = max(task.peak, task.used) if task.cell else 0
        return cpu

    # -- hearing -----------------------------------------------------------------------------

    def happened(self, timeout: float) -> Iterator[Happened]:
        """What became of tasks within a time-out (seconds)."""
        for event in self._link.events(timeout):
            task = self._tasks[event.key]
            if isinstance(event, Began):
                self._begin(task, event)
                yield task, event
                continue
            del self._tasks[event.key]
            self.ended_at = time.monotonic()
            if isinstance(event, Failed):
                yield task, event
            elif event.told and task.cause is None:
                yield task, None
            else:
                yield task, self._outcome(task, event)
            if task.cell is not None:
                task.cell.remove()

    def _begin(self, task: Task, event: Began) -> None:
        task.pid, task.began = event.pid, event.at
        limit = task.start.time_s
        if limit is not None:
            ago = max(0.0, time.time() - event.at)
            task.ends = time.monotonic() - ago + limit
            if task.start.warning is not None:
                task.warns = task.ends - min(task.start.warning[1], limit)

    def _outcome(self, task: Task, ended: Ended) -> Outcome:
        code = os.waitstatus_to_exitcode(ended.status)
        killed_at = task.cell.killed_at() if task.cell else None
        state, reason = State.COMPLETED if code == 0 else State.FAILED, ""
        if killed_at is not None:
            state, reason = State.OUT_OF_MEMORY, "the kernel ended it, or a part of it, for memory"
        if task.cause is not None and ended.told:
            state, reason = task.cause, ""
        return Outcome(
            state,
            code if code >= 0 else None,
            -code if code < 0 else None,
            task.began,
            ended,
            max(ended.max_rss_bytes, task.peak, killed_at or 0),
            reason,
        )

    # -- the end -----------------------------------------------------------------------------

    def leave(self) -> None:
        """Have all tasks ended, with the grace, and the warden after them."""
        self._link.leave()

    def kill(self) -> None:
        """End all at once."""
        self._link.kill()

    def close(self, within: float) -> bool:
        """Let the warden go; whether it ended in so many seconds and left no process."""
        clean = self._link.close(within)
        if self._cells is not None:
            self._cells.remove()
        return clean


def _key(task: Task) -> str:
    return f"{task.start.job}_{task.start.index}"
