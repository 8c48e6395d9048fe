"""Which engine runs it: Slurm where there is one, this machine where nothing says cluster."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from slurmslice.engines import Engine
from slurmslice.errors import BadInput
from slurmslice.rehearsal import Rehearsal
from slurmslice.run import Run
from slurmslice.rundir import RunDirectory
from slurmslice.submission import check_copy


def choose(wanted: str, path: Path) -> Engine:
    """The engine of a run that is to be made in ``path``.

    Raises:
        BadInput: ``auto`` on what looks like a cluster without sbatch: nobody's login node is
            loaded by accident.
    """
    if wanted == "auto":
        wanted = "slurm" if shutil.which("sbatch") else "local"
        signs = signs_of_a_cluster()
        if wanted == "local" and signs:
            raise BadInput(
                f"This looks like a cluster's machine ({signs[0]}), but sbatch is not on PATH.",
                "Load the cluster's slurm module; or say `--engine local` to use this machine.",
            )
    return make(wanted, path)


def signs_of_a_cluster() -> list[str]:
    """What says that this machine belongs to a cluster."""
    variables = sorted(name for name in os.environ if name.startswith("SLURM_"))
    files = sorted([*glob.glob("/etc/slurm*"), *glob.glob("/run/munge/munge.socket*")])
    return [*(f"{name} is set" for name in variables), *(f"{path} exists" for path in files)]


def make(name: str, path: Path) -> Engine:
    """An engine by name, for the run in ``path``."""
    if name == "local":
        from slurmslice.engines.local import LocalEngine
        from slurmslice.journal_jobs import JournalJobs

        return LocalEngine(path, JournalJobs(RunDirectory(path)))
    from slurmslice.engines.slurm import SlurmEngine

    return SlurmEngine()


def open_run(place: RunDirectory, *, changing: bool = False, dry_run: bool = False) -> Run:
    """Open a run with the engine that it belongs to; for a dry run so that nothing is written.

    Raises:
        BadInput: a verb that changes was called on another cluster or machine, on a copy, or by
            who may not change it.
    """
    if changing:
        place.check_writable()
    asked = place.asked()
    engine = make(asked.engine, place.path)
    if changing and asked.cluster and engine.cluster() != asked.cluster:
        raise BadInput(
            f"The run {asked.name} belongs to {asked.cluster}, and this is {engine.cluster()}.",
            f"Go to {asked.cluster}, or make a run of its own here with another --name.",
        )
    run = Run(Rehearsal(place.path) if dry_run else place, engine)
    if changing:
        check_copy(run)
    return run
