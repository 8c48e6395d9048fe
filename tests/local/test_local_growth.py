"""A run grows on this machine, from the command line, in packs."""

from __future__ import annotations

from pathlib import Path

from tests.local.test_local_runs import RUN, Here, here
from tests.support.errors import error_code

__all__ = ["here"]

WORK = 'read -r text <"$SLICE"; echo "$text" >>"ran.$SLICE_STEM"'


def arrive(folder: Path, first: int, last: int) -> None:
    """Let files arrive."""
    (folder / "in").mkdir(exist_ok=True)
    for number in range(first, last):
        (folder / "in" / f"f{number}").write_text(f"{number}\n")


def ran(folder: Path) -> dict[str, str]:
    """Return what each slice has written, by the name of its file."""
    return {path.name.removeprefix("ran."): path.read_text() for path in folder.glob("ran.*")}


def test_lines_arrive_and_are_corrected(here: Here) -> None:
    """Each slice runs once with its newest values; one that is done runs again if named."""
    lines = [f"echo {n} >>ran.{n}" for n in range(90)]
    source, file = ("--job-file", "jobs"), here.folder / "jobs"

    def write(last: int) -> None:
        file.write_text("\n".join(["# a comment", *lines[:last]]) + "\n")

    write(40)
    made = here("render", "--engine", "local", "--open", *source, "--name", "j", "--pack", "10")
    assert made.returncode == 0, made.stderr
    lines[3], lines[17] = "echo new >>ran.3", "echo new >>ran.17"
    write(40)
    assert here("extend", "j", *source).returncode == 0
    assert here("run", "j").returncode == 4
    for last in (70, 90):
        write(last)
        assert here("extend", "j", *source).returncode == 0
    lines[50] = "echo again >>ran.50"
    lines.insert(20, "echo more >>ran.more")
    write(91)
    refused = here("extend", "j", *source)
    assert (refused.returncode, error_code(refused.stderr)) == (2, "slices-changed")
    assert here("extend", "j", *source, "--again", "52").returncode == 0
    expected = {str(n): f"{n}\n" for n in range(90)} | {"more": "more\n"}
    assert ran(here.folder) == expected | {"3": "new\n", "17": "new\n", "50": "50\nagain\n"}
    assert here.counts("j") == {"COMPLETED": 91}


def test_files_arrive_in_portions(here: Here) -> None:
    """No slice is done twice and none is missing; the step waits for the last portion."""
    arrive(here.folder, 0, 60)
    source = ("--glob", "in/*")
    first = here(
        *RUN, "--open", *source, "--name", "g", "--pack", "20", "--at-once", "2",
        "--then", "echo x >>then", "--shell", WORK,
    )  # fmt: skip
    assert first.returncode == 4, first.stderr
    for last in (110, 150):
        arrive(here.folder, last - 50, last)
        assert here("extend", "g", *source).returncode == 0
    assert here("extend", "g", *source).returncode == 5
    assert ran(here.folder) == {f"f{n}": f"{n}\n" for n in range(150)}
    assert here.counts("g") == {"COMPLETED": 150}
    assert not (here.folder / "then").exists()
    assert here("extend", "g", "--close").returncode == 0
    assert here("run", "g").returncode == 0
    assert (here.folder / "then").read_text() == "x\n"
