"""``explain``: the life of a slice on the fake cluster; every attempt and every source is told."""

from __future__ import annotations

from typing import Any

import pytest

from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

LINE = ("--name", "x", "--mem", "4G", "--retry")


def explained(typed: Typed, *keys: str) -> list[dict[str, Any]]:
    """Return the explanations of slices."""
    found: list[dict[str, Any]] = typed.json("explain", "x", *keys)
    assert typed.code == 0
    return found


@pytest.fixture
def repaired(typed: Typed, engine: FakeEngine) -> Typed:
    """A run of three slices; the first one failed twice and runs with 16G."""
    typed("run", "-a", "0-2", *LINE, "--", "./x", "--seed", "{}")
    for node in ("n3", "n7"):
        engine.end(list(engine.jobs)[-1], 0, State.OUT_OF_MEMORY, node=node)
        typed("tick", "x")
    return typed


def test_each_attempt_has_its_request_its_node_and_its_end(repaired: Typed) -> None:
    """The ladder, the command, and what the policy does."""
    (found,) = explained(repaired, "0")
    assert [(one["end"], one["request"]["mem"], one["node"]) for one in found["attempts"]][:2] == [
        ("oom", "4G", "n3"), ("oom", "8G", "n7"),
    ]  # fmt: skip
    assert found["attempts"][2]["request"]["mem"] == "16G"
    assert found["ladder"].startswith("4G oom (n3) → 8G oom (n7) → 16G ")
    assert found["command"] == "./x --seed 0"


def test_a_failure_that_stays_is_explained(repaired: Typed, engine: FakeEngine) -> None:
    """Another failure is left; the text on paper says the same as the data."""
    engine.end("100", 1, State.FAILED, exit_code=3)
    (found,) = explained(repaired, "1")
    assert (found["state"], found["attempts"][0]["end"]) == ("FAILED", "exit:3")
    assert found["repair"].startswith("exit:3: left")
    assert "FAILED" in found["evidence"]["accounting"]
    assert ["slurmslice", "resubmit", "x", "1"] in found["next"]
    shown = repaired("explain", "x", "1")
    told = (*map(" ".join, found["next"]), found["evidence"]["queue"], found["repair"])
    assert [text for text in told if text not in shown] == []


def test_slices_that_wait_and_that_run(typed: Typed, engine: FakeEngine) -> None:
    """A slice without an attempt has no evidence; several are told in the order of the table."""
    typed("render", "-a", "0-2", *LINE, "--", "true", "{}")
    found = explained(typed, "2", "0")
    assert [one["key"] for one in found] == ["0", "2"]
    assert [one["state"] for one in found] == ["WAITING"] * 2
    assert [one["attempts"] for one in found] == [[], []]
    assert found[0]["evidence"] is None
    assert found[0]["next"] == [["slurmslice", "run", "x"]]
    assert typed("explain", "x", "2").startswith("2: WAITING")


def test_a_silent_source_is_named(repaired: Typed, engine: FakeEngine) -> None:
    """Accounting does not answer: that is said, and the rest is told."""
    engine.silence = "slurmdbd is down"
    (found,) = explained(repaired, "1")
    assert "slurmdbd" in found["evidence"]["accounting"]
    assert found["state"] == "PENDING"


def test_the_end_of_a_log_cannot_write_to_the_terminal(typed: Typed, engine: FakeEngine) -> None:
    """Escape sequences in a log are shown as text; only the last lines are."""
    typed("run", "-a", "0-1", *LINE, "--", "./x", "{}")
    engine.end("100", 0, State.FAILED, exit_code=1)
    logs = typed.folder / "runs/x/submissions/001/logs"
    text = b"".join(b"line %d\n" % n for n in range(99)) + b"\x1b[2Jbad\xff\n"
    (logs / "0.log").write_bytes(text)
    shown = typed("explain", "x", "0")
    assert "\x1b" not in shown
    assert "line 98" in shown
    assert "line 80" not in shown


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "missing-slice"),
        (("x",), "missing-slice"),
        (("x", "9"), "unknown-slice"),
        (("nowhere", "1"), "no-such-run"),
    ],
)
def test_a_slice_must_be_named(repaired: Typed, words: tuple[str, ...], code: str) -> None:
    """Words that name no slice are refused."""
    repaired("explain", *words)
    assert repaired.code == 2
    assert repaired.error == code
