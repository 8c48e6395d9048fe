"""The table ``[mail]`` of settings files: how mail leaves this machine."""

from __future__ import annotations

import difflib
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from slurmslice.errors import BadInputError
from slurmslice.system.config_files import SITE_FILE, user_file
from slurmslice.system.files import read_file
from slurmslice.system.process import run_program
from slurmslice.system.toml_text import load_toml

_SECURITY = ("starttls", "tls", "none")
_COMMAND_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """The way of mail from this machine. Empty texts mean: not set.

    Attributes:
        smtp_host: the SMTP server; without one, mail goes by sendmail.
        smtp_port: its port; 0: the usual one of ``security``.
        security: ``starttls``, ``tls`` or ``none``.
        ca_file: a file with the certificates to trust; empty: those of this machine.
        user: the name to log in with; empty: no login.
        password_file: the file with the password; only its owner may read it.
        password_command: a program that prints the password, with its arguments.
        sender: the address of the sender.
    """

    smtp_host: str = ""
    smtp_port: int = 0
    security: str = "starttls"
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    password_command: tuple[str, ...] = ()
    sender: str = ""

    def password(self) -> str:
        """Read the password.

        Raises:
            BadInputError: others may read its file, or it cannot be had (``no-password``).
        """
        if self.password_command:
            done = run_program(self.password_command, timeout=_COMMAND_TIMEOUT_S)
            if done.returncode != 0 or not done.stdout.strip():
                raise _no_password(f"{self.password_command[0]} printed none")
            return done.stdout.splitlines()[0]
        path = Path(os.path.expanduser(self.password_file))
        try:
            if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise _no_password(f"others may read {path}; type chmod 600 {path}")
            return read_file(path).decode().splitlines()[0]
        except (OSError, UnicodeDecodeError, IndexError) as why:
            raise _no_password(f"{path}: {why}") from why


def _no_password(why: str) -> BadInputError:
    return BadInputError(
        f"The password for mail cannot be read: {why}.",
        "Set password-file or password-command in [mail].",
        code="no-password",
    )


KEYS = {field.name.replace("_", "-"): field.name for field in fields(MailSettings)}
KEYS["from"] = KEYS.pop("sender")


def parse_mail_table(table: Mapping[str, object], file: str) -> dict[str, object]:
    """Check the table ``[mail]`` of a settings file, and return its values by field.

    Raises:
        BadInputError: a key is not known (``unknown-key``), or a value is wrong (``bad-value``).
    """
    found: dict[str, object] = {}
    for key, value in table.items():
        where = f"{file}: [mail] {key}"
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1)
            raise BadInputError(
                f"{where} is not a known key.",
                f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(KEYS)}.",
                code="unknown-key",
                key=key,
                where=where,
                nearest=near[0] if near else None,
            )
        found[KEYS[key]] = _value(key, value, where)
    return found


def _value(key: str, value: object, where: str) -> object:
    takes = "a text"
    if key == "smtp-port":
        if isinstance(value, int) and 0 < value < 65536 and not isinstance(value, bool):
            return value
        takes = "a number from 1 to 65535"
    elif key == "password-command":
        if isinstance(value, list) and value and all(isinstance(one, str) for one in value):
            return tuple(value)
        takes = "a list of words"
    elif key == "security":
        if value in _SECURITY:
            return value
        takes = f"one of {', '.join(_SECURITY)}"
    elif isinstance(value, str) and value and value.isprintable():
        return value
    raise BadInputError(
        f"{where} is {value!r}; it must be {takes}.", code="bad-value", where=where, takes=takes
    )


def read_mail_settings() -> MailSettings:
    """Read ``[mail]`` of the site's file and of the user's, which counts more.

    A folder's file has none: another user may have written it, and would get the password.

    Raises:
        BadInputError: as ``parse_mail_table``, or a file is not TOML.
    """
    found: dict[str, object] = {}
    for path in (SITE_FILE, user_file()):
        found |= parse_mail_table(_mail_table(path), str(path))
    return MailSettings(**found)  # type: ignore[arg-type]


def _mail_table(path: Path) -> Mapping[str, object]:
    try:
        table = load_toml(read_file(path)).get("mail", {})
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as why:
        raise BadInputError(
            f"{path} cannot be read: {why}.", code="bad-settings-file", path=str(path)
        ) from why
    return table if isinstance(table, dict) else {"mail": table}
