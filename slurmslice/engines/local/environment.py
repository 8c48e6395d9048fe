"""The environment that tasks get: the caller's, with Slurm's variables as Slurm would set them.

Source: sbatch(1), OUTPUT ENVIRONMENT VARIABLES.
"""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Mapping

from slurmslice.engines.local.orders import Placed
from slurmslice.errors import EngineError

_SLURMS = ("SLURM_", "SLURMD_", "SBATCH_")
_ABOVE_ANY_INDEX = 4_000_001


def bash() -> str:
    """Where bash is.

    Raises:
        EngineError: it is not on PATH.
    """
    path = shutil.which("bash")
    if path is None:
        raise EngineError(
            "bash is not on PATH, and the run's script is a bash script.", code="no-bash"
        )
    return path


def common() -> dict[str, str]:
    """The caller's environment without what Slurm set in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_SLURMS)}


def of_order(placed: Placed) -> Mapping[str, str]:
    """What is the same for all tasks of an order."""
    order = placed.order
    variables = {
        "SLURM_ARRAY_JOB_ID": placed.job,
        "SLURM_ARRAY_TASK_COUNT": str(len(order.array)),
        "SLURM_ARRAY_TASK_MIN": str(min(part[0] for part in order.array.parts)),
        "SLURM_ARRAY_TASK_MAX": str(order.array.highest),
        "SLURM_JOB_NAME": order.job_name,
        "SLURM_CPUS_PER_TASK": str(order.request.cpus),
        "SLURM_SUBMIT_DIR": placed.directory,
    }
    if order.request.mem_mib:
        variables["SLURM_MEM_PER_NODE"] = str(order.request.mem_mib)
    return variables


def of_task(placed: Placed, index: int) -> Mapping[str, str]:
    """What is one task's own.

    ``SLURM_JOB_ID`` is a number that no other task has, of this submission or of another:
    scripts name scratch folders by it.
    """
    job_id = zlib.crc32(placed.order.token.encode()) * _ABOVE_ANY_INDEX + index
    return {"SLURM_ARRAY_TASK_ID": str(index), "SLURM_JOB_ID": str(job_id)}
