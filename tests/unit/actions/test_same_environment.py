"""A later submission from another login gives the slices the same environment, or is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from slurmslice.run.directory import RunDirectory
from slurmslice.run.journal import EnvironmentRecorded, Event, Queued
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("-a", "0-2", "--name", "x", "--", "true", "{}")


@pytest.fixture(autouse=True)
def login(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of a login shell, which a test may fill."""
    variables: dict[str, str] = {}
    monkeypatch.setattr("slurmslice.actions.same_environment.login_environment", lambda: variables)
    return variables


def failed_once(typed: Typed, engine: FakeEngine, *options: str) -> None:
    """Submit a run whose slices all fail, with ``DATA`` in the environment."""
    typed.patch.setenv("DATA", "/scratch/d")
    engine.on_wait = lambda: engine.end_all(State.FAILED)
    typed("run", *options, *LINE)
    assert (typed.code, len(engine.jobs)) == (1, 1)


def seen(engine: FakeEngine) -> Mapping[str, str]:
    """Return the environment of the newest submission."""
    environ = list(engine.jobs.values())[-1].order.environ
    assert environ is not None
    return environ


def events(typed: Typed, kind: type[Event]) -> list[Event]:
    found = RunDirectory(typed.folder / "runs" / "x").events()
    return [event for event in found if isinstance(event, kind)]


VERBS = (("resubmit", "x"), ("run", "--max-attempts", "2", "x"), ("tick", "x"))


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
@pytest.mark.parametrize("value", [None, "/elsewhere", ""])
def test_another_environment_is_refused(
    typed: Typed, engine: FakeEngine, verb: tuple[str, ...], value: str | None
) -> None:
    """By every verb that submits; nothing is queued, and the variable is named."""
    failed_once(typed, engine)
    if verb[0] == "tick":
        journal = typed.folder / "runs" / "x" / "journal.jsonl"
        change: dict[str, Any] = {"event": "policy_changed", "max_attempts": 2, "at": 1.0}
        journal.write_text(f"{journal.read_text()}{json.dumps(change)}\n")
    if value is None:
        typed.patch.delenv("DATA")
    else:
        typed.patch.setenv("DATA", value)
    queued = len(events(typed, Queued))
    typed(*verb)
    assert (typed.code, typed.error) == (2, "environment-differs")
    assert typed.fields["missing" if value is None else "different"] == ("DATA",)
    assert len(engine.jobs) == 1
    assert len(events(typed, Queued)) == queued


def test_a_dry_run_says_it_too(typed: Typed, engine: FakeEngine) -> None:
    failed_once(typed, engine)
    typed.patch.delenv("DATA")
    typed("resubmit", "x", "--dry-run")
    assert typed.error == "environment-differs"


def test_a_login_shell_has_it(typed: Typed, engine: FakeEngine, login: dict[str, str]) -> None:
    """cron has no environment; what a start file of the login sets is there all the same."""
    failed_once(typed, engine)
    typed.patch.delenv("DATA")
    login["DATA"] = "/scratch/d"
    typed("resubmit", "x")
    assert (typed.code, seen(engine)["DATA"]) == (0, "/scratch/d")


def test_a_script_that_sets_it_is_enough(typed: Typed, engine: FakeEngine) -> None:
    """As the error says."""
    failed_once(typed, engine)
    typed.patch.delenv("DATA")
    script = typed.folder / "runs" / "x" / "script.sh"
    script.write_text(script.read_text().replace("prepare() {", "prepare() {\n  export DATA=1"))
    typed("resubmit", "x")
    assert (typed.code, len(engine.jobs)) == (0, 2)


def test_a_kept_variable_is_in_the_script(typed: Typed, engine: FakeEngine) -> None:
    """``--env NAME`` keeps the present value, ``--env NAME=VALUE`` another one."""
    failed_once(typed, engine, "--env", "DATA", "--env", "MODE=a b")
    script = (typed.folder / "runs" / "x" / "script.sh").read_text()
    assert "export DATA=/scratch/d\n" in script
    assert "export MODE='a b'\n" in script
    typed.patch.delenv("DATA")
    typed("resubmit", "x")
    assert (typed.code, len(engine.jobs)) == (0, 2)


@pytest.mark.parametrize(
    ("word", "code"), [("1A", "bad-variable-name"), ("NO", "variable-not-set")]
)
def test_a_variable_that_cannot_be_kept(typed: Typed, word: str, code: str) -> None:
    typed("render", "--env", word, *LINE)
    assert (typed.code, typed.error) == (2, code)


def test_the_environment_of_this_shell(typed: Typed, engine: FakeEngine) -> None:
    """``--new-env`` counts from now on, and the journal has it without values."""
    failed_once(typed, engine)
    typed.patch.setenv("DATA", "a-value-of-today")
    typed("resubmit", "x", "--new-env")
    assert (typed.code, seen(engine)["DATA"]) == (0, "a-value-of-today")
    engine.end_all(State.FAILED)
    typed("resubmit", "x")
    assert (typed.code, len(engine.jobs)) == (0, 3)
    assert len(events(typed, EnvironmentRecorded)) == 1
    folder = typed.folder / "runs" / "x"
    assert not any(
        "a-value-of-today" in (folder / name).read_text() for name in ("journal.jsonl", "run.json")
    )


def test_a_new_variable_is_left_out_and_named(typed: Typed, engine: FakeEngine) -> None:
    failed_once(typed, engine)
    typed.patch.setenv("DEBUG", "1")
    typed("resubmit", "x")
    assert typed.code == 0
    (left_out,) = typed.noted("variables-left-out")
    assert "DEBUG" in left_out["names"]
    assert "DEBUG" not in seen(engine)


def test_a_clean_environment_is_the_same_everywhere(typed: Typed, engine: FakeEngine) -> None:
    failed_once(typed, engine, "--export", "NONE")
    typed.patch.delenv("DATA")
    typed("resubmit", "x")
    assert (typed.code, len(engine.jobs)) == (0, 2)


def test_the_first_submission_decides(typed: Typed, engine: FakeEngine) -> None:
    """Not the shell in which the run was rendered."""
    typed.patch.setenv("DATA", "/old")
    typed("render", *LINE)
    typed.patch.setenv("DATA", "/new")
    typed("submit", "x")
    assert (typed.code, seen(engine)["DATA"]) == (0, "/new")
    engine.end_all(State.FAILED)
    typed("resubmit", "x")
    assert (typed.code, seen(engine)["DATA"]) == (0, "/new")
    typed.patch.setenv("DATA", "/old")
    engine.end_all(State.FAILED)
    typed("resubmit", "x")
    assert typed.error == "environment-differs"
