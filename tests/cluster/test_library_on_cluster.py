"""A library that is changed while tasks wait: Slurm spools the script, and not the library."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.script.render import library_bytes
from tests.support.site import Site, marks, until, write

pytestmark = pytest.mark.slurm


def held(site: Site, workplace: Path, *words: str) -> tuple[str, Path]:
    """A run that was sent by hand and is held: the job, and its library."""
    line = ("render", "-a", "0-3", "--name", "h", *words, "--shell", "echo $SLICE >>marks")
    assert site.slurmslice(*line, cwd=workplace).returncode == 0
    sent = site.run("sbatch", "--parsable", "--hold", "slurmslice-runs/h/script.sh", cwd=workplace)
    assert sent.returncode == 0, sent.stderr
    return sent.stdout.strip(), workplace / "slurmslice-runs/h/slurmslice.sh"


def let_run(site: Site, workplace: Path, job: str) -> None:
    """Let it start, and wait for its end."""
    site.run("scontrol", "release", job, cwd=workplace)
    ask = ("squeue", "--noheader", "--jobs", job)
    until(lambda: not site.run(*ask, cwd=workplace).stdout.strip(), "the job to end")


@pytest.mark.parametrize("packed", [(), ("--pack", "2")])
def test_a_library_that_does_nothing_is_no_success(
    site: Site, workplace: Path, packed: tuple[str, ...]
) -> None:
    """Tasks end COMPLETED 0:0, their slices do not, and none is submitted before it is restored."""
    job, path = held(site, workplace, *packed)
    path.unlink()
    write(site, path, "exit 0\n")
    let_run(site, workplace, job)
    until(
        lambda: "install -m 444" in site.slurmslice("status", "h", cwd=workplace).stderr,
        "status to tell of the library",
    )
    until(lambda: site.status(workplace, "h")["counts"] == {"FAILED": 4}, "the slices to fail")
    assert site.slurmslice("resubmit", "h", cwd=workplace).returncode == 2
    write(site, path, library_bytes().decode())
    assert site.slurmslice("resubmit", "h", cwd=workplace).returncode == 0
    until(lambda: site.status(workplace, "h")["counts"] == {"COMPLETED": 4}, "them to be done")
    assert marks(workplace) == {str(key): 1 for key in range(4)}


def test_a_missing_library_uses_no_attempt(site: Site, workplace: Path) -> None:
    """Its tasks end with exit 125, and are submitted again after the library is restored."""
    job, path = held(site, workplace)
    text = path.read_text()
    path.unlink()
    let_run(site, workplace, job)
    until(lambda: site.status(workplace, "h")["counts"] == {"WAITING": 4}, "the slices to wait")
    write(site, path, text)
    ran = site.slurmslice("run", "h", "--interval", "1", cwd=workplace)
    assert ran.returncode == 0, ran.stderr
    slices = site.status(workplace, "h")["slices"]
    assert {(s["state"], s["attempt"]) for s in slices} == {("COMPLETED", 1)}
    assert marks(workplace) == {str(key): 1 for key in range(4)}
