"""Parse tasks and their job steps in sacct's answers: resources used, failures of steps. Pure.

Source: sacct(1). "Seen" marks a fact observed on a cluster and not found in the manual.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from slurmslice.engines.slurm.commands import STEP_FIELDS
from slurmslice.engines.slurm.job_records import (
    NO_IDENTITIES,
    JobRecord,
    is_own_record,
    parse_sacct_records,
    task_ids,
    was_submitted_before,
)
from slurmslice.engines.slurm.versions import STEPS_END_WITH_TASK
from slurmslice.sbatch.option_table import Release
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import NO_JOB_STEPS, JobSteps, TaskId, TaskReport
from slurmslice.status.states import State


def parse_step_reports(
    text: str,
    names: Mapping[str, str],
    release: Callable[[], Release | None] = lambda: None,
    preempted: Mapping[TaskId, int] = MappingProxyType({}),
    identities: Mapping[str, JobIdentity] = NO_IDENTITIES,
) -> dict[TaskId, TaskReport]:
    """Parse our tasks with their CPU time, their peak memory and the ends of their steps.

    The peak memory of a task is the largest MaxRSS of its steps. If accounting stores no steps
    (slurm.conf(5), AccountingStorageEnforce=nosteps), even the step of the batch script is
    absent. The task's DerivedExitCode is used then.

    Args:
        text: sacct's answer; the records of a task's steps follow the task's own record.
        names: our jobs, and the name of each; a step has a name of its own.
        release: fetches Slurm's release; called only if the result depends on it, which is rare.
        preempted: the time of each preempted task's preemption, epoch seconds.
        identities: as for ``parse_accounting_reports``.

    Raises:
        NoAnswerError: the text is no such answer, or ``release`` raised it.
    """
    found: dict[TaskId, TaskReport] = {}
    current: TaskId | None = None  # the task of the next steps; None if it is not ours
    has_no_steps = True
    for record in parse_sacct_records(text, STEP_FIELDS):
        task = next(task_ids(record), None)
        if record.step is None:
            ours = task and not record.is_array_summary and is_own_record(record, names, identities)
            older = task and was_submitted_before(record.report, found.get(task))
            current = task if ours and not older else None
            if current:
                derived = f"exited {record.report.highest_step_exit} (DerivedExitCode)"
                steps = JobSteps(derived if record.report.highest_step_exit else "")
                found[current], has_no_steps = replace(record.report, steps=steps), True
        elif current and current == task:
            steps = NO_JOB_STEPS if has_no_steps else found[current].steps or NO_JOB_STEPS
            report = replace(found[current], steps=steps)
            found[current] = _add_step(report, record, release, preempted.get(current))
            has_no_steps = False
    return found


def _add_step(
    task: TaskReport, step: JobRecord, release: Callable[[], Release | None], preempted: int | None
) -> TaskReport:
    """Add one step to a task's report."""
    peaks = [peak for peak in (task.max_rss_bytes, step.report.max_rss_bytes) if peak]
    steps = task.steps or NO_JOB_STEPS
    if step.step and step.step[0].isdigit():  # not batch, extern or interactive
        steps = JobSteps(
            steps.failed or _describe_failure(task, step.report, release),
            steps.ended and step.report.state.final,
            steps.preempted or _was_preempted(preempted, task, step.report),
        )
    return replace(task, max_rss_bytes=max(peaks, default=None), steps=steps)


def _was_preempted(time: int | None, task: TaskReport, step: TaskReport) -> bool:
    """True if a step was running when its task was preempted: Slurm signalled it then.

    A task preempted by suspension gets no signal. With select/linear it has a preemption
    time as well (seen on each release).
    """
    if time is None or _was_suspended(task):
        return False
    return (step.started_at or 0) <= time <= (step.ended_at or time)


def _was_suspended(task: TaskReport) -> bool:
    """True if an ended task ran for less time than passed between its start and its end."""
    if task.elapsed_s is None or task.started_at is None or task.ended_at is None:
        return False
    return task.elapsed_s < task.ended_at - task.started_at


def _describe_failure(
    task: TaskReport, step: TaskReport, release: Callable[[], Release | None]
) -> str:
    """Describe the failure of a job step (``exited 3``); empty if it did not fail.

    A step still running at its task's end has not failed: Slurm ended it, and its exit code
    means nothing. Such a step ends in a later second than its task. A step the script waited
    for never does (seen, 292 steps on each release). Only newer releases may end a leftover
    step in the same second as its task (``versions.STEPS_END_WITH_TASK``).
    """
    if not step.state.final or step.state is State.COMPLETED:
        return ""
    delay_s = (step.ended_at or 0) - (task.ended_at or 0)
    killed = step.signal in {signal.SIGTERM, signal.SIGKILL}
    # The end of a step that could not start may be recorded late (seen).
    started = step.exit_code is not None
    if started and (delay_s > 0 or (delay_s == 0 and killed and _may_end_with_task(release()))):
        return ""
    return _describe_end(task, step)


def _may_end_with_task(release: Release | None) -> bool:
    return release is None or STEPS_END_WITH_TASK.applies_to(release)


def _describe_end(task: TaskReport, step: TaskReport) -> str:
    """Describe the end of a step that was not COMPLETED; empty if a person ended it.

    ``CANCELLED by 1000`` names a person only if the step has an exit code. Slurm prints the
    same for a step it could not start, for example without its output file (seen). A step that
    ends by a signal of its own is CANCELLED (seen).
    """
    if step.state in {State.TIMEOUT, State.OUT_OF_MEMORY, State.NODE_FAIL}:
        return f"is {step.state}"
    if step.exit_code is None:
        return "did not start"
    if " by " in step.word:
        return ""
    if step.signal:
        return f"ended by signal {step.signal}"
    # sacct never subtracts 128 from the task's DerivedExitCode (versions.FULL_EXIT_CODES).
    code = (
        task.highest_step_exit if task.highest_step_exit == step.exit_code + 128 else step.exit_code
    )
    return f"exited {code}" if code else "failed"
