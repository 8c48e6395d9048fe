"""The environment of tasks: the caller's environment, with Slurm's variables.

The values are those that Slurm would set (sbatch(1), OUTPUT ENVIRONMENT VARIABLES). A worker
sets SLURM_ARRAY_TASK_ID and SLURM_JOB_ID for each task.
"""

from __future__ import annotations

import os
import zlib

from slurmslice.engines.local.jobs import LocalJob

_SLURM_PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_")
_ABOVE_ANY_INDEX = 4_000_001


def job_environment(job: LocalJob) -> dict[str, str]:
    """Return the environment that all tasks of a job share."""
    variables = {
        k: value for k, value in os.environ.items() if not k.startswith(_SLURM_PREFIXES)
    } | {
        "SLURM_ARRAY_JOB_ID": job.id,
        "SLURM_ARRAY_TASK_COUNT": str(len(job.array)),
        "SLURM_ARRAY_TASK_MIN": str(min(part[0] for part in job.array.parts)),
        "SLURM_ARRAY_TASK_MAX": str(job.array.highest),
        "SLURM_JOB_NAME": job.name,
        "SLURM_CPUS_PER_TASK": str(job.request.cpus),
        "SLURM_SUBMIT_DIR": os.getcwd(),
    }
    if job.request.mem_mib:
        variables["SLURM_MEM_PER_NODE"] = str(job.request.mem_mib)
    return variables


def task_job_id(job: LocalJob, index: int) -> int:
    """Return the job id of a task. It is unique, because scripts name scratch folders by it."""
    return zlib.crc32(job.name.encode("utf-8", "surrogateescape")) * _ABOVE_ANY_INDEX + index
