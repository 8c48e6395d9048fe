"""Checks and false successes: COMPLETED needs exit 0 of the command and of its check."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.errors import BadInputError
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.script.progress_lines import SlotProgress, TaskProgress
from slurmslice.script.template_files import OwnTemplate
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import Command, ShellText
from slurmslice.spec.output_check import OutputCheck
from slurmslice.spec.packing import Packing
from slurmslice.spec.slice_path import refuse_shared_paths
from slurmslice.status.exit_reason import report_from_progress
from slurmslice.status.observation import JobSteps, TaskReport
from slurmslice.status.reconcile import ACCOUNTING_LAG_S, SliceEvidence, SliceStatus, reconcile
from slurmslice.status.reconcile_packed import FILE_VISIBLE_S, reconcile_packed
from slurmslice.status.states import EvidenceSource, State
from tests.conftest import NewRun
from tests.script.test_packs import log, pack, processes
from tests.script.test_script import HOSTILE, Place, wait_for, words
from tests.support.errors import raises_error
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed

COMMANDS = pytest.mark.parametrize(
    "command",
    [words("sh", "-c", 'echo "made $SLICE"; echo "$SLICE" >"out-$SLICE"'),
     ShellText('echo "made $SLICE"\necho "$SLICE" >"out-$SLICE"')],
    ids=["words", "shell"],
)  # fmt: skip
NOW = 1_800_000_000.0
KNOWN = SliceStatus(State.RUNNING, "running", submission=1, index=3, attempt=1)
NOTHING = SliceEvidence(None, None, None, "", "", False, None, None, NOW)
DONE = TaskReport(State.COMPLETED, "COMPLETED", exit_code=0)
FAILED = TaskReport(State.FAILED, "FAILED", exit_code=3)
MISSED = SlotProgress(int(NOW) - 40, "n3", int(NOW) - 5, 3, check_exit=3)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Place]:
    """Make a folder whose slices are ended with the test."""
    here = Place(tmp_path)
    yield here
    here.clear()


# -- the script ------------------------------------------------------------------------------


@COMMANDS
def test_a_check_that_succeeds_changes_nothing(directory: Place, command: Command) -> None:
    """The slice is COMPLETED. The check finds the slice's variables and its log."""
    directory.write(
        command, check=OutputCheck('grep -qx "$SLICE" "out-$SLICE" && echo looked', ("out-{}",))
    )
    ran = directory.run(17)
    assert (ran.code, ran.log) == (0, b"made 17\nlooked\n")
    assert ran.said.slots[0].check_exit is None


@COMMANDS
@pytest.mark.parametrize(
    ("check", "code", "says"),
    [
        (OutputCheck("echo no; exit 3"), 3, b"no\n"),
        (OutputCheck("", ("{}.h5",)), 1, b"17.h5 is missing\n"),
        (OutputCheck("", ("out-{}", "{}")), 1, b"17 is empty\n"),
        (OutputCheck("touch after", ("{}.h5",)), 1, b"17.h5 is missing\n"),
    ],
)
def test_a_check_that_fails_fails_the_task(
    directory: Place, command: Command, check: OutputCheck, code: int, says: bytes
) -> None:
    """Slurm then does not start dependent jobs; the log gives the reason."""
    (directory.work_dir / "17").touch()
    directory.write(command, check=check)
    ran = directory.run(17)
    own = ran.said.slots[0]
    assert (ran.code, own.exit_code, own.check_exit) == (code, code, code)
    assert ran.log.startswith(b"made 17\n")
    assert ran.log.endswith(says)
    assert not (directory.work_dir / "after").exists()


def test_a_command_that_fails_is_not_checked(directory: Place) -> None:
    """The exit code is the command's."""
    directory.write(words("sh", "-c", "exit 7"), check=OutputCheck("touch looked"))
    ran = directory.run(17)
    assert (ran.code, ran.said.slots[0].check_exit) == (7, None)
    assert not (directory.work_dir / "looked").exists()


def test_the_log_of_a_killed_command_has_only_its_own_lines(directory: Place) -> None:
    """Bash would print the code of the script; errors after the command still go to the log."""
    command = words("sh", "-c", '[ "$1" = 16 ] || { echo "made" >&2; kill -9 $$; }', "-", "{}")
    directory.write(command, check=OutputCheck("echo wrong >&2; exit 3"))
    ran = directory.run(17)
    assert (ran.code, ran.log) == (137, b"made\n")
    checked = directory.run(16)
    assert (checked.code, checked.log) == (3, b"wrong\n")


def test_a_folder_is_no_file(directory: Place) -> None:
    """--check-file requires a file."""
    (directory.work_dir / "17").mkdir()
    directory.write(words("true"), check=OutputCheck("", ("{}",)))
    assert directory.run(17).said.slots[0].check_exit == 1


FILE_FAULTS = {
    "nothing": ("true", "missing"),
    "emptied": (': >"out-$SLICE"', "empty"),
    "a folder": ('rm -f "out-$SLICE"; mkdir "out-$SLICE"', "not a file"),
    "left as it was": ("true", "earlier"),
    "other rights": ('chmod 600 "out-$SLICE"', ""),
    "written again": ('echo x >"out-$SLICE"', ""),
    "moved there": ('echo x >new; touch -d 1999-01-01 new; mv new "out-$SLICE"', ""),
    "copied with its time": ('rm "out-$SLICE"; cp -p /etc/passwd "out-$SLICE"', ""),
    "old, and linked anew": ('rm "out-$SLICE"; ln -s /etc/passwd "out-$SLICE"', ""),
}
"""What a command does to its output, and the fault that the check finds."""


@pytest.mark.parametrize("form", ["one", "pack", "by hand"])
@pytest.mark.parametrize("case", FILE_FAULTS)
def test_the_fault_of_a_file_is_named(directory: Place, case: str, form: str) -> None:
    """A file that was there before and that the attempt did not touch does not count."""
    text, fault = FILE_FAULTS[case]
    check = OutputCheck('echo x >>"looked $SLICE"', ("out-{}",))
    key = "k0" if form == "pack" else "17"
    if case != "nothing":
        (directory.work_dir / f"out-{key}").write_text("of an earlier attempt\n")
    if form == "pack":
        pack(directory, ShellText(text), 1, check=check)
    else:
        directory.write(ShellText(text), check=check)
    if form == "by hand":
        done = directory.by_hand(SLURM_ARRAY_TASK_ID="17")
        assert (done.returncode, fault in done.stderr) == (1 if fault else 0, True)
    else:
        ran = directory.run(0 if form == "pack" else 17)
        own = ran.said.slots[0]
        assert (ran.code, own.check_exit) == ((1, 1) if fault else (0, None))
        assert fault in own.check_file
        assert own.check_file.startswith(f"out-{key} " if fault else "")
    looked = directory.work_dir / f"looked {key}"
    assert (looked.read_text() if looked.exists() else "") == ("" if fault else "x\n")


@pytest.mark.parametrize("name", ["a b", "50%20", "x=y:z", "é", "a\nb", "-n", "q'\"$(touch X)"])
def test_the_fault_names_any_path(directory: Place, name: str) -> None:
    """The progress line holds the path as one word."""
    (directory.work_dir / "out").mkdir()
    (directory.work_dir / "out" / "1").write_text("x")
    directory.write(words("true"), direct=False, check=OutputCheck("", ("out/1", "no/{}")))
    directory.make(rows=[(name,)])
    own = directory.run(0, log="row-40.log").said.slots[0]
    assert own.check_file == "out/1 is of an earlier attempt"
    (directory.work_dir / "out" / "1").unlink()
    again = directory.run(0, log="row-40.log", SLURM_RESTART_COUNT="1").said.slots[0]
    assert "missing" in again.check_file
    assert "out/1" in again.check_file


def test_a_restarted_pack_keeps_the_fault(directory: Place) -> None:
    """A slice that ended does not run again; its reason stays."""
    pack(directory, words("true"), 2, check=OutputCheck("", ("out {}",)))
    first = directory.run(0).said.slots
    again = directory.run(0, SLURM_RESTART_COUNT="1").said.slots
    assert again[1].check_file == first[1].check_file != ""


def test_only_a_check_of_files_is_asked_twice(directory: Place) -> None:
    """A text that a person wrote before the files runs once, after the command."""
    text = 'echo x >>looked\n_check_file "out-$SLICE"'
    directory.write(words("true"), check=OutputCheck(text))
    assert directory.run(17).said.slots[0].check_exit == 1
    assert (directory.work_dir / "looked").read_text() == "x\n"


def test_the_reason_of_a_failed_check_names_the_file() -> None:
    """By accounting, by the lines alone, and in a pack; without a file, the exit code."""
    for file, word in (("out/3.h5 is empty", "out/3.h5 is empty"), ("", "3")):
        own = replace(MISSED, check_file=file)
        progress = TaskProgress(0, {0: own})
        late = replace(NOTHING, accounting=FAILED, progress=own)
        alone = report_from_progress(own, cancelled=False)[2]
        packed = reconcile_packed(KNOWN, replace(NOTHING, accounting=FAILED), 0, progress, 0)
        reasons = [reconcile(KNOWN, late).reason, alone, packed.reason]
        assert [reason for reason in reasons if word not in reason] == []


@pytest.mark.parametrize(
    ("files", "path"),
    [
        (("out/{stem}.csv",), "out/x.csv"),
        (("log-{name}",), "log-x.fits"),
        (("{parent}/../{stem}",), "b/../x"),
        (("{}.h5", "out/{name}"), "out/x.fits"),
        (("b/{stem}", "{parent}/{stem}"), "b/x"),
        (("{}.h5",), None),
        (("out/{parent}/{stem}", "out/{parent}/./{stem}"), None),
        (("{stem}/{}", "{stem}-{parent}"), None),
    ],
)
def test_two_slices_with_one_file_are_refused(files: tuple[str, ...], path: str | None) -> None:
    """One would overwrite the other's file. Two paths of one slice may be equal."""
    columns = {"stem": ["x", "x"], "parent": ["a", "b"], "name": ["x.fits", "x.fits"]}
    table, check = SliceTable(["a/x.fits", "b/x.fits"], columns), OutputCheck("", files)
    if path is None:
        refuse_shared_paths(check.files, table, "check-file")
        return
    with raises_error(BadInputError, "file-shared", path=path, keys=tuple(table.keys[:2])):
        refuse_shared_paths(check.files, table, "check-file")


def test_paths_that_the_system_takes_for_one_are_refused(typed: Typed) -> None:
    """The keys differ, the files do not; at render, with both slices."""
    (typed.folder / "keys").write_text("a\n./a\nb\n")
    line = ("render", "--slices-from", "keys", "--name", "x", "--check-file", "out/{}.h5")
    typed(*line, "--", "true", "{}")
    assert (typed.code, typed.error) == (2, "file-shared")
    assert typed.fields["keys"] == ("a", "./a")
    (typed.folder / "keys").write_text("a\nb/a\nb\n")
    typed(*line, "--", "true", "{}")
    assert typed.code == 0


@COMMANDS
def test_signals_reach_command_and_check(directory: Place, command: Command) -> None:
    """The command receives SIGUSR1, and SIGTERM ends a check that hangs."""
    text = "trap 'got=1' USR1; echo ready; until [ \"$got\" ]; do sleep 0.05; done; true"
    command = ShellText(text) if isinstance(command, ShellText) else words("bash", "-c", text)
    directory.write(command, check=OutputCheck("touch looking; sleep 60"))
    task, own = directory.start(17), directory.submission() / "logs/17.log"
    wait_for(lambda: own.exists() and own.read_bytes() == b"ready\n")
    task.send_signal(signal.SIGUSR1)
    wait_for((directory.work_dir / "looking").exists)
    task.send_signal(signal.SIGTERM)
    ran = directory.end(task)
    assert (ran.code, ran.said.slots[0].exit_code) == (143, 143)


@pytest.mark.parametrize("key", HOSTILE)
def test_a_hostile_key_in_a_path_is_a_path(directory: Place, key: str) -> None:
    """The path of --check-file is data, like the words of the command."""
    directory.write(words("true"), direct=False, check=OutputCheck("", ("no/{}.h5",)))
    directory.make(rows=[(key,)])
    ran = directory.run(0, log="row-40.log")
    assert ran.code == 1
    assert b"slurmslice: no/" in ran.log


def test_by_hand_the_check_runs_too(directory: Place) -> None:
    """A slice started by hand does the same as in an array."""
    directory.write(words("echo", "ran"), check=OutputCheck("echo looked; exit 4"))
    done = directory.by_hand(SLURM_ARRAY_TASK_ID="17")
    assert (done.returncode, done.stdout) == (4, "ran\nlooked\n")


@pytest.mark.parametrize("at_once", [1, 3])
@COMMANDS
def test_each_slice_of_a_pack_is_checked(directory: Place, command: Command, at_once: int) -> None:
    """A failed check does not stop other slices, and a restart of the task keeps it."""
    check = OutputCheck('echo run >>"runs-$SLICE"; [ "$SLICE" != k1 ] || exit 5', ("out-{}",))
    pack(directory, command, 4, at_once=at_once, check=check)
    for restart in ("0", "1", "2"):
        ran = directory.run(0, SLURM_RESTART_COUNT=restart)
        slots = ran.said.slots
        assert {i: (s.exit_code, s.check_exit) for i, s in slots.items()} == {
            0: (0, None), 1: (5, 5), 2: (0, None), 3: (0, None),
        }  # fmt: skip
        assert ran.code == 1
    assert log(directory, 1) == b"made k1\n"
    assert [(directory.work_dir / f"runs-k{i}").read_text() for i in range(4)] == ["run\n"] * 4
    assert processes(directory) == []


def test_a_check_counts_in_the_slices_own_time(directory: Place) -> None:
    """A check that hangs is ended at the slice's time limit."""
    pack(
        directory,
        words("true"),
        2,
        check=OutputCheck("[ $SLICE = k0 ] || sleep 60"),
        slice_time_s=1,
    )
    slots = directory.run(0).said.slots
    assert slots[0].exit_code == 0
    assert (slots[1].exit_code, slots[1].timed_out) == (143, True)


@pytest.mark.parametrize("code", [129, 137, 143])
def test_a_check_that_ends_like_a_signal_is_a_check_that_failed(code: int) -> None:
    """timeout(1), for example, ends so; in a pack too."""
    own = replace(MISSED, exit_code=code, check_exit=code)
    ended = replace(NOTHING, accounting=FAILED)
    status = reconcile_packed(KNOWN, ended, 1, TaskProgress(0, {1: own}), 0)
    assert (status.state, status.exit_code) == (State.CHECK_FAILED, 0)


def test_a_warning_for_the_command_does_not_end_its_check(directory: Place) -> None:
    """--signal=B:USR1@N may arrive after the command has ended."""
    directory.write(
        words("true"), check=OutputCheck("touch looking; until [ -e go ]; do sleep 0.05; done")
    )
    task = directory.start(17)
    wait_for((directory.work_dir / "looking").exists)
    task.send_signal(signal.SIGUSR1)
    (directory.work_dir / "go").touch()
    ran = directory.end(task)
    assert (ran.code, ran.said.slots[0].check_exit) == (0, None)


@pytest.mark.parametrize("at_once", [0, 1, 3])
@pytest.mark.parametrize("where", ["command", "checked", "check"])
@pytest.mark.parametrize("name", ["HUP", "INT", "TERM", "PIPE", "ALRM"])
def test_a_signal_in_the_last_moment_is_no_success(
    directory: Place, at_once: int, where: str, name: str
) -> None:
    """If nothing follows a shell text's last command, bash itself exits 0."""
    ends, fine = f"kill -s {name} $BASHPID", "true"
    command = ShellText(fine if where == "check" else ends)
    check = OutputCheck({"command": "", "checked": fine, "check": ends}[where])
    if at_once:
        pack(directory, command, 1, at_once=at_once, check=check)
    else:
        directory.write(command, check=check)
    own = directory.run(0).said.slots[0]
    code = 128 + signal.Signals[f"SIG{name}"]
    assert (own.exit_code, own.check_exit) == (code, code if where == "check" else None)


BUILTINS = subprocess.run(
    ["bash", "-c", "compgen -b"], capture_output=True, text=True, check=True
).stdout.split()
HIDDEN = sorted({*BUILTINS, "mkdir"} - {"builtin"})
FUNCTIONS = "\n".join(f"function {name} {{ builtin return 3; }}" for name in HIDDEN)
ALIASES = "shopt -s expand_aliases\n" + "\n".join(f"alias {name}=false" for name in HIDDEN)
SETUPS = {
    "functions and a failure": (FUNCTIONS + "\nbuiltin return 7", 7),
    "an exit under a trap of its own": ("trap true EXIT; exit 0", 0),
    "an exit 3 under a trap of its own": ("trap true EXIT; exit 3", 3),
    "set -e": ("set -e\nfalse\nexport DATA=here", 1),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("setup", SETUPS)
def test_a_setup_that_ends_the_script_is_no_success(
    directory: Place, setup: str, packed: bool
) -> None:
    """The command was not run, for any traps and options of the setup."""
    text, code = SETUPS[setup]
    if packed:
        pack(directory, words("touch", "ran"), 3, setup=text)
    else:
        directory.write(words("touch", "ran"), setup=text)
    ran = directory.run(0 if packed else 17)
    assert ran.code != 0
    assert (ran.said.setup_exit, ran.said.slots) == (code, {})
    assert not (directory.work_dir / "ran").exists()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "setup",
    ['unset "${!SLURM_@}"', "exec >setup.out 2>&1", "trap 'exit 1' ERR; set -E", FUNCTIONS, ALIASES,
     f"set -o posix; {ALIASES}", f"{FUNCTIONS}; {ALIASES}; IFS=ei", "set -eu; unset -f exit"],
)  # fmt: skip
def test_a_setup_cannot_suppress_the_end_line(directory: Place, setup: str, packed: bool) -> None:
    """It removes Slurm's variables, redirects output, sets an ERR trap: the lines are written."""
    command = words("sh", "-c", "case $SLICE in 17|k1) exit 9;; esac")
    if packed:
        pack(directory, command, 3, setup=setup)
    else:
        directory.write(command, setup=setup)
    ran = directory.run(0 if packed else 17)
    wanted = {0: 0, 1: 9, 2: 0} if packed else {0: 9}
    assert {slot: said.exit_code for slot, said in ran.said.slots.items()} == wanted


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ends", [0, 3])
@pytest.mark.parametrize("own", [0, 9])
def test_the_exit_trap_of_a_setup_changes_nothing(
    directory: Place, own: int, ends: int, packed: bool
) -> None:
    """The EXIT trap runs after everything else; its exit code is not the slice's."""
    setup = f"trap 'touch cleaned; exit {own}' EXIT; trap 'exit {own}' CHLD"
    command = words("sh", "-c", f"exit {ends}")
    if packed:
        pack(directory, command, 3, setup=setup)
    else:
        directory.write(command, setup=setup)
    ran = directory.run(0)
    assert ran.code == (min(ends, 1) if packed else ends)
    assert {said.exit_code for said in ran.said.slots.values()} == {ends}
    assert (directory.work_dir / "cleaned").exists()


# -- the options -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (OutputCheck("", ("out.h5",)), "same file for every slice"),
        (OutputCheck("", ("{nam}.h5",)), r"\{nam\}"),
        (OutputCheck("", ("$SLICE.h5",)), "expands"),
        (OutputCheck("test -s {}.h5"), "no \\$SLICE"),
        (OutputCheck("  "), "is empty"),
    ],
)
def test_a_check_that_cannot_work_is_refused(check: OutputCheck, says: str) -> None:
    """A check must really examine a file of its slice."""
    with pytest.raises(BadInputError, match=says):
        check.verify(["name"])


def test_a_check_is_part_of_script_and_run(typed: Typed) -> None:
    """A person can review it; the same command continues, another check means another run."""
    line = ("run", "--dry-run", "--name", "x", "-a", "0-3", "--check-file", "{}.h5")
    typed("render", *line[2:], "--check", "true # $SLICE", "--", "true", "{}")
    script = (typed.folder / "runs/x/script.sh").read_text()
    assert '_check_file "${SLICE}.h5"' in script
    assert "true # $SLICE" in script
    said = typed(*line, "--", "true", "{}")
    assert typed.code == 2
    assert typed.error == "run-differs"
    assert "check: {}.h5 is not empty; true # $SLICE" in said


@pytest.mark.parametrize(
    ("setup", "pack", "warns"),
    [('cd "$SLICE"', "2", True), ("cd ${SLICE}", "2", True), ("echo $SLICE_MASS", "2", True),
     ("cd $SLICE", "1", False), ("cd $SLICES", "2", False), ("echo SLICE", "2", False)],
)  # fmt: skip
def test_a_warning_if_the_setup_of_a_pack_uses_its_slice(
    typed: Typed, setup: str, pack: str, warns: bool
) -> None:
    """It runs once in a task, before any slice; the preview shows the check too."""
    line = ("render", "--dry-run", "-a", "0-3", "--pack", pack, "--check-file", "{}.h5")
    said = typed(*line, "--setup", setup, "--", "true", "{}")
    assert bool(typed.noted("setup-names-slice")) is warns
    assert "check {}.h5 is not empty" in said


def test_checks_in_settings(typed: Typed) -> None:
    """slurmslice.toml accepts check, check_file and allow-failed-steps."""
    (typed.folder / "slurmslice.toml").write_text(
        'check = "test $SLICE"\ncheck-file = ["{}.h5", "{}.log"]\nallow-failed-steps = true\n'
    )
    typed("render", "--name", "x", "-a", "0-3", "--", "true", "{}")
    assert typed.code == 0
    record = RunDirectory(typed.folder / "runs" / "x").read_record()
    assert record.check == OutputCheck("test $SLICE", ("{}.h5", "{}.log"))
    assert record.allow_failed_steps


# -- the states ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "by_itself"),
    [
        (SlotProgress(exit_code=0), True),
        (SlotProgress(exit_code=3), True),
        (SlotProgress(exit_code=0, signal_received="TERM"), False),  # it saved its work
        (SlotProgress(), False),
    ],
)
def test_a_timeout_that_ended_by_itself_has_its_exit_code(
    own: SlotProgress, by_itself: bool
) -> None:
    """Slurm says TIMEOUT if it checks the limit after the end (seen); the reason says more."""
    late = replace(NOTHING, accounting=replace(FAILED, state=State.TIMEOUT), progress=own)
    status = reconcile(KNOWN, late)
    assert status.state is State.TIMEOUT
    assert (f"exit {own.exit_code}" in status.reason) is by_itself


@pytest.mark.parametrize(
    ("said", "state", "evidence", "exit_code"),
    [
        (replace(NOTHING, accounting=FAILED, progress=MISSED),
         State.CHECK_FAILED, EvidenceSource.CHECK, 0),
        (replace(NOTHING, accounting=FAILED, progress=replace(MISSED, check_exit=None)),
         State.FAILED, EvidenceSource.ACCOUNTING, 3),
        # A later start of the task failed and could not write.
        (replace(NOTHING, accounting=replace(FAILED, exit_code=1), progress=MISSED),
         State.FAILED, EvidenceSource.ACCOUNTING, 1),
        (replace(NOTHING, accounting=replace(FAILED, exit_code=15, exit_code_truncated=True),
                 progress=replace(MISSED, exit_code=143, check_exit=143)),
         State.CHECK_FAILED, EvidenceSource.CHECK, 0),
        (replace(NOTHING, accounting=replace(FAILED, state=State.TIMEOUT), progress=MISSED),
         State.TIMEOUT, EvidenceSource.ACCOUNTING, 3),
        (replace(NOTHING, queue=FAILED, accounting_silence="off", accounting_off=True,
                 progress=MISSED), State.CHECK_FAILED, EvidenceSource.CHECK, 0),
        (replace(NOTHING, accounting_silence="off", accounting_off=True, progress=MISSED),
         State.CHECK_FAILED, EvidenceSource.CHECK, 0),
        (replace(NOTHING, accounting=replace(DONE, steps=JobSteps("exited 3"))),
         State.CHECK_FAILED, EvidenceSource.ACCOUNTING, 0),
        (replace(NOTHING, accounting=replace(FAILED, steps=JobSteps("exited 9"))),
         State.FAILED, EvidenceSource.ACCOUNTING, 3),
        (replace(NOTHING, accounting=replace(DONE, steps=JobSteps(preempted=True))),
         State.PREEMPTED, EvidenceSource.ACCOUNTING, 0),
        (replace(NOTHING, accounting=replace(FAILED, steps=JobSteps("exited 143", preempted=True))),
         State.PREEMPTED, EvidenceSource.ACCOUNTING, 3),
        (replace(NOTHING, accounting=replace(FAILED, state=State.TIMEOUT,
                                             steps=JobSteps(preempted=True))),
         State.TIMEOUT, EvidenceSource.ACCOUNTING, 3),
    ],
)  # fmt: skip
def test_false_successes_have_states_of_their_own(
    said: SliceEvidence, state: State, evidence: EvidenceSource, exit_code: int
) -> None:
    """Failed checks and failed job steps are neither success nor plain failure."""
    status = reconcile(KNOWN, said)
    assert (status.state, status.evidence, status.exit_code) == (state, evidence, exit_code)
    assert status.reason


def test_a_slice_of_a_pack_that_fails_its_check() -> None:
    """Its own lines show it at once, while its task continues."""
    runs = replace(NOTHING, queue=TaskReport(State.RUNNING, "RUNNING"))
    status = reconcile_packed(KNOWN, runs, 1, TaskProgress(0, {1: MISSED}), 0)
    assert (status.state, status.evidence) == (State.CHECK_FAILED, EvidenceSource.CHECK)
    assert (status.exit_code, status.reason) == (0, "exit 0, but its check exited 3")


EARLY = OwnTemplate(
    Path("mine.sh.j2"),
    '{% extends "array.sh.j2" %}{% block header %}\n[[ -e go ]] || exit 0\n{% endblock %}',
)
BEGAN = "".join(
    f"slurmslice start job=100 restart=0 at=1800000000 host=n1 slot={slot}\n" for slot in (0, 1)
)


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize(
    ("setup", "log", "state"),
    [
        ("cd . && exec conda run x", "loading\n", State.FAILED),
        ("cd . && exec conda run x", "", State.FAILED),
        ("[ -e x ] && exec conda run x", BEGAN, State.COMPLETED),
        ("exec conda run x", None, State.COMPLETED),
        ("module load x", "loading\n", State.FAILED),
        ("module load x", BEGAN, State.COMPLETED),
        (EARLY, "", State.FAILED),
        (EARLY, BEGAN, State.COMPLETED),
    ],
)
def test_a_script_that_ends_before_its_command_is_no_success(
    make_run: Callable[..., tuple[Run, FakeEngine]],
    pack: int,
    setup: str | OwnTemplate,
    log: str | None,
    state: State,
) -> None:
    """The setup or the template exits 0. A log that is not visible yet proves nothing."""
    own = {"setup": setup} if isinstance(setup, str) else {"template": setup}
    run, engine = make_run(2, Packing(pack=pack), **own)
    submit(run, choose_waiting(None), {}, "submit")
    now = int(run.clock())
    end_all(engine, replace(DONE, ended_at=now))
    poll(run)
    for index in range(2 // pack):
        if log is not None:
            run.directory.task_log_path(1, index).write_text(log)
    poll(run)
    early = state is State.FAILED or log is None  # its log may not be visible here yet
    assert run.statuses[0].state.final is not early
    end_all(engine, replace(DONE, ended_at=now - 60))
    poll(run)
    assert run.statuses.state_counts() == {state: 2}
    assert ("the command was not run" in run.statuses[0].reason) is (state is State.FAILED)


KILLED = replace(
    FAILED, exit_code=0, signal=9, max_rss_bytes=130 << 20, requested_mem_bytes=100 << 20
)


@pytest.mark.parametrize(
    ("report", "state"),
    [
        (KILLED, State.OUT_OF_MEMORY),
        (replace(KILLED, max_rss_bytes=100 << 20), State.FAILED),
        (replace(KILLED, max_rss_bytes=None), State.FAILED),
        (replace(KILLED, requested_mem_bytes=None), State.FAILED),
        (replace(KILLED, signal=15), State.FAILED),
        (replace(KILLED, state=State.TIMEOUT), State.TIMEOUT),
    ],
)
def test_killed_over_its_memory(report: TaskReport, state: State) -> None:
    """FAILED 0:9 with more memory than requested is OUT_OF_MEMORY; the reason has the figures."""
    status = reconcile(KNOWN, replace(NOTHING, accounting=report))
    assert status.state is state
    if state is State.OUT_OF_MEMORY:
        assert "130 MiB" in status.reason


@pytest.mark.parametrize("report", [DONE, FAILED, replace(KILLED, state=State.TIMEOUT)])
@pytest.mark.parametrize("steps", [None, JobSteps(ended=False)])
def test_unreported_steps_are_waited_for(report: TaskReport, steps: JobSteps | None) -> None:
    """An end counts after its steps are known or after the grace, never as a success before."""
    ended_at = NOTHING.now - 1
    report = replace(report, steps=steps, ended_at=int(ended_at))
    status = reconcile(KNOWN, replace(NOTHING, accounting=report))
    lasts = report.state is State.TIMEOUT and steps is not None  # its steps end with it
    assert status.state is (report.state if lasts else State.COMPLETING)
    assert lasts or "accounting" in status.reason
    late = replace(NOTHING, accounting=report, now=ended_at + ACCOUNTING_LAG_S)
    assert reconcile(KNOWN, late).state is report.state


def end_all(engine: FakeEngine, report: TaskReport) -> None:
    """Let accounting report this end for every task."""
    for job in engine.jobs.values():
        job.tasks.update(dict.fromkeys(job.tasks, report))


def submitted(new_run: NewRun, engine: FakeEngine, report: TaskReport) -> Run:
    """Make a run of ten tasks, all of which have ended by accounting."""
    run = new_run("0-9")
    submit(run, choose_waiting(None), {}, "submit")
    end_all(engine, report)
    return run


def test_steps_are_asked_for_once(new_run: NewRun, engine: FakeEngine) -> None:
    """The poll that sees an end asks, and gets CPU time and memory too."""
    run = submitted(new_run, engine, replace(KILLED, max_rss_bytes=None))
    engine.max_rss_bytes, engine.cpu_s = 130 << 20, 1.5
    poll(run)
    poll(run)
    assert run.statuses.state_counts() == {State.OUT_OF_MEMORY: 10}
    assert {status.cpu_s for status in map(run.statuses.seen, range(10))} == {1.5}
    assert engine.measures == 1


def test_unanswered_steps_are_asked_for_again(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """The reason names the silent source; the end counts after its answer, however late."""
    run = submitted(new_run, engine, replace(DONE, ended_at=int(clock.now)))
    engine.steps = None
    for _ in range(2):
        assert poll(run).no_answer_reasons == ("sacct did not answer in time.",)
        assert run.statuses.state_counts() == {State.SUBMITTED: 10}
        assert "sacct did not answer in time" in run.statuses[0].reason
        clock.now += 2 * ACCOUNTING_LAG_S
    engine.steps = JobSteps("exited 3")
    poll(run)
    assert run.statuses.state_counts() == {State.CHECK_FAILED: 10}


def test_a_step_that_ends_late_is_no_success(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """A step that runs at the first poll is asked for again, and its failure counts."""
    run = submitted(new_run, engine, replace(DONE, ended_at=int(clock.now)))
    engine.steps = JobSteps(ended=False)
    poll(run)
    assert run.statuses.state_counts() == {State.COMPLETING: 10}
    engine.steps = JobSteps("exited 3")
    poll(run)
    assert run.statuses.state_counts() == {State.CHECK_FAILED: 10}


def test_steps_of_a_newer_start_do_not_count(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """Slurm may requeue a task between the two questions."""
    run = submitted(new_run, engine, replace(DONE, ended_at=int(clock.now)))
    clock.now += FILE_VISIBLE_S
    engine.restarted = True
    poll(run)
    assert run.statuses.state_counts() == {State.COMPLETING: 10}
    engine.restarted = False
    poll(run)
    assert run.statuses.state_counts() == {State.COMPLETED: 10}


@pytest.mark.parametrize("allowed", [False, True])
def test_failed_steps_can_be_allowed(typed: Typed, engine: FakeEngine, allowed: bool) -> None:
    """A failed job step makes its slice CHECK_FAILED, except with --allow-failed-steps."""
    option = ("--allow-failed-steps",) if allowed else ()
    typed("render", "--name", "x", "-a", "0-3", *option, "--", "true", "{}")
    typed("submit", "x")
    end_all(engine, DONE)
    engine.steps = JobSteps("exited 3")
    said = typed("status", "x")
    assert ("COMPLETED 4" in said) is allowed
    assert ("CHECK_FAILED 4" in said and "job step" in said) is not allowed
    typed("resubmit", "x")
    assert len(engine.jobs) == (1 if allowed else 2)
