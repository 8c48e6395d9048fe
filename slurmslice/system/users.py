"""Names of users: the only module that reads the password database."""

from __future__ import annotations

import pwd
from functools import cache


@cache
def user_name(uid: int) -> str:
    """The name of a user id; the number itself if this machine does not know the user."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return str(uid)
