"""The choice of a run by name, here and among the user's runs elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.fakes import FakeEngine
from tests.support.typed import Typed


@pytest.fixture
def projects(typed: Typed, engine: FakeEngine) -> list[Path]:
    """Three folders, each with a run ``wc`` with all slices in flight, the oldest first."""
    typed.patch.delenv("SLURMSLICE_RUNS")
    made = []
    for number, slices in enumerate(("0-1", "0-2", "0-3")):
        folder = typed.folder / f"proj{number}"
        folder.mkdir()
        typed.patch.chdir(folder)
        typed("render", "-a", slices, "--name", "wc", "--", "true", "{}")
        typed("submit", "wc")
        assert typed.code == 0
        made.append(folder / "slurmslice-runs" / "wc")
        os.utime(made[-1] / "run.json", (1_800_000_000 + number,) * 2)
    assert len(engine.jobs) == 3
    return made


def forget(run: Path) -> None:
    """Hide a run, as if it were deleted."""
    run.rename(run.parent.parent / "gone")


CHANGING = (
    ("cancel", "wc"),
    ("cancel", "wc", "--dry-run"),
    ("resubmit", "wc"),
    ("resubmit", "wc", "--dry-run"),
    ("submit", "wc"),
    ("run", "wc"),
    ("tick", "wc"),
    ("throttle", "wc", "2"),
    ("attach", "wc", "100"),
)


@pytest.mark.parametrize("words", CHANGING)
def test_changing_command_refuses_an_ambiguous_name(
    typed: Typed, engine: FakeEngine, projects: list[Path], words: tuple[str, ...]
) -> None:
    """The error names the paths of all runs; a path selects one."""
    typed.patch.chdir(typed.folder)
    engine.on_wait = engine.end_all  # a command that follows one of the runs would end
    typed(*words)
    assert (typed.code, engine.cancelled, engine.throttled) == (2, [], [])
    assert (typed.error, typed.fields) == ("ambiguous-run", {"run": "wc", "runs": 3})
    assert all(f"  {path}" in typed.lines for path in projects)
    typed("cancel", str(projects[0]))
    assert (typed.code, typed.error, len(engine.cancelled)) == (0, "", 1)


def test_reading_command_names_the_run_it_chose(typed: Typed, projects: list[Path]) -> None:
    """It takes the newest run; a note names its path and the others. Data output is the same."""
    typed.patch.chdir(typed.folder)
    said = typed("status", "wc")
    assert typed.code == 0
    assert typed.noted("run-elsewhere") == [{"path": str(projects[2]), "runs": 3}]
    assert all(str(path) in said for path in projects)
    assert typed.json("status", "wc")["directory"] == str(projects[2])


@pytest.mark.parametrize("words", [("status", "wc"), ("cancel", "wc", "--dry-run")])
def test_only_run_elsewhere_is_chosen_and_named(
    typed: Typed, projects: list[Path], words: tuple[str, ...]
) -> None:
    """This also works in the folder of a deleted run with the same name."""
    forget(projects[0])
    forget(projects[1])
    for folder in (projects[0].parent.parent, typed.folder):
        typed.patch.chdir(folder)
        typed(*words)
        assert typed.code == 0
        assert typed.noted("run-elsewhere") == [{"path": str(projects[2]), "runs": 1}]


def test_run_here_is_chosen_without_a_note(typed: Typed, projects: list[Path]) -> None:
    """It is found in its folder, below it, or by its path, even if other runs have its name."""
    below = projects[0].parent.parent / "data"
    below.mkdir()
    for folder, name in (
        (projects[0].parent.parent, "wc"),
        (below, "wc"),
        (typed.folder, "proj0/slurmslice-runs/wc"),
    ):
        typed.patch.chdir(folder)
        said = typed("cancel", name, "--dry-run")
        assert (typed.code, str(typed.folder) in said) == (0, False)
