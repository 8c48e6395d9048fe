"""The memory that a task measures for its slices, from files like those of cgroups(7).

``tests/cluster/test_own_measures_on_cluster.py`` has the real ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.script.progress_lines import SlotProgress
from slurmslice.spec.command import ShellText
from tests.script.test_packs import directory, edit, pack
from tests.script.test_script import Place, Ran

__all__ = ["directory"]

V1 = ("4:memory:/slurm/uid_1/job_77/step_batch/task_0", "memory/slurm/uid_1/job_77")
V2 = ("0::/system.slice/slurmstepd.scope/job_77/step_batch/user/task_0",
      "system.slice/slurmstepd.scope/job_77")  # fmt: skip
LOCAL = ("4:memory:/slurmslice-1/task-0", "memory/slurmslice-1/task-0")
V1_STAT = "cache 900\nrss {0}\nrss_huge 1\nshmem 5\ntotal_cache 900\ntotal_rss 1\ntotal_shmem 1\n"
V2_STAT = "anon {0}\nfile 900\nkernel 7\nshmem 5\nanon_thp 800\nshmem_thp 800\n"
LONG = "sleep 2"  # many measurements, also on a busy machine


def pretend(directory: Place, group: str) -> Path:
    """Let the library find this control group below a folder of the test; return the folder."""
    root = directory.folder / "cgroup"
    root.mkdir()
    (directory.folder / "group").write_text(f"3:cpuset:/\n{group}\n1:name=systemd:/\n")
    edit(directory, "</proc/self/cgroup", f'<"{directory.folder}/group"')
    text = directory.library.read_text()
    directory.library.write_text(text.replace("/sys/fs/cgroup", str(root)))
    return root


def stat(root: Path, folder: str, text: str, used: int) -> Path:
    """Write a file with the memory in use."""
    path = root / folder / "memory.stat"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.format(used))
    return path


def measured(ran: Ran) -> list[int | None]:
    """Return the peak of each slice, by slot."""
    assert ran.code == 0
    return [slot.peak_bytes for _, slot in sorted(ran.said.slots.items())]


def run(directory: Place) -> Ran:
    """Run the task as Slurm's job 77."""
    return directory.run(0, SLURM_JOB_ID="77")


@pytest.mark.parametrize(
    ("group", "tasks", "text", "peak"),
    [
        (V1, ["step_batch/task_0"], V1_STAT, 105),
        (V1, ["step_batch/task_0", "step_0/task_0", "step_0/task_1"], V1_STAT, 315),
        (V2, ["step_batch/user/task_0"], V2_STAT, 105),
        (V2, ["step_batch/user/task_0", "step_3/user/task_9"], V2_STAT, 210),
        (LOCAL, [""], V1_STAT, 105),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_memory_without_the_file_cache_is_measured(
    directory: Place, group: tuple[str, str], tasks: list[str], text: str, peak: int, packed: bool
) -> None:
    """Anonymous and shared memory, of the tasks of all job steps."""
    pack(directory, ShellText(LONG), 1, pack=2 if packed else 1)
    root = pretend(directory, group[0])
    for task in tasks:
        stat(root, f"{group[1]}/{task}", text, 100)
    ran = run(directory)
    assert measured(ran) == [peak]
    assert (ran.said.slots[0].peak_samples or 0) >= 3


def test_each_slice_of_a_pack_has_its_own_peak(directory: Place) -> None:
    """The memory of the slices before it does not count."""
    pack(directory, ShellText('printf "anon %s\\n" "${SLICE#k}00" >"$STAT"; ' + LONG), ["k3", "k2"])
    path = stat(pretend(directory, V2[0]), f"{V2[1]}/step_batch/user/task_0", V2_STAT, 1)
    assert measured(directory.run(0, SLURM_JOB_ID="77", STAT=str(path))) == [300, 200]


def test_slices_at_the_same_time_share_the_peak(directory: Place) -> None:
    """A task of two slices at a time requests twice as much as a slice."""
    pack(directory, ShellText(LONG), 2, at_once=2)
    stat(pretend(directory, V2[0]), f"{V2[1]}/step_batch/user/task_0", V2_STAT, 2995)
    assert measured(run(directory)) == [1500, 1500]


@pytest.mark.parametrize(
    ("group", "folder", "command"),
    [
        (V1[0], f"{V1[1]}/step_batch/task_0", "true"),  # too short
        (V1[0].replace("77", "78"), f"{V1[1]}/step_batch/task_0", LONG),  # another job's
        (V1[0], "nothing", LONG),
    ],
)
def test_without_measurements_there_is_no_peak(
    directory: Place, group: str, folder: str, command: str
) -> None:
    """The end counts in any case."""
    pack(directory, ShellText(command), 2)
    stat(pretend(directory, group), folder, V1_STAT, 100)
    assert measured(run(directory)) == [None, None]


KILL = """\
if [ "$SLICE" = k0 ]; then
  me=$BASHPID
  above=$(ps -o ppid= -p "$me" | tr -d ' ')
  group=$(ps -o pgid= -p "$above" | tr -d ' ')
  ps -o pid=,pgid= --ppid "$above" | while read -r pid of; do
    [ "$of" != "$group" ] || { kill -9 "$pid" && touch killed; }
  done
fi
sleep 0.6
[ "$SLICE" != k1 ]
"""


@pytest.mark.parametrize("packed", [True, False])
def test_slices_end_well_without_their_watchdog(directory: Place, packed: bool) -> None:
    """A slice or the kernel has killed it."""
    pack(directory, ShellText(KILL), 3 if packed else 1, pack=4 if packed else 1)
    stat(pretend(directory, V2[0]), f"{V2[1]}/step_batch/user/task_0", V2_STAT, 100)
    ran = run(directory)
    assert (directory.work_dir / "killed").exists()
    slots: list[SlotProgress] = [slot for _, slot in sorted(ran.said.slots.items())]
    assert [slot.exit_code for slot in slots] == ([0, 1, 0] if packed else [0])
    assert [slot.peak_bytes for slot in slots] == [None] * len(slots)


HOSTILE_SETUP = """\
set -f; shopt -s failglob nullglob; IFS=0123456789
read() { exit 9; }; printf() { exit 9; }; echo() { exit 9; }; shopt() { exit 9; }
"""


def test_a_setup_does_not_disturb_the_measurements(directory: Place) -> None:
    """The watchdog of a pack runs in the shell that the setup has changed."""
    pack(directory, ShellText(LONG), 1, setup=HOSTILE_SETUP)
    stat(pretend(directory, V2[0]), f"{V2[1]}/step_batch/user/task_0", V2_STAT, 100)
    assert measured(run(directory)) == [105]
