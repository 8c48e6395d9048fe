"""Attempts that are submitted from other places, on a real Slurm cluster."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import Finished, Site, settled

pytestmark = pytest.mark.slurm

DUMP = 'env -0 >"env.$SLICE_ATTEMPT"; srun env -0 >"step.$SLICE_ATTEMPT"; [ $SLICE_ATTEMPT = 3 ]'

FROM_A_LOGIN = ("HOME", "USER", "LOGNAME", "LC_ALL", "LANG", "DATA")


def seen(workplace: Path, file: str) -> dict[str, str]:
    """Return a dumped environment, without what Slurm and slurmslice set for each attempt."""
    pairs = (workplace / file).read_text("utf-8", "surrogateescape").split("\0")
    variables = dict(pair.partition("=")[::2] for pair in pairs if pair)
    own = ("SLURM", "SLICE", "TMPDIR", "HOSTNAME", "CUDA", "GPU", "ROCR", "ZE_", "SRUN_", "PMI")
    return {n: v for n, v in variables.items() if not n.startswith(own) and n != "_"}


def bare(site: Site, workplace: Path, *variables: str) -> Finished:
    """Resubmit after ``env -i``, with these variables."""
    conf = site.cluster.env["SLURM_CONF"] if site.cluster else os.environ.get("SLURM_CONF")
    needed = [f"PATH={site.path}", *([f"SLURM_CONF={conf}"] if conf else [])]
    line = (str(site.python), "-m", "slurmslice", "resubmit", "e")
    return site.run("env", "-i", "SLURMSLICE_CODES=1", *needed, *variables, *line, cwd=workplace)


@pytest.mark.parametrize("options", [(), ("--export", "NONE")], ids=" ".join)
def test_env_in_attempts_from_other_places(
    site: Site, workplace: Path, options: tuple[str, ...]
) -> None:
    """After ``env -i``, and from a job with an environment of its own. srun sees it too."""
    line = ("-a", "0-0", "--name", "e", *options, "--env", "KEPT", "--shell", f"{DUMP} # $SLICE")
    shell = {"DATA": "/scratch/d", "KEPT": "a b"}
    done = site.slurmslice("run", "--interval", "1", *line, cwd=workplace, env=shell)
    assert done.returncode == 1, done.stderr
    if not options:
        refused = bare(site, workplace)
        assert (refused.returncode, error_code(refused.stderr)) == (2, "environment-differs")
    first = seen(workplace, "env.1")
    login = [f"{name}={first[name]}" for name in FROM_A_LOGIN if name in first]
    done = bare(site, workplace, *([] if options else login))
    assert done.returncode == 0, done.stderr
    assert settled(site, workplace, "e") == {"FAILED": 1}
    wrap = f"{site.python} -m slurmslice resubmit e"
    other = {"DEBUG": "1", "OMP_NUM_THREADS": "3", "KEPT": "other", **shell}
    job = ("sbatch", "--wait", "--output", "job.log", "--wrap", wrap)
    assert site.run(*job, cwd=workplace, env=other).returncode == 0
    assert settled(site, workplace, "e") == {"COMPLETED": 1}, (workplace / "job.log").read_text()
    assert (first.get("DATA"), first["KEPT"]) == (None if options else "/scratch/d", "a b")
    assert [seen(workplace, f"env.{attempt}") for attempt in (2, 3)] == [first] * 2
    steps = [seen(workplace, f"step.{attempt}") for attempt in (1, 2, 3)]
    assert all(first.items() <= step.items() for step in steps)
