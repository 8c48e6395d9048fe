"""What ``submit`` and ``resubmit`` share: show it, or do it and say what was done."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from slurmslice.cli.console import out, say
from slurmslice.cli.live import follow_live
from slurmslice.cli.preview import relative, tell_how_to_come_back, tell_taken
from slurmslice.cli.summary import NOT_FINISHED
from slurmslice.errors import EngineError
from slurmslice.reports.counts import count, key_ranges
from slurmslice.run import Run
from slurmslice.states import State
from slurmslice.submission import Draft
from slurmslice.verbs.follow import Policy
from slurmslice.verbs.poll import poll
from slurmslice.verbs.submit import Choose, preview, submit


def send(
    run: Run,
    choose: Choose,
    changes: Mapping[str, str],
    *,
    verb: str,
    dry_run: bool,
    nothing: Callable[[Run], None],
) -> int:
    """Submit the chosen slices, or show what would be; the exit code."""
    poll(run)
    if dry_run:
        for draft in preview(run, choose, changes):
            _show(run, draft)
        return 0
    try:
        taken = submit(run, choose, changes, verb)
    except EngineError:
        again = f"slurmslice {verb} {run.asked.name}"
        say(f"The run is kept: {relative(run.place.path)}. `{again}` can be tried again, with "
            "options that change its request (-p, --mem …).")  # fmt: skip
        raise
    tell_taken(run, taken)
    if not taken:
        nothing(run)
        return 0
    return _afterwards(run)


def _afterwards(run: Run) -> int:
    """On Slurm the work is handed over. This machine works only while a process does."""
    run.engine.wait(0)
    if run.engine.working:
        code = follow_live(run, Policy(feed=False))
        return 0 if code == NOT_FINISHED else code  # what was put in has ended; others wait
    if run.asked.engine == "local":
        say("The `slurmslice run` that is going on works on them.")
    waiting = run.standings.states().count(State.WAITING)
    if waiting:
        say(f"{count(waiting)} waiting; `slurmslice submit {run.asked.name}` puts them in.")
    tell_how_to_come_back(run)
    return 0


def _show(run: Run, draft: Draft) -> None:
    keys = key_ranges([run.table.keys[row] for row in draft.batch.rows])
    say(f"Would submit {count(len(draft.batch.rows))} ({keys}) as submission {draft.number:03d}:")
    if run.asked.engine == "local":
        return  # no sbatch is called for it
    words = [
        "sbatch",
        "--parsable",
        *(f"--{name}={value}" if value else f"--{name}" for name, value in draft.overrides),
        relative(run.place.script),
        *([draft.argument] if draft.argument else []),
    ]
    out(shlex.join(words))
