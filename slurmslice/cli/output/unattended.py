"""An unattended run: submit what can be submitted, see to its steward, and tell of it."""

from __future__ import annotations

import time

from slurmslice.actions.follow import FollowOptions, follow_step, is_done
from slurmslice.actions.poll import poll
from slurmslice.actions.site_rules import read_site_rules, switched_off
from slurmslice.actions.steward import StewardInPlace, end_job, ensure_steward
from slurmslice.actions.table_line import EVERY_MIN, LineInPlace, ensure_line
from slurmslice.actions.unattended_way import Unattended, check_unattended, choose_way
from slurmslice.cli.output.console import emit_note, print_note
from slurmslice.cli.output.preview import print_accepted
from slurmslice.cli.output.summary import notes_on_silence, print_summary, run_exit_code
from slurmslice.plan.plan import Plan
from slurmslice.plan.run_script import former_path
from slurmslice.plan.then_phase import is_over
from slurmslice.reports.counts import count_text
from slurmslice.reports.steward import StewardReport, describe, report_steward
from slurmslice.run.run import Run
from slurmslice.run.steward_record import BY_JOB, TABLES
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.system.shell_quoting import quote


def start_unattended(run: Run, plan: Plan | None, wanted: Unattended) -> int:
    """Submit what ``run`` would submit now, see to a steward, and return the exit code.

    Args:
        run: the run.
        plan: a plan to execute first; None for none.
        wanted: how it is followed.
    """
    way = check_unattended(run.engine, wanted.way or _present_way(run))
    polled = poll(run)
    run.places_kept = 1  # for the steward
    outcome = follow_step(run, FollowOptions(plan=plan))
    print_accepted(run, outcome.accepted)
    if outcome.accepted:
        polled = poll(run)
    for found in (*polled.notes, *outcome.notes, *notes_on_silence(polled)):
        print_note(found)
    outcome.raise_error(ignore_temporary=bool(run.submissions_in_flight()))
    if is_done(run, FollowOptions()):
        print_summary(run)
        return run_exit_code(run)
    if way == BY_JOB:
        note_steward(run, ensure_steward(run, wanted.job), wanted.job)
        return 0
    end_job(run, "a line follows the run")
    note_line(run, ensure_line(run, way))
    return 0


def _present_way(run: Run) -> str | None:
    """Return the way in which the run is followed already; None if nothing follows it."""
    steward = run.journal_state.steward
    return steward.intent.way if steward and steward.is_line and not steward.ended else None


def note_line(run: Run, found: LineInPlace) -> None:
    """Say which line follows the run, and how to remove it."""
    steward, name = found.steward, quote(run.record.name)
    place = describe(steward.intent.way, steward.job)
    follows = "follows the run" if found.is_new else "follows this run already"
    message = (
        f"{place} {follows}: it looks after {EVERY_MIN} minutes or later, and is removed at the "
        f"end. To look: slurmslice status {name}. To end all: slurmslice cancel {name}"
    )
    if found.is_new:
        emit_note("line-added", message, way=steward.intent.way, place=steward.job)
    else:
        emit_note("steward-there", message, job=steward.job)


def note_steward(run: Run, found: StewardInPlace, options: ResourceRequest) -> None:
    """Say which job is the steward, where it runs, and what wakes it."""
    job, name = found.steward.job, quote(run.record.name)
    look = f"To look: slurmslice status {name}. To end all: slurmslice cancel {name}"
    if not found.is_new:
        kept = f" For a steward with {options}: scancel {job}, then this line again."
        message = f"Job {job} follows this run already.{kept if options else ''} {look}"
        emit_note("steward-there", message, job=job)
        return
    where = f"the partition {found.partition}" if found.partition else "the default partition"
    message = f"Job {job} follows the run (1 CPU in {where}). It runs when {found.wake}. {look}"
    emit_note("steward-submitted", message, job=job, partition=found.partition)


def note_steward_state(run: Run) -> None:
    """Say in ``status`` what the steward does, or that nobody follows the run any more."""
    report = report_steward(run)
    if report is None or is_over(run):
        return
    fields = report.record()
    if report.state in {"ended", "gone"}:
        message = (
            f"{report.place} does not follow this run any more ({report.why}): nothing is "
            "submitted or repaired any more. What is in the queue goes on.\n"
            f"{_if_moved(run)}To go on: slurmslice run {quote(run.record.name)} --unattended"
        )
        emit_note("steward-state", message, **fields)
        return
    lines = [f"{_what_it_does(report)} {count_text(report.rounds, 'round')} so far."]
    if report.overdue:
        lines.append(f"To do its round from here: slurmslice tick {quote(run.record.name)}")
    if report.trouble:
        lines.append(f"In the way at the last round: {report.trouble}")
    emit_note("steward-state", "\n".join(lines), **fields)


def _if_moved(run: Run) -> str:
    """Return what to do first if the run directory was moved; else an empty text."""
    if not (former := former_path(run)):
        return ""
    script = quote(str(run.directory.script))
    return (
        f"The run directory was moved from {quote(former)}, where its jobs look for their files. "
        f"Move it back, or change --output and the source line in {script}.\n"
    )


def see_to_steward(run: Run, *, quiet: bool = False) -> None:
    """Submit a new steward if the run's has died; else say what it does.

    One that a person cancelled, or that ended by itself, stays away. The run was polled.

    Args:
        run: the run.
        quiet: say nothing of a steward that does what it should.

    Raises:
        EngineError: as ``ensure_steward``.
    """
    steward, report = run.journal_state.steward, report_steward(run)
    if steward is None or report is None or is_over(run):
        return
    if (
        report.died
        and not former_path(run)
        and not switched_off(run.site, BY_JOB)
        and not run.site.fault
    ):
        message = f"{report.place} did not follow this run any more ({report.why})."
        emit_note("steward-died", message, job=report.job, reason=report.why)
        options = steward.intent.options
        note_steward(run, ensure_steward(run, options), options)
    elif not quiet or report.overdue or report.state == "gone":
        note_steward_state(run)


def _what_it_does(report: StewardReport) -> str:
    job = f"{report.place} follows this run"
    if report.state == "unknown":
        return f"{job}, but its state is not known: {report.why}."
    if report.state == "runs":
        return f"{job}, and looks at it now."
    if report.overdue and report.way in TABLES:
        last = f"since {local_time(report.last.at)}" if report.last else "yet"
        return f"{job}, but it has not been called {last}: cron may not work there."
    if report.overdue:
        return f"{job}. It is due, and Slurm has not started it ({report.why})."
    if report.way in TABLES:
        return f"{job}. It looks next {_next_call(report.not_before)}."
    held = " It is held: scontrol release lets it go on." if "Held" in report.why else ""
    starts = [f"not before {local_time(report.not_before)}"] if report.not_before else []
    when = [f"when {report.waits_for}"] if report.waits_for else []
    return f"{job}. It looks next {', '.join(when + starts)}.{held}"


def _next_call(not_before: float | None) -> str:
    """Describe the next round of a line."""
    later = not_before is not None and not_before > time.time()
    return f"after {local_time(not_before or 0)}" if later else f"within {EVERY_MIN} minutes"


def local_time(at: float) -> str:
    """Return a time of day, with the date if that is not today."""
    form = "%H:%M" if time.localtime(at)[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M"
    return time.strftime(form, time.localtime(at))


def note_steward_planned(run: Run | None, wanted: Unattended) -> None:
    """Say in a dry run that a steward would be submitted, unless the run has one.

    Args:
        run: the run; None if it does not exist yet.
        wanted: how it is followed.
    """
    report = report_steward(run) if run else None
    if report and report.state in {"waits", "runs"}:
        emit_note("steward-there", f"{report.place} follows this run already.", job=report.job)
        return
    way = choose_way(wanted.way or "", read_site_rules())
    if way != BY_JOB:
        message = f"Would add a line to your {TABLES[way]}: it looks every {EVERY_MIN} minutes."
        emit_note("would-add-line", message, way=way)
        return
    more = f" with {wanted.job}" if wanted.job else " in the default partition"
    message = (
        f"Would submit a steward{more}: a job of 1 CPU that follows the run. It runs for some "
        "seconds when a slice fails, when an array has ended, or after half an hour."
    )
    emit_note("would-submit-steward", message, options=str(wanted.job))
