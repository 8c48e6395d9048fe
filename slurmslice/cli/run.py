"""``slurmslice run``."""

from __future__ import annotations

import click
from click.core import ParameterSource

from slurmslice.cli import places
from slurmslice.cli.asking import EPILOG, NewRunOptions, made, new_run_options, there_already
from slurmslice.cli.console import note
from slurmslice.cli.engine import choose, open_run
from slurmslice.cli.live import follow_live
from slurmslice.cli.looking import look
from slurmslice.cli.preview import announce, relative
from slurmslice.cli.sending import checked_plan, let_start, nothing_waits, show_plan
from slurmslice.cli.shared import (
    ChangingCommand,
    WordsCommand,
    dry_run_option,
    slip,
)
from slurmslice.command import quote
from slurmslice.engines import Limits
from slurmslice.errors import BadInput
from slurmslice.reports.counts import count
from slurmslice.resources import NO_REQUEST, ResourceRequest
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.submission_plan import Plan
from slurmslice.verbs.create import describe
from slurmslice.verbs.follow import FollowOptions, record_max_attempts
from slurmslice.verbs.submit import look_before, waiting


class RunCommand(WordsCommand, ChangingCommand):
    """Words after ``--`` for a new run; changes of the request for one that is there."""

    def multiplies(self) -> bool:
        """Whether a run is named that is there."""
        return bool(click.get_current_context().params["run_name"])


@click.command(cls=RunCommand, epilog=EPILOG)
@click.argument("run_name", metavar="[RUN]", required=False)
@new_run_options
@dry_run_option
@click.option(
    "--max-attempts",
    type=click.IntRange(min=1),
    show_default="1",
    metavar="N",
    help="Attempts that each slice gets; a failed slice is submitted again, with the same memory "
    "and time, while it has some left. The run records N; with RUN, N changes the record.",
)
@click.option("--interval", type=click.FloatRange(min=0.1), help="Seconds between polls.")
def command(
    run_name: str | None,
    options: NewRunOptions,
    dry_run: bool,
    max_attempts: int | None,
    interval: float | None,
) -> int:
    """Submit, follow to the end and report; the same line goes on where it stopped.

    The command comes after --: `{}` in it is the slice's key. With RUN in place of a command,
    that run goes on, and sbatch's options change the request of what waits. It can be left with
    Ctrl-C: on Slurm what is in the queue goes on. Any verb works beside it in a second terminal.
    """
    plan: Plan | None = None
    if run_name:
        run = _going_on(run_name, options, read_only=dry_run)
        plan = _plan(run, options.sbatch, no_breaker=options.no_breaker)
    else:
        new = options.read(max_attempts or 1)
        path = places.new_run(new.spec.name, options.run_dir)
        engine = choose(options.engine, path)
        record, silence = describe(new, engine)
        same, replaced = there_already(path, record, engine)
        if same:
            message = f"{record.name}: going on with {relative(path)}"
            note("run-continued", message, run=record.name)
            run = open_run(same, changing=True, read_only=dry_run)
            held = not (run.record.no_breaker or run.ledger.released)
            plan = _plan(run, NO_REQUEST, no_breaker=held and _typed("no_breaker"))
        else:
            _check(announce(record, new, engine))
            if silence:
                note("limits-unknown", f"Slurm could not be asked about its limits: {silence}")
            if dry_run:
                message = f"Nothing was made: --dry-run. It would be {relative(path)}."
                note("run-not-created", message, path=path)
                return 0
            run = Run(made(record, new, path, replaced), engine)
            run.unsent_at = run.clock()  # its script is a moment old
            if record.per_slice:  # others may ask for more than the first
                plan = checked_plan(run, waiting(None), NO_REQUEST)
    _record_attempts(run, max_attempts)
    if run.place.read_only and plan:
        show_plan(run, plan, nothing_waits)
        return 0
    return follow_live(run, FollowOptions(interval=interval, plan=plan))


def _plan(run: Run, changes: ResourceRequest, *, no_breaker: bool = False) -> Plan:
    """Plan to submit what waits in a run that is there."""
    if changes:
        _look_what_waits(run, changes)
    if no_breaker:
        let_start(run)
    if run.place.read_only:
        look(run)
        look_before(run, waiting(None), "run")
    return checked_plan(run, waiting(None), changes)


def _record_attempts(run: Run, wanted: int | None) -> None:
    """Record ``--max-attempts`` in a run that is there, or show what would be recorded.

    A settings file describes new runs: it does not change what a run has recorded.
    """
    recorded = run.recorded_attempts
    if wanted is None or wanted == recorded:
        return
    if recorded and not _typed("max_attempts"):
        note(
            "policy-kept",
            f"This run has recorded --max-attempts {recorded} and keeps it. To change it, type "
            f"--max-attempts {wanted}.",
            max_attempts=recorded,
        )
        return
    if not run.place.read_only:
        record_max_attempts(run, wanted)
    verb = "Would record" if run.place.read_only else "Recorded"
    message = f"{verb} --max-attempts {wanted}; it was {recorded or 1}."
    note("policy-recorded", message, max_attempts=wanted, before=recorded or 1)


def _typed(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is ParameterSource.COMMANDLINE


def _look_what_waits(run: Run, changes: ResourceRequest) -> None:
    """Say which slices keep what they asked for: those that are in Slurm's queue already.

    Raises:
        BadInput: there are no others.
    """
    look(run)
    name, options = quote(run.record.name), str(changes)
    tally = run.standings.tally()
    queued = tally.get(State.PENDING, 0) + tally.get(State.SUBMITTED, 0)
    again = f"slurmslice cancel {name}, then slurmslice resubmit {name} --state CANCELLED {options}"
    if not tally.get(State.WAITING):
        failed = f"What failed goes in again, changed:  slurmslice resubmit {name} {options}"
        raise BadInput(
            f"Nothing waits in the run {run.record.name}, and options change what waits.",
            failed + (f"\nWhat is in the queue:  {again}" if queued else ""),
            code="nothing-waits",
            run=run.record.name,
        )
    if queued:
        note(
            "already-queued",
            f"{count(queued)} in the queue already: {options} does not reach what is there. To "
            f"change that too: {again}",
            slices=queued, command=again,
        )  # fmt: skip


def _going_on(run_name: str, options: NewRunOptions, *, read_only: bool) -> Run:
    if options.anything:
        if not places.is_named(run_name):
            raise BadInput(
                f"There is no run {run_name!r} here, and {options.anything} describes a new one.",
                slip(click.get_current_context()),
                code="no-such-run",
                run=run_name,
            )
        raise BadInput(
            f"{run_name!r} names a run that is there, and {options.anything} describes a new one.",
            f"`slurmslice run {run_name}` goes on with it; a new run's command stands after --.",
            code="run-and-new-run",
            run=run_name,
        )
    return open_run(places.find(run_name, changing=True), changing=True, read_only=read_only)


def _check(limits: Limits | None) -> None:
    """Refuse a run of which no slice could ever run.

    Raises:
        BadInput: it is one.
    """
    if limits is not None and limits.never:
        raise BadInput(
            f"Nothing was made: no slice of it could ever run: {limits.never}.",
            "`slurmslice doctor` shows what there is; if it is meant, say render in place of run, "
            "and then sbatch with the script that it names.",
            code="never-runs",
            reason=limits.never,
        )
