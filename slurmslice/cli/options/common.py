"""Arguments and options of several verbs, and the command classes that parse them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any

import click

from slurmslice import sbatch
from slurmslice.cli.options import locate_run
from slurmslice.cli.options.foreign_options import option_meant
from slurmslice.cli.options.misplaced_values import explained, refuse_option_as_value
from slurmslice.cli.options.sbatch_options import (
    UnknownOption,
    cluster_options,
    hint_for_other_verb,
    mark_optional_values,
    pop_sbatch_options,
    sbatch_params,
)
from slurmslice.cli.output.typed_line import line_with_key_last
from slurmslice.errors import BadInputError
from slurmslice.policy.failure_limit import parse_failure_limit
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import is_factor, parse_digits, parse_duration
from slurmslice.spec.run_spec import FailureLimit
from slurmslice.status.states import State

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

run_argument: Decorator = click.argument("run_name", metavar="[RUN]", required=False)
run_and_keys_argument: Decorator = click.argument("words", nargs=-1, metavar="[RUN] [KEY]...")
dry_run_option: Decorator = click.option(
    "--dry-run", is_flag=True, help="Show what would be done, and do nothing."
)
state_option: Decorator = click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="Only slices in these states. Separate them by commas. FAIL means all failures.",
)
exit_code_option: Decorator = click.option(
    "--exit-code",
    "set_exit_code",
    is_flag=True,
    help="Exit with 0 if every slice is done, 1 if some failed, 4 if the run is not finished, "
    "6 if its own rule holds it.",
)
engine_option: Decorator = click.option(
    "--engine",
    type=click.Choice(["auto", "slurm", "local"]),
    default="auto",
    show_default=True,
    help="Run the slices on Slurm or on this machine.",
)


def failure_limit(text: FailureLimit) -> FailureLimit:
    """Return the value of ``--max-failures``.

    Raises:
        click.BadParameter: the text is no limit.
    """
    try:
        return parse_failure_limit(str(text))
    except ValueError as why:
        raise click.BadParameter(str(why)) from why


def whole_number(text: str) -> int:
    """Return the number of an option, from 1 up. Its help has no range, unlike click's IntRange.

    Raises:
        click.BadParameter: the text is no such number.
    """
    number = parse_digits(text)
    if not number:
        raise click.BadParameter(f"{text!r} is not a whole number from 1 up.")
    return number


def seconds(text: str) -> float:
    """Return the number of seconds of an option, from 0.1 up; a unit may follow it (``5m``).

    Raises:
        click.BadParameter: the text is no such number.
    """
    try:
        number = parse_duration(text) if text[-1:].isalpha() else float(text)
    except (ValueError, BadInputError):
        number = 0.0
    if not 0.1 <= number < float("inf"):
        raise click.BadParameter(f"{text!r} is not a number of seconds from 0.1 up.")
    return number


max_failures_option: Decorator = click.option(
    "--max-failures",
    type=failure_limit,
    metavar="N|P%|none",
    help="Hold the rest after N slices, or P percent of all slices, have failed and have no "
    "attempts left. none: never hold it. "
    "Default: hold it if 20 attempts or more failed and almost nothing beside them does well. A "
    "higher N, or none, releases the slices that are held.",
)


new_env_option: Decorator = click.option(
    "--new-env",
    is_flag=True,
    help="Use the environment of this shell, from now on, for an existing run. Without it, a later "
    "attempt gets the environment of the first one, or is refused.",
)


same_code_option: Decorator = click.option(
    "--same-code/--any-code",
    default=None,
    help="Refuse a later attempt if a file of code has changed since an earlier one, or the git "
    "commit. A new run records it for all its attempts. Default: --any-code.",
)


def split_at_dashes(typed: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return the words before the first ``--``, the ``--``, and the words after it.

    The last two are empty if there is no ``--``.
    """
    at = typed.index("--") if "--" in typed else len(typed)
    return list(typed[:at]), list(typed[at : at + 1]), list(typed[at + 1 :])


def name_meaning(why: click.NoSuchOption, ctx: click.Context) -> None:
    """Raise the error with our word for an option of another program, if we have one.

    Raises:
        UnknownOption: we have one.
    """
    if option_meant(why.option_name) and not isinstance(why, UnknownOption):
        raise UnknownOption(why.option_name, ctx) from why


class SbatchCommand(click.Command):
    """A command that also accepts sbatch's options, and words after ``--``.

    An unknown option is looked up in the cluster's own ``sbatch --help``. The parsed options are
    in ``ctx.meta["sbatch"]`` (a checked request), the words in ``ctx.meta["words"]``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Separate the words after the first ``--`` and sbatch's options from the other options."""
        args, _, words = split_at_dashes(args)
        ctx.meta["words"] = tuple(words)
        rest = self._parse_known(ctx, args)
        ctx.meta["sbatch"] = ResourceRequest.of(pop_sbatch_options(ctx, self.checked))
        sbatch.check_conflicts(ctx.meta["sbatch"].options)
        return rest

    def _parse_known(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse. If an option is unknown, ask the cluster for its options and parse again.

        Raises:
            UnknownOption: the cluster does not have the option either, or did not answer.
        """
        try:
            return self._parse_once(ctx, args)
        except click.NoSuchOption as why:
            if not why.option_name.startswith("--"):
                name_meaning(why, ctx)
                raise
        cluster_options(ctx)
        try:
            return self._parse_once(ctx, args)
        except click.NoSuchOption as why:
            ctx.meta["local"] = self.engine_in_force(args) == "local"
            raise UnknownOption(why.option_name, ctx) from why

    def _parse_once(self, ctx: click.Context, args: list[str]) -> list[str]:
        args = mark_optional_values(self.get_params(ctx), args)
        refuse_option_as_value(ctx, self.get_params(ctx), args)
        try:
            return super().parse_args(ctx, args)
        except click.BadOptionUsage as why:
            raise explained(why) from why

    def engine_in_force(self, args: Sequence[str]) -> str:
        """Return the engine of a line with a mistake; empty if it names none."""
        return locate_run.typed_engine(args)

    def checked(self, name: str, value: str) -> tuple[str, str]:
        """Return the long name and the checked value of an option of sbatch.

        Raises:
            BadInputError: sbatch or the script cannot take the value.
        """
        return sbatch.check_any_option(name, value)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """Return the command's own parameters, then sbatch's options with other names."""
        own = super().get_params(ctx)
        taken = {opt for param in own for opt in param.opts}
        return [*own, *sbatch_params(ctx, taken)]


class KeysCommand(click.Command):
    """A command that takes keys of slices. A key may begin with a dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse. If a key was read as an unknown option, say how to type such a key."""
        typed = list(args)
        refuse_option_as_value(ctx, self.params, split_at_dashes(args)[0])
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as why:
            option = why.option_name
            is_typed = any(word.partition("=")[0] == option for word in typed)  # not -first for -f
            if is_typed and (hint_for_other_verb(ctx, option) or option_meant(option)):
                raise UnknownOption(option, ctx) from why
            letters = option.lstrip("-")
            word = next((w for w in typed if w.startswith("-") and letters in w), None)
            if word is None or why.possibilities:
                raise
            hint = f"Type a key that begins with a dash after --: {line_with_key_last(word)}"
            raise click.UsageError(f"{why.format_message()}\n{hint}", ctx) from why


class ChangingCommand(SbatchCommand):
    """A command whose options change the request in force; ``--mem 2x`` doubles it."""

    def checked(self, name: str, value: str) -> tuple[str, str]:
        """Check an option, but not a factor: the request that it multiplies is not known yet."""
        if is_factor(value):
            return name, value
        context = click.get_current_context()
        verb = context.info_name or ""
        verb = f"{verb} RUN" if verb == "run" and context.params.get("run_name") else verb
        if name == "array" and verb in _HOW_TO_CHOOSE:
            raise BadInputError(
                "--array cannot be given here.",
                _HOW_TO_CHOOSE[verb].format(locate_run.typed_run(), value),
                code="option-not-allowed",
                option="array",
                verb=verb,
            )
        try:
            if verb in _RENAMING:
                return sbatch.check_change(name, value)
            return super().checked(name, value)
        except BadInputError as why:
            if not (
                self.multiplies() and name in {"time", "mem", *sbatch.conflicting_options("mem")}
            ):
                raise
            raise why.inside("", f"{why.hint} To double what a slice had, write 2x.") from why

    def multiplies(self) -> bool:
        """Return whether there is a request that a factor could multiply."""
        return True


_RENAMING = {"submit", "resubmit"}
"""Verbs that take -J NAME for their jobs. For ``run`` it is the name of a new run."""

_HOW_TO_CHOOSE = {
    "resubmit": "Name the slices: slurmslice resubmit {} {}",
    "submit": "Name the slices: slurmslice submit {} {}",
    "run RUN": "Name the slices: slurmslice submit {} {}",
}
"""The hint for a person who types sbatch's ``--array`` to choose slices, by verb."""


def typed_words_and_request() -> tuple[tuple[str, ...], ResourceRequest]:
    """Return the words after ``--`` and sbatch's options of the command that is running."""
    context = click.get_current_context()
    return context.meta["words"], context.meta["sbatch"]


def keys_from_words(run: Run, keys: tuple[str, ...]) -> list[int] | None:
    """Return the rows of the slices that were named; None if none was named."""
    return run.table.select(keys) if keys else None


def parse_states(texts: tuple[str, ...]) -> frozenset[State] | None:
    """Return the states that were named, separated by commas or one by one; FAIL: all failures.

    Raises:
        BadInputError: there is no such state.
    """
    if not texts:
        return None
    chosen: set[State] = set()
    for word in ",".join(texts).upper().split(","):
        if word in {"FAILURES", "FAIL"}:
            chosen.update(state for state in State if state.failed)
        elif word in State.__members__:
            chosen.add(State[word])
        else:
            hint = f"{_suggest_state(word)}States: {', '.join(State)}; FAIL means all failures."
            raise BadInputError(
                f"There is no state {word!r}.", hint, code="unknown-state", state=word
            )
    return frozenset(chosen)


def _suggest_state(word: str) -> str:
    """Return a question that names the nearest state, also for Slurm's initials (OOM, NF)."""
    by_initials = (s for s in State if word == "".join(part[0] for part in s.split("_")))
    near = [*difflib.get_close_matches(word, [*State, "FAIL"], 1), *by_initials]
    return f"Did you mean {near[0]}? " if near else ""
