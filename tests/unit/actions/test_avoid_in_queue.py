"""What waits in the queue when a node is accused, on the fake cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.actions import site_rules
from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.errors import EngineError, NoAnswerError, SubmissionRejectedError, SubmitLimitError
from slurmslice.run.journal import QueueAvoids
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed
from tests.unit.actions.test_bad_nodes import NODES, made, recorded, sicken, today

__all__ = ["today"]


@pytest.fixture(autouse=True)
def sick(typed: Typed, engine: FakeEngine, interrupted: None) -> None:
    """Make a run with a sick node n3; two of its slices wait in the queue."""
    engine.limited = TaskLimits(1001, nodes=NODES)
    made(typed)
    sicken(engine)


def refuse(engine: FakeEngine, why: Exception) -> list[str]:
    """Let the fake cluster refuse each update; the list gets an item for each."""
    refusals: list[str] = []

    def raise_it() -> None:
        refusals.append("refused")
        raise why

    engine.on_avoid = raise_it
    return refusals


def test_an_array_gets_one_update(typed: Typed, engine: FakeEngine) -> None:
    """The next rounds make none: the journal has the result."""
    typed("tick", "x")
    assert engine.avoided == [("100", ("n3",), ())]
    assert typed.noted("queue-avoids-nodes") == [{"job": "100", "nodes": ["n3"]}]
    typed("tick", "x")
    assert len(engine.avoided) == 1
    (event,) = recorded(typed, QueueAvoids)
    assert (event.number, event.nodes, event.refusal) == (1, "n3", "")


def test_an_update_that_was_killed_before_its_record_is_made_again(
    typed: Typed, engine: FakeEngine
) -> None:
    """Once more, and not again."""
    typed("tick", "x")
    journal = typed.folder / "runs" / "x" / "journal.jsonl"
    *before, last = journal.read_bytes().splitlines(keepends=True)
    assert b"queue_avoids" in last
    journal.write_bytes(b"".join(before))
    typed("tick", "x")
    typed("tick", "x")
    assert engine.avoided == [("100", ("n3",), ())] * 2


def test_a_refused_update_is_told_once(typed: Typed, engine: FakeEngine) -> None:
    """What waits stays as it is."""
    refusals = refuse(engine, EngineError("Access/permission denied", code="slurm-error"))
    typed("tick", "x")
    (note,) = typed.noted("queue-not-changed")
    assert (note["job"], "denied" in note["reason"]) == ("100", True)
    typed("tick", "x")
    assert typed.noted("queue-not-changed") == []
    assert len(refusals) == 1
    (event,) = recorded(typed, QueueAvoids)
    assert event.refusal


def test_no_answer_is_no_refusal(typed: Typed, engine: FakeEngine) -> None:
    """The next round tries again."""
    refuse(engine, NoAnswerError("away"))
    typed("tick", "x")
    assert recorded(typed, QueueAvoids) == []
    engine.on_avoid = lambda: None
    typed("tick", "x")
    assert engine.avoided == [("100", ("n3",), ())]


@pytest.mark.parametrize(
    ("why", "events"),
    [
        (SubmissionRejectedError("Requested node configuration is not available"), 1),
        (SubmitLimitError("AssocMaxSubmitJobLimit"), 0),
    ],
)
def test_a_task_that_could_run_nowhere_else_keeps_the_node(
    typed: Typed, engine: FakeEngine, why: Exception, events: int
) -> None:
    """sbatch is asked before: Slurm would accept the update. A full queue is no reason."""
    asked: list[tuple[str, str]] = []

    def test(order: SubmitRequest) -> str:
        asked.append((str(order.array), order.overrides["exclude"]))
        raise why

    engine.test_submission = test  # type: ignore[method-assign]
    typed("tick", "x")
    assert engine.avoided == []
    assert asked == [("38", "n3")]
    assert len(recorded(typed, QueueAvoids)) == events
    typed("tick", "x")
    assert len(asked) == 2 - events


def test_a_node_that_is_used_again_comes_back(typed: Typed, engine: FakeEngine) -> None:
    """Only what an update added is taken away."""
    typed("tick", "x")
    typed("run", "x", "--include-node", "n3")
    typed("tick", "x")
    assert engine.avoided == [("100", ("n3",), ()), ("100", (), ("n3",))]
    typed("tick", "x")
    assert len(engine.avoided) == 2


def test_what_was_submitted_without_the_node_needs_no_update(
    typed: Typed, engine: FakeEngine
) -> None:
    """And what runs or has ended neither."""
    engine.run("100", 38)
    engine.run("100", 39)
    typed("tick", "x")
    typed("resubmit", "x", "0")
    assert engine.jobs["101"].order.overrides["exclude"] == "n3"
    typed("tick", "x")
    assert engine.avoided == []


def test_the_site_and_a_person_who_chose_nodes_forbid_it(
    typed: Typed, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``update-pending = false`` turns it off; a dry run tells it and changes nothing."""
    typed("tick", "x", "--dry-run")
    assert typed.noted("would-avoid-nodes") == [{"job": "100", "nodes": ["n3"]}]
    site = tmp_path / "site.toml"
    site.write_text("[site]\nupdate-pending = false\n")
    monkeypatch.setattr(site_rules, "SITE_FILE", site)
    typed("tick", "x", "--dry-run")
    assert typed.noted("would-avoid-nodes") == []
    typed("tick", "x")
    assert engine.avoided == []
    site.write_text("")
    typed("tick", "x")
    assert len(engine.avoided) == 1


def test_resubmit_does_it_too(typed: Typed, engine: FakeEngine) -> None:
    """Nobody may follow the run. A dry run changes nothing."""
    typed("resubmit", "x", "0", "--dry-run")
    assert typed.noted("queue-avoids-nodes") == []
    assert engine.avoided == []
    typed("resubmit", "x", "0")
    assert engine.avoided == [("100", ("n3",), ())]


@pytest.mark.parametrize("full", [False, True])
def test_a_person_names_nodes_for_what_waits(full: bool, typed: Typed, engine: FakeEngine) -> None:
    """``run RUN --exclude`` reaches the queue, although no slice waits outside it."""
    if full:
        engine.test_submission = _full  # type: ignore[method-assign]
    typed("run", "x", "--exclude", "n7,m[1-2]", "--dry-run")
    (note,) = typed.noted("would-change-queue")
    assert (note["slices"], note["options"]) == (2, "--exclude=n7,m[1-2]")
    assert engine.changed == []
    typed("run", "x", "--exclude", "n7,m[1-2]")
    assert engine.changed[0] == ("100", "--exclude=n7,m[1-2]")
    assert typed.noted("queue-changed")[0]["options"] == "--exclude=n7,m[1-2]"
    assert len(engine.jobs) == 1


def _full(order: SubmitRequest) -> str:
    raise SubmitLimitError("AssocMaxSubmitJobLimit")


def test_a_persons_nodes_that_slurm_refuses_are_told(typed: Typed, engine: FakeEngine) -> None:
    """What was typed changes nothing, and that is an error."""
    refuse(engine, EngineError("denied", code="slurm-error"))
    typed("run", "x", "--exclude", "n7")
    assert typed.noted("queue-not-changed")[0]["reason"] == "denied"
    assert (typed.code, typed.error) == (2, "nothing-waits")


@pytest.mark.parametrize("nodes", ["/home/ada/nodes", "./nodes"])
def test_a_file_of_nodes_is_for_sbatch_alone(nodes: str, typed: Typed, engine: FakeEngine) -> None:
    """scontrol reads none."""
    typed("run", "x", "--exclude", nodes)
    assert (typed.code, typed.error) == (2, "nothing-waits")
    assert engine.avoided == []


def test_a_node_that_a_person_excludes_too_does_not_come_back(
    typed: Typed, engine: FakeEngine
) -> None:
    """Neither after the person named it, nor if its own exclusion ends."""
    typed("tick", "x")
    typed("run", "x", "--exclude", "n3")
    typed("run", "x", "--include-node", "n3")
    typed("tick", "x")
    assert not any("n3" in removed for _, _, removed in engine.avoided)
