"""The engine that joins them: what is asked and told, and what is made of the answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from slurmslice import process
from slurmslice.engines import Identity, Intake, Limits, Needs, Order, Receipt, Sighting
from slurmslice.engines.slurm import answers, commands, environment, search, steps
from slurmslice.engines.slurm.asking import ACCOUNTING_OFF, UNKNOWN_JOB, Asking, silence
from slurmslice.engines.slurm.health import Health
from slurmslice.engines.slurm.outcomes import outcome
from slurmslice.engines.slurm.room import Room
from slurmslice.errors import BadInput, NoAnswer, Refused
from slurmslice.evidence import Answer, Observation, TaskId, TaskReport

_NO_PREEMPTION = frozenset({None, "", "(null)", "preempt/none"})


class SlurmEngine:
    """Runs array tasks on Slurm, by its own commands.

    Args:
        environ: the caller's environment; the process' own where not given.
            ``SLURMSLICE_SBATCH_TIMEOUT`` and ``SLURMSLICE_ASK_TIMEOUT`` in it set how long
            (seconds) sbatch and the others may take.
    """

    name = "slurm"
    runs_in_process = False
    jobs_outlive_us = True
    may_be_submitted_by_hand = True
    has_queue_limits = True
    counts_whole_minutes = True

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._slurm = Asking(dict(os.environ if environ is None else environ))
        self._room = Room(self._slurm)

    def cluster(self) -> str:
        """The cluster's name.

        Raises:
            NoAnswer: the controller does not answer.
        """
        return self._slurm.config().get("ClusterName", "")

    def limits(self, needs: Needs) -> Limits:
        """MaxArraySize, and how many such tasks can run at once. As ``Engine.limits``."""
        return self._room.limits(needs)

    def intake(self, needs: Needs) -> Intake:
        """What the limits leave beside the user's jobs in the queue. As ``Engine.intake``."""
        return self._room.intake(needs)

    def doctor(self, needs: Needs | None = None) -> Health:
        """How the cluster is, and how many tasks of these needs fit into each partition.

        Raises:
            NoAnswer: the controller does not answer.
        """
        settings = self._slurm.config()
        return Health(
            settings.get("SLURM_VERSION", ""),
            self.cluster(),
            int(settings["MaxArraySize"]),
            self._accounting({"1": ""}).silence or "on",
            self._room.partitions(needs or Needs()),
        )

    def submit(self, order: Order) -> Receipt:
        """Hand the script to sbatch. As ``Engine.submit``."""
        argv = commands.sbatch(order.script, order.overrides, order.arguments)
        done, dropped = self._sbatch(order, argv)
        receipt = outcome(done)
        notes = (*environment.told(dropped), *receipt.notes)
        return Receipt(receipt.job, receipt.cluster, notes)

    def test(self, order: Order) -> str:
        """Ask sbatch. As ``Engine.test``."""
        argv = commands.test(commands.sbatch(order.script, order.overrides, order.arguments))
        done, _ = self._sbatch(order, argv)
        if done.returncode == 0:
            return (done.stderr.strip() or done.stdout.strip()).removeprefix("sbatch: ")
        if done.returncode is None:
            raise silence(done)
        raise Refused(f"Slurm would refuse it: {done.stderr.strip()[-2000:]}")

    def identify(self, job: str) -> Identity:
        """Ask the controller. As ``Engine.identify``."""
        try:
            records = self._slurm.ask(commands.show_job(job))
            rows = answers.queue_rows(self._slurm.ask(commands.squeue((job,), ended=True)))
        except NoAnswer as why:
            if UNKNOWN_JOB in why.message:
                raise BadInput(f"The controller knows no job {job}.") from why
            raise
        script = self._slurm.run(commands.batch_script(job))
        text = script.stdout if script.returncode == 0 else None
        own = [row for row in rows if row.job == job]
        return search.identity(records, text, own, self._remembers_since())

    def find(self, order_token: str, job_name: str, since: float) -> Sighting | None:
        """The job that bears a token. As ``Engine.find``.

        Where accounting does not answer, the queue's word that there is none counts as long as
        the controller remembers jobs that have ended (MinJobAge).
        """
        queue = answers.queue_rows(self._slurm.ask(commands.squeue_of(os.getuid(), ended=True)))
        remembers_since = self._remembers_since()
        found = search.in_queue(queue, order_token, remembers_since)
        if found or self._slurm.accounting_off:
            return found
        try:
            text = self._slurm.ask(
                commands.sacct_by_name(job_name, os.getuid(), since, self._slurm.clusters)
            )
        except NoAnswer:
            if self._slurm.accounting_off or since > remembers_since:
                return None
            raise
        return search.in_accounting(answers.accounting_rows(text), order_token)

    def _remembers_since(self) -> float:
        """Epoch seconds: the controller has forgotten no job that ended later (MinJobAge)."""
        remembers = search.seconds(self._slurm.config().get("MinJobAge", ""))
        return time.time() - remembers / 2  # half: the times in the queue are another machine's

    def observe(self, jobs: Sequence[tuple[str, str]]) -> Observation:
        """One sacct, then one squeue. As ``Engine.observe``."""
        names = dict(jobs)
        if not names:
            return Observation(Answer(), Answer())
        accounting = self._accounting(names)
        return Observation(accounting, self._queue(names, ended=not accounting.answered))

    def measure(
        self, jobs: Sequence[tuple[str, str]], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Ask sacct for the steps of tasks. As ``Engine.measure``."""
        names, found = dict(jobs), dict[TaskId, TaskReport]()
        preempted = self._preempted(names)
        for question in commands.sacct_steps(tasks, self._slurm.clusters):
            said = self._slurm.ask(question)
            found |= steps.measures(said, names, self._slurm.release, preempted)
        return found

    def _preempted(self, names: Mapping[str, str]) -> Mapping[TaskId, int]:
        """When tasks were told to make room. Accounting never says so, the controller for a while.

        Where it does not answer it is not known: how a task ended must not wait for that.
        """
        try:
            if self._slurm.config().get("PreemptType") in _NO_PREEMPTION:
                return {}
            return answers.preempted(self._slurm.ask(commands.squeue_preempted(names)), names)
        except NoAnswer:
            return {}

    def cancel(self, job: str, name: str, indices: Collection[int] | None) -> None:
        """Cancel tasks; those that have ended are no error.

        Raises:
            NoAnswer: Slurm could not be told, or not asked whose the id is now.
            EngineError: it will not do it.
        """
        if indices is None or indices:
            self._slurm.steer(job, name, commands.scancel(job, indices))

    def throttle(self, job: str, name: str, limit: int | None) -> None:
        """Set how many tasks of an array run at once. An array that is gone is no error.

        Raises:
            NoAnswer: Slurm could not be told, or not asked whose the id is now.
            EngineError: it will not do it.
        """
        self._slurm.steer(job, name, commands.throttle(job, limit))

    def hold(self, job: str, name: str) -> None:
        """Hold the tasks of an array that have not started. As ``throttle``."""
        self._slurm.steer(job, name, commands.hold(job))

    def release(self, job: str, name: str) -> None:
        """Release them. As ``throttle``."""
        self._slurm.steer(job, name, commands.release(job))

    @property
    def working(self) -> bool:
        """Never: Slurm runs the tasks."""
        return False

    def close(self) -> None:
        """Nothing is to be stopped here."""

    def wait(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def _sbatch(
        self, order: Order, argv: commands.Argv
    ) -> tuple[process.Finished, tuple[str, ...]]:
        """Run it in the caller's environment; what it did, and what was kept from it."""
        options = [name for name, _ in (*order.needs.options, *order.overrides)]
        env, dropped = environment.for_sbatch(self._slurm.environ, options)
        return self._slurm.send(argv, env), dropped

    def _accounting(self, names: Mapping[str, str]) -> Answer:
        if self._slurm.accounting_off:
            return Answer(silence=ACCOUNTING_OFF, off=True)
        argv = commands.sacct(names, self._slurm.clusters)
        # Not asked for: a question a poll is dear, and the answers can be read without.
        release = self._slurm.release_if_known
        answer = self._answer(argv, lambda text: answers.accounting(text, names, release))
        return Answer(silence=ACCOUNTING_OFF, off=True) if self._slurm.accounting_off else answer

    def _queue(self, names: Mapping[str, str], *, ended: bool) -> Answer:
        argv = commands.squeue(names, ended=ended)
        return self._answer(argv, lambda text: answers.queue(text, names))

    def _answer(
        self, argv: commands.Argv, parse: Callable[[str], Mapping[TaskId, TaskReport]]
    ) -> Answer:
        try:
            return Answer(parse(self._slurm.ask(argv)))
        except NoAnswer as why:
            return Answer(silence=why.message)
