"""The output that the README shows is the output of these commands on a real Slurm cluster."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.support.notes import without_marks
from tests.support.paths import REPOSITORY
from tests.support.site import Site

pytestmark = pytest.mark.slurm

README = (REPOSITORY / "README.md").read_text()
PROGRAM = """
import sys
if sys.argv[2] in ("mill2sort-3.h5", "mill2sort-7.h5"):
    raise ValueError("no halo above the mass limit")
"""


def block(name: str) -> tuple[list[str], set[str]]:
    """Return the command of a console block of the README, and the lines that follow it."""
    text = re.search(rf"<!-- {name} -->\n```console\n\$ (.*?)```", README, re.DOTALL)
    assert text
    command, *lines = text[1].splitlines()
    return shlex.split(command)[1:], {comparable(line) for line in lines}


def comparable(line: str) -> str:
    """Replace names and numbers that differ between clusters."""
    line = re.sub(r"slurm on [\w.-]+", "slurm on CLUSTER", line)
    return re.sub(r"job \d+", "job N", re.sub(r"room +.*", "room", line))


def test_run_and_status_print_the_output_in_the_readme(site: Site, workplace: Path) -> None:
    """Every line, but for the bar of the progress, which depends on the moment."""
    site.run("sh", "-c", 'printf "%s" "$1" >x.py', "sh", PROGRAM, cwd=workplace)
    env = {"PATH": f"{site.python.parent}:/usr/local/bin:/usr/bin:/bin"}
    for name, code in (("run", 1), ("status", 0)):
        words, shown = block(name)
        done = site.slurmslice(*words, cwd=workplace, env=env)
        assert done.returncode == code, done.stderr
        lines = (done.stdout + without_marks(done.stderr)).splitlines()
        assert {comparable(line) for line in lines if " ended: " not in line} == shown
