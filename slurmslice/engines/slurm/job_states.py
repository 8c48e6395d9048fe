"""Slurm's texts for job states. Pure; no other module knows these texts.

Source: sacct(1) and squeue(1), JOB STATE CODES. Accounting prints base states; squeue replaces
some of them by flags. A state of a newer release is UNKNOWN here; its text is kept beside it.
"""

from __future__ import annotations

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
