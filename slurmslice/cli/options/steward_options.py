"""The options for a run that a steward follows: ``--unattended``, ``--steward-sbatch``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

from slurmslice.cli.options.common import naming_setting
from slurmslice.errors import BadInputError
from slurmslice.run.steward_record import BY_JOB, TABLES
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.typed_options import parse_typed_options

STEWARD_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--unattended", is_flag=True,
        help="Submit, and end. A small job on the cluster, the steward, follows the run: it "
        "submits what waits and repairs what failed. Slurm wakes it when a slice fails or all have "
        "ended.",
    ),
    click.option(
        "--unattended-by", type=click.Choice([BY_JOB, *TABLES]), default=None,
        help="How the run is followed then: by a job, the steward, or by a line in your scrontab "
        "or crontab, if jobs cannot put themselves back here (doctor --probe). Default: what the "
        "site says, or a steward.",
    ),
    click.option(
        "--steward-sbatch", metavar="OPTIONS", default="",
        help="sbatch's options for the steward's job, as one word: '-p serial -A acct'. Default: "
        "the default partition, and the account of the run.",
    ),
)  # fmt: skip


def steward_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb these options."""
    for option in reversed(STEWARD_OPTIONS):
        function = option(function)
    return function


def parse_steward_sbatch(text: str, *, unattended: bool) -> ResourceRequest:
    """Parse the value of ``--steward-sbatch``. Refuse it and ``--unattended-by`` in vain.

    Args:
        text: the value.
        unattended: ``--unattended`` was given, so there is a steward.

    Raises:
        BadInputError: it is no list of options that sbatch takes, or an option was typed in vain.
    """
    for option in ("steward_sbatch", "unattended_by"):
        source = click.get_current_context().get_parameter_source(option)
        if not unattended and source is ParameterSource.COMMANDLINE:
            name = option.replace("_", "-")
            raise BadInputError(
                f"--{name} is about an unattended run.",
                "Add --unattended, or leave it out.",
                code="option-needs-another",
                option=name,
                other="unattended",
            )
    return parse_sbatch_words("steward_sbatch", text)


def parse_sbatch_words(parameter: str, text: str) -> ResourceRequest:
    """Parse sbatch's options in one word: the value of ``--steward-sbatch`` or ``--then-sbatch``.

    Args:
        parameter: the parameter that has the value.
        text: the value.

    Raises:
        BadInputError: it is no list of options that sbatch takes.
    """
    if not text:
        return NO_REQUEST
    try:
        with naming_setting(parameter):
            return parse_typed_options(text)
    except BadInputError as why:
        if "where" in why.fields:  # from a settings file, which is named
            raise
        raise why.inside("--" + parameter.replace("_", "-")) from why
