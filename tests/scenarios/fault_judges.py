"""What must be true after a fault of a steward, beside the end of the run."""

from __future__ import annotations

import time
from collections import Counter

from tests.scenarios.fault_stage import Stage


def judge_stop(stage: Stage, reason: str, *, attempts: int = 0) -> None:
    """Judge that nothing is repaired any more, that it is told, and that the line to type helps."""
    attempts = attempts or stage.slices
    time.sleep(30)  # longer than Slurm waits before a job that was put back
    stage.until(lambda: not stage.jobs(stewards=True), "the end of the steward")
    stage.fail()
    stage.until(lambda: len(stage.jobs()) == stage.slices - 1, "the end of slice 0")
    stage.equal("tasks in sacct without a steward", attempts, len(stage.attempts()))
    stage.equal("in flight goes on", stage.slices - 1, len(stage.jobs()))
    told = stage.told
    stage.equal("told", ("gone", reason), (told["state"], told["reason"]))
    stage.true("the line to type", "--unattended", "--unattended" in stage.said())
    stage.equal("the line again", 0, stage.unattended())
    stage.goes_on(time.time())


def judge_mails(stage: Stage, *expected: str) -> None:
    """Judge the subjects of the mails that Slurm has sent about the run."""
    own = [line for line in stage.mails() if f"Name={stage.name}" in line]
    good = len(own) == len(expected) and all(map(str.__contains__, own, expected))
    stage.true("mails", own, good)


def judge_causes(stage: Stage, cause: str) -> None:
    """Judge that each slice has failed once with this cause, and that no one was left."""
    states = Counter(stage.attempts())
    stage.equal("in sacct", {cause: stage.slices, "COMPLETED": stage.slices}, dict(states))
    told = stage.site.status(stage.folder, stage.name)
    stage.equal("told", {"COMPLETED": stage.slices}, told["counts"])


def judge_next_look(stage: Stage) -> None:
    """Judge that ``status`` tells when the steward looks next, as Slurm does."""
    stage.until(lambda: "PENDING" in "".join(stage.jobs(stewards=True)), "a steward that waits")
    (job,) = stage.jobs(stewards=True)
    told, start = stage.told, job.split()[2]
    stage.equal("told", "waits", told["state"])
    if start != "N/A":
        at = time.mktime(time.strptime(start, "%Y-%m-%dT%H:%M:%S"))
        seen = told["not_before"] or 0
        stage.true(f"it looks next, as told (Slurm: {start})", seen, abs(seen - at) < 60)
