"""Tasks of a real Slurm cluster measure the memory of their slices themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.script.progress_lines import SlotProgress, parse_progress
from tests.support.site import Site, side_by_side, write

pytestmark = pytest.mark.slurm

HOLD = """\
import sys, time
kept = bytearray(int(sys.argv[1]) * 2**20)
kept[::4096] = b"x" * len(kept[::4096])
time.sleep(float(sys.argv[2]))
"""
MIB, OVERHEAD = 2**20, 40  # of Python and the shells, MiB

SCENES: dict[str, tuple[tuple[str, ...], str, dict[str, int]]] = {
    "alone": (("30,150",), "/usr/bin/python3 ../hold.py $SLICE 2", {"30": 30, "150": 150}),
    "steps": (("30,150",), "srun /usr/bin/python3 ../hold.py $SLICE 2", {"30": 30, "150": 150}),
    "pack": (
        ("20,40,150,30", "--pack", "4"),
        "/usr/bin/python3 ../hold.py $SLICE 1",
        {"20": 20, "40": 40, "150": 150, "30": 30},
    ),
    # Both slices of a task have a half of its peak.
    "at-once": (
        ("50,150", "--pack", "2", "--at-once", "2"),
        "/usr/bin/python3 ../hold.py $SLICE 1.5",
        {"50": 100, "150": 100},
    ),
    "page-cache": (("1,2", "--pack", "2"), "cat ../big >/dev/null; sleep 1", {"1": 0, "2": 0}),
    "too-short": (("1,2", "--pack", "2"), "true", {}),
}
"""The options, the command, and the peak of each slice, MiB; without a peak it is not measured."""


def test_each_task_measures_the_memory_of_its_slices(site: Site, workplace: Path) -> None:
    """Also if Slurm's measurements are too rare, or are those of several slices."""
    write(site, workplace / "hold.py", HOLD)
    write(site, workplace / "make", "head -c 300M /dev/zero >big")
    site.run("bash", "make", cwd=workplace)
    side_by_side(site, workplace, measured_well, SCENES)


def measured_well(
    site: Site, folder: Path, options: tuple[str, ...], work: str, peaks: dict[str, int]
) -> None:
    """Run the slices, and compare their peaks."""
    ran = site.slurmslice(
        "run", "-a", *options, "--mem", "400M", "-t", "5", "-c", "1",
        "--name", "m", "--interval", "1", "--shell", work, cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    own = sorted(slot.peak_bytes or 0 for slot in progress(folder))
    for least, peak in zip(sorted(peaks.values()), own[-len(peaks) :], strict=False):
        assert least <= peak / MIB <= least + OVERHEAD
    for slice_ in site.status(folder, "m")["slices"]:
        if slice_["key"] in peaks:
            least = peaks[slice_["key"]]
            assert least <= slice_["max_rss_bytes"] / MIB <= least + OVERHEAD, slice_
            assert slice_["peak_samples"] >= 3
        else:
            assert slice_["max_rss_bytes"] is None


def progress(folder: Path) -> list[SlotProgress]:
    """Return what the tasks wrote about their slices."""
    logs = folder.glob("slurmslice-runs/m/submissions/001/tasks/*.log")
    return [slot for log in logs for slot in parse_progress(log.read_bytes()).slots.values()]


def test_a_requeued_pack_keeps_what_it_measured(site: Site, workplace: Path) -> None:
    """A slice that ended before Slurm started its task again has still its peak and CPU time."""
    write(site, workplace / "hold.py", HOLD)
    work = "/usr/bin/python3 hold.py 100 1; [ $SLICE != 2 ] || [ -e again ] || "
    work += "{ touch again; scontrol requeue $SLURM_JOB_ID; sleep 60; }"
    ran = site.slurmslice(
        "run", "-a", "1,2", "--pack", "2", "--mem", "400M", "--requeue", "-t", "5", "--name", "m",
        "--interval", "1", "--shell", work, cwd=workplace,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert (workplace / "again").exists()
    for slot in progress(workplace):
        assert slot.restart == 1
        assert 100 <= (slot.peak_bytes or 0) / MIB <= 100 + OVERHEAD
        assert slot.cpu_s is not None
    for slice_ in site.status(workplace, "m")["slices"]:
        assert 100 <= slice_["max_rss_bytes"] / MIB <= 100 + OVERHEAD
