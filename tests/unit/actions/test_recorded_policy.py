"""``run``, ``run RUN`` and ``tick`` follow the one policy that the run has recorded."""

from __future__ import annotations

from typing import Any

import pytest

from slurmslice.policy.circuit_breaker import FEWEST_FAILURES
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Event, PolicyChanged
from slurmslice.spec.run_spec import NO_LIMIT
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("-a", "0-2", "--name", "x", "--", "true", "{}")


def interrupted() -> None:
    """Simulate Ctrl-C during the engine's wait."""
    raise KeyboardInterrupt


def recorded(typed: Typed, kind: type[Event]) -> list[Event]:
    """Return the events of one kind in the run's journal."""
    events = RunDirectory(typed.folder / "runs" / "x").events()
    return [event for event in events if isinstance(event, kind)]


def attempts_made(typed: Typed, engine: FakeEngine, *words: str) -> int:
    """Return the number of submissions after a command in which every attempt fails."""
    engine.on_wait = lambda: engine.end_all(State.FAILED)
    engine.end_all(State.FAILED)
    typed(*words)
    return len(engine.jobs)


def left(typed: Typed, engine: FakeEngine, *words: str) -> None:
    """Run a command that Ctrl-C ends at its first wait."""
    engine.on_wait = interrupted
    typed(*words)
    assert typed.code == 130


FOLLOWERS = (("run", "x"), ("run", *LINE), ("tick", "x"))


@pytest.mark.parametrize("follower", FOLLOWERS, ids=" ".join)
def test_a_new_run_records_its_attempts(
    typed: Typed, engine: FakeEngine, follower: tuple[str, ...]
) -> None:
    """The next command makes the second attempt, without ``--max-attempts``."""
    left(typed, engine, "run", "--max-attempts", "2", *LINE)
    assert attempts_made(typed, engine, *follower) == 2
    assert attempts_made(typed, engine, *follower) == 2
    assert recorded(typed, PolicyChanged) == []


@pytest.mark.parametrize("follower", FOLLOWERS, ids=" ".join)
@pytest.mark.parametrize("changer", FOLLOWERS[:2], ids=" ".join)
def test_a_change_is_recorded_and_followed(
    typed: Typed, engine: FakeEngine, changer: tuple[str, ...], follower: tuple[str, ...]
) -> None:
    """``run RUN --max-attempts 2``, or the same line with the option: one event, valid for all."""
    left(typed, engine, "run", *LINE)
    for _ in range(2):
        left(typed, engine, "run", "--max-attempts", "2", *changer[1:])
    (change,) = recorded(typed, PolicyChanged)
    assert isinstance(change, PolicyChanged)
    assert change.max_attempts == 2
    assert attempts_made(typed, engine, *follower) == 2
    assert attempts_made(typed, engine, *follower) == 2


def test_a_follower_sees_the_change_of_another(typed: Typed, engine: FakeEngine) -> None:
    """A second terminal raises the number while ``run`` follows, and ``run`` uses it."""

    def raise_once() -> None:
        if not recorded(typed, PolicyChanged):
            engine.on_wait = interrupted
            typed("run", "x", "--max-attempts", "3")
            engine.on_wait = raise_once
        engine.end_all(State.FAILED)

    engine.on_wait = raise_once
    typed("run", *LINE)
    assert typed.code == 1
    assert len(engine.jobs) == 3


def test_a_dry_run_records_nothing(typed: Typed, engine: FakeEngine) -> None:
    """A note names the values that would be recorded."""
    left(typed, engine, "run", *LINE)
    assert "--max-attempts 3" in typed("run", "x", "--max-attempts", "3", "--dry-run")
    assert typed.code == 0
    assert recorded(typed, PolicyChanged) == []
    assert attempts_made(typed, engine, "tick", "x") == 1


@pytest.mark.parametrize("follower", [FOLLOWERS[0], FOLLOWERS[1]], ids=" ".join)
def test_a_settings_file_changes_no_recorded_policy(
    typed: Typed, engine: FakeEngine, follower: tuple[str, ...]
) -> None:
    """The file describes new runs. A note says how to change the recorded policy."""
    left(typed, engine, "run", "--max-attempts", "2", *LINE)
    (typed.folder / "slurmslice.toml").write_text("[policy]\nmax-attempts = 5\n")
    assert attempts_made(typed, engine, *follower) == 2
    assert recorded(typed, PolicyChanged) == []
    assert "type --max-attempts 5" in typed(*follower)


def test_the_first_run_of_a_rendered_run_records_the_policy(
    typed: Typed, engine: FakeEngine
) -> None:
    """``render`` records no policy: a settings file counts for the first ``run RUN``."""
    typed("render", *LINE)
    (typed.folder / "slurmslice.toml").write_text("[policy]\nmax-attempts = 2\n")
    left(typed, engine, "run", "x")
    (typed.folder / "slurmslice.toml").unlink()
    assert attempts_made(typed, engine, "tick", "x") == 2


def test_submit_and_resubmit_make_one_attempt(typed: Typed, engine: FakeEngine) -> None:
    """They submit the slices that they name, and leave the policy to ``run`` and ``tick``."""
    left(typed, engine, "run", "--max-attempts", "4", *LINE)
    engine.end_all(State.FAILED)
    assert attempts_made(typed, engine, "resubmit", "x") == 2
    assert attempts_made(typed, engine, "submit", "x") == 2


def test_max_failures_on_the_same_line_counts(typed: Typed, engine: FakeEngine) -> None:
    """The same line with ``--max-failures none`` switches the circuit breaker off."""
    many = ("-a", f"0-{FEWEST_FAILURES + 9}", *LINE[2:])
    left(typed, engine, "run", *many)
    left(typed, engine, "run", "--max-failures", "none", *many)
    (change,) = recorded(typed, PolicyChanged)
    assert isinstance(change, PolicyChanged)
    assert (change.max_attempts, change.max_failures) == (None, NO_LIMIT)
    for index in range(FEWEST_FAILURES):
        engine.end("100", index, State.FAILED)
    typed("tick", "x")
    assert engine.held == []


MANY = ("-a", "0-9", *LINE[2:])


def test_the_rest_is_held_after_max_failures(typed: Typed, engine: FakeEngine) -> None:
    """Slices without attempts left count, even if others are done; a higher limit releases."""
    left(typed, engine, "run", "--max-failures", "3", *MANY)
    engine.end("100", 0, State.COMPLETED)
    for index in (1, 2):
        engine.end("100", index, State.FAILED)
    typed("tick", "x")
    assert engine.held == []
    engine.end("100", 3, State.FAILED)
    typed("tick", "x")
    assert engine.held == ["100"]
    typed("submit", "x", "--max-failures", "3")
    assert engine.released == []
    typed("submit", "x", "--max-failures", "4")
    assert engine.released == ["100"]
    (change,) = recorded(typed, PolicyChanged)
    assert isinstance(change, PolicyChanged)
    assert (change.max_attempts, change.max_failures) == (None, 4)
    engine.end("100", 4, State.FAILED)
    typed("tick", "x")
    assert engine.held == ["100", "100"]


def test_a_slice_with_attempts_left_does_not_count(typed: Typed, engine: FakeEngine) -> None:
    """A failure that is tried again does not count."""
    left(typed, engine, "run", "--max-failures", "2", "--max-attempts", "2", *MANY)
    for index in range(3):
        engine.end("100", index, State.FAILED)
    typed("tick", "x")
    assert engine.held == []
    for index in range(2):
        engine.end("101", index, State.FAILED)
    typed("tick", "x")
    assert set(engine.held) == {"100", "101"}


def test_held_attempts_end_the_run_with_its_own_exit_code(typed: Typed, engine: FakeEngine) -> None:
    """All slices ran at once and failed: 6, because attempts are left; a release uses them."""
    many = ("-a", f"0-{FEWEST_FAILURES}", *LINE[2:])
    assert attempts_made(typed, engine, "run", "--max-attempts", "2", *many) == 1
    assert typed.code == 6
    assert attempts_made(typed, engine, "run", "x", "--max-failures", "none") == 2
    assert typed.code == 1


def test_status_tells_the_attempts_left(typed: Typed, engine: FakeEngine) -> None:
    """Slices that failed once or twice have different numbers; a new policy counts at once."""

    def left_now() -> dict[str, Any]:
        typed("status", "x")
        (found,) = typed.noted("attempts-left") or [{}]
        return {name: found[name] for name in ("max_attempts", "left") if name in found}

    left(typed, engine, "run", "--max-attempts", "3", *LINE)
    assert left_now() == {}
    assert [one["attempts_left"] for one in typed.json("status", "x")["slices"]] == [2, 2, 2]
    engine.end("100", 0, State.FAILED)
    typed("tick", "x")
    engine.end("100", 1, State.COMPLETED)
    engine.end("100", 2, State.FAILED)
    engine.end("101", 0, State.FAILED)
    assert left_now() == {"max_attempts": 3, "left": {"1": "0", "2": "2"}}
    answer = typed.json("status", "x")
    assert answer["max_attempts"] == 3
    assert [one["attempts_left"] for one in answer["slices"]] == [1, 0, 2]
    attempts_made(typed, engine, "run", "x")
    assert left_now() == {"max_attempts": 3, "left": {}}
    engine.on_wait = interrupted
    typed("run", "x", "--max-attempts", "4")
    engine.end_all(State.FAILED)
    assert left_now() == {"max_attempts": 4, "left": {}}


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", ""])
def test_a_bad_limit_is_refused(typed: Typed, text: str) -> None:
    """Only a number from 1 up or ``none`` is a limit."""
    typed("run", f"--max-failures={text}", *MANY)
    assert typed.code == 2
