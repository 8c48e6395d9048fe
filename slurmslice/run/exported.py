"""The files of an exported run (docs/adr/0042). Pure: from values to bytes, and back.

``run.toml`` has the description in a table ``[run]``. It may be made by another release: a field
that is missing has its default.
"""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from slurmslice.errors import BadInputError, DamagedRunError
from slurmslice.spec.run_spec import RunSpec, newer_run
from slurmslice.status.states import State
from slurmslice.system.escaping import format_row, parse_row
from slurmslice.system.json_fields import decode, encode
from slurmslice.system.toml_text import load_toml

EXPORT_FORMAT = 1
"""The version of the format; it grows when an older slurmslice cannot read an export."""

RUN_FILE = "run.toml"


def format_run(spec: RunSpec, made: Mapping[str, Any], submissions: Iterable[Any]) -> bytes:
    """Return ``run.toml``.

    Args:
        spec: the description of the run; only the fields of ``RunSpec`` are written.
        made: facts of its creation, by name.
        submissions: facts of each submission, by name.

    Raises:
        BadInputError: a text is not UTF-8, so TOML cannot hold it.
    """
    fields = {one.name: encode(getattr(spec, one.name)) for one in dataclasses.fields(RunSpec)}
    lines = [f"format = {EXPORT_FORMAT}", "", "[made]", *_pairs(made), "", "[run]", *_pairs(fields)]
    for one in submissions:
        lines += ["", "[[submission]]", *_pairs(one)]
    try:
        return ("\n".join(lines) + "\n").encode()
    except UnicodeEncodeError as why:
        raise BadInputError(
            f"The description of {spec.name} has a text that is not UTF-8.",
            "To take it over, name its run directory: slurmslice run --from DIR",
            code="not-utf8",
            path=RUN_FILE,
        ) from why


def _pairs(values: Mapping[str, Any]) -> list[str]:
    known = ((name, value) for name, value in values.items() if value is not None)
    return [
        f"{name if _BARE.fullmatch(name) else _text(name)} = {_toml(value)}"
        for name, value in known
    ]


_BARE = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
"""Keys that TOML does not quote."""


def _toml(value: Any) -> str:
    """Return a value in TOML 1.0; an inline table for a mapping, without its None."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(_pairs(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(value: str) -> str:
    """Return a basic string: as in JSON, but DEL is escaped too."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def parse_run(data: bytes, where: str) -> tuple[RunSpec, Mapping[str, Any]]:
    """Read ``run.toml``; return the description, and the facts of its creation.

    Raises:
        DamagedRunError: it is no such file (``damaged-run``), or a newer slurmslice wrote it
            (``newer-run``).
    """
    try:
        tree = load_toml(data)
        made, fields = dict(tree["made"]), dict(tree["run"])
        version = str(made["version"])
        known = {one.name for one in dataclasses.fields(RunSpec)}
        if tree["format"] > EXPORT_FORMAT or not fields.keys() <= known:
            raise newer_run(where, version)
        return decode(RunSpec, _completed(fields)), made
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, ValueError, TypeError, KeyError) as why:
        raise DamagedRunError(
            f"{where} is no description of an exported run ({type(why).__name__}: {why}).",
            "Export the run again: slurmslice export RUN",
            path=where,
        ) from why


def _completed(fields: dict[str, Any]) -> dict[str, Any]:
    """Add the default of each field that is missing; TOML has no None."""
    defaults = {
        one.name: encode(one.default)
        for one in dataclasses.fields(RunSpec)
        if one.default is not dataclasses.MISSING
    }
    whole = {**defaults, **fields}
    whole["packing"] = {"slice_time_s": None, **whole["packing"]}
    return whole


STATE_COLUMNS = (
    *("key", "state", "attempts", "exit_code", "job", "node", "started_at", "ended_at"),
    *("elapsed_s", "cpu_s", "max_rss_bytes", "requested_mem_bytes", "evidence", "reason"),
)
"""The columns of ``states.tsv``; an empty field is not known."""


def format_states(rows: Iterable[Sequence[object]]) -> bytes:
    """Return ``states.tsv`` of rows with the fields of ``STATE_COLUMNS``."""
    lines = [format_row(STATE_COLUMNS)]
    lines += [format_row("" if one is None else str(one) for one in row) for row in rows]
    return "".join(lines).encode("utf-8", "surrogateescape")


def parse_exported_states(data: bytes, where: str) -> dict[str, State]:
    """Read the state of each key in ``states.tsv``.

    Raises:
        DamagedRunError: it is no such file.
    """
    try:
        head, *lines = data.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
        names = parse_row(head)
        key, state = names.index("key"), names.index("state")
        rows = map(parse_row, lines)
        return {row[key]: State(row[state]) for row in rows}
    except (ValueError, IndexError) as why:
        raise DamagedRunError(
            f"{where} does not hold the states of slices ({why}).",
            "Export the run again: slurmslice export RUN",
            path=where,
        ) from why
