"""The local engine: array tasks on this machine, by the same rendered script, without Slurm.

``submit`` only puts an order on disk. Whoever calls ``wait`` works on all orders of the run
directory if nobody else does (``runner``); ``observe`` reads the books that the runner keeps
(``books``), in any process. When no runner lives, whoever looks gives back what it left.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from slurmslice.engines import Identity, Intake, Limits, Order, Receipt, Sighting
from slurmslice.engines.local import orders
from slurmslice.engines.local.admission import Room, at_once
from slurmslice.engines.local.cells import open_cells
from slurmslice.engines.local.demands import check, demand
from slurmslice.engines.local.inbox import Inbox
from slurmslice.engines.local.machine import Machine
from slurmslice.engines.local.orders import Placed
from slurmslice.engines.local.role import Role, host
from slurmslice.engines.local.settle import settle
from slurmslice.engines.local.strays import marker
from slurmslice.errors import BadInput, EngineError
from slurmslice.evidence import Answer, Observation, TaskId, TaskReport
from slurmslice.resources import ResourceRequest
from slurmslice.states import State

if TYPE_CHECKING:
    from slurmslice.engines.local.runner import Runner

MAX_ARRAY_SIZE = 4_000_001
"""As Slurm's largest."""

STEP_S = 0.1
"""How often a process that is not the runner looks, seconds."""

NEWS_S = 0.25
"""How long ``wait`` gathers news before it returns with them, seconds."""

NEWS_SHARE = 10
"""``wait`` lasts so many times as long as what its caller did since the last one, so that
looking at a large run does not keep its CPUs from work."""


class LocalEngine:
    """Runs array tasks on this machine; an ``Engine``.

    Args:
        run_dir: the run directory. Nothing is made in it before the first order.
    """

    name = "local"

    def __init__(self, run_dir: Path) -> None:
        folder = run_dir / "local"
        self._run_dir = run_dir
        self._orders = orders.Orders(run_dir)
        self._inbox = Inbox(folder / "inbox.tsv")
        self._role = Role(folder)
        self._runner: Runner | None = None
        self._left = time.monotonic()

    @cached_property
    def _machine(self) -> Machine:
        return Machine()

    @cached_property
    def _mark(self) -> str:
        return marker(self._run_dir)

    # -- what it can take --------------------------------------------------------------------

    @property
    def working(self) -> bool:
        """Whether this process runs the tasks: then it must call ``wait`` until all ended."""
        return self._runner is not None

    @cached_property
    def enforces_memory(self) -> bool:
        """Whether a task over its memory request is ended as OUT_OF_MEMORY."""
        cells = open_cells()
        if cells is None:
            return False
        cells.remove()
        return True

    @property
    def memory_note(self) -> str:
        """What ``enforces_memory`` means, for the report."""
        if self.enforces_memory:
            return "A task over its --mem is ended as OUT_OF_MEMORY (by its control group)."
        return (
            "--mem decides only how many tasks run at once: no control group can be made here, "
            "so a task over it is not ended."
        )

    def cluster(self) -> str:
        """This machine's name."""
        return host()

    def limits(self, request: ResourceRequest) -> Limits:
        """How many such tasks can run at once, by what is free now.

        Raises:
            BadInput: this machine can never honour this request.
        """
        machine = self._machine
        check(request, machine)
        load = machine.load
        while load.look(time.process_time()) is None:
            time.sleep(max(0.0, load.due - time.monotonic()))
        room = Room(machine.free_cpus(load.others or 0.0), machine.free_memory())
        gib = room.memory / (1 << 30)
        unlimited = request.mem_mib is not None and not self.enforces_memory
        why = f"{room.cpus} CPUs of {machine.cpus} free, {gib:.3g} GiB of memory available"
        fit = at_once(room, demand(request, machine))
        return Limits(MAX_ARRAY_SIZE, fit, why, note=self.memory_note if unlimited else "")

    def intake(self, request: ResourceRequest) -> Intake:
        """All that there is: orders wait on disk."""
        return Intake(MAX_ARRAY_SIZE, MAX_ARRAY_SIZE)

    # -- orders ------------------------------------------------------------------------------

    def submit(self, order: Order) -> Receipt:
        """Put an order on disk. The same order again changes nothing.

        Raises:
            BadInput: this machine can never honour its request, or its number is taken.
        """
        check(order.request, self._machine)
        for placed in self._orders.look():
            if placed.order.number == order.number and placed.order.token != order.token:
                raise BadInput(
                    f"Submission {order.number:03d} has been ordered already.",
                    code="already-ordered",
                    submission=order.number,
                )
            if placed.order.token == order.token:
                return Receipt(str(order.number), host())
        orders.place(order, time.time())
        self._inbox.order(str(order.number))
        return Receipt(str(order.number), host())

    def test(self, order: Order) -> str:
        """This machine cannot tell when it would start what.

        Raises:
            BadInput: always.
        """
        raise BadInput("--test-only asks Slurm, and this run belongs to this machine.",
                       "`--dry-run` shows what would be submitted.",
                       code="slurm-only", option="test-only")  # fmt: skip

    def identify(self, job: str) -> Identity:
        """Orders of this machine are always the run's own.

        Raises:
            BadInput: always.
        """
        raise BadInput(
            "Jobs of this machine belong to their runs: there is nothing to attach.",
            code="slurm-only",
            job=job,
        )

    def find(self, order_token: str, job_name: str, since: float) -> Sighting | None:
        """The order with this token; None: there is none in the run directory."""
        for placed in self._orders.look():
            if placed.order.token == order_token:
                return Sighting(placed.job, placed.order.array)
        return None

    def cancel(self, job: str, name: str, indices: Collection[int] | None) -> None:
        """Ask the runner to cancel; where there is none, what was not started is cancelled now."""
        self._inbox.cancel(job, indices)
        self._settle()

    def throttle(self, job: str, name: str, limit: int | None) -> None:
        """Ask the runner to run at most so many at once; None: as many as the CPUs allow."""
        self._inbox.throttle(job, limit)

    def hold(self, job: str, name: str) -> None:
        """Ask the runner to start no more of its tasks."""
        self._inbox.hold(job)

    def release(self, job: str, name: str) -> None:
        """Ask the runner to start them again."""
        self._inbox.release(job)

    # -- what became of them -----------------------------------------------------------------

    def observe(self, jobs: Sequence[tuple[str, str]]) -> Observation:
        """What the books say. What a dead runner left is given back first."""
        self._settle()
        known = {placed.job: placed for placed in self._orders.look()}
        ended: dict[TaskId, TaskReport] = {}
        queued: dict[TaskId, TaskReport] = {}
        for job, name in jobs:
            placed = known.get(job)
            if placed is not None and placed.order.job_name == name:
                placed.books.refresh()
                ended.update(((job, i), report) for i, report in placed.books.ended.items())
                queued.update(self._queued(placed))
        return Observation(Answer(ended), Answer(queued))

    def _queued(self, placed: Placed) -> Iterator[tuple[TaskId, TaskReport]]:
        """Reports of an order's tasks that have not ended."""
        books, now = placed.books, time.time()
        rest = self._not_started(placed)
        for index in placed.order.array:
            if index in books.ended:
                continue
            began = books.started.get(index)
            if began is None or rest.state is State.WAITING:
                yield (placed.job, index), rest
            else:
                running = books.report(
                    State.RUNNING, rest.reason, int(began), elapsed_s=max(0.0, now - began)
                )
                yield (placed.job, index), running

    def _not_started(self, placed: Placed) -> TaskReport:
        """The report that all tasks of an order share that are not running."""
        books, abroad = placed.books, self._role.elsewhere()
        if books.returned is not None:
            return books.report(State.WAITING, books.returned)
        if abroad is not None:
            who = f"run by process {abroad.pid} on {abroad.host}"
            return books.report(
                State.PENDING, f"{who}; if that is gone for good, remove {self._role.path}"
            )
        if books.taken is None:
            return books.report(State.PENDING, "no process works on it yet")
        return books.report(State.PENDING, "waits for its turn")

    def measure(
        self, jobs: Sequence[tuple[str, str]], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Nothing more: the books hold the measures already, and there are no job steps."""
        return {}

    def _settle(self) -> None:
        """Bring the books up to date if they need it and no runner lives."""
        if self._runner is not None or not self._role.exists:
            return
        self._inbox.refresh()
        for placed in self._orders.unfinished():
            if placed.books.taken is not None or self._inbox.wishes(placed.job):
                break
        else:
            return
        # No locks here: nothing can be concluded. A full disk: whoever looks next does it.
        with suppress(EngineError, OSError):
            if self._role.take():
                try:
                    if settle(self._orders, self._inbox, self._mark):
                        self._role.forget()
                finally:
                    self._role.release()

    # -- time --------------------------------------------------------------------------------

    def wait(self, seconds: float) -> None:
        """Let time pass; work meanwhile, unless another process does.

        Returns early with news, at once when all orders have ended.

        Raises:
            EngineError: the warden was killed, or a task cannot be started.
        """
        now = time.monotonic()
        news = now + max(NEWS_S, NEWS_SHARE * (now - self._left))
        ends = now + seconds
        try:
            if self._runner is not None or self._hire() or self._watch(news, ends):
                self._work(news, ends)
        finally:
            self._left = time.monotonic()

    def _watch(self, news: float, ends: float) -> bool:
        """Sleep while another process works; whether this one has got its role."""
        before = self._read_so_far()
        while (now := time.monotonic()) < ends:
            if now >= news and self._read_so_far() != before:
                return False
            time.sleep(min(STEP_S, ends - now))
            if self._hire():
                return True
        return False

    def _read_so_far(self) -> int:
        return sum(placed.books.read for placed in self._orders.look())

    def _work(self, news: float, ends: float) -> None:
        """Run tasks until the time is over, there are news, or nothing is left."""
        changed = False
        while self._runner is not None:
            try:
                changed |= self._runner.turn(min(news, ends) if changed else ends)
            finally:
                if self._runner.closed:
                    self._runner = None
            if self._runner is not None and self._runner.idle:
                self.close()
                self._hire()  # an order may have come while the role was given up
            now = time.monotonic()
            if now >= ends or (changed and now >= news):
                return

    def _hire(self) -> bool:
        """Take the role if there is work and it is free; whether this process has it now."""
        if next(self._orders.unfinished(), None) is None or not self._role.take():
            return False
        try:
            settle(self._orders, self._inbox, self._mark)
            if any(placed.books.taken is None for placed in self._orders.unfinished()):
                from slurmslice.engines.local.runner import Runner

                self._role.announce()
                self._runner = Runner(
                    self._role, self._orders, self._inbox, self._machine, self._mark
                )
                self._runner.adopt()
        finally:
            if self._runner is None:
                self._role.release()
        return self._runner is not None

    def close(self) -> None:
        """Stop: end what runs, give it back, give up the role. Nothing if it has none."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()
