"""The local engine: parsers of the machine's files, admission, and control groups."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.engines.local import machine, memory_cgroup
from slurmslice.engines.local.admission import FreeResources, may_start, tasks_that_fit
from slurmslice.engines.local.cgroups import (
    ControlGroup,
    cpu_quota,
    memory_free,
    memory_limit,
    parse_own_group,
)
from slurmslice.engines.local.jobs import TaskResources
from slurmslice.engines.local.machine import (
    OtherLoad,
    parse_busy_seconds,
    parse_meminfo,
    usable_cpus,
)
from slurmslice.engines.local.memory_cgroup import MemoryGroup, create_memory_groups
from slurmslice.engines.local.supported_requests import parse_warning_signal
from slurmslice.errors import BadInputError
from tests.support.requested import a_request

# -- control groups --------------------------------------------------------------------------------

V1 = """9:name=systemd:/
4:memory:/box/one two
2:cpu,cpuacct:/
0::/
"""
V1_MOUNTS = r"""23 1 0:20 / / rw - ext4 /dev/vda rw
31 23 0:28 / /sys/fs/cgroup rw shared:9 - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:10 master:2 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/my\040memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""
V2_MOUNTS = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
BOX_MOUNTS = V2_MOUNTS.replace("0:26 /", "0:26 /docker/abc")


@pytest.mark.parametrize(
    ("controller", "cgroup", "mounts", "group"),
    [
        ("memory", V1, V1_MOUNTS, (1, "/sys/fs/cgroup/my memory/box/one two")),
        ("cpu", V1, V1_MOUNTS, (1, "/sys/fs/cgroup/cpu,cpuacct")),
        ("memory", "0::/user.slice/a.scope\n", V2_MOUNTS, (2, "/sys/fs/cgroup/user.slice/a.scope")),
        ("cpu", "0::/\n", V2_MOUNTS, (2, "/sys/fs/cgroup")),
        ("cpu", "0::/../../other\n", V2_MOUNTS, (2, "/sys/fs/cgroup")),
        ("cpu", "0::/docker/abc/x\n", BOX_MOUNTS, (2, "/sys/fs/cgroup/x")),
        ("cpu", "0::/docker/abcd\n", BOX_MOUNTS, (2, "/sys/fs/cgroup")),
        ("cpu", "0::/\n", "", None),
        ("cpu", "", V2_MOUNTS, None),
    ],
)  # fmt: skip
def test_the_cgroup_of_this_process_is_found(
    controller: str, cgroup: str, mounts: str, group: tuple[int, str] | None
) -> None:
    """The cgroup is found in both versions, below partial mounts, and with special characters."""
    found = parse_own_group(controller, cgroup, mounts)
    assert (found and (found.version, str(found.path))) == group


def group_of(top: Path, version: int, **files: str) -> ControlGroup:
    """Create a group of three levels. A key is LEVEL_NAME, with ``__`` for the first dot."""
    own = top / "a" / "b"
    own.mkdir(parents=True)
    levels = {"top": top, "a": top / "a", "own": own}
    for name, text in files.items():
        level, _, file = name.partition("_")
        (levels[level] / file.replace("__", ".", 1)).write_text(f"{text}\n")
    return ControlGroup(version, own, top)


def test_cpu_quota(tmp_path: Path) -> None:
    """The lowest quota of all levels applies, in both versions."""
    two = group_of(tmp_path / "2", 2, own_cpu__max="max 100000", a_cpu__max="250000 100000")
    assert cpu_quota(two) == 2.5
    one = group_of(
        tmp_path / "1",
        1,
        own_cpu__cfs_quota_us="-1",
        own_cpu__cfs_period_us="100000",
        a_cpu__cfs_quota_us="50000",
        a_cpu__cfs_period_us="100000",
    )
    assert cpu_quota(one) == 0.5
    assert cpu_quota(group_of(tmp_path / "0", 2)) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "cpus"), [(8, None, 8), (8, 2.5, 2), (2, 16.0, 2), (4, 0.5, 1)]
)
def test_usable_cpus(affinity: int, quota: float | None, cpus: int) -> None:
    """The number is the lower of affinity and quota, in whole CPUs, at least one."""
    assert usable_cpus(affinity, quota) == cpus


def test_memory_of_groups(tmp_path: Path) -> None:
    """The lowest limit and the lowest free memory apply. Inactive file cache counts as free."""
    two = group_of(
        tmp_path / "2",
        2,
        own_memory__max="max",
        a_memory__max="1000",
        a_memory__current="700",
        a_memory__stat="anon 400\ninactive_file 300",
    )
    assert (memory_limit(two), memory_free(two)) == (1000, 600)
    one = group_of(
        tmp_path / "1",
        1,
        own_memory__limit_in_bytes="9223372036854771712",
        a_memory__limit_in_bytes="1000",
        a_memory__usage_in_bytes="1200",
        a_memory__stat="total_inactive_file 100",
    )
    assert (memory_limit(one), memory_free(one)) == (1000, 0)
    none = group_of(tmp_path / "0", 1)
    assert (memory_limit(none), memory_free(none)) == (None, None)


# -- memory groups ---------------------------------------------------------------------------------


def test_parents_of_memory_groups_in_version_2(tmp_path: Path) -> None:
    """The parent delegates memory, and is not above a limit of this process."""
    group = group_of(
        tmp_path / "free",
        2,
        a_cgroup__subtree_control="cpu memory pids",
        a_cgroup__procs="",
        own_cgroup__subtree_control="",
        own_memory__max="max",
    )
    assert memory_cgroup._candidate_parents(group) == [group.path.parent]
    (group.path / "memory.max").write_text("1000\n")
    assert memory_cgroup._candidate_parents(group) == []


def test_no_memory_groups_without_permission(tmp_path: Path) -> None:
    """No group is created below a read-only or missing group."""
    assert create_memory_groups(ControlGroup(1, tmp_path / "nothing", tmp_path)) is None
    assert create_memory_groups(group_of(tmp_path / "top", 2)) is None


def test_the_memory_of_a_group(tmp_path: Path) -> None:
    """The memory in use is counted without the file cache, in both versions."""
    (tmp_path / "memory.stat").write_text(
        "anon 10\nfile 500\nshmem 5\ntotal_rss 7\ntotal_shmem 1\n"
    )
    two, one = MemoryGroup(2, tmp_path), MemoryGroup(1, tmp_path)
    assert (two.memory(), one.memory()) == (15, 8)


# -- the machine -----------------------------------------------------------------------------------

STAT = """cpu  500 0 100 9000 0 0 0 0 0 0
cpu0 100 50 50 1000 900 10 20 7 5 5
cpu1 400 0 50 8000 0 0 0 0 0 0
cpu10 1 0 0 0 0 0 0 0 0 0
intr 5
"""


def test_texts_of_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes are in bytes. Busy seconds exclude idle time and other CPUs."""
    monkeypatch.setattr(machine, "_TICKS", 100)
    assert parse_busy_seconds(STAT, {0}) == 2.3
    assert parse_busy_seconds(STAT, {1, 10}) == 4.51
    text = "MemTotal:       100 kB\nMemAvailable:    50 kB\nHugePages_Total:       0\n"
    assert parse_meminfo(text) == {"MemTotal": 102400, "MemAvailable": 51200}


def test_the_load_excludes_our_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Our own CPU time is no load. Half a CPU of other programs counts as one CPU."""
    clock = {"now": 100.0, "busy": 50.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(machine, "parse_busy_seconds", lambda text, cpus: clock["busy"])
    monkeypatch.setattr(machine, "count_running_others", lambda text: 3.0)
    load = OtherLoad({0, 1})
    load.measure(load._ours)
    assert load.others == 3.0  # the number of running processes, before the first measurement
    clock.update(now=101.0, busy=51.5)
    load.measure(load._ours + 1.0)
    assert load.others == pytest.approx(0.4)
    clock.update(now=101.1, busy=53.0)
    load.measure(load._ours)
    assert load.others == pytest.approx(0.4)
    this = machine.Machine()
    this.cpus, this.affinity = 4, set(range(8))
    assert [this.free_cpus(others) for others in (0.0, 0.4, 3.9, 4.5, 30.0)] == [4, 4, 4, 3, 1]


def test_the_number_of_running_others() -> None:
    """This process is not counted, and the number is never negative."""
    assert machine.count_running_others("0.5 0.4 0.3 3/345 99\n") == 2.0
    assert machine.count_running_others("0.5 0.4 0.3 0/345 99\n") == 0.0


def test_this_machine() -> None:
    """This machine has at least one CPU and some free memory."""
    this = machine.Machine()
    assert this.cpus >= 1
    assert 0 < this.free_memory() <= this.memory


# -- admission -------------------------------------------------------------------------------------

GIB = 1 << 30


@pytest.mark.parametrize(
    ("room", "running", "new", "throttled", "admitted"),
    [
        (FreeResources(2, 8 * GIB), [], TaskResources(1, GIB), False, True),
        (FreeResources(1, 0), [], TaskResources(4, GIB), False, True),
        (FreeResources(2, 8 * GIB), [TaskResources(1, GIB)], TaskResources(1, GIB), False, True),
        (
            FreeResources(2, 8 * GIB),
            [TaskResources(1, GIB)] * 2,
            TaskResources(1, GIB),
            False,
            False,
        ),
        (FreeResources(2, 8 * GIB), [TaskResources(1, GIB)] * 2, TaskResources(1, GIB), True, True),
        (FreeResources(4, 8 * GIB), [TaskResources(3, GIB)], TaskResources(2, GIB), False, False),
        (
            FreeResources(8, 2 * GIB),
            [TaskResources(1, 2 * GIB)],
            TaskResources(1, GIB),
            False,
            False,
        ),
        (
            FreeResources(8, 2 * GIB),
            [TaskResources(1, 2 * GIB, used=GIB)],
            TaskResources(1, GIB),
            False,
            True,
        ),
        (
            FreeResources(8, 2 * GIB),
            [TaskResources(1, GIB, used=3 * GIB)],
            TaskResources(1, 2 * GIB),
            False,
            True,
        ),
        (FreeResources(8, GIB), [TaskResources(1, GIB)], TaskResources(1, GIB), True, False),
        (FreeResources(8, 1 << 20), [TaskResources(1, 0)], TaskResources(1, 0), False, False),
        (FreeResources(8, GIB), [TaskResources(1, 0)], TaskResources(1, 0), False, True),
    ],
)
def test_admission(
    room: FreeResources,
    running: list[TaskResources],
    new: TaskResources,
    throttled: bool,
    admitted: bool,
) -> None:
    """The first task always starts. Others need free memory, and CPUs unless throttled."""
    assert may_start(room, running, new, throttled=throttled) is admitted


@given(
    cpus=st.integers(1, 64),
    memory=st.integers(0, 1 << 40),
    each=st.builds(TaskResources, st.integers(1, 64), st.integers(0, 1 << 36)),
)
def test_the_shown_number_is_admitted(cpus: int, memory: int, each: TaskResources) -> None:
    """Admission starts the number of tasks that ``limits`` shows."""
    room = FreeResources(cpus, memory)
    running: list[TaskResources] = []
    while len(running) < 70 and may_start(room, running, each, throttled=False):
        running.append(each)
    if each.memory:
        assert len(running) == tasks_that_fit(room, each)
    else:
        assert len(running) >= tasks_that_fit(room, each)


# -- options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B:USR1@120", (signal.SIGUSR1, 120)),
        ("B:SIGTERM", (signal.SIGTERM, 60)),
        ("RB:12@5", (12, 5)),
        ("b:usr2", (signal.SIGUSR2, 60)),
        ("USR1@120", None),
        ("", None),
    ],
)
def test_warnings(text: str, found: tuple[int, int] | None) -> None:
    """The signal for the script (``B:``) is given by name or by number."""
    assert parse_warning_signal(a_request(time_s=600, options=(("signal", text),))) == found
    assert parse_warning_signal(a_request(options=(("signal", text),))) is None


def test_an_unknown_signal() -> None:
    """An unknown signal is refused before any task runs."""
    with pytest.raises(BadInputError, match="URS1"):
        parse_warning_signal(a_request(time_s=600, options=(("signal", "B:URS1"),)))
