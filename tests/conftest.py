"""What tests share: a run on a fake cluster, and the real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.command import Words
from slurmslice.run import Run
from slurmslice.slices import SliceTable, from_range
from slurmslice.verbs.create import Wanted, describe, make
from tests.fakes import Clock, FakeEngine


@pytest.fixture
def engine() -> FakeEngine:
    """A fake cluster."""
    return FakeEngine()


@pytest.fixture
def clock(engine: FakeEngine) -> Clock:
    """A clock that goes on while the engine waits."""
    clock = Clock()

    def tick() -> None:
        clock.now += 1

    engine.on_wait = tick
    return clock


@pytest.fixture
def new_run(tmp_path: Path, engine: FakeEngine, clock: Clock) -> Callable[..., Run]:
    """Make a run on the fake cluster: slices by range or a table, and sbatch options."""

    def build(slices: str | SliceTable = "0-9", **options: str) -> Run:
        table, throttle = from_range(slices) if isinstance(slices, str) else (slices, None)
        wanted = Wanted(
            name="demo",
            command=Words(("true", "{}")),
            table=table,
            source="a test",
            throttle=throttle,
            options=tuple((name.replace("_", "-"), value) for name, value in options.items()),
            setup="",
            work_dir=str(tmp_path),
            max_attempts=1,
            environ={"PATH": "/usr/bin:/bin"},
        )
        asked, _ = describe(wanted, engine)
        return Run(make(asked, wanted, tmp_path / "runs" / "demo"), engine, clock)

    return build


@pytest.fixture
def reopen(engine: FakeEngine, clock: Clock) -> Callable[[Run], Run]:
    """The same run as another process finds it."""
    return lambda run: Run(run.place, engine, clock)
