"""Packed scripts: array tasks of several slices, run by real bash, without Slurm."""

from __future__ import annotations

import functools
import itertools
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmslice.engines.local.memory_cgroup import create_memory_groups
from slurmslice.script.progress_lines import parse_progress
from slurmslice.script.render import ScriptContent, library_bytes, render_script
from slurmslice.spec.command import Command, ShellText
from slurmslice.spec.output_check import OutputCheck
from slurmslice.system.shell_quoting import quote
from tests.script.test_script import (
    BASH,
    EXAMPLE,
    HOSTILE,
    TABLE_EXAMPLE,
    Place,
    Ran,
    cpu_s,
    to_bytes,
    tool,
    use_cpu,
    wait_for,
    words,
)
from tests.support.paths import SNAPSHOTS
from tests.support.scripts import changed, logged

PACKED = changed(
    TABLE_EXAMPLE, command=EXAMPLE.record.command, pack=125, at_once=1, slice_time_s=600
)
POOL = changed(TABLE_EXAMPLE, pack=40, at_once=4, slice_time_s=None)

ONE_OR_SEVERAL = pytest.mark.parametrize("at_once", [1, 3])


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path)
    yield here
    for pid in processes(here):
        os.kill(pid, signal.SIGKILL)


def processes(directory: Place) -> list[int]:
    """Return the processes that still run in the slices' folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(process / "cwd") == str(directory.work_dir):
                found.append(int(process.name))
        except OSError:
            continue  # it is gone, or another's
    return found


def pack(directory: Place, command: Command, keys: int | list[str], **fields: object) -> None:
    """Make a packed script with a table of these keys, or of so many keys."""
    directory.write(command, **({"direct": False, "numbers": None, "pack": 4} | fields))
    given = [f"k{i}" for i in range(keys)] if isinstance(keys, int) else keys
    directory.make(rows=[(key,) for key in given])


def log(directory: Place, row: int) -> bytes:
    """Return the progress of the slice in a row; empty if it never ran."""
    return logged(directory.submission(), f"row-{row + 40}.log")


def exits(ran: Ran) -> dict[int, int | None]:
    return {slot: said.exit_code for slot, said in ran.said.slots.items()}


def edit(directory: Place, old: str, new: str) -> None:
    """Change the library."""
    text = directory.library.read_text()
    assert text.count(old) == 1
    directory.library.write_text(text.replace(old, new))


# -- what it looks like ---------------------------------------------------------------------


@pytest.mark.parametrize(("name", "spec"), [("packed", PACKED), ("pool", POOL)])
def test_the_packed_script_is_the_reviewed_one(name: str, spec: ScriptContent) -> None:
    """A reviewer sees each change of the script (in git diff)."""
    path = SNAPSHOTS / f"{name}.sh"
    if os.environ.get("SLURMSLICE_UPDATE_SNAPSHOTS"):
        path.write_text(render_script(spec))
    assert render_script(spec) == path.read_text()


def variants() -> Iterator[ScriptContent]:
    """The examples cover every branch of a packed script."""
    commands: tuple[Command, ...] = (words("prog", "-x", "{}"), ShellText('prog "$SLICE"'))
    for command, at_once, limit, cpus, columns in itertools.product(
        commands, (1, 4), (None, 600), (None, 4), ((), ("a", "b_2"))
    ):
        yield changed(
            POOL,
            command=command,
            at_once=at_once,
            slice_time_s=limit,
            cpus=cpus,
            columns=columns,
        )
    for command, at_once in itertools.product(commands, (1, 4)):
        check = OutputCheck("test 1 = 1", ("out/{}.h5",))
        yield changed(POOL, command=command, at_once=at_once, check=check)


def test_shellcheck_reports_nothing_about_packs(tmp_path: Path) -> None:
    """shellcheck, notes included, and ``bash -n`` report nothing for any variant."""
    paths = []
    for number, spec in enumerate(variants()):
        paths.append(tmp_path / f"{number}.sh")
        paths[-1].write_text(render_script(spec))
        subprocess.run([BASH, "-n", str(paths[-1])], check=True)
    done = subprocess.run([tool("shellcheck"), *map(str, paths)], capture_output=True, text=True)
    assert done.stdout == ""


def test_packs_need_nothing_newer_than_bash_4_2() -> None:
    """Compute nodes have old bashes: no ``wait -n``, no negative subscripts, no EPOCHSECONDS.

    ``${EPOCHREALTIME:-}`` is empty there, so the library reads another clock.
    """
    texts = (*map(render_script, variants()), library_bytes().decode())
    text = "".join(re.sub("^ *#.*", "", text, flags=re.MULTILINE) for text in texts)
    newer = (
        r"wait -[nfp]|@[QEPAKaUuL]\}|mapfile .*-d|EPOCHSECONDS|EPOCHREALTIME(?!:-\})|SRANDOM|"
        r"local -n|\[-1\]"
    )
    assert re.findall(newer, text) == []


# -- the slices of a task -------------------------------------------------------------------


@ONE_OR_SEVERAL
def test_each_slice_of_a_pack_has_its_own_values_and_log(directory: Place, at_once: int) -> None:
    """Index i carries lines i*K to i*K+K-1, the last task the rest; each slice has its log."""
    directory.write(
        ShellText('echo "$SLICE $SLICE_ROW [$SLICE_MASS]"; echo err >&2'),
        direct=False, columns=("mass",), pack=3, at_once=at_once,
    )  # fmt: skip
    rows: list[tuple[str, ...]] = [(f"k{i}", str(i * i) if i % 2 else "") for i in range(8)]
    directory.make(rows=rows, columns=("mass",))
    for index, carried in enumerate((range(3), range(3, 6), range(6, 8))):
        ran = directory.run(index)
        assert (ran.code, exits(ran)) == (0, dict.fromkeys(range(len(carried)), 0))
        assert ran.stdout.count(b"\n") == 2 * len(carried)
        for row in carried:
            mass = str(row * row) if row % 2 else ""
            assert log(directory, row) == f"k{row} {row + 40} [{mass}]\nerr\n".encode()


def test_no_two_slices_of_a_task_have_a_slot_at_the_same_time(directory: Place) -> None:
    """Three at once have the slots 0 to 2. A slot is free after the end of its slice."""
    text = (
        'mkdir "at.$SLICE_SLOT" && touch "seen.$SLICE_SLOT" || exit 1; n=0; '
        "until [[ -e seen.0 && -e seen.1 && -e seen.2 ]]; do "
        "((n++ < 1000)) || exit 2; sleep 0.02; done; "
        'rmdir "at.$SLICE_SLOT"; ((SLICE_SLOT < 3))'
    )
    pack(directory, ShellText(text), 12, pack=12, at_once=3)
    assert exits(directory.run(0)) == dict.fromkeys(range(12), 0)


@pytest.mark.parametrize("place", ["", "7", "x[$(touch pwned)]"])
def test_one_slice_at_a_time_has_the_slot_of_its_task(directory: Place, place: str) -> None:
    """It is 0 unless the local engine tells another number, in plain digits."""
    pack(directory, ShellText('echo "$SLICE_SLOT${SLURMSLICE_PLACE-}"'), 2, pack=2)
    assert directory.run(0, SLURMSLICE_PLACE=place).code == 0
    expected = (place if place.isdigit() else "0") + "\n"
    assert [log(directory, row) for row in (0, 1)] == [expected.encode()] * 2
    assert not list(directory.folder.rglob("pwned"))


@ONE_OR_SEVERAL
def test_a_failed_slice_does_not_stop_its_pack(directory: Place, at_once: int) -> None:
    """Each slice has its own exit code, even if it cannot start; the task then exits 1."""
    keys = ["0", "7", "0", "255", "130", "0"]
    pack(directory, words("sh", "-c", "exit $1", "sh", "{}"), keys, at_once=at_once, pack=9)
    ran = directory.run(0)
    assert (ran.code, exits(ran)) == (1, dict(enumerate(map(int, keys))))
    pack(directory, words("no-such-program"), 2, at_once=at_once)
    assert exits(directory.run(1 - 1)) | {0: 127, 1: 127} == exits(directory.run(0))


def test_a_slice_that_a_signal_ends_is_one_slice(directory: Place) -> None:
    """The end line of a crash has 128 + the signal, and the next slice runs."""
    pack(directory, ShellText('[ "$SLICE" != k1 ] || kill -s SEGV $BASHPID'), 3)
    ran = directory.run(0)
    assert (ran.code, exits(ran)) == (1, {0: 0, 1: 139, 2: 0})


@ONE_OR_SEVERAL
def test_hostile_keys_of_a_pack_arrive_byte_for_byte(directory: Place, at_once: int) -> None:
    """Program and environment get exactly the bytes of any key; nothing in it is run."""
    command = words("sh", "-c", 'printf "%s\\0" "$@" "$SLICE"', "sh", "{}")
    pack(directory, command, HOSTILE, pack=len(HOSTILE), at_once=at_once)
    assert directory.run(0).code == 0
    for row, key in enumerate(HOSTILE):
        assert log(directory, row) == (to_bytes(key) + b"\0") * 2
    assert not list(directory.folder.rglob("pwned"))


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(1, 12), st.integers(2, 5), st.integers(1, 4), st.sampled_from(["C", "C.UTF-8"]))
def test_any_pack_runs_each_slice_once(
    directory: Place, slices: int, size: int, at_once: int, locale: str
) -> None:
    """All tasks of a submission run every key once, for any N, K and P."""
    (directory.work_dir / "done").unlink(missing_ok=True)
    keys = [f"é {i}" for i in range(slices)]
    pack(directory, ShellText('echo "$SLICE" >>done'), keys, pack=size, at_once=at_once)
    for index in range(-(-slices // size)):
        assert directory.run(index, LC_ALL=locale).code == 0
    assert sorted((directory.work_dir / "done").read_text().splitlines()) == sorted(keys)


def test_a_slice_inherits_nothing_of_the_bookkeeping(directory: Place) -> None:
    """A slice inherits no pipe of the script, so its background processes block nothing."""
    for at_once in (1, 2):
        pack(directory, words("ls", "/proc/self/fd"), 2, at_once=at_once, slice_time_s=60)
        assert directory.run(0).code == 0
        assert log(directory, 0).split() == b"0 1 2 3".split()  # 3 is what ls reads
        directory.forget()


def test_a_log_of_a_pack_that_cannot_be_written(directory: Place) -> None:
    """A full or missing disk fails only that slice, and the task's output names the path."""
    pack(directory, words("true"), 3)
    (directory.submission() / "logs/row-41.log").mkdir()
    ran = directory.run(0)
    assert (ran.code, exits(ran)) == (1, {0: 0, 1: 1, 2: 0})
    assert "row-41.log: Is a directory" in ran.stderr


@ONE_OR_SEVERAL
def test_a_slice_whose_start_cannot_be_written_is_not_run(directory: Place, at_once: int) -> None:
    """A full disk: a slice without a start line never began, and is submitted again."""
    pack(directory, ShellText("echo $SLICE >>ran"), 3, at_once=at_once)
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [BASH, str(directory.script)], env=directory.environ(0, "419"), stdout=full,
            check=False, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert ran.returncode == 1
    assert "No space left on device" in ran.stderr
    assert not (directory.work_dir / "ran").exists()


def test_a_damaged_line_of_the_table_fails_its_slice(directory: Place) -> None:
    """Nothing runs with wrong values; the other slices of the pack complete."""
    pack(directory, ShellText("echo $SLICE >>ran"), 3)
    table = directory.submission() / "tasks.tsv"
    table.write_bytes(table.read_bytes().replace(b"41\tk1\trow-41.log", b"41 k1"))
    ran = directory.run(0)
    assert (ran.code, exits(ran)) == (1, {0: 0, 1: 2, 2: 0})
    assert "tasks.tsv has no slice for slot 1 of task 0" in ran.stderr
    assert (directory.work_dir / "ran").read_text() == "k0\nk2\n"


@pytest.mark.parametrize("damage", ["beyond", "empty", "gone"])
def test_a_task_without_slices(directory: Place, damage: str) -> None:
    """An index beyond the table, or no table: one line, and no claim."""
    pack(directory, words("touch", "ran"), 4)
    table = directory.submission() / "tasks.tsv"
    if damage == "empty":
        table.write_bytes(b"")
    if damage == "gone":
        table.unlink()
    ran = directory.run("1" if damage == "beyond" else "0", _line="a\tb\tc")
    assert ran.code == 2
    assert "tasks.tsv has no slice" in ran.stderr
    assert not (directory.submission() / "job").exists()
    assert not (directory.work_dir / "ran").exists()


def test_a_second_job_of_a_packed_submission_runs_nothing(directory: Place) -> None:
    """The claim works for packs as for single slices."""
    pack(directory, ShellText("echo ran $SLURM_ARRAY_JOB_ID"), 8)
    assert directory.run(0).code == 0
    ran = directory.end(directory.start(1, "420"), 1, job="420")
    assert (ran.code, ran.said.refused) == (2, "419")
    assert log(directory, 4) == b""


def test_threads_of_slices_side_by_side(directory: Place) -> None:
    """-c is the number of CPUs of one slice; the task has P times as many."""
    text = 'echo "$OMP_NUM_THREADS $SRUN_CPUS_PER_TASK"'
    pack(directory, ShellText(text), 12, cpus=3, at_once=2)
    assert directory.run(0).code == 0
    assert directory.run(1, SLURM_CPUS_PER_TASK="8").code == 0
    assert directory.run(2, OMP_NUM_THREADS="1").code == 0
    assert [log(directory, row) for row in (0, 4, 8)] == [b"3 3\n", b"4 4\n", b"1 3\n"]


# -- memory ---------------------------------------------------------------------------------


def lost(ran: Ran) -> dict[int, tuple[int | None, int | None]]:
    """The result has each slice's exit code, and the number of candidates for an OOM kill."""
    return {slot: (said.exit_code, said.oom_candidates) for slot, said in ran.said.slots.items()}


GROUPS = {
    "v1": ("9:name=systemd:/\n4:memory:/n1/job_7/step_batch/task_0\n1:cpu:/\n0::/\n",
           "memory/n1/job_7/step_batch/task_0/memory.oom_control",
           "oom_kill_disable 0\nunder_oom 0\noom_kill %d\n"),
    "v2": ("0::/slurm/job_7/step_batch/user/task_0\n",
           "slurm/job_7/step_batch/user/task_0/memory.events",
           "low 0\nmax 9\noom 3\noom_kill %d\noom_group_kill 8\n"),
    "shared": ("0::/system.slice/slurmd.service\n",
               "system.slice/slurmd.service/memory.events", "oom_kill %d\n"),
}  # fmt: skip


def with_rounded_time(directory: Place, group: str) -> None:
    """Let the script read our files instead of the kernel's; ``./kill N`` sets the count."""
    own, file, content = GROUPS[group]
    count = directory.folder / "cgroup" / file
    count.parent.mkdir(parents=True, exist_ok=True)
    (directory.folder / "own").write_text(own)
    edit(directory, "</proc/self/cgroup", f"<'{directory.folder}/own'")
    edit(directory, '"/sys/fs/cgroup/', f'"{directory.folder}/cgroup/')
    kill = directory.work_dir / "kill"
    kill.write_text(f"#!/bin/sh\nprintf '{content}' $1 >'{count}'\n")
    kill.chmod(0o755)
    subprocess.run([kill, "5"], check=True)


@pytest.mark.parametrize("group", GROUPS)
def test_the_slice_with_an_oom_kill_is_named(directory: Place, group: str) -> None:
    """Only this slice is named, with any exit code, and again after a restart of the task.

    If other processes share the task's control group, its count is not used.
    """
    text = """
        case $SLICE in
          k0) ./kill 6 ;;
          k2) ./kill 8; exit 3 ;;
          k3) [ -e again ] || { touch again; ./kill 9; exec sh -c 'kill -s KILL $$'; } ;;
        esac
    """
    pack(directory, ShellText(text), 4)
    with_rounded_time(directory, group)
    one = None if group == "shared" else 1
    wanted = {0: (0, one), 1: (0, None), 2: (3, one), 3: (137, one)}
    assert lost(directory.run(0, SLURM_JOB_ID="7")) == wanted
    again = directory.run(0, SLURM_JOB_ID="7", SLURM_RESTART_COUNT="1")
    assert lost(again) == wanted | {3: (0, None)}


def test_several_slices_at_a_time_are_all_oom_candidates(directory: Place) -> None:
    """The number of running slices is written for each; a slice that ran alone is certain."""
    said = quote(str(directory.submission() / "tasks/0.log"))
    text = f"""
        ended() {{ grep -c ' end ' {said}; }}
        touch "$SLICE"
        case $SLICE in
          k0) until [ -e k1 ]; do sleep 0.02; done; ./kill 6; touch killed ;;
          k1) until [ -e killed ]; do sleep 0.02; done ;;
          k2) until [ "$(ended)" = 2 ]; do sleep 0.02; done; ./kill 7 ;;
        esac
    """
    pack(directory, ShellText(text), 3, at_once=2)
    with_rounded_time(directory, "v2")
    assert lost(directory.run(0, SLURM_JOB_ID="7")) == {0: (0, 2), 1: (0, 2), 2: (0, 1)}


HOG = """bash -c 'x=$(printf "%*s" 300000000 "")'"""


def test_a_process_that_the_kernel_ended(directory: Place) -> None:
    """The memory limit is real. The command continues and exits 0 although it lost a process."""
    groups = create_memory_groups()
    if groups is None:
        pytest.skip("no control group can be made here")
    try:
        group = groups.create("one", 100 << 20)
        pack(directory, ShellText(f"[ $SLICE != k1 ] || {HOG}; true"), 2)
        own = directory.script.with_name("own.sh")
        directory.script.rename(own)
        directory.script.write_text(
            f"echo 0 >{group.path}/cgroup.procs; exec bash {quote(str(own))}"
        )
        assert lost(directory.run(0)) == {0: (0, None), 1: (0, 1)}
    finally:
        groups.remove()


# -- setup, by hand -------------------------------------------------------------------------


@ONE_OR_SEVERAL
def test_the_setup_of_a_pack_runs_once(directory: Place, at_once: int) -> None:
    """Modules and scratch are set up once per task, and a clean-up runs once, at its end."""
    setup = "echo set up; export A=1; cd /\ntrap 'echo cleaned' EXIT\nset -eu; IFS=0123456789"
    pack(directory, ShellText('echo "$A $(pwd)"'), 4, setup=setup, at_once=at_once, slice_time_s=60)
    ran = directory.run(0)
    assert (ran.code, [log(directory, row) for row in range(4)]) == (0, [b"1 /\n"] * 4)
    assert ran.stdout.startswith(b"set up\nslurmslice start ")
    assert re.search(rb" exit=0 us=\d+ cpu_us=\d+\ncleaned\n$", ran.stdout)
    assert (ran.stdout.count(b"set up"), ran.stdout.count(b"cleaned")) == (1, 1)


@pytest.mark.parametrize(
    ("setup", "says"),
    [("exit 0", 0), ("exec true", 0), ("exec false", 1), ("trap : EXIT; false", 1)],
)
@ONE_OR_SEVERAL
def test_no_slice_starts_after_a_setup_that_failed(
    directory: Place, setup: str, says: int, at_once: int
) -> None:
    """The task writes the exit code of the setup, and nothing about its slices."""
    pack(directory, words("touch", "ran"), 4, setup=setup, at_once=at_once)
    ran = directory.run(0)
    assert (ran.code, ran.said.setup_exit, ran.said.slots) == (1, says, {})
    assert not (directory.work_dir / "ran").exists()


@ONE_OR_SEVERAL
def test_a_pack_by_hand(directory: Place, at_once: int) -> None:
    """A trial runs all slices one after another, and leaves no trace."""
    text = 'echo "slice $SLICE"; set -e; [ "$SLICE" != k5 ]; echo good'
    pack(directory, ShellText(text), 7, setup="echo setup; set -e", at_once=at_once)
    done = directory.by_hand(SLURM_ARRAY_TASK_ID="1")
    assert done.stdout == "setup\nslice k4\ngood\nslice k5\nslice k6\ngood\n"
    assert done.returncode == 1
    assert directory.by_hand(SLURM_ARRAY_TASK_ID="0").returncode == 0
    assert not (directory.submission() / "job").exists()
    assert not list((directory.submission() / "logs").iterdir())


@pytest.mark.parametrize("seconds", ["x", "-1", "07", "a[$(touch pwned)]"])
def test_a_time_limit_that_is_not_a_number(directory: Place, seconds: str) -> None:
    """The second argument must be a number of seconds; else the script shows its usage."""
    pack(directory, words("touch", "ran"), 4)
    done = directory.by_hand("001", seconds, SLURM_ARRAY_TASK_ID="0")
    assert done.returncode == 2
    assert "script.sh [SUBMISSION [SECONDS_A_SLICE]]" in done.stderr
    assert not list(directory.folder.rglob("ran")) + list(directory.folder.rglob("pwned"))


# -- the time that a slice may take ---------------------------------------------------------


@ONE_OR_SEVERAL
def test_a_slice_is_ended_at_its_own_time(directory: Place, at_once: int) -> None:
    """TERM ends the slice with all its processes and is written; the other slices complete."""
    text = '[ "$SLICE" != k1 ] || { sleep 50 & echo $! >child; sleep 50; }'
    pack(directory, words("sh", "-c", text), 3, at_once=at_once, slice_time_s=1)
    began = time.monotonic()
    ran = directory.run(0)
    assert time.monotonic() - began >= 1
    assert (ran.code, exits(ran)) == (1, {0: 0, 1: 143, 2: 0})
    assert [slot for slot, said in ran.said.slots.items() if said.timed_out] == [1]
    assert ran.stdout.index(b"slurmslice timeout ") < ran.stdout.index(b"exit=143")
    child = int((directory.work_dir / "child").read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists() or _zombie(child))


def _zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


@ONE_OR_SEVERAL
def test_a_slice_that_ignores_its_end_is_killed(directory: Place, at_once: int) -> None:
    """SIGKILL follows SIGTERM after the grace period in the script."""
    text = '[ "$SLICE" != k0 ] || { trap "echo no" TERM; while :; do sleep 0.05; done; }'
    pack(directory, words("bash", "-c", text), 3, at_once=at_once, slice_time_s=1)
    edit(directory, "_grace=30 ", "_grace=1 ")
    ran = directory.run(0)
    assert exits(ran) == {0: 137, 1: 0, 2: 0}
    assert ran.said.slots[0].timed_out
    assert log(directory, 0).endswith(b"no\n")


def test_a_slice_may_save_at_its_time(directory: Place) -> None:
    """SIGTERM comes before SIGKILL. The exit code and the time limit are in the progress lines."""
    text = "trap 'echo saved; exit 0' TERM; while :; do sleep 0.05; done"
    pack(directory, words("bash", "-c", text), 1, slice_time_s=1)
    ran = directory.run(0)
    assert (ran.code, exits(ran), ran.said.slots[0].timed_out) == (0, {0: 0}, True)
    assert log(directory, 0).endswith(b"saved\n")


def test_each_slice_has_its_full_time_limit(directory: Place) -> None:
    """The limit counts per slice, not from the start of the task: none of these is ended."""
    pack(directory, words("sleep", "0.6"), 4, slice_time_s=1)
    ran = directory.run(0)
    assert exits(ran) == dict.fromkeys(range(4), 0)
    assert b"timeout" not in ran.stdout


def test_a_later_submission_has_another_limit(directory: Place) -> None:
    """``script.sh 002 SECONDS``; 0, or a script without a limit, means no limit."""
    pack(directory, words("sleep", "2.5"), 1, slice_time_s=None)
    directory.make(2, [("k",)])
    done = subprocess.run(
        [BASH, str(directory.script), "002", "1"],
        env=directory.environ(0, "420"),
        stdout=subprocess.PIPE,
    )
    said = parse_progress(done.stdout)
    assert exits(directory.run(0)) == {0: 0}
    assert (said.slots[0].timed_out, said.slots[0].exit_code) == (True, 143)


def test_the_time_in_which_a_task_was_suspended_does_not_count(directory: Place) -> None:
    """scontrol suspend, and preemption by suspend, use none of a slice's time."""
    text = "echo >ready; for i in 1 2 3 4 5; do sleep 0.3; done"
    pack(directory, words("sh", "-c", text), 1, slice_time_s=3)
    task = directory.start(0)
    wait_for((directory.work_dir / "ready").exists)
    suspended = processes(directory)
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in suspended:
            os.kill(pid, number)
        if number == signal.SIGSTOP:
            time.sleep(4.5)
    ran = directory.end(task, 0)
    assert (exits(ran), ran.said.slots[0].timed_out) == ({0: 0}, False)


def test_the_watchdog_ends_with_its_task(directory: Place) -> None:
    """It holds no reader's pipe, at the end of the task or after a kill."""
    for text in ("true", "touch ready; exec sleep 30 >/dev/null 2>&1"):
        pack(directory, words("sh", "-c", text), 1, slice_time_s=600)
        task = subprocess.Popen(
            [BASH, str(directory.script)], env=directory.environ(0, "419"), stdout=subprocess.PIPE
        )
        if text != "true":
            wait_for((directory.work_dir / "ready").exists)
            (dispatcher,) = psutil.Process(task.pid).children()
            dispatcher.kill()
        said = parse_progress(task.communicate(timeout=20)[0])  # waits for the end of the pipe
        assert 0 in said.slots
    assert len(processes(directory)) == 1  # the slice itself


# -- signals --------------------------------------------------------------------------------

TRAPPING = "trap 'echo got; exit 9' {0}; echo >ready-$SLICE; while :; do sleep 0.02; done"


@pytest.mark.parametrize("name", ["HUP", "INT", "TERM"])
@pytest.mark.parametrize("shell", [False, True])
@ONE_OR_SEVERAL
def test_after_a_signal_no_further_slice_starts(
    directory: Place, name: str, shell: bool, at_once: int
) -> None:
    """scancel and the time limit reach all running slices; their ends are written, others wait."""
    text = TRAPPING.format(name)
    command = ShellText(text) if shell else words("bash", "-c", text)
    pack(directory, command, 6, pack=6, at_once=at_once, slice_time_s=60)
    task = directory.start(0)
    for slot in range(at_once):
        wait_for((directory.work_dir / f"ready-k{slot}").exists)
    os.kill(task.pid, getattr(signal, f"SIG{name}"))
    ran = directory.end(task, 0)
    assert (ran.code, exits(ran)) == (1, dict.fromkeys(range(at_once), 9))
    assert {slot.signal_received for slot in ran.said.slots.values()} == {name}
    assert all(log(directory, row).endswith(b"got\n") for row in range(at_once))
    assert not (directory.work_dir / f"ready-k{at_once}").exists()


def _has_got_it(directory: Place, row: int) -> bool:
    return log(directory, row).endswith(b"got\n")


@pytest.mark.parametrize("name", ["USR1", "USR2"])
@ONE_OR_SEVERAL
def test_a_warning_is_only_passed_on(directory: Place, name: str, at_once: int) -> None:
    """--signal=B:USR1 reaches the running slices, and the pack continues."""
    text = TRAPPING.format(name).replace("exit 9", "exit 0")
    pack(directory, words("bash", "-c", f'[ "$SLICE" = k5 ] || {{ {text}; }}'), 6, pack=6,
         at_once=at_once)  # fmt: skip
    task = directory.start(0)
    for first in range(0, 5, at_once):
        running = range(first, min(first + at_once, 5))
        for slot in running:
            wait_for((directory.work_dir / f"ready-k{slot}").exists)
        if len(running) < at_once:  # the last, which knows nothing of signals, runs beside them
            wait_for(
                lambda: b"slot=5 exit=0" in (directory.submission() / "tasks/0.log").read_bytes()
            )
        os.kill(task.pid, getattr(signal, f"SIG{name}"))
        for slot in running:
            wait_for(functools.partial(_has_got_it, directory, slot))
    ran = directory.end(task, 0)
    assert (ran.code, exits(ran)) == (0, dict.fromkeys(range(6), 0))
    assert {slot.signal_received for slot in ran.said.slots.values()} == {""}


@ONE_OR_SEVERAL
def test_slices_that_a_signal_ends(directory: Place, at_once: int) -> None:
    """Programs without signal handlers end with 143, and so do their end lines."""
    pack(directory, words("sh", "-c", "echo >ready-$SLICE; exec sleep 30"), 4, at_once=at_once)
    task = directory.start(0)
    for slot in range(at_once):
        wait_for((directory.work_dir / f"ready-k{slot}").exists)
    os.kill(task.pid, signal.SIGTERM)
    ran = directory.end(task, 0)
    assert (ran.code, exits(ran)) == (1, dict.fromkeys(range(at_once), 143))


# -- what a slice leaves running ------------------------------------------------------------


@ONE_OR_SEVERAL
def test_processes_left_by_a_slice_are_ended(directory: Place, at_once: int) -> None:
    """Submitted again, the slice would run beside its old processes."""
    text = (
        'if [ "$SLICE" = k0 ]; then (trap "" TERM; touch there; exec sleep 50) & echo $! >child; '
        "until [ -e there ]; do sleep 0.01; done; exit 3; fi; "
        "until [ -e done ]; do sleep 0.02; done"
    )
    pack(directory, words("sh", "-c", text), 2, at_once=at_once)
    task = directory.start(0)
    wait_for(lambda: b"slot=0 exit=3" in (directory.submission() / "tasks/0.log").read_bytes())
    child = int((directory.work_dir / "child").read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists() or _zombie(child))
    assert task.poll() is None
    (directory.work_dir / "done").touch()
    assert exits(directory.end(task, 0)) == {0: 3, 1: 0}


@ONE_OR_SEVERAL
def test_children_of_a_wrapper_may_save(directory: Place, at_once: int) -> None:
    """At the limit a shell dies at once, but its children may save: only then it has ended."""
    saves = "trap 'until [ -e go ]; do sleep 0.02; done; echo >saved; exit 0' TERM; echo >ready; "
    saves += "while :; do sleep 0.02; done"
    text = f'[ "$SLICE" != k0 ] && exit; bash -c "{saves}"; exit'
    pack(directory, words("sh", "-c", text), 2, at_once=at_once, slice_time_s=1)
    task = directory.start(0)
    tells = directory.submission() / "tasks/0.log"
    wait_for(lambda: b"slurmslice timeout " in tells.read_bytes())
    time.sleep(0.5)  # not to be right: in vain, if it were told too early
    assert b"slot=0 exit" not in tells.read_bytes()
    (directory.work_dir / "go").touch()
    ran = directory.end(task, 0)
    assert (exits(ran), ran.said.slots[0].timed_out) == ({0: 143, 1: 0}, True)
    assert (directory.work_dir / "saved").exists()


@ONE_OR_SEVERAL
def test_children_of_a_wrapper_get_the_grace_period(directory: Place, at_once: int) -> None:
    """A child that ignores TERM is killed, even if its shell ended long ago."""
    ignores = "trap '' TERM; echo $$ >child; while :; do sleep 0.02; done"
    text = f'[ "$SLICE" != k0 ] && exit; bash -c "{ignores}"; exit'
    pack(directory, words("sh", "-c", text), 2, at_once=at_once, slice_time_s=1)
    edit(directory, "_grace=30 ", "_grace=1 ")
    ran = directory.run(0)
    assert exits(ran) == {0: 143, 1: 0}
    child = int((directory.work_dir / "child").read_text())
    wait_for(lambda: not Path(f"/proc/{child}").exists() or _zombie(child))


@ONE_OR_SEVERAL
def test_an_end_that_cannot_be_written_is_written_later(directory: Place, at_once: int) -> None:
    """A disk is full for a while: a completed slice is still recorded, and the next one runs."""
    text = "touch at-$SLICE; until [ -e go-$SLICE ]; do sleep 0.02; done"
    pack(directory, words("sh", "-c", text), 2, at_once=at_once)
    edit(directory, "command sleep 5", "command sleep 0.1")
    said = directory.folder / "said"
    os.mkfifo(said)
    reader = os.open(said, os.O_RDONLY | os.O_NONBLOCK)
    with said.open("wb") as output:
        task = subprocess.Popen(
            [BASH, str(directory.script)], env=directory.environ(0, "419"), stdout=output, cwd="/",
            start_new_session=True,
        )  # fmt: skip
    directory.sessions.add(task.pid)
    wait_for((directory.work_dir / f"at-k{min(at_once, 2) - 1}").exists)
    os.close(reader)  # from now on nothing can be written
    (directory.work_dir / "go-k0").touch()
    time.sleep(0.5)
    assert task.poll() is None
    reader = os.open(said, os.O_RDONLY)
    (directory.work_dir / "go-k1").touch()
    with open(reader, "rb") as later:
        found = parse_progress(later.read(), "419")
    assert task.wait(20) == 0
    assert {slot: one.exit_code for slot, one in found.slots.items()} == {0: 0, 1: 0}


# -- several at a time ----------------------------------------------------------------------


def test_at_most_p_slices_run_and_each_end_starts_the_next(directory: Place) -> None:
    """P at a time, and the next one after each end: a long slice occupies only one place."""
    text = (
        'mkdir "run/$SLICE"; ls run >"seen-$SLICE"; '
        '[ "$SLICE" != k0 ] || until [ -e last ]; do sleep 0.02; done; '
        '[ "$SLICE" != k9 ] || touch last; rmdir "run/$SLICE"'
    )
    pack(directory, words("sh", "-c", f"set -e; {text}"), 10, pack=10, at_once=3)
    (directory.work_dir / "run").mkdir()
    ran = directory.run(0)
    assert exits(ran) == dict.fromkeys(range(10), 0)
    seen = [len(path.read_text().split()) for path in directory.work_dir.glob("seen-*")]
    assert 2 <= max(seen) <= 3


def test_a_slice_that_is_killed_with_its_wrapper_has_an_end(directory: Place) -> None:
    """SIGKILL to a whole process group does not reduce the pool."""
    text = '[ "$SLICE" != k0 ] || kill -s KILL -- "-$(ps -o pgid= -p $$ | tr -d " ")"'
    pack(directory, words("sh", "-c", text), 5, pack=5, at_once=2)
    ran = directory.run(0)
    assert (ran.code, exits(ran)) == (1, {0: 137} | dict.fromkeys(range(1, 5), 0))


def test_a_slice_whose_wrapper_is_killed_keeps_its_place(directory: Place) -> None:
    """The slice counts as running until it ends. Its end is then a failure."""
    text = (
        'if [ "$SLICE" = k0 ]; then kill -s KILL $PPID; until [ -e go ]; do sleep 0.02; done; '
        "touch gone; else [ -e gone ] && echo late; touch go-$SLICE; fi"
    )
    pack(directory, words("sh", "-c", text), 3, at_once=1 + 1)
    task = directory.start(0)
    wait_for((directory.work_dir / "go-k2").exists)
    time.sleep(1.2)  # a look at what lives takes place, and changes nothing
    assert task.poll() is None
    (directory.work_dir / "go").touch()
    ran = directory.end(task, 0)
    assert (ran.code, exits(ran)) == (1, {0: 137, 1: 0, 2: 0})


def test_waiting_for_a_pool_costs_no_time(directory: Place) -> None:
    """While slices run the script sleeps, looks once a second, and misses nothing."""
    text = "echo >>ready-$SLICE; until [ -e go ]; do sleep 0.1; done"
    pack(directory, words("sh", "-c", text), 5, pack=5, at_once=4)
    task = directory.start(0)
    wait_for((directory.work_dir / "ready-k3").exists)
    (dispatcher,) = psutil.Process(task.pid).children()
    before = cpu_s(dispatcher.pid) + cpu_s(task.pid)
    use_cpu(0.8)
    used = cpu_s(dispatcher.pid) + cpu_s(task.pid) - before
    (directory.work_dir / "go").touch()
    ran = directory.end(task, 0)
    assert used < 0.1
    assert exits(ran) == dict.fromkeys(range(5), 0)
    assert all((directory.work_dir / f"ready-k{i}").read_text() == "\n" for i in range(5))


# -- started anew by Slurm ------------------------------------------------------------------


@ONE_OR_SEVERAL
def test_a_restart_keeps_completed_slices(directory: Place, at_once: int) -> None:
    """After a requeue, only slices that were ended from outside run again.

    A slice that failed by itself may have been submitted again, so it must not run here too.
    """
    text = """echo run >>"runs-$SLICE"
        case $SLICE$SLURM_RESTART_COUNT in k10) exit 3;; k20) kill -9 $$;; esac"""
    pack(directory, words("sh", "-c", text), 4, at_once=at_once)
    first = directory.run(0, SLURM_RESTART_COUNT="0", SLURMD_NODENAME="n1")
    again = directory.run(0, SLURM_RESTART_COUNT="1", SLURMD_NODENAME="n2")
    assert exits(first) == {0: 0, 1: 3, 2: 137, 3: 0}
    assert (again.code, exits(again)) == (1, {0: 0, 1: 3, 2: 0, 3: 0})
    assert again.said.restart == 1
    assert again.stdout.count(b" kept=1\n") == 3
    kept = [first.said.slots[slot].elapsed_s for slot in (0, 1, 3)]
    assert [again.said.slots[slot].elapsed_s for slot in (0, 1, 3)] == kept
    assert None not in kept
    third = directory.run(0, SLURM_RESTART_COUNT="2", SLURMD_NODENAME="n3")
    assert (third.code, exits(third)) == (1, {0: 0, 1: 3, 2: 0, 3: 0})
    hosts = [third.said.slots[slot].host for slot in range(4)]
    assert hosts == ["n1", "n1", "n2", "n1"]  # the nodes on which they ran
    assert [third.said.slots[slot].elapsed_s for slot in (0, 1, 3)] == kept
    runs = [(directory.work_dir / f"runs-k{i}").read_text().count("run") for i in range(4)]
    assert runs == [1, 1, 2, 1]


@ONE_OR_SEVERAL
def test_a_restart_repeats_interrupted_slices(directory: Place, at_once: int) -> None:
    """An interrupted slice may exit 0 after it saved: it is not completed, earlier ones are."""
    text = """echo run >>"runs-$SLICE"
        trap 'exit 0' TERM
        case $SLICE$SLURM_RESTART_COUNT in k10) echo >ready; while :; do sleep 0.02; done ;; esac"""
    pack(directory, words("bash", "-c", text), 3, at_once=at_once)
    task = directory.start(0, SLURM_RESTART_COUNT="0")
    wait_for((directory.work_dir / "ready").exists)
    wait_for(lambda: b"slot=0 exit=0 " in (directory.submission() / "tasks/0.log").read_bytes())
    os.kill(task.pid, signal.SIGTERM)
    first = directory.end(task, 0)
    assert (first.said.slots[1].exit_code, first.said.slots[1].signal_received) == (0, "TERM")
    again = directory.run(0, SLURM_RESTART_COUNT="1")
    assert (again.code, exits(again)) == (0, dict.fromkeys(range(3), 0))
    runs = [(directory.work_dir / f"runs-k{i}").read_text().count("run") for i in range(2)]
    assert runs == [1, 2]


# -- measured times -------------------------------------------------------------------------


@pytest.mark.parametrize("setup", ["", "unset EPOCHREALTIME", "IFS=0123456789; set -eu"])
@ONE_OR_SEVERAL
def test_each_slice_has_its_own_times(directory: Place, setup: str, at_once: int) -> None:
    """The CPU time of one slice is not that of another, also if they run at the same time.

    Without EPOCHREALTIME, as before bash 5.0, the kernel's clock has hundredths of a second.
    """
    spin = "import time\nwhile time.process_time() < 0.4: pass"
    text = f'[ "$SLICE" != k1 ] || exec {quote(sys.executable)} -c {quote(spin)}; sleep 0.05'
    pack(directory, ShellText(text), 4, setup=setup, at_once=at_once)
    slots = directory.run(0).said.slots
    assert sorted(slots) == [0, 1, 2, 3]
    for slot, said in slots.items():
        assert said.elapsed_s is not None
        assert said.cpu_s is not None
        if slot == 1:
            assert said.elapsed_s >= said.cpu_s - 0.02 >= 0.37
        else:
            assert said.elapsed_s >= 0.04
            assert said.cpu_s < 0.2


def test_a_killed_slice_has_no_false_times(directory: Place) -> None:
    """If its whole process group is killed, nothing tells its CPU time."""
    pack(directory, words("sh", "-c", "[ $SLICE != k1 ] || kill -9 0"), 3, at_once=2)
    ran = directory.run(0)
    slots = ran.said.slots
    assert exits(ran) == {0: 0, 1: 137, 2: 0}
    assert slots[1].cpu_s is None
    assert slots[1].elapsed_s is not None


def test_the_only_slice_of_a_task_has_times(directory: Place) -> None:
    """They count if accounting reports nothing; the setup is included."""
    directory.write(words("sleep", "0.1"), setup="sleep 0.1")
    (said,) = directory.run(17).said.slots.values()
    assert said.elapsed_s is not None
    assert said.elapsed_s >= 0.19
    assert said.cpu_s is not None
    assert said.cpu_s < 0.15


def test_a_restart_whose_slices_are_all_done_is_done(directory: Place) -> None:
    """No slice is left: the task succeeds without its setup."""
    pack(directory, words("true"), 3, setup="echo setup >>../setups")
    assert directory.run(0, SLURM_RESTART_COUNT="0").code == 0
    again = directory.run(0, SLURM_RESTART_COUNT="1")
    assert (again.code, exits(again)) == (0, dict.fromkeys(range(3), 0))
    assert (directory.folder / "setups").read_text() == "setup\n"


def test_a_slice_that_exceeded_its_time_does_not_run_again(directory: Place) -> None:
    """A slice over its time limit stays so in every later start."""
    text = 'echo run >>"runs-$SLICE"; [ "$SLICE" != k1 ] || exec sleep 60'
    pack(directory, words("sh", "-c", text), 3, slice_time_s=1)
    for restart in ("0", "1", "2"):
        ran = directory.run(0, SLURM_RESTART_COUNT=restart)
        assert exits(ran) == {0: 0, 1: 143, 2: 0}
        assert ran.said.slots[1].timed_out
    assert (directory.work_dir / "runs-k1").read_text() == "run\n"


def test_a_restart_reads_only_whole_lines_of_its_own_job(directory: Place) -> None:
    """A torn line, another job's line and an end by a signal complete no slice."""
    pack(directory, ShellText('echo "$SLICE" >>ran'), 4)
    line = "slurmslice end job={} restart=0 at=1795424180 host=n3 slot={} exit={}\n"
    text = line.format(419, 0, 143) + line.format(41, 1, 0) + "noise " + line.format(419, 2, 0)
    tasks = directory.submission() / "tasks/0.log"
    tasks.write_text(text + line.format(419, 3, 0).rstrip("\n"))
    ran = directory.run(0, SLURM_RESTART_COUNT="1")
    assert (directory.work_dir / "ran").read_text() == "k0\nk1\nk3\n"
    assert ran.said.slots[2].started_at is None


def test_a_restart_whose_setup_fails_loses_nothing(directory: Place) -> None:
    """Completed slices are written before the setup can fail."""
    setup = "[[ $SLURM_RESTART_COUNT != 1 ]] || exit 4"
    pack(directory, words("sh", "-c", '[ "$SLICE" != k1 ] || kill -9 $$'), 3, setup=setup)
    assert exits(directory.run(0, SLURM_RESTART_COUNT="0")) == {0: 0, 1: 137, 2: 0}
    ran = directory.run(0, SLURM_RESTART_COUNT="1")
    assert (ran.code, ran.said.setup_exit, exits(ran)) == (4, 4, {0: 0, 2: 0})
