"""The output of ``--json``: what ``docs/reference/json.md`` describes, no more and no less."""

from __future__ import annotations

import re
from typing import Any

import pytest

from slurmslice.status.observation import FACT_NAMES
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.paths import REPOSITORY
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

TEXT = (REPOSITORY / "docs" / "reference" / "json.md").read_text()

FACTS = frozenset(FACT_NAMES)
"""The facts of a slice, which an attempt of ``explain`` has too."""


def described(verb: str) -> set[str]:
    """Return the names in the section of a verb."""
    section = TEXT.partition(f"## `{verb} --json`")[2].partition("\n## ")[0]
    return set(re.findall(r"`([a-z]\w*)`", section))


@pytest.fixture
def failed(typed: Typed, engine: FakeEngine) -> Typed:
    """A run of which slices have failed in two ways, and one waits."""
    typed("submit", "-a", "0-4", "--mem", "1G", "-t", "10", "--name", "x", "--", "true", "{}")
    for index, state in enumerate((State.COMPLETED, State.OUT_OF_MEMORY, State.FAILED)):
        engine.end("100", index, state, exit_code=int(index > 0), node="n1", elapsed_s=60.0)
    typed("status", "x")
    return typed


def names(*records: dict[str, Any]) -> set[str]:
    """Return the names of fields."""
    return {name for record in records for name in record}


def check_next(steps: list[list[str]]) -> None:
    """Assert that each step is a command of ours, as words."""
    assert all(
        words[0] == "slurmslice" and all(isinstance(w, str) for w in words) for words in steps
    )


def test_status(failed: Typed) -> None:
    """The run, its slices and its pace; what to type has the change that each state needs."""
    found = failed.json("status", "x")
    fields = names(found, *found["slices"], found["pace"])
    assert fields == described("status") & fields
    assert described("status") - fields == {"at", "slurm", "local", "null"} & described("status")
    check_next(found["next"])
    assert ["slurmslice", "resubmit", "x", "--state", "OUT_OF_MEMORY", "--mem", "2x"] in found[
        "next"
    ]
    assert found["next"][-1] == ["slurmslice", "run", "x"]


def test_the_step_next_of_a_run_that_is_done(typed: Typed, engine: FakeEngine) -> None:
    """There is none."""
    typed("submit", "-a", "0-1", "--name", "x", "--", "true", "{}")
    engine.end_all()
    assert typed.json("status", "x")["next"] == []


def test_failures(failed: Typed) -> None:
    """The groups with an example."""
    found = failed.json("failures", "x")
    (first, *_) = found["groups"]
    assert names(found, *found["groups"], first["example"]) | {"column", "value"} == described(
        "failures"
    )
    check_next(found["next"])


def test_explain(failed: Typed) -> None:
    """The attempts with their facts."""
    (found,) = failed.json("explain", "x", "1")
    fields = names(found, *found["attempts"], found["evidence"]) | {"path"}
    assert fields - FACTS == described("explain") - {"status"}
    check_next(found["next"])


def test_efficiency(failed: Typed) -> None:
    """The groups with their spreads; the advice has its fields too."""
    found = failed.json("efficiency", "x", "--slices")
    (group,) = found["groups"]
    fields = names(found, group, group["memory"], *group["advice"], *found["slices"])
    assert fields == described("efficiency")
    check_next(found["next"])


def test_runs(failed: Typed) -> None:
    """The runs here."""
    (found,) = failed.json("runs")
    assert names(found) == described("runs")
    check_next(found["next"])


def test_every_verb_with_json_is_described() -> None:
    """A new one needs a section."""
    folder = REPOSITORY / "slurmslice" / "cli" / "commands"
    verbs = {path.stem for path in folder.glob("*.py") if '"--json"' in path.read_text()}
    assert verbs == set(re.findall(r"^## `(\w+) --json`", TEXT, re.MULTILINE))
