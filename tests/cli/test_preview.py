"""The preview of a run: its tasks and requests, and notes about likely mistakes."""

from __future__ import annotations

import pytest

from slurmslice.engines.protocol import TaskLimits
from slurmslice.sbatch.resource_request import ResourceRequest
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

COMMAND = ("--", "true", "{}")


def at_once(typed: Typed) -> object:
    """Return the number of slices that can run at once in the preview; None if not known."""
    (preview,) = typed.noted("preview")
    return preview["at_once"]


def at_worst(typed: Typed) -> set[str]:
    """Return the words of the preview's line with CPU hours, time and memory."""
    (line,) = (line for line in typed.lines if "CPU hours" in line)
    return set(line.replace(",", "").split())


# -- slices that ask for different amounts -----------------------------------------------------


def a_table(typed: Typed, slices: int = 100) -> tuple[str, ...]:
    """Return a table whose slices request 75, 100 and 50 MiB in turn."""
    rows = [f"s{n},{(75, 100, 50)[n % 3]}" for n in range(slices)]
    (typed.folder / "params.csv").write_text("\n".join(["name,mem", *rows, ""]))
    return ("--table", "params.csv", "--key", "name", "--mem", "{mem}M", "-t", "0:01:00")


def test_packs_with_different_requests(engine: FakeEngine, typed: Typed) -> None:
    """The preview counts the submitted tasks, and shows the lowest and highest request."""
    line = (*a_table(typed), "--pack", "10", "--throttle", "3", *COMMAND)
    typed("run", "--dry-run", *line)
    assert at_once(typed) == 3
    (packing,) = typed.noted("packing")
    assert (packing["tasks"], packing["pack"]) == (12, 10)
    assert packing["options"] == {"mem": "50M to 100M", "time": "00:10:00"}
    assert at_worst(typed) >= {"1.7", "00:40:00", "300M"}

    def end(seconds: float = 0) -> None:
        engine.end_all()

    engine.on_wait = end
    typed("run", *line)
    assert sum(len(job.tasks) for job in engine.jobs.values()) == 12
    asked = [job.order.request for job in engine.jobs.values()]
    assert sorted(request.mem_mib or 0 for request in asked) == [50, 75, 100]
    assert {request.time_s for request in asked} == {600}


def test_worst_case_uses_the_largest_and_the_longest(engine: FakeEngine, typed: Typed) -> None:
    """It counts unpacked slices. A task of one slice is not slowed by the others."""
    rows = ["n,mem,min,cpus", *(f"{n},{n}0,1,1" for n in range(1, 10)), "10,5,62,4"]
    (typed.folder / "t.csv").write_text("\n".join(rows))
    engine.limited = TaskLimits(1001, 3, "3 fit")
    options = ("--mem", "{mem}M", "-t", "{min}", "-c", "{cpus}")
    typed("run", "--dry-run", "--table", "t.csv", "--key", "n", *options, *COMMAND)
    assert at_worst(typed) >= {"4.3", "01:05:00", "240M"}


def test_the_number_that_fits_depends_on_the_request(engine: FakeEngine, typed: Typed) -> None:
    """The number is that of the smallest request, the duration that of the largest."""

    def limits(request: ResourceRequest) -> TaskLimits:
        fit = 400 // (request.mem_mib or 1)
        return TaskLimits(1001, fit, f"{fit} fit")

    engine.limits = limits  # type: ignore[method-assign]
    said = typed("run", "--dry-run", *a_table(typed), *COMMAND)
    assert at_once(typed) == 8
    assert "8 fit" in said  # the engine's reason
    assert at_worst(typed) >= {"00:25:00", "800M"}


def test_slices_in_different_partitions(engine: FakeEngine, typed: Typed) -> None:
    """The total over several partitions is not known, so none is shown."""
    (typed.folder / "t.csv").write_text("n,p\na,main\nb,short\nc,long\n")
    engine.limited = TaskLimits(1001, 1, "1 fit")
    line = ("--table", "t.csv", "--key", "n", "-p", "{p}", "--pack", "2", "-t", "1", *COMMAND)
    said = typed("run", "--dry-run", *line)
    assert at_once(typed) is None
    assert "1 fit" not in said
    (packing,) = typed.noted("packing")
    assert (packing["tasks"], packing["pack"]) == (3, 2)
    assert all(name in str(packing["options"]) for name in ("main", "short", "long"))


def test_the_error_names_the_slice_that_is_too_large(engine: FakeEngine, typed: Typed) -> None:
    """The first one exceeds the limits: it is the one in the message."""

    def limits(request: ResourceRequest) -> TaskLimits:
        never = "no node has that much" if (request.mem_mib or 0) > 60 else ""
        return TaskLimits(1001, 0 if never else 4, never, impossible_reason=never)

    engine.limits = limits  # type: ignore[method-assign]
    said = typed("run", *a_table(typed), *COMMAND)
    assert "'s0'" in said
    assert (typed.code, typed.error, engine.jobs) == (2, "never-runs", {})


def test_each_request_is_shown_with_its_slices(engine: FakeEngine, typed: Typed) -> None:
    """The preview shows the differing options. The script says that its request is only a part."""
    said = typed("render", "--name", "x", *a_table(typed, 7), *COMMAND)
    assert [(one["slices"], one["options"]) for one in typed.noted("request-group")] == [
        (3, {"mem": "75M"}),
        (2, {"mem": "100M"}),
        (2, {"mem": "50M"}),
    ]
    assert "s0, s3, s6" in said[said.index("sbatch runs/x/script.sh") :]
    script = (typed.folder / "runs" / "x" / "script.sh").read_text()
    assert comments_on_memory(script)
    alike = typed("render", "--name", "y", "-a", "0-6", "--mem", "1G", *COMMAND)
    assert "sbatch runs/y/script.sh" in alike
    assert not typed.noted("request-group")
    script = (typed.folder / "runs" / "y" / "script.sh").read_text()
    assert not comments_on_memory(script)


def comments_on_memory(script: str) -> list[str]:
    """Return the comments of a script that name --mem."""
    return [line for line in script.splitlines() if line.startswith("# ") and "--mem" in line]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("--pack auto --slice-time 1:00", "not-packed-room-for-all"),
        ("--pack auto --slice-time 10:00", "not-packed-long-slice"),
        ("--pack auto --slice-time 10m", "not-packed-long-slice"),
        ("--pack 4 -t 6", "not-packed-time-limit"),
        ("--pack auto --slice-time 1:00 -t 6", "not-packed-time-limit"),
        ("--pack 1", ""),
        ("", ""),
    ],
)
def test_the_reason_for_no_packing_is_shown(
    engine: FakeEngine, typed: Typed, line: str, why: str
) -> None:
    """Packing was requested, but each slice has a task of its own."""
    engine.limited = TaskLimits(1001, 8, "8 fit", max_time_s=600)
    typed("render", "--dry-run", "-a", "0-3", *line.split(), *COMMAND)
    assert typed.code == 0
    assert [note.code for note in typed.notes if "pack" in note.code] == ([why] if why else [])


# -- a program that cannot be started ----------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "note"),
    [
        ("./nothere.sh", "program-not-found"),
        ("sub/nothere.sh", "program-not-found"),
        ("/nothere/x", "program-not-found"),
        ("./wc.py", "program-not-executable"),
        ("./sub", "program-is-folder"),
        ("pyhton", "program-not-on-path"),
        ("./does", ""),
        ("/bin/sh", ""),
        ("./{}.sh", ""),
    ],
)
def test_a_missing_or_not_executable_program(typed: Typed, program: str, note: str) -> None:
    """It is a note and not an error: the nodes may have that program."""
    (typed.folder / "sub").mkdir()
    for name, mode in (("wc.py", 0o644), ("does", 0o755)):
        (typed.folder / name).write_text("")
        (typed.folder / name).chmod(mode)
    said = typed("render", "-a", "0-3", "--", program, "{}")
    assert typed.code == 0
    assert program_notes(typed) == ([(note, program)] if note else [])
    assert ("chmod +x ./wc.py" in said) == (program == "./wc.py")


def program_notes(typed: Typed) -> list[tuple[str, object]]:
    """Return the notes about programs: their codes and the program's name."""
    of_programs = (note for note in typed.notes if note.code.startswith("program-"))
    return [(note.code, note.fields["path"]) for note in of_programs]


@pytest.mark.parametrize(
    ("command", "notes"),
    [
        ("python3 wrok.py {}", [("program-not-found", "wrok.py")]),
        ("bash -eu sub/wrok.sh {}", [("program-not-found", "sub/wrok.sh")]),
        ("work.py {}", [("program-not-on-path", "work.py")]),
        ("python3 -u work.py {}", []),
        ("python3 -m some.module {}", []),
        ("python3 {}.py", []),
    ],
)
def test_a_script_that_an_interpreter_will_not_find(
    typed: Typed, command: str, notes: list[tuple[str, str]]
) -> None:
    """It gets the same note as a program. A word that may not be a file gets no note."""
    (typed.folder / "work.py").write_text("")
    said = typed("render", "-a", "0-3", "--", *command.split())
    assert (typed.code, program_notes(typed)) == (0, notes)
    assert ("./work.py" in said) == command.startswith("work.py")


# -- a setup, and a pattern, that are hardly meant ----------------------------------------------


@pytest.mark.parametrize("setup", ["nothere.sh", "sub/nothere", "~/env.sh", "sub", "./sub"])
def test_a_setup_that_looks_like_a_path_must_be_a_file(typed: Typed, setup: str) -> None:
    """As a shell text it would fail on the node, or run as a program that sets nothing."""
    (typed.folder / "sub").mkdir()
    said = typed("run", "--dry-run", "-a", "0-3", "--setup", setup, *COMMAND)
    assert typed.code == 2
    folder = setup.endswith("sub")
    assert typed.error == ("is-a-folder" if folder else "no-such-file")
    assert folder or f"--setup '{setup} || exit'" in said
    (typed.folder / "slurmslice.toml").write_text(f'setup = "{setup}"\n')
    assert "slurmslice.toml: setup:" in typed("run", "--dry-run", "-a", "0-3", *COMMAND)


@pytest.mark.parametrize("setup", ["load", "X=/a/b", ". sub/env.sh", "sub/prepare || exit", ":"])
def test_a_setup_is_shown(typed: Typed, setup: str) -> None:
    """The preview shows the setup's text, also if the text comes from a file."""
    said = typed("render", "--dry-run", "-a", "0-3", "--setup", setup, *COMMAND)
    assert (typed.code, f"setup {setup}" in said) == (0, True)
    (typed.folder / "env.sh").write_text(f"{setup}\n")
    said = typed("render", "--dry-run", "-a", "0-3", "--setup", "env.sh", *COMMAND)
    assert (typed.code, f"setup {setup}" in said) == (0, True)


def test_a_pattern_that_names_a_folder_is_noted(typed: Typed) -> None:
    """It makes one slice; a note names the pattern for its files. A real pattern gets no note."""
    (typed.folder / "in").mkdir()
    (typed.folder / "in" / "a").write_text("")
    typed("render", "--dry-run", "--glob", "in", *COMMAND)
    assert typed.code == 0
    assert typed.noted("glob-is-folder") == [{"path": "in", "within": "'in/*'"}]
    for pattern in ("i*", "in/a", "in/*"):
        typed("render", "--dry-run", "--glob", pattern, *COMMAND)
        assert (typed.code, typed.noted("glob-is-folder")) == (0, [])
