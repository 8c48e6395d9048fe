"""Every error has a code, and the reference page lists exactly these codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from slurmslice import errors
from slurmslice.cli import app
from slurmslice.errors import BadInputError, DamagedRunError, SlurmsliceError
from tests.support.errors import error_code
from tests.support.paths import REPOSITORY

ROOT = REPOSITORY
PAGE = ROOT / "docs" / "reference" / "errors.md"
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

DEFAULTS = {
    name: getattr(kind, "code", None)
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, SlurmsliceError)
}
"""The code of each class of errors that has one."""


def _error_names(tree: ast.Module) -> dict[str, str | None]:
    """The default codes of the error classes that a module imports or defines, by local name."""
    names = {
        alias.asname or alias.name: DEFAULTS[alias.name]
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "slurmslice.errors"
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for base in node.bases:
                if isinstance(base, ast.Name) and base.id in names:
                    names[node.name] = names[base.id]
    return names


def _errors_made() -> Iterator[tuple[str, object]]:
    """Each place that makes an error, and its code: the literal, or the default of its class."""
    for path in sorted((ROOT / "slurmslice").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = _error_names(tree)
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in names
            ):
                given = {word.arg: word.value for word in node.keywords}
                code: object = names[node.func.id]
                if "code" in given:
                    value = given["code"]
                    code = value.value if isinstance(value, ast.Constant) else ast.dump(value)
                yield f"{path.relative_to(ROOT)}:{node.lineno}", code


def _codes() -> set[str]:
    made = {str(code) for _, code in _errors_made()}
    return made | {code for code in DEFAULTS.values() if code} | set(app.USAGE_CODES.values())


def test_every_error_has_a_literal_code_in_kebab_case() -> None:
    """An error without a code, or with a computed one, cannot be recognised by a program."""
    places = dict(_errors_made())
    assert len(places) > 200
    assert {p: c for p, c in places.items() if not KEBAB.fullmatch(str(c))} == {}


def test_the_page_of_errors_lists_exactly_the_codes_that_there_are() -> None:
    """Each has one line, in the order of the alphabet, with a meaning and a remedy."""
    rows = [
        [cell.strip() for cell in line.strip("|\n").split("|")]
        for line in PAGE.read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    listed = [row[0].strip("`") for row in rows]
    assert listed == sorted(_codes())
    assert all(len(row) == 3 and row[1] and row[2] for row in rows)


def test_an_error_with_a_location_keeps_its_kind() -> None:
    """The location is put before the message. Type, code, hint and fields are unchanged."""
    error = BadInputError("It is odd.", "Make it even.", code="odd-number", value=3)
    outer = error.inside("--pack", option="pack", value="3")
    assert (type(outer), outer.code, outer.hint) == (BadInputError, "odd-number", "Make it even.")
    assert outer.message == "--pack: It is odd."
    assert outer.fields == {"option": "pack", "value": 3}
    assert outer.inside("", "Give up.").message == outer.message
    assert outer.inside("", "Give up.").hint == "Give up."


def test_an_error_without_a_code_has_the_code_of_its_class() -> None:
    """A given code replaces it."""
    assert DamagedRunError("x").code == "damaged-run"
    assert DamagedRunError("x", code="table-changed").code == "table-changed"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["frobnicate"], "unknown-verb"),
        (["status", "--frobnicate"], "unknown-option"),
        (["run", "--frobnicate"], "unknown-option"),
        (["run", "--mem"], "bad-option-usage"),
        (["run", "--max-attempts", "many", "--", "true"], "bad-value"),
        (["status", "no-such-run"], "no-such-run"),
    ],
)
def test_the_command_line_ends_the_message_with_the_code(
    words: list[str],
    code: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Usage errors from click have codes too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["slurmslice", *words])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    assert error_code(capsys.readouterr().err) == code


def test_an_error_of_click_has_the_code_of_its_nearest_class() -> None:
    """A class that the table does not name is an error of usage."""
    assert app.usage_code(click.BadArgumentUsage("x")) == "usage"
    assert app.usage_code(click.BadParameter("x")) == "bad-value"
