"""What a person is told before a run is made: what it takes, and what is hardly meant."""

from __future__ import annotations

import pytest

from slurmslice.engines import Limits, Needs
from tests.fakes import FakeEngine
from tests.typed import Typed

COMMAND = ("--", "true", "{}")


# -- slices that ask for different amounts -----------------------------------------------------


def a_table(typed: Typed, slices: int = 100) -> tuple[str, ...]:
    """A table whose slices ask for 75, 100 and 50 MiB in turn."""
    rows = [f"s{n},{(75, 100, 50)[n % 3]}" for n in range(slices)]
    (typed.folder / "params.csv").write_text("\n".join(["name,mem", *rows, ""]))
    return ("--table", "params.csv", "--key", "name", "--mem", "{mem}M", "-t", "0:01:00")


def test_packs_of_slices_that_ask_for_different_amounts(engine: FakeEngine, typed: Typed) -> None:
    """The preview counts the tasks that are submitted, and has the least and the most they ask."""
    line = (*a_table(typed), "--pack", "10", "--throttle", "3", *COMMAND)
    said = typed("run", "--dry-run", *line)
    assert "100 slices, at most 3 at once" in said
    assert (
        "packing 12 array tasks of up to 10 slices that ask for the same; --mem=50M to 100M "
        "--time=00:10:00 a task" in said
    )
    assert "at worst 1.7 CPU hours, 00:40:00 from first to last, 300M at once" in said

    def end(seconds: float = 0) -> None:
        engine.end_all()

    engine.on_wait = end
    typed("run", *line)
    assert sum(len(job.tasks) for job in engine.jobs.values()) == 12
    asked = [job.order.needs for job in engine.jobs.values()]
    assert sorted(needs.mem_mib or 0 for needs in asked) == [50, 75, 100]
    assert {needs.time_s for needs in asked} == {600}


def test_the_largest_are_at_once_and_the_longest_is_last(engine: FakeEngine, typed: Typed) -> None:
    """The worst case of slices that are not packed; a task of one is not slowed by the others."""
    rows = ["n,mem,min,cpus", *(f"{n},{n}0,1,1" for n in range(1, 10)), "10,5,62,4"]
    (typed.folder / "t.csv").write_text("\n".join(rows))
    engine.limited = Limits(1001, 3, "3 fit")
    options = ("--mem", "{mem}M", "-t", "{min}", "-c", "{cpus}")
    said = typed("run", "--dry-run", "--table", "t.csv", "--key", "n", *options, *COMMAND)
    assert "at worst 4.3 CPU hours, 01:05:00 from first to last, 240M at once" in said


def test_how_many_fit_depends_on_what_they_ask_for(engine: FakeEngine, typed: Typed) -> None:
    """At most so many as of the smallest fit, and as long as where all were the largest."""

    def limits(needs: Needs) -> Limits:
        fit = 400 // (needs.mem_mib or 1)
        return Limits(1001, fit, f"{fit} fit")

    engine.limits = limits  # type: ignore[method-assign]
    said = typed("run", "--dry-run", *a_table(typed), *COMMAND)
    assert "100 slices, at most 8 at once" in said
    assert "room 8 fit" in said
    assert "00:25:00 from first to last, 800M at once" in said


def test_slices_in_different_partitions(engine: FakeEngine, typed: Typed) -> None:
    """How many run at once in all of them is not told, nor by one of them."""
    (typed.folder / "t.csv").write_text("n,p\na,main\nb,short\nc,long\n")
    engine.limited = Limits(1001, 1, "1 fit")
    line = ("--table", "t.csv", "--key", "n", "-p", "{p}", "--pack", "2", "-t", "1", *COMMAND)
    said = typed("run", "--dry-run", *line)
    assert "3 slices, as many at once as fit" in said
    assert "1 fit" not in said
    assert "3 array tasks of up to 2 slices" in said
    assert "--partition=main or short or long" in said


def test_one_slice_that_is_too_large_is_not_all_of_them(engine: FakeEngine, typed: Typed) -> None:
    """The first asks for more than there is: it is the one that is named."""

    def limits(needs: Needs) -> Limits:
        never = "no node has that much" if (needs.mem_mib or 0) > 60 else ""
        return Limits(1001, 0 if never else 4, never, never=never)

    engine.limits = limits  # type: ignore[method-assign]
    said = typed("run", *a_table(typed), *COMMAND)
    assert "no slice of it" not in said
    assert "slice 's0' could never run" in said
    assert (typed.code, engine.jobs) == (2, {})


def test_each_request_is_shown_with_its_slices(engine: FakeEngine, typed: Typed) -> None:
    """What differs, in the preview; the script, and its line by hand, say that it is a part."""
    said = typed("render", "--name", "x", *a_table(typed, 7), *COMMAND)
    assert "a slice 3 slices: --mem=75M 2 slices: --mem=100M 2 slices: --mem=50M at worst" in said
    assert "A part by hand: sbatch runs/x/script.sh (3 slices: s0, s3, s6)" in said
    script = (typed.folder / "runs" / "x" / "script.sh").read_text()
    assert "#   submit some slices:  sbatch script.sh" in script
    assert "# --mem differs between slices: above is that of the first" in script
    alike = typed("render", "--name", "y", "-a", "0-6", "--mem", "1G", *COMMAND)
    assert "The same by hand: sbatch runs/y/script.sh" in alike
    assert "7 slices: " not in alike
    assert "differs" not in (typed.folder / "runs" / "y" / "script.sh").read_text()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--pack auto --slice-time 1:00", "none: there is room for all slices at once"),
        ("--pack auto --slice-time 10:00", "none: a slice takes as long as a task should"),
        ("--pack 4 -t 6", "none: two slices do not fit into the partition's time limit"),
        ("--pack auto --slice-time 1:00 -t 6", "none: two slices do not fit"),
        ("--pack 1", ""),
        ("", ""),
    ],
)
def test_why_nothing_was_packed(engine: FakeEngine, typed: Typed, line: str, why: str) -> None:
    """Where packing was asked for, and each slice has a task of its own all the same."""
    engine.limited = Limits(1001, 8, "8 fit", max_time_s=600)
    said = typed("render", "--dry-run", "-a", "0-3", *line.split(), *COMMAND)
    assert f"packing {why}" in said if why else "packing" not in said


# -- a program that cannot be started ----------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "note"),
    [
        ("./nothere.sh", "./nothere.sh is not found here"),
        ("sub/nothere.sh", "sub/nothere.sh is not found here"),
        ("/nothere/x", "/nothere/x is not found here"),
        ("./wc.py", "./wc.py is not executable here: chmod +x ./wc.py, or name its interpreter"),
        ("./sub", "./sub is a folder here"),
        ("pyhton", "pyhton is not found on PATH here"),
        ("./does", ""),
        ("/bin/sh", ""),
        ("./{}.sh", ""),
    ],
)
def test_a_program_that_is_not_there_or_not_executable(
    typed: Typed, program: str, note: str
) -> None:
    """A note, and no refusal: on the nodes it may be another one."""
    (typed.folder / "sub").mkdir()
    for name, mode in (("wc.py", 0o644), ("does", 0o755)):
        (typed.folder / name).write_text("")
        (typed.folder / name).chmod(mode)
    said = typed("render", "-a", "0-3", "--", program, "{}")
    assert typed.code == 0
    assert f"note {note}" in said if note else "note" not in said


@pytest.mark.parametrize(
    ("command", "note"),
    [
        ("python3 wrok.py {}", "wrok.py is not found here"),
        ("bash -eu sub/wrok.sh {}", "sub/wrok.sh is not found here"),
        ("work.py {}", "work.py is not found on PATH here; ./work.py is"),
        ("python3 -u work.py {}", ""),
        ("python3 -m some.module {}", ""),
        ("python3 {}.py", ""),
    ],
)
def test_a_script_that_an_interpreter_will_not_find(typed: Typed, command: str, note: str) -> None:
    """It is noted as a program is; of what may be no file nothing is said."""
    (typed.folder / "work.py").write_text("")
    said = typed("render", "-a", "0-3", "--", *command.split())
    assert typed.code == 0
    assert f"note {note}" in said if note else "note" not in said


# -- a setup, and a pattern, that are hardly meant ----------------------------------------------


@pytest.mark.parametrize("setup", ["nothere.sh", "sub/nothere", "~/env.sh", "sub", "./sub"])
def test_a_setup_that_looks_like_a_file_must_be_one(typed: Typed, setup: str) -> None:
    """As a shell text it would fail on the node, or run as a program that sets nothing."""
    (typed.folder / "sub").mkdir()
    said = typed("run", "--dry-run", "-a", "0-3", "--setup", setup, *COMMAND)
    assert typed.code == 2
    folder = setup.endswith("sub")
    assert f"{setup} is a folder" in said if folder else f"--setup '{setup} || exit'" in said
    (typed.folder / "slurmslice.toml").write_text(f'setup = "{setup}"\n')
    assert "slurmslice.toml: setup: --setup is shell lines" in typed(
        "run", "--dry-run", "-a", "0-3", *COMMAND
    )


@pytest.mark.parametrize("setup", ["load", "X=/a/b", ". sub/env.sh", "sub/prepare || exit", ":"])
def test_a_setup_is_shown(typed: Typed, setup: str) -> None:
    """A shell text is what it was; what will run is in the preview, a file's lines too."""
    said = typed("render", "--dry-run", "-a", "0-3", "--setup", setup, *COMMAND)
    assert (typed.code, f"setup {setup}" in said) == (0, True)
    (typed.folder / "env.sh").write_text(f"{setup}\n")
    assert f"setup {setup} first" in typed(
        "render", "--dry-run", "-a", "0-3", "--setup", "env.sh", *COMMAND
    )


def test_a_pattern_that_is_a_folder(typed: Typed) -> None:
    """One slice is made of it, and how its files are had is said; a true pattern is let alone."""
    (typed.folder / "in").mkdir()
    (typed.folder / "in" / "a").write_text("")
    said = typed("render", "--dry-run", "--glob", "in", *COMMAND)
    assert typed.code == 0
    assert "--glob in is a folder, and one slice; what is in it: 'in/*'" in said
    for pattern in ("i*", "in/a", "in/*"):
        assert "folder" not in typed("render", "--dry-run", "--glob", pattern, *COMMAND)
