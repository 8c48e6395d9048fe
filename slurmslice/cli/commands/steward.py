"""The verb ``steward``, which only the steward's job calls: one round of an unattended run."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from slurmslice.actions.open_run import open_run
from slurmslice.actions.steward import stewards_of
from slurmslice.actions.steward_round import EXPECTED_ENDS, do_round, submit_successor
from slurmslice.cli.output.console import emit_note
from slurmslice.cli.output.end_notice import tell_end
from slurmslice.cli.output.line_round import show_round
from slurmslice.run.directory import RunDirectory


@click.command()
@click.argument("run_dir", metavar="RUN")
@click.argument("token")
@click.argument("job")
@click.option("--chain", is_flag=True, help="Submit the next steward in place of this job.")
def command(run_dir: str, token: str, job: str, chain: bool) -> int:
    """Do one round of an unattended run. Only steward.sh, the script of its job, calls this."""
    run = open_run(RunDirectory.open(Path(run_dir)), changing=True)
    if chain:
        successor = submit_successor(run, token, job)
        message = f"Job {successor or 'none'} follows the run from now on."
        emit_note("steward-chained", message, job=successor)
        return 0
    result = do_round(run, token, job)
    show_round(run, result)
    steward = run.journal_state.steward
    if result.ended and steward and (steward.token, steward.ended) == (token, result.ended):
        stopped = "" if result.ended in EXPECTED_ENDS else result.ended
        tell_end(run, stopped, partial(stewards_of(run).mail_at_end, job))
    return 0
