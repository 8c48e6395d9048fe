"""A site's own sbatch and squeue in front of Slurm's, on the real cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import Finished, Site, events, jobs_in, side_by_side, write

pytestmark = pytest.mark.slurm

REFUSALS = {
    "words": ("[SITE] use a login node", 'echo "[SITE] use a login node" >&2; exit 1'),
    "exit-0": (
        "sbatch: error: the allocation has run out",
        "echo 'sbatch: error: the allocation has run out' >&2",
    ),
    "numbers": ("refused", 'echo "$EPOCHSECONDS $$ refused"; exit 4'),
}
"""The site's words, and the text of its sbatch, by a name."""


def beside_slurm(site: Site, folder: Path, name: str, text: str, *words: str) -> Finished:
    """Run slurmslice with a site's own program first on PATH."""
    write(site, folder / name, f"#!/bin/bash\n{text}\n")
    site.run("chmod", "+x", name, cwd=folder)
    return site.slurmslice(*words, cwd=folder, env={"PATH": f"{folder}:{site.path}"})


def test_a_refusal_in_a_sites_own_words_ends_the_run(site: Site, workplace: Path) -> None:
    """``run`` stops after the second submission; the site's words are the last line."""
    side_by_side(site, workplace, a_refusal_ends_the_run, REFUSALS)


def a_refusal_ends_the_run(site: Site, workplace: Path, said: str, text: str) -> None:
    """Refuse a run; then run it with Slurm's own sbatch."""
    line = ("run", "-a", "0-1", "--mem", "50M", "--name", "w", "--", "true")
    done = beside_slurm(site, workplace, "sbatch", text, *line)
    assert (done.returncode, error_code(done.stderr)) == (3, "submission-rejected")
    assert said in done.stderr.rstrip().splitlines()[-1]
    assert len(events(workplace, "w", "intent")) == 2
    assert site.status(workplace, "w")["counts"] == {"WAITING": 2}
    assert site.slurmslice("run", "w", cwd=workplace).returncode == 0
    assert site.status(workplace, "w")["counts"] == {"COMPLETED": 2}


def test_a_squeue_that_knows_few_options_ends_the_run(site: Site, workplace: Path) -> None:
    """The message names its path. With Slurm's own squeue the run goes on."""
    text = (
        "for a; do case $a in --Format*|--states=all) "
        'echo "rc-squeue: error: unrecognized arguments: $a" >&2; exit 2;; esac; done\n'
        'exec /usr/bin/squeue "$@"'
    )
    line = ("run", "-a", "0-1", "--mem", "50M", "--name", "w", "--", "sleep", "5")
    done = beside_slurm(site, workplace, "squeue", text, *line)
    assert (done.returncode, error_code(done.stderr)) == (3, "slurm-command-unusable")
    assert str(workplace / "squeue") in done.stderr
    assert site.slurmslice("run", "w", cwd=workplace).returncode == 0
    assert site.status(workplace, "w")["counts"] == {"COMPLETED": 2}
    assert jobs_in(site, workplace) == []
