"""What became of an sbatch: taken, refused for good, refused for now, or not known. Pure.

Sources: sbatch(1), ``--parsable``; the texts of ``src/common/slurm_errno.c``. What is not
known to mean "not taken" is in doubt: a doubt costs a look-up, a mistake costs a second run.
"""

from __future__ import annotations

import re

from slurmslice.engines import Receipt
from slurmslice.engines.slurm.job_states import find_blocking_reason
from slurmslice.errors import Full, Refused, TooMany, Unsure
from slurmslice.process import Finished

_JOB = re.compile(r"(\d{1,10})(?:;(\S+))?", re.ASCII)
_TALKATIVE = re.compile(r"Submitted batch job (\d{1,10})(?: on cluster (\S+))?", re.ASCII)

# The request may have reached slurmctld; its answer did not reach sbatch.
_IN_DOUBT = (
    "Socket timed out",
    "Zero Bytes were transmitted or received",
    "send failure",
    "receive failure",
    "shutdown failure",
    "Unexpected message received",
    "Header lengths are longer",
    "Incomplete packet",
    "Connection reset",
    "Broken pipe",
)
# Slurm said no, or was not reached at all, and may say yes at another time.
_FOR_NOW = (
    "Unable to contact slurm controller",
    "Protocol authentication error",
    "System submissions disabled",
    "in standby mode",
)
# The second is what sbatch says when MaxJobCount is reached (it has tried again for 120 s).
_TOO_MANY = re.compile(
    r"\b(?:Assoc|QOS)\w*Submit\w*Limit\b|temporarily unable to accept job"
    r"|Resource temporarily unavailable"
)
_ASSOCIATIONS = "`sacctmgr show associations user=$USER` lists what you may use."
_DOCTOR = "`slurmslice doctor` shows what there is."
# What a refusal speaks of, what to give in its place, and where to look; the first that fits.
_REMEDIES = (
    (r"invalid account|account specified", "-A ACCOUNT", _ASSOCIATIONS),
    (r"invalid qos|qos specified", "-q QOS", _ASSOCIATIONS),
    # Without the name of a limit: its own words speak of all of them.
    (r"accounting/QOS policy", "-q QOS", _ASSOCIATIONS),
    (
        r"time limit|--time",
        "-t TIME",
        "`slurmslice doctor` shows the partitions' limits.",
    ),
    (r"--distribution", "--mem SIZE", "-m is --distribution; memory is --mem."),
    (r"memory", "--mem SIZE", _DOCTOR),
    (r"cpu count|processors|\bCPUs\b", "-c CPUS", _DOCTOR),
    (r"node count", "-N NODES", _DOCTOR),
    (r"node name", "-w NODES", "`sinfo -N` lists the nodes."),
    (r"feature", "-C FEATURES", "`sinfo -o '%N %f'` lists what nodes have."),
    (r"\(gres\)|generic resource", "--gres GRES", "`sinfo -o '%N %G'` lists what nodes have."),
    (r"dependency", "-d DEPENDENCY", ""),
    (r"reservation", "--reservation NAME", "`scontrol show reservation` lists them."),
    (r"node configuration", "-c CPUS --mem SIZE", _DOCTOR),
    (r"partition", "-p PARTITION", "`sinfo -s` lists the partitions."),
    (r"job array", "", "`slurmslice doctor` shows MaxArraySize: the highest index is one less."),
)


def suggest_change(said: str) -> tuple[str, str]:
    """What to ask for after a refusal, and where to look what may be asked for; empty: not known.

    Args:
        said: Slurm's own words.
    """
    blocking = find_blocking_reason(
        said
    )  # of a limit it says the name, as it does of a job that is pending
    if blocking is not None and blocking.options_to_change:
        return blocking.options_to_change, ""
    found = (told for words, *told in _REMEDIES if re.search(words, said, re.IGNORECASE))
    options, hint = next(found, ("", ""))
    return options, hint


def parse_sbatch_result(done: Finished) -> Receipt:
    """The receipt of a submission that was taken.

    Raises:
        Refused: for good, with Slurm's own words.
        Full: for now, likewise.
        Unsure: it may have been taken.
    """
    said = (done.stderr.strip() or done.stdout.strip())[-2000:]
    if done.missing:
        raise Full(
            f"sbatch cannot be started here: {said}",
            "Load the cluster's slurm module.",
            code="slurm-command-not-found",
            command="sbatch",
        )
    if done.timed_out:
        raise Unsure(f"sbatch did not answer in time. {said}".rstrip())
    if done.returncode == 0:
        return _receipt(done)
    if (done.returncode or 0) < 0:
        raise Unsure(f"sbatch was ended by signal {-(done.returncode or 0)}. {said}".rstrip())
    raise _refusal(done, said)


def _receipt(done: Finished) -> Receipt:
    """The job id out of sbatch's own line, and the lines of a site's wrapper as notes."""
    lines = [line.strip() for line in done.stdout.split("\n") if line.strip()]
    matches = {line: _JOB.fullmatch(line) or _TALKATIVE.fullmatch(line) for line in lines}
    found = {match.groups() for match in matches.values() if match}
    if len(found) != 1:
        raise Unsure(f"sbatch ended well, but did not tell a job id: {done.stdout[-500:]!r}")
    job, cluster = found.pop()
    notes = [line for line in lines if not matches[line]]
    notes += [line for line in done.stderr.split("\n") if line.strip()]
    return Receipt(str(job), cluster, tuple(notes))


def _refusal(done: Finished, said: str) -> Refused | Full | Unsure:
    text = f"{done.stderr}\n{done.stdout}"
    if any(words in text for words in _IN_DOUBT) or _JOB.fullmatch(done.stdout.strip()):
        return Unsure(f"Slurm's answer was lost: {said}")
    if _TOO_MANY.search(text):
        return TooMany(
            f"Slurm takes no more for now: {said}",
            "The limit counts every task of an array that has not ended.",
        )
    if any(words in text for words in _FOR_NOW):
        return Full(
            f"Slurm takes nothing now: {said}",
            "Nothing was submitted; try again later.",
            code="slurm-unavailable",
        )
    # Of an option that is wrong getopt_long(3) speaks, by the path that it was called by (seen).
    if not re.search(r"^(?:(?:/\S*/)?sbatch: |allocation failure: )", text, re.MULTILINE):
        return Unsure(f"This is not how sbatch refuses (exit {done.returncode}): {said}")
    return Refused(f"Slurm refused the submission: {said}", suggest_change(text)[1])
