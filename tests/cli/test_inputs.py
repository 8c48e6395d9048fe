"""Every form of input, from the command line to the arguments of the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local.test_local_runs import Here
from tests.support.errors import error_code
from tests.support.notes import noted

LOCAL = ("--engine", "local")


@pytest.fixture
def here(tmp_path: Path) -> Here:
    """An empty folder."""
    return Here(tmp_path)


def run(here: Here, *arguments: str, **more: object) -> str:
    """Complete the run x and return its stderr."""
    done = here("run", *LOCAL, "--interval", "0.2", "--name", "x", *arguments, **more)
    assert done.returncode == 0, done.stderr
    return done.stderr


def written(here: Here) -> dict[str, str]:
    """The output of each slice, by key."""
    slices = here.status("x")["slices"]
    return {one["key"]: Path(one["log"]).read_text() for one in slices}


def test_table_and_computed_column_reach_the_command(here: Here) -> None:
    """Columns arrive as words and variables; hostile values stay data."""
    hostile = "a$(touch pwned)`x`;'\n\\t*"
    (here.folder / "p.csv").write_text(f'name,mass\n"{hostile}",1\nb,2\n')
    run(
        here, "--table", "p.csv", "--key", "mass", "--column", "out={{ name }}-{{ row }}",
        "--", "printenv", "SLICE", "SLICE_NAME", "SLICE_OUT", "SLICE_ROW",
    )  # fmt: skip
    assert written(here) == {"1": f"1\n{hostile}\n{hostile}-0\n0\n", "2": "2\nb\nb-1\n1\n"}
    assert not (here.folder / "pwned").exists()


def test_job_file_runs_line_by_line(here: Here) -> None:
    """Bash runs each line in the run's folder; the key is the line's number."""
    lines = (
        "# two jobs\necho {} $SLICE; exit 0; echo not this\n\nfalse || printf '%s' \"a  b\" | cat\n"
    )
    (here.folder / "jobs.txt").write_text(lines)
    said = run(here, "--job-file", "jobs.txt")
    assert written(here) == {"2": "{} 2\n", "4": "a  b"}
    assert "bash -c -- 'echo {} $SLICE; exit 0; echo not this'" in said


def test_edited_job_file_does_not_change_a_run(here: Here) -> None:
    """A run keeps the lines of the time when it was made."""
    jobs = here.folder / "jobs.txt"
    jobs.write_text("echo before\n")
    assert here("render", *LOCAL, "--name", "x", "--job-file", "jobs.txt").returncode == 0
    jobs.write_text("echo after\n")
    assert here("run", "x", "--interval", "0.2").returncode == 0
    assert written(here) == {"1": "before\n"}


def test_preview_of_a_pattern_and_of_a_grid(here: Here) -> None:
    """The preview shows the number of slices, and the first and last command, in order."""
    (here.folder / "d" / "e").mkdir(parents=True)
    for name in ("d/p-10.h5", "d/p-9.h5", "d/e/p-1.h5"):
        (here.folder / name).touch()
    said = here("render", *LOCAL, "--dry-run", "--glob", "d/*.h5", "--", "cat", "{}", "{stem}")
    assert said.stderr.index("cat d/p-9.h5 p-9\n") < said.stderr.index("cat d/p-10.h5 p-10\n")
    said = here("render", *LOCAL, "--dry-run", "--glob", "**/*.h5", "--", "cat", "{parent}")
    assert " cat d/e\n" in said.stderr
    grid = ("--grid", "lr=0.1,0.01", "--grid", "seed=0-4")
    said = here("render", *LOCAL, "--dry-run", *grid, "--", "./x", "{lr}", "{}")
    assert [one["slices"] for one in noted(said.stderr, "preview")] == [10]
    assert "./x 0.01 lr=0.01,seed=4\n" in said.stderr


@pytest.mark.parametrize(
    ("option", "text"),
    [("--slices-from", "a\nb\n"), ("--table", "x\na\nb\n"), ("--job-file", "echo a\necho b\n")],
)
def test_slices_are_read_from_standard_input(here: Here, option: str, text: str) -> None:
    """``-`` reads the slices from a pipe."""
    command = () if option == "--job-file" else ("--", "true", "{}")
    done = here("render", *LOCAL, "--dry-run", option, "-", *command, input=text, stdin=None)
    assert done.returncode == 0, done.stderr
    assert [one["slices"] for one in noted(done.stderr, "preview")] == [2]


def test_same_command_continues_unless_the_file_changed(here: Here) -> None:
    """The content of the file decides if it is the same run."""
    (here.folder / "p.csv").write_text("a\n1\n")
    line = ("--table", "p.csv", "--column", "b={{ a }}{{ slice }}", "--", "echo", "{b}")
    assert not noted(run(here, *line), "run-continued")
    assert noted(run(here, *line), "run-continued") == [{"run": "x"}]
    (here.folder / "p.csv").write_text("a\n2\n")
    done = here("run", *LOCAL, "--name", "x", *line)
    assert (done.returncode, error_code(done.stderr)) == (2, "run-differs")
    assert "p.csv" in done.stderr


def test_changed_slice_table_is_refused(here: Here) -> None:
    """A slice table with one changed byte is refused, and nothing is submitted."""
    here("render", *LOCAL, "--name", "x", "--grid", "a=1,2", "--", "true", "{}")
    table = here.folder / "slurmslice-runs" / "x" / "slices.tsv"
    table.write_bytes(table.read_bytes().replace(b"a=2", b"a=3"))
    done = here("submit", "x")
    assert (done.returncode, error_code(done.stderr)) == (2, "table-changed")
    assert "slices.tsv" in done.stderr
