"""Slurm's words for the states of jobs: the only place that knows them.

Source: sacct(1) and squeue(1), JOB STATE CODES. Accounting knows base states; squeue prints
some flags in their place. New words come with new releases: they are UNKNOWN, and their text is
kept beside the state.
"""

from __future__ import annotations

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


def state_of(word: str) -> State:
    """The state that a word of sacct or squeue stands for; UNKNOWN for a word we do not know.

    ``CANCELLED by 1000`` names who did it.
    """
    return _WORDS.get(word.partition(" by ")[0].strip(), State.UNKNOWN)


def is_leaving(word: str) -> bool:
    """Whether the job has ended, or was ended, and its nodes are being cleaned."""
    return word in _LEAVING
