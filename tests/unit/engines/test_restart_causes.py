"""The cause of a restart: accounting is asked for it once, and only if a task waits for one."""

from __future__ import annotations

from typing import Any, cast

import pytest

from slurmslice.engines.slurm.client import SlurmClient
from slurmslice.engines.slurm.job_records import restarted_seconds
from slurmslice.engines.slurm.restart_causes import RestartCauses
from slurmslice.errors import NoAnswerError
from slurmslice.status.exit_reason import state_reason
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State

OURS = {"7": JobIdentity("7", "x-k7m2")}
ROW = "7_{index}|{state}|0:0|0:0|1796000000|{start}|{end}|60|1|4G|n3|None|{name}\n"


class FakeClient:
    """A client that answers with rows of sacct."""

    clusters = None
    accounting_off = False

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.asked: list[tuple[str, ...]] = []

    def query(self, argv: tuple[str, ...]) -> str:
        self.asked.append(argv)
        if self.text is None:
            raise NoAnswerError("sacct did not answer in time.")
        return self.text


def row(state: str, minute: int, index: int = 3, name: str = "x-k7m2") -> str:
    times = (str(1796000000 + 60 * one) for one in (minute, minute + 1))
    start, end = ("Unknown", "Unknown") if state == "PENDING" else times
    return ROW.format(state=state, index=index, start=start, end=end, name=name)


def waiting(restarts: int = 1, **given: Any) -> dict[tuple[str, int], TaskReport]:
    return {("7", 3): TaskReport(State.PENDING, reason="Priority", restarts=restarts, **given)}


def causes(client: FakeClient) -> RestartCauses:
    return RestartCauses(cast(SlurmClient, client))


@pytest.mark.parametrize(
    ("rows", "cause", "word"),
    [
        (row("PREEMPTED", 1) + row("PENDING", 5), State.PREEMPTED, "preempted"),
        (row("NODE_FAIL", 1) + row("PENDING", 5), State.NODE_FAIL, "node"),
        (row("PREEMPTED", 4) + row("NODE_FAIL", 1), State.PREEMPTED, "preempted"),
        (row("PREEMPTED", 1) + row("NODE_FAIL", 4), State.NODE_FAIL, "node"),
        (row("PREEMPTED", 1, index=4), None, "again"),
        (row("PREEMPTED", 1, name="another"), None, "again"),
        (row("PENDING", 5), None, "again"),
    ],
)
def test_the_newest_end_is_the_cause(rows: str, cause: State | None, word: str) -> None:
    """Of the same task of our own job. The reason says it, and the number of restarts."""
    report = causes(FakeClient(rows)).add_to(waiting(), OURS)["7", 3]
    assert report.restart_cause is cause
    reason = state_reason(report)
    assert all(part in reason for part in (word, "1 restart", "Priority"))


def test_a_cause_is_asked_for_once_for_each_restart() -> None:
    client = FakeClient(row("PREEMPTED", 1))
    found = causes(client)
    for restarts, questions in ((1, 1), (1, 1), (2, 2), (2, 2)):
        assert found.add_to(waiting(restarts), OURS)["7", 3].restart_cause is State.PREEMPTED
        assert len(client.asked) == questions


@pytest.mark.parametrize("text", [None, "", row("PENDING", 5), "no answer of sacct\n"])
def test_a_cause_that_nobody_knows_is_not_asked_for_forever(text: str | None) -> None:
    """The reports are unchanged, and the questions end."""
    client = FakeClient(text)
    found = causes(client)
    for _ in range(9):
        assert found.add_to(waiting(), OURS) == waiting()
    assert len(client.asked) <= 3


@pytest.mark.parametrize("state", [State.RUNNING, State.PENDING])
def test_nothing_is_asked_without_a_waiting_restart(state: State) -> None:
    client = FakeClient(row("PREEMPTED", 1))
    first = {("7", 3): TaskReport(state, restarts=0 if state is State.PENDING else 1)}
    assert causes(client).add_to(first, OURS) == first
    client.accounting_off = True
    assert causes(client).add_to(waiting(), OURS) == waiting()
    assert client.asked == []


@pytest.mark.parametrize(
    ("rows", "seconds"),
    [
        (row("COMPLETED", 1), {}),
        (row("NODE_FAIL", 1) + row("COMPLETED", 5), {"7": 60.0}),
        (row("RUNNING", 5) + row("PREEMPTED", 3) + row("REQUEUED", 1), {"7": 120.0}),
        (row("REQUEUED", 1) + row("PENDING", 5), {"7": 60.0}),
        (row("COMPLETED", 5) + row("COMPLETED", 5, index=4), {}),
        (row("NODE_FAIL", 1, name="another") + row("COMPLETED", 5), {}),
    ],
)
def test_the_time_before_restarts(rows: str, seconds: dict[str, float]) -> None:
    """Each start that another start of the same task followed."""
    assert restarted_seconds(rows, {"7": "x-k7m2"}, OURS) == seconds
