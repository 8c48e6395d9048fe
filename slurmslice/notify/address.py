"""The addresses of a mail. Pure."""

from __future__ import annotations

import re

from slurmslice.errors import BadInputError

_ADDRESS = re.compile(r"[^@\s,<>]+(@[^@\s,<>]+)?(,[^@\s,<>]+(@[^@\s,<>]+)?)*")


def check_address(text: str) -> None:
    """Check the addresses of ``--mail-user``.

    Raises:
        BadInputError: there is none (``no-mail-address``), or it cannot be one.
    """
    if not (_ADDRESS.fullmatch(text) and text.isprintable()):
        raise BadInputError(
            f"{text!r} is no address for mail." if text else "--mail needs an address.",
            "Add --mail-user NAME@HOST, or set mail-user in [sbatch] of your settings.",
            code="no-mail-address",
            option="mail-user",
            value=text,
        )
