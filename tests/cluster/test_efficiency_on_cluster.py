"""Advice on requests, followed in a second run on a real cluster: nothing fails, less is wasted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, side_by_side, write

pytestmark = pytest.mark.slurm

# Slurm measures each second here, and three measurements are needed.
HOLD = "/usr/bin/python3 -c 'import time; kept = bytearray(%s * 2**20); time.sleep(6)'"

SCENES = {
    "page-cache": ("cat big >/dev/null; sleep 6", "100M"),
    "leak": (HOLD % "'\"$((20 + 20 * SLICE))\"'", "200M"),
    "bimodal": ("[ $SLICE = 3 ] && mib=150 || mib=10; " + HOLD % "'\"$mib\"'", "250M"),
    "short": ("sleep 1", ""),
}
"""What each slice does, and the most memory that is advised (empty: there is no advice)."""


def test_the_advice_is_followed(site: Site, workplace: Path) -> None:
    """No OUT_OF_MEMORY and less waste in the second run, or not enough evidence in the first."""
    write(site, workplace / "make", "head -c 300M /dev/zero >big")
    side_by_side(site, workplace, follow_advice, SCENES)


def follow_advice(site: Site, folder: Path, work: str, most: str) -> None:
    """Run four slices with much memory, then again with the advice."""
    site.run("bash", "../make", cwd=folder)
    first, advised = played(site, folder, "first", "400M", work)
    if not most:
        assert (advised["value"], advised["enough"]) == ("", False)
        return
    assert advised["value"], advised
    assert int(advised["value"].removesuffix("M")) <= int(most.removesuffix("M"))
    second, _ = played(site, folder, "second", advised["value"], work)
    assert second["wasted_gib_hours"] < 0.7 * first["wasted_gib_hours"]


def played(
    site: Site, folder: Path, name: str, mem: str, work: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run the slices; return the report on them, and the advice on memory in it."""
    ran = site.slurmslice(
        "run", "-a", "0-3", "--mem", mem, "-t", "5", "-c", "1", "--acctg-freq", "task=1",
        "--name", name, "--interval", "1", "--shell", work, cwd=folder,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    told = site.slurmslice("efficiency", name, "--json", cwd=folder)
    (group,) = json.loads(told.stdout)["groups"]
    return group, next(one for one in group["advice"] if one["option"] == "mem")
