"""Parse the result of one sbatch: accepted, refused for good, refused for now, or unknown. Pure.

Sources: sbatch(1), ``--parsable``; the texts of ``src/common/slurm_errno.c``. A submission
counts as unknown unless its refusal is certain: a look-up costs little, a false "refused" runs
the slices twice.
"""

from __future__ import annotations

import re

from slurmslice.engines.protocol import SubmitResult
from slurmslice.engines.slurm.pending_reasons import find_blocking_reason
from slurmslice.errors import (
    SubmissionRejectedError,
    SubmissionUnclearError,
    SubmissionUnknownError,
    SubmitLimitError,
    TooManyTasksError,
)
from slurmslice.notes import Note
from slurmslice.system.process import ProgramResult

_PARSABLE = re.compile(r"(\d{1,10})(?:;(\S+))?", re.ASCII)
_SENTENCE = re.compile(r"Submitted batch job (\d{1,10})(?: on cluster (\S+))?", re.ASCII)

# slurmctld may have got the request; sbatch did not get its answer.
_LOST_ANSWER = (
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
# Slurm refused, or was not reached at all, and may accept the same request later.
_NOT_NOW = (
    "Unable to contact slurm controller",
    "Protocol authentication error",
    "System submissions disabled",
    "in standby mode",
)
# The texts without "Limit" come at MaxJobCount, after sbatch has tried again for 120 s.
_SUBMIT_LIMIT = re.compile(
    r"\b(?:Assoc|QOS)\w*Submit\w*Limit\b|temporarily unable to accept job"
    r"|Resource temporarily unavailable"
)
_ASSOCIATIONS = "`sacctmgr show associations user=$USER` lists what you may use."
_DOCTOR = "`slurmslice doctor` shows this cluster's limits."
# A pattern of Slurm's text, options to change, a hint. The first match counts.
_SUGGESTIONS = (
    (
        r"unrecognized option|invalid option",
        "",
        "Leave the option out. If script.sh has it, remove its #SBATCH line.",
    ),
    (r"invalid account|account specified", "-A ACCOUNT", _ASSOCIATIONS),
    (r"invalid qos|qos specified", "-q QOS", _ASSOCIATIONS),
    # Slurm prints this text for any limit if it does not name the limit.
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
    (r"feature", "-C FEATURES", "`sinfo -o '%N %f'` lists the features of the nodes."),
    (r"\(gres\)|generic resource", "--gres GRES", "`sinfo -o '%N %G'` lists the nodes' GRES."),
    (r"dependency", "-d none", "`-d none` drops the dependency; `-d DEPENDENCY` gives another."),
    (r"reservation", "--reservation NAME", "`scontrol show reservation` lists them."),
    (r"node configuration", "-c CPUS --mem SIZE", _DOCTOR),
    (r"partition", "-p PARTITION", "`sinfo -s` lists the partitions."),
    (r"job array", "", "`slurmslice doctor` shows MaxArraySize: the highest index is one less."),
)


def suggest_change(text: str) -> tuple[str, str]:
    """Suggest a change after a refusal.

    Args:
        text: Slurm's message.

    Returns:
        options to change (``-t TIME``), and a hint; each empty if there is none.
    """
    reason = find_blocking_reason(text)  # refusals and pending jobs name limits alike
    if reason is not None and reason.options_to_change and not reason.may_pass:
        return reason.options_to_change, ""
    found = (rest for pattern, *rest in _SUGGESTIONS if re.search(pattern, text, re.IGNORECASE))
    options, hint = next(found, ("", ""))
    return options, hint


def is_refused_for_now(text: str) -> bool:
    """Tell if Slurm refuses a submission because of the state of the cluster or its queue."""
    return bool(_SUBMIT_LIMIT.search(text)) or any(part in text for part in _NOT_NOW)


def parse_sbatch_result(done: ProgramResult) -> SubmitResult:
    """Parse the answer about an accepted submission.

    Raises:
        SubmissionRejectedError: Slurm refused the submission for good; the message holds Slurm's
        text.
        SubmitLimitError: Slurm refused it for now; likewise.
        SubmissionUnknownError: Slurm may have accepted it.
    """
    said = _last_words(done)
    if done.missing:
        raise SubmitLimitError(
            f"sbatch cannot be started here: {said}",
            "Load the cluster's slurm module.",
            code="slurm-command-not-found",
            command="sbatch",
        )
    if done.timed_out:
        raise SubmissionUnknownError(f"sbatch did not answer in time. {said}".rstrip(), said=said)
    if done.returncode == 0:
        return _parse_receipt(done)
    if (done.returncode or 0) < 0:
        raise SubmissionUnknownError(
            f"sbatch was ended by signal {-(done.returncode or 0)}. {said}".rstrip(), said=said
        )
    raise _parse_refusal(done, said)


def _last_words(done: ProgramResult) -> str:
    return (done.stderr.strip() or done.stdout.strip())[-2000:]


def _parse_receipt(done: ProgramResult) -> SubmitResult:
    """Parse the line with the job id; all other lines (of a site's wrapper) become notes."""
    lines = [line.strip() for line in done.stdout.split("\n") if line.strip()]
    matches = {line: _PARSABLE.fullmatch(line) or _SENTENCE.fullmatch(line) for line in lines}
    found = {match.groups() for match in matches.values() if match}
    if len(found) > 1:
        raise SubmissionUnknownError(f"sbatch printed several job ids: {done.stdout[-500:]!r}")
    if not found:
        said = _last_words(done)
        raise SubmissionUnclearError(f"sbatch exited 0 and printed no job id: {said}", said=said)
    job, cluster = found.pop()
    notes = [line for line in lines if not matches[line]]
    notes += [line for line in done.stderr.split("\n") if line.strip()]
    return SubmitResult(str(job), cluster, tuple(Note("sbatch-said", line) for line in notes))


def _parse_refusal(
    done: ProgramResult, said: str
) -> SubmissionRejectedError | SubmitLimitError | SubmissionUnknownError:
    text = f"{done.stderr}\n{done.stdout}"
    if any(part in text for part in _LOST_ANSWER) or _PARSABLE.fullmatch(done.stdout.strip()):
        return SubmissionUnknownError(f"Slurm's answer was lost: {said}", said=said)
    if _SUBMIT_LIMIT.search(text):
        return TooManyTasksError(
            f"Slurm accepts no more tasks for now: {said}",
            "The limit counts each array task that has not ended.",
            said=said,
        )
    if any(part in text for part in _NOT_NOW):
        return SubmitLimitError(
            f"Slurm accepts no submissions now: {said}",
            "Nothing was submitted; try again later.",
            code="slurm-unavailable",
            said=said,
        )
    # getopt_long(3) reports a wrong option under the path of the program (seen).
    if not re.search(r"^(?:(?:/\S*/)?sbatch: |allocation failure: )", text, re.MULTILINE):
        return SubmissionUnclearError(
            f"sbatch exited {done.returncode} with an unknown message: {said}", said=said
        )
    return SubmissionRejectedError(
        f"Slurm refused the submission: {said}", suggest_change(text)[1], said=said
    )
