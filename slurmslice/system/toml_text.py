"""Text in TOML 1.0."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from typing import Any


def load_toml(data: bytes, parse_float: Callable[[str], Any] = float) -> dict[str, Any]:
    """Parse TOML, with a byte-order mark or without.

    Args:
        data: the bytes of a file.
        parse_float: converts the text of a decimal number.

    Raises:
        UnicodeDecodeError: it is not UTF-8.
        TOMLDecodeError: it is not TOML, or tomllib cannot parse it: it is nested too deeply, or a
            number is too long. The message ends with the place if it is known.
    """
    text = data.decode("utf-8-sig")
    try:
        return tomllib.loads(text, parse_float=parse_float)
    except tomllib.TOMLDecodeError:
        raise
    except RecursionError as why:
        raise tomllib.TOMLDecodeError("its brackets are nested too deeply") from why
    except ValueError as why:
        raise tomllib.TOMLDecodeError("a number has too many digits") from why
