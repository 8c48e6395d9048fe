"""Recognise a note by its code and fields, never by its text."""

from __future__ import annotations

import json
import re
from typing import Any

from slurmslice.notes import Note

SHOW_CODES = {"SLURMSLICE_CODES": "1"}
"""The environment in which each note ends with its code and fields."""

_MARK = re.compile(r" ?\[note ([a-z][a-z0-9-]*)(?: (\{.*\}))?\]$", re.MULTILINE)


def notes_in(stderr: str) -> list[Note]:
    """Return the notes that a program printed with SHOW_CODES, in order.

    The message of each is its last line.
    """
    return [
        Note(mark[1], stderr[stderr.rfind("\n", 0, mark.start()) + 1 : mark.start()], _fields(mark))
        for mark in _MARK.finditer(stderr)
    ]


def noted(stderr: str, code: str) -> list[dict[str, Any]]:
    """Return the fields of each note of this code."""
    return [dict(note.fields) for note in notes_in(stderr) if note.code == code]


def without_marks(stderr: str) -> str:
    """Return the text as it is printed without SHOW_CODES."""
    return _MARK.sub("", stderr)


def _fields(mark: re.Match[str]) -> dict[str, object]:
    fields: dict[str, object] = json.loads(mark[2] or "{}")
    return fields
