"""Every note has a code, and the reference page lists exactly these codes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from slurmslice.cli.output import console
from slurmslice.notes import Note
from tests.support.notes import notes_in, without_marks
from tests.support.paths import REPOSITORY

ROOT = REPOSITORY
PAGE = ROOT / "docs" / "reference" / "notes.md"
KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def notes_made() -> Iterator[tuple[str, object]]:
    """Yield each place that makes a note, and its code; None if the code is no literal."""
    for path in sorted((ROOT / "slurmslice").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"emit_note", "Note"}:
                first = node.args[0]
                code = first.value if isinstance(first, ast.Constant) else None
                if (path.name, code) != ("console.py", None):  # it passes the code on
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", code


def test_every_note_has_a_literal_code_in_kebab_case() -> None:
    """A note without a code, or with a computed one, cannot be recognised by a program."""
    places = dict(notes_made())
    assert len(places) > 80
    assert {p: c for p, c in places.items() if not KEBAB.fullmatch(str(c))} == {}
    assert None not in places.values()


def test_the_page_of_notes_lists_exactly_the_codes_that_there_are() -> None:
    """Each has one line, in the order of the alphabet, with a meaning."""
    rows = re.findall(r"^\| `([^`]+)` \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    assert [code for code, _ in rows] == sorted({str(code) for _, code in notes_made()})


@pytest.mark.parametrize("shown", [False, True])
def test_code_and_fields_are_shown_only_on_request(
    shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any fields are read back unchanged. The text without them is the same."""
    monkeypatch.setenv("SLURMSLICE_CODES", "1" if shown else "")
    console.emit_note("no-fields", "Done.")
    console.emit_note("some-fields", "First line.\nSecond \x1b[31m.", key="a\n]\x1b [é", number=3)
    said = capsys.readouterr().err
    assert without_marks(said) == "Done.\nFirst line.\nSecond \\0033[31m.\n"
    assert notes_in(said) == shown * [
        Note("no-fields", "Done."),
        Note("some-fields", "Second \\0033[31m.", {"key": "a\n]\x1b [é", "number": 3}),
    ]
    assert shown or "some-fields" not in said
