"""Options without the value that they need, and flags with a value that they do not take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import click

_VALUE_GOES_TO = {
    "--retry": "--max-attempts N",
    "--mail": "--mail-user NAME@HOST",
    "--unattended": "--unattended-by steward|scrontab|cron",
    "--cancel-rest": "--max-failures N",
}
"""Flags for which people type a value, and the option that takes it."""


def refuse_option_as_value(
    ctx: click.Context, params: Iterable[click.Parameter], words: Sequence[str]
) -> None:
    """Refuse an option whose value would be the next option: ``--then --dry-run``.

    Click takes the next word as the value. The next option would be lost without a word, and
    ``--dry-run`` would submit. sbatch's options may be a value: ``--then-sbatch --mem=8G``.

    Args:
        ctx: the context of the command.
        params: its parameters, with sbatch's options if it takes them.
        words: the typed words before ``--``.

    Raises:
        click.BadOptionUsage: an option has no value.
    """
    options = [param for param in params if isinstance(param, click.Option)]
    valued = {flag for o in options if not (o.is_flag or o.count) for flag in o.opts}
    own = {*ctx.help_option_names, *(flag for p in ctx.command.params for flag in p.opts)}
    is_value = False
    for word, following in pairwise(words):
        if is_value or word not in valued:
            is_value = False
            continue
        if following in own:
            raise click.BadOptionUsage(word, _no_value(word, following))
        is_value = True


def _no_value(option: str, following: str) -> str:
    text = f"Option {option!r} has no value: {following!r} follows it, which is an option."
    both = f"{option}={following}" if option.startswith("--") else f"{option}{following}"
    return f"{text}\nIf that is its value, type {both}"


def explained(why: click.BadOptionUsage) -> click.BadOptionUsage:
    """Return the error about ``--retry=3``, with the option that takes the value."""
    hint = _takes_none(why.option_name)
    return click.BadOptionUsage(why.option_name, f"{why.message}\n{hint}".rstrip(), why.ctx)


def hint_for_value_of_flag(typed: Sequence[str], value: str) -> str:
    """Return a hint if a word stands after a flag as its value (``--retry 3``); else nothing."""
    return _takes_none(typed[typed.index(value) - 1]) if value in typed[1:] else ""


def _takes_none(flag: str) -> str:
    goes_to = _VALUE_GOES_TO.get(flag, "")
    return f"{flag} takes no value. Did you mean {flag} {goes_to}?" if goes_to else ""
