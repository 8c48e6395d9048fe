"""Read the rules of a site from ``/etc/slurmslice.toml``: no user lifts them (docs/adr/0030).

::

    [site]
    unattended = "off"              # or "steward", "scrontab", "cron"
    max-attempts = 3
    contact = "hpc@example.org"     # shown to a user who meets a rule
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from slurmslice.errors import BadInputError
from slurmslice.policy.budget import BUDGET_FORM, check_budget
from slurmslice.run.run import Run
from slurmslice.run.site_rules import MAIL_WAYS, NO_RULES, SiteRules
from slurmslice.run.steward_record import BY_JOB, TABLES
from slurmslice.sbatch.typed_options import parse_typed_options
from slurmslice.sbatch.units import parse_duration, parse_memory
from slurmslice.system.config_files import SITE_FILE
from slurmslice.system.files import read_file

_MODES = (BY_JOB, *TABLES, "off")
_TABLES = ("site", "mail", "defaults")


@dataclass(frozen=True, slots=True)
class _Key:
    """A key of ``[site]``.

    Attributes:
        field: its name in ``SiteRules``.
        takes: its form, for a person.
        parse: returns its value; raises ValueError, TypeError or BadInputError for any other form.
        words: the words that it takes, if it takes words.
    """

    field: str
    takes: str
    parse: Callable[[object], object]
    words: tuple[str, ...] = ()


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise TypeError
    return value


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError
    return value


def _number(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise TypeError
        return value

    return parse


def _word(words: tuple[str, ...]) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError
        return str(value)

    return parse


def _list(words: tuple[str, ...] = ()) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise TypeError
        if words and not set(value) <= set(words):
            raise ValueError
        return tuple(value)

    return parse


def _command(value: object) -> tuple[str, ...]:
    words = _list()(value) if isinstance(value, list) else tuple(shlex.split(_text(value)))
    if not words or not words[0].startswith("/") or any("\0" in word for word in words):
        raise ValueError
    return words


def _memory(value: object) -> int:
    mib = parse_memory(_text(value))
    if not mib:  # to sbatch, 0 is all memory of a node
        raise ValueError
    return mib


def _nodes(value: object) -> int | None:
    if isinstance(value, bool):
        return None if value else 0
    return _number(0, 10**6)(value)


_MOST = 10**6
_KEYS = {
    "unattended": _Key("unattended", f"one of {', '.join(_MODES)}", _word(_MODES), _MODES),
    "steward-sbatch": _Key(
        "steward_sbatch", "options of sbatch: '-p serial'", lambda v: parse_typed_options(_text(v))
    ),
    "min-pause": _Key(
        "min_pause_s", 'a duration: "5m"', lambda value: int(parse_duration(_text(value)))
    ),
    "min-poll": _Key("min_poll_s", 'a duration: "30s"', lambda value: parse_duration(_text(value))),
    "rounds-per-day": _Key("rounds_per_day", "a number from 1 up", _number(1, _MOST)),
    "terms": _Key("terms", "a number from 3 to 1000", _number(3, 1000)),
    "max-attempts": _Key("max_attempts", "a number from 1 up", _number(1, _MOST)),
    "budget": _Key("budget", BUDGET_FORM, lambda value: check_budget(_text(value))),
    "max-mem": _Key("max_mem_mib", 'memory above 0: "64G"', _memory),
    "exclude-nodes": _Key("exclude_nodes", "true, false, or a number of nodes", _nodes),
    "update-pending": _Key("update_pending", "true or false", _flag),
    "mail": _Key("mail", f"a list of {', '.join(MAIL_WAYS)}", _list(MAIL_WAYS), MAIL_WAYS),
    "names-with-results": _Key("names_with_results", "true or false", _flag),
    "bad-node-command": _Key(
        "bad_node_command", "a program by its whole path, with its arguments", _command
    ),
    "contact": _Key("contact", "a text", _text),
}


def read_site_rules() -> SiteRules:
    """Read the rules; without a file, the defaults.

    Raises:
        BadInputError: the file cannot be read (``bad-settings-file``), has an unknown key
            (``unknown-key``), or a value of another form (``bad-value``).
    """
    try:
        data = read_file(SITE_FILE)
        from slurmslice.system.toml_text import load_toml

        tree = load_toml(data)
    except FileNotFoundError:
        return NO_RULES
    except (OSError, ValueError) as why:
        raise BadInputError(
            f"The site's file {SITE_FILE} cannot be used: {why}.",
            _TELL, code="bad-settings-file", path=str(SITE_FILE),
        ) from why  # fmt: skip
    for name in tree:
        if name not in _TABLES:
            raise _unknown(name, f"{SITE_FILE}: {name}", _TABLES)
    return _parse_table(tree.get("site", {}))


_TELL = "Tell the administrators. Until then, slurmslice does nothing by itself."


def _parse_table(table: object) -> SiteRules:
    if not isinstance(table, Mapping):
        raise _bad_value(f"{SITE_FILE}: site", table, "a table")
    found: dict[str, object] = {}
    for name, value in table.items():
        where = f"{SITE_FILE}: [site] {name}"
        if (key := _KEYS.get(name)) is None:
            raise _unknown(name, where, tuple(_KEYS))
        try:
            found[key.field] = key.parse(value)
        except (ValueError, TypeError, OverflowError, BadInputError) as why:
            raise _bad_value(where, value, key.takes, _nearest(value, key.words)) from why
    return SiteRules(**found)  # type: ignore[arg-type]


def _nearest(value: object, words: tuple[str, ...]) -> str:
    """Return the nearest word to a value that is not among them; empty if none is near."""
    wrong = [one for one in (value if isinstance(value, list) else [value]) if one not in words]
    near = difflib.get_close_matches(str(wrong[0]), words, 1) if wrong else []
    return near[0] if near else ""


def _unknown(key: str, where: str, known: tuple[str, ...]) -> BadInputError:
    near = difflib.get_close_matches(key, known, 1)
    words = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(known)}."
    return BadInputError(
        f"{where} is not a known key.",
        f"{words} {_TELL}",
        code="unknown-key",
        key=key,
        where=where,
        path=str(SITE_FILE),
        nearest=near[0] if near else None,
    )


def _bad_value(where: str, value: object, takes: str, nearest: str = "") -> BadInputError:
    return BadInputError(
        f"{where} is {value!r}; it must be {takes}.",
        f"{f'Did you mean {nearest}? ' if nearest else ''}{_TELL}",
        code="bad-value",
        where=where,
        takes=takes,
        path=str(SITE_FILE),
        nearest=nearest or None,
    )


def rules_in_force() -> SiteRules:
    """Return the rules of this moment. If they cannot be read, they have a fault."""
    try:
        return read_site_rules()
    except BadInputError as why:
        return SiteRules(fault=f"{why.message} {why.hint}")


def load_site_rules(run: Run) -> None:
    """Read the rules for this round of a run."""
    run.site = rules_in_force()


def switched_off(rules: SiteRules, way: str = "") -> str:
    """Return why a site allows no unattended runs, for a person; empty if it allows them.

    Args:
        rules: the rules of the site.
        way: the way in which a run is followed; empty: any.
    """
    contact = f"; contact: {rules.contact}" if rules.contact else ""
    if rules.unattended == "off":
        return f"this site has switched unattended runs off ({SITE_FILE}{contact})"
    if way and rules.unattended not in {"", way}:
        return f"this site allows unattended runs by {rules.unattended} only ({SITE_FILE}{contact})"
    return ""
