"""The causes after which a slice continues from its checkpoint."""

from __future__ import annotations

import pytest

from slurmslice.errors import BadInputError
from slurmslice.policy.continue_on import continues_after, parse_continue_on
from slurmslice.policy.ladder import RepairPolicy, attempts_used, next_step
from slurmslice.policy.repair_rules import StepKind
from tests.support.errors import raises_error


@pytest.mark.parametrize(
    ("text", "usual"),
    [("timeout", "timeout"), ("", ""), (" timeout , exit:85 ", "timeout,exit:85"),
     ("exit:85-85,exit:85", "exit:85"), ("quota,check", "quota,check")],
)  # fmt: skip
def test_a_list_has_one_usual_form(text: str, usual: str) -> None:
    """Blanks and doubled causes do not count."""
    assert parse_continue_on(text) == usual


@pytest.mark.parametrize("text", ["time", "timeout,", ",", "timeout;check", "exit:0", "signal:X"])
def test_a_wrong_cause_is_refused(text: str) -> None:
    """As in a rule of ``--on``."""
    with raises_error(BadInputError, "unknown-cause"):
        parse_continue_on(text)


def test_a_persons_own_cause_is_known() -> None:
    """A named cause of the run."""
    assert parse_continue_on("licence", ("licence=no licence",)) == "licence"


@pytest.mark.parametrize(
    ("continue_on", "cause", "continues"),
    [("timeout", "timeout", True), ("timeout", "hang", True), ("hang", "timeout", False),
     ("timeout", "oom", False), ("exit:80-89", "exit:85", True), ("exit:85", "exit:86", False),
     ("failed", "exit:3", True), ("signal:SEGV", "exit:139", True), ("check", "check", True),
     ("failed", "check", False), ("", "timeout", False)],
)  # fmt: skip
def test_which_failures_continue(continue_on: str, cause: str, continues: bool) -> None:
    """The words mean what they mean in rules; ``timeout`` covers ``hang``."""
    assert continues_after(continue_on, cause) is continues


def test_continuations_use_no_attempt_and_no_rung() -> None:
    """The ladder begins where it was."""
    policy = RepairPolicy(2, retry=True, on=("exit:3=--mem=2x; leave",))
    earlier = ["continue:exit:3"] * 9
    assert attempts_used(earlier) == 0
    step = next_step(policy, "exit:3", earlier)
    assert getattr(step, "kind", None) is StepKind.CHANGE
