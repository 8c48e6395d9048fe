"""A library that is changed while tasks wait: Slurm spools the script, and not the library."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.site import Site, marks, settled, until, write

pytestmark = pytest.mark.slurm


Run = tuple[str, Path, str]
"""A run by hand: its job, its library and the text of it."""


def held(site: Site, workplace: Path, name: str, *words: str) -> Run:
    """Make a run, submit its script by hand, held, and remove its library."""
    line = ("render", "-a", "0-3", "--name", name, *words, "--shell", "echo $SLICE >>marks")
    folder = workplace / name
    site.run("mkdir", name, cwd=workplace)
    assert site.slurmslice(*line, cwd=folder).returncode == 0
    run = folder / "slurmslice-runs" / name
    sent = site.run("sbatch", "--parsable", "--hold", f"{run}/script.sh", cwd=folder)
    assert sent.returncode == 0, sent.stderr
    library = run / "slurmslice.sh"
    text = library.read_text()
    library.unlink()
    return sent.stdout.strip(), library, text


def test_a_library_that_does_nothing_or_is_missing(site: Site, workplace: Path) -> None:
    """None of its slices is done, and none is submitted before the library is restored.

    If the library does nothing, the tasks end COMPLETED 0:0 and their slices fail. If it is
    missing, the tasks exit 125 and use no attempt. The runs end at once.
    """
    runs = {
        "empty": held(site, workplace, "empty"),
        "packed": held(site, workplace, "packed", "--pack", "2"),
        "missing": held(site, workplace, "missing"),
    }
    for name in ("empty", "packed"):
        write(site, runs[name][1], "exit 0\n")
    for job, _, _ in runs.values():
        site.run("scontrol", "release", job, cwd=workplace)
    jobs = ",".join(job for job, _, _ in runs.values())
    ask = ("squeue", "--noheader", "--jobs", jobs)
    until(lambda: not site.run(*ask, cwd=workplace).stdout.strip(), "the jobs to end")
    for name, state, attempt in (("empty", "FAILED", 2), ("packed", "FAILED", 2),
                                 ("missing", "WAITING", 1)):  # fmt: skip
        folder, (_, library, text) = workplace / name, runs[name]
        until_failed(site, folder, name, state)
        if state == "FAILED":
            assert site.slurmslice("resubmit", name, cwd=folder).returncode == 2
        write(site, library, text)
        verb = "resubmit" if state == "FAILED" else "run"
        assert site.slurmslice(verb, name, cwd=folder).returncode == 0
        assert settled(site, folder, name) == {"COMPLETED": 4}
        slices = site.status(folder, name)["slices"]
        assert {s["attempt"] for s in slices} == {attempt}
        assert marks(folder) == {str(key): 1 for key in range(4)}


def until_failed(site: Site, folder: Path, name: str, state: str) -> None:
    """Poll until status tells of the library, and every slice has this state.

    The polls are later than any progress line may come.
    """

    def failed() -> bool:
        told = site.later(70, "status", name, "--json", cwd=folder)
        known = "install -m 444" in told.stderr
        return known and json.loads(told.stdout)["counts"] == {state: 4}

    until(failed, f"status to tell of the library of {name}, and its slices to be {state}")
