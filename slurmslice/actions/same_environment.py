"""The same environment for every attempt: that of the first one, or a refusal (docs/adr/0016)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from slurmslice.errors import BadInputError
from slurmslice.notes import Note
from slurmslice.plan.plan import Plan
from slurmslice.plan.run_script import RunScript
from slurmslice.run.journal import EnvironmentRecorded
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.recorded_environment import (
    NextEnvironment,
    RecordedEnvironment,
    carried_names,
    next_environment,
    settled_names,
)
from slurmslice.system.login_shell import login_environment
from slurmslice.system.shell_quoting import quote


def next_environ(run: Run, script: RunScript, request: ResourceRequest) -> Mapping[str, str]:
    """Return the environment of the next submission. The caller holds the lock.

    The first submission records the caller's environment.

    Raises:
        BadInputError: it would not be the environment of the first attempt.
    """
    if not run.journal_state.submissions:
        record_environment(run)
        return run.environ
    found = _next(run, script, request)
    _refuse_unlike(run, found)
    return found.environ


def check_environment(run: Run, plan: Plan) -> None:
    """Refuse a plan of later attempts whose environment would differ, before they are queued.

    Raises:
        BadInputError: as ``next_environ``.
    """
    if run.journal_state.submissions:
        for planned in plan.requests:
            request = plan.script.request.overridden_by(planned.request)
            _refuse_unlike(run, _next(run, plan.script, request))


def record_environment(run: Run) -> None:
    """Record the caller's environment as that of all attempts. The caller holds the lock."""
    known = run.recorded_environment
    here = RecordedEnvironment.of(run.environ, known.salt)
    if here != known:
        run.decide(EnvironmentRecorded(here, run.clock()))


def left_out_note(run: Run, plan: Plan) -> Note | None:
    """Return a note on variables of the caller that the attempts of a plan do not get."""
    if not (plan.requests and run.journal_state.submissions):
        return None
    request = plan.script.request.overridden_by(plan.requests[0].request)
    names = _next(run, plan.script, request).left_out
    if not names or carried_names(request) is not None:
        return None
    message = (
        f"The first attempt did not have {_listed(names)}, so this one does not get "
        f"{'it' if len(names) == 1 else 'them'}. To use this shell's environment: --new-env"
    )
    return Note("variables-left-out", message, {"names": names})


def _next(run: Run, script: RunScript, request: ResourceRequest) -> NextEnvironment:
    return next_environment(
        run.recorded_environment,
        run.environ,
        login_environment,
        settled=settled_names(script.text),
        carried=carried_names(request),
    )


def _refuse_unlike(run: Run, found: NextEnvironment) -> None:
    if not found.unlike:
        return
    names = (*found.missing, *found.different)
    said = "; ".join(_faults(found))
    lines = (
        f"To set it for every attempt:  export {names[0]}=… in prepare() of "
        f"{quote(str(run.directory.script))}",
        "To use this shell's environment from now on:  add --new-env to run, submit or resubmit",
        "For a new run:  --env NAME keeps a value, --setup loads modules; with --export=NONE the "
        "environment is the script's alone",
    )
    raise BadInputError(
        f"Nothing was submitted, because the environment here is not that of the first attempt: "
        f"{said}.",
        "\n".join(lines),
        code="environment-differs",
        run=run.record.name,
        missing=found.missing,
        different=found.different,
    )


def _faults(found: NextEnvironment) -> Iterator[str]:
    if found.missing:
        yield f"{_listed(found.missing)} {_verb(found.missing, 'is', 'are')} not set"
    if found.different:
        yield f"{_listed(found.different)} {_verb(found.different, 'has', 'have')} another value"


def _verb(names: tuple[str, ...], one: str, several: str) -> str:
    return one if len(names) == 1 else several


_SHOWN = 12


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _SHOWN
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
