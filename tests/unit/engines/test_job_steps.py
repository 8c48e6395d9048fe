"""Job steps in sacct's answers: each case was seen on a real cluster."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slurmslice.engines.slurm.job_records import parse_preemption_times
from slurmslice.engines.slurm.job_steps import parse_step_reports
from slurmslice.errors import NoAnswerError
from slurmslice.sbatch.option_table import Release
from slurmslice.status.observation import NO_JOB_STEPS, JobSteps
from tests.support.errors import raises_error

TASK = "11_0|COMPLETED|0:0|{derived}|5|10|{end}|3|1|100M|n1|None||00:00.500|n"
STEP = "11_0.{step}|{state}|{code}||10|10|{end}|3|1||n1||300K|00:00.100|{step}"


def parse_steps(
    *steps: tuple[str, str, str, object],
    derived: str = "0:0",
    release: Callable[[], Release | None] = lambda: None,
) -> JobSteps | None:
    """Parse steps, given as (name, state, exit code, end), of a task that ended at second 13."""
    lines = [TASK.format(derived=derived, end=13)]
    lines += [STEP.format(step=s, state=state, code=c, end=e) for s, state, c, e in steps]
    text = "".join(f"{line}\n" for line in lines)
    return parse_step_reports(text, {"11": "n"}, release)["11", 0].steps


BATCH = ("batch", "COMPLETED", "0:0", 13)
WELL = ("0", "COMPLETED", "0:0", 12)


@pytest.mark.parametrize(
    ("state", "code", "end", "failed"),
    [
        ("FAILED", "2:0", 12, "exited 2"),
        ("FAILED", "2:0", 13, "exited 2"),  # the last step of the script (seen)
        ("FAILED", "1:0", 15, ""),  # still running; it exits 1 after SIGTERM (seen)
        ("CANCELLED", "0:11", 12, "ended by signal 11"),  # a crash of its program (seen)
        ("CANCELLED", "0:15", 12, "ended by signal 15"),  # srun -K, one rank failed (seen)
        ("FAILED", "0:0", 12, "failed"),  # it exited 128 (seen)
        ("CANCELLED", "0:9", 12, "ended by signal 9"),
        ("CANCELLED by 65534", "0:9", 12, ""),  # a person killed srun or the step
        # srun -o into a missing folder (seen on 22.05)
        ("CANCELLED by 65534", "", 13, "did not start"),
        ("CANCELLED", "", 13, "did not start"),  # the same (seen on 24.11)
        ("CANCELLED by 65534", "", 14, "did not start"),  # the same, recorded late (seen on 22.05)
        ("CANCELLED", "0:15", 15, ""),  # still running when the script ended
        ("CANCELLED", "0:9", 45, ""),  # the same, and ignored SIGTERM
        ("CANCELLED", "0:53", 14, ""),  # the script ended before the step started (seen)
        ("OUT_OF_MEMORY", "0:125", 12, "is OUT_OF_MEMORY"),
        ("TIMEOUT", "0:15", 12, "is TIMEOUT"),  # srun --time
        ("NODE_FAIL", "0:0", 12, "is NODE_FAIL"),
        ("COMPLETED", "0:0", 12, ""),
    ],
)
def test_failures_of_a_step(state: str, code: str, end: int, failed: str) -> None:
    """A step fails by itself; a step ended by a person or by the end of its task has not failed."""
    assert parse_steps(BATCH, ("0", state, code, end)) == JobSteps(failed)
    assert parse_steps(BATCH, WELL, ("1", state, code, end), ("2", *WELL[1:])) == JobSteps(failed)


@pytest.mark.parametrize(
    ("release", "failed"), [((24, 11), "ended by signal 15"), ((26, 5), ""), (None, "")]
)
def test_a_step_that_ended_in_the_second_of_its_task(release: Release | None, failed: str) -> None:
    """Only newer releases may end a step in the same second as its task (seen on 26.05)."""
    last = ("0", "CANCELLED", "0:15", 13)
    assert parse_steps(BATCH, last, release=lambda: release) == JobSteps(failed)


@pytest.mark.parametrize(
    ("preempted_at", "is_preempted"), [(9, False), (10, True), (12, True), (13, False)]
)
def test_a_preempted_step(preempted_at: int, is_preempted: bool) -> None:
    """Only a step that ran at that time received the signal, not the script or an earlier step."""
    text = f"{TASK.format(derived='0:0', end=13)}\n"
    for name, state, code, end in (BATCH, WELL):
        text += f"{STEP.format(step=name, state=state, code=code, end=end)}\n"
    found = parse_step_reports(text, {"11": "n"}, preempted={("11", 0): preempted_at})
    assert found["11", 0].steps == JobSteps(preempted=is_preempted)


def test_a_suspended_step_is_not_preempted() -> None:
    """PreemptMode=SUSPEND: it resumed and ended normally (seen on each release, select/linear)."""
    rows = (
        "11_0|COMPLETED|0:0|0:0|5|10|25|9|1|100M|n1|None||00:00.500|n",
        "11_0.0|COMPLETED|0:0||10|10|25|9|1||n1||300K|00:00.100|0",
    )
    found = parse_step_reports(
        "".join(f"{row}\n" for row in rows), {"11": "n"}, preempted={("11", 0): 11}
    )
    assert found["11", 0].steps == NO_JOB_STEPS


def test_parse_preemption_times() -> None:
    """Times of our jobs, by id and name; tasks without a time are left out (seen on 22.05)."""
    text = (
        "11_0|1795866674|n|\n11_1|N/A|n|\n11_[2-3%1]|N/A|n|\n12_0|1795866674|other|\n7|N/A|wrap|\n"
    )
    assert parse_preemption_times(text, {"11": "n", "12": "n"}) == {("11", 0): 1795866674}
    with raises_error(NoAnswerError, "unreadable-answer"):
        parse_preemption_times(text[:-2], {"11": "n"})


def test_the_release_is_fetched_only_if_needed() -> None:
    """Fetching it may need one more command."""
    ends = [("0", "FAILED", "2:0", 13), ("1", "CANCELLED", "0:15", 12), ("2", *WELL[1:])]
    assert parse_steps(BATCH, *ends, release=lambda: pytest.fail("asked")) == JobSteps("exited 2")


def test_the_first_failed_step_is_described() -> None:
    """Later steps do not matter."""
    failed = [("0", "FAILED", "2:0", 11), ("1", "FAILED", "3:0", 12)]
    assert parse_steps(BATCH, *failed) == JobSteps("exited 2")


def test_the_batch_script_is_no_step() -> None:
    """Neither are the extern and interactive steps that Slurm starts itself."""
    own = [("batch", "FAILED", "3:0", 13), ("extern", "RUNNING", "0:0", "Unknown"),
           ("interactive", "CANCELLED", "0:9", 12)]  # fmt: skip
    assert parse_steps(*own) == NO_JOB_STEPS


def test_a_running_step() -> None:
    """Its end may be recorded after its task's end (seen); until then the step is running."""
    assert parse_steps(BATCH, ("0", "RUNNING", "0:0", "Unknown"), WELL) == JobSteps(ended=False)


def test_the_full_exit_code_of_a_step() -> None:
    """Older releases subtract 128 from it, but not from the task's DerivedExitCode."""
    assert parse_steps(BATCH, ("0", "FAILED", "72:0", 12), derived="200:0") == JobSteps(
        "exited 200"
    )
    assert parse_steps(BATCH, ("0", "FAILED", "72:0", 12), derived="72:0") == JobSteps("exited 72")


def test_steps_of_an_older_start_are_ignored() -> None:
    """DerivedExitCode stays after a requeue (seen); steps belong to the newest start."""
    assert parse_steps(BATCH, WELL, derived="3:0") == NO_JOB_STEPS


def test_a_cluster_that_stores_no_steps() -> None:
    """Even the batch step is absent; DerivedExitCode is all there is."""
    assert parse_steps(derived="3:0") == JobSteps("exited 3 (DerivedExitCode)")
    assert parse_steps() == NO_JOB_STEPS
