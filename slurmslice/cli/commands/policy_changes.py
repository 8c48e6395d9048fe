"""Changes of a run's recorded policy by the options that a person typed for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from slurmslice.actions.follow import record_policy
from slurmslice.cli.options.new_run_inputs import NewRunOptions
from slurmslice.cli.options.parameters import is_typed
from slurmslice.cli.options.policy_options import refuse_incomplete_continuation
from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.submissions import change_max_failures
from slurmslice.errors import BadInputError
from slurmslice.plan.repairs import repair_policy
from slurmslice.policy.ladder import DEFAULT_ATTEMPTS, RepairPolicy
from slurmslice.policy.repair_rules import parse_rules
from slurmslice.run.run import Run
from slurmslice.spec.run_spec import FailureLimit
from slurmslice.system.shell_quoting import quote


def refuse_contradiction(options: NewRunOptions, max_attempts: int | None) -> None:
    """Refuse rules together with a single attempt, which repairs nothing.

    Raises:
        BadInputError: both were typed.
    """
    typed = [f"--{name}" for name in ("retry", "on") if is_typed(name)]
    if typed and max_attempts == 1 and is_typed("max_attempts"):
        raise BadInputError(
            f"--max-attempts 1 repairs nothing, and {typed[0]} repairs failed slices.",
            "Give a larger number, or leave out one of them.",
            code="options-conflict",
            option="max-attempts",
            value=1,
            other=typed[0].removeprefix("--"),
        )


def check_continues(run: Run, options: NewRunOptions) -> None:
    """Refuse continuations that were typed for a run without a checkpoint.

    Raises:
        BadInputError: the run has none, or there is no such cause.
    """
    causes = options.continues(run.record.cause) or run.continue_on
    if is_typed("continue_on") or is_typed("max_continues"):
        most = options.values["max_continues"]
        refuse_incomplete_continuation(causes, run.record.checkpoint, most)


def record_repair(run: Run, options: NewRunOptions, max_attempts: int | None) -> None:
    """Record ``--retry``, ``--on`` and ``--max-attempts`` in an existing run, or show the change.

    Rules are added to the recorded ones; a rule for the same cause replaces it. A settings file
    describes new runs: it does not change a recorded policy.
    """
    before = repair_policy(run)
    _note_kept(run, options, max_attempts)
    wanted = _typed_repair(run, options) | _wanted_attempts(run, max_attempts)
    wanted = {name: value for name, value in wanted.items() if value != getattr(before, name)}
    if not wanted:
        return
    record_policy(run, **wanted)  # a dry run remembers it, and plans by it
    after = replace(before, **wanted)
    verb = "Would record" if run.directory.read_only else "Recorded"
    message = f"{verb} {after}; it was {before}."
    emit_note("policy-recorded", message, before=before.max_attempts, **_fields(after))


def _fields(policy: RepairPolicy) -> dict[str, Any]:
    parts = (
        *("max_attempts", "retry", "on", "budget", "allow_changed"),
        *("continue_on", "max_continues"),
    )
    return {part: getattr(policy, part) for part in parts}


def _typed_repair(run: Run, options: NewRunOptions) -> dict[str, Any]:
    """Return the typed parts of the policy, without the number of attempts."""
    causes = run.record.cause
    parts = {
        "retry": True,
        "on": tuple(rule.text for rule in parse_rules((*run.on, *options.rules(causes)), causes)),
        "budget": options.budget,
        "allow_changed": True,
        "continue_on": options.continues(causes),
        "max_continues": options.values["max_continues"],
    }
    return {name: value for name, value in parts.items() if is_typed(name)}


def _wanted_attempts(run: Run, max_attempts: int | None) -> dict[str, Any]:
    """Return the number of attempts to record: the typed one, or the default of a new repair."""
    recorded = run.recorded_attempts
    if max_attempts is not None:
        keep = recorded and not is_typed("max_attempts")
        return {} if keep else {"max_attempts": max_attempts}
    repairs = is_typed("retry") or is_typed("on")
    return {"max_attempts": DEFAULT_ATTEMPTS} if repairs and recorded in {None, 1} else {}


def _note_kept(run: Run, options: NewRunOptions, max_attempts: int | None) -> None:
    """Name what a settings file says of the policy, and the run does not follow."""
    rules, recorded = options.rules(run.record.cause), run.recorded_attempts
    if not (is_typed("on") or set(rules) <= set(run.on)):
        _policy_kept("on", " ".join(run.on) or "none", quote(rules[0]))
    if not is_typed("retry") and options.retry and not run.retry:
        _policy_kept("retry", "off", "")
    if not is_typed("budget") and options.budget not in {"", run.budget}:
        _policy_kept("budget", run.budget or "none", options.budget)
    typed = is_typed("max_attempts") or not recorded
    if not typed and max_attempts not in {None, recorded}:
        _policy_kept("max-attempts", str(recorded), str(max_attempts))


def record_failure_limit(run: Run, wanted: FailureLimit | None) -> None:
    """If ``--max-failures`` was typed, record it in the existing run and release held slices."""
    if wanted is None:
        return
    if is_typed("max_failures"):
        change_max_failures(run, wanted)
    elif wanted != run.max_failures:
        kept = "the default" if run.max_failures is None else str(run.max_failures or "none")
        _policy_kept("max-failures", kept, str(wanted or "none"))


def record_cancel_rest(run: Run, options: NewRunOptions) -> None:
    """If ``--cancel-rest`` or ``--hold-rest`` was typed, record it in the existing run."""
    wanted = options.cancel_rest
    if wanted is None or wanted is run.cancel_rest:
        return
    word, other = ("cancel-rest", "hold-rest")[:: 1 if wanted else -1]
    if not is_typed("cancel_rest"):
        _policy_kept(other, "recorded", "")
        return
    verb = "Would record" if run.directory.read_only else "Recorded"
    record_policy(run, cancel_rest=wanted)
    emit_note("policy-recorded", f"{verb} --{word}.", before=not wanted, cancel_rest=wanted)


def _policy_kept(option: str, kept: str, wanted: str) -> None:
    """Say that a settings file does not change the recorded policy.

    Args:
        option: the option, without its dashes.
        kept: the recorded value.
        wanted: the value to type, quoted; empty for a flag.
    """
    emit_note(
        "policy-kept",
        f"This run keeps its recorded --{option} ({kept}). To change it, type "
        f"{f'--{option} {wanted}'.rstrip()}.",
        option=option, kept=kept,
    )  # fmt: skip
