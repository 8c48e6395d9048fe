"""The options of a run's policy: stop rules, repair by cause, the end of the run, and following."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from slurmslice.cli.options.common import max_failures_option, seconds, whole_number
from slurmslice.cli.options.then_options import THEN_OPTIONS
from slurmslice.errors import BadInputError

POLICY_OPTIONS: tuple[Callable[..., Any], ...] = (
    max_failures_option,
    click.option(
        "--cancel-rest/--hold-rest", default=None,
        help="Cancel the rest after --max-failures N or P%. Default: hold it.",
    ),
    click.option(
        "--canary", metavar="K|KEYS|none",
        help="Submit K slices first, spread over all, or these keys: 3-7 or 3,17. The rest follows "
        "when they are done. If one fails for good, nothing else is submitted. none: go on.",
    ),
    click.option(
        "--retry", is_flag=True,
        help="Repair failed slices by cause: more memory, more time, another node; again after a "
        "preemption. Other failures are left.",
    ),
    click.option(
        "--on", multiple=True, metavar="CAUSE=STEPS",
        help="Set the repair of one cause: oom, timeout, node, preempted, boot, bad-node, setup, "
        "check, failed, exit:N, exit:N-M, signal:NAME, hang, quota, cuda-oom … Steps: leave, "
        "again, elsewhere, or options (--mem=2x); `;` separates the steps of a ladder. A run keeps "
        "its other rules.",
    ),
    click.option(
        "--budget", metavar="1x|200h",
        help="Limit what all automatic attempts may use: 1x is as much as all first attempts may "
        "use by their time limits; 200h are CPU hours (and as many GPU hours). Default: no limit.",
    ),
    click.option(
        "--allow-changed", is_flag=True,
        help="Repair slices also if a file named in the command, or the git commit, has changed "
        "since their attempt. Without it such slices are left.",
    ),
    click.option(
        "--cause", multiple=True, metavar="NAME=TEXT",
        help="Name a cause for --on. A slice that fails has it if the end of its log has the "
        "text. * stands for any characters in a line.",
    ),
    click.option(
        "--continue-on", metavar="CAUSES", default="",
        help="After one of these causes (timeout,exit:85,check) submit a slice again if its "
        "--checkpoint changed since its attempt began. This uses no attempt and no budget. If the "
        "file did not change, the repair of that cause follows.",
    ),
    click.option(
        "--checkpoint", metavar="PATH", default="",
        help="The checkpoint of a slice, for --continue-on. Write {} or {column} in its path.",
    ),
    click.option(
        "--max-continues", type=whole_number, metavar="N",
        help="Continue each slice at most N times. Default: 20.",
    ),
    click.option(
        "--mail", is_flag=True,
        help="Send one mail to --mail-user when the run has ended, is held or cannot go on. It "
        "tells counts, failures by cause, and what to type next.",
    ),
    click.option(
        "--on-end", metavar="TEXT", default="",
        help="Run this shell text then; it reads the status as JSON from its standard input.",
    ),
    *THEN_OPTIONS,
    click.option(
        "--after", metavar="RUN|none",
        help="Submit the slices when every slice of this other run is done, repairs included, and "
        "the step after it. If it ends otherwise, nothing is submitted. none: go on.",
    ),
)  # fmt: skip

max_attempts_option: Callable[..., Any] = click.option(
    "--max-attempts", type=whole_number, metavar="N",
    help="Give each slice up to N attempts. Default: 1, and 4 with --retry or --on. Without "
    "these, every failed slice is submitted again, those of --retry with their repair. N also "
    "changes the number of an existing run.",
)  # fmt: skip

FOLLOW_OPTIONS: tuple[Callable[..., Any], ...] = (
    max_attempts_option,
    click.option(
        "--interval", type=seconds, metavar="SECONDS",
        help="Seconds between two polls. Default: 1 at first, and up to 60 later.",
    ),
)  # fmt: skip

POLICY_PARAMETERS = {
    *("max_failures", "cancel_rest", "canary", "after", "same_code", "retry", "on", "budget"),
    *("allow_changed", "max_attempts", "interval"),
    *("unattended", "unattended_by", "steward_sbatch", "continue_on", "max_continues"),
}
"""The parameters that may also be given for an existing run."""

POLICY_KEYS = POLICY_PARAMETERS | {"checkpoint", "mail"}
"""The parameters with a key in ``[policy]`` of a settings file.

``mail`` is there because a table ``[mail]`` says how mail leaves this machine.
"""


def refuse_incomplete_continuation(causes: str, path: str, most: int | None) -> None:
    """Refuse ``--continue-on`` without ``--checkpoint``, and each of the others without it.

    Raises:
        BadInputError: one of the options is missing.
    """
    if causes and not path:
        raise BadInputError(
            "--continue-on needs the checkpoint of a slice, which shows that it got further.",
            "Name it: --checkpoint 'ck/{}.cpt'. It belongs to a new run.",
            code="continue-without-checkpoint",
            option="checkpoint",
        )
    if not causes and (path or most):
        given = "checkpoint" if path else "max-continues"
        raise BadInputError(
            f"--{given} is for slices that continue, and no cause is named for that.",
            f"Add it, as in --continue-on timeout, or leave out --{given}.",
            code="checkpoint-without-causes",
            option=given,
        )
