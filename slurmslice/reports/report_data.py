"""The slices of a run by column, packed for the script of a report. Pure. ADR 45."""

from __future__ import annotations

import base64
import json
import sys
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_UNKNOWN = -(2**31)
_MOST = 2**31 - 1
_DICTIONARY_MOST = 65536


@dataclass(frozen=True, slots=True)
class Numbers:
    """A column of numbers.

    Attributes:
        name: its name.
        values: its values; None for one that is not known.
        unit: ``s``, ``B`` for bytes, ``at`` for epoch seconds; empty for a plain number.
    """

    name: str
    values: Sequence[float | None]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts."""

    name: str
    values: Sequence[str]


def pack_columns(columns: Sequence[Numbers | Texts]) -> str:
    """Return columns of one length as base64 of DEFLATE.

    It begins with the length of a JSON text (four bytes, least significant first) and that text,
    which lists the columns. The numbers follow: 32 bits each, and for each column first the least
    significant byte of every value, then the next ones. A number that the page shows with few
    digits has no more: a code in their order (``_time_code``, ``_memory_code``). A column of texts
    has its values in the JSON text, or, if many are equal, a dictionary there and its places as
    numbers.
    """
    heads, planes = list[dict[str, object]](), list[bytes]()
    for column in columns:
        head: dict[str, object] = {"name": column.name}
        if isinstance(column, Numbers):
            head["unit"] = column.unit
            code = {"s": _time_code, "B": _memory_code}.get(column.unit, round)
            planes.append(_planes(_codes(column.values, code)))
        else:
            places = {text: place for place, text in enumerate(dict.fromkeys(column.values))}
            if len(places) <= min(_DICTIONARY_MOST, len(column.values) / 2):
                head["words"] = [_visible(text) for text in places]
                planes.append(_planes(places[text] for text in column.values))
            else:
                head["texts"] = [_visible(text) for text in column.values]
        heads.append(head)
    header = json.dumps({"columns": heads}, separators=(",", ":")).encode("ascii")
    whole = len(header).to_bytes(4, "little") + header + b"".join(planes)
    return base64.b64encode(zlib.compress(whole, 9)).decode("ascii")


def _codes(values: Iterable[float | None], code: Callable[[float], int]) -> Iterator[int]:
    for value in values:
        yield _UNKNOWN if value is None else max(-_MOST, min(_MOST, code(value)))


def _time_code(seconds: float) -> int:
    """Return tenths of a second below a minute, then 600 and the whole seconds above a minute."""
    return round(10 * seconds) if seconds < 60 else 540 + round(seconds)


def _memory_code(size: float) -> int:
    """Return MiB below a GiB, then 1024 and the hundredths of a GiB above one."""
    return round(size / 2**20) if size < 2**30 else 924 + round(100 * size / 2**30)


def _planes(values: Iterable[int]) -> bytes:
    """Return the bytes of numbers, those of one rank together."""
    numbers = array("i", values)
    if sys.byteorder == "big":
        numbers.byteswap()
    data = numbers.tobytes()
    return b"".join(data[rank::4] for rank in range(4))


def _visible(text: str) -> str:
    """Return a text without lone surrogates, which stand for bytes that are not UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
