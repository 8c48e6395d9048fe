"""The choice of the engine: Slurm if it is there, else this machine unless it is a cluster's."""

from __future__ import annotations

import glob
import os
import shutil
from pathlib import Path

from slurmslice.engines.protocol import Engine
from slurmslice.errors import BadInputError
from slurmslice.plan.run_script import refuse_copied_run
from slurmslice.run.directory import RunDirectory
from slurmslice.run.read_only import ReadOnlyDirectory, foreign_engine, read_only_engine
from slurmslice.run.run import Run


def choose_engine(wanted: str, path: Path) -> Engine:
    """Return the engine for a new run in ``path``.

    Raises:
        BadInputError: ``auto`` on a machine that looks like a cluster's but has no sbatch. Running
            there could overload a login node by accident.
    """
    if wanted == "auto":
        wanted = "slurm" if shutil.which("sbatch") else "local"
        signs = cluster_signs()
        if wanted == "local" and signs:
            raise BadInputError(
                f"This looks like a cluster ({signs[0]}), but sbatch is not on PATH.",
                "Load the cluster's slurm module. To use this machine: --engine local",
                code="slurm-command-not-found",
                command="sbatch",
            )
    return create_engine(wanted, path)


def cluster_signs() -> list[str]:
    """Return the signs that this machine belongs to a cluster, as short sentences."""
    variables = sorted(name for name in os.environ if name.startswith("SLURM_"))
    files = sorted([*glob.glob("/etc/slurm*"), *glob.glob("/run/munge/munge.socket*")])
    return [*(f"{name} is set" for name in variables), *(f"{path} exists" for path in files)]


def create_engine(name: str, path: Path, *, foreign: bool = False) -> Engine:
    """Create an engine by name for the run in ``path``; ``foreign`` if it is another user's."""
    if name == "local":
        from slurmslice.engines.local import LocalEngine
        from slurmslice.run.journal_jobs import JournalJobs

        return LocalEngine(path, JournalJobs(RunDirectory(path)), only_looks=foreign)
    from slurmslice.engines.slurm import SlurmEngine

    return SlurmEngine()


def open_run(directory: RunDirectory, *, changing: bool = False, read_only: bool = False) -> Run:
    """Open a run with its engine; read-only for a dry run, and if it is another user's.

    Raises:
        BadInputError: a verb that changes the run was called on another cluster or machine, on a
        copy of the run, or by a user who may not change it.
    """
    if changing:
        directory.check_writable()
    record = directory.read_record()
    foreign = directory.foreign_owner is not None
    engine = create_engine(record.engine, directory.path, foreign=foreign)
    if changing and record.cluster and engine.cluster() != record.cluster:
        raise BadInputError(
            f"The run {record.name} belongs to {record.cluster}, but this is {engine.cluster()}.",
            f"Go to {record.cluster}, or create another run here with another --name.",
            code="other-cluster",
            run=record.name,
            cluster=record.cluster,
        )
    if read_only or foreign:
        guard = foreign_engine if foreign else read_only_engine
        directory, engine = ReadOnlyDirectory(directory.path), guard(engine)
    run = Run(directory, engine)
    if changing:
        refuse_copied_run(run)
    return run
