"""Slices of a pack that are cancelled alone: the library, run by real bash, without Slurm."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from slurmslice.run.directory import RunDirectory
from slurmslice.script.progress_lines import SlotProgress
from slurmslice.spec.command import ShellText
from tests.script.test_packs import ONE_OR_SEVERAL, directory, edit, exits, pack
from tests.script.test_script import Place, Ran, wait_for

__all__ = ["directory"]

WAITS = "touch began-$SLICE; until [ -e go ]; do sleep 0.02; done"


def cancelled(directory: Place, *slots: int, number: int = 1) -> None:
    """Write the cancelled slots of task 0, as ``cancel`` does."""
    RunDirectory(directory.run_dir).write_cancelled(number, {0: slots})


def began(directory: Place, key: str) -> bool:
    return (directory.work_dir / f"began-{key}").exists()


def go(directory: Place) -> None:
    (directory.work_dir / "go").touch()


def ended_alone(ran: Ran) -> set[int]:
    return {slot for slot, said in ran.said.slots.items() if said.cancelled}


@ONE_OR_SEVERAL
def test_cancelled_slices_end_alone(directory: Place, at_once: int) -> None:
    """A running one gets TERM, with all its processes, and one that waits never begins."""
    text = f'[ "$SLICE" = k0 ] || {{ sleep 50 & echo $! >child-$SLICE; {WAITS}; }}'
    pack(directory, ShellText(text), 6, at_once=at_once, pack=6)
    task = directory.start(0)
    wait_for(lambda: began(directory, "k1"))
    cancelled(directory, 1, 4)
    task.send_signal(signal.SIGURG)
    log = directory.submission() / "tasks/0.log"
    wait_for(lambda: b"exit=143" in log.read_bytes())
    assert (
        log.read_bytes().count(b"slurmslice cancel ") == 2
    )  # slot 4 has not begun, and never will
    go(directory)
    ran = directory.end(task, 0)
    assert (ran.code, exits(ran)) == (1, {0: 0, 1: 143, 2: 0, 3: 0, 4: None, 5: 0})
    assert ended_alone(ran) == {1, 4}
    assert (ran.said.slots[1].signal_received, ran.said.slots[2].signal_received) == ("TERM", "")
    assert ran.said.slots[4].started_at is None
    assert not began(directory, "k4")
    child = (directory.work_dir / "child-k1").read_text().strip()
    wait_for(lambda: not Path(f"/proc/{child}/exe").exists())


@ONE_OR_SEVERAL
def test_cancelled_slices_of_a_task_that_starts_later(directory: Place, at_once: int) -> None:
    """The task finds them by itself; another submission and other tasks do not see them."""
    pack(directory, ShellText("touch began-$SLICE-$SLURMSLICE_ARRAY_TASK_ID"), 8, at_once=at_once)
    cancelled(directory, 0, 3)
    ran = directory.run(0)
    assert (ran.code, ended_alone(ran)) == (1, {0, 3})
    assert exits(ran) == {0: None, 1: 0, 2: 0, 3: None}
    assert directory.run(1).code == 0
    names = {path.name[6:] for path in directory.work_dir.glob("began-*")}
    assert names == {"k1-0", "k2-0", "k4-1", "k5-1", "k6-1", "k7-1"}
    directory.make(2)
    table = directory.submission() / "tasks.tsv"
    (directory.submission(2) / "tasks.tsv").write_bytes(table.read_bytes())
    again = directory.end(directory.start(0, argument="002"), 0, number=2)
    assert (again.code, exits(again)) == (0, dict.fromkeys(range(4), 0))


@ONE_OR_SEVERAL
def test_a_cancelled_slice_that_ignores_its_end_is_killed(directory: Place, at_once: int) -> None:
    """SIGKILL follows SIGTERM after the grace, for its group only."""
    text = f'[ "$SLICE" != k1 ] || {{ trap "touch told" TERM; {WAITS}; }}'
    pack(directory, ShellText(text), 3, at_once=at_once)
    edit(directory, "_grace=30 ", "_grace=1 ")
    task = directory.start(0)
    wait_for(lambda: began(directory, "k1"))
    cancelled(directory, 1)
    task.send_signal(signal.SIGURG)
    ran = directory.end(task, 0)
    assert (exits(ran), ended_alone(ran)) == ({0: 0, 1: 137, 2: 0}, {1})
    assert (directory.work_dir / "told").exists()


def test_a_cancelled_slice_may_save_its_work(directory: Place) -> None:
    """Its exit code 0 is no success, so the task exits 1."""
    pack(directory, ShellText(f'trap "exit 0" TERM; {WAITS}'), 1)
    task = directory.start(0)
    wait_for(lambda: began(directory, "k0"))
    cancelled(directory, 0)
    task.send_signal(signal.SIGURG)
    ran = directory.end(task, 0)
    own = ran.said.slots[0]
    assert (ran.code, own.exit_code, own.cancelled, own.signal_received) == (1, 0, True, "TERM")


@ONE_OR_SEVERAL
def test_a_slice_that_ended_before_its_cancel(directory: Place, at_once: int) -> None:
    """It keeps its own end, whatever signal comes, and the task exits 0 if all are done."""
    pack(directory, ShellText(f'[ "$SLICE" = k0 ] || {{ {WAITS}; }}'), 3, at_once=at_once)
    task = directory.start(0)
    log = directory.submission() / "tasks/0.log"
    wait_for(lambda: began(directory, "k1") and b"slot=0 exit=0" in log.read_bytes())
    cancelled(directory, 0)
    task.send_signal(signal.SIGURG)
    go(directory)
    ran = directory.end(task, 0)
    assert (ran.code, exits(ran), ended_alone(ran)) == (0, {0: 0, 1: 0, 2: 0}, set())


@ONE_OR_SEVERAL
def test_the_signal_reaches_no_command(directory: Place, at_once: int) -> None:
    """A setup and slices that handle URG do not get it. A signal without a file does nothing."""
    trap = "trap 'touch got' URG USR1"
    pack(directory, ShellText(f"{trap}; {WAITS}"), 2, at_once=at_once)
    task = directory.start(0)
    wait_for(lambda: began(directory, "k0"))
    for _ in range(3):
        task.send_signal(signal.SIGURG)
    go(directory)
    assert directory.end(task, 0).code == 0
    assert not (directory.work_dir / "got").exists()


@ONE_OR_SEVERAL
def test_no_signal_costs_an_exit_code(directory: Place, at_once: int) -> None:
    """A slice that ends at the moment of a signal keeps its own code, 0 or another."""
    text = "sleep 0.01; (exit $((SLICE_ROW % 2 * 7)))"
    pack(directory, ShellText(text), 12, at_once=at_once, pack=12)
    task = directory.start(0)
    while task.poll() is None:
        task.send_signal(signal.SIGURG)
    assert exits(directory.end(task, 0)) == {slot: slot % 2 * 7 for slot in range(12)}


def test_the_signal_during_the_setup(directory: Place) -> None:
    """The setup goes on, and the dispatcher then finds the file."""
    setup = "touch began-setup; until [ -e go ]; do sleep 0.02; done"
    pack(directory, ShellText("true"), 2, setup=setup)
    task = directory.start(0)
    wait_for(lambda: began(directory, "setup"))
    cancelled(directory, 1)
    task.send_signal(signal.SIGURG)
    go(directory)
    ran = directory.end(task, 0)
    assert (exits(ran), ended_alone(ran)) == ({0: 0, 1: None}, {1})


@ONE_OR_SEVERAL
def test_a_restart_keeps_cancelled_slices(directory: Place, at_once: int) -> None:
    """One that ran keeps its end, and one that never began does not begin. The others run again."""
    text = f'case $SLICE in k1) trap "exit 0" TERM; {WAITS} ;; k[23]) {WAITS} ;; esac'
    pack(directory, ShellText(f"echo $SLICE >>ran; {text}"), 5, at_once=at_once, pack=5)
    task = directory.start(0)
    wait_for(lambda: began(directory, f"k{at_once}"))
    cancelled(directory, 1, 4)
    task.send_signal(signal.SIGURG)
    log = directory.submission() / "tasks/0.log"
    wait_for(lambda: b"slot=1 exit=0" in log.read_bytes() and began(directory, "k2"))
    task.terminate()
    first = directory.end(task, 0)
    assert (exits(first)[1], ended_alone(first)) == (0, {1, 4})
    go(directory)
    again = directory.run(0, SLURM_RESTART_COUNT="1")
    assert (again.code, again.said.restart) == (1, 1)
    assert (exits(again), ended_alone(again)) == ({0: 0, 1: 0, 2: 0, 3: 0, 4: None}, {1, 4})
    assert again.said.slots[1].elapsed_s == first.said.slots[1].elapsed_s
    ran = (directory.work_dir / "ran").read_text().split()
    assert (ran.count("k0"), ran.count("k1"), ran.count("k4")) == (1, 1, 0)


@pytest.mark.parametrize("text", ["", "9\n", "a[$(touch pwned)]\n", "-1 x\n"])
def test_a_file_of_cancelled_slots_that_is_damaged(directory: Place, text: str) -> None:
    """It names no slice, and nothing in it is run."""
    pack(directory, ShellText("true"), 2)
    cancelled(directory, 0)
    (directory.submission() / "cancelled/0").write_text(text)
    ran = directory.run(0)
    assert (ran.code, exits(ran) | {9: None}) == (0, {0: 0, 1: 0, 9: None})
    assert ran.said.slots.get(0, SlotProgress()).exit_code == 0
    assert not list(directory.folder.rglob("pwned"))
