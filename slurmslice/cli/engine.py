"""Which engine runs it: Slurm where there is one, this machine where nothing says cluster."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from slurmslice.engines import Engine
from slurmslice.errors import BadInput
from slurmslice.read_only import ReadOnlyDirectory, read_only_engine
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
                code="slurm-command-not-found",
                command="sbatch",
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

        return LocalEngine(path)
    from slurmslice.engines.slurm import SlurmEngine

    return SlurmEngine()


def open_run(place: RunDirectory, *, changing: bool = False, read_only: bool = False) -> Run:
    """Open a run with the engine that it belongs to; read-only for a dry run.

    Raises:
        BadInput: a verb that changes was called on another cluster or machine, on a copy, or by
            who may not change it.
    """
    if changing:
        place.check_writable()
    record = place.record()
    engine = make(record.engine, place.path)
    if changing and record.cluster and engine.cluster() != record.cluster:
        raise BadInput(
            f"The run {record.name} belongs to {record.cluster}, and this is {engine.cluster()}.",
            f"Go to {record.cluster}, or make a run of its own here with another --name.",
            code="other-cluster",
            run=record.name,
            cluster=record.cluster,
        )
    if read_only:
        place, engine = ReadOnlyDirectory(place.path), read_only_engine(engine)
    run = Run(place, engine)
    if changing:
        check_copy(run)
    return run
