"""The run's record: JSON and back, differences between runs, and new options."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.cli.options.new_run_options import NEW_RUN_PARAMETERS
from slurmslice.errors import DamagedRunError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.command import CommandWords, ShellText
from slurmslice.spec.output_check import OutputCheck
from slurmslice.spec.packing import Packing
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.spec.run_spec import RunRecord, RunSpec
from slurmslice.spec.slice_numbers import SliceNumbers
from slurmslice.spec.then_rule import ThenRule
from tests.support.scripts import a_script

RECORD = a_script().record
TEXT = st.text(st.characters() | st.sampled_from("\udc80\udcff"), max_size=8)
REQUEST = st.dictionaries(st.sampled_from(["mem", "time", "qos", "hold"]), TEXT)
NUMBER = st.integers(1, 10**6)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "str | None": st.none() | TEXT,
    "int": NUMBER,
    "int | None": st.none() | NUMBER,
    "FailureLimit | None": st.none() | NUMBER | TEXT,
    "bool": st.booleans(),
    "float": st.floats(0, 2e9),
    "tuple[str, ...]": st.lists(TEXT).map(tuple),
    "RecordedEnvironment": st.builds(RecordedEnvironment, TEXT, st.dictionaries(TEXT, TEXT)),
    "Command": st.builds(CommandWords, st.lists(TEXT).map(tuple)) | st.builds(ShellText, TEXT),
    "OutputCheck": st.builds(OutputCheck, TEXT, st.lists(TEXT).map(tuple)),
    "Packing": st.builds(Packing, NUMBER, NUMBER, st.none() | NUMBER),
    "SliceNumbers | None": st.none()
    | st.builds(SliceNumbers, NUMBER, NUMBER, NUMBER, st.booleans()),
    "ResourceRequest": REQUEST.map(ResourceRequest.of),
    "ThenRule | None": st.none() | st.builds(ThenRule, TEXT, TEXT, REQUEST.map(ResourceRequest.of)),
}
RECORDS = st.builds(
    RunRecord, **{field.name: BY_TYPE[str(field.type)] for field in dataclasses.fields(RunRecord)}
)


@given(RECORDS)
def test_a_record_is_restored_from_its_file(record: RunRecord) -> None:
    """``run.json`` restores every field with any value."""
    assert RunRecord.from_bytes(record.to_bytes(), "run.json") == record


@pytest.mark.parametrize("field", [one.name for one in dataclasses.fields(RunRecord)])
@pytest.mark.parametrize("wrong", [{"what": 1}, [[]], ...])
def test_a_field_of_another_type_is_damage(field: str, wrong: object) -> None:
    """A missing field is damage too. No value of another type enters a run."""
    record = json.loads(RECORD.to_bytes())
    if wrong is ...:
        del record[field]
    elif isinstance(wrong, dict) and isinstance(getattr(RECORD, field), ResourceRequest):
        record[field] = "mem"
    else:
        record[field] = wrong
    with pytest.raises(DamagedRunError) as caught:
        RunRecord.from_bytes(json.dumps(record).encode(), "run.json")
    assert caught.value.code == "damaged-run"
    assert field in caught.value.message


def test_a_newer_format_is_not_guessed_at() -> None:
    """The hint says to update slurmslice."""
    record = json.loads(RECORD.to_bytes()) | {"format": 99, "more": 1}
    with pytest.raises(DamagedRunError) as caught:
        RunRecord.from_bytes(json.dumps(record).encode(), "run.json")
    assert caught.value.code == "newer-run"


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "local"}, {"command": CommandWords(("false",))}, {"slices": 98},
        {"request": ResourceRequest.of({"mem": "1G"})}, {"pack": "5"}, {"setup": "x"},
        {"check": OutputCheck("x")}, {"allow_failed_steps": True}, {"template": "x (1)"},
        {"work_dir": "/x"}, {"env": ("A=1",)},
    ],
)  # fmt: skip
def test_another_description_is_another_run(change: dict[str, Any]) -> None:
    """Each difference is one line. Values that are new in each run (the token) do not count."""
    assert len(RECORD.differences(dataclasses.replace(RECORD, **change))) == 1
    later = dataclasses.replace(RECORD, token="x", created_at=1.0, version="2", max_attempts=3)
    assert RECORD.differences(later) == []


def test_an_option_with_the_name_of_a_field_fills_it() -> None:
    """These fields are filled from the command line by their names alone."""
    filled = {field.name for field in dataclasses.fields(RunSpec)} & set(NEW_RUN_PARAMETERS)
    assert {"throttle", "pack", "max_failures", "allow_failed_steps", "setup"} <= filled
