"""The tests of ``doctor``: one job that tries what a steward does, and one mail for each way."""

from __future__ import annotations

import os
import shutil

from slurmslice.actions.probe_steward import NEEDED, Probe, probe_steward
from slurmslice.actions.site_rules import read_site_rules, rules_in_force, switched_off
from slurmslice.cli.output.console import emit_note, print_line
from slurmslice.engines.protocol import Engine
from slurmslice.errors import BadInputError, SlurmsliceError
from slurmslice.run.steward_record import TABLES
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.system.users import user_name

_PROBE_OPTIONS = {"account", "partition", "qos", "reservation", "constraint"}


def show_automation(steward: str, scrontab: str) -> None:
    """Print which way of automation would be used, and why.

    Args:
        steward: what the cluster's settings tell about stewards.
        scrontab: what they tell about scrontab.
    """
    print_line(f"unattended runs (--unattended): {_site_rule() or f'by a steward: {steward}'}")
    cron = "there" if shutil.which("crontab") else "not on PATH"
    print_line(f"other ways: scrontab {scrontab}; crontab {cron}")


def _site_rule() -> str:
    """Return what the site's file says against unattended runs; empty if nothing."""
    try:
        rules = read_site_rules()
        only = f"by {rules.unattended} only (the site's rule)" if rules.unattended else ""
        return switched_off(rules) or (only if rules.unattended in TABLES else "")
    except BadInputError as why:
        return f"no: {why.message}"


def show_probe(engine: Engine, request: ResourceRequest, mail_to: str = "") -> bool:
    """Submit a probe, print what it found out, and tell if a steward can work here.

    Args:
        engine: the cluster.
        request: sbatch's typed options; those that choose a place count.
        mail_to: the address to which Slurm mails the end of the probe; empty for none.

    Raises:
        BadInputError: the engine has no stewards, or the site allows none.
        EngineError: Slurm refused the job, or did not answer.
    """
    if engine.stewards is None:
        raise BadInputError(
            "--probe submits a job to Slurm, and there is no Slurm here.",
            "Leave out --probe.",
            code="slurm-only",
            option="probe",
        )
    if why := switched_off(read_site_rules()):
        raise BadInputError(
            f"{why[0].upper()}{why[1:]}.", "Leave out --probe.",
            code="unattended-off", option="probe",
        )  # fmt: skip
    options = ResourceRequest.of({n: v for n, v in request.items() if n in _PROBE_OPTIONS})
    if mail_to:
        options = options.overridden_by({"mail-type": "END,FAIL", "mail-user": mail_to})
    emit_note("probing", "Submitting one small job; it is removed within two minutes.")
    probe = probe_steward(engine, engine.stewards, os.environ, options)
    _print_probe(probe)
    return probe.is_good


_MEANING = {
    "python": "Python and slurmslice on the node",
    "submit": "submitting from the node",
    "requeue": "putting itself back (scontrol requeue)",
}


def _print_probe(probe: Probe) -> None:
    where = f"ran on {probe.node}" if probe.node else "did not run"
    why = f" ({probe.waited_for})" if probe.waited_for else ""
    print_line(f"probe: job {probe.job} {where}{why}; it is removed")
    for name in NEEDED:
        said = probe.facts.get(name)
        print_line(f"  {_MEANING[name]}: {'not known' if said is None else said or 'works'}")
    verdict = "a steward works here" if probe.is_good else "a steward does not work here"
    if not probe.node:
        verdict = "not known yet; try again, or choose another partition with -p"
    print_line(f"  so: {verdict}")


def show_mail(engine: Engine, request: ResourceRequest, *, by_job: bool) -> bool:
    """Send a test mail by each way that would be used, print what happened; False if one failed.

    Args:
        engine: the engine; only a cluster has mail of its own.
        request: the typed options; ``--mail-user`` is the address, else the person's own.
        by_job: Slurm mails the end of a probe.
    """
    from slurmslice.notify.mail_test import message_of_test
    from slurmslice.notify.send_mail import mail_ways, no_way_error, send_mail
    from slurmslice.settings.mail_settings import read_mail_settings

    to, site, good = address(request), rules_in_force(), True
    if site.fault:  # nobody knows which ways the site allows
        print_line(f"mail: none: {site.fault}")
        return False
    settings = read_mail_settings()
    ways = mail_ways(settings, site.mail)
    for way in ways:
        try:
            send_mail(message_of_test(way), to, settings, (way,))
        except SlurmsliceError as why:
            good = False
            print_line(f"mail by {way}: failed: {why.message}")
        else:
            print_line(f"mail by {way}: accepted for {to}; look if it arrives")
    if not ways:
        none = no_way_error(site.mail)
        print_line(f"mail of a run that is followed here: {none.message} {none.hint}".rstrip())
    if engine.stewards is not None:
        smtp = bool(settings.smtp_host)
        _print_slurm_way(to, smtp=smtp, allowed=site.may_mail_by_job, by_job=by_job)
    return good and bool(ways or (engine.stewards is not None and site.may_mail_by_job))


def _print_slurm_way(to: str, *, smtp: bool, allowed: bool, by_job: bool) -> None:
    """Print what is known of Slurm's own mail, by which a steward tells the end."""
    if not allowed:
        print_line("mail by slurm: the site does not allow it")
    elif by_job:
        print_line(f"mail by slurm: asked for {to} at the end of the probe; look if it arrives")
    elif not smtp:
        print_line("mail by slurm: a steward uses it; add --probe to test it")


def address(request: ResourceRequest) -> str:
    """Return the typed address, else the person's own name on this machine."""
    return request.get("mail-user") or user_name(os.getuid())


def without_mail(request: ResourceRequest) -> ResourceRequest:
    """Return a request without the options about mail, which say nothing about a task."""
    return request.without({"mail-user", "mail-type"}) if request else NO_REQUEST
