"""Hints for misspelt words and for words of other programs."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import pytest

from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.run.run import Run
from slurmslice.slices.slice_table import SliceTable
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from slurmslice.system.users import user_name
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

NewRun = Callable[..., Run]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("rerun", "resubmit"),
        ("retry", "resubmit"),
        ("kill", "cancel"),
        ("list", "runs"),
        ("remove", "rm -r slurmslice-runs/RUN"),
        ("delete", "rm -r slurmslice-runs/RUN"),
        ("statsu", "status"),
    ],
)
def test_the_nearest_verb_is_suggested(typed: Typed, word: str, meant: str) -> None:
    """Words of other programs and misspelt verbs get a suggestion."""
    assert meant in typed(word, "x")
    assert (typed.code, typed.error) == (2, "unknown-verb")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("CANCELED", "CANCELLED"),
        ("FAILLED", "FAILED"),
        ("oom", "OUT_OF_MEMORY"),
        ("xyz", ""),
    ],
)
def test_the_nearest_state_is_suggested(typed: Typed, word: str, meant: str) -> None:
    """Misspelt states and initials get a suggestion; the hint lists FAIL too."""
    said = typed("status", "--state", word)
    assert (typed.code, typed.error) == (2, "unknown-state")
    assert repr(word.upper()) in said
    names = re.findall("[A-Z_]{4,}", said)  # once as a guess, once in the list of all
    assert [name for name in State if names.count(name) == 2] == ([meant] if meant else [])
    assert {*State, "FAIL"} <= {*names}


@pytest.mark.parametrize("options", [("--mem", "4.5G"), ("--time", "1h")])
def test_a_multiple_is_suggested_if_there_is_a_request(
    new_run: NewRun, typed: Typed, options: tuple[str, str]
) -> None:
    """Verbs that change a request suggest 2x; a new run has no request yet."""
    new_run("0-3")
    code = {"--mem": "bad-memory", "--time": "bad-time"}[options[0]]
    for words, offered in (
        (("resubmit", "demo", *options), True),
        (("run", "demo", *options), True),
        (("run", "-a", "0-3", *options, "--", "true", "{}"), False),
    ):
        assert ("2x" in typed(*words)) == offered
        assert (typed.code, typed.error) == (2, code)


def test_a_slice_of_an_older_run_is_recognised(typed: Typed) -> None:
    """If the newest run lacks the slice, the hint says to name the run first."""
    for name, slices in (("one", "0-9"), ("two", "0-3")):
        typed("render", "-a", slices, "--name", name, "--", "true", "{}")
    os.utime(typed.folder / "runs/one/run.json", (1, 1))
    assert "slurmslice cancel two 2" in typed("cancel", "2")
    assert "slurmslice cancel one 7 --dry-run" in typed("cancel", "7", "--dry-run")
    assert "slurmslice cancel two -- 2 3" in typed("cancel", "--", "2", "3")
    assert "slurmslice logs one 7 --all 2" in typed("logs", "7", "--all", "2")
    again = typed("resubmit", "7", "--mem", "2x", "--state", "FAILED")
    assert "slurmslice resubmit one 7 --mem 2x --state FAILED" in again
    assert typed.error == "no-such-run"
    for verb in ("cancel", "watch"):
        said = typed(verb, "12")
        assert (typed.code, typed.error) == (2, "no-such-run")
        assert f"slurmslice {verb}" not in said
        assert ("slices" in said.lower()) == (verb == "cancel")  # watch takes none


def test_runs_in_other_folders_are_mentioned(typed: Typed) -> None:
    """The hint names ``runs`` if there are runs in other folders."""
    assert "slurmslice runs" not in typed("status")
    typed("render", "-a", "0-3", "--name", "x", "--run-dir", "far/x", "--", "true", "{}")
    assert "slurmslice runs" in typed("status")
    assert (typed.code, typed.error) == (2, "no-run-here")
    assert "far" in typed("runs")


def test_slices_are_named_by_patterns() -> None:
    """Patterns work as in a shell; a key that looks like a pattern is itself."""
    table = SliceTable(["lr=0.1,s=0", "lr=0.1,s=1", "lr=1,s=0", "a*", "ab"])
    assert table.select(["lr=0.1,*"]) == [0, 1]
    assert table.select(["lr=*,s=0", "a[b]"]) == [0, 2, 4]
    assert table.select(["a*"]) == [3]
    assert table.select(["a?"]) == [3, 4]


def test_a_pattern_that_matches_nothing_is_no_slice(new_run: NewRun, typed: Typed) -> None:
    """Nothing is done; the hint says how to name slices."""
    new_run("0-3")
    said = typed("cancel", "demo", "x*")
    assert (typed.code, typed.error) == (2, "unknown-slice")
    assert "'x*'" in said
    assert "'0'" in said  # an example of a key


def test_the_user_who_cancelled_is_named(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The user name replaces sacct's number; an unknown number stays."""
    submit(new_run("0-3"), choose_waiting(None), {}, "submit")
    for index, uid in enumerate((0, 4_000_000_000)):
        report = TaskReport(State.CANCELLED, f"CANCELLED by {uid}")
        engine.jobs["100"].tasks[index] = report
    reasons = [one["reason"] for one in typed.json("status", "demo")["slices"]]
    assert user_name(0) != "0"
    assert user_name(0) in reasons[0]
    assert "4000000000" in reasons[1]


def test_reasons_that_are_not_shown_are_counted(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The three most frequent reasons are shown, the others are counted."""
    submit(new_run("0-9"), choose_waiting(None), {}, "submit")
    for index, code in enumerate((1, 1, 1, 2, 2, 3, 3, 4, 5, 6)):
        engine.end("100", index, State.FAILED, exit_code=code)
    said = typed("status", "demo")
    (line,) = (line for line in typed.lines if line.startswith("FAILED"))
    assert re.findall(r"\((\d+)\)", line) == ["3", "2", "2", "3"]  # the last of all others
    assert "status --slices" in said
    assert "6:0" not in said
    assert "6:0" in typed("status", "demo", "--slices")


def test_an_option_of_run_is_recognised_elsewhere(new_run: NewRun, typed: Typed) -> None:
    """An option of ``run`` is not mistaken for a key that begins with a dash."""
    new_run("0-3")
    assert "slurmslice run demo --max-attempts 3" in typed(
        "resubmit", "demo", "--max-attempts", "3"
    )
    assert "slurmslice resubmit demo -- --x7" in typed("resubmit", "demo", "--x7")
    assert (typed.code, typed.error) == (2, "unknown-option")


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("status", "--table"), "slurmslice status RUN --slices"),
        (("submit", "demo", "--max-attempts=3"), "slurmslice run demo --max-attempts=3"),
        (("render", "-a", "0-3", "--max-attempts", "3", "--", "true"), "run RUN --max-attempts"),
        (("submit", "demo", "--table", "f"), "run --table … -- COMMAND"),
        (("cancel", "demo", "-f"), "slurmslice logs demo -f"),
    ],
)
def test_an_option_of_another_verb_is_recognised(
    new_run: NewRun, typed: Typed, words: tuple[str, ...], meant: str
) -> None:
    """The hint has a line that the other verb accepts, and suggests no other option."""
    new_run("0-3")
    said = typed(*words)
    assert (typed.code, typed.error) == (2, "unknown-option")
    assert meant in said
    assert "Did you mean" not in said


def test_a_number_is_not_mistaken_for_another(new_run: NewRun, typed: Typed) -> None:
    """If the keys are numbers, the hint has their range."""
    new_run("3-17")
    for verb in ("logs", "status"):
        said = typed(verb, "demo", "77")
        assert typed.error == "unknown-slice"
        assert "3 to 17" in said


@pytest.mark.parametrize(
    ("verb", "option", "meant"),
    [
        ("run", "array=3", "submit demo 3"), ("submit", "array=3", "submit demo 3"),
        ("resubmit", "array=3", "resubmit demo 3"), ("submit", "test-only", "--test-only"),
    ],
)  # fmt: skip
def test_a_refused_option_names_a_line_that_works(
    new_run: NewRun, typed: Typed, verb: str, option: str, meant: str
) -> None:
    """The verb does not accept slurmslice's option for new runs."""
    new_run("0-3")
    assert meant in typed(verb, "demo", "--sbatch", option)
    assert typed.error == "option-not-allowed"


@pytest.mark.parametrize(
    ("path", "code"),
    [("none", "no-such-file"), ("f/none", "no-such-file"), ("d", "is-a-folder"),
     ("loop", "unreadable-file")],
)  # fmt: skip
@pytest.mark.parametrize("option", ["--table", "--slices-from", "--job-file"])
def test_a_missing_file_is_not_called_unreadable(
    typed: Typed, path: str, code: str, option: str
) -> None:
    """Each cause has its own code."""
    (typed.folder / "f").touch()
    (typed.folder / "d").mkdir()
    (typed.folder / "loop").symlink_to("loop")
    command = () if option == "--job-file" else ("--", "true", "{}")
    typed("render", option, path, *command)
    assert (typed.code, typed.error) == (2, code)


def test_a_new_run_comes_first_if_options_describe_one(new_run: NewRun, typed: Typed) -> None:
    """``run NAME --table FILE`` is probably meant to make a run."""
    new_run("0-3")
    said = typed("run", "demo", "--table", "f")
    assert typed.error == "run-and-new-run"
    assert said.index("--name NAME") < said.index("slurmslice run demo")


@pytest.mark.parametrize(
    ("option", "value"),
    [("--throttle", "0"), ("--at-once", "x"), ("--max-attempts", "-1"), ("--interval", "0"),
     ("--interval", "nan"), ("--throttle", "²")],
)  # fmt: skip
def test_a_number_out_of_range_is_explained(typed: Typed, option: str, value: str) -> None:
    """In words: neither the error nor the help has click's x>=1."""
    said = typed("run", option, value, "-a", "0-3", "--", "true")
    assert (typed.code, typed.error) == (2, "bad-value")
    assert "x>=" not in said + typed("run", "--help")


def test_resubmit_names_the_states_that_were_asked_for(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """It does not say that nothing failed if only TIMEOUT was meant."""
    submit(new_run("0-3"), choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    said = typed("resubmit", "demo", "--state", "TIMEOUT")
    assert typed.noted("nothing-to-resubmit") == [{"states": {"FAILED": "0-3"}}]
    assert "TIMEOUT" in said
