"""What the rows of job steps say of their task: as seen on a real cluster, one case a test."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from slurmslice.engines.slurm.job_records import parse_preemption_times
from slurmslice.engines.slurm.job_steps import parse_step_reports
from slurmslice.engines.slurm.versions import Release
from slurmslice.errors import NoAnswer
from slurmslice.evidence import NO_STEPS, Steps

TASK = "11_0|COMPLETED|0:0|{derived}|5|10|{end}|3|1|100M|n1|None||00:00.500|n"
STEP = "11_0.{step}|{state}|{code}||10|10|{end}|3|1||n1||300K|00:00.100|{step}"


def told(
    *steps: tuple[str, str, str, object],
    derived: str = "0:0",
    release: Callable[[], Release | None] = lambda: None,
) -> Steps | None:
    """How the steps ended, given as (name, state, exit code, end), of a task that ended at 13."""
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
        ("FAILED", "2:0", 13, "exited 2"),  # the last that the script did (seen)
        ("FAILED", "1:0", 15, ""),  # it was still there, and makes an exit 1 of TERM (seen)
        ("CANCELLED", "0:11", 12, "ended by signal 11"),  # its program's own end (seen)
        ("CANCELLED", "0:15", 12, "ended by signal 15"),  # srun -K, a rank that failed (seen)
        ("FAILED", "0:0", 12, "failed"),  # it exited 128 (seen)
        ("CANCELLED", "0:9", 12, "ended by signal 9"),
        ("CANCELLED by 65534", "0:9", 12, ""),  # srun was killed, or the step was, by somebody
        ("CANCELLED by 65534", "", 13, "did not start"),  # srun -o into no folder (seen, 22.05)
        ("CANCELLED", "", 13, "did not start"),  # the same (seen, 24.11)
        ("CANCELLED by 65534", "", 14, "did not start"),  # the same, written late (seen, 22.05)
        ("CANCELLED", "0:15", 15, ""),  # it was still there when the script ended
        ("CANCELLED", "0:9", 45, ""),  # the same, and would not go
        ("CANCELLED", "0:53", 14, ""),  # the script ended before it had begun (seen)
        ("OUT_OF_MEMORY", "0:125", 12, "is OUT_OF_MEMORY"),
        ("TIMEOUT", "0:15", 12, "is TIMEOUT"),  # srun --time
        ("NODE_FAIL", "0:0", 12, "is NODE_FAIL"),
        ("COMPLETED", "0:0", 12, ""),
    ],
)
def test_how_a_step_ends(state: str, code: str, end: int, failed: str) -> None:
    """What went wrong by itself failed; what somebody or the end of its task ended did not."""
    assert told(BATCH, ("0", state, code, end)) == Steps(failed)
    assert told(BATCH, WELL, ("1", state, code, end), ("2", *WELL[1:])) == Steps(failed)


@pytest.mark.parametrize(
    ("release", "failed"), [((24, 11), "ended by signal 15"), ((26, 5), ""), (None, "")]
)
def test_a_step_that_ended_in_the_second_of_its_task(release: Release | None, failed: str) -> None:
    """Slurm may have ended it with the task only where it is as fast as that (seen on 26.05)."""
    last = ("0", "CANCELLED", "0:15", 13)
    assert told(BATCH, last, release=lambda: release) == Steps(failed)


@pytest.mark.parametrize(("told_at", "is_it"), [(9, False), (10, True), (12, True), (13, False)])
def test_a_step_that_had_to_make_room(told_at: int, is_it: bool) -> None:
    """It was told to end if it went on at that moment; its script and what came before were not."""
    text = f"{TASK.format(derived='0:0', end=13)}\n"
    for name, state, code, end in (BATCH, WELL):
        text += f"{STEP.format(step=name, state=state, code=code, end=end)}\n"
    found = parse_step_reports(text, {"11": "n"}, preempted={("11", 0): told_at})
    assert found["11", 0].steps == Steps(preempted=is_it)


def test_what_made_room_by_being_suspended_was_not_told_to_end() -> None:
    """PreemptMode=SUSPEND: it went on and came to its end (seen on each release, select/linear)."""
    rows = (
        "11_0|COMPLETED|0:0|0:0|5|10|25|9|1|100M|n1|None||00:00.500|n",
        "11_0.0|COMPLETED|0:0||10|10|25|9|1||n1||300K|00:00.100|0",
    )
    found = parse_step_reports(
        "".join(f"{row}\n" for row in rows), {"11": "n"}, preempted={("11", 0): 11}
    )
    assert found["11", 0].steps == NO_STEPS


def test_when_tasks_were_told_to_make_room() -> None:
    """Of our jobs, by id and name; of what was not told, and of others, nothing (seen on 22.05)."""
    text = (
        "11_0|1795866674|n|\n11_1|N/A|n|\n11_[2-3%1]|N/A|n|\n12_0|1795866674|other|\n7|N/A|wrap|\n"
    )
    assert parse_preemption_times(text, {"11": "n", "12": "n"}) == {("11", 0): 1795866674}
    with pytest.raises(NoAnswer):
        parse_preemption_times(text[:-2], {"11": "n"})


def test_the_release_is_asked_for_only_where_it_counts() -> None:
    """It may be one question more."""
    ends = [("0", "FAILED", "2:0", 13), ("1", "CANCELLED", "0:15", 12), ("2", *WELL[1:])]
    assert told(BATCH, *ends, release=lambda: pytest.fail("asked")) == Steps("exited 2")


def test_the_first_that_failed_is_told() -> None:
    """Whatever the later ones did."""
    failed = [("0", "FAILED", "2:0", 11), ("1", "FAILED", "3:0", 12)]
    assert told(BATCH, *failed) == Steps("exited 2")


def test_the_batch_script_is_no_step() -> None:
    """Nor are what Slurm itself starts in a job, and what a person did."""
    own = [("batch", "FAILED", "3:0", 13), ("extern", "RUNNING", "0:0", "Unknown"),
           ("interactive", "CANCELLED", "0:9", 12)]  # fmt: skip
    assert told(*own) == NO_STEPS


def test_a_step_without_an_end() -> None:
    """Its end may come after its task's (seen): until then it goes on."""
    assert told(BATCH, ("0", "RUNNING", "0:0", "Unknown"), WELL) == Steps(ended=False)


def test_an_exit_code_of_a_step_is_whole() -> None:
    """Older releases take 128 from it, and not from the task's DerivedExitCode."""
    assert told(BATCH, ("0", "FAILED", "72:0", 12), derived="200:0") == Steps("exited 200")
    assert told(BATCH, ("0", "FAILED", "72:0", 12), derived="72:0") == Steps("exited 72")


def test_an_older_start_does_not_speak_for_the_newest() -> None:
    """DerivedExitCode stays from start to start (seen); steps are of the newest alone."""
    assert told(BATCH, WELL, derived="3:0") == NO_STEPS


def test_where_no_steps_are_kept() -> None:
    """There is no row of the batch script either: DerivedExitCode is all there is."""
    assert told(derived="3:0") == Steps("exited 3 (DerivedExitCode)")
    assert told() == NO_STEPS
