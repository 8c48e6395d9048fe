"""It is known which slices ran with other code, and ``--same-code`` refuses a mixture."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.plan.run_script import read_script
from slurmslice.plan.same_code import read_code
from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import Intent
from slurmslice.run.run import Run
from slurmslice.status.states import State
from slurmslice.system.git_commit import git_commit
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("--name", "x", "-a", "0-3", "--", "python", "x.py", "--conf=c.toml", "{}")
Edit = Callable[[Path], object]


@pytest.fixture
def project(typed: Typed) -> Typed:
    """A folder with a program, its settings, a setup, data and results."""
    for name in ("x.py", "c.toml", "env.sh", "data.csv", "hand"):
        (typed.folder / name).write_text(f"# {name}\n")
    (typed.folder / "tool").write_bytes(b"\x7fELF\0")
    (typed.folder / "tool").chmod(0o755)
    (typed.folder / ".git" / "refs" / "heads").mkdir(parents=True)
    commit(typed.folder, "a")
    return typed


def commit(folder: Path, letter: str) -> None:
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (folder / ".git" / "refs" / "heads" / "main").write_text(letter * 40 + "\n")


def ran(project: Typed, engine: FakeEngine, *words: str) -> None:
    """Run once: two slices are done, two have failed."""

    def end() -> None:
        job = list(engine.jobs)[-1]
        for index in engine.jobs[job].tasks:
            engine.end(job, index, State.COMPLETED if index < 2 else State.FAILED)

    engine.on_wait = end
    project("run", *(words or LINE))


def recorded(project: Typed) -> list[Intent]:
    events = RunDirectory(project.folder / "runs" / "x").events()
    return [event for event in events if isinstance(event, Intent)]


def append(name: str) -> Edit:
    return lambda folder: (folder / name).write_text("# edited\n")


def change(file: Path, old: str, new: str) -> None:
    file.write_text(file.read_text().replace(old, new))


def edit_script(folder: Path) -> None:
    change(folder / "runs" / "x" / "script.sh", "exec -- python", "exec -- nice python")


EDITS: dict[str, Edit] = {
    "x.py": append("x.py"),
    "c.toml": append("c.toml"),
    "script.sh": edit_script,
}


@pytest.mark.parametrize("name", EDITS)
def test_slices_with_other_code_are_named(project: Typed, engine: FakeEngine, name: str) -> None:
    """Those whose last attempt had another version than the newest attempts."""
    ran(project, engine)
    project("status", "x")
    assert project.noted("other-code") == []
    EDITS[name](project.folder)
    project("resubmit", "x")
    engine.end_all(State.COMPLETED)
    project("status", "x")
    (note,) = project.noted("other-code")
    assert (note["slices"], note["keys"], note["files"]) == (2, "0-1", [name])
    assert project.code == 0


@pytest.mark.parametrize("name", EDITS)
@pytest.mark.parametrize("verb", ["resubmit", "run"])
def test_same_code_refuses_other_code(
    project: Typed, engine: FakeEngine, name: str, verb: str
) -> None:
    """Nothing is queued. Without a change the option allows the attempt."""
    ran(project, engine)
    EDITS[name](project.folder)
    policy = ("--max-attempts", "2") if verb == "run" else ()
    project(verb, "x", "--same-code", *policy)
    assert (project.code, project.error, len(engine.jobs)) == (2, "other-code", 1)
    assert project.fields["files"] == (name,)
    project("resubmit", "x")
    assert (project.code, len(engine.jobs)) == (0, 2)


def test_same_code_allows_the_same_code(project: Typed, engine: FakeEngine) -> None:
    """A file of results, a touched file and another request are no change."""
    ran(project, engine)
    (project.folder / "data.csv").write_text("1,2\n")
    (project.folder / "x.py").touch()
    script = project.folder / "runs" / "x" / "script.sh"
    script.write_text(
        script.read_text().replace("#SBATCH --array", "#SBATCH --mem=1G\n#SBATCH --array")
    )
    project("resubmit", "x", "--same-code")
    assert (project.code, len(engine.jobs)) == (0, 2)


def test_a_new_run_records_it_for_every_attempt(project: Typed, engine: FakeEngine) -> None:
    """Also for those of ``tick``; ``--any-code`` goes on all the same."""
    ran(project, engine, "--same-code", "--max-attempts", "2", *LINE)
    assert len(engine.jobs) == 2
    EDITS["x.py"](project.folder)
    project("resubmit", "x")
    assert project.error == "other-code"
    project("run", "x", "--max-attempts", "3")
    assert project.error == "other-code"
    project("resubmit", "x", "--any-code")
    assert (project.code, len(engine.jobs)) == (0, 3)


def test_the_commit_is_recorded_and_compared(project: Typed, engine: FakeEngine) -> None:
    """A module that x.py imports is named nowhere; its commit is."""
    ran(project, engine)
    assert recorded(project)[0].code.commit == "a" * 40
    commit(project.folder, "b")
    project("resubmit", "x", "--same-code")
    assert (project.error, project.fields["commit"]) == ("other-code", "b" * 40)
    project("resubmit", "x")
    engine.end_all(State.COMPLETED)
    project("status", "x")
    assert project.noted("other-code")[0]["commits"] == ["a" * 40]


COMMANDS: tuple[tuple[tuple[str, ...], set[str]], ...] = (
    (("--", "bash", "hand", "{}"), {"hand"}),
    (("--", "./tool", "data.csv", "{}"), {"./tool"}),
    (("--setup", "source env.sh", "--", "true", "{}"), {"env.sh"}),
    (("--shell", "python x.py <data.csv >out.txt # $SLICE"), {"x.py"}),
    (("--check", "python x.py $SLICE", "--", "true", "{}"), {"x.py"}),
    (("--", "cp", "{}.py", "data.csv"), set()),
)


@pytest.mark.parametrize(("words", "files"), COMMANDS)
def test_the_files_of_code(project: Typed, words: tuple[str, ...], files: set[str]) -> None:
    """Programs, scripts and settings that the script names; no data, no results, no slices."""
    (project.folder / "0.py").write_text("")
    (project.folder / "out.txt").write_text("")
    project("render", "--name", "x", "-a", "0-3", *words)
    project("submit", "x")
    assert recorded(project)[0].code.files.keys() - {"script.sh"} == files


def test_a_large_file_is_not_read(new_run: Callable[..., Run], tmp_path: Path) -> None:
    """Large text is data. Of a large program, size and time of change count."""
    run = new_run()
    for name in ("big.py", "big"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)
    (tmp_path / "big").chmod(0o755)
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "gone.py").symlink_to("nowhere")
    script = run.directory.script
    script.write_text(
        script.read_text().replace("exec --", "exec -- big big.py pipe.py gone.py /dev/zero")
    )
    files = read_code(run, read_script(run)).files
    assert files.keys() == {"script.sh", "big"}
    before = files["big"]
    os.utime(tmp_path / "big", (1, 1))
    assert read_code(run, read_script(run)).files["big"] != before


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"HEAD": "b" * 40}, "b" * 40),
        (
            {"HEAD": "ref: refs/heads/x", "packed-refs": f"# pack\n{'c' * 40} refs/heads/x\n"},
            "c" * 40,
        ),
        ({"HEAD": "ref: refs/heads/none"}, ""),
        ({"HEAD": "ref: ../../secret"}, ""),
        ({"HEAD": "ref: HEAD"}, ""),
        ({"HEAD": "nonsense"}, ""),
        ({}, ""),
    ],
)
def test_commits(tmp_path: Path, files: dict[str, str], found: str) -> None:
    """Read without git: a detached HEAD, packed references, damaged repositories."""
    (tmp_path / ".git").mkdir()
    for name, text in files.items():
        (tmp_path / ".git" / name).write_text(text + "\n")
    (tmp_path / "sub").mkdir()
    assert git_commit(tmp_path / "sub") == found


def test_the_commit_of_a_worktree(tmp_path: Path) -> None:
    """Its ``.git`` is a file, and its branch is in the main repository."""
    main, tree = tmp_path / "main" / ".git", tmp_path / "tree"
    (main / "worktrees" / "tree").mkdir(parents=True)
    (main / "refs" / "heads").mkdir(parents=True)
    (main / "refs" / "heads" / "y").write_text("d" * 40)
    (main / "worktrees" / "tree" / "HEAD").write_text("ref: refs/heads/y\n")
    (main / "worktrees" / "tree" / "commondir").write_text("../..\n")
    tree.mkdir()
    (tree / ".git").write_text(f"gitdir: {main / 'worktrees' / 'tree'}\n")
    assert git_commit(tree) == "d" * 40


@pytest.mark.parametrize("edit", ["x.py", "c.toml", "commit"])
def test_automatic_repair_stops_if_the_code_has_changed(
    project: Typed, engine: FakeEngine, edit: str
) -> None:
    """The slices are left, with the line to type; a person's resubmit begins anew."""
    ran(project, engine, "--max-attempts", "3", *LINE)
    assert len(engine.jobs) == 3  # unchanged code is repaired
    project("resubmit", "x")
    if edit == "commit":
        commit(project.folder, "b")
    else:
        EDITS[edit](project.folder)
    engine.end_all(State.FAILED)
    project("tick", "x")
    assert len(engine.jobs) == 4
    project("status", "x")
    (found,) = project.noted("attempts-left")
    assert [one["keys"] for one in found["not_repaired"]] == ["2-3"]
    assert "--allow-changed" in project.stderr
    project("run", "x", "--allow-changed")
    assert len(engine.jobs) > 4


@pytest.mark.parametrize(
    "text", ["echo $SLICE >> progress; exit 1", "date >progress", "x | tee /dev/stderr >| progress"]
)
def test_what_a_command_writes_is_no_code(project: Typed, engine: FakeEngine, text: str) -> None:
    """Results and streams change; that stops no repair."""
    (project.folder / "progress").write_text("start\n")
    ran(project, engine, "--name", "x", "-a", "0-3", "--shell", text)
    assert set(recorded(project)[0].code.files) == {"script.sh"}
