"""Slurm's words for the states of jobs, and why one is pending: the only place that knows them.

Source: sacct(1) and squeue(1), JOB STATE CODES. Accounting knows base states; squeue prints
some flags in their place. New words come with new releases: they are UNKNOWN, and their text is
kept beside the state.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from slurmslice.states import State

_BASE = {
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
    "CONFIGURING": State.RUNNING,  # has its nodes, which are being made ready
    "EXPEDITING": State.PENDING,
    "REQUEUED": State.PENDING,
    "REQUEUE_FED": State.PENDING,
    "REQUEUE_HOLD": State.PENDING,
    "RESIZING": State.RUNNING,
    "RESV_DEL_HOLD": State.PENDING,
    "SIGNALING": State.RUNNING,
    "SPECIAL_EXIT": State.PENDING,  # put back into the queue, held
    "STOPPED": State.SUSPENDED,
}
# How these ended squeue does not say; they may even be on their way back into the queue (seen).
_LEAVING = frozenset({"COMPLETING", "STAGE_OUT"})
_WORDS = {**_BASE, **_FLAGS, **dict.fromkeys(_LEAVING, State.RUNNING)}


def parse_state(word: str) -> State:
    """The state that a word of sacct or squeue stands for; UNKNOWN for a word we do not know.

    ``CANCELLED by 1000`` names who did it.
    """
    return _WORDS.get(word.partition(" by ")[0].strip(), State.UNKNOWN)


def is_completing(word: str) -> bool:
    """Whether the job has ended, or was ended, and its nodes are being cleaned."""
    return word in _LEAVING


@dataclass(frozen=True, slots=True)
class BlockingReason:
    """Why a task is pending and will not start by itself.

    Attributes:
        word: Slurm's reason.
        why: the same in words.
        options: what to ask for in its place; empty where another request is of no use.
        instead: what to do then; ``{job}`` in it is its array's job id.
    """

    slurm_reason: str
    explanation: str
    options_to_change: str = ""
    advice: str = ""


# squeue(1), JOB REASON CODES; names of limits: src/common/slurm_protocol_defs.c.
_HITCHES = (
    (r"PartitionTimeLimit", "asks for more time than its partition allows", "-t TIME", ""),
    (r"(?:Assoc|QOS)MaxWall\w*", "asks for more time than its account allows", "-t TIME", ""),
    (r"PartitionNodeLimit", "asks for nodes that its partition does not allow", "-N NODES", ""),
    (r"(?:Assoc|QOS)M(?:ax|in)\w*(?:Per(?:Job|Node)\w*|NotSatisfied)",
     "asks for more or less than its account allows a job", "-c CPUS --mem SIZE", ""),
    (r"BadConstraints", "asks for what no node has", "-C FEATURES", ""),
    (r"DependencyNeverSatisfied", "waits for a job that did not end so", "-d DEPENDENCY", ""),
    (r"(?:InvalidAccount|AccountNotAllowed)", "may not run there", "-A ACCOUNT", ""),
    (r"(?:InvalidQOS|QOSNotAllowed)", "may not run so", "-q QOS", ""),
    (r"(?:Assoc|QOS)Grp\w*Minutes\w*", "has an account whose time is used up", "-A ACCOUNT", ""),
    # The last two were seen: after scontrol requeuehold, and where a node still had the task when
    # a controller that was restarted wanted to start it.
    (r"(?:JobHeldUser|job requeued in held state|launch failed requeued held)",
     "is held", "", "To let it start: scontrol release {job}"),
    (r"(?:user env retrieval failed|launch failed|launch failure limit exceeded) requeued held",
     "is held, since its node could not start it", "", "To try it again: scontrol release {job}"),
    (r"JobHeldAdmin", "is held by an administrator", "", "Ask who runs the cluster."),
)  # fmt: skip


def find_blocking_reason(text: str) -> BlockingReason | None:
    """What keeps a task pending for good, by the reason in a text; None where it may pass."""
    for pattern, *told in _HITCHES:
        match = re.search(rf"\b{pattern}\b", text)
        if match:
            return BlockingReason(match[0], *told)
    return None
