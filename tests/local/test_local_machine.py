"""The local engine: what it reads of the machine, on given texts, and what it makes of it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.engines.local import machine, memory_cgroup
from slurmslice.engines.local.admission import Demand, Room, admits, at_once
from slurmslice.engines.local.cgroups import (
    Group,
    cpu_quota,
    find_group,
    memory_free,
    memory_limit,
)
from slurmslice.engines.local.machine import Load, busy_seconds, meminfo, usable_cpus
from slurmslice.engines.local.memory_cgroup import Cell, open_cells
from slurmslice.engines.local.supported_requests import warning
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
def test_where_we_stand(
    controller: str, cgroup: str, mounts: str, group: tuple[int, str] | None
) -> None:
    """A controller's group is found in both versions, below mounts of parts, with odd names."""
    found = find_group(controller, cgroup, mounts)
    assert (found and (found.version, str(found.path))) == group


def group_of(top: Path, version: int, **files: str) -> Group:
    """A group of three levels; a file's name is level, underscore, name with dashes for dots."""
    own = top / "a" / "b"
    own.mkdir(parents=True)
    levels = {"top": top, "a": top / "a", "own": own}
    for name, text in files.items():
        level, _, file = name.partition("_")
        (levels[level] / file.replace("__", ".", 1)).write_text(f"{text}\n")
    return Group(version, own, top)


def test_cpu_quota(tmp_path: Path) -> None:
    """The lowest quota of all levels holds, in both versions."""
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
    """Whole CPUs of affinity and quota, and one at least."""
    assert usable_cpus(affinity, quota) == cpus


def test_memory_of_groups(tmp_path: Path) -> None:
    """The lowest limit, the least that is free; the file cache that can go counts as free."""
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


# -- cells -----------------------------------------------------------------------------------------


def test_a_place_for_cells_in_v2(tmp_path: Path) -> None:
    """The nearest level that hands memory down; never one above a limit that holds for us."""
    group = group_of(
        tmp_path / "free",
        2,
        a_cgroup__subtree_control="cpu memory pids",
        a_cgroup__procs="",
        own_cgroup__subtree_control="",
        own_memory__max="max",
    )
    assert memory_cgroup._places(group) == [group.path.parent]
    (group.path / "memory.max").write_text("1000\n")
    assert memory_cgroup._places(group) == []


def test_no_cells_where_none_can_be_made(tmp_path: Path) -> None:
    """A group that cannot be written to, or that is not there, gives none."""
    assert open_cells(Group(1, tmp_path / "nothing", tmp_path)) is None
    assert open_cells(group_of(tmp_path / "top", 2)) is None


def test_what_a_cell_says(tmp_path: Path) -> None:
    """Whether the kernel killed for memory, the peak then, and what is in use without the cache."""
    (tmp_path / "memory.stat").write_text(
        "anon 10\nfile 500\nshmem 5\ntotal_rss 7\ntotal_shmem 1\n"
    )
    two, one = Cell(2, tmp_path), Cell(1, tmp_path)
    assert (two.memory(), one.memory()) == (15, 8)
    assert two.killed_at() is None
    (tmp_path / "memory.events").write_text("low 0\noom 3\noom_kill 0\n")
    (tmp_path / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    (tmp_path / "memory.max_usage_in_bytes").write_text("99\n")
    assert (two.killed_at(), one.killed_at()) == (None, 99)
    (tmp_path / "memory.events").write_text("oom 3\noom_kill 1\n")
    (tmp_path / "memory.max").write_text("100\n")
    assert two.killed_at() == 100


# -- the machine -----------------------------------------------------------------------------------

STAT = """cpu  500 0 100 9000 0 0 0 0 0 0
cpu0 100 50 50 1000 900 10 20 7 5 5
cpu1 400 0 50 8000 0 0 0 0 0 0
cpu10 1 0 0 0 0 0 0 0 0 0
intr 5
"""


def test_texts_of_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes in bytes; busy seconds of the CPUs that are ours, without idling and waiting."""
    monkeypatch.setattr(machine, "_TICKS", 100)
    assert busy_seconds(STAT, {0}) == 2.3
    assert busy_seconds(STAT, {1, 10}) == 4.51
    text = "MemTotal:       100 kB\nMemAvailable:    50 kB\nHugePages_Total:       0\n"
    assert meminfo(text) == {"MemTotal": 102400, "MemAvailable": 51200}


def test_load_is_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What we use ourselves is no load; half a CPU of others counts as one that is taken."""
    clock = {"now": 100.0, "busy": 50.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock["now"])
    monkeypatch.setattr(machine, "busy_seconds", lambda text, cpus: clock["busy"])
    monkeypatch.setattr(machine, "running_now", lambda text: 3.0)
    load = Load({0, 1})
    load.look(load._ours)
    assert load.others == 3.0  # what runs at this moment, until there is a measurement
    clock.update(now=101.0, busy=51.5)
    load.look(load._ours + 1.0)
    assert load.others == pytest.approx(0.4)
    clock.update(now=101.1, busy=53.0)
    load.look(load._ours)
    assert load.others == pytest.approx(0.4)
    this = machine.Machine()
    this.cpus, this.affinity = 4, set(range(8))
    assert [this.free_cpus(others) for others in (0.0, 0.4, 3.9, 4.5, 30.0)] == [4, 4, 4, 3, 1]


def test_others_that_run_now() -> None:
    """The processes that run, this one left out; never fewer than none."""
    assert machine.running_now("0.5 0.4 0.3 3/345 99\n") == 2.0
    assert machine.running_now("0.5 0.4 0.3 0/345 99\n") == 0.0


def test_this_machine() -> None:
    """Something can be run here, in some memory."""
    this = machine.Machine()
    assert this.cpus >= 1
    assert 0 < this.free_memory() <= this.memory


# -- admission -------------------------------------------------------------------------------------

GIB = 1 << 30


@pytest.mark.parametrize(
    ("room", "running", "new", "throttled", "admitted"),
    [
        (Room(2, 8 * GIB), [], Demand(1, GIB), False, True),
        (Room(1, 0), [], Demand(4, GIB), False, True),
        (Room(2, 8 * GIB), [Demand(1, GIB)], Demand(1, GIB), False, True),
        (Room(2, 8 * GIB), [Demand(1, GIB)] * 2, Demand(1, GIB), False, False),
        (Room(2, 8 * GIB), [Demand(1, GIB)] * 2, Demand(1, GIB), True, True),
        (Room(4, 8 * GIB), [Demand(3, GIB)], Demand(2, GIB), False, False),
        (Room(8, 2 * GIB), [Demand(1, 2 * GIB)], Demand(1, GIB), False, False),
        (Room(8, 2 * GIB), [Demand(1, 2 * GIB, used=GIB)], Demand(1, GIB), False, True),
        (Room(8, 2 * GIB), [Demand(1, GIB, used=3 * GIB)], Demand(1, 2 * GIB), False, True),
        (Room(8, GIB), [Demand(1, GIB)], Demand(1, GIB), True, False),
        (Room(8, 1 << 20), [Demand(1, 0)], Demand(1, 0), False, False),
        (Room(8, GIB), [Demand(1, 0)], Demand(1, 0), False, True),
    ],
)
def test_admission(
    room: Room, running: list[Demand], new: Demand, throttled: bool, admitted: bool
) -> None:
    """One always; another where its CPUs (or its throttle) and its memory are free."""
    assert admits(room, running, new, throttled=throttled) is admitted


@given(
    cpus=st.integers(1, 64),
    memory=st.integers(0, 1 << 40),
    each=st.builds(Demand, st.integers(1, 64), st.integers(0, 1 << 36)),
)
def test_at_once_is_what_admission_lets_in(cpus: int, memory: int, each: Demand) -> None:
    """The number that is shown before the start is the number that is then admitted."""
    room = Room(cpus, memory)
    running: list[Demand] = []
    while len(running) < 70 and admits(room, running, each, throttled=False):
        running.append(each)
    if each.memory:
        assert len(running) == at_once(room, each)
    else:
        assert len(running) >= at_once(room, each)


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
    """``--signal`` for the script (``B:``), by name or number, in time before the limit."""
    assert warning(a_request(time_s=600, options=(("signal", text),))) == found
    assert warning(a_request(options=(("signal", text),))) is None


def test_a_signal_that_is_none() -> None:
    """A misspelt signal is refused before anything runs."""
    with pytest.raises(BadInputError, match="URS1"):
        warning(a_request(time_s=600, options=(("signal", "B:URS1"),)))
