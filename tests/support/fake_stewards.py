"""The stewards of the fake cluster: their jobs, and the errors that a test chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slurmslice.engines.stewards import LiveTask, StewardOrder
from slurmslice.errors import NoAnswerError
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State

if TYPE_CHECKING:
    from tests.support.fakes import FakeEngine


@dataclass
class FakeStewards:
    """Stewards in memory. ``on_submit`` may refuse an order; ``after_submit`` may lose the answer.

    Their jobs begin with 900. ``reports`` has their states, ``mails`` the mails that Slurm should
    send: job, subject and address. ``silence`` stops the queue's answers.
    """

    engine: FakeEngine
    orders: dict[str, StewardOrder] = field(default_factory=dict)
    reports: dict[str, TaskReport] = field(default_factory=dict)
    on_submit: Callable[[StewardOrder], None] = lambda order: None
    after_submit: Callable[[StewardOrder], None] = lambda order: None
    mails: list[tuple[str, str, str]] = field(default_factory=list)
    silence: str = ""
    asked: int = 0
    changed: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)

    def submit(self, order: StewardOrder) -> str:
        self.on_submit(order)
        job = str(900 + len(self.orders))
        self.orders[job] = order
        self.reports[job] = TaskReport(State.PENDING, "PENDING", "Dependency")
        self.after_submit(order)
        return job

    def wait_for(self, job: JobIdentity, words: tuple[str, ...]) -> None:
        self.changed.append((job.job, words))

    def environ_of_person(self, environ: Mapping[str, str]) -> dict[str, str]:
        return dict(environ)

    def live_tasks(self, jobs: Sequence[JobIdentity]) -> list[LiveTask]:
        self.asked += 1
        if self.silence:
            raise NoAnswerError(self.silence)
        return [
            LiveTask(job.job, index, report.started_at)
            for job in jobs
            for index, report in self.engine.jobs[job.job].tasks.items()
            if not report.state.final
        ]

    def mail_at_end(self, job: str, subject: str, to: str) -> None:
        self.mails.append((job, subject, to))

    def look(self, job: JobIdentity) -> TaskReport | None:
        if self.silence:
            raise NoAnswerError(self.silence)
        return self.reports.get(job.job)

    def find(self, job_name: str) -> str | None:
        """Return the job with a name."""
        named = (job for job, order in self.orders.items() if order.options["job-name"] == job_name)
        return next(named, None)
