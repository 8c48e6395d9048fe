"""The library that script.sh sources: no damage to it looks like a success."""

from __future__ import annotations

import os
import shlex
import stat
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.actions.submit_queued import submit_queued
from slurmslice.engines.local.worker_mode import choose_worker_mode
from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.run.run import Run
from slurmslice.script.progress_lines import TaskProgress
from slurmslice.script.render import library_bytes, library_path, render_script
from slurmslice.script.source_line import (
    NOT_BEGUN_MESSAGE,
    ParsedSourceLine,
    SourceLine,
    find_source_line,
)
from slurmslice.spec.command import ShellText
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.reconcile_packed import FILE_VISIBLE_S
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote
from tests.cli.test_bad_input import here  # noqa: F401 - a fixture
from tests.conftest import NewRun
from tests.local.test_local_runs import Here
from tests.script.test_packs import PACKED, POOL, edit, exits, pack
from tests.script.test_script import EXAMPLE, TABLE_EXAMPLE, Place, tool, words
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed

MakeRun = Callable[..., tuple[Run, FakeEngine]]
NOTHING = TaskProgress()
LINES = library_bytes().splitlines(keepends=True)
BOUNDARIES = [n for n in range(len(LINES)) if LINES[n] in {b"\n", b"}\n"}]


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Place]:
    """A folder; its processes end with the test."""
    made = Place(tmp_path)
    yield made
    made.clear()


# -- what it looks like ---------------------------------------------------------------------


def test_the_script_is_short() -> None:
    """A person reviews at most 40 lines, comments included, in every form."""
    for spec in (EXAMPLE, TABLE_EXAMPLE, PACKED, POOL):
        assert render_script(spec).count("\n") <= 40
    assert render_script(EXAMPLE).count("\n") <= 32


def test_shellcheck_reads_the_library_as_it_is() -> None:
    """Notes included, without any option; so it reads the scripts beside it."""
    texts = [library_path().with_name(f"{n}.sh") for n in ("slurmslice", "worker", "then")]
    done = subprocess.run([tool("shellcheck"), *texts], capture_output=True, text=True)
    assert done.stdout == ""


def test_every_name_of_the_library_begins_with_an_underscore() -> None:
    """The library overwrites no variable of a person: all its names begin with an underscore."""
    shown = library_bytes().decode().replace('\n_main "$@"\n', "\n") + "compgen -A function"
    done = subprocess.run(["bash", "-c", shown], capture_output=True, text=True, check=True)
    names = done.stdout.split()
    assert len(names) > 20
    assert all(name.startswith("_") for name in names)


def test_exported_variables_are_unchanged(directory: Place) -> None:
    """Exported variables with common names reach the command unchanged."""
    names = ("run", "form", "pack", "line", "word", "words", "check", "submission", "slot")
    directory.write(ShellText(f"echo ${'$'.join(names)}"))
    assert directory.run(**dict.fromkeys(names, "x")).log == b"x" * len(names) + b"\n"


# -- missing, cut, changed, unreadable --------------------------------------------------------


def damage(path: Path, how: str) -> None:
    """Damage the library."""
    path.chmod(0o644)
    if how in {"missing", "folder"}:
        path.unlink()
    if how == "folder":
        path.mkdir()
    if how == "empty":
        path.write_bytes(b"")
    if how == "binary":
        path.write_bytes(b"\0\x7fELF" * 99)
    if how == "unreadable":
        path.unlink()
        path.symlink_to(path.name)  # a loop: nobody can read it, root neither


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "binary", "unreadable"])
@pytest.mark.parametrize("packed", [False, True])
def test_a_library_that_cannot_be_used(directory: Place, how: str, packed: bool) -> None:
    """Exit 125 without a progress line: nothing has begun, and bash gives the reason."""
    if packed:
        pack(directory, words("touch", "ran"), 3)
    else:
        directory.write(words("touch", "ran"))
    damage(directory.library, how)
    ran = directory.run(0)
    assert (ran.code, ran.said, ran.log) == (125, NOTHING, b"")
    assert not (directory.work_dir / "ran").exists()


@pytest.mark.parametrize("how", ["missing", "empty", "cut"])
def test_a_script_says_that_its_library_is_damaged(directory: Place, how: str) -> None:
    """Bash is silent about an empty file, and about one that was cut between functions."""
    directory.write(words("touch", "ran"))
    damage(directory.library, how)
    if how == "cut":
        directory.library.write_bytes(b"".join(LINES[: BOUNDARIES[3] + 1]))
    env = os.environ | {"SLURM_ARRAY_TASK_ID": "17"}
    done = subprocess.run(["bash", directory.script], env=env, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (125, "")
    assert NOT_BEGUN_MESSAGE in done.stderr.splitlines()


def test_this_machine_still_needs_no_bash_for_each_slice(directory: Place) -> None:
    """A worker runs the tasks itself, if the rendered script was not edited."""
    directory.write(words("true"))
    assert choose_worker_mode(directory.script) == "inline"
    directory.script.write_text(f"{directory.script.read_text()}true\n")
    assert choose_worker_mode(directory.script) == "each"


@pytest.mark.parametrize("lines", BOUNDARIES)
def test_a_library_that_was_cut_between_functions(directory: Place, lines: int) -> None:
    """Bash can read the rest, and runs nothing."""
    directory.write(words("touch", "ran"))
    directory.library.write_bytes(b"".join(LINES[: lines + 1]))
    assert directory.run(0).code == 125
    assert not (directory.work_dir / "ran").exists()


@pytest.mark.parametrize("lost", range(1, 12))
def test_a_library_whose_last_line_was_cut(directory: Place, lost: int) -> None:
    """Any rest of the call is not a success."""
    directory.write(words("touch", "ran"))
    directory.library.write_bytes(library_bytes()[:-lost])
    ran = directory.run(0)
    whole = lost == 1  # the newline alone
    assert (ran.code == 0) is whole
    assert (directory.work_dir / "ran").exists() is whole


def test_words_that_the_library_does_not_know(directory: Place) -> None:
    """An edited source line is refused before anything runs, with a hint to restore it."""
    for old, new in (("direct", "drect"), ("direct", "direct pack=x"), ("direct", "direct check"),
                     ("direct", ""), ("direct", "table pack=0")):  # fmt: skip
        directory.write(words("touch", "ran"))
        text = directory.script.read_text()
        directory.script.write_text(text.replace(f" {old} slices=", f" {new} slices="))
        ran = directory.run(0)
        assert (ran.code, ran.said) == (2, NOTHING)
    assert not (directory.work_dir / "ran").exists()


def test_any_text_before_the_source_line(directory: Place) -> None:
    """Options, aliases and functions of an edited script do not reach the bookkeeping."""
    before = (
        "set -euo pipefail; shopt -s expand_aliases; alias exit=true kill=true wait=true; "
        "trap() { :; }; read() { return 1; }; exit() { :; }; IFS=0123456789; printf() { :; }\n"
    )
    for setup, code in (("", 3), ("exit 0", 1)):
        directory.write(words("sh", "-c", "exit 3"), setup=setup)
        text = directory.script.read_text()
        directory.script.write_text(text.replace("\nsource ", f"\n{before}source "))
        assert directory.run(int(code == 1)).code == code


# -- what it says of a slice --------------------------------------------------------------------


def test_column_names_come_from_the_table(directory: Place, tmp_path: Path) -> None:
    """Any locale works: Turkish has another lower-case I. A damaged header stops the task."""
    directory.write(ShellText('echo "$SLICE_ID $SLICE_Mi_2"'), direct=False, columns=("id",))
    directory.make(rows=[("k", "1", "2")], columns=("id", "i"))
    turkish = ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(tmp_path / "tr_TR.UTF-8")]
    made = subprocess.run(turkish, capture_output=True).returncode == 0
    environ = {"LC_ALL": "tr_TR.UTF-8", "LOCPATH": str(tmp_path)} if made else {}
    assert directory.run(0, "row-40.log", **environ).log == b"1 \n"
    table = directory.submission() / "tasks.tsv"
    for header in (b"row\tkey\ta b\ti\tlog\n", b"row\n", b"row\tkey\ta[$(touch pwned)]\ti\tlog\n"):
        table.write_bytes(header + table.read_bytes().partition(b"\n")[2])
        assert directory.run(0).code == 2
    assert not list(directory.folder.rglob("pwned"))


def test_a_slice_by_hand_from_any_folder(directory: Place) -> None:
    """Any path to the script works, and nothing is left behind."""
    directory.write(words("sh", "-c", "pwd"))
    for cwd, script in (("/", str(directory.script)), (directory.run_dir, "script.sh")):
        done = subprocess.run(["bash", script], cwd=cwd, capture_output=True, text=True,
                              env=os.environ | {"SLURM_ARRAY_TASK_ID": "17"})  # fmt: skip
        assert (done.returncode, done.stdout) == (0, f"{directory.work_dir}\n")


def test_a_run_that_was_moved_needs_two_edits(directory: Place) -> None:
    """After the edit of the source line and --output tasks write into the new directory."""
    directory.write(words("echo", "{}"))
    moved = directory.run_dir.with_name("moved")
    directory.run_dir.rename(moved)
    old, directory.run_dir = quote(str(directory.library)), moved
    directory.script, directory.library = moved / "script.sh", moved / directory.library.name
    assert directory.run(0).code == 125
    directory.script.write_text(
        directory.script.read_text().replace(old, quote(str(directory.library)))
    )
    ran = directory.run(17)
    assert (ran.code, ran.log) == (0, b"17\n")


def test_a_script_with_its_library_in_it_does_the_same(directory: Place) -> None:
    """``render --print --whole``: one file that needs only the run's tables."""
    line = SourceLine(str(directory.run_dir), "table", pack=2, at_once=2, slices=99)
    pack(directory, words("sh", "-c", "echo {}; exit 3"), 3, pack=2, at_once=2)
    text = directory.script.read_text()
    directory.script.write_text(line.with_library(text, library_bytes().decode()))
    directory.library.unlink()
    ran = directory.run(1)
    assert (ran.code, exits(ran)) == (1, {0: 3})
    assert find_source_line(directory.script.read_text()) == ParsedSourceLine("", "table", 2)


def test_print_whole(here: Here) -> None:  # noqa: F811
    """On the command line; without --print there is nothing to print."""
    line = ("--engine", "local", "-a", "0-3", "--", "true", "{}")
    whole = here("render", "--print", "--whole", *line)
    assert whole.returncode == 0
    assert library_bytes().decode() in whole.stdout
    assert "\nsource " not in whole.stdout
    assert here("render", "--whole", *line).returncode == 2


@pytest.mark.parametrize("key", ["/a b/x", "/a'b", "/é\udcff", "/a\nb", "/$(touch pwned)"])
def test_the_source_line_is_found_again(key: str) -> None:
    """Any folder name works, and another folder's line is recognised as such."""
    line = SourceLine(key, "direct", log_folders=True)
    found = find_source_line(f"#!/bin/bash\n{line.to_bash()}\nexit 125\n")
    assert found is not None
    assert (found.form, found.pack) == ("direct", 1)
    assert found.names(Path(key) / "slurmslice.sh")
    assert not found.names(Path("/other/slurmslice.sh"))


# -- a run ------------------------------------------------------------------------------------


def test_a_run_has_the_library_and_its_digest(new_run: NewRun) -> None:
    """As shipped, and read-only."""
    run = new_run("0-3")
    assert run.directory.library.read_bytes() == library_bytes()
    assert not stat.S_IMODE(run.directory.library.stat().st_mode) & 0o222
    assert run.directory.library_fault(run.record.library_sha256) == ""


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "unreadable"])
def test_nothing_is_submitted_with_another_library(
    new_run: NewRun, engine: FakeEngine, typed: Typed, how: str
) -> None:
    """Slurm keeps no copy of it. The command in the hint restores it."""
    run = new_run("0-3")
    damage(run.directory.library, how)
    with pytest.raises(DamagedRunError) as refused:
        submit(run, choose_waiting(None), {}, "submit")
    assert (refused.value.code, engine.jobs) == ("library-changed", {})
    typed("submit", "demo", "--dry-run")
    assert typed.code == 2
    if how == "folder":
        run.directory.library.rmdir()
    said = refused.value.hint.partition(": ")[2]
    subprocess.run(shlex.split(said), check=True)
    assert not stat.S_IMODE(run.directory.library.stat().st_mode) & 0o222
    submit(run, choose_waiting(None), {}, "submit")
    assert len(engine.jobs) == 1


def test_queued_slices_are_not_submitted_with_another_library(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """The library changed while slices were queued."""
    run = new_run("0-3")
    engine.most = 2
    submit(run, choose_waiting(None), {}, "submit")
    damage(run.directory.library, "empty")
    engine.end_all()
    with pytest.raises(DamagedRunError):
        submit_queued(run, "tick")
    assert len(engine.jobs) == 1


def test_a_run_of_another_version_says_which(new_run: NewRun) -> None:
    """A newer slurmslice does not have the text of an older one's library."""
    run = new_run("0-3")
    object.__setattr__(run.record, "library_sha256", "0" * 64)
    with pytest.raises(DamagedRunError) as refused:
        submit(run, choose_waiting(None), {}, "submit")
    assert run.record.version in refused.value.hint


def test_a_moved_run_whose_source_line_was_forgotten(new_run: NewRun, tmp_path: Path) -> None:
    """With only --output changed its tasks would use the tables of the old directory."""
    run = new_run("0-3")
    other = tmp_path / "other"
    other.mkdir()
    text = run.directory.script.read_text()
    old = f"source {run.directory.library}"
    assert old in text
    run.directory.script.write_text(text.replace(old, f"source {other}/slurmslice.sh"))
    with pytest.raises(BadInputError) as refused:
        submit(run, choose_waiting(None), {}, "submit")
    assert refused.value.code == "source-line-elsewhere"


@pytest.mark.parametrize("how", ["missing", "folder", "empty", "unreadable"])
@pytest.mark.parametrize("state", [State.PENDING, State.FAILED])
def test_a_damaged_library_is_reported(
    new_run: NewRun, engine: FakeEngine, typed: Typed, how: str, state: State
) -> None:
    """``status``, ``watch`` and ``tick`` say it once, with the command, also before any end."""
    run = new_run("0-1", hold="")
    submit(run, choose_waiting(None), {}, "submit")
    if state is State.FAILED:
        engine.end_all(state)
        poll(run)
    damage(run.directory.library, how)
    verbs = (("status",), ("status", "--slices"), ("tick",), *([("watch",)] if state.final else []))
    for verb, *more in verbs:
        said = typed(verb, "demo", *more)
        assert typed.noted("library-changed")[0] == {"path": str(run.directory.library)}
        assert "install -m 444" in said
    assert len(typed.noted("library-changed")) <= 2  # when watch finds it, and in its summary
    typed("status", "demo")
    assert len(typed.noted("library-changed")) == 1


def test_a_run_that_is_done_needs_no_library(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Nothing is to be restored any more."""
    run = new_run("0-1")
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all()
    poll(run)
    damage(run.directory.library, "missing")
    typed("status", "demo")
    assert not typed.noted("library-changed")


# -- what a poll makes of it --------------------------------------------------------------------

DONE = TaskReport(State.COMPLETED, "COMPLETED", exit_code=0)
NOT_BEGUN = TaskReport(State.FAILED, "FAILED", exit_code=125, node="n7")
LINE = "slurmslice {} job=100 restart=0 at=1800000000 host=n1 slot=0{}\n"


def ended(run: Run, engine: FakeEngine, report: TaskReport) -> None:
    """End all tasks in flight like this, long ago."""
    report = replace(report, ended_at=int(run.clock()) - FILE_VISIBLE_S, started_at=1)
    for job in engine.jobs.values():
        job.tasks.update({i: report for i, was in job.tasks.items() if not was.state.final})


def test_exit_0_without_progress_lines_is_not_a_success(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """The library did nothing for a while and was then restored."""
    run = new_run("0-1")
    submit(run, choose_waiting(None), {}, "submit")
    run.directory.task_log_path(1, 0).touch()
    run.directory.task_log_path(1, 1).write_text(LINE.format("start", " format=1"))
    ended(run, engine, DONE)
    poll(run)
    assert [run.statuses.state(row) for row in (0, 1)] == [State.FAILED, State.COMPLETED]


def test_a_task_that_exits_0_and_wrote_that_its_slice_failed(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """A trap on EXIT in the edited script changed the exit code."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    run.directory.task_log_path(1, 0).write_text(
        LINE.format("start", "") + LINE.format("end", " exit=3")
    )
    ended(run, engine, DONE)
    poll(run)
    assert (run.statuses.state(0), run.statuses[0].exit_code) == (State.FAILED, 3)


@pytest.mark.parametrize("how", ["missing", "empty", "unreadable"])
@pytest.mark.parametrize("packed", [1, 2])
def test_nothing_is_completed_while_the_library_is_changed(
    make_run: MakeRun, how: str, packed: int
) -> None:
    """The code that ran is not known. After a repair the task's own lines count."""
    run, engine = make_run(2, Packing(pack=packed))
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(2 // packed):
        line = LINE.format("start", "") + LINE.format("end", " exit=0")
        text = line + (line.replace("slot=0", "slot=1") if packed == 2 else "")
        run.directory.task_log_path(1, index).write_text(text)
    ended(run, engine, DONE)
    damage(run.directory.library, how)
    polled = poll(run)
    assert run.statuses.state_counts() == {State.COMPLETING: 2}
    assert [note.code for note in polled.notes] == ["library-changed"]
    seen = run.directory.states.stat().st_size
    poll(run)
    assert run.directory.states.stat().st_size == seen  # the same is not written again and again
    run.directory.library.unlink(missing_ok=True)
    run.directory.library.write_bytes(library_bytes())
    assert poll(run).notes == ()
    assert run.statuses.state_counts() == {State.COMPLETED: 2}


@pytest.mark.parametrize("packed", [1, 2])
@pytest.mark.parametrize("log", ["", "bash: slurmslice.sh: No such file or directory\n"])
def test_a_slice_that_never_began_uses_no_attempt(make_run: MakeRun, packed: int, log: str) -> None:
    """Exit 125 without a progress line: the slice waits again once; then it has failed."""
    run, engine = make_run(2, Packing(pack=packed))
    submit(run, choose_waiting(None), {}, "submit")
    for number, state, attempts in ((1, State.WAITING, 0), (2, State.FAILED, 1)):
        for index in range(2 // packed):
            run.directory.task_log_path(number, index).write_text(log)
        ended(run, engine, NOT_BEGUN)
        poll(run)
        assert run.statuses.state_counts() == {state: 2}
        assert "slurmslice.sh" in run.statuses[0].reason
        with run.directory.lock("test"):
            run.record_returned_rows()
        assert run.journal_state.attempts == [attempts, attempts]
        submit_queued(run, "tick")
    assert len(engine.jobs) == 2


def test_a_missing_task_log_does_not_show_that_no_slice_began(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """Somebody removed it, because Slurm creates it first: a program may itself exit 125."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    ended(run, engine, NOT_BEGUN)
    poll(run)
    assert run.statuses.state(0) is State.FAILED


def test_a_slice_that_began_may_not_be_visible_yet(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """On a network file system a task's output appears later."""
    run = new_run("0")
    submit(run, choose_waiting(None), {}, "submit")
    engine.end("100", 0, State.FAILED, exit_code=125, ended_at=int(clock.now))
    poll(run)
    assert run.statuses.state(0) is State.COMPLETING
    run.directory.task_log_path(1, 0).write_text(
        LINE.format("start", "") + LINE.format("end", " exit=125")
    )
    clock.now += FILE_VISIBLE_S
    poll(run)
    assert (run.statuses.state(0), run.statuses[0].exit_code) == (State.FAILED, 125)


def test_every_line_of_the_library_is_needed(directory: Place) -> None:
    """The last line calls the first function: without it nothing runs."""
    edit_last = '\n_main "$@"\n'
    directory.write(words("touch", "ran"))
    edit(directory, edit_last, "\n")
    assert directory.run(0).code == 125
