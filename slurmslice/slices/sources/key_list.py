"""Slices from a list of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from slurmslice.slices.slice_table import SliceTable, checked_table
from slurmslice.slices.sources.input_form import FormOption, FormSlices, InputForm
from slurmslice.slices.sources.text_input import read_input, refuse_nul


def slices_from_key_list(data: bytes, source: str, *, nul: bool = False) -> SliceTable:
    """Return slices from a list of keys, separated by line ends or by NUL bytes.

    A line ends with LF. A CR before it is removed only if every line has one (a file from
    Windows). Blank lines are skipped. With ``nul``, keys are not changed.

    Raises:
        BadInputError: there is no key, a key occurs twice or holds NUL; with ``nul``, a key is
        empty.
    """
    separator = b"\0" if nul else b"\n"
    keys = data.split(separator)
    if not keys[-1]:
        keys.pop()
    if not nul:
        refuse_nul(data, source, "If each key ends with NUL, use -0. ")
        if keys and all(key.endswith(b"\r") for key in keys):
            keys = [key[:-1] for key in keys]
        keys = [key for key in keys if key.strip()]
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
)
