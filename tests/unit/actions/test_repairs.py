"""Repair by cause, on the fake cluster: what is asked for next, what is left, what is recorded."""

from __future__ import annotations

import os
import time
from typing import Any

import pytest

from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.errors import SubmissionRejectedError, SubmitLimitError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Event, PolicyChanged, Queued
from slurmslice.script.progress_lines import SlotProgress
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

GIB = 1 << 30
LINE = ("-a", "0-2", "--name", "x", "--mem", "4G", "-t", "60")
COMMAND = ("--", "true", "{}")


def recorded(typed: Typed, kind: type[Event]) -> list[Any]:
    """Return the events of one kind in the run's journal."""
    events = RunDirectory(typed.folder / "runs" / "x").events()
    return [event for event in events if isinstance(event, kind)]


def made(typed: Typed, *options: str) -> None:
    """Create and submit a run with three slices."""
    typed("run", *LINE, *options, *COMMAND)
    assert typed.code == 130, typed.stderr


def overrides(engine: FakeEngine, name: str) -> list[str | None]:
    """Return the value of an option on sbatch's command line, for each submission."""
    return [job.order.overrides.get(name) for job in engine.jobs.values()]


def indices(engine: FakeEngine) -> list[list[int]]:
    """Return the array indices of each submission."""
    return [list(job.order.array) for job in engine.jobs.values()]


def fail(engine: FakeEngine, state: State, **facts: Any) -> None:
    """Let the first slice fail in the newest job; the others run on."""
    engine.end(list(engine.jobs)[-1], 0, state, **facts)


def noted(typed: Typed) -> dict[str, Any]:
    """Return the decisions that ``status`` tells."""
    typed("status", "x")
    (found,) = typed.noted("attempts-left")
    return found


def test_memory_grows_while_others_run_and_then_the_slice_is_left(
    typed: Typed, engine: FakeEngine
) -> None:
    """4G, 8G, 16G, 32G: each step is submitted by the next tick, and ``status`` tells the end."""
    made(typed, "--retry")
    for _ in range(3):
        fail(engine, State.OUT_OF_MEMORY)
        assert noted(typed)["not_repaired"] == []
        typed("tick", "x")
    assert overrides(engine, "mem") == [None, "8G", "16G", "32G"]
    assert indices(engine) == [[0, 1, 2], [0], [0], [0]]
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert len(engine.jobs) == 4
    (left,) = noted(typed)["not_repaired"]
    assert (left["cause"], left["keys"]) == ("oom", "0")
    slices = typed.json("status", "x")["slices"]
    assert [one["attempts_left"] for one in slices] == [0, 3, 3]
    assert [one["repaired"] for one in slices] == [["oom"] * 3, [], []]
    assert "4G oom → 8G oom → 16G oom → 32G oom" in typed("status", "x", "--slices")


@pytest.mark.parametrize("follower", [("run", "x"), ("run", *LINE, *COMMAND), ("tick", "x")])
def test_each_follower_repairs_by_the_recorded_policy(
    typed: Typed, engine: FakeEngine, follower: tuple[str, ...]
) -> None:
    """No option is typed again; other failures are left."""
    made(typed, "--retry")
    engine.end("100", 0, State.TIMEOUT)
    engine.end("100", 1, State.FAILED, exit_code=1)
    engine.end("100", 2, State.CHECK_FAILED)
    typed(*follower)
    assert indices(engine) == [[0, 1, 2], [0]]
    assert overrides(engine, "time") == [None, "01:30:00"]
    left = {one["cause"]: one["keys"] for one in noted(typed)["not_repaired"]}
    assert left == {"exit:1": "1", "check": "2"}


@pytest.mark.parametrize(("minutes", "asked"), [(100, "01:30:00"), (70, "01:10:00"), (40, None)])
def test_a_repair_ends_before_a_maintenance(
    minutes: int, asked: str | None, typed: Typed, engine: FakeEngine
) -> None:
    """A longer job would not start until its end. The reason is told."""
    made(typed, "--retry")
    engine.limited = TaskLimits(1001, maintenance_at=time.time() + minutes * 60 + 30)
    engine.end("100", 0, State.TIMEOUT)
    typed("tick", "x")
    assert overrides(engine, "time")[1:] == ([asked] if asked else [])
    assert ("maintenance" in typed("status", "x")) == (asked is None)


def test_a_node_that_failed_is_excluded_beside_the_persons_own(
    typed: Typed, engine: FakeEngine
) -> None:
    """Each failed node of the slice is excluded, and uses up no attempt."""
    made(typed, "--retry", "-x", "bad", "--max-attempts", "2")
    for node in ("n3", "n7"):
        fail(engine, State.NODE_FAIL, node=node)
        typed("tick", "x")
    assert overrides(engine, "exclude") == [None, "bad,n3", "bad,n3,n7"]
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert overrides(engine, "mem")[-1] == "8G"
    assert overrides(engine, "exclude")[-1] == "bad,n3,n7"


def test_slices_with_the_same_next_request_share_a_submission(
    typed: Typed, engine: FakeEngine
) -> None:
    """Their causes differ, and the journal has each."""
    made(typed, "--retry", "--on", "exit:75=again")
    engine.end("100", 0, State.PREEMPTED)
    engine.end("100", 1, State.FAILED, exit_code=75)
    engine.end("100", 2, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert sorted(indices(engine)[1:]) == [[0, 1], [2]]
    queued = {event.rows: event.cause for event in recorded(typed, Queued)[1:]}
    assert queued == {"0": "preempted", "1": "exit:75", "2": "oom"}


@pytest.mark.parametrize(("cause", "state"), [("preempted", State.PREEMPTED),
                                              ("boot", State.BOOT_FAIL)])  # fmt: skip
def test_what_does_not_count_ends_too(
    typed: Typed, engine: FakeEngine, cause: str, state: State
) -> None:
    """A slice that is preempted again and again is left after five repairs."""
    made(typed, "--retry")
    for _ in range(9):
        fail(engine, state)
        typed("tick", "x")
    assert len(engine.jobs) == 6
    assert noted(typed)["not_repaired"][0]["cause"] == cause


def test_a_person_who_resubmits_starts_a_new_count(typed: Typed, engine: FakeEngine) -> None:
    """The person decided that the slice may succeed now: the ladder begins at the typed memory."""
    made(typed, "--retry", "--max-attempts", "2")
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    typed("resubmit", "x", "--mem", "10G", "0")
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert overrides(engine, "mem") == [None, "8G", "10G", "20G"]


def test_the_ladder_does_not_need_the_states_file(typed: Typed, engine: FakeEngine) -> None:
    """``states.tsv`` may lose its end: the place on the ladder is in the journal."""
    made(typed, "--retry", "--on", "exit:1=again; --mem=2x; leave")
    fail(engine, State.FAILED, exit_code=1)
    typed("tick", "x")
    (typed.folder / "runs" / "x" / "states.tsv").unlink()
    fail(engine, State.FAILED, exit_code=1)
    typed("tick", "x")
    fail(engine, State.FAILED, exit_code=1)
    typed("tick", "x")
    assert overrides(engine, "mem") == [None, None, "8G"]


def test_a_rejected_repair_uses_no_rung(typed: Typed, engine: FakeEngine) -> None:
    """If sbatch rejects a repair for good, the same step is tried by the next command."""
    made(typed, "--retry")
    fail(engine, State.OUT_OF_MEMORY)

    def reject(order: SubmitRequest) -> None:
        raise SubmissionRejectedError("the account is unknown")

    engine.on_submit = reject
    typed("run", "x")
    assert typed.error == "submission-rejected"
    engine.on_submit = lambda order: None
    typed("tick", "x")
    assert overrides(engine, "mem") == [None, "8G"]


@pytest.mark.parametrize(
    ("limits", "mem"),
    [
        (TaskLimits(1001, node_mem_mib=6 * 1024), "6G"),
        (TaskLimits(1001, node_mem_mib=4 * 1024), None),
        (TaskLimits(1001, impossible_reason="the group may use 4G"), None),
    ],
)
def test_what_the_cluster_does_not_have_is_not_requested(
    typed: Typed, engine: FakeEngine, limits: TaskLimits, mem: str | None
) -> None:
    """The cap is asked for once. Then, or if it could never start, the slice is left."""
    made(typed, "--retry")
    engine.limited = limits
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert overrides(engine, "mem")[1:] == ([] if mem is None else [mem])
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert len(engine.jobs) == (1 if mem is None else 2)
    assert noted(typed)["not_repaired"][0]["keys"] == "0"
    engine.end_all()
    typed("run", "x")
    assert typed.code == 1


def test_a_new_request_exceeds_what_others_needed(typed: Typed, engine: FakeEngine) -> None:
    """A slice with 6G that was done shows that 8G would be tight; other groups say nothing."""
    made(typed, "--retry")
    engine.max_rss_bytes = 10 * GIB
    engine.end("100", 1, State.COMPLETED, elapsed_s=600)
    typed("tick", "x")
    engine.max_rss_bytes = None
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert overrides(engine, "mem") == [None, "13G"]


def test_memory_that_was_not_requested_grows_from_what_slurm_gave(
    typed: Typed, engine: FakeEngine
) -> None:
    """Accounting tells what the task got; 8 times that is the end."""
    typed("run", "-a", "0", "--name", "x", "--retry", "--max-attempts", "9", *COMMAND)
    for _ in range(6):
        fail(engine, State.OUT_OF_MEMORY, requested_mem_bytes=2 * GIB)
        typed("tick", "x")
    assert overrides(engine, "mem") == [None, "4G", "8G", "16G"]


def test_the_circuit_breaker_holds_repairs(typed: Typed, engine: FakeEngine) -> None:
    """If all of a run fails by one cause, three are repaired. They fail too: a person decides."""
    typed("run", "-a", "0-29", "--name", "x", "--mem", "1G", "--retry", *COMMAND)
    engine.end_all(State.OUT_OF_MEMORY)
    typed("tick", "x", "--exit-code")
    engine.end_all(State.OUT_OF_MEMORY)
    typed("tick", "x", "--exit-code")
    assert (typed.code, len(engine.jobs)) == (6, 2)


# -- what is recorded ------------------------------------------------------------------------


def test_a_rule_is_added_to_the_recorded_ones(typed: Typed, engine: FakeEngine) -> None:
    """``run RUN --on``: one event with all rules; a ladder is replaced whole."""
    made(typed, "--on", "exit:75=again; leave", "--on", "oom=--mem=2x")
    typed("run", "x", "--on", "exit:75=--mem=3x", "--dry-run")
    assert recorded(typed, PolicyChanged) == []
    typed("run", "x", "--on", "exit:75=--mem=3x")
    (change,) = recorded(typed, PolicyChanged)
    assert change.on == ("exit:75=--mem=3x", "oom=--mem=2x")
    assert typed.noted("policy-recorded")[0]["max_attempts"] == 4
    fail(engine, State.FAILED, exit_code=75)
    typed("tick", "x")
    assert overrides(engine, "mem") == [None, "12G"]


def test_a_run_without_a_policy_gets_one(typed: Typed, engine: FakeEngine) -> None:
    """``run RUN --retry`` gives four attempts; ``--max-attempts 1`` switches repair off."""
    made(typed)
    typed("run", "x", "--retry")
    (change,) = recorded(typed, PolicyChanged)
    assert (change.max_attempts, change.retry) == (4, True)
    typed("run", "x", "--max-attempts", "1")
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert len(engine.jobs) == 1
    assert typed.json("status", "x")["slices"][0]["cause"] == "oom"


def test_rules_of_a_settings_file_are_merged_by_cause(typed: Typed, engine: FakeEngine) -> None:
    """A typed rule replaces that of the file; an existing run keeps what it recorded."""
    settings = typed.folder / "slurmslice.toml"
    settings.write_text(
        '[policy]\nretry = true\n[policy.on]\noom = ["--mem=16G", "--mem=64G -p fat"]\n'
        '"exit:75" = "again"\n'
    )
    made(typed, "--on", "exit:75=leave")
    record = RunDirectory(typed.folder / "runs" / "x").read_record()
    assert record.on == ("oom=--mem=16G; --mem=64G -p fat", "exit:75=leave")
    assert (record.retry, record.max_attempts) == (True, 4)
    settings.write_text('[policy.on]\nnode = "leave"\n')
    typed("run", "x")
    assert typed.noted("policy-kept")
    typed("run", "x", "--on", "check=again")
    (change,) = recorded(typed, PolicyChanged)
    assert change.on == (*record.on, "check=again")
    assert change.retry is None


def test_render_records_the_rules(typed: Typed, engine: FakeEngine) -> None:
    """The run follows them later, and the preview shows each ladder with its numbers."""
    typed("render", *LINE, "--retry", "--on", "exit:75=again", *COMMAND)
    ladders = {one["cause"]: one["ladders"] for one in typed.noted("repair-ladder")}
    assert ladders["oom"] == ["4G → 8G → 16G → 32G, then left"]
    assert ladders.keys() == {"exit:75", "oom", "timeout", "node", "preempted", "boot", "bad-node"}
    typed("run", "x")
    fail(engine, State.FAILED, exit_code=75)
    typed("tick", "x")
    assert indices(engine) == [[0, 1, 2], [0]]
    assert recorded(typed, PolicyChanged) == []


def test_the_preview_has_the_ladder_of_each_request(typed: Typed, engine: FakeEngine) -> None:
    """Slices with different memory have different ladders."""
    (typed.folder / "t.csv").write_text("name,mem\na,1\nb,2\n")
    table = ("--table", "t.csv", "--key", "name", "--mem", "{mem}G")
    typed("run", *table, "--retry", "--dry-run", *COMMAND)
    ladders = {one["cause"]: one["ladders"] for one in typed.noted("repair-ladder")}
    assert ladders["oom"] == ["1G → 2G → 4G → 8G, then left", "2G → 4G → 8G → 16G, then left"]


BAD = [
    (("--on", "ooms=again"), "unknown-cause"),
    (("--on", "oom=twice"), "unknown-step"),
    (("--on", "oom"), "bad-rule"),
    (("--on", "oom=--mem=much"), "bad-memory"),
    (("--retry", "--max-attempts", "1"), "options-conflict"),
    (("--on", "oom=again", "--max-attempts", "1"), "options-conflict"),
]


@pytest.mark.parametrize(("options", "code"), BAD)
def test_a_wrong_rule_makes_nothing(
    typed: Typed, engine: FakeEngine, options: tuple[str, ...], code: str
) -> None:
    """Neither a run nor an event."""
    typed("run", *LINE, *options, *COMMAND)
    assert (typed.code, typed.error) == (2, code)
    assert not (typed.folder / "runs").exists()
    made(typed)
    typed("run", "x", *options)
    assert (typed.code, typed.error) == (2, code)
    assert recorded(typed, PolicyChanged) == []
    assert len(engine.jobs) == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[policy.on]\nooms = "again"', "unknown-cause"),
        ('[policy.on]\noom = "twice"', "unknown-step"),
        ("[policy.on]\noom = 2", "bad-value"),
        ('[policy]\non = "oom=again"', "bad-value"),
        ('[on]\noom = "again"', "unknown-key"),
    ],
)
def test_a_wrong_rule_in_a_settings_file_names_its_place(
    typed: Typed, engine: FakeEngine, text: str, code: str
) -> None:
    """Nothing is made, and the error names the file."""
    (typed.folder / "slurmslice.toml").write_text(text)
    typed("run", *LINE, *COMMAND)
    assert (typed.code, typed.error) == (2, code)
    assert "slurmslice.toml" in typed.stderr
    assert not (typed.folder / "runs").exists()


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Disk quota exceeded", "quota"),
        ("no licence is free", "licence"),
        ("x" * (65 << 10) + "\nMemoryError", "memory-error"),
        ("MemoryError\n" + "x" * (65 << 10), "exit:1"),
        (None, "exit:1"),
    ],
)
def test_the_end_of_a_log_names_the_cause(
    typed: Typed, engine: FakeEngine, text: str | None, cause: str
) -> None:
    """It is read once, at the end of the slice, and kept; only a rule that names it repairs it."""
    made(typed, "--retry", "--on", "failed=again", "--cause", "licence=no licen*e")
    log = typed.folder / "runs" / "x" / "submissions" / "001" / "logs" / "0.log"
    log.parent.mkdir(exist_ok=True)
    if text is not None:
        log.write_text(text)
    fail(engine, State.FAILED, exit_code=1)
    typed("status", "x")
    log.unlink(missing_ok=True)
    assert typed.json("status", "x")["slices"][0]["cause"] == cause
    typed("tick", "x")
    assert indices(engine) == [[0, 1, 2], *([[0]] if cause == "exit:1" else [])]
    typed("run", "x", "--on", f"{cause}=again")
    assert indices(engine) == [[0, 1, 2], [0]]


def test_a_log_that_is_no_file_names_no_cause(typed: Typed, engine: FakeEngine) -> None:
    """A FIFO in its place does not stop the poll."""
    made(typed, "--retry")
    log = typed.folder / "runs" / "x" / "submissions" / "001" / "logs" / "0.log"
    log.parent.mkdir(exist_ok=True)
    os.mkfifo(log)
    fail(engine, State.FAILED, exit_code=1)
    assert typed.json("status", "x")["slices"][0]["cause"] == "exit:1"


@pytest.mark.parametrize("options", [("--retry",), ("--max-attempts", "3")])
def test_a_hang_is_left_by_default(
    typed: Typed, engine: FakeEngine, options: tuple[str, ...]
) -> None:
    """A rule may name it."""
    made(typed, *options)
    ended = SlotProgress(exit_code=143, signal_received="TERM", cpu_s=0.5)
    fail(engine, State.TIMEOUT, elapsed_s=3600.0, cpu_s=0.1, progress=ended)
    typed("tick", "x")
    assert len(engine.jobs) == 1
    assert noted(typed)["not_repaired"][0]["cause"] == "hang"
    typed("run", "x", "--on", "hang=again")
    assert indices(engine) == [[0, 1, 2], [0]]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--cause", "licence"), "bad-cause"),
        (("--cause", "node=hello"), "bad-cause"),
        (("--on", "licence=again"), "unknown-cause"),
    ],
)
def test_a_wrong_cause_makes_no_run(typed: Typed, options: tuple[str, ...], code: str) -> None:
    """Nothing is made; the error has its code."""
    typed("run", *LINE, *options, *COMMAND)
    assert (typed.code, typed.error) == (2, code)
    assert not (typed.folder / "runs" / "x").exists()


def left_by_budget(typed: Typed) -> list[str]:
    """Return the keys that ``status`` says are left because of the budget."""
    left = noted(typed)["not_repaired"]
    return [one["keys"] for one in left if "budget" in one["reason"]]


def test_repairs_stay_within_the_budget(typed: Typed, engine: FakeEngine) -> None:
    """An attempt in flight is charged its limit, one that ended its use; the rest is left."""
    made(typed, "--retry", "--budget", "2h", "-c", "2")  # an attempt may use 2 CPU hours
    for index in range(3):
        engine.end("100", index, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert indices(engine) == [[0, 1, 2], [0]]
    assert left_by_budget(typed) == ["1-2"]
    engine.end("101", 0, State.COMPLETED, started_at=1000, ended_at=1001)
    typed("tick", "x")
    assert indices(engine) == [[0, 1, 2], [0]]  # 2 h + 2 s do not fit
    assert left_by_budget(typed) == ["1-2"]
    typed("run", "x", "--budget", "2.01h")
    assert indices(engine) == [[0, 1, 2], [0], [1]]
    assert recorded(typed, PolicyChanged)[-1].budget == "2.01h"


def test_a_failed_repair_is_charged_what_it_used(typed: Typed, engine: FakeEngine) -> None:
    """Attempts that were repaired again count too; those before a person's resubmit do not."""
    made(typed, "--retry", "--budget", "3h")  # an attempt may use 1 CPU hour
    fail(engine, State.OUT_OF_MEMORY, started_at=1000, ended_at=4600, elapsed_s=3600.0)
    for _ in range(2):
        typed("tick", "x")
        fail(engine, State.OUT_OF_MEMORY, started_at=1000, ended_at=4600, elapsed_s=3600.0)
    typed("tick", "x")
    assert indices(engine)[1:] == [[0], [0], [0]]
    fail(engine, State.NODE_FAIL, node="n1", started_at=1000, ended_at=4600, elapsed_s=3600.0)
    typed("tick", "x")
    assert left_by_budget(typed) == ["0"]
    typed("resubmit", "x")
    fail(engine, State.NODE_FAIL, node="n1")
    typed("tick", "x")
    assert len(engine.jobs) == 6


@pytest.mark.parametrize(("budget", "repaired"), [("1x", 3), ("0.7x", 2), ("0.3x", 0)])
def test_a_share_of_the_run(typed: Typed, engine: FakeEngine, budget: str, repaired: int) -> None:
    """1x is as much as the first attempts of all slices may use."""
    made(typed, "--retry", "--budget", budget)
    for index in range(3):
        engine.end("100", index, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert sum(map(len, indices(engine)[1:])) == repaired


def test_an_attempt_of_unknown_cost_does_not_fit(typed: Typed, engine: FakeEngine) -> None:
    """Without a time limit, nobody knows what an attempt may use."""
    typed("run", "-a", "0-2", "--name", "x", "--mem", "4G", "--retry", "--budget", "9x", *COMMAND)
    fail(engine, State.OUT_OF_MEMORY)
    typed("tick", "x")
    assert len(engine.jobs) == 1
    assert left_by_budget(typed) == ["0"]


@pytest.mark.parametrize(
    ("options", "code"),
    [(("--retry", "--budget", "0x"), "bad-budget"), (("--budget", "1x"), "budget-without-repair")],
)
def test_a_wrong_budget_makes_no_run(typed: Typed, options: tuple[str, ...], code: str) -> None:
    """Nothing is made; the error has its code."""
    typed("run", *LINE, *options, *COMMAND)
    assert (typed.code, typed.error) == (2, code)
    assert not (typed.folder / "runs" / "x").exists()


def test_a_preview_tells_the_budget(typed: Typed) -> None:
    """In CPU hours, before anything is made."""
    typed("run", *LINE, "--retry", "--budget", "2x", "--dry-run", *COMMAND)
    (found,) = typed.noted("repair-budget")
    assert found["cpu_s"] == 2 * 3 * 3600


def test_repairs_that_wait_in_the_queue_are_charged(typed: Typed, engine: FakeEngine) -> None:
    """Slurm accepts nothing for now; later steps see what is queued already."""
    made(typed, "--retry", "--budget", "1h")  # an attempt may use 1 CPU hour

    def refuse(_: SubmitRequest) -> None:
        raise SubmitLimitError("the queue is full")

    engine.on_submit = refuse
    for index in range(3):
        engine.end("100", index, State.OUT_OF_MEMORY)
        typed("tick", "x")
    assert [event.rows for event in recorded(typed, Queued) if event.cause] == ["0"]
    assert left_by_budget(typed) == ["1-2"]


def test_a_run_is_not_finished_while_a_repair_is_due(typed: Typed, engine: FakeEngine) -> None:
    """Exit code 4 and ``finished`` agree; without a repair that is due it is 1."""
    made(typed, "--retry")
    engine.end("100", 0, State.OUT_OF_MEMORY)
    for index in (1, 2):
        engine.end("100", index, State.COMPLETED)
    typed("status", "x", "--exit-code")
    assert typed.code == 4
    assert typed.json("status", "x")["finished"] is False
    typed("tick", "x")
    engine.end("101", 0, State.FAILED, exit_code=1)
    typed("status", "x", "--exit-code")
    assert typed.code == 1
    assert typed.json("status", "x")["finished"] is True


def test_a_slice_that_a_person_cancelled_is_left_with_that_reason(
    typed: Typed, engine: FakeEngine
) -> None:
    """It ran out of memory before the cancel reached it."""
    made(typed, "--retry")
    typed("cancel", "x", "0")
    fail(engine, State.OUT_OF_MEMORY)
    (left,) = noted(typed)["not_repaired"]
    assert (left["keys"], left["cause"]) == ("0", "oom")
    assert "cancelled" in left["reason"]
    typed("tick", "x")
    assert len(engine.jobs) == 1


def test_status_promises_no_repair_of_a_held_run(typed: Typed, engine: FakeEngine) -> None:
    """A person decides first."""
    made(typed, "--retry", "--max-failures", "1")
    engine.end("100", 0, State.FAILED, exit_code=1)
    engine.end("100", 1, State.OUT_OF_MEMORY)
    typed("tick", "x")
    said = typed("status", "x")
    assert len(engine.jobs) == 1
    assert "1 (oom): not now, because the run is held" in said


def test_a_budget_does_not_forget_attempts_with_their_states(
    typed: Typed, engine: FakeEngine
) -> None:
    """``states.tsv`` was lost: each attempt of unknown duration may have used its limit."""
    made(typed, "--on", "exit:3=again", "--budget", "2.5h")  # an attempt may use 1 CPU hour
    for _ in range(4):
        fail(engine, State.FAILED, exit_code=3, started_at=1000, ended_at=4600)
        typed("tick", "x")
    assert indices(engine)[1:] == [[0], [0]]
    (typed.folder / "runs" / "x" / "states.tsv").unlink()
    typed("tick", "x")
    assert len(engine.jobs) == 3


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ((), ["licence"]),
        (("--retry", "--on", "failed=again"), ["licence"]),
        (("--on", "licence=again"), []),
        (("--on", "licence=leave"), []),
        (("--continue-on", "timeout,licence", "--checkpoint", "{}.cpt"), []),
        (("--cause", "quota=over the quota", "--on", "quota=again"), ["licence"]),
    ],
)
def test_a_cause_that_no_rule_names_is_told(
    options: tuple[str, ...], named: list[str], typed: Typed
) -> None:
    """A named cause is repaired only by its own rule, so without one such failures are left."""
    typed("run", "--dry-run", *LINE, "--cause", "licence=no licence", *options, *COMMAND)
    assert typed.code == 0, typed.stderr
    assert [one["cause"] for one in typed.noted("cause-without-rule")] == named


@pytest.mark.parametrize("options", [(), ("--on", "failed=again"), ("--on", "oom=again"),
                                     ("--on", "exit:1-9=elsewhere")])  # fmt: skip
def test_any_number_of_attempts_can_be_shown(options: tuple[str, ...], typed: Typed) -> None:
    """The preview shows the beginning of a ladder; "as often as needed" is typed like this."""
    typed("run", "--dry-run", *LINE, "--max-attempts", str(10**12), *options, *COMMAND)
    assert typed.code == 0, typed.stderr
    assert any(str(10**12) in "".join(one["ladders"]) for one in typed.noted("repair-ladder"))
