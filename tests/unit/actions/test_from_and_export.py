"""A run that takes over another one, and exports (ADR 42), on the fake cluster."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.cli.options import from_run
from slurmslice.run.exported import format_run, parse_run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.command import CommandWords
from slurmslice.spec.packing import Packing
from slurmslice.spec.run_spec import RunSpec
from slurmslice.spec.then_rule import ThenRule
from slurmslice.status.states import State
from slurmslice.system.toml_text import load_toml
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed


@pytest.fixture(autouse=True)
def half_done(typed: Typed, engine: FakeEngine, interrupted: None) -> None:
    """Make a run of which slices 0 and 1 are done, and 2 and 3 failed."""
    typed(
        "run", "-a", "0-3", "--name", "old", "--mem", "1G", "-p", "main", "-A", "phys",
        "--setup", "true", "-o", "out-{}", "--on-end", "touch owned", "--", "echo", "{}",
    )  # fmt: skip
    for index, state in enumerate((State.COMPLETED, State.COMPLETED, State.FAILED, State.FAILED)):
        engine.end("100", index, state)
    typed("status", "old")


def sent(engine: FakeEngine) -> tuple[list[int], dict[str, str]]:
    """Return the indices and the request of the newest job."""
    order = list(engine.jobs.values())[-1].order
    return list(order.array), dict(order.request.options)


@pytest.mark.parametrize("source", ["old", "runs/old", "old-export"])
def test_the_rest_is_done_and_nothing_twice(source: str, typed: Typed, engine: FakeEngine) -> None:
    """From a run by name or path, or from an export; the description is the same."""
    if source == "old-export":
        typed("export", "old")
        assert typed.code == 0
    typed("run", "--from", source, "--name", "new")
    indices, request = sent(engine)
    assert (len(engine.jobs), indices, request["mem"]) == (2, [2, 3], "1G")
    record = json.loads((typed.folder / "runs" / "new" / "run.json").read_bytes())
    assert (record["output"], record["setup"]) == ("out-{}", "true")
    assert ("account" in request) == (source != "old-export")
    engine.end_all()
    assert json.loads(typed("status", "new", "--json"))["counts"] == {"COMPLETED": 4}
    typed("run", "--from", source, "--name", "new")
    assert len(engine.jobs) == 2


def test_what_is_typed_counts_more(typed: Typed, engine: FakeEngine) -> None:
    """The command and options; a settings file counts less than the other run."""
    (typed.folder / "slurmslice.toml").write_text("slices = '0-99'\n[sbatch]\nmem = '9G'\n")
    typed("run", "--from", "old", "--name", "new", "-p", "long", "--", "cat", "{}")
    indices, request = sent(engine)
    assert (indices, request["mem"], request["partition"]) == ([2, 3], "1G", "long")
    script = (typed.folder / "runs" / "new" / "script.sh").read_text()
    assert 'exec -- cat "${SLICE}"' in script


def test_a_hook_never_comes_from_a_run(typed: Typed, engine: FakeEngine) -> None:
    """Nor mail, nor a run to wait for; a note names what was left out."""
    typed("run", "--from", "old", "--name", "new")
    assert "--on-end" in typed.noted("not-taken-over")[0]["options"]
    assert json.loads((typed.folder / "runs" / "new" / "run.json").read_bytes())["on_end"] == ""
    engine.end_all()
    typed("run", "new")
    assert not (typed.folder / "owned").exists()


@pytest.mark.parametrize(("states", "keys"), [("FAIL", ["2", "3"]), ("COMPLETED,FAILED", None)])
def test_states_choose_the_slices(
    states: str, keys: list[str] | None, typed: Typed, engine: FakeEngine
) -> None:
    """The new run has no others."""
    typed("run", "--from", f"old:{states}", "--name", "new")
    record = json.loads((typed.folder / "runs" / "new" / "run.json").read_bytes())
    assert record["slices"] == (len(keys) if keys else 4)
    assert len(sent(engine)[0]) == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--from", "nowhere"), "no-such-run"),
        (("--from", ""), "missing-value"),
        (("--from", "old:FIAL"), "unknown-state"),
        (("--from", "old:TIMEOUT"), "no-slices"),
        (("--from", "old", "-a", "0-3"), "one-source"),
        (("--from", "old", "--job-file", "x"), "one-source"),
        (("old", "--from", "old"), "run-and-new-run"),
    ],
)
def test_a_wrong_source_is_refused(
    words: tuple[str, ...], code: str, typed: Typed, engine: FakeEngine
) -> None:
    """Before anything is made."""
    typed("run", *words)
    assert (typed.code, typed.error, len(engine.jobs)) == (2, code, 1)


def test_slices_that_may_still_run_are_not_done_twice(typed: Typed, engine: FakeEngine) -> None:
    """The others can be named by their states."""
    typed("resubmit", "old", "3")
    typed("run", "--from", "old", "--name", "new")
    assert (typed.code, typed.error, typed.fields["slices"]) == (2, "from-in-flight", 1)
    typed("run", "--from", "old:FAIL,COMPLETED", "--name", "new")
    assert len(sent(engine)[0]) == 1


def test_an_export_is_complete_and_never_replaced(typed: Typed) -> None:
    """All files have their digests; a dry run writes nothing."""
    typed("export", "old", "--to", "deep/out", "--dry-run")
    path = typed.folder / "deep" / "out"
    assert (typed.code, path.parent.exists()) == (0, False)
    typed("export", "old", "--to", "deep/out")
    sums = [line.split("  ") for line in (path / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in sums} | {"SHA256SUMS"} == {one.name for one in path.iterdir()}
    for digest, name in sums:
        assert hashlib.sha256((path / name).read_bytes()).hexdigest() == digest
    (submission,) = load_toml((path / "run.toml").read_bytes())["submission"]
    assert (submission["job"], submission["options"]["mem"]) == ("100", "1G")
    typed("export", "old", "--to", "deep/out")
    assert (typed.code, typed.error) == (2, "cannot-write-export")
    assert [one.name for one in path.parent.iterdir()] == ["out"]


@pytest.mark.parametrize(
    ("name", "before", "after", "code"),
    [
        ("run.toml", "format = 1", "format = 2", "newer-run"),
        ("run.toml", "[run]", "[run]\nlater = 1", "newer-run"),
        ("run.toml", "[run]", "[ruin]", "damaged-run"),
        ("run.toml", "format = 1", "format = 'x'", "damaged-run"),
        ("run.toml", "format = 1", "format = [", "damaged-run"),
        ("slices.tsv", "3", "4", "table-changed"),
        ("states.tsv", "FAILED", "FALED", "damaged-run"),
        ("states.tsv", "key", "keys", "damaged-run"),
        ("states.tsv", "", None, "unreadable-file"),
    ],
)
def test_a_changed_export_is_refused(
    name: str, before: str, after: str | None, code: str, typed: Typed, engine: FakeEngine
) -> None:
    """With the version to install if a newer one wrote it."""
    typed("export", "old")
    file = typed.folder / "old-export" / name
    if after is None:
        file.unlink()
    else:
        file.write_text(file.read_text().replace(before, after))
    typed("run", "--from", "old-export", "--name", "new")
    assert (typed.code, typed.error, len(engine.jobs)) == (2, code, 1)
    assert code != "newer-run" or typed.fields["version"]


@pytest.mark.parametrize("change", [{"format": 2}, {"later": 1, "version": "9.1"}])
def test_a_run_of_a_newer_release_names_the_version(
    change: dict[str, object], typed: Typed
) -> None:
    """Its format or its fields are not known here."""
    path = typed.folder / "runs" / "old" / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    typed("status", "old")
    assert (typed.code, typed.error) == (2, "newer-run")
    assert typed.fields["version"] == change.get("version", typed.fields["version"])


def test_text_that_is_no_utf8_is_not_exported(typed: Typed) -> None:
    """Its run directory can be taken over all the same."""
    typed("render", "-a", "0-1", "--name", "odd", "--", "echo", "\udcff{}")
    typed("export", "odd")
    assert (typed.code, typed.error) == (2, "not-utf8")
    assert not (typed.folder / "odd-export").exists()
    typed("run", "--from", "odd", "--name", "new", "--dry-run")
    assert typed.code == 0


def test_each_field_of_a_description_is_taken_over_or_left_out() -> None:
    """A new field needs a decision in ``from_run``: is it an option of the new run?"""
    left = {"mail", "on_end", "after", "skip_done", "open"}  # what a run never gives
    read = {"source", "form", "work_dir", "numbers", "request", "packing"}  # made of other things
    whole = RunSpec(
        name="x", command=CommandWords(("x",)), source="x", work_dir="/", then=ThenRule("x")
    )
    options = {name for name, _ in from_run._options(whole)}
    named = {"command": "words", "check": "check", "pack": "throttle"}
    fields = set(RunSpec.__dataclass_fields__) - left - read
    assert {named.get(field, field) for field in fields} <= options


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(words=st.lists(TEXT, min_size=1), setup=TEXT, env=st.lists(TEXT), name=TEXT, mem=TEXT)
def test_a_description_is_read_back_unchanged(
    words: list[str], setup: str, env: list[str], name: str, mem: str
) -> None:
    """Whatever its texts hold; fields that are None stay so."""
    spec = RunSpec(
        name=name, command=CommandWords(tuple(words)), source="x", work_dir="/", setup=setup,
        env=tuple(env), request=ResourceRequest((("mem", mem), ("a b", ""))), throttle=3,
        packing=Packing(4, 2, None), then=ThenRule("x", "95%", ResourceRequest()),
    )  # fmt: skip
    data = format_run(spec, {"version": "0.1.0", "empty": None}, [{"number": 1, "x": {name: ""}}])
    assert parse_run(data, str(Path("x")))[0] == spec
