"""Names of the files for the output of slices: what is refused, and what each slice gets."""

from __future__ import annotations

import dataclasses
import subprocess
from pathlib import Path
from typing import Any

import pytest

from slurmslice.errors import BadInputError
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import CommandWords
from slurmslice.spec.output_names import (
    check_output_names,
    expand_output_name,
    output_names_to_bash,
)
from slurmslice.spec.packing import Packing
from slurmslice.spec.run_spec import RunSpec
from slurmslice.spec.slice_numbers import SliceNumbers
from tests.support.errors import raises_error

SPEC = RunSpec(name="x", command=CommandWords(("true",)), source="a test", work_dir="/")
PACKED: dict[str, Any] = {"pack": "2", "packing": Packing(pack=2)}


def a_table(*keys: str, **columns: list[str]) -> SliceTable:
    return SliceTable(keys, columns)


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("bad-output-name", {"output": "x-%q.out"}),
        ("bad-output-name", {"output": "x-%a.out%"}),
        ("bad-output-name", {"output": r"x\%a"}),
        ("bad-output-name", {"error": "out-%a/"}),
        ("bad-output-name", {"output": "out-%a\n"}),
        ("bad-output-name", {"output": "%99a"}),
        ("unknown-column", {"output": "{nmae}.out"}),
        ("file-shared", {"output": "x.out"}),
        ("file-shared", {"output": "x-%A-%N-%x-%u.out"}),
        ("file-shared", {"output": "x-%%a.out"}),
        ("file-shared", {"output": "%a.out", "error": "x.err"}),
        ("file-shared", {"output": "{same}.out"}),
        ("file-shared", {"output": "%b.out"}),
        ("file-shared", {"output": "x%a", "error": "x1%a"}),
        ("file-shared", {"output": "%j.out", **PACKED}),
        ("output-path", {"output": "out/{up}.out"}),
        ("output-path", {"output": "{line}.out"}),
        ("output-path", {"output": "{long}.out"}),
        ("output-path", {"output": "{folder}"}),
        ("options-conflict", {"output": "%a.out", "keep_logs": "failed"}),
        ("option-needs-another", {"open_mode": "append"}),
    ],
)
def test_what_is_refused(code: str, given: dict[str, Any]) -> None:
    table = a_table(
        *map(str, range(20)),
        same=[str(row // 2) for row in range(20)],
        up=[f"../{row}" for row in range(20)],
        line=[f"{row}\n" for row in range(20)],
        long=[f"{row}" + "x" * 1000 for row in range(20)],
        folder=[f"{row}/" for row in range(20)],
    )
    with raises_error(BadInputError, code):
        check_output_names(dataclasses.replace(SPEC, **given), table)


@pytest.mark.parametrize(
    "given",
    [
        {"output": "x.out", "open_mode": "append"},
        {"output": "/dev/null"},
        {"output": "%a.out", "error": "/dev/null"},
        {"output": "%a.out", "error": "%a.out"},
        {"output": "%j.out"},
        {"output": "../{}.out"},
        {"output": "out-{}-100%%.txt"},
    ],
)
def test_what_is_allowed(given: dict[str, Any]) -> None:
    check_output_names(dataclasses.replace(SPEC, **given), a_table("a", "b", "c d"))


def test_an_input_is_not_overwritten(tmp_path: Path) -> None:
    """A name that is an existing file and the key of the slice."""
    (tmp_path / "a.h5").write_text("data")
    spec = dataclasses.replace(SPEC, output="{}", work_dir=str(tmp_path))
    with raises_error(BadInputError, "output-path", key="a.h5"):
        check_output_names(spec, a_table("a.h5", "b.h5"))
    check_output_names(dataclasses.replace(spec, output="{}.log"), a_table("a.h5", "b.h5"))


@pytest.mark.parametrize("value", ["100%a%A%s", "$(touch ran)`id`", "a b\\n'\"", "%", "é*?"])
def test_values_are_data(tmp_path: Path, value: str) -> None:
    """No value is a pattern, a format or code: bash makes the path that the check has seen."""
    name = "{v}-%4a-%x-%A.%%out"
    spec = dataclasses.replace(
        SPEC, output=name, name="r", work_dir=str(tmp_path / "50% \\w"), pack="1",
        numbers=SliceNumbers(7, 7, 1, one_range=True),
    )  # fmt: skip
    table = a_table("7", v=[value])
    check_output_names(spec, table)
    script = f'{output_names_to_bash(spec)}\nprintf %s "$_stdout"'
    env = {"SLICE_V": value, "_number": "7", "_job": "419", "LC_ALL": "C.UTF-8"}
    said = subprocess.run(
        ["bash", "-c", script], env=env, stdout=subprocess.PIPE, check=True, cwd=tmp_path
    )
    wanted = f"{value}-0007-r-419.%out"
    assert said.stdout.decode() == f"{tmp_path}/50% \\w/{wanted}"
    assert list(expand_output_name(spec, table, name)) == [wanted.replace("419", "%A")]
    assert not (tmp_path / "ran").exists()
