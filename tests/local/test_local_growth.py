"""A run grows on this machine, from the command line, in packs."""

from __future__ import annotations

from pathlib import Path

from tests.local.test_local_runs import RUN, Here, here

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
