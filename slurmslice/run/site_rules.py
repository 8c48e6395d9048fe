"""The rules of a site, as a run has them in this round (docs/adr/0030). Pure."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest

MAIL_WAYS = ("smtp", "slurm", "sendmail")
"""The ways of mail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    """The ceilings of a site for whatever slurmslice does by itself. None: no ceiling.

    Attributes:
        unattended: the only way of unattended runs: ``steward``, ``scrontab``, ``cron``, or ``off``
            for none; empty for any.
        steward_sbatch: sbatch's options of a steward's job; they replace those of a person.
        min_pause_s: the least pause between two rounds, seconds.
        min_poll_s: the least pause between two polls of ``run`` or ``watch``, seconds.
        rounds_per_day: the most rounds of a run in a day.
        terms: the most terms of a steward's list of dependencies.
        max_attempts: the most attempts of a slice that count.
        budget: a further budget of automatic attempts; empty for none.
        max_mem_mib: the most memory that an automatic attempt of a task requests, MiB.
        exclude_nodes: the most nodes that a run excludes by itself.
        update_pending: jobs in the queue may be changed.
        mail: the ways of mail that may be used.
        names_with_results: a steward may take counts as its name, which Slurm then mails.
        bad_node_command: a program that is called when a run excludes a node, with its arguments.
        contact: whom a user asks; empty for none.
        fault: the reason if the rules cannot be read: then nothing is done by itself.
    """

    unattended: str = ""
    steward_sbatch: ResourceRequest = NO_REQUEST
    min_pause_s: int = 0
    min_poll_s: float = 0.0
    rounds_per_day: int = 48
    terms: int = 100
    max_attempts: int | None = None
    budget: str = ""
    max_mem_mib: int | None = None
    exclude_nodes: int | None = None
    update_pending: bool = True
    mail: tuple[str, ...] = MAIL_WAYS
    names_with_results: bool = True
    bad_node_command: tuple[str, ...] = ()
    contact: str = ""
    fault: str = ""

    @property
    def may_mail_by_job(self) -> bool:
        """Tell if Slurm may mail the end of a run by the name of its steward."""
        return self.names_with_results and "slurm" in self.mail


NO_RULES = SiteRules()
"""The rules without a file."""
