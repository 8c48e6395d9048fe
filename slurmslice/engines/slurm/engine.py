"""The engine: runs Slurm's commands and parses their answers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from slurmslice.engines.protocol import (
    BlockingReason,
    FoundJob,
    JobInfo,
    QueueCapacity,
    SubmitRequest,
    SubmitResult,
    TaskLimits,
)
from slurmslice.engines.slurm import commands, environment, find_job, job_records, job_steps
from slurmslice.engines.slurm.client import (
    ACCOUNTING_DISABLED,
    INVALID_JOB_ID,
    SlurmClient,
    no_answer_error,
)
from slurmslice.engines.slurm.pending_reasons import find_blocking_reason
from slurmslice.engines.slurm.pending_tasks import avoid_nodes, change_pending_tasks
from slurmslice.engines.slurm.queue_capacity import ClusterCapacity
from slurmslice.engines.slurm.restart_causes import RestartCauses
from slurmslice.engines.slurm.sbatch_result import (
    is_refused_for_now,
    parse_sbatch_result,
    suggest_change,
)
from slurmslice.engines.slurm.slurm_health import ClusterHealth, scrontab_health
from slurmslice.engines.slurm.steward_jobs import StewardJobs
from slurmslice.errors import (
    BadInputError,
    NoAnswerError,
    SubmissionRejectedError,
    SubmitLimitError,
    UnusableSlurmError,
)
from slurmslice.notes import Note
from slurmslice.sbatch import options_not_in_release
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.units import parse_sampling_interval
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import Observation, SourceAnswer, TaskId, TaskReport
from slurmslice.system import process
from slurmslice.system.shell_quoting import quote_words

_NO_PREEMPTION = frozenset({None, "", "(null)", "preempt/none"})


class SlurmEngine:
    """Runs array tasks on Slurm, through Slurm's own commands.

    Args:
        environ: the caller's environment; the process' own by default. Its variables
            ``SLURMSLICE_SBATCH_TIMEOUT`` and ``SLURMSLICE_ASK_TIMEOUT`` set the time limits of
            sbatch and of the other commands, seconds.
    """

    name = "slurm"
    runs_in_process = False
    jobs_outlive_us = True
    may_be_submitted_by_hand = True
    has_queue_limits = True
    counts_whole_minutes = True
    aside = None

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._slurm = SlurmClient(dict(os.environ if environ is None else environ))
        self._capacity = ClusterCapacity(self._slurm)
        self._restart_causes = RestartCauses(self._slurm)
        self.stewards = StewardJobs(self._slurm)

    # -- the cluster ---------------------------------------------------------------------------

    def find_blocking_reason(self, text: str) -> BlockingReason | None:
        """Find a blocking reason in squeue's text. As ``Engine.find_blocking_reason``."""
        return find_blocking_reason(text)

    def suggest_change(self, rejection: str) -> str:
        """Suggest options to change after a rejection by sbatch. As ``Engine.suggest_change``."""
        return suggest_change(rejection)[0]

    def cluster(self) -> str:
        """Return the cluster's name.

        Raises:
            NoAnswerError: the controller does not answer.
        """
        return self._slurm.cluster_config().get("ClusterName", "")

    def limits(self, request: ResourceRequest) -> TaskLimits:
        """Return MaxArraySize, and the number of tasks running at once. As ``Engine.limits``.

        Raises:
            BadInputError: this cluster's release of Slurm lacks an option
            (``option-not-in-release``).
        """
        self._check_release(request.options)
        return self._capacity.limits(request)

    def _check_release(self, options: Sequence[tuple[str, str]]) -> None:
        release = self._slurm.fetch_release()
        for lack in options_not_in_release(options, release) if release else ():
            if not (lack.is_newer and self._lists(lack.name)):
                raise BadInputError(
                    f"{lack.reason}.",
                    f"Leave --{lack.name} out, or choose a cluster that has it.",
                    code="option-not-in-release",
                    option=lack.name,
                )

    def _lists(self, name: str) -> bool:
        """True if sbatch itself lists an option: a plugin's, or a newer release's."""
        try:
            return name in self._slurm.sbatch_options()
        except NoAnswerError:
            return False

    def queue_capacity(self, request: ResourceRequest) -> QueueCapacity:
        """Return the number of tasks the queue accepts now. As ``Engine.intake``."""
        return self._capacity.queue_capacity(request)

    def cluster_health(self, request: ResourceRequest = NO_REQUEST) -> ClusterHealth:
        """Describe the cluster, and count the tasks that fit into each partition.

        Raises:
            NoAnswerError: the controller does not answer.
        """
        settings = self._slurm.cluster_config()
        return ClusterHealth(
            settings.get("SLURM_VERSION", ""),
            self.cluster(),
            int(settings["MaxArraySize"]),
            self._accounting((JobIdentity("1", ""),)).silence or "on",
            self._capacity.partition_health(request),
            self._capacity.steward_health(),
            scrontab_health(settings),
        )

    # -- submissions ---------------------------------------------------------------------------

    def submit(self, submission: SubmitRequest) -> SubmitResult:
        """Submit the script with sbatch. As ``Engine.submit``."""
        argv = commands.sbatch(submission.script, submission.overrides, submission.arguments)
        done, notes = self._run_sbatch(submission, argv)
        try:
            result = parse_sbatch_result(done)
        except SubmissionRejectedError as why:
            raise self._naming_variables(why, submission) from why
        return SubmitResult(result.job, result.cluster, (*notes, *result.notes))

    def test_submission(self, submission: SubmitRequest) -> str:
        """Test the submission with ``sbatch --test-only``. As ``Engine.test_submission``."""
        argv = commands.sbatch_test_only(
            commands.sbatch(submission.script, submission.overrides, submission.arguments)
        )
        done, _ = self._run_sbatch(submission, argv)
        if done.returncode == 0:
            return (done.stderr.strip() or done.stdout.strip()).removeprefix("sbatch: ")
        if done.returncode is None:
            raise no_answer_error(done)
        said = done.stderr.strip()[-2000:]
        if is_refused_for_now(said):
            raise SubmitLimitError(f"Slurm would refuse the submission now: {said}", said=said)
        raise self._naming_variables(
            SubmissionRejectedError(f"Slurm would refuse the submission: {said}", said=said),
            submission,
        )

    def job_info(self, job: str) -> JobInfo:
        """Ask the controller about a job. As ``Engine.identify``."""
        try:
            text = self._slurm.query(commands.scontrol_show_job(job))
            records = self._slurm.query_queue(commands.squeue((job,), ended=True))
        except NoAnswerError as error:
            if INVALID_JOB_ID in error.message:
                raise BadInputError(
                    f"The controller knows no job {job}.", code="unknown-job", job=job
                ) from error
            raise
        done = self._slurm.run_command(commands.scontrol_batch_script(job))
        script = done.stdout if done.returncode == 0 else None
        records = [record for record in records if record.job == job]
        return find_job.parse_job_info(text, script, records, self._remembers_since())

    def find_job(self, token: str, job_name: str, since: float) -> FoundJob | None:
        """Find the job of a token. As ``Engine.find_job``.

        If accounting does not answer, absence from the queue is enough as long as the
        controller still remembers ended jobs (MinJobAge).
        """
        records = self._slurm.query_queue(commands.squeue_user(os.getuid(), ended=True))
        remembers_since = self._remembers_since()
        found = find_job.find_in_queue(records, token, remembers_since)
        if found or self._slurm.accounting_off:
            return found
        try:
            text = self._slurm.query(
                commands.sacct_by_name(job_name, os.getuid(), since, self._slurm.clusters)
            )
        except NoAnswerError:
            if self._slurm.accounting_off or since > remembers_since:
                return None
            raise
        return find_job.find_in_accounting(job_records.parse_sacct_records(text), token)

    # -- polls ---------------------------------------------------------------------------------

    def observe(self, jobs: Sequence[JobIdentity]) -> Observation:
        """Run one sacct, then one squeue, and one more sacct for new restarts. As ``observe``."""
        if not jobs:
            return Observation(SourceAnswer(), SourceAnswer())
        accounting = self._accounting(jobs)
        return Observation(accounting, self._queue(jobs, ended=not accounting.answered))

    def fetch_job_steps(
        self, jobs: Sequence[JobIdentity], tasks: Iterable[TaskId]
    ) -> dict[TaskId, TaskReport]:
        """Ask sacct for the steps of tasks. As ``Engine.measure``."""
        found, tasks = dict[TaskId, TaskReport](), list(tasks)
        names, identities = _by_id(jobs)
        preempted, sampling_s = self._preemption_times(names, tasks), self._sampling_s()
        for argv in commands.sacct_steps(tasks, self._slurm.clusters):
            text = self._slurm.query(argv)
            found |= job_steps.parse_step_reports(
                text, names, self._slurm.fetch_release, preempted, identities
            )
        return {task: replace(report, sampling_s=sampling_s) for task, report in found.items()}

    def restarted_seconds(self, jobs: Sequence[JobIdentity]) -> Mapping[str, float]:
        """Ask sacct for all starts of the jobs. As ``Engine.restarted_seconds``."""
        if not jobs or self._slurm.accounting_off:
            return {}
        names, identities = _by_id(jobs)
        text = self._slurm.query(commands.sacct_starts(names, self._slurm.clusters))
        return job_records.restarted_seconds(text, names, identities)

    def _sampling_s(self) -> float:
        """The seconds between two measurements of a job; the default without an answer."""
        try:
            text = self._slurm.cluster_config().get("JobAcctGatherFrequency", "")
        except NoAnswerError:
            text = ""
        return parse_sampling_interval(text)

    def wait(self, seconds: float) -> None:
        """Sleep for this time."""
        time.sleep(seconds)

    # -- control -------------------------------------------------------------------------------

    def cancel(self, job: JobIdentity, indices: Collection[int] | None) -> None:
        """Cancel tasks; an ended task is no error.

        Raises:
            NoAnswerError: the owner of the job id is unknown, or Slurm did not get the command.
            EngineError: Slurm refuses the command.
        """
        if indices is None or indices:
            self._slurm.control_job(job, commands.scancel(job.job, indices))

    def announce_cancelled(self, job: JobIdentity, indices: Collection[int]) -> None:
        """Signal the scripts of running tasks. As ``cancel``.

        scancel repeats the signal to any other task for more than a minute (seen).
        """
        if running := self._slurm.running_tasks(job).intersection(indices):
            self._slurm.control_job(job, commands.scancel_announce(job.job, running))

    def throttle(self, job: JobIdentity, limit: int | None) -> None:
        """Limit the tasks of an array that run at once; an ended array is no error.

        Raises:
            NoAnswerError: the owner of the job id is unknown, or Slurm did not get the command.
            EngineError: Slurm refuses the command.
        """
        self._slurm.control_job(job, commands.scontrol_throttle(job.job, limit))

    def hold(self, job: JobIdentity) -> None:
        """Hold the tasks of an array that have not started. As ``throttle``."""
        self._slurm.control_job(job, commands.scontrol_hold(job.job))

    def release(self, job: JobIdentity) -> None:
        """Release the held tasks of an array. As ``throttle``."""
        self._slurm.control_job(job, commands.scontrol_release(job.job))

    def avoid_nodes(self, job: JobIdentity, add: Collection[str], remove: Collection[str]) -> None:
        """Change the nodes that pending tasks of an array avoid. As ``Engine.avoid_nodes``."""
        avoid_nodes(self._slurm, job, add, remove)

    def change_waiting(self, job: JobIdentity, request: ResourceRequest) -> Collection[int]:
        """Change the request of an array's pending tasks. As ``Engine.change_waiting``."""
        return change_pending_tasks(self._slurm, job, request)

    @property
    def lasting_fault(self) -> UnusableSlurmError | None:
        """Return the fault of a command that cannot work here. As ``Engine.lasting_fault``."""
        return self._slurm.lasting_fault

    @property
    def has_running_tasks(self) -> bool:
        """Always False: Slurm runs the tasks, not this process."""
        return False

    def close(self) -> None:
        """Do nothing: this process runs no tasks."""

    # -- private -------------------------------------------------------------------------------

    def _naming_variables(
        self, why: SubmissionRejectedError, submission: SubmitRequest
    ) -> SubmissionRejectedError:
        """Add the person's SBATCH_ variables to a rejection, because they may be its cause."""
        options = [*submission.request, *submission.overrides]
        found = environment.deciding_variables(self._environ_of(submission), options)
        if not found:
            return why
        names = [variable.partition("=")[0] for variable in found]
        hint = f"sbatch also took from your environment: {quote_words(found)}"
        lines = (why.hint, f"{hint}\nTo leave them out: unset {quote_words(names)}")
        return why.inside("", "\n".join(filter(None, lines)), variables=names)

    def _environ_of(self, submission: SubmitRequest) -> Mapping[str, str]:
        return self._slurm.environ if submission.environ is None else submission.environ

    def _run_sbatch(
        self, submission: SubmitRequest, argv: commands.Argv
    ) -> tuple[process.ProgramResult, tuple[Note, ...]]:
        """Run sbatch; also returns notes on the variables in its environment."""
        options = [*submission.request, *submission.overrides]
        env, dropped = environment.for_sbatch(self._environ_of(submission), options)
        return self._slurm.run_sbatch(argv, env), environment.variable_notes(env, dropped)

    def _remembers_since(self) -> float:
        """Return the epoch seconds since when the controller has forgotten no ended job."""
        min_job_age_s = find_job.parse_seconds(self._slurm.cluster_config().get("MinJobAge", ""))
        # Half of MinJobAge, because the times in the queue come from another machine's clock.
        return time.time() - min_job_age_s / 2

    def _preemption_times(
        self, names: Mapping[str, str], tasks: Sequence[TaskId]
    ) -> Mapping[TaskId, int]:
        """Return the preemption times of tasks, epoch seconds.

        Only the controller knows them, and only for a while. Without its answer the result is
        empty, because the end of a task must not wait for it.
        """
        try:
            if self._slurm.cluster_config().get("PreemptType") in _NO_PREEMPTION:
                return {}
            text = self._slurm.query(commands.squeue_preempted(names))
            return job_records.parse_preemption_times(text, names, frozenset(tasks))
        except NoAnswerError:
            return {}

    def _accounting(self, jobs: Sequence[JobIdentity]) -> SourceAnswer:
        names, identities = _by_id(jobs)
        off = SourceAnswer(silence=ACCOUNTING_DISABLED, off=True)
        if self._slurm.accounting_off:
            return off
        argv = commands.sacct(names, self._slurm.clusters)
        # The release is not fetched here: answers can be read without it, and each poll would
        # need one more command.
        release = self._slurm.known_release
        answer = self._answer(
            argv,
            lambda text: SourceAnswer(
                job_records.parse_accounting_reports(text, names, release, identities)
            ),
        )
        return off if self._slurm.accounting_off else answer

    def _queue(self, jobs: Sequence[JobIdentity], *, ended: bool) -> SourceAnswer:
        names, identities = _by_id(jobs)
        argv = commands.squeue(names, ended=ended)
        return self._answer(
            argv,
            lambda text: SourceAnswer(
                self._restart_causes.add_to(
                    job_records.parse_queue_reports(text, names, identities), identities
                ),
                other_jobs=job_records.parse_other_jobs(text, identities),
            ),
        )

    def _answer(self, argv: commands.Argv, parse: Callable[[str], SourceAnswer]) -> SourceAnswer:
        try:
            return parse(self._slurm.query(argv))
        except NoAnswerError as error:
            return SourceAnswer(silence=error.message)


def _by_id(jobs: Sequence[JobIdentity]) -> tuple[dict[str, str], dict[str, JobIdentity]]:
    """Return the names and the identities of jobs, by job id."""
    return {job.job: job.name for job in jobs}, {job.job: job for job in jobs}
