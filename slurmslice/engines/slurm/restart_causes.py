"""Why Slurm restarts a task: the end of its start before, which only accounting keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from slurmslice.engines.slurm import commands, job_records
from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.errors import NoAnswerError
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskId, TaskReport
from slurmslice.status.states import State

_MOST_QUESTIONS = 3
"""Questions about one restart. Accounting records the end of a start a little later, or never."""


class RestartCauses:
    """The causes of restarts that accounting has told so far.

    Args:
        slurm: the client.
    """

    def __init__(self, slurm: SlurmClient) -> None:
        self._slurm = slurm
        self._found: dict[tuple[TaskId, int], State] = {}
        self._asked: Counter[tuple[TaskId, int]] = Counter()

    def add_to(
        self, reports: Mapping[TaskId, TaskReport], identities: Mapping[str, JobIdentity]
    ) -> Mapping[TaskId, TaskReport]:
        """Add the cause to the queue's reports of tasks that wait for a restart.

        This is one more sacct, only if such a task is seen for the first time.
        """
        waiting = {
            (task, report.restarts): report
            for task, report in reports.items()
            if report.state is State.PENDING and report.restarts
        }
        unknown = [
            restart
            for restart in waiting
            if restart not in self._found and self._asked[restart] < _MOST_QUESTIONS
        ]
        if unknown and not self._slurm.accounting_off:
            self._ask(unknown, identities)
        causes = {
            task: replace(report, restart_cause=self._found[task, restarts])
            for (task, restarts), report in waiting.items()
            if (task, restarts) in self._found
        }
        return {**reports, **causes} if causes else reports

    def _ask(
        self, restarts: list[tuple[TaskId, int]], identities: Mapping[str, JobIdentity]
    ) -> None:
        self._asked.update(restarts)
        jobs = {job for (job, _), _ in restarts}
        names = {job: identities[job].name for job in jobs}
        try:
            text = self._slurm.query(commands.sacct_starts(sorted(jobs), self._slurm.clusters))
            ends = job_records.parse_last_ends(text, names, identities)
        except NoAnswerError:
            return
        self._found |= {restart: ends[restart[0]] for restart in restarts if restart[0] in ends}
