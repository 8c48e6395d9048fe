"""Recorded answers of each release of Slurm (``tests/recorded/record.py``).

Expectations were written by hand from the jobs' scripts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from slurmslice.engines.slurm import (
    account_limits,
    cluster_records,
    find_job,
    job_records,
    job_steps,
    versions,
)
from slurmslice.engines.slurm.commands import STEP_FIELDS
from slurmslice.engines.slurm.sbatch_result import parse_sbatch_result, suggest_change
from slurmslice.errors import (
    NoAnswerError,
    SubmissionRejectedError,
    SubmitLimitError,
    TooManyTasksError,
)
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.recorded import load
from tests.support.errors import raises_error
from tests.support.requested import a_request

RELEASES = ("20.11", "22.05", "24.11", "26.05")
ENDS, STEP, HELD, SOME = "ends|x-b2c4", "step-h5i7", "held-d6e8", "some-f1g3"
pytestmark = pytest.mark.parametrize("release", RELEASES)


def job_names(rows: Sequence[job_records.JobRecord]) -> dict[str, str]:
    """Return the name of each job."""
    return {row.job: row.name for row in rows if row.step is None}


def reports_of(name: str, release: str, job_name: str) -> dict[int, TaskReport]:
    """Return the reports of one job in a recorded answer, by array index."""
    text = load(name, release).text
    if "squeue" in name:
        names = job_names(job_records.parse_squeue_records(text))
        reports = job_records.parse_queue_reports(text, names)
    else:
        names = job_names(job_records.parse_sacct_records(text))
        reports = dict(
            job_records.parse_accounting_reports(text, names, versions.parse_release(release))
        )
    return {index: report for (job, index), report in reports.items() if names[job] == job_name}


def test_ended_tasks_in_accounting(release: str) -> None:
    """Exit 0, 3, 143 and 200, SIGKILL, out of memory, timeout, scancel: in accounting."""
    ends = reports_of("ends-sacct", release, ENDS)
    assert [str(ends[index].state) for index in range(8)] == [
        "COMPLETED", "FAILED", "FAILED", "FAILED", "FAILED", "OUT_OF_MEMORY", "TIMEOUT",
        "CANCELLED",
    ]  # fmt: skip
    new = versions.FULL_EXIT_CODES.applies_to(versions.parse_release(release) or (0, 0))
    codes = [ends[index].exit_code for index in range(4)]
    assert codes == ([0, 3, 143, 200] if new else [0, 3, 15, 72])
    assert [ends[index].exit_code_truncated for index in range(4)] == [False, *[not new] * 3]
    assert ends[4].signal == 9
    assert {end.requested_mem_bytes for end in ends.values()} == {100 << 20}
    assert {end.reason for end in ends.values()} == {""}
    assert reports_of("ends-sacct", release, STEP)[0].highest_step_exit == 3


def test_ended_tasks_in_the_queue(release: str) -> None:
    """The same in the queue; its exit codes are complete in each release."""
    ends = reports_of("ends-squeue", release, ENDS)
    assert [ends[index].exit_code for index in range(4)] == [0, 3, 143, 200]
    assert (ends[4].signal, ends[5].signal) == (9, 125)
    assert (str(ends[5].state), str(ends[7].state)) == ("OUT_OF_MEMORY", "CANCELLED")


def test_a_refused_submission_is_not_found(release: str) -> None:
    """A refusal leaves a record that FAILED at once without a node; it is no submission."""
    accounting = job_records.parse_sacct_records(load("ghost-sacct", release).text)
    assert [row.name for row in accounting] == ["ghost-m5s8"]
    assert find_job.find_in_accounting(accounting, "m5s8") is None
    early = replace(accounting[0].report, state=State.PENDING, ended_at=None, started_at=None)
    assert find_job.find_in_accounting([replace(accounting[0], report=early)], "m5s8") is None
    later = replace(accounting[0].report, ended_at=(accounting[0].report.ended_at or 0) + 1)
    assert find_job.find_in_accounting([replace(accounting[0], report=later)], "m5s8") is None
    queue = job_records.parse_squeue_records(load("ghost-squeue", release).text)
    assert [row.name for row in queue] == ["ghost-m5s8"]
    assert find_job.find_in_queue(queue, "m5s8", 0) is None


def test_memory_and_cpu_time_of_steps(release: str) -> None:
    """MaxRSS and CPU time of tasks that ran long enough to be sampled."""
    rows = job_records.parse_sacct_records(load("ends-steps", release).text, STEP_FIELDS)
    names = job_names(rows)
    measured = job_steps.parse_step_reports(load("ends-steps", release).text, names)
    found = {index: r for (job, index), r in measured.items() if names[job] == ENDS}
    assert set(found) == set(range(8))
    assert all(0 <= (report.cpu_s or 0) < 60 for report in found.values())
    assert all((report.max_rss_bytes or 1) < 100 << 20 for report in found.values())
    assert found[0].max_rss_bytes


def test_preempted_tasks(release: str) -> None:
    """Two job steps were told to end within a GraceTime; the third script has no step.

    The first task saves and exits 0. Older releases call it COMPLETED.
    """
    text, queue = load("room-steps", release).text, load("room-squeue", release).text
    names = {job.partition("_")[0]: name for job, _, name, _ in map(_cells, queue.splitlines())}
    names_by_job = job_names(job_records.parse_sacct_records(text, STEP_FIELDS))
    (job,) = names_by_job
    preempted_at = job_records.parse_preemption_times(queue, names)
    assert set(preempted_at) == {(job, 0), (job, 1), (job, 2)}
    found = [
        job_steps.parse_step_reports(text, names_by_job, preempted=preempted_at)[job, index]
        for index in range(3)
    ]
    assert [end.steps and end.steps.preempted for end in found] == [True, True, False]
    new = versions.PREEMPTED_IN_GRACE.applies_to(versions.parse_release(release) or (0, 0))
    states = ["PREEMPTED"] * 3 if new else ["COMPLETED", "FAILED", "COMPLETED"]
    assert [str(end.state) for end in found] == states


def _cells(row: str) -> list[str]:
    return row.split("|")


def test_pending_tasks(release: str) -> None:
    """Each index of a held array, and of an array with a throttle of three."""
    held, some = (reports_of("waits-squeue", release, name) for name in (HELD, SOME))
    assert list(held) == [0, 4, 8, 9, 10, 11, 12, 100]
    assert {report.reason for report in held.values()} == {"JobHeldUser"}
    assert sorted(some) == list(range(0, 99, 7))
    assert {i for i, report in some.items() if str(report.state) == "RUNNING"} == {0, 7, 14}
    rows = job_records.parse_squeue_records(load("waits-squeue", release).text)
    sighting = find_job.find_in_queue(rows, "f1g3", 0)
    assert sighting is not None
    assert sorted(sighting.array or ()) == list(range(0, 99, 7))
    assert set(reports_of("waits-sacct", release, SOME)) == {0, 7, 14}
    assert reports_of("waits-sacct", release, HELD) == {}


def test_cancelled_tasks(release: str) -> None:
    """Running and pending tasks; 20.11 keeps a cut list of the pending ones."""
    held, some = (reports_of("waits-cancelled", release, name) for name in (HELD, SOME))
    assert {str(report.state) for report in (*held.values(), *some.values())} == {"CANCELLED"}
    assert list(held) == [0, 4, 8, 9, 10, 11, 12, 100]
    last = 77 if release == "20.11" else 98
    assert sorted(some) == list(range(0, last + 1, 7))
    assert {index for index, report in some.items() if report.node} == {0, 7, 14}


def test_cluster_records(release: str) -> None:
    """MaxArraySize, partitions, nodes and limits."""
    settings = cluster_records.parse_config(load("cluster-config", release).text)
    assert versions.parse_release(settings["SLURM_VERSION"]) == versions.parse_release(release)
    assert (settings["MaxArraySize"], cluster_records.default_memory(settings)) == (
        "1001",
        (100, "cpu"),
    )
    assert account_limits.enforces_limits(settings)
    found = cluster_records.parse_partitions(load("cluster-partitions", release).text)
    assert [(p.name, p.default, p.state, p.max_time_s) for p in found] == [
        ("main", True, "UP", None), ("scavenge", False, "UP", None), ("short", False, "UP", 300),
    ]  # fmt: skip
    nodes = cluster_records.parse_nodes(load("ends-nodes", release).text)
    assert {(n.partition, n.cpus, n.mem_mib, n.usable) for n in nodes} == {
        (partition, 4, 4000, True) for partition in ("main", "scavenge", "short")
    }
    # Of 16 CPUs, two or more are busy at the time of the query.
    assert 10 <= sum(node.free_cpus for node in nodes if node.partition == "main") <= 16
    limits = account_limits.submit_limits(
        load("cluster-associations", release).text, load("cluster-qos", release).text, a_request(),
        settings,
    )  # fmt: skip
    assert min(limits) == (50, "MaxSubmit is 50")


def test_job_info(release: str) -> None:
    """The name in ``scontrol show job``."""
    assert find_job.parse_job_info(load("waits-job", release).text, None, (), 0).name == HELD


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
def test_refused_submissions(release: str, name: str, options: str) -> None:
    """A final refusal raises ``SubmissionRejectedError`` and suggests options to change."""
    answer = load(f"refused-{name}", release).done
    with raises_error(SubmissionRejectedError, "submission-rejected") as caught:
        parse_sbatch_result(answer)
    assert suggest_change(caught.value.message)[0] == options


def test_other_results_of_sbatch(release: str) -> None:
    """Accepted, refused by a submit limit, and without a controller."""
    assert parse_sbatch_result(load("taken", release).done).job.isdecimal()
    with raises_error(TooManyTasksError, "too-many-tasks"):
        parse_sbatch_result(load("refused-limit", release).done)
    with raises_error(SubmitLimitError, "slurm-unavailable"):
        parse_sbatch_result(load("down-sbatch", release).done)


@pytest.mark.parametrize("name", ["down-sacct", "down-squeue", "down-config"])
def test_an_outage_gives_an_exit_code_and_no_output(release: str, name: str) -> None:
    """During an outage, commands exit 1 and print nothing on standard output."""
    done = load(name, release).done
    assert (done.returncode, done.stdout) == (1, "")
    with raises_error(NoAnswerError, "unreadable-answer"):
        cluster_records.parse_config(done.stdout)


def test_an_unknown_job(release: str) -> None:
    """sacct prints no record, squeue prints an error about the id."""
    assert load("unknown-sacct", release).text == ""
    assert "Invalid job id specified" in load("unknown-squeue", release).done.stderr
