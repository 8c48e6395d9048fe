"""The summary in ``status`` and at the end of a run: counts, keys, and the next commands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from slurmslice.actions.judge_nodes import excluded_nodes, node_note
from slurmslice.actions.poll import PollResult
from slurmslice.actions.raise_requests import raise_note
from slurmslice.cli.output.blocked_slices import notes_on_blocked_slices
from slurmslice.cli.output.canary import note_on_canary
from slurmslice.cli.output.console import colored_state, emit_note, print_line, print_note
from slurmslice.cli.output.other_run import note_on_other_run
from slurmslice.cli.output.preview import relative_path
from slurmslice.cli.output.repairs import note_on_continuations, note_on_repairs
from slurmslice.cli.output.then_step import note_on_then
from slurmslice.notes import Note
from slurmslice.plan.canary_phase import CanaryPhase, canary_phase, stop_reason
from slurmslice.plan.repairs import rows_to_repair
from slurmslice.plan.run_script import library_note
from slurmslice.plan.then_phase import ThenPhase, is_over, slices_are_over, then_phase
from slurmslice.reports.code_versions import other_code_note
from slurmslice.reports.counts import count_text, counts_by_state, key_ranges
from slurmslice.reports.failure_groups import known_group_texts
from slurmslice.run.run import Run
from slurmslice.status.exit_reason import is_not_executable, is_not_found, is_setup_reason
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote
from slurmslice.system.users import user_name


def print_summary(run: Run) -> None:
    """Print counts with key ranges to stdout, and advice to stderr."""
    for one in counts_by_state(run, known=known_group_texts(run)):
        print_line(f" {len(one.rows):>7}  {one.keys}  ({one.why})", colored_state(one.state, 14))
    if (owner := run.directory.foreign_owner) is not None:
        message = f"The run belongs to {user_name(owner)}: only this user can change it."
        emit_note("foreign-run", message, owner=user_name(owner))
        return
    if run.journal_state.rejection:
        emit_note("submission-rejected", run.journal_state.rejection)
    if fault := run.directory.known_fault:
        print_note(library_note(run, fault))
    if other := other_code_note(run):
        print_note(other)
    for found in notes_on_blocked_slices(run):
        print_note(found)
    for excluded in excluded_nodes(run).values():
        print_note(node_note(run, excluded))
    repairs = note_on_repairs(run, _commands_to_continue(run))
    raised = tuple(raise_note(one) for one in run.journal_state.raised.events)
    waits = note_on_canary(run), note_on_other_run(run), note_on_continuations(run)
    for one_note in (*raised, *waits, repairs, note_on_then(run)):
        if one_note:
            print_note(one_note)
    if run.is_open:
        print_note(_note_on_openness(run))
    if hint := _waiting_beside_running(run):
        emit_note("waiting", hint, slices=waiting_count(run))
    if hint := next_commands(run):
        emit_note("next-step", hint)


def _note_on_openness(run: Run) -> Note:
    name = quote(run.record.name)
    message = (
        f"The run is open: slurmslice extend {name} … adds slices. "
        f"When there are no more: slurmslice extend {name} --close"
    )
    return Note("run-open", message, {"run": run.record.name})


def notes_on_silence(polled: PollResult) -> Iterator[Note]:
    """Return a note for each source that did not answer."""
    return (Note("no-answer", f"No answer: {silence}") for silence in polled.no_answer_reasons)


def _waiting_beside_running(run: Run) -> str:
    """Return the message on queued slices while others are in flight; empty if there are none."""
    if run.hold.reason or run.has_steward:
        return ""
    if not (run.journal_state.queue and run.submissions_in_flight()):
        return ""
    return f"{waiting_message(run)} If one of them is running already, there is nothing to do."


def waiting_message(run: Run, why: str = "not in the queue yet") -> str:
    """Describe the waiting slices: number, reason and next command; empty if no slice waits."""
    if queued := len(run.journal_state.queue):
        commands = _commands_to_continue(run)
        return f"{count_text(queued)} waiting ({why}). To submit them as there is room: {commands}."
    name, waiting = quote(run.record.name), run.statuses.state_counts().get(State.WAITING, 0)
    return f"{count_text(waiting)} waiting. To submit: slurmslice submit {name}" if waiting else ""


def waiting_count(run: Run) -> int:
    """Return the number of queued slices; if there are none, of slices that nobody has queued."""
    return len(run.journal_state.queue) or run.statuses.state_counts().get(State.WAITING, 0)


def note_on_throttle(run: Run) -> Note | None:
    """Return a note on the arrays that the throttle holds; None if it holds none."""
    held = sum(submission.share == 0 for submission in run.submissions_in_flight())
    if not held:
        return None
    message = (
        f"Held by the throttle until others have ended: {count_text(held, 'array')}. "
        f"To release them then: {_commands_to_continue(run)}."
    )
    return Note("held-for-throttle", message, {"arrays": held})


def _commands_to_continue(run: Run) -> str:
    """Return the commands that continue a run without further input."""
    name = quote(run.record.name)
    by_cron = f", or slurmslice tick {name} (from cron)" if run.engine.has_queue_limits else ""
    return f"slurmslice run {name}{by_cron}"


def next_commands(run: Run) -> str:
    """Return the commands to type next; empty if there is nothing to do."""
    failed = sorted({run.statuses.state(row) for row in run.failed_rows}, key=list(State).index)
    if run.hold.reason:
        return _after_hold(run, bool(failed))
    if failed:
        return _after_failures(run, failed)
    if run.finished and any(not run.acceptance_of(row) for row in _cancelled(run)):
        name = quote(run.record.name)
        return f"To submit cancelled slices again: slurmslice resubmit {name} --state CANCELLED"
    return _how_to_submit_waiting(run)


def _cancelled(run: Run) -> list[int]:
    return run.statuses.rows_in({State.CANCELLED})


def _after_hold(run: Run, any_failed: bool) -> str:
    name = quote(run.record.name)
    if run.hold.probe:
        keys = key_ranges([run.table.keys[row] for row in run.hold.probe])
        return (
            f"The rest is {run.hold.reason}.\n"
            f"These slices are tried first: {keys}. If they are done, it goes on: "
            f"{_commands_to_continue(run)}\n"
            f"To go on at once: slurmslice run {name} --max-failures none"
        )
    # A failed slice may be queued for resubmission. Its log still shows the cause.
    queued = (row for row in run.journal_state.queue if run.statuses.seen(row).state.failed)
    seen = next(queued, None)
    look = _command_to_see_why(
        run, run.failed_rows if any_failed else [] if seen is None else [seen]
    )
    why = f"See why:       {look}\n" if look else ""
    directory = _place_to_repair(run)
    where = f"Repair:        {directory}\n" if directory else ""
    if run.hold.rest_cancelled:
        again = f"slurmslice resubmit {name} --state FAIL,CANCELLED --max-failures none"
        return f"The rest was {run.hold.reason}.\n{why}{where}To go on anyway: {again}"
    line = f"slurmslice resubmit {name} --max-failures none"
    what = "All further attempts are" if run.finished else "The rest is"
    repaired = f"Then:          {line}\n" if any_failed else ""
    return (
        f"{what} {run.hold.reason}.\n{why}{where}{repaired}"
        f"To go on anyway: slurmslice run {name} --max-failures none"
    )


def _after_failures(run: Run, failed: Sequence[State]) -> str:
    name, directory = quote(run.record.name), _place_to_repair(run)
    where = f"Repair:      {directory}\n" if directory else ""
    if run.has_steward and rows_to_repair(run):  # a person's resubmit would begin a new ladder
        return f"See why:     {_command_to_see_why(run, run.failed_rows)}"
    lines = [f"slurmslice resubmit {name}{choice}" for choice in _resubmit_choices(failed)]
    waiting = _how_to_submit_waiting(run)
    return (
        f"See why:     {_command_to_see_why(run, run.failed_rows)}\n{where}Then:        "
        + "\n             ".join(lines)
        + (f"\n{waiting}" if waiting else "")
    )


def _how_to_submit_waiting(run: Run) -> str:
    """Return the command for waiting slices that no process submits; empty if there are none."""
    waiting = run.statuses.state_counts().get(State.WAITING, 0)
    if not waiting or (run.submissions_in_flight() and waiting == len(run.journal_state.queue)):
        return ""
    if canary_phase(run) is CanaryPhase.FAILED or run.waits_for_other:
        return ""
    verb, name = "run" if run.engine.runs_in_process else "submit", quote(run.record.name)
    if run.journal_state.rejection:
        options = suggest_options(run, run.journal_state.rejection)
        if options:
            return f"Change the request, for example: slurmslice {verb} {name} {options}"
        return f"Change the request or the script, then: slurmslice {verb} {name}"
    return f"To submit waiting slices: slurmslice {verb} {name}"


def _place_to_repair(run: Run) -> str:
    """Return the file that probably caused failures; empty if no command failed."""
    states = {State.FAILED, State.CHECK_FAILED}
    rows = [row for row in run.failed_rows if run.statuses.state(row) in states]
    why = run.statuses.reasons(rows)
    script = quote(relative_path(run.directory.script))
    if any(map(is_not_found, why)):
        return (
            f"in {script}, give the whole path of the command, or load its module or environment\n"
            "             (resubmit uses the edited script)"
        )
    if any(map(is_not_executable, why)):
        return (
            f"chmod +x FILE; or name its interpreter in {script}: bash FILE, python FILE\n"
            "             (resubmit uses the edited script)"
        )
    if all(run.statuses.state(row) is not State.FAILED for row in rows):
        return ""
    if any(map(is_setup_reason, why)):
        return f"the setup in {script} (resubmit uses the edited script)"
    return f"the program, or {script} (resubmit uses the edited script)"


def suggest_options(run: Run, rejection: str) -> str:
    """Return options to change after a rejected submission; empty if none is known."""
    return run.engine.suggest_change(rejection)


def _resubmit_choices(failed: Sequence[State]) -> list[str]:
    """Return the words after ``resubmit RUN``: one entry for each cause of failure."""
    rest = [state for state in failed if state not in _RAISED_REQUESTS]
    causes = [([state], more) for state, more in _RAISED_REQUESTS.items() if state in failed]
    causes += [(rest, "")] if rest else []
    chosen = [f" --state {','.join(states)}" if len(causes) > 1 else "" for states, _ in causes]
    return [choice + more for choice, (_, more) in zip(chosen, causes, strict=True)]


_RAISED_REQUESTS = {State.OUT_OF_MEMORY: " --mem 2x", State.TIMEOUT: " --time 2x"}


def _command_to_see_why(run: Run, rows: Sequence[int]) -> str:
    """Return the command that shows why slices failed: one log, or all errors in groups."""
    if len(rows) > 1:
        return f"slurmslice failures {quote(run.record.name)}"
    name = quote(run.record.name)
    return f"slurmslice logs {name} -- {quote(run.table.keys[rows[0]])}" if rows else ""


NOT_FINISHED = 4
NOTHING_TO_DO = 5
HELD = 6


def run_exit_code(run: Run) -> int:
    """Return the exit code of a run.

    It is 0 if every slice is done or accepted, 1 if the run is finished otherwise or the step after
    it failed, 6 if its own rule holds slices or their further attempts or has cancelled them, and 4
    if it is not finished: slices or that step have not ended, or its policy repairs some that
    failed.
    """
    slices_over = slices_are_over(run)
    if run.hold.probe:
        return NOT_FINISHED
    if run.hold.reason and (run.hold.rest_cancelled or not slices_over):
        return HELD
    if not slices_over:
        return HELD if stop_reason(run) else NOT_FINISHED
    if not is_over(run):
        return NOT_FINISHED
    return 0 if run.succeeded and then_phase(run) is not ThenPhase.FAILED else 1
