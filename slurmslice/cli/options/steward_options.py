"""The options for a run that a steward follows: ``--unattended``, ``--steward-sbatch``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from slurmslice.actions.unattended_way import Unattended
from slurmslice.cli.options.parameters import is_typed, parse_sbatch_words, with_options
from slurmslice.errors import BadInputError
from slurmslice.run.steward_record import BY_JOB, TABLES

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
    """Give a verb these options; it gets them as one ``Unattended``, or None without the flag."""

    @functools.wraps(function)
    def verb(
        *args: Any, unattended: bool, unattended_by: str | None, steward_sbatch: str, **given: Any
    ) -> Any:
        if not unattended:
            _refuse_typed_in_vain()
            return function(*args, unattended=None, **given)
        job = parse_sbatch_words("steward_sbatch", steward_sbatch)
        return function(*args, unattended=Unattended(unattended_by, job), **given)

    return with_options(verb, STEWARD_OPTIONS)


def _refuse_typed_in_vain() -> None:
    """Refuse ``--steward-sbatch`` and ``--unattended-by`` without ``--unattended``.

    Raises:
        BadInputError: one of them was typed.
    """
    for option in ("steward_sbatch", "unattended_by"):
        if is_typed(option):
            name = option.replace("_", "-")
            raise BadInputError(
                f"--{name} is about an unattended run.",
                "Add --unattended, or leave it out.",
                code="option-needs-another",
                option=name,
                other="unattended",
            )
