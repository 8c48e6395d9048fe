"""Dataclasses as JSON objects, by the types of their fields. Pure.

A field may hold text, a number, true or false, None, a tuple of one type, a dataclass, or one of
several dataclasses, which are recognised by the names of their fields. A class with the methods
``to_json`` and ``from_json`` has its own JSON form.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any


def encode(value: Any) -> Any:
    """Turn a value into its JSON form: an object for a dataclass, an array for a tuple."""
    if hasattr(value, "to_json"):
        return value.to_json()
    if is_dataclass(value):
        return {field.name: encode(getattr(value, field.name)) for field in fields(value)}
    return [encode(one) for one in value] if isinstance(value, tuple) else value


def decode(kind: Any, value: Any) -> Any:
    """Turn a JSON value back into a value of a type: the reverse of ``encode``.

    Args:
        kind: the type.
        value: the result of ``json.loads``.

    Raises:
        TypeError: the value is not of that type; the message names the field.
    """
    if hasattr(kind, "from_json"):
        return kind.from_json(_checked(dict, value))
    if is_dataclass(kind):
        return _decode_object(kind, _checked(dict, value))
    if typing.get_origin(kind) is tuple:
        return tuple(decode(typing.get_args(kind)[0], one) for one in _checked(list, value))
    if typing.get_origin(kind) in {types.UnionType, typing.Union}:
        return decode(_member(typing.get_args(kind), value), value)
    return _checked(kind, value)


@functools.cache
def _types(kind: type) -> Mapping[str, Any]:
    """Return the types of a dataclass's fields, by their names."""
    hints = typing.get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(typing.cast(Any, kind))}


def _decode_object(kind: Any, value: Mapping[str, Any]) -> Any:
    known = _types(kind)
    if known.keys() != value.keys():
        differing = ", ".join(sorted(known.keys() ^ value.keys()))
        raise TypeError(f"fields are missing or unknown: {differing}")
    given = {}
    for name, field_type in known.items():
        try:
            given[name] = decode(field_type, value[name])
        except TypeError as why:
            raise TypeError(f"{name}: {why}") from why
    return kind(**given)


def _member(kinds: tuple[Any, ...], value: Any) -> Any:
    """Find the type of a value among the types of a union; the last one if none fits."""
    for kind in kinds:
        if is_dataclass(kind):
            if isinstance(value, dict) and value.keys() == _types(typing.cast(type, kind)).keys():
                return kind
        elif isinstance(value, kind):
            return kind
    return kinds[-1]


def _checked(kind: Any, value: Any) -> Any:
    whole = kind is float and isinstance(value, int)  # JSON has one kind of number
    if whole or (isinstance(value, kind) and isinstance(value, bool) is (kind is bool)):
        return value
    raise TypeError(f"{value!r} is not of type {kind.__name__}")
