"""sbatch's options on the command line: known ones, the cluster's own, and ``--sbatch``."""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import click

from slurmslice import sbatch
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.foreign_options import option_meant
from slurmslice.errors import NoAnswerError
from slurmslice.sbatch import NO_OPTIONS, Option, Takes
from slurmslice.system.shell_quoting import quote_words

_ANY = "any_sbatch"


class OptionalValue(click.Option):
    """An option with an optional value, in the form ``--name=VALUE`` or ``-kVALUE``."""


class UnknownOption(click.NoSuchOption):
    """An unknown option. The message names the one that is meant, or the way to pass it anyway.

    Args:
        name: the typed option.
        ctx: the context of the command, with the cluster's options if sbatch listed them.
    """

    def __init__(self, name: str, ctx: click.Context) -> None:
        known = [flag for param in ctx.command.get_params(ctx) for flag in param.opts]
        near = difflib.get_close_matches(name, [flag for flag in known if flag[:2] == "--"], 1)
        self._meant = hint_for_other_verb(ctx, name) or option_meant(name)
        super().__init__(name, None, None if self._meant else near or None, ctx)
        self._silence: str = ctx.meta.get("silence", "")
        self._is_local: bool = ctx.meta.get("local", False)

    def format_message(self) -> str:
        """Return click's message and our advice."""
        if self._meant:
            return f"{super().format_message()}\n{self._meant}"
        known = "slurmslice knows its own options, and sbatch's from Slurm 20.11 to 26.05"
        if self._silence and self._is_local:  # a run on this machine needs no sbatch
            return f"{super().format_message()}\n{known}."
        more = (
            f"sbatch did not list its options: {self._silence.rstrip('.')}."
            if self._silence
            else "`sbatch --help` does not list it here."
        )
        return (
            f"{super().format_message()}\n"
            f"{known}; {more}\nTo pass an option to sbatch anyway: --sbatch NAME=VALUE"
        )


def hint_for_other_verb(ctx: click.Context, option: str) -> str:
    """Return a hint if another verb has an option; empty if none has it.

    ``run`` comes first, because its options are those that people remember.
    """
    verb = ctx.info_name or ""
    if (meant := _MEANT.get((verb, option))) is not None:
        return meant
    group = ctx.parent.command if ctx.parent else None
    if not isinstance(group, click.Group):
        return ""
    for other in ("run", *group.list_commands(ctx)):
        command = group.get_command(ctx, other)
        params = command.params if command else ()
        found = next((param for param in params if option in param.opts), None)
        if found is not None and other != verb:
            is_for_new_run = getattr(command, "describes_new_run", lambda name: False)
            if is_for_new_run(str(found.name)):
                return f"{option} describes a new run: slurmslice {other} {option} … -- COMMAND"
            line = f"slurmslice {other} {locate_run.typed_run()} {_with_value(option)}"
            return f"`{other}` has this option: {line}"
    return ""


def _with_value(option: str) -> str:
    """Return a typed option, with the next word if that seems to be its value."""
    typed = sys.argv[2:]
    given = next((word for word in typed if word.partition("=")[0] == option), option)
    value = typed[typed.index(given) + 1 :][:1] if given in typed else []
    return quote_words([given, *(word for word in value if not word.startswith("-"))])


_MEANT = {("status", "--table"): "For one line per slice: slurmslice status RUN --slices"}


def sbatch_params(ctx: click.Context, taken: set[str]) -> list[click.Option]:
    """Return ``--sbatch`` and sbatch's options, with those of their flags that are not taken."""
    if "sbatch_params" not in ctx.meta:  # click calls this several times
        ctx.meta["sbatch_params"] = _params(ctx, taken)
    params: list[click.Option] = ctx.meta["sbatch_params"]
    return params


def _params(ctx: click.Context, taken: set[str]) -> list[click.Option]:
    params = [
        click.Option(
            [_ANY, "--sbatch"],
            multiple=True,
            metavar="NAME[=VALUE]",
            help="Pass an option to sbatch, also one that slurmslice does not know (a plugin's). "
            "The value of a known option is checked. Do not give an option in both ways with "
            "different values.",
        )
    ]
    for name, option in _all_options(ctx).items():
        flags = [f"--{name}", *([f"-{option.letter}"] if option.letter else [])]
        free = [flag for flag in flags if flag not in taken]
        if free:
            params.append(_param([_parameter(name), *free], option))
    return params


def _param(names: list[str], option: Option) -> click.Option:
    match option.takes:
        case Takes.NOTHING:
            return click.Option(names, flag_value="", default=None, hidden=True)
        case Takes.OPTIONAL:
            return OptionalValue(names, default=None, hidden=True)
        case Takes.VALUE:
            several = sbatch.accumulates(option.name)
            return click.Option(names, default=None, hidden=True, multiple=several)


def _parameter(name: str) -> str:
    return "sbatch_" + re.sub(r"\W", "_", name)


def _all_options(ctx: click.Context) -> Mapping[str, Option]:
    return {**_listed_by_cluster(ctx), **sbatch.known_options()}


def _listed_by_cluster(ctx: click.Context) -> Mapping[str, Option]:
    """Return the cluster's own options; empty if sbatch was not asked."""
    listed: Mapping[str, Option] = ctx.meta.get("cluster_options", NO_OPTIONS)
    return listed


def cluster_options(ctx: click.Context) -> Mapping[str, Option]:
    """Return the options in this cluster's ``sbatch --help``, which is called once per command.

    If sbatch does not answer, there are none and ``ctx.meta["silence"]`` has the reason.
    """
    if "cluster_options" not in ctx.meta:
        from slurmslice.engines.slurm.client import SlurmClient  # late: only for an unknown name

        ctx.meta["cluster_options"], ctx.meta["silence"] = NO_OPTIONS, ""
        ctx.meta.pop("sbatch_params", None)
        try:
            ctx.meta["cluster_options"] = SlurmClient(os.environ).sbatch_options()
        except NoAnswerError as why:
            ctx.meta["silence"] = why.message
    return _listed_by_cluster(ctx)


def pop_sbatch_options(
    ctx: click.Context, check: Callable[[str, str], tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """Remove sbatch's options from the parameters, and return their long names and values.

    A repeated option has the value that sbatch gives it: the last one, or a value that keeps a part
    of each (``--mail-type``).

    Args:
        ctx: the context of the command; its line is parsed.
        check: checks the name and the value of an option, and returns both.

    Raises:
        BadInputError: ``check`` refuses a value; or ``--sbatch`` has an impossible name, or another
            value than the option itself; or a cluster's option lacks its value.
    """
    more = _listed_by_cluster(ctx)
    given = sbatch.values_in_force(check(*one) for one in _typed_values(ctx))
    for name, value in given.items():
        yield sbatch.check_option(name, value, more) if name in more else (name, value)
    parts = [text.partition("=") for text in ctx.params.pop(_ANY, ())]
    passed = sbatch.values_in_force(
        check(sbatch.any_option(name).name, value) for name, _, value in parts
    )
    for name, value in passed.items():
        if name in given and not sbatch.accumulates(name):
            sbatch.check_same_value(name, given[name], value)
        yield name, value


def _typed_values(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """Remove sbatch's options from the parameters, and return each typed value."""
    for name in _all_options(ctx):
        typed = ctx.params.pop(_parameter(name), None)
        for value in typed if isinstance(typed, tuple) else (typed,):
            if value is not None:
                yield name, value


def mark_optional_values(params: Iterable[click.Parameter], words: Sequence[str]) -> list[str]:
    """Return the words, with ``--name=`` for each option that has an optional value.

    Click would read the next word as its value; sbatch does not (getopt_long(3)).
    """
    options = [param for param in params if isinstance(param, click.Option)]
    optional = {flag: _long(o) for o in options if isinstance(o, OptionalValue) for flag in o.opts}
    valued = {f for o in options if not (o.is_flag or o.count) for f in o.opts} - optional.keys()
    result: list[str] = []
    is_value = False
    for word in words:
        if is_value or not word.startswith("-"):
            result.append(word)
            is_value = False
        elif word.startswith("--"):
            result.append(f"{word}=" if word in optional else word)
            is_value = word in valued
        else:
            result += _spell_out_letters(word, optional, valued)
            is_value = f"-{word[-1]}" in valued and not _has_value(word, valued)
    return result


def _long(option: click.Option) -> str:
    return next((flag for flag in option.opts if flag.startswith("--")), option.opts[0])


def _spell_out_letters(word: str, optional: Mapping[str, str], valued: set[str]) -> list[str]:
    """Return ``-H --no-kill=`` for ``-Hk``, and other words unchanged."""
    last = f"-{word[-1]}"
    if last not in optional or _has_value(word, {*valued, *optional}):
        return [word]
    return [*([word[:-1]] if len(word) > 2 else []), f"{optional[last]}="]


def _has_value(word: str, valued: set[str]) -> bool:
    """Return whether a letter before the last one takes the rest of the word as its value."""
    return any(f"-{letter}" in valued for letter in word[1:-1])
