"""The options for a run that a steward follows: ``--unattended``, ``--steward-sbatch``."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import Any

import click

from slurmslice import sbatch
from slurmslice.cli.options.common import naming_setting
from slurmslice.errors import BadInputError
from slurmslice.sbatch.options import known_spellings
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.sbatch.script_reader import parse_option_words

STEWARD_OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--unattended", is_flag=True,
        help="Submit, and end. A small job on the cluster, the steward, follows the run: it "
        "submits what waits and repairs what failed. Slurm wakes it when a slice fails or all have "
        "ended.",
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


def parse_steward_sbatch(text: str) -> ResourceRequest:
    """Parse the value of ``--steward-sbatch``.

    Raises:
        BadInputError: it is no list of options that sbatch takes.
    """
    if not text:
        return NO_REQUEST
    with naming_setting("steward_sbatch"):
        try:
            words = shlex.split(text)
        except ValueError as why:
            raise BadInputError(
                f"{text!r}: a quote is not closed.", code="unclosed-quote", value=text
            ) from why
        given = parse_option_words(words, known_spellings())
        options = [sbatch.check_option(name, value) for name, value in given]
        sbatch.check_conflicts(options)
    return ResourceRequest.of(options)
