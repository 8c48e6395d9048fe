"""Tasks and their job steps in sacct's answers: what they used, and how the steps ended. Pure.

Sources: sacct(1); what was seen and is not in the manual says so.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from slurmslice.engines.slurm.commands import STEP_FIELDS
from slurmslice.engines.slurm.job_records import (
    JobRecord,
    is_own_record,
    parse_sacct_records,
    task_ids,
    was_submitted_before,
)
from slurmslice.engines.slurm.versions import STEPS_END_WITH_TASK, Release
from slurmslice.evidence import NO_STEPS, Steps, TaskId, TaskReport
from slurmslice.states import State


def parse_step_reports(
    text: str,
    names: Mapping[str, str],
    release: Callable[[], Release | None] = lambda: None,
    preempted: Mapping[TaskId, int] = MappingProxyType({}),
) -> dict[TaskId, TaskReport]:
    """Our tasks in sacct's rows: CPU time, the most memory of any step, how the steps ended.

    Where accounting keeps no steps (slurm.conf(5), AccountingStorageEnforce=nosteps), there is
    not one of the batch script either; then the task's DerivedExitCode speaks for them.

    Args:
        text: sacct's answer, in which the rows of a task's steps follow its own.
        names: our jobs, and the name of each; a step bears another.
        release: asks for Slurm's; called where the answer depends on it, which is rare.
        preempted: when tasks had to make room, epoch seconds.

    Raises:
        NoAnswer: the text is not such an answer, or the release is not told.
    """
    found: dict[TaskId, TaskReport] = {}
    of: TaskId | None = None  # whose steps these are; None: of somebody else
    stepless = True
    for row in parse_sacct_records(text, STEP_FIELDS):
        task = next(task_ids(row), None)
        if row.step is None:
            ours = task and not row.is_array_summary and is_own_record(row, names)
            of = (
                task
                if ours and task and not was_submitted_before(row.report, found.get(task))
                else None
            )
            if of:
                derived = f"exited {row.report.step_exit} (DerivedExitCode)"
                steps = Steps(derived if row.report.step_exit else "")
                found[of], stepless = replace(row.report, steps=steps), True
        elif of and of == task:
            known = NO_STEPS if stepless else found[of].steps or NO_STEPS
            found[of] = _with_step(replace(found[of], steps=known), row, release, preempted.get(of))
            stepless = False
    return found


def _with_step(
    task: TaskReport, step: JobRecord, release: Callable[[], Release | None], preempted: int | None
) -> TaskReport:
    """A task's report and one more of its steps."""
    peaks = [peak for peak in (task.max_rss_bytes, step.report.max_rss_bytes) if peak]
    steps = task.steps or NO_STEPS
    if step.step and step.step[0].isdigit():  # not batch, extern or interactive
        steps = Steps(
            steps.failed or _failure(task, step.report, release),
            steps.ended and step.report.state.final,
            steps.preempted or _was_told(preempted, task, step.report),
        )
    return replace(task, max_rss_bytes=max(peaks, default=None), steps=steps)


def _was_told(when: int | None, task: TaskReport, step: TaskReport) -> bool:
    """Whether a step was told to end, when its task had to make room.

    Where tasks make room by being suspended nobody is told to end, though select/linear has the
    same time (seen on each release).
    """
    if when is None or _was_suspended(task):
        return False
    return (step.started_at or 0) <= when <= (step.ended_at or when)


def _was_suspended(task: TaskReport) -> bool:
    """Whether a task that has ended ran for less time than there was from its start to its end."""
    if task.elapsed_s is None or task.started_at is None or task.ended_at is None:
        return False
    return task.elapsed_s < task.ended_at - task.started_at


def _failure(task: TaskReport, step: TaskReport, release: Callable[[], Release | None]) -> str:
    """How a job step failed, in words; empty where it did not.

    What went on at its task's end has not: Slurm ended it, and whatever it made of that. It ends
    in a later second than its task, which a step that the script waited for never does (seen, 292
    of them on each release); only newer releases may end it in the very same one.
    """
    if not step.state.final or step.state is State.COMPLETED:
        return ""
    after = (step.ended_at or 0) - (task.ended_at or 0)
    by_slurm = step.signal in {signal.SIGTERM, signal.SIGKILL}
    began = step.exit_code is not None  # of one that could not, its end may be written late (seen)
    if began and (after > 0 or (after == 0 and by_slurm and _ends_leftovers_at_once(release()))):
        return ""
    return _how_failed(task, step)


def _ends_leftovers_at_once(release: Release | None) -> bool:
    return release is None or STEPS_END_WITH_TASK.applies_to(release)


def _how_failed(task: TaskReport, step: TaskReport) -> str:
    """How a job step that did not end well failed, in words; empty where somebody ended it.

    "CANCELLED by 1000" is a person's doing, but where there is no exit code: so says Slurm too of
    a step that it could not start, for want of its output file for one (seen).
    A step that ends by a signal of its own is CANCELLED (seen).
    """
    if step.state in {State.TIMEOUT, State.OUT_OF_MEMORY, State.NODE_FAIL}:
        return f"is {step.state}"
    if step.exit_code is None:
        return "did not start"
    if " by " in step.word:
        return ""
    if step.signal:
        return f"ended by signal {step.signal}"
    # Of the two the task's is not made smaller (versions.EXIT_CODE_WHOLE).
    told = task.step_exit if task.step_exit == step.exit_code + 128 else step.exit_code
    return f"exited {told}" if told else "failed"
