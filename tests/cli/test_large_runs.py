"""Messages for large and packed runs, on the fake cluster."""

from __future__ import annotations

from slurmslice.engines.protocol import TaskLimits
from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed


def test_the_last_line_of_submit_counts_waiting_slices(typed: Typed, engine: FakeEngine) -> None:
    """``submit`` counts waiting slices; ``tick`` submits them and reports the end."""
    engine.most = 30
    typed("render", "-a", "0-99", "--name", "x", "--", "true", "{}")
    typed("submit", "x")
    assert typed.code == 0
    (submitted,) = typed.noted("submitted")
    assert (submitted["slices"], submitted["keys"]) == (30, "0-29")
    assert typed.noted("waiting") == [{"slices": 70}]
    assert "MaxSubmit is 30" in typed.lines[-1]  # the engine's reason
    assert "tick x" in typed.lines[-1]
    typed("tick", "x")
    assert typed.noted("waiting") == [{"slices": 70}]
    for _ in range(4):
        engine.end_all()
        said = typed("tick", "x", "--exit-code")
    assert "COMPLETED 100" in said
    assert typed.code == 0
    typed("tick", "x", "--exit-code")
    assert not typed.noted("submitted")


def test_tick_makes_the_attempts_that_run_allowed(typed: Typed, engine: FakeEngine) -> None:
    """After an interrupted ``run --max-attempts 2``, ticks submit failed slices once more."""
    engine.on_wait = lambda: (_ for _ in ()).throw(KeyboardInterrupt)
    typed("run", "-a", "0-4", "--name", "x", "--max-attempts", "2", "--", "true", "{}")
    assert typed.code == 130
    engine.end_all(State.FAILED)
    typed("tick", "x")
    assert [one["slices"] for one in typed.noted("submitted")] == [5]
    engine.end_all(State.FAILED)
    typed("tick", "x", "--exit-code")
    assert (typed.code, typed.noted("submitted")) == (1, [])


def test_the_preview_of_packs(typed: Typed, engine: FakeEngine) -> None:
    """It has the number of tasks, the slices per task, and the request of a task."""
    pool = ("--pack", "12", "--at-once", "4", "-t", "10", "--mem", "1G")
    typed("render", "-a", "0-99", "--name", "x", *pool, "--dry-run", "--", "true", "{}")
    (packing,) = typed.noted("packing")
    assert packing == {
        "tasks": 9,
        "pack": 12,
        "at_once": 4,
        "cut": False,
        # a CPU for each, also where none was asked for
        "options": {"mem": "4G", "time": "00:30:00", "cpus-per-task": "4"},
    }
    engine.limits = lambda request: TaskLimits(1001, max_time_s=1200)  # type: ignore[method-assign]
    typed("render", "-a", "0-99", "--name", "x", "--pack", "12", "-t", "10", "--dry-run",
          "--", "true", "{}")  # fmt: skip
    (packing,) = typed.noted("packing")
    assert (packing["tasks"], packing["pack"], packing["cut"]) == (50, 2, True)


def test_the_worst_case_of_packs_counts_tasks(typed: Typed, engine: FakeEngine) -> None:
    """Four tasks at a time with 10 slices each take ten minutes per task."""
    engine.limits = lambda request: TaskLimits(1001, 16, "16 fit")  # type: ignore[method-assign]
    asked = ("-t", "1", "--mem", "100M", "--dry-run", "--", "true", "{}")
    for pack, at_once, worst in (
        (("--pack", "10"), 4, ("0.7", "00:10:00", "400M")),
        ((), 16, ("0.7", "00:03:00", "1600M")),
    ):
        typed("render", "-a", "0-39", "--name", "x", *pack, *asked)
        assert typed.noted("preview") == [{"run": "x", "slices": 40, "at_once": at_once}]
        (line,) = (line for line in typed.lines if worst[1] in line and "CPU" in line)
        assert {*worst} <= {*line.replace(",", "").split()}


def test_automatic_packs_use_all_tasks_that_fit(typed: Typed, engine: FakeEngine) -> None:
    """Forty slices of one second run in parallel if 16 tasks fit."""
    engine.limits = lambda request: TaskLimits(1001, 16, "16 fit")  # type: ignore[method-assign]
    typed("render", "-a", "0-39", "--pack", "auto", "--slice-time", "0:01", "--dry-run",
          "--", "true", "{}")  # fmt: skip
    (packing,) = typed.noted("packing")
    assert (packing["tasks"], packing["pack"]) == (14, 3)


def test_a_throttle_that_is_never_reached_is_noted(typed: Typed, engine: FakeEngine) -> None:
    """The throttle is kept, and a note says that it is never reached."""
    engine.limits = lambda request: TaskLimits(1001, 8, "8 fit")  # type: ignore[method-assign]
    typed("render", "-a", "0-99%20", "--dry-run", "--", "true", "{}")
    assert typed.noted("throttle-above-fit") == [{"throttle": 20, "fit": 8}]
    typed("render", "-a", "0-99%8", "--dry-run", "--", "true", "{}")
    assert (typed.code, typed.noted("throttle-above-fit")) == (0, [])


def test_throttle_polls_before_it_allocates(typed: Typed, engine: FakeEngine) -> None:
    """An array that has ended gets no share. The note about a held array names the next command.

    That command is not ``scontrol release``, because it would bypass the throttle.
    """
    typed("render", "-a", "0-9", "--name", "x", "--", "true", "{}")
    typed("submit", "--only", "5")
    typed("submit")
    said = typed("throttle", "2")
    assert engine.throttled[-1] == ("100", 2)
    assert engine.held == ["101"]
    assert typed.noted("throttle-changed") == [{"limit": 2, "arrays": 2}]
    assert typed.noted("held-for-throttle") == [{"arrays": 1}]
    assert "tick x" in said
    held = TaskReport(State.PENDING, "PENDING", reason="JobHeldUser")
    engine.jobs["101"].tasks |= dict.fromkeys(range(5, 10), held)
    assert "scontrol release" not in typed("status")
    for index in range(5):
        engine.end("100", index, State.COMPLETED)
    typed("throttle", "3")
    assert engine.throttled[-1] == ("101", 3)
    assert engine.released == ["101"]
    assert typed.noted("throttle-changed") == [{"limit": 3, "arrays": 1}]
    assert not typed.noted("held-for-throttle")


def test_held_slices_name_the_command_that_releases_them(typed: Typed, engine: FakeEngine) -> None:
    """``run`` ends when nothing runs, and names the line that releases the rest."""

    def work() -> None:
        for index in range(FEWEST_FAILURES):
            engine.end("100", index, State.FAILED)

    engine.on_wait = work
    said = typed("run", "-a", "0-49", "--name", "x", "--", "true", "{}")
    assert engine.held == ["100"]
    assert "slurmslice run x --max-failures none" in said
    assert "slurmslice resubmit x --max-failures none" in said
    assert typed.code != 0
    engine.on_wait = engine.end_all
    done = typed("run", "x", "--max-failures", "none")
    assert engine.released == ["100"]
    assert "COMPLETED 30" in done
    assert "FAILED 20" in done


def test_resubmit_releases_held_slices(typed: Typed, engine: FakeEngine) -> None:
    """``resubmit --max-failures none`` submits the failed slices and releases the held ones."""

    def work() -> None:
        for index in range(FEWEST_FAILURES):
            engine.end("100", index, State.FAILED)

    engine.on_wait = work
    typed("run", "-a", "0-49", "--name", "x", "--", "true", "{}")
    typed("resubmit", "x", "--max-failures", "none")
    assert [(one["slices"], one["keys"]) for one in typed.noted("submitted")] == [(20, "0-19")]
    assert engine.released == ["100"]
    engine.on_wait = engine.end_all
    assert "COMPLETED 50" in typed("watch", "x")


def test_no_limit_from_the_start(typed: Typed, engine: FakeEngine) -> None:
    """With ``--max-failures none`` all slices are tried."""

    def work() -> None:
        engine.end_all(State.FAILED)

    engine.on_wait = work
    typed("run", "-a", "0-49", "--name", "x", "--max-failures", "none", "--", "true", "{}")
    assert not engine.held
    assert typed.code == 1


def test_slurm_is_asked_when_it_would_start(typed: Typed, engine: FakeEngine) -> None:
    """--test-only prints Slurm's answer and submits nothing."""
    typed("render", "-a", "0-9", "--name", "x", "--", "true", "{}")
    said = typed("submit", "x", "--test-only")
    assert "Job 1 to start now with 10 tasks" in said  # Slurm's own words
    assert typed.noted("test-only") == [{"submission": 1, "slices": 10}]
    assert engine.jobs == {}
    assert "WAITING 10" in typed("status", "x")


def test_a_large_dry_run_is_short(typed: Typed, engine: FakeEngine) -> None:
    """It prints a few sbatch lines and the number of others."""
    (typed.folder / "keys").write_text("".join(f"k{n}\n" for n in range(9000)))
    typed("render", "--slices-from", "keys", "--name", "x", "--", "true", "{}")
    said = typed("submit", "x", "--dry-run")
    assert said.count("sbatch --parsable") == 5
    assert typed.noted("more-submissions") == [{"slices": 3995, "submissions": 4, "last": 9}]
    assert engine.jobs == {}


def test_attach_names_the_job(typed: Typed, engine: FakeEngine) -> None:
    """``attach`` names the job; a word that is no job number is refused."""
    typed("render", "-a", "0-9", "--name", "x", "--", "true", "{}")
    typed("attach", "x", "y")
    assert (typed.code, typed.error) == (2, "missing-job")
    typed("attach", "x", "7")
    assert (typed.code, typed.error) == (2, "unknown-job")
