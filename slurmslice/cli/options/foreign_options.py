"""Options of other programs, and slurmslice's words with their meaning. Pure."""

from __future__ import annotations

_AT_ONCE = "--throttle N", "at most N slices run at once; `-a 0-98%N` is the same"
_ATTEMPTS = "--max-attempts N", "a failed slice gets up to N attempts (`run`)"
_PACK = "--pack K", "K slices run one after another in each array task"
_FAILURES = "--max-failures N", "the rest is held after N failures; `none` never holds it"
_CONTINUE = "slurmslice run RUN", "a run continues; `slurmslice resubmit RUN` repeats failures"
_LOGS = "slurmslice logs RUN KEY", "it shows the log of each slice"
_RECORD = "slurmslice status RUN --slices", "one line per slice; `--json` for programs"
_TIME = "-t TIME", "the time limit of a slice"
_CPUS = "-c N", "the CPUs of a slice"
_MEMORY = "--mem SIZE", "the memory of a slice"
_DRY_RUN = "--dry-run", "nothing is done"
_SLICES = "--slices-from FILE", "one slice per line"
_LOCAL = "--engine local", "the slices run on this machine"
_CLUSTER = "--engine slurm", "the slices run on the cluster"
_FAILED = "--state FAIL", "all slices that failed"
_FOLLOW = "slurmslice logs RUN KEY -f", "new output until the slice has ended"
_CANCEL = "slurmslice cancel RUN [KEY]", "all slices that have not ended, or these"

_MEANT: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        ("-j", "-P", "jobs", "njobs", "maxjobs", "maxprocs", "maxparallel", "parallel", "workers"),
        _AT_ONCE,
    ),
    **dict.fromkeys(("concurrency", "maxconcurrent", "maxworkers", "limit"), _AT_ONCE),
    **dict.fromkeys(("retries", "retry", "maxretries", "restarttimes", "attempts"), _ATTEMPTS),
    **dict.fromkeys(("chunk", "chunksize", "batchsize", "groupsize", "group", "bundle"), _PACK),
    **dict.fromkeys(("jobspertask", "slicespertask", "taskspertask"), _PACK),
    "taskspernode": (
        "--ntasks-per-node N",
        "the processes of one slice; `--pack K --at-once P` runs several slices in a task",
    ),
    **dict.fromkeys(("halt", "haltonerror", "failfast", "maxfail", "keepgoing"), _FAILURES),
    **dict.fromkeys(("resume", "continue", "resumefailed", "reruntriggers"), _CONTINUE),
    **dict.fromkeys(("rerunincomplete", "rerun", "rerunfailed"), _CONTINUE),
    **dict.fromkeys(("results", "log", "logdir", "logs", "logfile"), _LOGS),
    **dict.fromkeys(("joblog", "statusfile", "report", "details"), _RECORD),
    **dict.fromkeys(("walltime", "timeout", "runtime", "timelimit"), _TIME),
    **dict.fromkeys(("threads", "cpus", "cores", "ncpus"), _CPUS),
    **dict.fromkeys(("memory", "ram", "memfree", "vmem"), _MEMORY),
    **dict.fromkeys(("dry", "dryrun", "printonly", "justprint", "noop"), _DRY_RUN),
    **dict.fromkeys(("argfile", "arglist", "argsfile", "items", "inputs", "filelist"), _SLICES),
    **dict.fromkeys(("depend", "after", "afterok"), ("-d DEPENDENCY", "as sbatch's --dependency")),
    **dict.fromkeys(("local", "localonly", "here", "nocluster", "noslurm"), _LOCAL),
    **dict.fromkeys(("slurm", "cluster", "remote"), _CLUSTER),
    **dict.fromkeys(("failed", "failedonly", "onlyfailed", "failures", "errors", "fail"), _FAILED),
    **dict.fromkeys(("stream", "followlog"), _FOLLOW),
    **dict.fromkeys(("kill", "cancel", "stop", "abort"), _CANCEL),
    "queue": ("-p PARTITION", "the partition"),
    "colsep": ("--sep SEPARATOR", "the separator of a table's columns"),
    "tasks": ("--job-file FILE", "each line of the file is a command"),
    "jobfile": ("--job-file FILE", "each line of the file is a command"),
    "params": ("--grid NAME=VALUES", "every combination is a slice"),
    "sweep": ("--grid NAME=VALUES", "every combination is a slice"),
}


def option_meant(option: str) -> str:
    """Return a question that names our word for an option of another program; empty if none.

    Args:
        option: the typed option, with its dashes and without a value.
    """
    plain = option if len(option) == 2 else option.lstrip("-").replace("-", "").replace("_", "")
    ours, effect = _MEANT.get(plain.lower() if len(option) > 2 else plain, ("", ""))
    return f"Did you mean {ours}? ({effect})" if ours else ""
