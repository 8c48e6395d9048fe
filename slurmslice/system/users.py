"""Names of users: the only module that reads the password database."""

from __future__ import annotations

import pwd
from collections.abc import Iterable
from functools import cache


@cache
def user_name(uid: int) -> str:
    """The name of a user id; the number itself if this machine does not know the user."""
    known = account(uid)
    return str(uid) if known is None else known.pw_name


def other_owner(owners: Iterable[int], me: int) -> int | None:
    """Return the first of these user ids that is not mine; None if all are."""
    return next((owner for owner in owners if owner != me), None)


def account(uid: int) -> pwd.struct_passwd | None:
    """Return the entry of a user id; None if this machine does not know the user."""
    try:
        return pwd.getpwuid(uid)
    except (KeyError, OverflowError):
        return None
