"""The way in which an unattended run is followed: a job, or a line of a table (docs/adr/0030)."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from slurmslice.actions.site_rules import read_site_rules, switched_off
from slurmslice.engines.protocol import Engine
from slurmslice.errors import BadInputError
from slurmslice.run.site_rules import SiteRules
from slurmslice.run.steward_record import BY_JOB, TABLES
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest


@dataclass(frozen=True, slots=True)
class Unattended:
    """The way in which a run is followed without a process here (``--unattended``).

    Attributes:
        way: the typed way; None for that of the site, or a steward.
        job: the person's options for the steward's job.
    """

    way: str | None = None
    job: ResourceRequest = NO_REQUEST


def check_unattended(engine: Engine, way: str | None = None) -> str:
    """Refuse ``--unattended`` before anything is made, if it cannot be had; return its way.

    Args:
        engine: the engine of the run.
        way: the typed way (``--unattended-by``); empty or None if none was typed.

    Raises:
        BadInputError: the engine has no stewards, or the site allows none, or its rules cannot be
            read.
    """
    if engine.stewards is None:
        raise needs_slurm()
    rules = read_site_rules()
    if why := switched_off(rules):
        raise BadInputError(
            f"{why[0].upper()}{why[1:]}.",
            "Leave out --unattended, and keep this process alive; or call `slurmslice tick`.",
            code="unattended-off",
            option="unattended",
        )
    return choose_way(way or "", rules)


def needs_slurm() -> BadInputError:
    """Return the error about ``--unattended`` without Slurm."""
    return BadInputError(
        "--unattended needs Slurm: on this machine, slices run only while a process follows them.",
        "Leave out --unattended, and keep this process alive: nohup slurmslice run … &",
        code="slurm-only",
        option="unattended",
    )


def choose_way(typed: str, rules: SiteRules) -> str:
    """Return the way of an unattended run: that of the site, else the typed one, else a steward.

    Raises:
        BadInputError: the site allows another way only (``way-not-allowed``), or the program of
            the way is not on PATH (``no-user-table``).
    """
    way = rules.unattended or typed or BY_JOB
    if typed and typed != way:
        raise BadInputError(
            f"This site allows unattended runs by {way} only.",
            f"Leave out --unattended-by {typed}.",
            code="way-not-allowed",
            way=way,
            typed=typed,
        )
    if way in TABLES and shutil.which(TABLES[way]) is None:
        raise BadInputError(
            f"There is no {TABLES[way]} on this machine.",
            "`slurmslice doctor` shows the other ways.",
            code="no-user-table",
            program=TABLES[way],
        )
    return way
