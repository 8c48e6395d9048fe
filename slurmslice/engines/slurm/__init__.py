"""The Slurm engine: Slurm runs the array tasks, and its own commands control them.

Commands are built and their answers are parsed by pure modules:

- ``versions``: differences between Slurm's releases.
- ``commands``, ``environment``: command lines, and the environment of each command.
- ``fields``, ``job_states``, ``record_lines``: single values and lines of an answer.
- ``task_reports``, ``sacct_lines``, ``job_records``, ``job_steps``: tasks in the answers of
  sacct and squeue.
- ``find_job``: the job of one submission among these records.
- ``cluster_records``: settings, partitions and nodes in the answers of scontrol and sinfo.
- ``sbatch_result``: the result of one sbatch.
- ``capacity``, ``unsatisfiable``, ``slurm_health``: how many tasks fit, and why none does.

``client`` runs the commands. ``queue_capacity`` asks a cluster for its limits. ``engine`` joins
them all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slurmslice.engines.slurm.engine import SlurmEngine

__all__ = ["SlurmEngine"]


def __getattr__(name: str) -> Any:
    """Import the engine at its first use: reading a script's options must start fast."""
    if name != "SlurmEngine":
        raise AttributeError(name)
    from slurmslice.engines.slurm.engine import SlurmEngine

    return SlurmEngine
