"""The engine that joins them: what is asked and told, and what is made of the answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from slurmslice import process
from slurmslice.engines import Identity, Intake, Limits, Needs, Order, Receipt, Sighting
from slurmslice.engines.slurm import commands, environment, find_job, job_records, job_steps
from slurmslice.engines.slurm.client import (
    ACCOUNTING_DISABLED,
    INVALID_JOB_ID,
    SlurmClient,
    no_answer_error,
)
from slurmslice.engines.slurm.queue_capacity import ClusterCapacity
from slurmslice.engines.slurm.sbatch_result import parse_sbatch_result
from slurmslice.engines.slurm.slurm_health import ClusterHealth
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

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._slurm = SlurmClient(dict(os.environ if environ is None else environ))
        self._capacity = ClusterCapacity(self._slurm)

    def cluster(self) -> str:
        """The cluster's name.

        Raises:
            NoAnswer: the controller does not answer.
        """
        return self._slurm.cluster_config().get("ClusterName", "")

    def limits(self, needs: Needs) -> Limits:
        """MaxArraySize, and how many such tasks can run at once. As ``Engine.limits``."""
        return self._capacity.limits(needs)

    def intake(self, needs: Needs) -> Intake:
        """What the limits leave beside the user's jobs in the queue. As ``Engine.intake``."""
        return self._capacity.intake(needs)

    def cluster_health(self, needs: Needs | None = None) -> ClusterHealth:
        """How the cluster is, and how many tasks of these needs fit into each partition.

        Raises:
            NoAnswer: the controller does not answer.
        """
        settings = self._slurm.cluster_config()
        return ClusterHealth(
            settings.get("SLURM_VERSION", ""),
            self.cluster(),
            int(settings["MaxArraySize"]),
            self._accounting({"1": ""}).silence or "on",
            self._capacity.partition_health(needs or Needs()),
        )

    def submit(self, order: Order) -> Receipt:
        """Hand the script to sbatch. As ``Engine.submit``."""
        argv = commands.sbatch(order.script, order.overrides, order.arguments)
        done, dropped = self._sbatch(order, argv)
        receipt = parse_sbatch_result(done)
        notes = (*environment.dropped_variable_notes(dropped), *receipt.notes)
        return Receipt(receipt.job, receipt.cluster, notes)

    def test(self, order: Order) -> str:
        """Ask sbatch. As ``Engine.test``."""
        argv = commands.sbatch_test_only(
            commands.sbatch(order.script, order.overrides, order.arguments)
        )
        done, _ = self._sbatch(order, argv)
        if done.returncode == 0:
            return (done.stderr.strip() or done.stdout.strip()).removeprefix("sbatch: ")
        if done.returncode is None:
            raise no_answer_error(done)
        raise Refused(f"Slurm would refuse it: {done.stderr.strip()[-2000:]}")

    def identify(self, job: str) -> Identity:
        """Ask the controller. As ``Engine.identify``."""
        try:
            records = self._slurm.query(commands.scontrol_show_job(job))
            rows = job_records.parse_squeue_records(
                self._slurm.query(commands.squeue((job,), ended=True))
            )
        except NoAnswer as why:
            if INVALID_JOB_ID in why.message:
                raise BadInput(
                    f"The controller knows no job {job}.", code="unknown-job", job=job
                ) from why
            raise
        script = self._slurm.run_command(commands.scontrol_batch_script(job))
        text = script.stdout if script.returncode == 0 else None
        own = [row for row in rows if row.job == job]
        return find_job.parse_job_info(records, text, own, self._remembers_since())

    def find(self, order_token: str, job_name: str, since: float) -> Sighting | None:
        """The job that bears a token. As ``Engine.find``.

        Where accounting does not answer, the queue's word that there is none counts as long as
        the controller remembers jobs that have ended (MinJobAge).
        """
        queue = job_records.parse_squeue_records(
            self._slurm.query(commands.squeue_user(os.getuid(), ended=True))
        )
        remembers_since = self._remembers_since()
        found = find_job.find_in_queue(queue, order_token, remembers_since)
        if found or self._slurm.accounting_off:
            return found
        try:
            text = self._slurm.query(
                commands.sacct_by_name(job_name, os.getuid(), since, self._slurm.clusters)
            )
        except NoAnswer:
            if self._slurm.accounting_off or since > remembers_since:
                return None
            raise
        return find_job.find_in_accounting(job_records.parse_sacct_records(text), order_token)

    def _remembers_since(self) -> float:
        """Epoch seconds: the controller has forgotten no job that ended later (MinJobAge)."""
        remembers = find_job.parse_seconds(self._slurm.cluster_config().get("MinJobAge", ""))
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
            said = self._slurm.query(question)
            found |= job_steps.parse_step_reports(said, names, self._slurm.fetch_release, preempted)
        return found

    def _preempted(self, names: Mapping[str, str]) -> Mapping[TaskId, int]:
        """When tasks were told to make room. Accounting never says so, the controller for a while.

        Where it does not answer it is not known: how a task ended must not wait for that.
        """
        try:
            if self._slurm.cluster_config().get("PreemptType") in _NO_PREEMPTION:
                return {}
            return job_records.parse_preemption_times(
                self._slurm.query(commands.squeue_preempted(names)), names
            )
        except NoAnswer:
            return {}

    def cancel(self, job: str, name: str, indices: Collection[int] | None) -> None:
        """Cancel tasks; those that have ended are no error.

        Raises:
            NoAnswer: Slurm could not be told, or not asked whose the id is now.
            EngineError: it will not do it.
        """
        if indices is None or indices:
            self._slurm.control_job(job, name, commands.scancel(job, indices))

    def throttle(self, job: str, name: str, limit: int | None) -> None:
        """Set how many tasks of an array run at once. An array that is gone is no error.

        Raises:
            NoAnswer: Slurm could not be told, or not asked whose the id is now.
            EngineError: it will not do it.
        """
        self._slurm.control_job(job, name, commands.scontrol_throttle(job, limit))

    def hold(self, job: str, name: str) -> None:
        """Hold the tasks of an array that have not started. As ``throttle``."""
        self._slurm.control_job(job, name, commands.scontrol_hold(job))

    def release(self, job: str, name: str) -> None:
        """Release them. As ``throttle``."""
        self._slurm.control_job(job, name, commands.scontrol_release(job))

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
        return self._slurm.run_sbatch(argv, env), dropped

    def _accounting(self, names: Mapping[str, str]) -> Answer:
        if self._slurm.accounting_off:
            return Answer(silence=ACCOUNTING_DISABLED, off=True)
        argv = commands.sacct(names, self._slurm.clusters)
        # Not asked for: a question a poll is dear, and the answers can be read without.
        release = self._slurm.known_release
        answer = self._answer(
            argv, lambda text: job_records.parse_accounting_reports(text, names, release)
        )
        return (
            Answer(silence=ACCOUNTING_DISABLED, off=True) if self._slurm.accounting_off else answer
        )

    def _queue(self, names: Mapping[str, str], *, ended: bool) -> Answer:
        argv = commands.squeue(names, ended=ended)
        return self._answer(argv, lambda text: job_records.parse_queue_reports(text, names))

    def _answer(
        self, argv: commands.Argv, parse: Callable[[str], Mapping[TaskId, TaskReport]]
    ) -> Answer:
        try:
            return Answer(parse(self._slurm.query(argv)))
        except NoAnswer as why:
            return Answer(silence=why.message)
