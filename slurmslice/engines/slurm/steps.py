"""Tasks and their job steps in sacct's answers: what they used, and how the steps ended. Pure.

Sources: sacct(1); what was seen and is not in the manual says so.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import replace

from slurmslice.engines.slurm.answers import Row, accounting_rows, is_older, is_ours, tasks_of
from slurmslice.engines.slurm.commands import STEP_FIELDS
from slurmslice.evidence import NO_STEPS, Steps, TaskId, TaskReport
from slurmslice.states import State


def measures(text: str, names: Mapping[str, str]) -> dict[TaskId, TaskReport]:
    """Our tasks in sacct's rows: CPU time, the most memory of any step, how the steps ended.

    Where accounting keeps no steps (slurm.conf(5), AccountingStorageEnforce=nosteps), there is
    not one of the batch script either; then the task's DerivedExitCode speaks for them.

    Args:
        text: sacct's answer, in which the rows of a task's steps follow its own.
        names: our jobs, and the name of each; a step bears another.

    Raises:
        NoAnswer: the text is not such an answer.
    """
    found: dict[TaskId, TaskReport] = {}
    of: TaskId | None = None  # whose steps these are; None: of somebody else
    stepless = True
    for row in accounting_rows(text, STEP_FIELDS):
        task = next(tasks_of(row), None)
        if row.step is None:
            ours = task and not row.unstarted and is_ours(row, names)
            of = task if ours and task and not is_older(row.report, found.get(task)) else None
            if of:
                derived = f"exited {row.report.step_exit} (DerivedExitCode)"
                steps = Steps(derived if row.report.step_exit else "")
                found[of], stepless = replace(row.report, steps=steps), True
        elif of and of == task:
            found[of] = _with_step(found[of], row, NO_STEPS if stepless else found[of].steps)
            stepless = False
    return found


def _with_step(task: TaskReport, step: Row, known: Steps | None) -> TaskReport:
    """A task's report and one more of its steps."""
    peaks = [peak for peak in (task.max_rss_bytes, step.report.max_rss_bytes) if peak]
    steps = known or NO_STEPS
    if step.step and step.step[0].isdigit():  # not batch, extern or interactive
        steps = Steps(
            steps.failed or _how_failed(task, step.report),
            steps.ended and step.report.state.final,
        )
    return replace(task, max_rss_bytes=max(peaks, default=None), steps=steps)


def _how_failed(task: TaskReport, step: TaskReport) -> str:
    """How a job step failed, in words; empty where it did not.

    What somebody cancelled ("CANCELLED by 1000") did not, and what ended with its task neither.
    A step that ends by a signal of its own is CANCELLED too (seen).
    """
    if not step.state.final or step.state is State.COMPLETED or " by " in step.word:
        return ""
    if step.state in {State.TIMEOUT, State.OUT_OF_MEMORY, State.NODE_FAIL}:
        return f"is {step.state}"
    if step.signal:
        # What goes on at its task's end is ended by Slurm, then or seconds later (seen).
        late = (step.ended_at or 0) >= (task.ended_at or 0)
        return "" if late and step.signal in _BY_SLURM else f"ended by signal {step.signal}"
    code = step.exit_code or 0
    # Of the two the task's is not made smaller (versions.EXIT_CODE_WHOLE).
    told = task.step_exit if task.step_exit == code + 128 else code
    return f"exited {told}" if told else "failed"


_BY_SLURM = frozenset({signal.SIGTERM, signal.SIGKILL})
