"""The verb ``doctor``: limits and free resources of the cluster or machine."""

from __future__ import annotations

from pathlib import Path

import click

from slurmslice.actions.open_run import choose_engine
from slurmslice.actions.site_rules import rules_in_force
from slurmslice.cli.options.common import SbatchCommand, engine_option, typed_words_and_request
from slurmslice.cli.options.new_run_options import setting_keys
from slurmslice.cli.options.settings_options import settings_in_force
from slurmslice.cli.output.console import emit_note, print_line
from slurmslice.cli.output.probes import (
    address,
    show_automation,
    show_mail,
    show_probe,
    without_mail,
)
from slurmslice.cli.output.settings_sources import show_settings
from slurmslice.cli.output.tables import Column, print_table
from slurmslice.engines.protocol import Engine
from slurmslice.engines.slurm import SlurmEngine
from slurmslice.errors import BadInputError
from slurmslice.notify.address import check_address
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.units import format_memory, format_time
from slurmslice.system.config_files import settings_files

_COLUMNS = (
    Column("PARTITION"),
    Column("STATE"),
    Column("MAX TIME", right=True, dropped=5),
    Column("NODES", right=True, dropped=2),
    Column("CPUS FREE", right=True, dropped=3),
    Column("CPUS", right=True, dropped=1),
    Column("MEM A NODE", right=True, dropped=4),
    Column("FIT NOW", right=True),
    Column("FIT", right=True),
    Column("REASON"),
)


@click.command(cls=SbatchCommand)
@engine_option
@click.option(
    "--mail",
    is_flag=True,
    help="Send a test mail to --mail-user, or to you, by each way that would be used.",
)
@click.option(
    "--probe",
    is_flag=True,
    help="Submit one small job that tries what a steward does (--unattended), and remove it.",
)
def command(engine: str, mail: bool, probe: bool) -> int:
    """Show the limits and free resources of this cluster or machine.

    With a request such as -c 4 --mem 8G -p main, it also shows how many such tasks fit.
    """
    typed = typed_words_and_request()[1].verify()
    request = without_mail(typed)
    chosen = choose_engine(engine, Path.cwd())
    if mail and (given := typed.get("mail-user")) is not None:
        check_address(given)
    if isinstance(chosen, SlurmEngine):
        _show_slurm(chosen, request)
    else:
        _show_machine(chosen, request)
    _show_settings(chosen)
    good = True
    by_job = probe and mail and rules_in_force().may_mail_by_job
    if probe:
        good = show_probe(chosen, typed, address(typed) if by_job else "") and good
    if mail:
        good = show_mail(chosen, typed, by_job=by_job) and good
    return 0 if good else 1


def _show_slurm(engine: SlurmEngine, request: ResourceRequest) -> None:
    """Print version, limits, accounting and partitions."""
    health = engine.cluster_health(request)
    print_line(f"Slurm {health.version} on cluster {health.cluster}")
    print_line(f"MaxArraySize {health.max_array_size}: the highest array index is "
        f"{health.max_array_size - 1}")  # fmt: skip
    print_line(f"accounting {health.accounting}")
    limits = engine.limits(request)
    fits = "unknown" if limits.at_once is None else str(limits.at_once)
    print_line(f"tasks of this request at once: {fits} ({limits.why})")
    queue_capacity = engine.queue_capacity(request)
    left = "no limit" if queue_capacity.tasks is None else f"{queue_capacity.tasks} more"
    reason = f" ({queue_capacity.why})" if queue_capacity.why else ""
    print_line(f"tasks that you can submit now: {left}{reason}")
    show_automation(health.steward, health.scrontab)
    rows = [
        (
            part.name + ("*" if part.default else ""),
            part.state,
            "none" if part.max_time_s is None else format_time(part.max_time_s),
            str(part.nodes),
            str(part.free_cpus),
            str(part.cpus),
            format_memory(part.mem_mib),
            str(part.fitting.now),
            str(part.fitting.when_empty),
            part.why_none,
        )
        for part in health.partitions
    ]
    print_table(_COLUMNS, rows)
    if health.accounting != "on":
        message = "Accounting is off: states come from the queue and from the tasks' files."
        emit_note("no-accounting", message)


def _show_settings(engine: Engine) -> None:
    """Print which settings file said what, and errors in them."""
    rules = rules_in_force()
    try:
        found, clusters = settings_in_force(settings_files(), setting_keys(), engine)
        show_settings(found, engine.cluster(), clusters)
    except BadInputError as why:
        print_line(f"settings: {why.message} {why.hint}")
    if rules.fault:
        print_line(f"site: {rules.fault}")
    elif rules.contact:
        print_line(f"contact: {rules.contact}")


def _show_machine(engine: Engine, request: ResourceRequest) -> None:
    limits = engine.limits(request)
    print_line(f"this machine, {engine.cluster()}: no Slurm")
    print_line(f"tasks of this request at once: {limits.at_once} ({limits.why})")
