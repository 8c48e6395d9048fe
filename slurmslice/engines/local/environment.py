"""The environment of tasks: that of the submission, with Slurm's variables.

The values are those that Slurm would set (sbatch(1), OUTPUT ENVIRONMENT VARIABLES; seen on 22.05).
A worker sets SLURM_ARRAY_TASK_ID, SLURM_JOB_ID and SLURM_JOBID for each task.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping

from slurmslice.engines.local.jobs import LocalJob
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import parse_memory
from slurmslice.spec.recorded_environment import exported_environment
from slurmslice.spec.slice_numbers import SliceNumbers
from slurmslice.system.login_shell import login_environment
from slurmslice.system.users import user_name

_SLURM_PREFIXES = ("SLURM_", "SLURMD_", "SBATCH_", "SRUN_")
_ABOVE_ANY_INDEX = 4_000_001

_TUNED_MALLOC = ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
"""A setting of glibc for a worker: without this cache, malloc uses memory that lies together,
so that the kernel copies a tenth fewer pages after each fork. No task inherits the setting."""


def job_environment(job: LocalJob, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that all tasks of a job share.

    Args:
        job: the job.
        environ: the environment of its submission.
    """
    given = exported_environment(job.request, environ, login_environment)
    variables = {k: value for k, value in given.items() if not k.startswith(_SLURM_PREFIXES)}
    variables.update(_array_variables(job))
    variables.update(_request_variables(job.request))
    variables.update(_machine_variables())
    variables.setdefault(*_TUNED_MALLOC)
    return variables


def _array_variables(job: LocalJob) -> Iterator[tuple[str, str]]:
    numbers = SliceNumbers.of(job.array)
    yield "SLURM_JOB_NAME", job.name
    yield "SLURM_ARRAY_JOB_ID", job.id
    yield "SLURM_ARRAY_TASK_COUNT", str(len(job.array))
    yield "SLURM_ARRAY_TASK_MIN", str(numbers.lowest)
    yield "SLURM_ARRAY_TASK_MAX", str(numbers.highest)
    yield "SLURM_ARRAY_TASK_STEP", str(numbers.step)


def _request_variables(request: ResourceRequest) -> Iterator[tuple[str, str]]:
    """Yield the variables of a task's request. The library divides them among slices at once."""
    yield "SLURM_CPUS_PER_TASK", str(request.cpus_per_task)
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_JOB_CPUS_PER_NODE"):
        yield name, str(request.cpus)
    for name in ("SLURM_NTASKS", "SLURM_NPROCS", "SLURM_TASKS_PER_NODE"):
        yield name, str(request.processes)
    if "mem-per-cpu" in request:
        yield "SLURM_MEM_PER_CPU", str(parse_memory(request["mem-per-cpu"]))
    elif request.mem_mib:
        yield "SLURM_MEM_PER_NODE", str(request.mem_mib)
    if request.partition is not None:
        yield "SLURM_JOB_PARTITION", request.partition


def _machine_variables() -> Iterator[tuple[str, str]]:
    """Yield the variables of the only node of a job, which is this machine."""
    host, user = os.uname().nodename, os.geteuid()
    for name in ("SLURMD_NODENAME", "SLURM_JOB_NODELIST", "SLURM_NODELIST", "SLURM_SUBMIT_HOST"):
        yield name, host
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_NNODES"):
        yield name, "1"
    for name in ("SLURM_NODEID", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_GTIDS"):
        yield name, "0"
    yield "SLURM_SUBMIT_DIR", os.getcwd()
    yield "SLURM_JOB_USER", user_name(user)
    yield "SLURM_JOB_UID", str(user)
    yield "SLURM_JOB_GID", str(os.getegid())


def task_job_id(job: LocalJob, index: int) -> int:
    """Return the job id of a task. It is unique, because scripts name scratch folders by it."""
    return zlib.crc32(job.name.encode("utf-8", "surrogateescape")) * _ABOVE_ANY_INDEX + index
