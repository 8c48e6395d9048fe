"""The block that ``run`` and ``watch`` repaint: it fits, and erases itself after a resize."""

from __future__ import annotations

import re

import pytest

from slurmslice.actions.follow import FollowOptions, follow_step
from slurmslice.actions.poll import poll
from slurmslice.cli.output.live_block import LiveBlock
from slurmslice.cli.output.live_view import LiveView
from slurmslice.cli.output.long_work import shown_if_long
from slurmslice.run.run import Run
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import Clock, FakeEngine
from tests.support.site import until


@pytest.mark.parametrize(("columns", "up"), [("100", 1), ("50", 3), ("30", 5)])
def test_a_block_erases_all_its_rows(
    columns: str, up: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that a narrower window has made of its lines."""
    monkeypatch.setenv("COLUMNS", "100")
    block = LiveBlock()
    block.paint(["a" * 90, "b" * 90])
    capsys.readouterr()
    monkeypatch.setenv("COLUMNS", columns)
    block.paint(["c"])
    assert capsys.readouterr().err == f"\r\x1b[{up}A\x1b[Jc"
    block.end()
    block.end()
    assert capsys.readouterr().err == "\n"


def test_without_colours_the_block_is_still_erased(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR is about colours, not about the cursor."""
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    block = LiveBlock()
    block.paint(["\x1b[31mFAILED\x1b[0m", "b"])
    assert capsys.readouterr().err == "\r\x1b[JFAILED\nb"
    block.clear()
    assert capsys.readouterr().err == "\r\x1b[1A\x1b[J"


@pytest.fixture
def busy(new_run: NewRun, engine: FakeEngine, clock: Clock) -> Run:
    """A run in which slices have ended, some with failures, and one runs for long."""
    run = new_run("0-29%20")
    follow_step(run, FollowOptions())
    job = next(iter(engine.jobs))
    for index in range(8):
        engine.run(job, index, started_at=int(clock.now))
    poll(run)
    clock.now += 900
    for index in range(7):
        failed = index in {2, 5}
        state = State.FAILED if failed else State.COMPLETED
        engine.end(job, index, state, exit_code=int(failed), elapsed_s=60.0 + index)
    poll(run)
    return run


@pytest.mark.parametrize("room", [59, 80, 200])
def test_pace_slow_slice_and_failures(busy: Run, clock: Clock, room: int) -> None:
    """Rate, time, an estimate with its basis, the throttle; no line is wider than the terminal."""
    view = LiveView()
    view.lines(busy, room)
    clock.now += 60
    lines = view.lines(busy, room)
    assert max(map(len, lines)) <= room
    said = " ".join(lines)
    assert "elapsed" in said
    assert "7 runs for 00:16:00" in said
    assert re.search(r"g\w{6} +2 +exit:1", said)
    if room == 200:
        assert "(from 7 ended)" in said
        assert "at most 20 at once" in said


def test_the_rate_counts_what_ended_while_it_was_watched(
    busy: Run, engine: FakeEngine, clock: Clock
) -> None:
    """Not what had ended before; there is none in the first seconds."""
    view = LiveView()
    assert "/min" not in view.pace_text(busy)
    clock.now += 120
    engine.end(next(iter(engine.jobs)), 7, State.COMPLETED, elapsed_s=1020.0)
    poll(busy)
    assert view.pace_text(busy).startswith("0.5/min")


@pytest.mark.parametrize("terminal", [True, False])
def test_long_work_is_shown_and_erased(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, terminal: bool
) -> None:
    """On a terminal, also if the work fails; elsewhere nothing is printed."""
    monkeypatch.setattr("slurmslice.cli.output.long_work._FIRST_S", 0.0)
    monkeypatch.setattr("slurmslice.cli.output.long_work.is_repaintable", lambda: terminal)
    said: list[str] = []

    def is_shown() -> bool:
        said.append(capsys.readouterr().err)
        return "Reading it, 4000 of 9000" in "".join(said)

    with pytest.raises(ZeroDivisionError), shown_if_long("Reading it") as show:  # noqa: PT012
        show(4000, 9000)
        if terminal:
            until(is_shown, "the line")
        raise ZeroDivisionError
    said.append(capsys.readouterr().err)
    assert "".join(said).endswith("\r\x1b[J") == terminal
    assert bool("".join(said)) == terminal


def test_short_work_is_not_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing flickers."""
    monkeypatch.setattr("slurmslice.cli.output.long_work._FIRST_S", 3600.0)
    monkeypatch.setattr("slurmslice.cli.output.long_work.is_repaintable", lambda: True)
    with shown_if_long("Reading it"):
        pass
    assert capsys.readouterr().err == ""
