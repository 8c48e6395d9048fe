"""Repair forward on the fake cluster: slices that wait request what others turned out to need."""

from __future__ import annotations

from typing import Any

import pytest

from slurmslice.actions.open_run import open_run
from slurmslice.notify.end_message import end_message
from slurmslice.policy.repair_forward import FEWEST_OVER
from slurmslice.run.directory import RunDirectory
from slurmslice.run.raised_requests import RequestRaised
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

GIB = 1 << 30
LINE = ("-a", "0-39", "--name", "x", "-t", "60")
MEM = ("--mem", "4G")
COMMAND = ("--", "true", "{}")
OOM = State.OUT_OF_MEMORY


def raised(typed: Typed) -> list[RequestRaised]:
    """Return the raises in the run's journal."""
    events = RunDirectory(typed.folder / "runs" / "x").events()
    return [event for event in events if isinstance(event, RequestRaised)]


def start(typed: Typed, engine: FakeEngine, *options: str, places: int = 10) -> None:
    """Submit a part of 40 slices: so many array tasks have room."""
    engine.most = places
    typed("run", *LINE, *options, *COMMAND)
    assert typed.code == 130, typed.stderr


def exceed(engine: FakeEngine, number: int = FEWEST_OVER, job: str = "100", **facts: Any) -> None:
    """Let the first slices of a job exceed their memory after 10 seconds."""
    for index in list(engine.jobs[job].tasks)[:number]:
        engine.end(job, index, OOM, started_at=100, ended_at=110, **facts)


def requests(engine: FakeEngine) -> dict[int, list[str | None]]:
    """Return the memory on sbatch's command line of each attempt, by array index."""
    found: dict[int, list[str | None]] = {}
    for job in engine.jobs.values():
        for index in job.order.array:
            found.setdefault(index, []).append(job.order.overrides.get("mem"))
    return found


def test_what_waits_is_submitted_with_more_memory(typed: Typed, engine: FakeEngine) -> None:
    """It is decided once, and told by the tick, the status, its JSON and the mail."""
    start(typed, engine, *MEM, "--retry")
    exceed(engine)
    typed("tick", "x")
    (note,) = typed.noted("memory-raised")
    assert note == {"before": "4G", "now": "8G", "slices": 30, "over": 5, "judged": 5}
    engine.most = 60
    typed("tick", "x")
    assert typed.noted("memory-raised") == []
    assert [event.rows for event in raised(typed)] == ["10-39"]
    asked = requests(engine)
    assert [asked[index] for index in (0, 9, 10, 39)] == [[None, "8G"], [None], ["8G"], ["8G"]]
    typed("status", "x")
    assert typed.noted("memory-raised") == [note]
    (told,) = typed.json("status", "x")["raised_requests"]
    assert (told["rows"], told["now"], told["changes"]) == ("10-39", "8G", {"mem": "8G"})
    run = open_run(RunDirectory(typed.folder / "runs" / "x"))
    assert "8G and not 4G" in end_message(run, "", "").text


@pytest.mark.parametrize(
    "options",
    [(), ("--retry", "--on", "oom=leave"), ("--on", "exit:75=again"),
     ("--retry", "--on", "oom=--mem=2x -c 4"), ("--max-attempts", "1")],
)  # fmt: skip
def test_without_such_a_rule_nothing_is_raised(
    typed: Typed, engine: FakeEngine, options: tuple[str, ...]
) -> None:
    """The policy must have a rule for ``oom`` whose next step has more memory, at no more CPUs."""
    start(typed, engine, *MEM, *options)
    exceed(engine, 8)
    engine.most = 60
    typed("tick", "x")
    assert raised(typed) == []


def test_few_failures_raise_nothing(typed: Typed, engine: FakeEngine) -> None:
    """Neither four of four, nor five among those that live on for longer."""
    start(typed, engine, *MEM, "--retry", places=30)
    exceed(engine, FEWEST_OVER - 1)
    typed("tick", "x")
    assert raised(typed) == []
    exceed(engine, FEWEST_OVER)
    for index in range(FEWEST_OVER, 30):
        engine.run("100", index, started_at=100)
    typed("tick", "x")
    assert raised(typed) == []


def test_a_persons_own_request_stays(typed: Typed, engine: FakeEngine) -> None:
    """Slices that a person submitted or resubmitted with another request keep that."""
    start(typed, engine, *MEM, "--retry", places=6)
    exceed(engine)
    engine.most = 5
    typed("resubmit", "x", "--mem", "5G", "0")
    typed("submit", "x", "--mem", "6G", "20")
    engine.most = 60
    typed("tick", "x")
    asked = requests(engine)
    assert [asked[index][-1] for index in (0, 1, 20, 21)] == ["5G", "8G", "6G", "8G"]


def test_a_raised_request_keeps_the_caps(typed: Typed, engine: FakeEngine) -> None:
    """The ladder of a raised slice goes on to 8 times its *first* request, and ends there."""
    start(typed, engine, *MEM, "--retry")
    exceed(engine)
    engine.most = 60
    typed("tick", "x")
    for _ in range(5):
        job = list(engine.jobs)[-1]
        job = next(one for one in reversed(engine.jobs) if 39 in engine.jobs[one].tasks)
        engine.end(job, 39, OOM, started_at=100, ended_at=110)
        typed("tick", "x")
    assert requests(engine)[39] == ["8G", "16G", "32G"]


def test_a_raised_slice_skips_the_rung_that_it_had(typed: Typed, engine: FakeEngine) -> None:
    """The same amount again could not help."""
    start(typed, engine, *MEM, "--retry", "--on", "oom=--mem=6G; --mem=64G -p fat")
    exceed(engine)
    engine.most = 60
    typed("tick", "x")
    (job,) = (one for one in engine.jobs if 39 in engine.jobs[one].tasks)
    engine.end(job, 39, OOM, started_at=100, ended_at=110)
    typed("tick", "x")
    assert requests(engine)[39] == ["6G", "64G"]


def test_a_second_raise_needs_failures_with_the_first(typed: Typed, engine: FakeEngine) -> None:
    """Five that exceeded 8G too raise the rest to 16G; earlier failures at 4G do not count."""
    start(typed, engine, *MEM, "--retry")
    exceed(engine, 6)
    typed("tick", "x")
    engine.end_all()
    typed("tick", "x")
    assert len(raised(typed)) == 1
    exceed(engine, 10, list(engine.jobs)[-1])
    typed("tick", "x")
    assert [(one.before, one.now, one.over) for one in raised(typed)] == [
        ("4G", "8G", 6),
        ("8G", "16G", 10),
    ]


def test_memory_that_nobody_requested_is_raised_too(typed: Typed, engine: FakeEngine) -> None:
    """Slurm tells what the tasks got."""
    start(typed, engine, "--retry")
    exceed(engine, requested_mem_bytes=2 * GIB)
    engine.most = 60
    typed("tick", "x")
    assert [(one.before, one.now) for one in raised(typed)] == [("2G", "4G")]
    assert requests(engine)[39] == ["4G"]
    for _ in range(4):
        job = next(one for one in reversed(engine.jobs) if 39 in engine.jobs[one].tasks)
        engine.end(job, 39, OOM, started_at=100, ended_at=110)
        typed("tick", "x")
    assert requests(engine)[39] == ["4G", "8G", "16G"]


def test_the_memory_of_a_slice_in_a_pack(typed: Typed, engine: FakeEngine) -> None:
    """A task of four slices, two at a time, requests twice the memory of one."""
    start(typed, engine, *MEM, "--retry", "--pack", "4", "--at-once", "2", places=4)
    run = open_run(RunDirectory(typed.folder / "runs" / "x"))
    for index in (0, 1):
        log = run.directory.submission_folder(2) / "tasks" / f"{index}.log"
        log.parent.mkdir(exist_ok=True)
        head = "job=100 restart=0 at=100 host=n3 slot="
        log.write_text("".join(
            f"slurmslice start {head}{slot}\nslurmslice memory {head}{slot} of=1\n"
            f"slurmslice end {head}{slot} exit=137\n" for slot in range(4)
        ))  # fmt: skip
    exceed(engine, 2)
    engine.most = 60
    typed("tick", "x")
    assert [(one.before, one.now, one.rows) for one in raised(typed)] == [("4G", "8G", "16-39")]
    assert engine.jobs["101"].order.overrides["mem"] == "16G"


def test_groups_with_other_requests_stay(typed: Typed, engine: FakeEngine) -> None:
    """Only slices with the request of those that exceeded it are raised."""
    lines = [f"s{row},{6 if row % 2 else 4}G" for row in range(40)]
    (typed.folder / "t.csv").write_text("\n".join(["name,m", *lines]) + "\n")
    engine.most = 10
    typed("run", "--table", "t.csv", "--key", "name", "--name", "x", "-t", "60", "--mem", "{m}",
          "--retry", *COMMAND)  # fmt: skip
    exceed(engine)
    engine.most = 60
    typed("tick", "x")
    (one,) = raised(typed)
    assert (one.before, one.now, parse_array(one.rows).indices) == ("4G", "8G", range(20, 40, 2))


def test_the_preview_names_the_rule(typed: Typed) -> None:
    """Only where the ladder for ``oom`` has more memory."""
    typed("run", *LINE, *MEM, "--retry", "--dry-run", *COMMAND)
    assert len(typed.noted("repair-forward")) == 1
    typed("run", *LINE, *MEM, "--retry", "--on", "oom=leave", "--dry-run", *COMMAND)
    assert typed.noted("repair-forward") == []
