"""Advice on requests, followed in a second run on a real cluster: nothing fails, less is wasted."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, side_by_side, write

pytestmark = pytest.mark.slurm

HOLD = "/usr/bin/python3 -c 'import time; kept = bytearray(%s * 2**20); time.sleep(2)'"
LEAK = """\
/usr/bin/python3 -c '
import time
kept = []
for _ in range('$((10 + 10 * SLICE))'):
    kept.append(bytearray(4 * 2**20))
    time.sleep(0.05)
'"""

BIG = f"/var/tmp/slurmslice-test-{os.getpid()}"
"""A file on a disk: files in memory would not be read through the page cache."""
MAKE = 'head -c 2G /dev/zero >"$1"; sync "$1"; dd if="$1" iflag=nocache count=0'

SCENES = {
    "page-cache": (f"cat {BIG} >/dev/null; sleep 2", "100M"),
    "leak": (LEAK, "250M"),
    "bimodal": ("[ $SLICE = 3 ] && mib=150 || mib=10; " + HOLD % "'\"$mib\"'", "250M"),
    "short": ("sleep 2", "100M"),
    "too-short": ("true", ""),
}
"""What each slice does, and the most memory that is advised (empty: there is no advice)."""


def test_the_advice_is_followed(site: Site, workplace: Path) -> None:
    """No OUT_OF_MEMORY and less waste in the second run, or not enough evidence in the first."""
    write(site, workplace / "make", MAKE)
    try:
        made = site.run("bash", "make", BIG, cwd=workplace)
        assert made.returncode == 0, made.stderr
        side_by_side(site, workplace, follow_advice, SCENES)
    finally:
        site.run("rm", "-f", BIG, cwd=workplace)


def follow_advice(site: Site, folder: Path, work: str, most: str) -> None:
    """Run four slices with much memory, then again with the advice."""
    first, advised = played(site, folder, "first", "400M", work)
    if not most:
        assert (advised["value"], advised["enough"]) == ("", False)
        return
    assert advised["value"], advised
    assert int(advised["value"].removesuffix("M")) <= int(most.removesuffix("M"))
    second, _ = played(site, folder, "second", advised["value"], work)
    assert wasted_gib(second) < 0.7 * wasted_gib(first)


def wasted_gib(group: dict[str, Any]) -> float:
    """Return the memory that slices of one CPU did not use, on average over their time, GiB."""
    return float(group["wasted_gib_hours"] / group["core_hours"])


def played(
    site: Site, folder: Path, name: str, mem: str, work: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the slices; return the report on them, and the advice on memory in it."""
    ran = site.slurmslice(
        "run", "-a", "0-3", "--mem", mem, "-t", "5", "-c", "1", "--name", name, "--interval", "1",
        "--shell", work, cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = site.slurmslice("efficiency", name, "--json", cwd=folder)
    (group,) = json.loads(told.stdout)["groups"]
    return group, next(one for one in group["advice"] if one["option"] == "mem")
