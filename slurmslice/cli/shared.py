"""What several verbs share: arguments, the words after ``--``, sbatch's options."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from slurmslice import directives, requests
from slurmslice.cli import places
from slurmslice.cli.sbatch_options import (
    UnknownOption,
    cluster_options,
    sbatch_params,
    spell_out,
    take_given,
)
from slurmslice.command import join, quote
from slurmslice.errors import BadInput
from slurmslice.resources import ResourceRequest
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.units import is_factor

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

run_argument: Decorator = click.argument("run_name", metavar="[RUN]", required=False)
dry_run_option: Decorator = click.option(
    "--dry-run", is_flag=True, help="Show what would be done; make nothing."
)
state_option: Decorator = click.option(
    "--state",
    "states",
    multiple=True,
    metavar="STATE",
    help="Only slices in these states (with commas, or repeated; FAIL: all failures).",
)
no_breaker_option: Decorator = click.option(
    "--no-breaker", is_flag=True, help="Release what the breaker holds, and hold nothing more."
)
engine_option: Decorator = click.option(
    "--engine",
    type=click.Choice(["auto", "slurm", "local"]),
    default="auto",
    show_default=True,
    help="What runs the slices: Slurm, or this machine.",
)


def _split(typed: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """What stands before the first ``--``, it, and what stands after it, as ``str.partition``."""
    at = typed.index("--") if "--" in typed else len(typed)
    return list(typed[:at]), list(typed[at : at + 1]), list(typed[at + 1 :])


class SbatchCommand(click.Command):
    """A command that takes sbatch's options too, and words after ``--``.

    An option that is not known is looked up in the cluster's own ``sbatch --help``. What was given
    is left in ``ctx.meta["sbatch"]`` (a checked request) and ``ctx.meta["words"]``.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split off the words after the first ``--`` and take sbatch's options aside."""
        args, _, words = _split(args)
        ctx.meta["words"] = tuple(words)
        rest = self._parsed(ctx, args)
        given = (self.checked(name, value) for name, value in take_given(ctx))
        ctx.meta["sbatch"] = ResourceRequest.of(given)
        directives.check_memory(ctx.meta["sbatch"].options)
        return rest

    def _parsed(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse; ask the cluster for its options, and parse again, if one is not known.

        Raises:
            UnknownOption: the cluster has none of that name either, or could not be asked.
        """
        try:
            return self._parsed_once(ctx, args)
        except click.NoSuchOption as why:
            if not why.option_name.startswith("--"):
                raise
        cluster_options(ctx)
        try:
            return self._parsed_once(ctx, args)
        except click.NoSuchOption as why:
            raise UnknownOption(why.option_name, ctx) from why

    def _parsed_once(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, spell_out(self.get_params(ctx), args))

    def checked(self, name: str, value: str) -> tuple[str, str]:
        """An option of sbatch whose name was found, and whose value can stand; or an error."""
        return directives.check_any(name, value)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own, then each of sbatch's that it does not have itself."""
        own = super().get_params(ctx)
        taken = {opt for param in own for opt in param.opts}
        return [*own, *sbatch_params(ctx, taken)]


class KeysCommand(click.Command):
    """A command that takes keys, of which some may begin with a dash."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Name the form for such a key where it is taken for an option that there is not."""
        typed = list(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as why:
            letters = why.option_name.lstrip("-")
            word = next((w for w in typed if w.startswith("-") and letters in w), None)
            if why.possibilities or word is None:
                raise
            hint = (
                f"It is an option of run: slurmslice run RUN {quote(word)} …"
                if _is_of_run(ctx, why.option_name)
                else f"A key that begins with a dash follows --: {ctx.command_path} RUN -- "
                f"{quote(word)}"
            )
            raise click.UsageError(f"{why.format_message()}\n{hint}", ctx) from why


def _is_of_run(ctx: click.Context, option: str) -> bool:
    group = ctx.parent.command if ctx.parent else None
    run = group.get_command(ctx, "run") if isinstance(group, click.Group) else None
    return run is not None and any(option in parameter.opts for parameter in run.params)


class WordsCommand(SbatchCommand):
    """The same, where the words after ``--`` are the command for each slice.

    What is not typed is taken from settings files.
    """

    def checked(self, name: str, value: str) -> tuple[str, str]:
        """Leave an option that names columns for when these are known; check everything else."""
        return (
            requests.check(name, value)
            if requests.names_columns(value)
            else super().checked(name, value)
        )

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Name the commonest mistake: the ``--`` before the command was forgotten."""
        ctx.meta["typed"] = tuple(args)
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as why:
            hint = slip(ctx)
            if not hint:
                raise
            raise click.UsageError(f"{why.format_message()}\n{hint}", ctx) from why
        except BadInput as why:  # an option, perhaps the command's
            if _mended(ctx):
                raise why.inside("", f"{why.hint}\n{slip(ctx)}") from why
            raise
        files = places.settings_files()
        if files or ctx.params["profile"]:
            from slurmslice.cli.settings import fill_in

            fill_in(ctx, files)
        return rest


def slip(ctx: click.Context) -> str:
    """What a person has probably forgotten, where a line with a command cannot be understood."""
    options, dashes, _ = _split(ctx.meta["typed"])
    if not dashes:
        return f"The command for each slice stands after --{_mended(ctx) or ', as in: -- ./x {}'}"
    if "--glob" in options:
        return "Quote the pattern of --glob, so that the shell does not expand it."
    loose = _from_first_word(ctx, options)
    if "--grid" in options and loose:
        return f"Each name has a --grid of its own: --grid {quote(loose[0])}"
    return ""


def _mended(ctx: click.Context) -> str:
    """The line that was typed with ``--`` before its first word; empty where that is a run's."""
    options, dashes, _ = _split(ctx.meta["typed"])
    command = _from_first_word(ctx, options)
    if dashes or not command or places.is_named(command[0]):
        return ""
    return f": {ctx.command_path} {join((*options[: -len(command)], '--', *command))}"


def _from_first_word(ctx: click.Context, typed: Sequence[str]) -> Sequence[str]:
    """What was typed from the first word on that is neither an option nor its value."""
    parser = ctx.command.make_parser(ctx)
    parser.allow_interspersed_args = False
    try:
        given, rest, _ = parser.parse_args(spell_out(ctx.command.get_params(ctx), typed))
    except click.UsageError:
        return ()
    first = given.get("run_name")  # which click gives a mark of its own where there is none
    return [first, *rest] if isinstance(first, str) else rest


class ChangingCommand(SbatchCommand):
    """The same, where ``--mem 2x`` and ``--time 2x`` multiply what is in force."""

    def checked(self, name: str, value: str) -> tuple[str, str]:
        """Leave a factor to the change that it is for; check everything else."""
        if is_factor(value):
            return name, value
        verb = click.get_current_context().info_name
        if name == "array" and verb in _CHOOSING:
            raise BadInput(
                "--array cannot be given here.",
                _CHOOSING[verb].format(value),
                code="option-not-allowed",
                option="array",
                verb=verb,
            )
        try:
            return super().checked(name, value)
        except BadInput as why:
            if not (self.multiplies() and name in {"time", "mem", *directives.rivals("mem")}):
                raise
            raise why.inside("", f"{why.hint} Twice what a slice had is 2x.") from why

    def multiplies(self) -> bool:
        """Whether there is a request that could be multiplied."""
        return True


# Where sbatch's --array is meant for the choice of slices: what to type.
_CHOOSING = {
    "resubmit": "Name the slices: slurmslice resubmit RUN {}",
    "submit": "Name the slices: slurmslice submit RUN --only {}  (3-3 is the slice 3)",
}


def meta() -> tuple[tuple[str, ...], ResourceRequest]:
    """The words after ``--``, and sbatch's options, of the command that is running."""
    context = click.get_current_context()
    return context.meta["words"], context.meta["sbatch"]


@contextlib.contextmanager
def said_in(option: str) -> Iterator[None]:
    """Name the settings file and its key in an error about what it says for an option.

    Raises:
        BadInput: the error; as it was where the option was typed.
    """
    try:
        yield
    except BadInput as why:
        where = click.get_current_context().meta.get("said_in", {}).get(option)
        if where is None:
            raise
        raise why.inside(where, where=where) from why


def keys_from_words(run: Run, keys: tuple[str, ...]) -> list[int] | None:
    """Rows of the slices that were named; None where none was."""
    return run.table.select(keys) if keys else None


def parse_states(texts: tuple[str, ...]) -> frozenset[State] | None:
    """States that were named, with commas or one by one; ``failed`` stands for all failures.

    Raises:
        BadInput: there is no such state.
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
            hint = f"{_state_meant(word)}States: {', '.join(State)}; FAIL is all failures."
            raise BadInput(f"There is no state {word!r}.", hint, code="unknown-state", state=word)
    return frozenset(chosen)


def _state_meant(word: str) -> str:
    """The state that was misspelt, or meant by its initials as Slurm has them (OOM, NF)."""
    by_initials = (s for s in State if word == "".join(part[0] for part in s.split("_")))
    near = [*difflib.get_close_matches(word, [*State, "FAIL"], 1), *by_initials]
    return f"Did you mean {near[0]}? " if near else ""
