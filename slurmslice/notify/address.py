"""The addresses of a mail. Pure."""

from __future__ import annotations

import re

from slurmslice.errors import BadInputError

_ONE = r"[A-Za-z0-9_][A-Za-z0-9._%+~-]*(@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?)?"
_ADDRESS = re.compile(f"{_ONE}(,{_ONE})*")


def check_address(text: str) -> None:
    """Check the addresses of ``--mail-user``.

    Raises:
        BadInputError: there is none (``no-mail-address``), or it cannot be one.
    """
    if not _ADDRESS.fullmatch(text):
        raise BadInputError(
            f"{text!r} is no address for mail." if text else "--mail needs an address.",
            "Add --mail-user NAME@HOST, or set mail-user in [sbatch] of your settings.",
            code="no-mail-address",
            option="mail-user",
            value=text,
        )
