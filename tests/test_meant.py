"""What is meant by a slip, and by what other programs would understand: it is named."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from slurmslice.evidence import TaskReport
from slurmslice.run import Run
from slurmslice.slices import SliceTable
from slurmslice.states import State
from slurmslice.users import user_name
from slurmslice.verbs.submit import submit, waiting
from tests.fakes import FakeEngine
from tests.typed import Typed

NewRun = Callable[..., Run]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("rerun", "resubmit?"),
        ("retry", "resubmit?"),
        ("kill", "cancel?"),
        ("list", "runs?"),
        ("remove", "rm -r slurmslice-runs/RUN ("),
        ("delete", "rm -r slurmslice-runs/RUN ("),
        ("statsu", "status?"),
    ],
)
def test_the_verb_that_is_meant_is_named(typed: Typed, word: str, meant: str) -> None:
    """Words of other programs, and misspelt ones."""
    assert f"There is no verb {word!r}. Did you mean {meant}" in typed(word, "x")
    assert typed.code == 2


@pytest.mark.parametrize(
    ("word", "meant"),
    [("CANCELED", "CANCELLED"), ("FAILLED", "FAILED"), ("oom", "OUT_OF_MEMORY"), ("xyz", "")],
)
def test_the_state_that_is_meant_is_named(typed: Typed, word: str, meant: str) -> None:
    """Misspelt, or by its initials; the list has the word for all failures too."""
    said = typed("status", "--state", word)
    assert typed.code == 2
    assert f"There is no state {word.upper()!r}." in said
    assert f"Did you mean {meant}? States: " in said if meant else "Did you mean" not in said
    assert "UNKNOWN; FAIL is all failures." in said


@pytest.mark.parametrize("options", [("--mem", "4.5G"), ("--time", "1h")])
def test_a_multiple_is_offered_where_there_is_something_to_multiply(
    new_run: NewRun, typed: Typed, options: tuple[str, str]
) -> None:
    """By verbs that change a request; a new run has none yet."""
    new_run("0-3")
    assert "Twice what a slice had is 2x." in typed("resubmit", "demo", *options)
    assert "Twice what a slice had is 2x." in typed("run", "demo", *options)
    said = typed("run", "-a", "0-3", *options, "--", "true", "{}")
    assert "Write " in said
    assert "2x" not in said


def test_a_slice_of_an_older_run_is_recognised(typed: Typed) -> None:
    """The newest run has no such slice; what is a slice of none is said to come after its run."""
    for name, slices in (("one", "0-9"), ("two", "0-3")):
        typed("render", "-a", slices, "--name", name, "--", "true", "{}")
    os.utime(typed.folder / "runs/one/run.json", (1, 1))
    assert "Is it a slice? slurmslice cancel two -- 2" in typed("cancel", "2")
    assert "Is it a slice? slurmslice cancel one -- 7" in typed("cancel", "7")
    assert "Are these slices? slurmslice cancel two -- 2 3" in typed("cancel", "2", "3")
    assert "Are these slices? slurmslice logs one -- 7 2" in typed("logs", "7", "2")
    assert "Slices are named after their run." in typed("cancel", "12")
    assert "Slices are named" not in typed("watch", "12")


def test_where_no_run_is_the_way_to_those_elsewhere_is_named(typed: Typed) -> None:
    """Once there are any."""
    assert "slurmslice runs" not in typed("status")
    typed("render", "-a", "0-3", "--name", "x", "--run-dir", "far/x", "--", "true", "{}")
    assert "There is no run here." in typed("status")
    assert "`slurmslice runs` lists those that you made elsewhere." in typed("status")
    assert "far" in typed("runs")


def test_slices_are_named_by_patterns() -> None:
    """As a shell has them; a key that looks like one is itself."""
    table = SliceTable(["lr=0.1,s=0", "lr=0.1,s=1", "lr=1,s=0", "a*", "ab"])
    assert table.select(["lr=0.1,*"]) == [0, 1]
    assert table.select(["lr=*,s=0", "a[b]"]) == [0, 2, 4]
    assert table.select(["a*"]) == [3]
    assert table.select(["a?"]) == [3, 4]


def test_a_pattern_that_matches_nothing_is_no_slice(new_run: NewRun, typed: Typed) -> None:
    """Nothing is done; how slices are named is said."""
    new_run("0-3")
    said = typed("cancel", "demo", "x*")
    assert typed.code == 2
    assert "There is no slice 'x*' among the 4 of this run." in said
    assert "such as '0'; '*' in a name is any text" in said


def test_who_cancelled_has_a_name(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """Not the number that sacct gives; that of nobody here stays one."""
    submit(new_run("0-3"), waiting(None), {}, "submit")
    for index, uid in enumerate((0, 4_000_000_000)):
        report = TaskReport(State.CANCELLED, f"CANCELLED by {uid}")
        engine.jobs["100"].tasks[index] = report
    said = typed("status", "demo")
    assert f"cancelled by user {user_name(0)} (1)" in said
    assert user_name(0) != "0"
    assert "cancelled by user 4000000000 (1)" in said


def test_reasons_that_are_not_shown_are_counted(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The most frequent three, how many have others, and what shows them."""
    submit(new_run("0-9"), waiting(None), {}, "submit")
    for index, code in enumerate((1, 1, 1, 2, 2, 3, 3, 4, 5, 6)):
        engine.end("100", index, State.FAILED, exit_code=code)
    said = typed("status", "demo")
    assert "(exit 1 (3); exit 2 (2); exit 3 (2); others (3), which status --slices shows)" in said
    assert "exit 6" in typed("status", "demo", "--slices")


def test_an_option_of_run_is_recognised_elsewhere(new_run: NewRun, typed: Typed) -> None:
    """It is no key that begins with a dash."""
    new_run("0-3")
    said = typed("resubmit", "demo", "--max-attempts", "3")
    assert "It is an option of run: slurmslice run RUN --max-attempts" in said
    assert "A key that begins with a dash follows --" in typed("resubmit", "demo", "--x7")
