"""The command class of ``run`` and ``render``: the words after ``--``, and settings files."""

from __future__ import annotations

from collections.abc import Sequence

import click

from slurmslice.cli.options import locate_run
from slurmslice.cli.options.common import SbatchCommand, split_at_dashes
from slurmslice.cli.options.misplaced_values import hint_for_value_of_flag
from slurmslice.cli.options.new_run_options import TYPED_ONCE, describes_new_run, setting_keys
from slurmslice.cli.options.sbatch_options import mark_optional_values
from slurmslice.errors import BadInputError
from slurmslice.spec import per_slice_options
from slurmslice.system.config_files import settings_files
from slurmslice.system.shell_quoting import quote, quote_words


class WordsCommand(SbatchCommand):
    """A verb with ``--``: the words after it are the command of each slice.

    Options that are not typed come from settings files.
    """

    def checked(self, name: str, value: str) -> tuple[str, str]:
        """Check an option. A value that names columns is checked later, when they are known."""
        return (
            per_slice_options.check_run_option(name, value)
            if per_slice_options.has_column_names(value)
            else super().checked(name, value)
        )

    def engine_in_force(self, args: Sequence[str]) -> str:
        """Return the engine of a line with a mistake, else of the settings; empty for none."""
        if engine := super().engine_in_force(args):
            return engine
        from slurmslice.cli.options.settings_options import setting_of

        profile = locate_run.typed_value(args, "--profile")
        return setting_of("engine", settings_files(), profile, setting_keys())

    def describes_new_run(self, parameter: str) -> bool:
        """Tell if one of the command's parameters can be given only for a new run."""
        return describes_new_run(parameter)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and fill in settings. An error also says if the ``--`` was forgotten."""
        ctx.meta["typed"] = tuple(args)
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as why:
            hint = guess_mistake(ctx)
            if not hint:
                raise
            raise click.UsageError(f"{why.format_message()}\n{hint}", ctx) from why
        except BadInputError as why:  # perhaps about an option of the command
            if _corrected_line(ctx):
                raise why.inside("", f"{why.hint}\n{guess_mistake(ctx)}") from why
            raise
        self._refuse_repeated(ctx)
        files = settings_files()
        if files or ctx.params["profile"] or ctx.params["from_run"] is not None:
            from slurmslice.cli.options.settings_options import fill_in_settings

            fill_in_settings(ctx, files, setting_keys())
        return rest

    def _refuse_repeated(self, ctx: click.Context) -> None:
        """Refuse a text or a description of the slices that was typed twice: one would be lost.

        Raises:
            BadInputError: an option was typed twice.
        """
        options = split_at_dashes(ctx.meta["typed"])[0]
        words = mark_optional_values(self.get_params(ctx), options)
        *_, order = self.make_parser(ctx).parse_args(words)
        for param in order:
            if param.name in TYPED_ONCE and not param.multiple and order.count(param) > 1:
                flags = "/".join(param.opts)
                raise BadInputError(
                    f"{flags} is given {order.count(param)} times.",
                    "Give it once. An array expression may have several parts: -a 0-3,7,9",
                    code="option-given-twice",
                    option=param.name,
                )


def guess_mistake(ctx: click.Context) -> str:
    """Return a hint about the probable mistake in a line that was not understood, or nothing."""
    options, dashes, _ = split_at_dashes(ctx.meta["typed"])
    if not dashes:
        corrected = _corrected_line(ctx) or ", as in: -- ./x {}"
        return f"Type the command for each slice after --{corrected}"
    if "--glob" in options:
        return "Quote the pattern of --glob. Otherwise the shell expands it."
    loose = _from_first_word(ctx, options)
    if loose and (hint := hint_for_value_of_flag(options, loose[0])):
        return hint
    for axis in ("--grid", "--zip"):
        if axis in options and loose:
            return f"Type {axis} before each name: {axis} {quote(loose[0])}"
    return ""


def _corrected_line(ctx: click.Context) -> str:
    """Return the typed line with ``--`` before its first word; empty if that names a run."""
    options, dashes, _ = split_at_dashes(ctx.meta["typed"])
    command = _from_first_word(ctx, options)
    if dashes or not command or locate_run.is_run_name(command[0]):
        return ""
    return f": {ctx.command_path} {quote_words((*options[: -len(command)], '--', *command))}"


def _from_first_word(ctx: click.Context, typed: Sequence[str]) -> Sequence[str]:
    """Return the typed words from the first one that is neither an option nor its value."""
    parser = ctx.command.make_parser(ctx)
    parser.allow_interspersed_args = False
    try:
        given, rest, _ = parser.parse_args(mark_optional_values(ctx.command.get_params(ctx), typed))
    except click.UsageError:
        return ()
    first = given.get("run_name")  # click sets a marker, no string, if it is missing
    return [first, *rest] if isinstance(first, str) else rest
