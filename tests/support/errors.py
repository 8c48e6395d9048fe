"""Recognise an error by its type, code and fields, never by its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import pytest

from slurmslice.errors import SlurmsliceError

Kind = TypeVar("Kind", bound=SlurmsliceError)

_SHOWN = re.compile(r"^(?:slurmslice|Error): .*? \[([a-z0-9-]+)\]$", re.MULTILINE | re.DOTALL)


def error_code(stderr: str) -> str:
    """Return the code of the error that a program's stderr shows; empty if it shows none."""
    shown = _SHOWN.search(stderr)
    return shown[1] if shown else ""


@contextmanager
def raises_error(
    kind: type[Kind], code: str, **fields: object
) -> Iterator[pytest.ExceptionInfo[Kind]]:
    """Check that the block raises this very error.

    Args:
        kind: its type, or one that its type derives from.
        code: its code.
        fields: some of its fields, all with their values.
    """
    with pytest.raises(kind) as caught:
        yield caught
    check_error(caught.value, code, **fields)


def check_error(error: SlurmsliceError | None, code: str, **fields: object) -> None:
    """Check an error's code and some of its fields."""
    assert error is not None
    assert (error.code, {name: error.fields.get(name) for name in fields}) == (code, fields)
