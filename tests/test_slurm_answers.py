"""What Slurm answered, on paper: each expectation was written by hand from the recorded text."""

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
from slurmslice.errors import NoAnswer
from slurmslice.evidence import TaskReport
from slurmslice.states import State
from tests.recorded import load

CORR = {"2": "corr|x-k7m2"}


# -- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("PENDING", State.PENDING),
        ("CANCELLED by 65534", State.CANCELLED),
        ("CANCELLED", State.CANCELLED),
        ("OUT_OF_MEMORY", State.OUT_OF_MEMORY),
        ("COMPLETING", State.RUNNING),
        ("STAGE_OUT", State.RUNNING),
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
def test_slurms_words(word: str, state: State) -> None:
    """Base states are themselves; flags are what they mean for a task (squeue(1))."""
    assert job_states.parse_state(word) is state


@pytest.mark.parametrize(
    "word", ["", "REVOKED", "LAUNCH_FAILED", "completed", "WAITING", "COMPLE+"]
)
def test_an_unknown_word_is_unknown_and_not_final(word: str) -> None:
    """A word of a newer release makes nothing final (promise 5); our own words are not Slurm's."""
    assert job_states.parse_state(word) is State.UNKNOWN
    assert not job_states.parse_state(word).final


# -- accounting ------------------------------------------------------------------------------


def test_accounting_tells_how_tasks_ended() -> None:
    """States, exit codes, signals, times, memory and node of ended tasks, name with ``|``."""
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
    assert (found["2", 5].exit_code, found["2", 5].exit_code_truncated) == (
        72,
        True,
    )  # it was exit 200
    assert found["2", 6].elapsed_s == 81


def test_accounting_leaves_the_unstarted_to_the_queue() -> None:
    """A pending record is not expanded: it may be cut, and an old one (``4_8`` is cancelled)."""
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


def test_accounting_says_when_the_unstarted_were_cancelled() -> None:
    """The record ``X_[…]`` that has ended stands for every task that has no row of its own."""
    names = {"4": "held-c4w8", "7": "throttled-f7y5"}
    found = job_records.parse_accounting_reports(load("sacct-cancelled").text, names)
    assert {report.state for report in found.values()} == {State.CANCELLED}
    assert [index for job, index in found if job == "4"] == [0, 4, 12, 16, 20, 100]
    assert sorted(index for job, index in found if job == "7") == list(range(0, 99, 7))
    assert found["7", 14].node == "node3"
    assert found["7", 21].node is None
    assert found["7", 21].word == "CANCELLED by 65534"


def test_a_tasks_own_row_outranks_the_record_of_the_unstarted() -> None:
    """An old expression may still name a task that ran: its row counts (promise 6)."""
    rest = "9_[0-3]|CANCELLED by 1|0:0|0:0|100|None|200|0|1|1M|None assigned|None|n-t\n"
    ran = "9_2|COMPLETED|0:0|0:0|100|110|120|10|1|1M|n1|None|n-t\n"
    for text in (rest + ran, ran + rest):
        found = job_records.parse_accounting_reports(text, {"9": "n-t"})
        assert found["9", 2].state is State.COMPLETED
        assert found["9", 3].state is State.CANCELLED
        assert (found["9", 2].is_array_summary, found["9", 3].is_array_summary) == (False, True)


def test_of_a_cut_record_only_the_certain_is_told() -> None:
    """The last index before ``...`` may be half a number: it is not told."""
    text = "9_[1,3-5,9,15,26,32...%4]|CANCELLED by 1|0:0|0:0|100|None|200|0|1|1M|n|None|n-t\n"
    found = job_records.parse_accounting_reports(text, {"9": "n-t"})
    assert [index for _, index in found] == [1, 3, 4, 5, 9, 15, 26]
    assert (
        job_records.parse_accounting_reports(text.replace("1,3-5,9,15,26,32", "12"), {"9": "n-t"})
        == {}
    )


def test_the_newest_run_of_a_task_counts() -> None:
    """Of several rows of a task the one with the latest Submit counts, in whatever order."""
    first, _, again = load("sacct-preempted-every-run").text.strip().split("\n")
    assert first.startswith("23_0|PREEMPTED")
    assert again.startswith("23_0|PENDING")
    for rows in ([first, again], [again, first]):
        found = job_records.parse_accounting_reports(
            "".join(f"{row}\n" for row in rows), {"23": "pre-h9i3"}
        )
        assert found["23", 0].state is State.PENDING


def test_requeued_preempted_and_failed_nodes() -> None:
    """What Slurm itself starts again is pending in accounting; what it does not is final."""
    requeued = job_records.parse_accounting_reports(load("sacct-requeued").text, {"19": "req-g8u4"})
    assert {i: str(r.state) for (_, i), r in requeued.items()} == {
        0: "RUNNING", 1: "RUNNING", 2: "SUSPENDED", 3: "PENDING",
    }  # fmt: skip
    assert (requeued["19", 1].reason, requeued["19", 3].reason) == ("", "JobHeldUser")
    names = {"28": "nf-k3p1", "29": "nfr-l4a9"}
    failed = job_records.parse_accounting_reports(load("sacct-node-failed").text, names)
    assert [str(failed[j, 0].state) for j in names] == ["NODE_FAIL", "PENDING"]


def test_rows_of_others_are_left_out() -> None:
    """Job ids are used again: a row under another name is not ours."""
    assert (
        job_records.parse_accounting_reports(load("sacct-ended").text, {"2": "corr|x-k7m3"}) == {}
    )
    assert (
        job_records.parse_accounting_reports(load("sacct-ended").text, {"3": "corr|x-k7m2"}) == {}
    )
    assert job_records.parse_queue_reports(load("squeue-many").text, {"2": "other"}) == {}


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
def test_names_as_accounting_keeps_them_are_known_again(job: str, name: str) -> None:
    """Accounting changes quotes and other alphabets, and cuts at 255 bytes."""
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


# Ours have names with a line end and with bars; a third of the rows are another's, or odd.
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
def test_common_lines_say_what_careful_reading_says(
    records: list[tuple[str, str, str]], submits: list[int], cut: int
) -> None:
    """Telling common lines apart is a short cut: any answer says the same without it.

    Of the rows of a task the newest counts, the record of the unstarted counts least; rows under
    another name are left out, names with line ends and bars included; what is cut is refused or
    known as such by both.
    """
    text = "".join(
        f"{head}|{end}|{submit}|110|Unknown|0|1|1M|n1|None|{name}\n"
        for (head, end, name), submit in zip(records, submits, strict=False)
    )
    text = text[: len(text) - cut]
    try:
        rows = job_records.parse_sacct_records(text)
    except NoAnswer:
        with pytest.raises(NoAnswer):
            job_records.parse_accounting_reports(text, OURS)
        return
    rows = [row for row in rows if row.step is None and row.job in OURS]
    rows = [row for row in rows if job_records.is_same_job_name(OURS[row.job], row.name)]
    rest = [row for row in rows if row.is_array_summary and row.report.state.final]
    own = sorted(
        (r for r in rows if not r.is_array_summary), key=lambda r: r.report.submitted_at or 0
    )
    told = [
        *((row, replace(row.report, is_array_summary=True)) for row in rest),
        *((r, r.report) for r in own),
    ]
    said = {(row.job, i): report for row, report in told for i in row.indices or ()}
    found = job_records.parse_accounting_reports(text, OURS)
    assert dict(found) == said
    assert len(found) == len(said)


def test_measures_are_the_most_of_the_steps() -> None:
    """MaxRSS is the largest of a task's steps, CPU time the job's; the rest is the job's row."""
    found = job_steps.parse_step_reports(load("sacct-steps").text, CORR)
    assert set(found) == {("2", index) for index in range(9)}
    assert (found["2", 2].max_rss_bytes, found["2", 2].cpu_s) == (58310656, 0.069)
    assert (found["2", 4].max_rss_bytes, found["2", 4].cpu_s) == (69865472, 3.155)
    assert found["2", 6].state is State.TIMEOUT  # its batch step says CANCELLED
    assert found["2", 2].elapsed_s == 5


def test_measures_whatever_the_order_and_of_what_ran() -> None:
    """The largest step counts, wherever it stands; what has not started has no measures."""
    task = "9_1|COMPLETED|0:0|0:0|1|2|3|1|1|1M|n1|None||00:00.500|n\n"
    lines = [f"9_1.{step}|COMPLETED|0:0||2|2|3|1|1||n1||{size}|00:00.1|s\n"
             for step, size in (("batch", "300K"), ("0", "900K"), ("1", "100K"))]  # fmt: skip
    waits = "9_[2-3]|PENDING|0:0|0:0|1|Unknown|Unknown|0|1|1M|None assigned|None||00:00:00|n\n"
    found = job_steps.parse_step_reports("".join((task, *lines, waits)), {"9": "n"})
    assert {task: report.max_rss_bytes for task, report in found.items()} == {("9", 1): 900 << 10}


def test_measures_of_another_job_with_our_id_are_not_ours() -> None:
    """Ids are used again: neither its row nor its steps count, before ours or after it."""
    ours = ("9_1|COMPLETED|0:0|0:0|5|5|6|1|1|1M|n1|None||00:00.500|n\n",
            "9_1.batch|COMPLETED|0:0||5|5|6|1|1||n1||300K|00:00.1|batch\n")  # fmt: skip
    other = ("9_1|COMPLETED|0:0|0:0|7|8|9|1|1|9M|n1|None||00:09.000|x\n",
             "9_1.batch|COMPLETED|0:0||8|8|9|1|1||n1||900K|00:09.0|batch\n")  # fmt: skip
    for text in ("".join(ours + other), "".join(other + ours)):
        found = job_steps.parse_step_reports(text, {"9": "n"})
        assert found["9", 1].max_rss_bytes == 300 << 10
        assert found["9", 1].cpu_s == 0.5


def test_an_empty_answer_is_an_answer() -> None:
    """No row is what an unknown id gets, exit 0."""
    assert load("sacct-unknown").done.returncode == 0
    assert job_records.parse_accounting_reports(load("sacct-unknown").text, CORR) == {}
    assert job_records.parse_queue_reports(load("squeue-forgotten-two").text, CORR) == {}


# -- the queue -------------------------------------------------------------------------------


def test_the_queue_expands_the_unstarted() -> None:
    """A report for every index of a record, with the reason that it waits for."""
    names = {"3": "later-b3q9", "4": "held-c4w8", "6": "long-e6t6", "7": "throttled-f7y5"}
    found = job_records.parse_queue_reports(load("squeue-many").text, names)
    assert [index for job, index in found if job == "4"] == [0, 4, 8, 12, 16, 20, 100]
    assert len([index for job, index in found if job == "6"]) == 30
    assert found["4", 100].reason == "JobHeldUser"
    assert found["7", 98].reason == "JobArrayTaskLimit"
    assert found["7", 98].state is State.PENDING
    assert found["3", 5].started_at is None  # squeue prints when it may start
    assert (found["7", 14].state, found["7", 14].node) == (State.RUNNING, "node3")
    assert found["7", 14].ended_at is None  # squeue prints when it must end
    assert sorted(index for job, index in found if job == "7") == list(range(0, 99, 7))


def test_the_queue_tells_what_is_leaving_and_what_comes_back() -> None:
    """COMPLETING is leaving; a requeued task is pending with a restart counted."""
    found = job_records.parse_queue_reports(
        load("squeue-leaving").text, {**CORR, "7": "throttled-f7y5"}
    )
    assert {task: report.completing for task, report in found.items()} == {
        ("7", 0): True, ("7", 7): True, ("7", 14): True, ("2", 6): False,
    }  # fmt: skip
    assert found["7", 0].word == "COMPLETING"
    requeued = job_records.parse_queue_reports(load("squeue-requeued").text, {"19": "req-g8u4"})
    assert [requeued["19", i].restarts for i in range(4)] == [0, 1, 0, 1]
    assert requeued["19", 3].reason == "job requeued in held state"
    assert requeued["19", 2].state is State.SUSPENDED
    failed = job_records.parse_queue_reports(load("squeue-node-failed").text, {"29": "nfr-l4a9"})
    assert failed["29", 0].reason == "ReqNodeNotAvail, UnavailableNodes:node4"


def test_the_queue_tells_how_tasks_ended_while_it_remembers() -> None:
    """With --states=all: state, and exit code and signal as wait(2) gave them."""
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
    other = load("squeue-ended").text.replace("|768|", "|3:|")  # should a release write it so
    assert job_records.parse_queue_reports(other, CORR)["2", 1].signal is None


@pytest.mark.parametrize("name", ["squeue-cut", "squeue-cut-20"])
def test_a_cut_queue_is_no_answer(name: str) -> None:
    """A task's absence must mean something: a record that is cut short is no answer."""
    with pytest.raises(NoAnswer, match="job 6"):
        job_records.parse_queue_reports(load(name).text, {"6": "long-e6t6"})
    rows = job_records.parse_squeue_records(load(name).text)
    assert [row.indices_complete for row in rows] == [False]
    certain = (
        [1, 3, 4, 5, 9, 15, 26, 32, 33, 35, 38] if name == "squeue-cut" else [1, 3, 4, 5, 9, 15, 26]
    )
    assert list(rows[0].indices or ()) == certain


# -- looking for a token ---------------------------------------------------------------------


def test_a_token_is_found_in_the_queue() -> None:
    """With all of its indices and its throttle, while nothing of it can have been forgotten."""
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


def test_a_cut_record_tells_the_job_and_no_indices() -> None:
    """Half of the indices would leave slices behind."""
    found = find_job.find_in_queue(
        job_records.parse_squeue_records(load("squeue-cut").text), "e6t6", 0
    )
    assert found is not None
    assert (found.job, found.array) == ("6", None)


def test_a_cancelled_array_is_found_without_its_indices() -> None:
    """The controller soon keeps no more than ``35|CANCELLED`` of it (seen)."""
    rows = job_records.parse_squeue_records(load("squeue-ghost").text)
    found = find_job.find_in_queue([row for row in rows if row.job == "35"], "n6d7", 0)
    assert found is not None
    assert (found.job, found.array) == ("35", None)


def test_a_task_that_failed_at_once_is_no_ghost() -> None:
    """It failed in the second in which it was submitted, but it had a node."""
    row = "9_1|FAILED|1:0|0:0|100|100|100|0|1|1M|n1|None|n-tok\n"
    sighting = find_job.find_in_accounting(job_records.parse_sacct_records(row), "tok")
    assert sighting is not None
    assert sighting.job == "9"


def test_of_two_jobs_with_a_token_the_first_is_taken() -> None:
    """A script that was sent twice by hand: the first one owns the claim."""
    rows = [
        f"{job}_[0-1]|PENDING|0|{at}|N/A|N/A|0||None|n-tok|\n" for job, at in ((11, 7), (12, 5))
    ]
    sighting = find_job.find_in_queue(job_records.parse_squeue_records("".join(rows)), "tok", 0)
    assert sighting is not None
    assert sighting.job == "12"


# -- the cluster -----------------------------------------------------------------------------


def test_config_and_partitions() -> None:
    """Settings as scontrol writes them; default, limit and state of partitions."""
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


def test_nodes() -> None:
    """CPUs and memory, used and free; a node that is down is not usable."""
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
    """sinfo(1), NODE STATE CODES: what takes jobs, now or once it was powered up."""
    assert cluster_records.parse_nodes(f"n1|p|{state}|0/4/0/4|100|0|\n")[0].usable is usable


# -- any text --------------------------------------------------------------------------------

PARSERS: list[Callable[[str], Any]] = [
    lambda text: job_records.parse_accounting_reports(text, {"9": "n"}),
    lambda text: job_records.parse_queue_reports(text, {"9": "n"}),
    lambda text: job_steps.parse_step_reports(text, {"9": "n"}),
    lambda text: find_job.find_in_queue(job_records.parse_squeue_records(text), "n", 0),
    cluster_records.parse_config,
    cluster_records.parse_partitions,
    cluster_records.parse_nodes,
]
WORDS = st.sampled_from(
    ["9", "_", "[", "]", "0-5", ":", "%", "...", ",", "|", "PENDING", "COMPLETED", "3:0", "\n", "n",
     "99999999999999999999", "١", ".batch", "Unknown", "1.5G", "1-00:00:01", "node[1-2]", "=", " ",
     "MaxArraySize", "PartitionName=x", "\x00", "\udcff", "4/0/0/4", "-1"]
)  # fmt: skip
FIELDS = st.lists(st.lists(WORDS, max_size=4).map("".join), min_size=9, max_size=16).map("|".join)


@given(st.one_of(st.text(), st.lists(FIELDS).map("\n".join), st.lists(WORDS).map("".join)))
def test_any_text_gives_records_or_no_answer(text: str) -> None:
    """Garbage is no information: never another exception, never a state (promise 5)."""
    for parse in PARSERS:
        try:
            parse(text)
        except NoAnswer:
            continue


@pytest.mark.parametrize(
    "name",
    ["sacct-many", "squeue-many", "sacct-steps", "squeue-names", "sinfo", "partitions", "config"],
)
@given(data=st.data())
def test_a_damaged_answer_gives_records_or_no_answer(name: str, data: st.DataObject) -> None:
    """A real answer with a piece cut out or put in is read or refused."""
    text = load(name).text
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    damaged = text[:start] + data.draw(st.text(max_size=5)) + text[end:]
    for parse in PARSERS:
        try:
            parse(damaged)
        except NoAnswer:
            continue


@pytest.mark.parametrize("name", ["sacct-cancelled", "squeue-many"])
def test_of_a_cut_answer_nothing_is_told_that_is_not_in_the_whole(name: str) -> None:
    """Cut at any byte: no answer, or fewer tasks of which each is told as in the whole answer.

    One exception is marked: a record of the rest whose expression is old, before a task's own.
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
        except NoAnswer:
            continue
        answered += 1
        assert cut == 0 or text[cut - 1] == "\n"
        for task, report in found.items():
            assert report == whole[task] or report.is_array_summary, (cut, task)
    assert answered == text.count("\n")


def test_indices_beyond_any_array_are_no_answer() -> None:
    """They would only fill the memory."""
    for text in ("0-99999999", "0-9,0-99999998"):
        with pytest.raises(NoAnswer):
            job_records.parse_queue_reports(
                f"9_[{text}]|PENDING|0|1|N/A|N/A|0||None|n|\n", {"9": "n"}
            )


# -- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "cpus", "size"),
    [("200M", 1, 200 << 20), ("4000Mc", 4, 16000 << 20), ("4000Mn", 4, 4000 << 20),
     ("1.50G", 1, 1536 << 20), ("4505600", 1, 4505600), ("0", 1, None), ("", 1, None),
     ("16?", 1, None), ("18446744073709551614M", 1, None), ("512Kc", None, 512 << 10)],
)  # fmt: skip
def test_sizes(text: str, cpus: int | None, size: int | None) -> None:
    """Plain bytes, units, 20.11's suffixes; the huge number that 22.05 prints is none."""
    assert fields.parse_size(text, cpus) == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:03.155", 3.155), ("01:02:03", 3723), ("2-00:00:01", 172801), ("00:00:00", 0),
     ("", None), ("INVALID", None), ("1", None)],
)  # fmt: skip
def test_clocks(text: str, seconds: float | None) -> None:
    """TotalCPU is MM:SS.mmm or [D-]HH:MM:SS (sacct(1))."""
    assert fields.parse_clock(text) == seconds


@pytest.mark.parametrize(
    ("text", "node"),
    [("n1", "n1"), ("n[03-05,9]", "n03"), ("n[1-2]-ib,m3", "n1-ib"), ("a,b", "a"),
     ("None assigned", None), ("(null)", None), ("", None)],
)  # fmt: skip
def test_first_nodes(text: str, node: str | None) -> None:
    """The first of Slurm's host list; the words for none are none."""
    assert fields.first_node(text) == node


def test_what_a_job_is() -> None:
    """Its name, its script's path and the numbers that it was given; garbage is no job."""
    known = find_job.parse_job_info(load("job").text, "#!/bin/bash\n", (), 0)
    assert (known.name, known.command, known.arguments) == ("t.sh", "/home/ada/t.sh", ("002", "60"))
    other = find_job.parse_job_info(load("job").text.replace("002 60", "002 foo"), None, (), 0)
    assert (other.command, other.arguments) == ("/home/ada/t.sh 002 foo", ())
    with pytest.raises(NoAnswer):
        find_job.parse_job_info("No jobs in the system", None, (), 0)


def test_what_of_a_job_may_be_forgotten_is_not_its_array() -> None:
    """Tasks that ended long ago are no longer in the queue: the rest is not all that it carries."""
    rows = [
        row for row in job_records.parse_squeue_records(load("squeue-many").text) if row.job == "7"
    ]
    young, old = 1795451105 - 1, 1795451105 + 1
    assert str(find_job.parse_job_info(load("job").text, None, rows, young).array) == "0-98:7%3"
    assert find_job.parse_job_info(load("job").text, None, rows, old).array is None
