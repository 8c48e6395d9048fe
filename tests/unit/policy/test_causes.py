"""The cause of a failed attempt, from its status alone."""

from __future__ import annotations

import pytest

from slurmslice.policy.causes import CAUSES, cause_of, counts, matching_words
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import State


def failed(
    state: State = State.FAILED, reason: str = "it failed", **facts: float | str | None
) -> SliceStatus:
    """Return the status of a slice that failed."""
    return SliceStatus(state, reason, **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (failed(State.OUT_OF_MEMORY, exit_code=1), "oom"),
        (failed(State.OUT_OF_MEMORY, signal=9), "oom"),
        (failed(State.TIMEOUT, signal=15), "timeout"),
        (failed(State.TIMEOUT, exit_code=3), "timeout"),
        (failed(State.NODE_FAIL, exit_code=1), "node"),
        (failed(State.PREEMPTED, signal=15), "preempted"),
        (failed(State.BOOT_FAIL), "boot"),
        (failed(reason="setup exited 75", exit_code=75), "setup"),
        (failed(reason="its setup exited 1", exit_code=1), "setup"),
        (failed(signal=11, exit_code=1), "signal:SEGV"),
        (failed(exit_code=75), "exit:75"),
        (failed(exit_code=75, log_cause="quota"), "quota"),
        (failed(signal=9, log_cause="cuda-oom"), "cuda-oom"),
        (failed(reason="setup exited 1", exit_code=1, log_cause="no-space"), "no-space"),
        (failed(State.CHECK_FAILED, exit_code=0, log_cause="no-space"), "no-space"),
        (failed(State.OUT_OF_MEMORY, log_cause="memory-error"), "oom"),
        (failed(exit_code=126), "not-executable"),
        (failed(exit_code=127), "not-found"),
        (failed(exit_code=132), "illegal-instruction"),
        (failed(signal=4), "illegal-instruction"),
        (failed(exit_code=137), "exit:137"),
        (failed(State.CHECK_FAILED, exit_code=0), "check"),
        (failed(State.CHECK_FAILED, "exit 0, but a job step exited 3"), "check"),
        (failed(State.DEADLINE), "failed"),
        (failed(), "failed"),
    ],
)
def test_slurms_state_comes_first_then_exit_then_check(status: SliceStatus, cause: str) -> None:
    """Each state, exit and signal has one cause. Exit 137 alone is no proof of memory."""
    assert cause_of(status) == cause


@pytest.mark.parametrize(
    ("elapsed_s", "cpu_s", "cause"),
    [
        (300, 9.9, "hang"),
        (86400, 0, "hang"),
        (300, 10, "timeout"),
        (299, 0, "timeout"),
        (300, None, "timeout"),
        (None, 0, "timeout"),
    ],
)
def test_a_slice_that_did_nothing_until_its_time_limit_hung(
    elapsed_s: float | None, cpu_s: float | None, cause: str
) -> None:
    """More time would only make the hang longer. An unknown CPU time shows no hang."""
    assert cause_of(failed(State.TIMEOUT, elapsed_s=elapsed_s, cpu_s=cpu_s)) == cause
    assert cause_of(failed(exit_code=1, elapsed_s=elapsed_s, cpu_s=cpu_s)) == "exit:1"


@pytest.mark.parametrize("state", [state for state in State if not state.failed])
def test_only_a_failure_has_a_cause(state: State) -> None:
    """A slice that runs, waits, is done or was cancelled has no cause, whatever its exit code."""
    assert cause_of(failed(state, exit_code=1, signal=9)) == ""


def test_every_failed_state_has_a_cause() -> None:
    """No failure is without a word that a rule can name."""
    for state in State:
        if state.failed:
            assert matching_words(cause_of(failed(state)))[-1] in CAUSES


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("exit:75", ("exit:75", "failed")),
        ("exit:139", ("exit:139", "signal:SEGV", "failed")),
        ("signal:KILL", ("signal:KILL", "failed")),
        ("check", ("check",)),
        ("quota", ("quota",)),
        ("not-found", ("not-found", "exit:127")),
        ("illegal-instruction", ("illegal-instruction", "exit:132", "signal:ILL")),
        ("oom", ("oom",)),
    ],
)
def test_the_words_that_name_a_cause(cause: str, words: tuple[str, ...]) -> None:
    """``failed`` names exits and signals too, and nothing that Slurm or a check decided."""
    assert matching_words(cause) == words


def test_only_what_the_slice_did_counts() -> None:
    """A node, a preemption and a boot failure use up no attempt."""
    uncounted = {cause for cause in CAUSES if not counts(cause)}
    assert uncounted == {"node", "preempted", "boot", "bad-node"}
    assert counts("exit:75")
    assert counts("signal:KILL")
