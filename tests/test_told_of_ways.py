"""What a person is told of the ways on: what goes on by itself, what does not, what to type."""

from __future__ import annotations

from tests.fakes import FakeEngine
from tests.typed import Typed

LINE = ("-a", "0-9", "--name", "x")
COMMAND = ("--", "true", "{}")
PUTS_IN = "slurmslice run x, watch x, or tick x (from cron)."


def interrupted() -> None:
    """Ctrl-C while the engine is waited for."""
    raise KeyboardInterrupt


# -- what waits to be submitted ----------------------------------------------------------------


def test_ctrl_c_says_what_does_not_go_on(engine: FakeEngine, typed: Typed) -> None:
    """What is not in Slurm's queue yet waits for a command: how much it is, and which."""
    engine.most, engine.on_wait = 4, interrupted
    said = typed("run", *LINE, *COMMAND)
    assert typed.code == 130
    assert "What is in Slurm's queue goes on without this window." in said
    assert "6 slices waiting (not in Slurm's queue yet)." in said
    assert f"What puts them in as there is room: {PUTS_IN}" in said
    assert "6 slices waiting (not in Slurm's queue yet)." in typed("watch", "x")


def test_ctrl_c_where_all_is_in_the_queue(engine: FakeEngine, typed: Typed) -> None:
    """All slices go on, and nothing is said of more to type."""
    engine.on_wait = interrupted
    said = typed("run", *LINE, *COMMAND)
    assert "The slices go on without this window." in said
    assert "waiting (" not in said


def test_status_says_what_puts_in_what_waits(engine: FakeEngine, typed: Typed) -> None:
    """While others are in flight, too; it cannot know whether a `run` goes on somewhere."""
    engine.most = 4
    typed("render", *LINE, *COMMAND)
    typed("submit", "x")
    said = typed("status", "x")
    assert "6 slices waiting (not in Slurm's queue yet). What puts them in" in said
    assert f"{PUTS_IN} Where one of these goes on, nothing is to be typed." in said
    engine.most = None
    typed("tick", "x")
    assert "What puts them in" not in typed("status", "x")


# -- a cancel that is only shown ---------------------------------------------------------------


def test_the_dry_run_of_a_cancel_refuses_what_the_cancel_refuses(
    engine: FakeEngine, typed: Typed
) -> None:
    """A slice that shares its array task: the same words, the same exit code, nothing cancelled."""
    typed("render", *LINE, "--pack", "5", "-t", "1", *COMMAND)
    typed("submit", "x")
    shown = typed("cancel", "x", "0", "--dry-run")
    assert typed.code == 2
    assert "Slice '0' shares an array task with '2', which would end with it." in shown
    assert typed("cancel", "x", "0") == shown
    assert "Would cancel 5 slices: 0-8:2" in typed("cancel", "x", "0-8:2", "--dry-run")
    assert (typed.code, engine.cancelled) == (0, [])
    assert "Cancelled 5 slices: 0-8:2" in typed("cancel", "x", "0-8:2")
    assert "Would cancel 5 slices: 1-9:2" in typed("cancel", "x", "--dry-run")
