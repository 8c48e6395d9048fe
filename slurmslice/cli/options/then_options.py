"""The options of the step after a run: ``--then``, ``--then-if``, ``--then-sbatch``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from slurmslice.cli.options.parameters import is_typed, naming_setting, parse_sbatch_words
from slurmslice.errors import BadInputError
from slurmslice.script.render import check_bash_syntax
from slurmslice.settings.settings_file import SettingKey, ValueKind
from slurmslice.spec.then_rule import DONE, ThenRule, check_condition

THEN_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--then", metavar="TEXT", default="",
        help="Run this shell text once when every slice is done, repairs included, in the working "
        "directory: a job of its own, or a process here. $SLURMSLICE_RUN is the run directory, "
        "$SLURMSLICE_MISSING a file with the keys that are not done.",
    ),
    click.option(
        "--then-if", metavar="done|P%|ended",
        help="Run it when every slice is done; when every slice has ended and P percent are done; "
        "or when every slice has ended. Default: done.",
    ),
    click.option(
        "--then-sbatch", metavar="OPTIONS", default="",
        help="sbatch's options for its job, as one word: '--mem=8G -t 30'. Default: account, "
        "partition and QOS of the run.",
    ),
)  # fmt: skip

THEN_KEYS = {
    "command": SettingKey("then", ValueKind.TEXT),
    "if": SettingKey("then_if", ValueKind.TEXT),
    "sbatch": SettingKey("then_sbatch", ValueKind.TEXT),
}
"""The keys of ``[then]`` in a settings file."""

THEN_PARAMETERS = frozenset(key.option for key in THEN_KEYS.values())


def parse_then(command: str, values: Mapping[str, Any]) -> ThenRule | None:
    """Return the step after the run; None without ``--then``.

    Args:
        command: its shell text.
        values: the values of the options by parameter name.

    Raises:
        BadInputError: an option is wrong, or was typed without ``--then``.
    """
    if not command.strip():
        for name in sorted(THEN_PARAMETERS - {"then"}):
            if values[name] and is_typed(name):
                raise _needs_then(name.replace("_", "-"))
        return None
    with naming_setting("then"):
        check_bash_syntax(command, "--then")
    with naming_setting("then_if"):
        condition = check_condition(values["then_if"] or DONE)
    return ThenRule(command, condition, parse_sbatch_words("then_sbatch", values["then_sbatch"]))


def _needs_then(option: str) -> BadInputError:
    return BadInputError(
        f"--{option} is about the step after the run, and there is none.",
        "Add --then COMMAND, or leave it out.",
        code="option-needs-another",
        option=option,
        other="then",
    )
