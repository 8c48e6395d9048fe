"""Who a number is: the one place that knows users' names."""

from __future__ import annotations

import pwd
from functools import cache


@cache
def user_name(uid: int) -> str:
    """The name of whom a process or a file belongs to; the number where nobody knows it here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
