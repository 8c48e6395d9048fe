"""Slices from a list of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.slices.sources.text_input import read_input, refuse_nul
from slurmslice.system.line_ends import unix_text


def slices_from_key_list(data: bytes, source: str, *, nul: bool = False) -> SliceTable:
    """Return slices from a list of keys, separated by line ends or by NUL bytes.

    A line ends with LF, or every line with CR LF (a file from Windows). A byte-order mark is no
    part of a key. Blank lines are skipped. With ``nul``, keys are not changed.

    Raises:
        BadInputError: there is no key, or a key occurs twice; with ``nul``, a key is empty; without
            it, a key holds NUL or a carriage return.
    """
    if nul:
        keys = data.removesuffix(b"\0").split(b"\0") if data else []
    else:
        refuse_nul(data, source, "If each key ends with NUL, use -0. ")
        text = unix_text(data, source, "If a key holds it, end each key with NUL and use -0.")
        keys = [line for line in text.split(b"\n") if line.strip()]
    return checked_table([key.decode("utf-8", "surrogateescape") for key in keys], source)


def _read(values: Mapping[str, Any]) -> FormSlices:
    nul: bool = values["null"]
    data, source = read_input(values["slices_from"], b"\0" if nul else b"\n")
    return FormSlices(slices_from_key_list(data, source, nul=nul), source)


KEY_LIST = InputForm(
    example="--slices-from FILE",
    summary="keys, one per line",
    option=FormOption(("--slices-from",), "Slices from a list of keys, one per line.", "FILE|-"),
    modifiers=(FormOption(("-0", "--null"), "Keys of --slices-from end with NUL."),),
    read=_read,
    combines=True,
)
