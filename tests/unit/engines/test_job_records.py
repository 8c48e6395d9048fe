"""Parsers of Slurm's answers: expectations were written by hand from recorded answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slurmslice.engines.slurm import (
    cluster_records,
    fields,
    find_job,
    job_records,
    job_states,
    job_steps,
)
from slurmslice.errors import NoAnswerError
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.recorded import load
from tests.support.errors import raises_error

CORR = {"2": "corr|x-k7m2"}


# -- job states ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("PENDING", State.PENDING),
        ("CANCELLED by 65534", State.CANCELLED),
        ("CANCELLED", State.CANCELLED),
        ("OUT_OF_MEMORY", State.OUT_OF_MEMORY),
        ("COMPLETING", State.COMPLETING),
        ("STAGE_OUT", State.COMPLETING),
        ("CONFIGURING", State.RUNNING),
        ("SIGNALING", State.RUNNING),
        ("RESIZING", State.RUNNING),
        ("STOPPED", State.SUSPENDED),
        ("REQUEUED", State.PENDING),
        ("REQUEUE_HOLD", State.PENDING),
        ("REQUEUE_FED", State.PENDING),
        ("SPECIAL_EXIT", State.PENDING),
        ("RESV_DEL_HOLD", State.PENDING),
        ("EXPEDITING", State.PENDING),
    ],
)
def test_state_texts_of_slurm(text: str, state: State) -> None:
    """A base state is itself; a flag becomes the state it means for a task (squeue(1))."""
    assert job_states.parse_state(text) is state


@pytest.mark.parametrize(
    "text", ["", "REVOKED", "LAUNCH_FAILED", "completed", "WAITING", "COMPLE+"]
)
def test_an_unknown_state_text_is_unknown_and_not_final(text: str) -> None:
    """A text of a newer release ends no task (promise 5); our own states are not Slurm's."""
    assert job_states.parse_state(text) is State.UNKNOWN
    assert not job_states.parse_state(text).final


# -- accounting ------------------------------------------------------------------------------


def test_ended_tasks_in_accounting() -> None:
    """State, exit code, signal, times, memory and node; the job name holds ``|``."""
    found = job_records.parse_accounting_reports(load("sacct-ended").text, CORR)
    assert [found["2", index].state for index in range(9)] == [
        State.COMPLETED, State.FAILED, State.COMPLETED, State.OUT_OF_MEMORY, State.COMPLETED,
        State.FAILED, State.TIMEOUT, State.FAILED, State.COMPLETED,
    ]  # fmt: skip
    assert found["2", 1] == TaskReport(
        State.FAILED, "FAILED", exit_code=3, signal=None, submitted_at=1795451105,
        started_at=1795451106, ended_at=1795451106, elapsed_s=0,
        requested_mem_bytes=200 * 1024**2, node="node1", exit_code_truncated=True,
    )  # fmt: skip
    assert (found["2", 3].exit_code, found["2", 3].signal) == (0, 125)
    assert (found["2", 7].exit_code, found["2", 7].signal) == (0, 9)
    # The command of task 5 exited 200.
    assert (found["2", 5].exit_code, found["2", 5].exit_code_truncated) == (72, True)
    assert found["2", 6].elapsed_s == 81


def test_pending_array_summaries_are_left_out() -> None:
    """A pending summary may be cut or outdated (``4_8`` was cancelled): the queue knows better."""
    names = {**CORR, "3": "later-b3q9", "4": "held-c4w8", "6": "long-e6t6", "7": "throttled-f7y5"}
    found = job_records.parse_accounting_reports(load("sacct-many").text, names)
    assert {job for job, _ in found} == {"2", "7"}
    assert {index: str(r.state) for (job, index), r in found.items() if job == "7"} == {
        0: "RUNNING",
        7: "RUNNING",
        14: "RUNNING",
    }
    running = found["2", 6]
    assert (running.exit_code, running.ended_at, running.elapsed_s) == (None, None, 10)


def test_a_cancelled_array_summary_counts_for_its_tasks() -> None:
    """A final record ``X_[…]`` stands for each task without a record of its own."""
    names = {"4": "held-c4w8", "7": "throttled-f7y5"}
    found = job_records.parse_accounting_reports(load("sacct-cancelled").text, names)
    assert {report.state for report in found.values()} == {State.CANCELLED}
    assert [index for job, index in found if job == "4"] == [0, 4, 12, 16, 20, 100]
    assert sorted(index for job, index in found if job == "7") == list(range(0, 99, 7))
    assert found["7", 14].node == "node3"
    assert found["7", 21].node is None
    assert found["7", 21].word == "CANCELLED by 65534"


def test_a_tasks_own_record_outranks_the_array_summary() -> None:
    """An outdated summary may name a task that ran: the task's own record counts (promise 6)."""
    rest = "9_[0-3]|CANCELLED by 1|0:0|0:0|100|None|200|0|1|1M|None assigned|None|n-t\n"
    ran = "9_2|COMPLETED|0:0|0:0|100|110|120|10|1|1M|n1|None|n-t\n"
    for text in (rest + ran, ran + rest):
        found = job_records.parse_accounting_reports(text, {"9": "n-t"})
        assert found["9", 2].state is State.COMPLETED
        assert found["9", 3].state is State.CANCELLED
        assert (found["9", 2].is_array_summary, found["9", 3].is_array_summary) == (False, True)


def test_a_cut_record_gives_only_certain_indices() -> None:
    """The last index before ``...`` may be half a number, so it is left out."""
    text = "9_[1,3-5,9,15,26,32...%4]|CANCELLED by 1|0:0|0:0|100|None|200|0|1|1M|n|None|n-t\n"
    found = job_records.parse_accounting_reports(text, {"9": "n-t"})
    assert [index for _, index in found] == [1, 3, 4, 5, 9, 15, 26]
    assert (
        job_records.parse_accounting_reports(text.replace("1,3-5,9,15,26,32", "12"), {"9": "n-t"})
        == {}
    )


def test_the_newest_record_of_a_task_counts() -> None:
    """If a task has several records, the latest Submit counts, in any order of records."""
    first, _, again = load("sacct-preempted-every-run").text.strip().split("\n")
    assert first.startswith("23_0|PREEMPTED")
    assert again.startswith("23_0|PENDING")
    for rows in ([first, again], [again, first]):
        found = job_records.parse_accounting_reports(
            "".join(f"{row}\n" for row in rows), {"23": "pre-h9i3"}
        )
        assert found["23", 0].state is State.PENDING


def test_requeued_tasks_and_failed_nodes() -> None:
    """A task that Slurm requeues is pending in accounting; any other failed task is final."""
    requeued = job_records.parse_accounting_reports(load("sacct-requeued").text, {"19": "req-g8u4"})
    assert {i: str(r.state) for (_, i), r in requeued.items()} == {
        0: "RUNNING", 1: "RUNNING", 2: "SUSPENDED", 3: "PENDING",
    }  # fmt: skip
    assert (requeued["19", 1].reason, requeued["19", 3].reason) == ("", "JobHeldUser")
    names = {"28": "nf-k3p1", "29": "nfr-l4a9"}
    failed = job_records.parse_accounting_reports(load("sacct-node-failed").text, names)
    assert [str(failed[j, 0].state) for j in names] == ["NODE_FAIL", "PENDING"]


def test_records_of_other_jobs_are_left_out() -> None:
    """Slurm reuses job ids: a record with another job name is not ours."""
    assert (
        job_records.parse_accounting_reports(load("sacct-ended").text, {"2": "corr|x-k7m3"}) == {}
    )
    assert (
        job_records.parse_accounting_reports(load("sacct-ended").text, {"3": "corr|x-k7m2"}) == {}
    )
    assert job_records.parse_queue_reports(load("squeue-many").text, {"2": "other"}) == {}


@pytest.mark.parametrize("name", ["sample_7", "a|b", "new\nline", ""])
@pytest.mark.parametrize("others_first", [False, True])
def test_records_under_another_name(name: str, others_first: bool) -> None:
    """Tasks that renamed themselves are ours by their time; those of an older job are not."""
    row = "9_{}|{}|1:0|0:0|{}|{}|1795451107|1|1|200M|node1|None|{}\n"
    ours = [row.format(0, "COMPLETED", 1795451105, 1795451106, "n-t"),
            row.format(1, "FAILED", 1795451105, 1795451106, name)]  # fmt: skip
    theirs = [row.format(i, "TIMEOUT", 1795400000, 1795400001, "theirs") for i in range(3)]
    text = "".join(theirs + ours if others_first else ours + theirs)
    known = {"9": JobIdentity("9", "n-t", 1795451104, 1795451105)}
    found = job_records.parse_accounting_reports(text, {"9": "n-t"}, None, known)
    assert {i: str(r.state) for (_, i), r in found.items()} == {0: "COMPLETED", 1: "FAILED"}
    steps = job_steps.parse_step_reports(
        "".join(line.replace("|None|", "|None|1M|00:01|") for line in text.split("\x00")),
        {"9": "n-t"}, identities=known,
    )  # fmt: skip
    assert {i: str(r.state) for (_, i), r in steps.items()} == {0: "COMPLETED", 1: "FAILED"}


def test_a_queue_with_a_job_id_of_ours() -> None:
    """Its tasks are ours by their time, or it is not known whose they are."""
    row = "9_{}|RUNNING|0|{}|1795451106|N/A|0|node1|None|sample|\n"
    text = row.format(0, 1795451105) + row.format("[2-3]", 1795459999)
    known = {"9": JobIdentity("9", "n-t", 1795451104, 1795451105)}
    assert set(job_records.parse_queue_reports(text, {"9": "n-t"}, known)) == {("9", 0)}
    assert job_records.parse_other_jobs(text, known) == {("9", 2), ("9", 3)}
    assert job_records.parse_other_jobs(text, {"8": known["9"]}) == frozenset()


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ("32", "café-n6d7"),
        ("33", "日本-n6d7"),
        ("34", "q'uo\"te\\back $(x) `y`-n6d7"),
        ("35", "a,b%[1]*-n6d7"),
        ("36", "n" * 300 + "-n6d7"),
        ("37", "line\nend-n6d7"),
    ],
)
def test_job_names_changed_by_accounting_are_recognised(job: str, name: str) -> None:
    """Accounting replaces quotes and other alphabets, and keeps 255 bytes."""
    queued = [
        row.name
        for row in job_records.parse_squeue_records(load("squeue-names").text)
        if row.job == job
    ]
    kept = [
        row.name
        for row in job_records.parse_sacct_records(load("sacct-names").text)
        if row.job == job
    ]
    assert queued == [name]
    assert job_records.is_same_job_name(name, *kept)
    assert not job_records.is_same_job_name("x" + name, *kept)


# Our job names hold line ends and bars; a third of the records are foreign or malformed.
OURS = {"9": "n-t", "8": "a|b-t", "7": "line\nend-t"}
HEADS = st.builds(
    "{}{}".format,
    st.sampled_from(["9", "8", "7", "6", "99"]),
    st.sampled_from(["_0", "_1", "_2", "_01", "_[1-2]", "_[0,2...%1]", "", "_1.batch", "+0_1"]),
)
NAMES = st.sampled_from([*OURS.values(), "n-t2", "|n-t", "n-t\nx", "n-t\n9_1|||||||||||n-t", "n"])
ENDS = st.sampled_from(["COMPLETED|0:0", "PENDING|0:0", "CANCELLED by 1|0:0", "FAILED|3:0", "X|?"])


@given(
    st.lists(st.tuples(HEADS, ENDS, NAMES), max_size=8),
    st.permutations(range(8)),
    st.integers(0, 30),
)
@example([("9_1", "COMPLETED|0:0", "x|n-t")], [*range(8)], 0)
def test_the_fast_path_gives_the_same_reports(
    records: list[tuple[str, str, str]], submits: list[int], cut: int
) -> None:
    """``pick_task_lines`` only saves time: without it, any answer gives the same reports.

    The newest record of a task counts, an array summary counts least, and records with another
    job name are left out, even if names hold line ends and bars. A cut answer is refused by both.
    """
    text = "".join(
        f"{head}|{end}|{submit}|110|Unknown|0|1|1M|n1|None|{name}\n"
        for (head, end, name), submit in zip(records, submits, strict=False)
    )
    text = text[: len(text) - cut]
    try:
        rows = job_records.parse_sacct_records(text)
    except NoAnswerError:
        with raises_error(NoAnswerError, "unreadable-answer"):
            job_records.parse_accounting_reports(text, OURS)
        return
    rows = [row for row in rows if row.step is None and row.job in OURS]
    rows = [row for row in rows if job_records.is_same_job_name(OURS[row.job], row.name)]
    summaries = [row for row in rows if row.is_array_summary and row.report.state.final]
    own = sorted(
        (r for r in rows if not r.is_array_summary), key=lambda r: r.report.submitted_at or 0
    )
    reports = [
        *((row, replace(row.report, is_array_summary=True)) for row in summaries),
        *((r, r.report) for r in own),
    ]
    expected = {(row.job, i): report for row, report in reports for i in row.indices or ()}
    found = job_records.parse_accounting_reports(text, OURS)
    assert dict(found) == expected
    assert len(found) == len(expected)


def test_peak_memory_is_the_largest_of_the_steps() -> None:
    """MaxRSS is the largest of a task's steps; everything else comes from the task's record."""
    found = job_steps.parse_step_reports(load("sacct-steps").text, CORR)
    assert set(found) == {("2", index) for index in range(9)}
    assert (found["2", 2].max_rss_bytes, found["2", 2].cpu_s) == (58310656, 0.069)
    assert (found["2", 4].max_rss_bytes, found["2", 4].cpu_s) == (69865472, 3.155)
    assert found["2", 6].state is State.TIMEOUT  # its batch step is CANCELLED
    assert found["2", 2].elapsed_s == 5


def test_peak_memory_in_any_order_of_steps() -> None:
    """The largest step counts in any place; a task that has not started has no report."""
    task = "9_1|COMPLETED|0:0|0:0|1|2|3|1|1|1M|n1|None||00:00.500|n\n"
    lines = [f"9_1.{step}|COMPLETED|0:0||2|2|3|1|1||n1||{size}|00:00.1|s\n"
             for step, size in (("batch", "300K"), ("0", "900K"), ("1", "100K"))]  # fmt: skip
    waits = "9_[2-3]|PENDING|0:0|0:0|1|Unknown|Unknown|0|1|1M|None assigned|None||00:00:00|n\n"
    found = job_steps.parse_step_reports("".join((task, *lines, waits)), {"9": "n"})
    assert {task: report.max_rss_bytes for task, report in found.items()} == {("9", 1): 900 << 10}


def test_steps_of_another_job_with_our_id_are_ignored() -> None:
    """Slurm reuses job ids: the other job's records are ignored, before and after ours."""
    ours = ("9_1|COMPLETED|0:0|0:0|5|5|6|1|1|1M|n1|None||00:00.500|n\n",
            "9_1.batch|COMPLETED|0:0||5|5|6|1|1||n1||300K|00:00.1|batch\n")  # fmt: skip
    other = ("9_1|COMPLETED|0:0|0:0|7|8|9|1|1|9M|n1|None||00:09.000|x\n",
             "9_1.batch|COMPLETED|0:0||8|8|9|1|1||n1||900K|00:09.0|batch\n")  # fmt: skip
    for text in ("".join(ours + other), "".join(other + ours)):
        found = job_steps.parse_step_reports(text, {"9": "n"})
        assert found["9", 1].max_rss_bytes == 300 << 10
        assert found["9", 1].cpu_s == 0.5


def test_an_empty_answer_is_valid() -> None:
    """An unknown job id gives no records and exit code 0."""
    assert load("sacct-unknown").done.returncode == 0
    assert job_records.parse_accounting_reports(load("sacct-unknown").text, CORR) == {}
    assert job_records.parse_queue_reports(load("squeue-forgotten-two").text, CORR) == {}


# -- the queue -------------------------------------------------------------------------------


def test_the_queue_reports_each_pending_index() -> None:
    """Each index of a record gets a report with the reason it waits for."""
    names = {"3": "later-b3q9", "4": "held-c4w8", "6": "long-e6t6", "7": "throttled-f7y5"}
    found = job_records.parse_queue_reports(load("squeue-many").text, names)
    assert [index for job, index in found if job == "4"] == [0, 4, 8, 12, 16, 20, 100]
    assert len([index for job, index in found if job == "6"]) == 30
    assert found["4", 100].reason == "JobHeldUser"
    assert found["7", 98].reason == "JobArrayTaskLimit"
    assert found["7", 98].state is State.PENDING
    assert found["3", 5].started_at is None  # squeue prints the expected start
    assert (found["7", 14].state, found["7", 14].node) == (State.RUNNING, "node3")
    assert found["7", 14].ended_at is None  # squeue prints the latest possible end
    assert sorted(index for job, index in found if job == "7") == list(range(0, 99, 7))


def test_completing_and_requeued_tasks_in_the_queue() -> None:
    """COMPLETING is a state of its own; a requeued task is pending and has a restart."""
    found = job_records.parse_queue_reports(
        load("squeue-leaving").text, {**CORR, "7": "throttled-f7y5"}
    )
    ending = {task for task, report in found.items() if report.state is State.COMPLETING}
    assert ending == found.keys() - {("2", 6)} == {("7", 0), ("7", 7), ("7", 14)}
    assert found["7", 0].word == "COMPLETING"
    requeued = job_records.parse_queue_reports(load("squeue-requeued").text, {"19": "req-g8u4"})
    assert [requeued["19", i].restarts for i in range(4)] == [0, 1, 0, 1]
    assert requeued["19", 3].reason == "job requeued in held state"
    assert requeued["19", 2].state is State.SUSPENDED
    failed = job_records.parse_queue_reports(load("squeue-node-failed").text, {"29": "nfr-l4a9"})
    assert failed["29", 0].reason == "ReqNodeNotAvail, UnavailableNodes:node4"


def test_ended_tasks_in_the_queue() -> None:
    """With --states=all: state, exit code and signal, as long as the controller remembers them."""
    found = job_records.parse_queue_reports(
        load("squeue-ended").text, {**CORR, "7": "throttled-f7y5"}
    )
    ends = {i: (found["2", i].exit_code, found["2", i].signal) for i in (0, 1, 3, 5, 7)}
    assert ends == {0: (0, None), 1: (3, None), 3: (0, 125), 5: (200, None), 7: (0, 9)}
    assert found["2", 3].state is State.OUT_OF_MEMORY
    assert found["2", 1].reason == "NonZeroExitCode"
    assert found["2", 2].ended_at == 1795451111
    assert {found["7", i].state for i in range(0, 99, 7)} == {State.CANCELLED}
    names = {"28": "nf-k3p1", "29": "nfr-l4a9"}
    failed = job_records.parse_queue_reports(load("squeue-node-failed-ended").text, names)
    assert failed["28", 1].state is State.NODE_FAIL
    other = load("squeue-ended").text.replace("|768|", "|3:|")  # a form that no release prints
    assert job_records.parse_queue_reports(other, CORR)["2", 1].signal is None


@pytest.mark.parametrize("name", ["squeue-cut", "squeue-cut-20"])
def test_cut_indices_in_the_queue_raise_no_answer(name: str) -> None:
    """A cut record makes the absence of a task meaningless, so it is no answer."""
    with raises_error(NoAnswerError, "unreadable-answer", job="6"):
        job_records.parse_queue_reports(load(name).text, {"6": "long-e6t6"})
    rows = job_records.parse_squeue_records(load(name).text)
    assert [row.indices_complete for row in rows] == [False]
    certain = (
        [1, 3, 4, 5, 9, 15, 26, 32, 33, 35, 38] if name == "squeue-cut" else [1, 3, 4, 5, 9, 15, 26]
    )
    assert list(rows[0].indices or ()) == certain


# -- finding a job by its token --------------------------------------------------------------


def test_find_a_token_in_the_queue() -> None:
    """Indices and throttle are complete while the controller cannot have forgotten a task."""
    rows = job_records.parse_squeue_records(load("squeue-many").text)
    young, old = 1795451105 - 1, 1795451105 + 1
    found = find_job.find_in_queue(rows, "f7y5", young)
    assert found is not None
    assert (found.job, str(found.array)) == ("7", "0-98:7%3")
    aged = find_job.find_in_queue(rows, "f7y5", old)
    assert aged is not None
    assert (aged.job, aged.array) == ("7", None)
    waiting = find_job.find_in_queue(rows, "b3q9", old)
    assert waiting is not None
    assert (waiting.job, str(waiting.array)) == ("3", "1,5-9%2")
    assert find_job.find_in_queue(rows, "nope", young) is None


def test_a_cut_record_gives_the_job_without_indices() -> None:
    """An incomplete array would lose slices."""
    found = find_job.find_in_queue(
        job_records.parse_squeue_records(load("squeue-cut").text), "e6t6", 0
    )
    assert found is not None
    assert (found.job, found.array) == ("6", None)


def test_a_cancelled_array_is_found_without_its_indices() -> None:
    """The controller soon keeps only ``35|CANCELLED`` of it (seen)."""
    rows = job_records.parse_squeue_records(load("squeue-ghost").text)
    found = find_job.find_in_queue([row for row in rows if row.job == "35"], "n6d7", 0)
    assert found is not None
    assert (found.job, found.array) == ("35", None)


def test_a_task_that_failed_at_once_was_not_refused() -> None:
    """It failed in the second of its submission, but it had a node."""
    row = "9_1|FAILED|1:0|0:0|100|100|100|0|1|1M|n1|None|n-tok\n"
    sighting = find_job.find_in_accounting(job_records.parse_sacct_records(row), "tok")
    assert sighting is not None
    assert sighting.job == "9"


def test_the_first_of_two_jobs_with_a_token_counts() -> None:
    """A script submitted twice by hand: the first job owns the claim."""
    rows = [
        f"{job}_[0-1]|PENDING|0|{at}|N/A|N/A|0||None|n-tok|\n" for job, at in ((11, 7), (12, 5))
    ]
    sighting = find_job.find_in_queue(job_records.parse_squeue_records("".join(rows)), "tok", 0)
    assert sighting is not None
    assert sighting.job == "12"


# -- the cluster -----------------------------------------------------------------------------


def test_parse_config_and_partitions() -> None:
    """Settings as scontrol prints them; name, default, state and limits of partitions."""
    settings = cluster_records.parse_config(load("config").text)
    wanted = {"MaxArraySize": "1001", "ClusterName": "slurmslice", "SLURM_VERSION": "22.05.8",
              "MinJobAge": "60 sec", "SelectTypeParameters": "CR_CPU_MEMORY"}  # fmt: skip
    assert wanted.items() <= settings.items()
    assert cluster_records.default_memory(settings) == (100, "cpu")
    assert find_job.parse_seconds(settings["MinJobAge"]) == 60
    assert cluster_records.parse_partitions(load("partitions").text) == [
        cluster_records.Partition("main", True, "UP", None, None, node_count=4),
        cluster_records.Partition("scavenge", False, "UP", None, None, node_count=4),
        cluster_records.Partition("short", False, "UP", 300, None, node_count=4),
    ]


def test_parse_nodes() -> None:
    """CPUs and memory, in all and free; a node that is down is not usable."""
    busy = cluster_records.parse_nodes(load("sinfo-busy").text)
    assert busy[0] == cluster_records.Node("node1", "main", True, 4, 1, 4000, 1900, 4)
    assert len(busy) == 12
    down = [n for n in cluster_records.parse_nodes(load("sinfo-node-down").text) if not n.usable]
    assert {(node.name, node.cpus) for node in down} == {("node4", 0)}


@pytest.mark.parametrize(
    ("state", "usable"),
    [("idle", True), ("mixed-", True), ("idle~", True), ("allocated#", True), ("planned", True),
     ("completing", True), ("idle*", False), ("maint", False), ("idle$", False), ("drained", False),
     ("draining", False), ("down", False), ("reserved", False), ("unknown", False)],
)  # fmt: skip
def test_usable_nodes(state: str, usable: bool) -> None:
    """A usable node runs jobs now, or after it was powered up (sinfo(1), NODE STATE CODES)."""
    assert cluster_records.parse_nodes(f"n1|p|{state}|0/4/0/4|100|0|\n")[0].usable is usable


RESERVATION = (
    "ReservationName={name} StartTime={at} EndTime=9999 Nodes={nodes} Flags={flags} Users=root"
)


def test_parse_maintenances() -> None:
    """The next one first; other reservations, and none at all, are no maintenance."""
    lines = [
        RESERVATION.format(name="b", at=2000, nodes="n[1-4]", flags="MAINT,SPEC_NODES,ALL_NODES"),
        RESERVATION.format(name="c", at=500, nodes="n[1-4]", flags="SPEC_NODES"),
        RESERVATION.format(name="a", at=1000, nodes="n1", flags="IGNORE_JOBS,MAINT"),
    ]
    found = cluster_records.parse_maintenances("\n".join(lines) + "\n")
    assert found == [
        cluster_records.Maintenance(1000, "n1"),
        cluster_records.Maintenance(2000, "n[1-4]"),
    ]
    assert cluster_records.parse_maintenances("No reservations in the system\n") == []


# -- any text --------------------------------------------------------------------------------

PARSERS: list[Callable[[str], Any]] = [
    lambda text: job_records.parse_accounting_reports(text, {"9": "n"}),
    lambda text: job_records.parse_queue_reports(text, {"9": "n"}),
    lambda text: job_steps.parse_step_reports(text, {"9": "n"}),
    lambda text: find_job.find_in_queue(job_records.parse_squeue_records(text), "n", 0),
    cluster_records.parse_config,
    cluster_records.parse_partitions,
    cluster_records.parse_nodes,
    cluster_records.parse_maintenances,
]
WORDS = st.sampled_from(
    ["9", "_", "[", "]", "0-5", ":", "%", "...", ",", "|", "PENDING", "COMPLETED", "3:0", "\n", "n",
     "99999999999999999999", "١", ".batch", "Unknown", "1.5G", "1-00:00:01", "node[1-2]", "=", " ",
     "MaxArraySize", "PartitionName=x", "\x00", "\udcff", "4/0/0/4", "-1"]
)  # fmt: skip
FIELDS = st.lists(st.lists(WORDS, max_size=4).map("".join), min_size=9, max_size=16).map("|".join)


@given(st.one_of(st.text(), st.lists(FIELDS).map("\n".join), st.lists(WORDS).map("".join)))
def test_any_text_gives_records_or_no_answer(text: str) -> None:
    """Garbage gives no other exception and no state (promise 5)."""
    for parse in PARSERS:
        try:
            parse(text)
        except NoAnswerError:
            continue


@pytest.mark.parametrize(
    "name",
    ["sacct-many", "squeue-many", "sacct-steps", "squeue-names", "sinfo", "partitions", "config"],
)
@given(data=st.data())
def test_a_damaged_answer_gives_records_or_no_answer(name: str, data: st.DataObject) -> None:
    """A recorded answer with a piece removed or added is parsed or refused."""
    text = load(name).text
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    damaged = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    for parse in PARSERS:
        try:
            parse(damaged)
        except NoAnswerError:
            continue


@pytest.mark.parametrize("name", ["sacct-cancelled", "squeue-many"])
def test_a_cut_answer_gives_no_other_reports(name: str) -> None:
    """Cut at any byte, an answer is refused, or gives some of the reports of the whole answer.

    One exception is marked ``is_array_summary``: an outdated summary before a task's own record.
    """
    text = load(name).text
    parse: Callable[..., Any] = (
        job_records.parse_accounting_reports if "sacct" in name else job_records.parse_queue_reports
    )
    rows = (
        job_records.parse_sacct_records(text)
        if "sacct" in name
        else job_records.parse_squeue_records(text)
    )
    names = {row.job: row.name for row in rows if row.step is None}
    whole, answered = parse(text, names), 0
    assert len(whole) > 20
    for cut in range(len(text)):
        try:
            found = parse(text[:cut], names)
        except NoAnswerError:
            continue
        answered += 1
        assert cut == 0 or text[cut - 1] == "\n"
        for task, report in found.items():
            assert report == whole[task] or report.is_array_summary, (cut, task)
    assert answered == text.count("\n")


def test_too_many_indices_raise_no_answer() -> None:
    """They would only fill the memory."""
    for text in ("0-99999999", "0-9,0-99999998"):
        with raises_error(NoAnswerError, "unreadable-answer"):
            job_records.parse_queue_reports(
                f"9_[{text}]|PENDING|0|1|N/A|N/A|0||None|n|\n", {"9": "n"}
            )


# -- fields ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cpus", "size"),
    [("200M", 1, 200 << 20), ("4000Mc", 4, 16000 << 20), ("4000Mn", 4, 4000 << 20),
     ("1.50G", 1, 1536 << 20), ("4505600", 1, 4505600), ("0", 1, None), ("", 1, None),
     ("16?", 1, None), ("18446744073709551614M", 1, None), ("512Kc", None, 512 << 10)],
)  # fmt: skip
def test_parse_size(text: str, cpus: int | None, size: int | None) -> None:
    """Plain bytes, units, the suffixes of 20.11; the huge number printed by 22.05 is None."""
    assert fields.parse_size(text, cpus) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:03.155", 3.155), ("01:02:03", 3723), ("2-00:00:01", 172801), ("00:00:00", 0),
     ("", None), ("INVALID", None), ("1", None)],
)  # fmt: skip
def test_parse_clock(text: str, seconds: float | None) -> None:
    """TotalCPU is MM:SS.mmm or [D-]HH:MM:SS (sacct(1))."""
    assert fields.parse_clock(text) == seconds


@pytest.mark.parametrize(
    ("text", "node"),
    [("n1", "n1"), ("n[03-05,9]", "n03"), ("n[1-2]-ib,m3", "n1-ib"), ("a,b", "a"),
     ("None assigned", None), ("(null)", None), ("", None)],
)  # fmt: skip
def test_first_node(text: str, node: str | None) -> None:
    """The first node of Slurm's host list; texts such as ``None assigned`` are None."""
    assert fields.first_node(text) == node


def test_parse_job_info() -> None:
    """Name, script path and numeric arguments of a job; garbage is refused."""
    known = find_job.parse_job_info(load("job").text, "#!/bin/bash\n", (), 0)
    assert (known.name, known.command, known.arguments) == ("t.sh", "/home/ada/t.sh", ("002", "60"))
    other = find_job.parse_job_info(load("job").text.replace("002 60", "002 foo"), None, (), 0)
    assert (other.command, other.arguments) == ("/home/ada/t.sh 002 foo", ())
    with raises_error(NoAnswerError, "unreadable-answer"):
        find_job.parse_job_info("No jobs in the system", None, (), 0)


def test_a_partly_forgotten_job_has_no_array() -> None:
    """Tasks that ended long ago are gone from the queue; the others are not the whole array."""
    rows = [
        row for row in job_records.parse_squeue_records(load("squeue-many").text) if row.job == "7"
    ]
    young, old = 1795451105 - 1, 1795451105 + 1
    assert str(find_job.parse_job_info(load("job").text, None, rows, young).array) == "0-98:7%3"
    assert find_job.parse_job_info(load("job").text, None, rows, old).array is None
