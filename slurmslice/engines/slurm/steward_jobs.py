"""Steward jobs on Slurm: submit them, look at them, and list the tasks that they wait for."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

from slurmslice.engines.slurm import commands, environment, job_records
from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.engines.slurm.sbatch_result import parse_sbatch_result
from slurmslice.engines.stewards import LiveTask, StewardOrder
from slurmslice.errors import EngineError
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State


class StewardJobs:
    """The steward jobs of one cluster. As ``engines.stewards.Stewards``.

    Args:
        slurm: runs the commands.
    """

    def __init__(self, slurm: SlurmClient) -> None:
        self._slurm = slurm

    def submit(self, order: StewardOrder) -> str:
        """Submit a steward's job with sbatch, and return its id."""
        argv = commands.sbatch(order.script, order.options, order.arguments)
        environ = environment.for_steward(order.environ)
        return parse_sbatch_result(self._slurm.run_sbatch(argv, environ)).job

    def wait_for(self, job: JobIdentity, words: tuple[str, ...]) -> None:
        """Change what a waiting steward waits for; one that runs finds that out by itself."""
        with contextlib.suppress(EngineError):
            self._slurm.control_job(job, ("scontrol", "update", f"JobId={job.job}", *words))

    def environ_of_person(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the person from that of a steward's job."""
        return environment.of_person(environ)

    def live_tasks(self, jobs: Sequence[JobIdentity]) -> list[LiveTask]:
        """List the tasks of these arrays that have not ended, in squeue's order."""
        names = {job.job: job.name for job in jobs}
        identities = {job.job: job for job in jobs}
        if not jobs:
            return []
        records = self._slurm.query_queue(commands.squeue(names, ended=False))
        return [
            LiveTask(record.job, index, _start(record.report))
            for record in records
            if job_records.is_own_record(record, names, identities)
            for index in record.indices or ()
        ]

    def mail_at_end(self, job: str, subject: str, to: str) -> None:
        """Ask Slurm to mail this subject when the job has ended."""
        self._slurm.query(commands.scontrol_mail(job, subject, to))

    def look(self, job: JobIdentity) -> TaskReport | None:
        """Report on a steward's job; accounting is asked only if the queue has forgotten it."""
        queued = self._slurm.query_queue(commands.squeue((job.job,), ended=True))
        records = [record for record in queued if _is(record, job)]
        if not records and not self._slurm.accounting_off:
            text = self._slurm.query(commands.sacct((job.job,), self._slurm.clusters))
            records = [one for one in job_records.parse_sacct_records(text) if _is(one, job)]
        return records[-1].report if records else None


def _is(record: job_records.JobRecord, job: JobIdentity) -> bool:
    return record.job == job.job and job_records.is_same_job_name(job.name, record.name)


def _start(report: TaskReport) -> float | None:
    """Return the start of a task that has begun; a pending one may have an expected start."""
    return None if report.state is State.PENDING else report.started_at
