"""A change of the request reaches what waits in the queue, on the fake cluster (ADR 40)."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.actions import site_rules
from slurmslice.engines.protocol import TaskLimits
from slurmslice.errors import EngineError, NoAnswerError, SubmissionRejectedError
from slurmslice.run.queue_changes import QueueChanged
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed
from tests.unit.actions.test_bad_nodes import recorded


@pytest.fixture(autouse=True)
def queued(typed: Typed, engine: FakeEngine, interrupted: None) -> None:
    """Make a run of which slice 0 runs, and 1 to 3 wait in the queue."""
    typed(
        "run", "-a", "0-3", "--name", "x", "--mem", "1G", "-t", "10:00",
        "--", "true",
    )  # fmt: skip
    engine.run("100", 0)


@pytest.mark.parametrize(
    ("options", "update"),
    [
        (("--mem", "2G"), "--mem=2G"),
        (("--mem", "2x"), "--mem=2G"),
        (("-t", "5:00", "-p", "short"), "--partition=short --time=5:00"),
        (("--mem-per-cpu", "2G"), "--mem=2G"),
        (("--exclude", "n1"), "--exclude=n1"),
    ],
)
def test_an_array_gets_one_update(
    options: tuple[str, ...], update: str, typed: Typed, engine: FakeEngine
) -> None:
    """With all that was typed; the journal has the rows that wait, not the one that runs."""
    typed("run", "x", *options, "--dry-run")
    assert (typed.noted("would-change-queue")[0]["slices"], engine.changed) == (3, [])
    typed("run", "x", *options)
    ((job, changed),) = engine.changed
    assert (job, sorted(changed.split())) == ("100", update.split())
    (event,) = recorded(typed, QueueChanged)
    assert (event.number, event.rows) == (1, "1-3")
    assert typed.noted("queue-changed")[0]["slices"] == 3
    assert len(engine.jobs) == 1


def test_a_later_attempt_keeps_the_change(typed: Typed, engine: FakeEngine) -> None:
    """And the slice that ran already keeps its own request."""
    typed("run", "x", "--mem", "2G", "--exclude", "n1")
    engine.end_all(State.FAILED)
    typed("resubmit", "x", "--state", "FAIL")
    sent = [(str(job.order.array), job.order.request) for job in list(engine.jobs.values())[1:]]
    wanted = {"0": ("1G", None), "1-3": ("2G", "n1")}
    assert {a: (r["mem"], r.get("exclude")) for a, r in sent} == wanted


def test_nodes_are_added_to_those_of_before(typed: Typed, engine: FakeEngine) -> None:
    """A person excluded n1 first, and n2 now."""
    typed("run", "x", "--exclude", "n1")
    typed("run", "x", "--exclude", "n2")
    assert [changed for _, changed in engine.changed] == ["--exclude=n1", "--exclude=n2"]
    *_, event = recorded(typed, QueueChanged)
    assert (event.changes["exclude"], event.options["exclude"]) == ("n1,n2", "n1,n2")


@pytest.mark.parametrize(
    "options",
    [("-c", "2"), ("--mem", "2G", "-c", "2"), ("--gres", "gpu:1"), ("--exclude", "./nodes")],
)
def test_what_slurm_cannot_change_is_told(
    options: tuple[str, ...], typed: Typed, engine: FakeEngine
) -> None:
    """Nothing is changed, not even a part; the hint has the commands with the keys."""
    said = typed("run", "x", *options)
    assert (typed.code, typed.error, engine.changed) == (2, "nothing-waits", [])
    assert "slurmslice cancel x -- 1-3" in said


@pytest.mark.parametrize("why", [EngineError("denied", code="slurm-error"), NoAnswerError("away")])
def test_a_refusal_is_told(why: Exception, typed: Typed, engine: FakeEngine) -> None:
    """With its reason; nothing is recorded, and a second try asks again."""

    def refuse() -> None:
        raise why

    engine.on_avoid = refuse
    typed("run", "x", "--mem", "2G")
    assert (typed.code, typed.error) == (2, "nothing-waits")
    assert typed.noted("queue-not-changed")[0]["job"] == "100"
    assert recorded(typed, QueueChanged) == []
    engine.on_avoid = lambda: None
    typed("run", "x", "--mem", "2G")
    assert len(recorded(typed, QueueChanged)) == 1


@pytest.mark.parametrize("by", ["limits", "sbatch"])
def test_a_request_that_never_runs_is_not_set(by: str, typed: Typed, engine: FakeEngine) -> None:
    """Slurm accepts such an update, and the slices would wait for ever."""
    if by == "limits":
        engine.limited = TaskLimits(1001, impossible_reason="no node has so much memory")
    else:

        def refuse(_: object) -> str:
            raise SubmissionRejectedError("Requested node configuration is not available")

        engine.test_submission = refuse  # type: ignore[method-assign,assignment]
    typed("run", "x", "--mem", "900G")
    assert (typed.code, typed.error, engine.changed) == (2, "nothing-waits", [])


def test_the_site_may_forbid_it(
    typed: Typed, engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``update-pending = false``."""
    site = tmp_path / "site.toml"
    site.write_text("[site]\nupdate-pending = false\n")
    monkeypatch.setattr(site_rules, "SITE_FILE", site)
    typed("run", "x", "--mem", "2G")
    assert (typed.code, engine.changed) == (2, [])


def test_a_pack_keeps_its_time_and_gets_its_memory(typed: Typed, engine: FakeEngine) -> None:
    """The limit of a slice in a pack is an argument of the script, which Slurm has already."""
    typed(
        "run", "-a", "0-7", "--pack", "4", "--at-once", "2", "--name", "y",
        "--mem", "1G", "-t", "10:00", "--", "true",
    )  # fmt: skip
    typed("run", "y", "-t", "5:00")
    assert (typed.code, engine.changed) == (2, [])
    typed("run", "y", "--mem", "2G")
    assert engine.changed == [("101", "--mem=4G")]


def test_an_update_that_was_killed_before_its_record_is_made_again(
    typed: Typed, engine: FakeEngine
) -> None:
    """The same line typed again sets the same values, and the journal has them once."""
    typed("run", "x", "--mem", "2G")
    journal = typed.folder / "runs" / "x" / "journal.jsonl"
    *before, last = journal.read_bytes().splitlines(keepends=True)
    assert b"queue_changed" in last
    journal.write_bytes(b"".join(before))
    typed("run", "x", "--mem", "2G")
    typed("run", "x", "--mem", "2G")
    assert [changed for _, changed in engine.changed] == ["--mem=2G"] * 3
    assert len(recorded(typed, QueueChanged)) == 1
