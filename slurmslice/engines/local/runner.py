"""The runner: works on the orders of a run while its process has the role.

One loop, no thread: requests in, tasks started where there is room, ends noted, time watched.
"""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from slurmslice.engines.local import environment
from slurmslice.engines.local.admission import Demand
from slurmslice.engines.local.demands import demand, warning
from slurmslice.engines.local.gate import Gate
from slurmslice.engines.local.inbox import Inbox
from slurmslice.engines.local.link import Began, Failed
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.orders import Orders, Placed
from slurmslice.engines.local.pool import GRACE_S, Happened, Pool, Start
from slurmslice.engines.local.role import Role, host
from slurmslice.engines.local.strays import sweep
from slurmslice.engines.local.warden import KILL_WAIT_S
from slurmslice.errors import EngineError
from slurmslice.states import State

STEP_S = 0.2
"""How long a request may lie in the inbox, seconds."""

RETRY_S = 1.0
"""How long no task is started after the machine had no room for another process, seconds."""

BATCH = 32
"""Tasks that are started between two looks at what has ended."""

_FULL = frozenset({errno.EAGAIN, errno.ENOMEM})


@dataclass(slots=True)
class Active:
    """An order that is worked on.

    Attributes:
        placed: the order.
        demand, warning, env: what each of its tasks takes up, is warned by, and gets.
        pending: indices that were not started, in their order.
        throttle: how many may run at once; None where the CPUs decide.
        running: how many do.
    """

    placed: Placed
    demand: Demand
    warning: tuple[int, int] | None
    env: Mapping[str, str]
    pending: deque[int]
    throttle: int | None
    running: int = 0


class Runner:
    """Runs the tasks of a run's orders. Made by who has just taken the role; gives it up.

    Args:
        role: the role, taken.
        orders, inbox, machine: what it works on and with.
        mark: the variable that marks tasks' processes.

    Raises:
        OSError: the warden could not be started.
    """

    def __init__(
        self, role: Role, orders: Orders, inbox: Inbox, machine: Machine, mark: str
    ) -> None:
        self._role = role
        self._orders = orders
        self._inbox = inbox
        self._machine = machine
        self._mark = mark
        self._bash = environment.bash()
        self._active: dict[str, Active] = {}
        self._pool = Pool(mark, environment.common())
        self._gate = Gate(machine, self._pool)
        self.closed = False
        self._waits_for_room = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing is to be run."""
        return not self._active

    def turn(self, until: float) -> bool:
        """One round of the loop, at most until a monotonic time; whether anything changed.

        Raises:
            EngineError: the warden was killed, or a task cannot be started.
        """
        changed = self._heed()
        more = self._start_some()
        for what in self._pool.happened(0 if more else self._patience(until)):
            self._note(what)
            changed = True
        self._pool.watch_time()
        if not self._pool.alive:
            self._finish("its warden was killed")
            raise EngineError(
                "The process that watched over the tasks was killed. They were ended, and wait.",
                "The same command again goes on from there.",
                code="supervisor-killed",
            )
        return changed

    def _patience(self, until: float) -> float:
        now = time.monotonic()
        room = self._gate.due() if self._waits_for_room else until
        times = (until, now + STEP_S, self._pool.next_time(), room)
        return max(0.0, min(times) - now)

    # -- requests ----------------------------------------------------------------------------

    def _heed(self) -> bool:
        """Do what was asked since; whether anything was."""
        if not self._inbox.refresh():
            return False
        self.adopt()
        for active in tuple(self._active.values()):
            self._obey(active)
        return True

    def adopt(self) -> None:
        """Take the orders that nobody has taken yet; they are noted as taken, on disk."""
        for placed in self._orders.unfinished():
            if placed.books.taken is None:
                books, order = placed.books, placed.order
                books.write("taken", int(time.time()), os.getpid(), host(), None, durably=True)
                self._active[placed.job] = active = Active(
                    placed,
                    demand(order.request, self._machine),
                    warning(order.request),
                    environment.of_order(placed),
                    deque(index for index in order.array if index not in books.ended),
                    order.array.throttle,
                )
                self._obey(active)

    def _obey(self, active: Active) -> None:
        """Cancel of an order what was to be cancelled, and set its throttle."""
        job = active.placed.job
        active.throttle = self._inbox.throttles.get(job, active.throttle)
        if gone := self._inbox.cancelled(job, active.pending):
            active.placed.books.cancel(gone, time.time())
            dropped = set(gone)
            active.pending = deque(index for index in active.pending if index not in dropped)
        for task in self._pool.tasks:
            if task.start.job == job and self._inbox.cancelled(job, (task.start.index,)):
                self._pool.end(task, State.CANCELLED)
        self._drop(active)

    def _drop(self, active: Active) -> None:
        """Let go of an order of which nothing is left."""
        if not active.pending and not active.running:
            self._active.pop(active.placed.job, None)

    # -- starting ----------------------------------------------------------------------------

    def _start_some(self) -> bool:
        """Start what there is room for, oldest order first; whether there is more at once.

        A task that finds no room is waited for: later orders do not pass it, or a large task
        would never get its turn. One that its throttle holds back does not hold others.
        """
        started = 0
        self._waits_for_room = False
        for active in tuple(self._active.values()):
            while active.pending and active.placed.job not in self._inbox.held:
                if active.throttle is not None and active.running >= active.throttle:
                    break
                if started == BATCH:
                    return True
                if not self._gate.admits(active.demand, throttled=active.throttle is not None):
                    self._waits_for_room = True
                    return False
                self._start(active, active.pending.popleft())
                started += 1
        return False

    def _start(self, active: Active, index: int) -> None:
        order = active.placed.order
        active.running += 1
        self._pool.start(
            Start(
                job=active.placed.job,
                index=index,
                log=order.folder / "tasks" / f"{index}.log",
                argv=(self._bash, str(order.script), *order.arguments),
                env={**active.env, **environment.of_task(active.placed, index)},
                demand=active.demand,
                limited=bool(order.request.mem_mib),
                time_s=order.request.time_s,
                warning=active.warning,
            )
        )

    # -- what became of them -----------------------------------------------------------------

    def _note(self, happened: Happened) -> None:
        """Enter in the books what happened to a task."""
        task, what = happened
        active, index = self._active[task.start.job], task.start.index
        books = active.placed.books
        if isinstance(what, Began):
            books.write("start", index, what.pid, f"{what.at:.3f}", None)
            return
        active.running -= 1
        if isinstance(what, Failed):
            active.pending.appendleft(index)
            self._hold(what, active, index)
        elif what is not None:
            ended = what.ended
            times = (f"{what.started:.3f}", f"{ended.at:.3f}", ended.elapsed_s, ended.cpu_s)
            codes = (what.exit_code, what.signal)
            books.write("end", index, what.state, *codes, *times, what.max_rss_bytes, what.reason)
            self._drop(active)

    def _hold(self, failed: Failed, active: Active, index: int) -> None:
        """Wait where the machine has no room for a process; anything else is an error."""
        if failed.errno in _FULL and self._pool.tasks:
            self._gate.close(RETRY_S)
            return
        raise EngineError(
            f"Task {index} of submission {active.placed.order.number:03d} could not be started: "
            f"{os.strerror(failed.errno)} ({self._bash}, or its log in "
            f"{active.placed.order.folder / 'tasks'}).",
            code="task-not-started",
            index=index,
            submission=active.placed.order.number,
        )

    # -- the end -----------------------------------------------------------------------------

    def close(self) -> None:
        """End what runs, with the grace; give it and what waits back; give up the role.

        An exception meanwhile (a second Ctrl-C) ends the grace.
        """
        try:
            self._pool.leave()
            deadline = time.monotonic() + GRACE_S + 2 * KILL_WAIT_S
            while self._pool.alive and time.monotonic() < deadline:
                for what in self._pool.happened(STEP_S):
                    self._note(what)
        except BaseException:
            self._pool.kill()
            raise
        finally:
            self._finish("its runner was stopped")

    def _finish(self, why: str) -> None:
        """Give back what has not ended, once no process of it is left; give up the role.

        Where one is left that cannot be killed, its order stays taken: who next looks at it
        tries again.
        """
        if self.closed:
            return
        self.closed = True
        clean = self._pool.close(KILL_WAIT_S) or sweep(self._mark)
        try:
            for active in self._active.values() if clean else ():
                reason = f"interrupted: {why} (process {os.getpid()} on {host()})"
                active.placed.books.write("returned", int(time.time()), reason, durably=True)
        finally:
            self._role.give_up()
