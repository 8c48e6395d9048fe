"""The command lines of Slurm's programs. Pure: what to say, never saying it.

Every value stands in a word of its own or behind ``=``; no shell sees any of them. Fields that
may hold the separator stand last.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from slurmslice.ranges import compress
from slurmslice.resources import ResourceRequest

Argv = tuple[str, ...]

# sacct(1): all of them are known to every release from 20.11 to 26.05; an unknown one is an error.
TASK_FIELDS = (
    *("JobID", "State", "ExitCode", "DerivedExitCode", "Submit", "Start", "End", "ElapsedRaw"),
    *("AllocCPUS", "ReqMem", "NodeList", "Reason", "JobName"),
)
# Of a task without its steps sacct says nothing of memory, and that it used no CPU time (seen).
STEP_FIELDS = (*TASK_FIELDS[:-1], "MaxRSS", "TotalCPU", "JobName")
# squeue(1), --Format; a size of none after the colon is: as wide as it takes.
SQUEUE_FIELDS = (
    *("JobArrayID", "State", "exit_code", "SubmitTime", "StartTime", "EndTime", "RestartCnt"),
    *("NodeList", "Reason", "Name"),
)
PREEMPTED_FIELDS = ("JobArrayID", "PreemptTime", "Name")
SINFO_FIELDS = ("NodeList", "Partition", "StateLong", "CPUsState", "Memory", "AllocMem")
LIMIT_FIELDS = (
    *("DefaultAccount", "Account", "Partition", "DefaultQOS", "QOS", "GrpTRES", "GrpJobs"),
    *("MaxJobs", "GrpSubmit", "MaxSubmit"),
)
QOS_FIELDS = (
    *("Name", "GrpTRES", "GrpJobs", "MaxTRESPU", "MaxJobsPU", "GrpSubmit", "MaxSubmitPU"),
    "MaxSubmitPA",
)

CONFIG: Argv = ("scontrol", "show", "config")
PARTITIONS: Argv = ("scontrol", "--oneliner", "show", "partition")
# With those that are hidden, and those that the user's groups may not use: sbatch knows them all.
ALL_PARTITIONS: Argv = ("scontrol", "--all", "--oneliner", "show", "partition")
FEDERATION: Argv = ("scontrol", "show", "federation")


def sbatch(script: Path, overrides: ResourceRequest, arguments: Sequence[str]) -> Argv:
    """Submit a script, with options beside it and perhaps arguments."""
    return ("sbatch", "--parsable", *overrides.to_argv(), str(script), *arguments)


def test(argv: Argv) -> Argv:
    """Have sbatch say what it would do with a submission (sbatch(1), ``--test-only``)."""
    return (argv[0], "--test-only", *argv[1:])


def show_job(job: str) -> Argv:
    """What the controller knows of a job: a line a record."""
    return ("scontrol", "--oneliner", "show", "job", job)


def batch_script(job: str) -> Argv:
    """The script of a job, on stdout."""
    return ("scontrol", "write", "batch_script", job, "-")


def sacct(jobs: Iterable[str], clusters: str | None = None) -> Argv:
    """The tasks of these jobs, however long ago: a row each."""
    return (*_sacct(clusters, TASK_FIELDS), "-X", "--jobs", ",".join(jobs))


def sacct_steps(tasks: Iterable[tuple[str, int]], clusters: str | None = None) -> Iterator[Argv]:
    """These tasks with what was measured, a row a task and a row a step, by several questions.

    Rows of steps are dear, so tasks are named one by one: sacct reads no ``1_[2-5]`` (seen on
    22.05). Of an array of which more is asked than can be named so, all rows come.
    """
    indices: dict[str, list[int]] = {}
    for job, index in tasks:
        indices.setdefault(job, []).append(index)
    words: list[str] = []
    asked = 0
    for job, some in indices.items():
        if words and asked + len(some) > _MOST_AT_ONCE:
            yield (*_sacct(clusters, STEP_FIELDS), "--jobs", ",".join(words))
            words, asked = [], 0
        words += [job] if len(some) > _MOST_NAMED else [f"{job}_{index}" for index in some]
        asked += len(some)
    if words:
        yield (*_sacct(clusters, STEP_FIELDS), "--jobs", ",".join(words))


_MOST_AT_ONCE, _MOST_NAMED = 5000, 250


def sacct_by_name(name: str, user: int, since: float, clusters: str | None = None) -> Argv:
    """The jobs of a user under a name since a time (epoch seconds), begun or not.

    Accounting has some characters of a name changed (seen: a double quote, what is not in
    Latin-1), and a comma parts names: a name that is not plain is not asked for.
    """
    start = datetime.fromtimestamp(since).isoformat(timespec="seconds")
    window = ("--starttime", start, "--endtime", "now+10days")
    named = ("--name", name) if re.fullmatch(r"[A-Za-z0-9._@%+=:/ -]+", name) else ()
    return (*_sacct(clusters, TASK_FIELDS), "-X", "--uid", str(user), *window, *named)


def _sacct(clusters: str | None, fields: Iterable[str]) -> Argv:
    # SLURM_CLUSTERS, which the other commands heed, is none of sacct's.
    place = ("--clusters", clusters) if clusters else ()
    columns = ("--format", ",".join(fields))
    return ("sacct", *place, "--noheader", "--parsable2", "--noconvert", *columns)


def squeue(jobs: Iterable[str], *, ended: bool) -> Argv:
    """Where these jobs are in the queue; ended ones too, until the controller forgets them."""
    return (*_squeue(ended), "--jobs", ",".join(jobs))


def squeue_of(user: int, *, ended: bool) -> Argv:
    """All jobs of a user; ended ones too, until the controller forgets them."""
    return (*_squeue(ended), "--user", str(user))


def squeue_preempted(jobs: Iterable[str]) -> Argv:
    """When tasks of these jobs were told to make room, until the controller forgets them."""
    return (*_squeue(True, PREEMPTED_FIELDS), "--jobs", ",".join(jobs))


def _squeue(ended: bool, fields: Iterable[str] = SQUEUE_FIELDS) -> Argv:
    states = ("--states=all",) if ended else ()
    return ("squeue", "--noheader", *states, "--Format", _columns(fields))


def sinfo() -> Argv:
    """A line a node and partition, hidden ones too."""
    return ("sinfo", "--all", "--noheader", "--Node", "--Format", _columns(SINFO_FIELDS))


def _columns(fields: Iterable[str]) -> str:
    return ",".join(f"{field}:|" for field in fields)


def scancel(job: str, indices: Iterable[int] | None) -> Argv:
    """Cancel an array, or these tasks of it."""
    if indices is None:
        return ("scancel", job)
    return ("scancel", *(f"{job}_[{part}]" for part in _parts(sorted(indices))))


_LONGEST_PART = 1000


def _parts(indices: Sequence[int]) -> Iterator[str]:
    """Ranges without steps, which scancel cannot read (seen), in texts that are not too long."""
    text = ""
    for part in compress(indices).parts:
        wide = part.step == 1 and len(part) > 1
        for word in (f"{part[0]}-{part[-1]}",) if wide else map(str, part):
            if len(text) + len(word) >= _LONGEST_PART:
                yield text
                text = ""
            text = f"{text},{word}" if text else word
    if text:
        yield text


def throttle(job: str, limit: int | None) -> Argv:
    """Set how many tasks of an array run at once; 0 takes the limit away."""
    return ("scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={limit or 0}")


def hold(job: str) -> Argv:
    """Let no task of an array start that has not started (scontrol(1), ``hold``)."""
    return ("scontrol", "hold", job)


def release(job: str) -> Argv:
    """Let held tasks start again."""
    return ("scontrol", "release", job)


def associations(user: str) -> Argv:
    """The limits of a user, a line an association."""
    fields = ",".join(LIMIT_FIELDS)
    return ("sacctmgr", "-nP", "show", "user", f"name={user}", "withassoc", f"format={fields}")


def qos() -> Argv:
    """The limits of every quality of service."""
    return ("sacctmgr", "-nP", "show", "qos", f"format={','.join(QOS_FIELDS)}")


def qos_flags() -> Argv:
    """The flags of every quality of service."""
    return ("sacctmgr", "-nP", "show", "qos", "format=Flags")
