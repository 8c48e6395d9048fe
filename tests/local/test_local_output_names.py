"""``--output`` and ``--error`` with real tasks on this machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.local.test_local_runs import RUN, Here, here
from tests.support.errors import error_code
from tests.support.notes import noted

__all__ = ["here"]

SHELL = "echo out $SLICE $SLICE_ATTEMPT; echo err $SLICE >&2; ((SLICE != 2))"
EACH_WAY = pytest.mark.parametrize(
    "packing", [(), ("--pack", "3"), ("--pack", "3", "--at-once", "2")]
)


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@EACH_WAY
def test_each_slice_has_its_files_and_no_other(here: Here, packing: tuple[str, ...]) -> None:
    """Folders are made. The run directory has no log, and every verb finds the text."""
    names = ("-o", "new/%x-%2a.{}", "-e", "e/{}.err")
    done = here(*RUN, "-a", "0-5", "--name", "x", *packing, *names, "--shell", SHELL)
    assert done.returncode == 1, done.stderr
    assert files_below(here.folder / "new") == [f"x-0{key}.{key}" for key in range(6)]
    assert (here.folder / "new/x-03.3").read_text() == "out 3 1\n"
    assert (here.folder / "e/3.err").read_text() == "err 3\n"
    run = here.folder / "slurmslice-runs/x"
    assert not files_below(run / "submissions/001/logs")
    assert not list((run / "submissions/001/tasks").glob("*.logs"))
    assert here("logs", "x", "2").stdout == "out 2 1\nerr 2\n"
    assert here("logs", "x", "2", "--path").stdout.splitlines() == [
        str(here.folder / "new/x-02.2"),
        str(here.folder / "e/2.err"),
    ]
    gathered = here("gather", "x", "0", "1", "3").stdout
    assert [gathered.count(f"out {key} 1\nerr {key}\n") for key in (0, 1, 3)] == [1, 1, 1]
    assert "err 2" in here("explain", "x", "2").stdout


@EACH_WAY
def test_an_attempt_keeps_the_text_of_the_one_before(here: Here, packing: tuple[str, ...]) -> None:
    """Only a file that is older than the run is overwritten."""
    for key in (1, 2):
        path = here.folder / f"{key}.out"
        path.write_text("of an earlier run, and longer than what comes now\n")
        os.utime(path, (1, 1))
    line = (*RUN, "-a", "0-3", "--name", "x", *packing, "-o", "%a.out", "--shell", SHELL)
    assert here(*line).returncode == 1
    assert here("resubmit", "x").returncode == 1
    assert (here.folder / "1.out").read_text() == "out 1 1\nerr 1\n"
    first, second = "out 2 1\nerr 2\n", "out 2 2\nerr 2\n"
    assert (here.folder / "2.out").read_text() == first + second
    assert here("logs", "x", "2").stdout == second
    shown = here("logs", "x", "2", "--all").stdout
    assert shown.count("out 2 1") == shown.count("out 2 2") == 1


@pytest.mark.parametrize("mode", ["append", "truncate"])
def test_the_mode_that_was_asked_for(here: Here, mode: str) -> None:
    path = here.folder / "2.out"
    path.write_text("before\n")
    line = (*RUN, "-a", "2", "--name", "x", "-o", "%a.out", "--open-mode", mode)
    assert here(*line, "--shell", SHELL).returncode == 1
    assert here("resubmit", "x").returncode == 1
    text = path.read_text()
    assert text.count("out") == (1 if mode == "truncate" else 2)
    assert ("before" in text) == (mode == "append")
    assert here("logs", "x", "2").stdout == "out 2 2\nerr 2\n"


def test_output_to_nowhere(here: Here) -> None:
    """It is no failure, and ``logs`` says where the text went."""
    line = (*RUN, "-a", "0-1", "--name", "x", "-o", "/dev/null", "--shell", SHELL)
    assert here(*line).returncode == 0
    shown = here("logs", "x", "1")
    assert (shown.returncode, shown.stdout) == (0, "")
    assert noted(shown.stderr, "output-discarded")


def test_a_file_that_cannot_be_written_fails_the_slice(here: Here) -> None:
    """The command does not run, and the log of the task names the file."""
    (here.folder / "file").write_text("")
    line = (*RUN, "-a", "0", "--name", "x", "-o", "file/%a.out", "--shell", "touch ran")
    assert here(*line).returncode == 1
    assert not (here.folder / "ran").exists()
    assert "file/0.out" in here("logs", "x", "0").stdout


def test_nothing_is_made_after_a_refusal(here: Here) -> None:
    done = here(*RUN, "-a", "0-1", "--name", "x", "-o", "x.out", "--shell", SHELL)
    assert (done.returncode, error_code(done.stderr)) == (2, "file-shared")
    assert not (here.folder / "slurmslice-runs").exists()
