"""Build the command lines of Slurm's programs. Pure: nothing is run here.

Each value is a word of its own or follows ``=``; no shell reads it. A field that may hold the
separator is the last one.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from slurmslice.sbatch.array_expression import compress_indices
from slurmslice.sbatch.resource_request import ResourceRequest

Argv = tuple[str, ...]

# sacct(1). Each release from 20.11 to 26.05 has these fields; an unknown field is an error.
TASK_FIELDS = (
    *("JobID", "State", "ExitCode", "DerivedExitCode", "Submit", "Start", "End", "ElapsedRaw"),
    *("AllocCPUS", "ReqMem", "NodeList", "Reason", "JobName"),
)
# Without its steps, sacct prints no memory for a task, and a CPU time of 0 (seen).
STEP_FIELDS = (*TASK_FIELDS[:-1], "MaxRSS", "TotalCPU", "JobName")
# squeue(1), --Format. No width after the colon: the field is as wide as its value.
SQUEUE_FIELDS = (
    *("JobArrayID", "State", "exit_code", "SubmitTime", "StartTime", "EndTime", "RestartCnt"),
    *("NodeList", "Reason", "Name"),
)
PREEMPTED_FIELDS = ("JobArrayID", "PreemptTime", "Name")
WAITING_FIELDS = (
    *("JobArrayID", "State", "SubmitTime", "ExcludedNodes", "Partition", "TimeLimit"),
    *("MinMemory", "Name"),
)
"""The columns of ``squeue_waiting``: --Format cannot show excluded nodes."""
SINFO_FIELDS = ("NodeList", "Partition", "StateLong", "CPUsState", "Memory", "AllocMem")
ASSOCIATION_FIELDS = (
    *("DefaultAccount", "Account", "Partition", "DefaultQOS", "QOS", "GrpTRES", "GrpJobs"),
    *("MaxJobs", "GrpSubmit", "MaxSubmit"),
)
ACCOUNT_FIELDS = ("Account", "ParentName", "GrpTRES", "GrpJobs", "GrpSubmit")
QOS_FIELDS = (
    *("Name", "GrpTRES", "GrpJobs", "MaxTRESPU", "MaxJobsPU", "GrpSubmit", "MaxSubmitPU"),
    "MaxSubmitPA",
)

SBATCH_HELP: Argv = ("sbatch", "--help")
SHOW_CONFIG: Argv = ("scontrol", "show", "config")
SHOW_PARTITIONS: Argv = ("scontrol", "--oneliner", "show", "partition")
# Hidden partitions and those closed to the user's groups too: sbatch knows all of them.
SHOW_ALL_PARTITIONS: Argv = ("scontrol", "--all", "--oneliner", "show", "partition")
SHOW_RESERVATIONS: Argv = ("scontrol", "--oneliner", "show", "reservation")
SHOW_FEDERATION: Argv = ("scontrol", "show", "federation")


def sbatch(script: Path, overrides: ResourceRequest, arguments: Sequence[str]) -> Argv:
    """Submit a script, with options that override its own, and with its arguments."""
    return ("sbatch", "--parsable", *overrides.to_argv(), str(script), *arguments)


def sbatch_test_only(argv: Argv) -> Argv:
    """Test the submission of an sbatch command line (sbatch(1), ``--test-only``)."""
    return (argv[0], "--test-only", *argv[1:])


def scontrol_show_job(job: str) -> Argv:
    """Show the controller's records of a job, one per line."""
    return ("scontrol", "--oneliner", "show", "job", job)


def scontrol_batch_script(job: str) -> Argv:
    """Print the script of a job on stdout."""
    return ("scontrol", "write", "batch_script", job, "-")


def sacct(jobs: Iterable[str], clusters: str | None = None) -> Argv:
    """Query the array tasks of these jobs, one record each, without a limit of time."""
    return (*_sacct(clusters, TASK_FIELDS), "-X", "--jobs", ",".join(jobs))


def sacct_starts(jobs: Iterable[str], clusters: str | None = None) -> Argv:
    """Query all starts of the array tasks of these jobs, also those before a restart."""
    return (*_sacct(clusters, TASK_FIELDS), "-X", "--duplicates", "--jobs", ",".join(jobs))


def sacct_steps(tasks: Iterable[tuple[str, int]], clusters: str | None = None) -> Iterator[Argv]:
    """Query tasks and their steps with memory and CPU time, in one or more commands.

    Records of steps are expensive, so the tasks are named one by one: sacct does not read
    ``1_[2-5]`` (seen on 22.05). If too many tasks of one array are requested, the whole array
    is queried.

    Args:
        tasks: the tasks to query.
        clusters: clusters to ask (``--clusters``); None for the default.
    """
    indices: dict[str, list[int]] = {}
    for job, index in tasks:
        indices.setdefault(job, []).append(index)
    names: list[str] = []
    requested = 0
    for job, some in indices.items():
        if names and requested + len(some) > _MAX_TASKS:
            yield (*_sacct(clusters, STEP_FIELDS), "--jobs", ",".join(names))
            names, requested = [], 0
        names += [job] if len(some) > _MAX_NAMED else [f"{job}_{index}" for index in some]
        requested += len(some)
    if names:
        yield (*_sacct(clusters, STEP_FIELDS), "--jobs", ",".join(names))


_MAX_TASKS = 5000
"""Tasks in one command, so that its answer stays small."""
_MAX_NAMED = 250
"""Tasks of one array named one by one."""


def sacct_by_name(name: str, user: int, since: float, clusters: str | None = None) -> Argv:
    """Query the jobs of a user by name, started or not.

    Accounting changes some characters of a name (seen: a double quote, characters outside
    Latin-1), and a comma separates names. With such a name all jobs of the user are queried.

    Args:
        name: the job name.
        user: the user's id.
        since: epoch seconds; older jobs are left out.
        clusters: clusters to ask (``--clusters``); None for the default.
    """
    start = datetime.fromtimestamp(since).isoformat(timespec="seconds")
    window = ("--starttime", start, "--endtime", "now+10days")
    named = ("--name", name) if re.fullmatch(r"[A-Za-z0-9._@%+=:/ -]+", name) else ()
    return (*_sacct(clusters, TASK_FIELDS), "-X", "--uid", str(user), *window, *named)


def _sacct(clusters: str | None, fields: Iterable[str]) -> Argv:
    # Unlike the other commands, sacct ignores SLURM_CLUSTERS (sacct(1)).
    where = ("--clusters", clusters) if clusters else ()
    columns = ("--format", ",".join(fields))
    return ("sacct", *where, "--noheader", "--parsable2", "--noconvert", *columns)


def squeue(jobs: Iterable[str], *, ended: bool) -> Argv:
    """Query the queue about these jobs.

    Args:
        jobs: job ids.
        ended: include ended tasks, until the controller forgets them.
    """
    return (*_squeue(ended), "--jobs", ",".join(jobs))


def squeue_user(user: int, *, ended: bool) -> Argv:
    """Query the queue about all jobs of a user (a user id). ``ended``: as for ``squeue``."""
    return (*_squeue(ended), "--user", str(user))


def squeue_preempted(jobs: Iterable[str]) -> Argv:
    """Query the preemption times of the tasks of these jobs, until the controller forgets them."""
    return (*_squeue(True, PREEMPTED_FIELDS), "--jobs", ",".join(jobs))


def squeue_waiting(job: str) -> Argv:
    """Query the nodes that each task of an array avoids, and its request, one line per task.

    Without ``--array``, squeue shows the values of one task for several (seen).
    """
    return (
        "squeue",
        "--noheader",
        "--array",
        "--format",
        "%i|%T|%V|%x|%P|%l|%m|%j|",
        "--jobs",
        job,
    )


def _squeue(ended: bool, fields: Iterable[str] = SQUEUE_FIELDS) -> Argv:
    states = ("--states=all",) if ended else ()
    return ("squeue", "--noheader", *states, "--Format", _columns(fields))


def sinfo() -> Argv:
    """Query all nodes, one line per node and partition, hidden partitions included."""
    return ("sinfo", "--all", "--noheader", "--Node", "--Format", _columns(SINFO_FIELDS))


def _columns(fields: Iterable[str]) -> str:
    return ",".join(f"{field}:|" for field in fields)


def scancel(job: str, indices: Iterable[int] | None) -> Argv:
    """Cancel tasks of an array; None for the whole array."""
    if indices is None:
        return ("scancel", job)
    return ("scancel", *(f"{job}_[{text}]" for text in _index_lists(sorted(indices))))


ANNOUNCE = f"--signal={signal.SIGURG.value}"
"""A signal that programs ignore unless they ask for it (signal(7)). Old releases have no name
for it."""


def scancel_announce(job: str, indices: Iterable[int]) -> Argv:
    """Signal the batch scripts of tasks, and no other process of them (scancel(1))."""
    program, *tasks = scancel(job, indices)
    return (program, ANNOUNCE, "--batch", *tasks)


_MAX_LENGTH = 1000
"""Characters of one list of indices."""


def _index_lists(indices: Sequence[int]) -> Iterator[str]:
    """Write sorted indices as short lists without steps: scancel cannot read steps (seen)."""
    text = ""
    for part in compress_indices(indices).parts:
        is_range = part.step == 1 and len(part) > 1
        for word in (f"{part[0]}-{part[-1]}",) if is_range else map(str, part):
            if len(text) + len(word) >= _MAX_LENGTH:
                yield text
                text = ""
            text = f"{text},{word}" if text else word
    if text:
        yield text


def scontrol_throttle(job: str, limit: int | None) -> Argv:
    """Limit the tasks of an array that run at once; None or 0 removes the limit."""
    return ("scontrol", "update", f"JobId={job}", f"ArrayTaskThrottle={limit or 0}")


def scontrol_update(job: str, values: Mapping[str, str]) -> Argv:
    """Change the tasks of an array that have not started, with the words of scontrol(1)."""
    changes = (f"{word}={value}" for word, value in values.items())
    return ("scontrol", "update", f"JobId={job}", *changes)


def scontrol_hostnames(nodes: str) -> Argv:
    """Expand a list of nodes (``n[1-3],m4``), one name per line; no controller is asked."""
    return ("scontrol", "show", "hostnames", nodes)


def scontrol_mail(job: str, subject: str, to: str) -> Argv:
    """Let the end of a running job be mailed, with this text as its name (scontrol(1), ``update``).

    The name stands in the subject of Slurm's mail, which has no text (seen on each release).
    """
    mail = (f"JobName={subject}", "MailType=END,FAIL", f"MailUser={to}")
    return ("scontrol", "update", f"JobId={job}", *mail)


def scontrol_hold(job: str) -> Argv:
    """Hold the tasks of an array that have not started (scontrol(1), ``hold``)."""
    return ("scontrol", "hold", job)


def scontrol_release(job: str) -> Argv:
    """Release held tasks: they may start again."""
    return ("scontrol", "release", job)


def sacctmgr_associations(user: str) -> Argv:
    """Query the limits of a user, one line per association."""
    fields = ",".join(ASSOCIATION_FIELDS)
    return ("sacctmgr", "-nP", "show", "user", f"name={user}", "withassoc", f"format={fields}")


def sacctmgr_accounts(cluster: str) -> Argv:
    """Query the limits of all accounts of a cluster; a limit of an account is not a user's row."""
    fields = ",".join(ACCOUNT_FIELDS)
    where = ("where", f"cluster={cluster}", "user=")
    return ("sacctmgr", "-nP", "show", "assoc", *where, f"format={fields}")


def sacctmgr_qos() -> Argv:
    """Query the limits of each quality of service."""
    return ("sacctmgr", "-nP", "show", "qos", f"format={','.join(QOS_FIELDS)}")


def sacctmgr_qos_flags() -> Argv:
    """Query the flags of each quality of service."""
    return ("sacctmgr", "-nP", "show", "qos", "format=Flags")
