"""The step after a run, for ``status`` and the message about the end: its state and its job."""

from __future__ import annotations

from dataclasses import dataclass

from slurmslice.plan.then_phase import ThenPhase, is_stale, then_phase
from slurmslice.run.run import Run
from slurmslice.run.then_folder import ThenFolder
from slurmslice.spec.then_rule import ThenRule
from slurmslice.status.states import State


@dataclass(frozen=True, slots=True)
class ThenReport:
    """The step after a run at this moment.

    Attributes:
        rule: its command and its condition.
        phase: its phase.
        state: the state of its newest start, in Slurm's words; None if it was never started.
        job: its job id; on this machine its process id; empty if there is none.
        reason: the reason of the state; empty if there is none.
        log: the file with its output; empty if it was never started.
        called_off: a person cancelled the run after its newest submission.
        here: it is a process on this machine, and no job.
        stale: slices were submitted after its newest start.
    """

    rule: ThenRule
    phase: ThenPhase
    state: State | None
    job: str
    reason: str
    log: str
    stale: bool
    here: bool
    called_off: bool

    def record(self) -> dict[str, object]:
        """Return it as a plain record, for ``--json``."""
        return {
            "command": self.rule.command,
            "if": self.rule.condition,
            "phase": str(self.phase),
            "state": self.state and str(self.state),
            "job": self.job or None,
            "reason": self.reason,
            "log": self.log or None,
            "stale": self.stale,
        }

    @property
    def outcome(self) -> str:
        """``done`` or ``failed`` after its end; else empty."""
        return str(self.phase) if self.phase in {ThenPhase.DONE, ThenPhase.FAILED} else ""

    @property
    def text(self) -> str:
        """Its state in a sentence for a person, without a full stop."""
        job = f"{'process' if self.here else 'job'} {self.job}" if self.job else "no job"
        why = f": {self.reason}" if self.reason else ""
        match self.phase:
            case ThenPhase.WAITING:
                return f"the step afterwards runs when {self.rule.when}{self._interrupted}"
            case ThenPhase.DUE:
                return f"the step afterwards is due{self._interrupted}"
            case ThenPhase.NOT_MET:
                why = (
                    "the run was cancelled"
                    if self.called_off
                    else f"its condition was {self.rule.when}"
                )
                return f"the step afterwards does not run: {why}"
            case ThenPhase.STARTED:
                return f"the step afterwards is {self.state or State.SUBMITTED} ({job}{why})"
            case ThenPhase.DONE:
                return f"the step afterwards is done ({job})"
        return f"the step afterwards failed: {self.state}{why} ({job})"

    @property
    def _interrupted(self) -> str:
        return f" (its last start: {self.reason})" if self.reason else ""


def report_then(run: Run) -> ThenReport | None:
    """Report on the step after a run, as it was last seen; None if the run has none."""
    rule, step = run.record.then, run.journal_state.then
    if rule is None:
        return None
    phase, here = then_phase(run), run.engine.runs_in_process
    off = run.journal_state.then_called_off
    if step is None:
        return ThenReport(rule, phase, None, "", "", "", stale=False, here=here, called_off=off)
    seen = run.then_seen if run.then_seen_state else None
    state = step.state or (seen and seen.state)
    reason = step.reason if step.state or not seen else seen.reason
    log = str(ThenFolder(run.directory.path, step.token).log)
    stale = is_stale(run)
    return ThenReport(
        rule, phase, state or None, step.job, reason, log, stale=stale, here=here, called_off=off
    )
