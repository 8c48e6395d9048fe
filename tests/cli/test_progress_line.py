"""The line of ``run`` and ``watch`` on a terminal: it fits, and shows what matters first."""

from __future__ import annotations

import re

import click
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from slurmslice.actions.poll import PollResult
from slurmslice.actions.submit_queued import SubmitOutcome
from slurmslice.cli.output.live_progress import Progress
from slurmslice.cli.output.progress_line import progress_line
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import FakeEngine

EVERY = dict.fromkeys(State, 100_000)


@given(
    states=st.dictionaries(st.sampled_from(list(State)), st.integers(1, 1_000_000), min_size=1),
    why=st.sampled_from(["", " (in the queue: Resources)", " (" + "為什麼 " * 60 + ")"]),
    room=st.integers(59, 200),
)
@example(states=EVERY, why=" (in the queue)", room=59)
def test_running_and_failed_are_never_cut(states: dict[State, int], why: str, room: int) -> None:
    """The line fits its room. It has the number of running slices and of all failures."""
    total = sum(states.values())
    line = click.unstyle(progress_line(states, why, room))
    assert cell_len(line) <= room
    assert f"/{total} ended" in line
    shown = {word: int(number) for number, word in re.findall(r"(\d+) ([A-Za-z_]+)\b", line)}
    failed = sum(number for state, number in states.items() if state.failed)
    by_state = sum(number for word, number in shown.items() if State.__members__.get(word) in
                   {state for state in State if state.failed})  # fmt: skip
    assert shown.get("failed", by_state) == failed
    assert shown.get("RUNNING", 0) == states.get(State.RUNNING, 0)


def test_failed_and_running_come_first() -> None:
    """The bar and the remark are shortened before any count is."""
    states = {State.COMPLETED: 40, State.PENDING: 30, State.FAILED: 2, State.RUNNING: 3}
    lines = [click.unstyle(progress_line(states, " (because)", room)) for room in (200, 82, 75, 60)]
    assert len({line.partition("ended: ")[2].removesuffix(" (because)") for line in lines}) == 1
    assert lines[0].index("FAILED") < lines[0].index("RUNNING") < lines[0].index("COMPLETED")
    assert ["█" in line for line in lines] == [True, True, False, False]
    assert "because" in lines[0]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_run_uses_the_width_of_the_terminal(
    width: int,
    new_run: NewRun,
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A long reason never hides the counts, and the line never wraps."""
    monkeypatch.setenv("COLUMNS", str(width))
    progress = Progress()
    progress._terminal = True
    progress(new_run(), PollResult(), SubmitOutcome(wait_reason="the queue is full " * 20))
    said = click.unstyle(capsys.readouterr().err)
    lines = said.replace("\r", "").replace("\x1b[J", "").splitlines()
    assert max(map(len, lines)) < width
    assert "10 WAITING" in lines[0]
