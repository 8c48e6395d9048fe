"""What each release of Slurm answered: expectations written by hand from what jobs were told to do.

The answers were recorded by ``tests/recorded/record.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from slurmslice.engines.slurm import answers, capacity, resources, search, steps, versions
from slurmslice.engines.slurm.commands import STEP_FIELDS
from slurmslice.engines.slurm.outcomes import outcome, remedy
from slurmslice.errors import Full, NoAnswer, Refused, TooMany
from slurmslice.evidence import TaskReport
from slurmslice.states import State
from tests.recorded import load
from tests.requested import a_request

RELEASES = ("20.11", "22.05", "24.11", "26.05")
ENDS, STEP, HELD, SOME = "ends|x-b2c4", "step-h5i7", "held-d6e8", "some-f1g3"
pytestmark = pytest.mark.parametrize("release", RELEASES)


def jobs(rows: Sequence[answers.Row]) -> dict[str, str]:
    """Jobs with their names."""
    return {row.job: row.name for row in rows if row.step is None}


def told(name: str, release: str, job_name: str) -> dict[int, TaskReport]:
    """What an answer of sacct or squeue says of a job, by index."""
    text = load(name, release).text
    if "squeue" in name:
        reports = answers.queue(text, jobs(answers.queue_rows(text)))
        names = jobs(answers.queue_rows(text))
    else:
        names = jobs(answers.accounting_rows(text))
        reports = dict(answers.accounting(text, names, versions.release_of(release)))
    return {index: said for (job, index), said in reports.items() if names[job] == job_name}


def test_how_tasks_ended(release: str) -> None:
    """Exit 0, 3, 143 and 200, SIGKILL, too much memory, too long, scancel: by accounting."""
    ends = told("ends-sacct", release, ENDS)
    assert [str(ends[index].state) for index in range(8)] == [
        "COMPLETED", "FAILED", "FAILED", "FAILED", "FAILED", "OUT_OF_MEMORY", "TIMEOUT",
        "CANCELLED",
    ]  # fmt: skip
    new = versions.EXIT_CODE_WHOLE.holds(versions.release_of(release) or (0, 0))
    codes = [ends[index].exit_code for index in range(4)]
    assert codes == ([0, 3, 143, 200] if new else [0, 3, 15, 72])
    assert [ends[index].less_128 for index in range(4)] == [False, *[not new] * 3]
    assert ends[4].signal == 9
    assert {end.requested_mem_bytes for end in ends.values()} == {100 << 20}
    assert {end.reason for end in ends.values()} == {""}
    assert told("ends-sacct", release, STEP)[0].step_exit == 3


def test_how_tasks_ended_in_the_queue(release: str) -> None:
    """The same by squeue, whose exit codes are whole in every release."""
    ends = told("ends-squeue", release, ENDS)
    assert [ends[index].exit_code for index in range(4)] == [0, 3, 143, 200]
    assert (ends[4].signal, ends[5].signal) == (9, 125)
    assert (str(ends[5].state), str(ends[7].state)) == ("OUT_OF_MEMORY", "CANCELLED")


def test_a_ghost_is_no_submission(release: str) -> None:
    """What was refused leaves a record that FAILED at once and had no node: it was not taken."""
    accounting = answers.accounting_rows(load("ghost-sacct", release).text)
    assert [row.name for row in accounting] == ["ghost-m5s8"]
    assert search.in_accounting(accounting, "m5s8") is None
    early = replace(accounting[0].report, state=State.PENDING, ended_at=None, started_at=None)
    assert search.in_accounting([replace(accounting[0], report=early)], "m5s8") is None
    later = replace(accounting[0].report, ended_at=(accounting[0].report.ended_at or 0) + 1)
    assert search.in_accounting([replace(accounting[0], report=later)], "m5s8") is None
    queue = answers.queue_rows(load("ghost-squeue", release).text)
    assert [row.name for row in queue] == ["ghost-m5s8"]
    assert search.in_queue(queue, "m5s8", 0) is None


def test_steps_tell_the_memory(release: str) -> None:
    """MaxRSS and CPU time of what ran long enough to be looked at."""
    rows = answers.accounting_rows(load("ends-steps", release).text, STEP_FIELDS)
    names = jobs(rows)
    measured = steps.measures(load("ends-steps", release).text, names)
    found = {index: said for (job, index), said in measured.items() if names[job] == ENDS}
    assert set(found) == set(range(8))
    assert all(0 <= (report.cpu_s or 0) < 60 for report in found.values())
    assert all((report.max_rss_bytes or 1) < 100 << 20 for report in found.values())
    assert found[0].max_rss_bytes


def test_what_had_to_make_room(release: str) -> None:
    """Two job steps were told to end within a GraceTime; the third script has none, nor what waits.

    Of the first, which saves and exits 0, older releases say that it is COMPLETED.
    """
    text, queue = load("room-steps", release).text, load("room-squeue", release).text
    names = {job.partition("_")[0]: name for job, _, name, _ in map(_cells, queue.splitlines())}
    room = jobs(answers.accounting_rows(text, STEP_FIELDS))
    (job,) = room
    told_at = answers.preempted(queue, names)
    assert set(told_at) == {(job, 0), (job, 1), (job, 2)}
    found = [steps.measures(text, room, preempted=told_at)[job, index] for index in range(3)]
    assert [end.steps and end.steps.preempted for end in found] == [True, True, False]
    new = versions.PREEMPTED_IN_GRACE.holds(versions.release_of(release) or (0, 0))
    states = ["PREEMPTED"] * 3 if new else ["COMPLETED", "FAILED", "COMPLETED"]
    assert [str(end.state) for end in found] == states


def _cells(row: str) -> list[str]:
    return row.split("|")


def test_what_waits(release: str) -> None:
    """Every index of an array that is held, and of one of which three run at a time."""
    held, some = (told("waits-squeue", release, name) for name in (HELD, SOME))
    assert list(held) == [0, 4, 8, 9, 10, 11, 12, 100]
    assert {report.reason for report in held.values()} == {"JobHeldUser"}
    assert sorted(some) == list(range(0, 99, 7))
    assert {i for i, report in some.items() if str(report.state) == "RUNNING"} == {0, 7, 14}
    rows = answers.queue_rows(load("waits-squeue", release).text)
    sighting = search.in_queue(rows, "f1g3", 0)
    assert sighting is not None
    assert sorted(sighting.array or ()) == list(range(0, 99, 7))
    assert set(told("waits-sacct", release, SOME)) == {0, 7, 14}
    assert told("waits-sacct", release, HELD) == {}


def test_what_was_cancelled(release: str) -> None:
    """Those that ran and those that had not begun; 20.11 keeps a cut expression of the latter."""
    held, some = (told("waits-cancelled", release, name) for name in (HELD, SOME))
    assert {str(report.state) for report in (*held.values(), *some.values())} == {"CANCELLED"}
    assert list(held) == [0, 4, 8, 9, 10, 11, 12, 100]
    last = 77 if release == "20.11" else 98
    assert sorted(some) == list(range(0, last + 1, 7))
    assert {index for index, report in some.items() if report.node} == {0, 7, 14}


def test_the_cluster(release: str) -> None:
    """MaxArraySize, partitions, nodes and limits."""
    settings = resources.config(load("cluster-config", release).text)
    assert versions.release_of(settings["SLURM_VERSION"]) == versions.release_of(release)
    assert (settings["MaxArraySize"], resources.default_memory(settings)) == ("1001", (100, "cpu"))
    assert capacity.enforces_limits(settings)
    found = resources.partitions(load("cluster-partitions", release).text)
    assert [(p.name, p.default, p.state, p.max_time_s) for p in found] == [
        ("main", True, "UP", None), ("scavenge", False, "UP", None), ("short", False, "UP", 300),
    ]  # fmt: skip
    nodes = resources.nodes(load("ends-nodes", release).text)
    assert {(n.partition, n.cpus, n.mem, n.usable) for n in nodes} == {
        (partition, 4, 4000, True) for partition in ("main", "scavenge", "short")
    }
    # Two or more are busy when it is asked, of 16.
    assert 10 <= sum(node.free_cpus for node in nodes if node.partition == "main") <= 16
    limits = capacity.submit_limits(
        load("cluster-associations", release).text, load("cluster-qos", release).text, a_request(),
        settings,
    )  # fmt: skip
    assert min(limits) == (50, "MaxSubmit is 50")


def test_what_a_job_is(release: str) -> None:
    """Its name, by ``scontrol show job``."""
    assert search.identity(load("waits-job", release).text, None, (), 0).name == HELD


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("account", "-A ACCOUNT"),
        ("array", ""),
        ("feature", "-C FEATURES"),
        ("memory", "--mem SIZE"),
        ("option", ""),
        ("partition", "-p PARTITION"),
        ("qos", "-q QOS"),
        ("time", "-t TIME"),
    ],
)
def test_refusals_are_for_good(release: str, name: str, options: str) -> None:
    """What can never be taken is Refused, with sbatch's own words; and what is to be changed."""
    answer = load(f"refused-{name}", release).done
    with pytest.raises(Refused) as caught:
        outcome(answer)
    assert remedy(caught.value.message)[0] == options


def test_other_outcomes(release: str) -> None:
    """Taken; full for now by a limit; no controller."""
    assert outcome(load("taken", release).done).job.isdecimal()
    with pytest.raises(TooMany, match="AssocMaxSubmitJobLimit"):
        outcome(load("refused-limit", release).done)
    with pytest.raises(Full, match="Unable to contact slurm controller"):
        outcome(load("down-sbatch", release).done)


@pytest.mark.parametrize("name", ["down-sacct", "down-squeue", "down-config"])
def test_silence_is_an_error(release: str, name: str) -> None:
    """Where nobody answers there is an exit code, and nothing on standard output to be read."""
    done = load(name, release).done
    assert (done.returncode, done.stdout) == (1, "")
    with pytest.raises(NoAnswer):
        resources.config(done.stdout)


def test_an_unknown_job(release: str) -> None:
    """Accounting has no row, the queue says that the id is invalid."""
    assert load("unknown-sacct", release).text == ""
    assert "Invalid job id specified" in load("unknown-squeue", release).done.stderr
