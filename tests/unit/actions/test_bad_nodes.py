"""Bad nodes, on the fake cluster: what is excluded, repaired, told and lifted."""

from __future__ import annotations

from typing import Any

import pytest

from slurmslice.actions.open_run import open_run
from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.errors import SubmissionRejectedError
from slurmslice.notify.end_message import end_message
from slurmslice.policy.bad_nodes import EXCLUDED_FOR_S
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Event, NodeExcluded, NodeIncluded, Queued
from slurmslice.run.run import Run
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

COMMAND = ("--", "true", "{}")
LINE = ("-a", "0-39", "--name", "x", "--mem", "4G")
NODES = 10


def recorded(typed: Typed, kind: type[Event]) -> list[Any]:
    """Return the events of one kind in the run's journal."""
    events = RunDirectory(typed.folder / "runs" / "x").events()
    return [event for event in events if isinstance(event, kind)]


def made(typed: Typed, *options: str) -> None:
    """Create and submit a run with forty slices."""
    typed("run", *LINE, *options, *COMMAND)
    assert typed.code == 130, typed.stderr


@pytest.fixture(autouse=True)
def ten_nodes(engine: FakeEngine, interrupted: None) -> None:
    """Give the partition ten nodes; ``run`` ends at its first wait."""
    engine.limited = TaskLimits(1001, nodes=NODES)


def end(engine: FakeEngine, job: str, rows: range, state: State, node: str, start: int) -> None:
    """Let slices end on a node; each took five seconds."""
    for row in rows:
        times = {"started_at": start, "ended_at": start + 5}
        failed = {"exit_code": 1} if state is State.FAILED else {}
        engine.end(job, row, state, node=node, **times, **failed)


def sicken(engine: FakeEngine, job: str = "100") -> None:
    """Let eight slices fail on n3, and thirty be done elsewhere; two wait."""
    now = 1_900_000_000
    for node, rows in (("n1", range(8, 23)), ("n2", range(23, 38))):
        end(engine, job, rows, State.COMPLETED, node, now)
    end(engine, job, range(8), State.FAILED, "n3", now + 1)


@pytest.fixture(autouse=True)
def today(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Set the clock of all runs, five minutes after these slices."""
    now = [1_900_000_300.0]
    monkeypatch.setattr(Run.__init__, "__defaults__", (lambda: now[0],))
    return now


def excluded(engine: FakeEngine) -> list[str | None]:
    """Return --exclude on sbatch's command line, for each submission."""
    return [job.order.overrides.get("exclude") for job in engine.jobs.values()]


@pytest.mark.parametrize("policy", [("--retry",), ("--max-attempts", "2"), ("--on", "oom=again")])
def test_what_failed_on_a_bad_node_goes_in_elsewhere(
    typed: Typed, engine: FakeEngine, policy: tuple[str, ...]
) -> None:
    """Also if the policy leaves such failures. It uses up no attempt, and the journal has why."""
    made(typed, *policy, "-x", "bad")
    sicken(engine)
    typed("tick", "x")
    assert excluded(engine) == [None, "bad,n3"]
    assert [(one.rows, one.cause) for one in recorded(typed, Queued)[1:]] == [("0-7", "bad-node")]
    (event,) = recorded(typed, NodeExcluded)
    assert (event.node, event.cause, event.failed, event.others_good) == ("n3", "failures", 8, 30)
    assert [one["node"] for one in typed.noted("node-excluded")] == ["n3"]
    record = typed.json("status", "x")
    assert [one["node"] for one in record["excluded_nodes"]] == ["n3"]
    assert record["slices"][0]["repaired"] == ["bad-node"]
    assert record["slices"][0]["attempts_left"] == record["max_attempts"] - 1
    typed("status", "x")
    assert [one["failed"] for one in typed.noted("node-excluded")] == [8]


def test_accepted_failures_are_no_evidence_against_a_node(typed: Typed, engine: FakeEngine) -> None:
    """A person knows that these slices fail on any node."""
    made(typed, "--retry")
    sicken(engine)
    typed("accept", "x", "0-7", "--reason", "corrupt")
    typed("tick", "x")
    assert (recorded(typed, NodeExcluded), excluded(engine)) == ([], [None])


def test_an_attempt_on_a_node_that_is_suspected_later_is_given_back(
    typed: Typed, engine: FakeEngine
) -> None:
    """The last of two attempts ended on n3 too, so the slice has two again."""
    made(typed, "--max-attempts", "2")
    start = 1_900_000_000
    end(engine, "100", range(3), State.FAILED, "n3", start)
    typed("tick", "x")
    assert len(engine.jobs) == 2
    end(engine, "101", range(3), State.FAILED, "n3", start + 10)
    end(engine, "100", range(3, 8), State.FAILED, "n3", start + 12)
    end(engine, "100", range(8, 38), State.COMPLETED, "n1", start)
    typed("tick", "x")
    assert excluded(engine) == [None, None, "n3"]
    assert list(engine.jobs["102"].order.array) == list(range(8))
    end(engine, "102", range(8), State.FAILED, "n1", start + 30)
    typed("tick", "x")
    assert len(engine.jobs) == 4, "one more attempt by the slices' own cause"


def test_waiting_slices_and_a_persons_resubmit_avoid_it_without_a_policy(
    typed: Typed, engine: FakeEngine
) -> None:
    """Nothing is repaired. What a person submits says which node it avoids."""
    engine.most = 38
    made(typed)
    sicken(engine)
    typed("tick", "x")
    assert excluded(engine) == [None, "n3"]
    assert typed.noted("nodes-avoided") == [{"nodes": ["n3"]}]
    typed("resubmit", "x")
    assert excluded(engine) == [None, "n3", "n3"]
    assert list(engine.jobs["102"].order.array) == list(range(8))


def test_resubmit_judges_first(typed: Typed, engine: FakeEngine) -> None:
    """No follower has seen the failures before."""
    made(typed)
    sicken(engine)
    typed("resubmit", "x", "--dry-run")
    assert recorded(typed, NodeExcluded) == []
    assert "--exclude=n3" in typed.stdout
    typed("resubmit", "x", "-w", "n3", "1")
    assert excluded(engine) == [None, None], "a person chose the node"
    typed("resubmit", "x", "-x", "n9", "2")
    assert excluded(engine)[-1] == "n9,n3"
    end(engine, "102", range(2, 3), State.FAILED, "n1", 1_900_000_050)
    typed("run", "x", "--include-node", "n3")
    typed("resubmit", "x", "2")
    assert excluded(engine)[-1] == "n9", "only what a person typed stays"


def test_a_node_that_failed_is_excluded_at_once_for_a_day(
    typed: Typed, engine: FakeEngine, today: list[float]
) -> None:
    """One NODE_FAIL is enough; other slices avoid the node too."""
    made(typed)
    end(engine, "100", range(1), State.NODE_FAIL, "n3", 1_900_000_000)
    end(engine, "100", range(1, 3), State.FAILED, "n1", 1_900_000_000)
    typed("resubmit", "x", "1")
    assert excluded(engine) == [None, "n3"]
    today[0] += EXCLUDED_FOR_S + 60
    typed("resubmit", "x", "2")
    assert excluded(engine) == [None, "n3", None]


def test_a_person_lifts_an_exclusion(typed: Typed, engine: FakeEngine) -> None:
    """The failures count as the slices' own then, and accuse the node no more."""
    made(typed)
    sicken(engine)
    typed("tick", "x")
    typed("run", "x", "--include-node", "n3")
    assert [one["node"] for one in typed.noted("node-included")] == ["n3"]
    typed("tick", "x")
    record = typed.json("status", "x")
    assert record["excluded_nodes"] == []
    assert record["slices"][0]["cause"] == "exit:1"
    typed("run", "x", "--include-node", "n7")
    assert (typed.code, typed.error) == (2, "node-not-excluded")
    typed("run", "--include-node", "n7", *LINE, *COMMAND)
    assert (typed.code, typed.error) == (2, "option-not-allowed")
    assert len(recorded(typed, NodeIncluded)) == 1


def test_slices_that_fail_elsewhere_too_clear_the_node(typed: Typed, engine: FakeEngine) -> None:
    """A block of corrupt inputs met one node. It is used again, and the slices are left."""
    made(typed, "--retry")
    sicken(engine)
    typed("tick", "x")
    end(engine, "101", range(8), State.FAILED, "n1", 1_900_000_050)
    typed("tick", "x")
    assert [one["node"] for one in typed.noted("node-included")] == ["n3"]
    assert len(engine.jobs) == 2
    record = typed.json("status", "x")
    assert {one["cause"] for one in record["slices"][:8]} == {"exit:1"}
    assert record["excluded_nodes"] == []


def test_the_mail_names_the_node_and_its_evidence(typed: Typed, engine: FakeEngine) -> None:
    """The one message about the end has what was excluded, and the cause of what failed there."""
    made(typed, "--retry", "--on", "bad-node=leave")
    sicken(engine)
    typed("tick", "x")
    engine.end_all()
    typed("tick", "x")
    text = end_message(open_run(RunDirectory(typed.folder / "runs" / "x")), "", "").text
    assert "n3 until" in text
    assert "8  bad-node: 0-7" in text


def test_few_nodes_are_excluded(typed: Typed, engine: FakeEngine) -> None:
    """Of ten nodes one; the strongest evidence counts."""
    made(typed, "--retry")
    for first in (20, 30):
        end(engine, "100", range(first, first + 10), State.COMPLETED, f"n{first}", 1_900_000_000)
    end(engine, "100", range(5), State.FAILED, "n2", 1_900_000_000)
    end(engine, "100", range(5, 20), State.FAILED, "n3", 1_900_000_000)
    typed("tick", "x")
    assert [one.node for one in recorded(typed, NodeExcluded)] == ["n3"]


def test_a_submission_that_no_other_node_can_run_uses_all_nodes(
    typed: Typed, engine: FakeEngine
) -> None:
    """sbatch rejects it without n3. Then it goes in with n3, and n3 stays in use."""
    made(typed, "--retry")
    sicken(engine)

    def reject(order: SubmitRequest) -> None:
        if "exclude" in order.overrides:
            raise SubmissionRejectedError("Requested node configuration is not available")

    engine.on_submit = reject
    typed("tick", "x")
    assert typed.code == 0, typed.stderr
    assert excluded(engine) == [None, None]
    assert [one.node for one in recorded(typed, NodeIncluded)] == ["n3"]


def test_the_circuit_breaker_does_not_count_what_a_bad_node_broke(
    typed: Typed, engine: FakeEngine
) -> None:
    """n3 eats 30 slices while the ten others run on, which began before."""
    made(typed, "--retry")
    end(engine, "100", range(30), State.FAILED, "n3", 1_900_000_010)
    for row in range(30, 40):
        engine.run("100", row, node="n1", started_at=1_900_000_000)
    typed("tick", "x", "--exit-code")
    assert [one.node for one in recorded(typed, NodeExcluded)] == ["n3"]
    assert (typed.code, engine.held) == (4, [])
    assert excluded(engine) == [None, "n3"]


def test_tasks_on_several_nodes_accuse_none(typed: Typed, engine: FakeEngine) -> None:
    """Accounting names the first node, and any of them may be the cause."""
    made(typed, "--retry", "-N", "2")
    sicken(engine)
    typed("tick", "x")
    assert recorded(typed, NodeExcluded) == []


@pytest.mark.parametrize("ahead", [-300, 0, 300])
def test_slices_that_run_on_are_good_whatever_the_clocks_say(
    typed: Typed, engine: FakeEngine, today: list[float], ahead: int
) -> None:
    """Nothing ends any more, and Slurm's clock is ahead of ours, or behind."""
    made(typed, "--retry")
    start = int(today[0]) + ahead
    end(engine, "100", range(12), State.FAILED, "n3", start)
    for row in range(12, 40):
        engine.run("100", row, node="n1", started_at=start, submitted_at=start)
    today[0] += 6
    typed("tick", "x")
    assert recorded(typed, NodeExcluded) == []
    engine.silence = "Unable to contact slurm controller"
    today[0] += 20
    typed("tick", "x")
    assert recorded(typed, NodeExcluded) == []
    engine.silence = ""
    typed("tick", "x")
    assert [one.node for one in recorded(typed, NodeExcluded)] == ["n3"]
