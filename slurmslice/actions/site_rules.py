"""The rules of a site, in ``/etc/slurmslice.toml``: no user lifts them (docs/adr/0022).

::

    [site]
    unattended = "off"              # or "steward", the default
    contact = "hpc@example.org"     # shown to a user who meets a rule
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.system.config_files import SITE_FILE
from slurmslice.system.files import read_file

_MODES = ("steward", "off")


@dataclass(frozen=True, slots=True)
class SiteRules:
    """The rules of a site.

    Attributes:
        unattended: ``steward``, or ``off``: no run may be left to a job.
        contact: whom a user asks; empty for none.
    """

    unattended: str = "steward"
    contact: str = ""


def read_site_rules() -> SiteRules:
    """Read the rules; without a file, the defaults. Keys of a newer version are ignored.

    Raises:
        BadInputError: the file cannot be read or understood.
    """
    try:
        site = tomllib.loads(read_file(SITE_FILE).decode("utf-8-sig")).get("site", {})
        rules = SiteRules(site.get("unattended", "steward"), str(site.get("contact", "")))
    except FileNotFoundError:
        return SiteRules()
    except (OSError, ValueError, AttributeError, RecursionError) as why:
        raise _bad_file(str(why)) from why
    if rules.unattended not in _MODES:
        raise _bad_file(f"unattended is {rules.unattended!r}, and not {' or '.join(_MODES)}")
    return rules


def _bad_file(why: str) -> BadInputError:
    return BadInputError(
        f"The site's file {SITE_FILE} cannot be used: {why}.",
        "Tell the administrators. Without --unattended, slurmslice does not need it.",
        code="bad-settings-file",
        path=str(SITE_FILE),
    )


def switched_off() -> str:
    """Return why the site allows no unattended runs, for a person; empty if it allows them.

    Raises:
        BadInputError: as ``read_site_rules``.
    """
    rules = read_site_rules()
    if rules.unattended != "off":
        return ""
    contact = f"; contact: {rules.contact}" if rules.contact else ""
    return f"this site has switched unattended runs off ({SITE_FILE}{contact})"
