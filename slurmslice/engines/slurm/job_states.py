"""Slurm's texts for job states and pending reasons. Pure; no other module knows these texts.

Source: sacct(1) and squeue(1), JOB STATE CODES. Accounting prints base states; squeue replaces
some of them by flags. A state of a newer release is UNKNOWN here; its text is kept beside it.
"""

from __future__ import annotations

import re

from slurmslice.engines.protocol import BlockingReason
from slurmslice.status.states import State

_BASE_STATES = {
    state.value: state
    for state in (
        State.PENDING,
        State.RUNNING,
        State.SUSPENDED,
        State.COMPLETED,
        State.CANCELLED,
        State.FAILED,
        State.TIMEOUT,
        State.NODE_FAIL,
        State.PREEMPTED,
        State.BOOT_FAIL,
        State.DEADLINE,
        State.OUT_OF_MEMORY,
    )
}
_FLAGS = {
    # squeue does not print the final state of such a job. Some of them return to the queue (seen).
    "COMPLETING": State.COMPLETING,
    "CONFIGURING": State.RUNNING,  # its nodes are allocated and being prepared
    "EXPEDITING": State.PENDING,
    "REQUEUED": State.PENDING,
    "REQUEUE_FED": State.PENDING,
    "REQUEUE_HOLD": State.PENDING,
    "RESIZING": State.RUNNING,
    "RESV_DEL_HOLD": State.PENDING,
    "SIGNALING": State.RUNNING,
    "SPECIAL_EXIT": State.PENDING,  # requeued and held
    "STAGE_OUT": State.COMPLETING,  # it has ended, and its files are copied
    "STOPPED": State.SUSPENDED,
}
_STATES = {**_BASE_STATES, **_FLAGS}


def parse_state(text: str) -> State:
    """Convert a state text of sacct or squeue; UNKNOWN for a text not listed here.

    ``CANCELLED by 1000`` is CANCELLED; the number is the user's id.
    """
    return _STATES.get(text.partition(" by ")[0].strip(), State.UNKNOWN)


# squeue(1), JOB REASON CODES; names of limits: src/common/slurm_protocol_defs.c.
_BLOCKING_REASONS = (
    (r"PartitionTimeLimit", "requests more time than its partition allows", "-t TIME", ""),
    (r"(?:Assoc|QOS)MaxWall\w*", "requests more time than its account allows", "-t TIME", ""),
    (r"PartitionNodeLimit", "requests more or fewer nodes than its partition allows",
     "-N NODES", ""),
    (r"(?:Assoc|QOS)M(?:ax|in)\w*(?:Per(?:Job|Node)\w*|NotSatisfied)",
     "requests more or less than its account allows per job", "-c CPUS --mem SIZE", ""),
    (r"BadConstraints", "requests features that no node has", "-C FEATURES", ""),
    (r"DependencyNeverSatisfied", "has a dependency that can never be satisfied",
     "-d none", ""),
    (r"(?:InvalidAccount|AccountNotAllowed)", "has an account that is not allowed here",
     "-A ACCOUNT", ""),
    (r"(?:InvalidQOS|QOSNotAllowed)", "has a QOS that is not allowed here", "-q QOS", ""),
    (r"(?:Assoc|QOS)Grp\w*Minutes\w*", "has an account with no time left", "-A ACCOUNT", ""),
    # The last two were seen: "job requeued" after scontrol requeuehold; "launch failed" after a
    # restarted controller tried to start a task still present on its node.
    (r"(?:JobHeldUser|job requeued in held state|launch failed requeued held)",
     "is held", "", "To let it start: scontrol release {job}"),
    (r"(?:user env retrieval failed|launch failed|launch failure limit exceeded) requeued held",
     "is held, because its node could not start it", "",
     "To try it again: scontrol release {job}"),
    (r"JobHeldAdmin", "is held by an administrator", "", "Ask the cluster's administrators."),
)  # fmt: skip


def find_blocking_reason(text: str) -> BlockingReason | None:
    """Find the blocking reason in a text of Slurm's; None if the task may still start."""
    for pattern, *rest in _BLOCKING_REASONS:
        match = re.search(rf"\b{pattern}\b", text)
        if match:
            return BlockingReason(match[0], *rest)
    return None
