"""Real trouble on a real cluster: nodes, preemption, daemons, commands by hand.

Each test examines the states at every important moment. At the end it examines the marks of the
slices: each came to its end once, and no two attempts at it lived at the same time.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from slurmslice.engines.slurm import versions
from tests.support.errors import error_code
from tests.support.notes import SHOW_CODES, noted
from tests.support.site import (
    DEADLINE_S,
    WAITS,
    Site,
    accounted,
    beside,
    done_apart,
    empty_folder,
    events,
    settled,
    until,
    witness,
    witnessed,
    write,
)
from tests.support.slurm_cluster import Cluster, cgroups, processes

pytestmark = pytest.mark.slurm


GOOD = ("SUBMITTED", "PENDING", "RUNNING", "COMPLETING", "COMPLETED")


@dataclass
class Watched:
    """A run, and the states of each of its slices in order, without repetitions."""

    site: Site
    directory: Path
    name: str
    seen: dict[str, list[str]] = field(default_factory=dict)

    def look(self) -> dict[str, str]:
        """Return each slice's present state."""
        slices = self.site.status(self.directory, self.name)["slices"]
        for one in slices:
            states = self.seen.setdefault(one["key"], [])
            if states[-1:] != [one["state"]]:
                states.append(one["state"])
        return {one["key"]: one["state"] for one in slices}

    def until(self, **wanted: str) -> None:
        """Poll until these slices (``s3`` is slice 3) have these states and the running ones live.

        Slurm says RUNNING before the command begins.
        """
        keys = {key.removeprefix("s"): state for key, state in wanted.items()}
        until(lambda: keys.items() <= self.look().items(), f"{self.name}: {keys}")
        self._live({key for key, state in keys.items() if state == "RUNNING"})

    def all(self, state: str) -> None:
        """Poll until every slice has this state, and lives if it runs or its processes end."""
        until(
            lambda: set(self.look().values()) == {state},
            lambda: f"all to be {state}: {self.site.status(self.directory, self.name)}",
        )
        self._live(set(self.seen) if state in {"RUNNING", "COMPLETING"} else set())

    def _live(self, keys: set[str]) -> None:
        """Wait until each has given a sign of life after now."""
        now = time.time()

        def lives(key: str) -> bool:
            return any(last > now for _, last, _ in witness(self.directory).get(key, ()))

        until(lambda: all(map(lives, keys)), f"{self.name}: a sign of life of {keys}")

    def history(self, key: str) -> list[str]:
        """Return the states of a slice in order. A look may miss COMPLETING, so it is left out."""
        return [state for state in self.seen[key] if state != "COMPLETING"]

    def other_than(self, *states: str) -> set[str]:
        """Return the slices that have none of these states."""
        return {key for key, state in self.look().items() if state not in states}

    def all_of(self, state: str, *keys: str) -> None:
        """Poll until these slices have this state."""
        until(lambda: {self.look()[key] for key in keys} == {state}, f"{self.name}: {keys} {state}")

    def record(self, key: str) -> dict[str, object]:
        """Return the record of a slice."""
        slices = self.site.status(self.directory, self.name)["slices"]
        return next(one for one in slices if one["key"] == key)

    @property
    def job(self) -> str:
        """Return the id of the job that was submitted last."""
        return str(events(self.directory, self.name, "submitted")[-1]["job"])


def submitted(
    site: Site, directory: Path, name: str, *options: str, command: str = WAITS
) -> Watched:
    """Make and submit a run."""
    made = site.slurmslice(
        "render", *options, "--mem", "50M", "--name", name, "--shell", command, cwd=directory
    )
    assert made.returncode == 0, made.stderr
    sent = site.slurmslice("submit", name, cwd=directory)
    assert sent.returncode == 0, sent.stderr
    return Watched(site, directory, name)


@contextmanager
def following(
    site: Site, directory: Path, name: str, *options: str
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Follow a new run with ``slurmslice run`` in the background; its output goes to a file."""
    words = ["run", *options, "--mem", "50M", "--name", name, "--interval", "0.5"]
    with (directory / "said").open("w") as said:
        env = cluster_of(site).as_user()["env"] | SHOW_CODES | {"SLURMSLICE_ASK_TIMEOUT": "3"}
        argv = [str(site.python), "-m", "slurmslice", *words]
        run = site.popen(argv, cwd=directory, stderr=said, env=env)
    try:
        yield run, directory / "said"
    finally:
        run.kill()
        run.wait()


def started(site: Site, directory: Path, name: str, *options: str) -> Watched:
    """Start a run whose slices all run and wait for ``go``; forget the earlier states."""
    run = submitted(site, directory, name, *options)
    run.all("RUNNING")
    run.seen.clear()
    return run


def again(site: Site, directory: Path, name: str, *options: str) -> None:
    """Resubmit failed slices, or those that the options name."""
    before = len(events(directory, name, "submitted"))
    done = site.slurmslice("resubmit", name, *options, cwd=directory)
    assert done.returncode == 0, done.stderr
    assert len(events(directory, name, "submitted")) > before, done.stderr


def by_hand(site: Site, *argv: str, user: str | None = None) -> str:
    """Run one of Slurm's own commands, which must succeed; return its output."""
    done = site.run(*argv, cwd=site.folder, user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def folders(site: Site, directory: Path, *names: str) -> list[Path]:
    """Make folders of the user below a place."""
    paths = [directory / name for name in names]
    assert site.run("mkdir", *map(str, paths), cwd=directory).returncode == 0
    return paths


def cluster_of(site: Site) -> Cluster:
    """Return the cluster for the trouble."""
    assert site.cluster is not None
    return site.cluster


def test_a_node_dies(rough: Site, roughly: Path) -> None:
    """A slice that Slurm restarts has never failed; without a requeue it is NODE_FAIL."""
    cluster = cluster_of(rough)
    once, more = folders(rough, roughly, "once", "more")
    last = started(rough, once, "last", "-a", "0-1", "--no-requeue")
    kept = started(rough, more, "kept", "-a", "0-3")
    node = str(last.record("0")["node"])
    hit = {key for key in kept.look() if kept.record(key)["node"] == node}
    assert 0 < len(hit) < 4
    cluster.kill(node)
    processes.kill(cgroups.job_pids(node), f"the jobs of {node}")
    try:
        last.all("NODE_FAIL")
        assert "node" in str(last.record("0")["reason"])
        until(
            lambda: bool(kept.look()) and all(kept.record(key)["restarts"] for key in hit),
            "what it hit to restart",
        )
        assert rough.slurmslice("resubmit", "kept", cwd=more).returncode == 5
        kept.all("RUNNING")
        assert len(events(more, "kept", "intent")) == 1
        for directory in (once, more):
            write(rough, directory / "go", "")
        again(rough, once, "last")
        last.all("COMPLETED")
        kept.all("COMPLETED")
    finally:
        cluster.start(node)
        cluster.wait_for_nodes()
    # Slurm may start them again before anybody looks.
    assert all({*kept.history(key)} <= {"RUNNING", "PENDING", "COMPLETED"} for key in hit)
    done_apart(once, ["0", "1"], tries=2)
    done_apart(more, ["0", "1", "2", "3"])
    assert {key for key, spans in witness(more).items() if len(spans) == 2} == hit


def test_a_node_breaks_each_slice(rough: Site, roughly: Path) -> None:
    """It is excluded before any other slice has ended, and its slices are done elsewhere.

    What waits in the queue avoids it too. A person changes its request, and not that of what runs.
    """
    command = f"case $SLURMD_NODENAME in *3) sleep 3; exit 1 ;; esac\n{WAITS}"
    made = ("-a", "0-39%13", "--retry", "--mem", "50M", "--name", "ill", "--shell", command)
    assert rough.slurmslice("render", *made, cwd=roughly).returncode == 0
    assert rough.slurmslice("submit", "ill", cwd=roughly).returncode == 0

    def found() -> list[dict[str, Any]]:
        rough.slurmslice("tick", "ill", cwd=roughly)
        return events(roughly, "ill", "node_excluded")

    until(lambda: bool(found()), "the node to be excluded")
    (one,) = events(roughly, "ill", "node_excluded")
    assert one["node"].endswith("3")
    assert rough.status(roughly, "ill")["counts"].get("COMPLETED", 0) == 0
    (avoids,) = events(roughly, "ill", "queue_avoids")
    assert (avoids["nodes"], avoids["refusal"]) == (one["node"], "")
    job = events(roughly, "ill", "submitted")[0]["job"]
    waits = rough.run("squeue", "-h", "-r", "-t", "PD", "-j", job, "-o", "%x", cwd=roughly)
    assert set(waits.stdout.split()) == {one["node"]}
    changed = rough.popen(
        [str(rough.python), "-m", "slurmslice", "run", "ill", "--mem", "60M", "-t", "9:00"],
        cwd=roughly,
    )  # fmt: skip
    until(lambda: bool(events(roughly, "ill", "queue_changed")), "the queue to be changed")
    shown = rough.run("squeue", "-h", "-r", "-j", job, "-o", "%T %l %m", cwd=roughly).stdout
    requests = {"RUNNING": {"UNLIMITED 50M"}, "PENDING": {"9:00 60M"}}
    for state, wanted in requests.items():
        assert {r.split(" ", 1)[1] for r in shown.splitlines() if r.startswith(state)} == wanted
    changed.terminate()
    changed.wait()
    write(rough, roughly / "go", "")
    until(
        lambda: (rough.slurmslice("tick", "ill", cwd=roughly),
                 rough.status(roughly, "ill")["counts"] == {"COMPLETED": 40})[1],
        "all slices to be done",
    )  # fmt: skip
    intents = events(roughly, "ill", "intent")
    assert [one["node"] in each["overrides"].get("exclude", "") for each in intents] == [
        False, *[True] * (len(intents) - 1)
    ]  # fmt: skip
    assert {each["cause"] for each in events(roughly, "ill", "queued")} == {"", "bad-node"}


def test_preempted(rough: Site, roughly: Path) -> None:
    """Requeued is a restart, never a failure. Cancelled for another job is PREEMPTED, final."""
    back, gone = folders(rough, roughly, "back", "gone")
    scavenge = started(rough, back, "scavenge", "-p", "scavenge", "-a", "0-1")
    cheap = started(rough, gone, "cheap", "-p", "cheap", "-a", "0-1")
    large = by_hand(rough, "sbatch", "--parsable", "-p", "main", "-N4", "-n16", "--mem-per-cpu=10",
                    "-o", "/dev/null", "--wrap", "sleep 600")  # fmt: skip
    try:
        cheap.all("PREEMPTED")
        scavenge.all("PENDING")
        until(
            lambda: "preempted" in str(scavenge.record("0")["reason"]),
            lambda: f"the cause of the restart: {scavenge.record('0')}",
        )
        assert rough.slurmslice("resubmit", "scavenge", cwd=back).returncode == 5
        assert len(events(back, "scavenge", "intent")) == 1
    finally:
        by_hand(rough, "scancel", large)
    scavenge.all("RUNNING")
    assert [scavenge.history(key) for key in "01"] == [["PENDING", "RUNNING"]] * 2
    for directory in (back, gone):
        write(rough, directory / "go", "")
    again(rough, gone, "cheap")
    for directory, run in ((back, scavenge), (gone, cheap)):
        assert settled(rough, directory, run.name) == {"COMPLETED": 2}
        done_apart(directory, ["0", "1"], tries=2)


RENAMES = (
    "scontrol update JobId=${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID} JobName=sample_$SLICE\n"
)
"""Each slice renames its own array task, as many scripts do."""


def names_of(site: Site, job: str) -> set[str]:
    """Return the names of a job's tasks in the queue."""
    return set(by_hand(site, "squeue", "--noheader", "--format=%j", "--jobs", job).split())


def test_renamed_and_preempted(rough: Site, roughly: Path) -> None:
    """A requeued task under another name is a restart, never a failure, and never runs twice."""
    command = f"{RENAMES}{WAITS}"
    run = submitted(rough, roughly, "scavenge", "-p", "scavenge", "-a", "0-1", command=command)
    run.all("RUNNING")
    until(lambda: names_of(rough, run.job) == {"sample_0", "sample_1"}, "both to be renamed")
    run.seen.clear()
    large = by_hand(rough, "sbatch", "--parsable", "-p", "main", "-N4", "-n16", "--mem-per-cpu=10",
                    "-o", "/dev/null", "--wrap", "sleep 600")  # fmt: skip
    try:
        run.all("PENDING")
        later = rough.later(130, "status", "scavenge", cwd=roughly)
        assert later.returncode == 0, later.stderr  # long after the lines of their SIGTERM
        assert rough.slurmslice("resubmit", "scavenge", cwd=roughly).returncode == 5
        assert len(events(roughly, "scavenge", "intent")) == 1
    finally:
        by_hand(rough, "scancel", large)
    run.all("RUNNING")
    write(rough, roughly / "go", "")
    assert settled(rough, roughly, "scavenge") == {"COMPLETED": 2}
    assert set(run.seen["0"]) | set(run.seen["1"]) <= set(GOOD), run.seen
    done_apart(roughly, ["0", "1"], tries=2)


def test_renamed_in_part(rough: Site, roughly: Path) -> None:
    """Some tasks are renamed while they run, others before. Each has its own end."""
    command = f"[ $SLICE = 3 ] || {RENAMES}[ $SLICE != 2 ] || exit 7\n{WAITS}"
    run = submitted(rough, roughly, "part", "-a", "0-4%4", command=command)
    run.until(s0="RUNNING", s1="RUNNING", s3="RUNNING", s4="RUNNING")
    run.all_of("FAILED", "2")
    assert (run.record("2")["exit_code"], run.record("2")["evidence"]) == (7, "accounting")
    assert rough.slurmslice("cancel", "part", "--", "1", "3", cwd=roughly).returncode == 0
    run.all_of("CANCELLED", "1", "3")
    write(rough, roughly / "go", "")
    run.all_of("COMPLETED", "0", "4")
    assert {run.record(key)["evidence"] for key in "0134"} == {"accounting"}


def test_renamed_before_its_start(rough: Site, roughly: Path) -> None:
    """A person or a plugin renames the pending array: nothing has claimed the submission yet."""
    run = submitted(rough, roughly, "early", "--hold", "-a", "0-2")
    by_hand(rough, "scontrol", "update", f"JobId={run.job}", "JobName=other")
    run.all("PENDING")
    assert rough.slurmslice("throttle", "early", "1", cwd=roughly).returncode == 0
    assert rough.slurmslice("cancel", "early", cwd=roughly).returncode == 0
    run.all("CANCELLED")
    assert names_of(rough, run.job) == set()


STEP_SAVES = """\
trap 'exit 0' TERM
touch "alive-$SLICE"
until [ -e go ]; do sleep 0.2; done
"""


def test_preempted_with_a_grace_time(rough: Site, roughly: Path) -> None:
    """Signalled job steps may exit 0: PREEMPTED. A script without steps is not signalled.

    Newer releases call every end within that time PREEMPTED.
    """
    release = versions.parse_release(by_hand(rough, "sbatch", "--version").split()[-1])
    by_slurm = versions.PREEMPTED_IN_GRACE.applies_to(release or (0, 0))
    steps, none = folders(rough, roughly, "steps", "none")
    write(rough, steps / "saves", STEP_SAVES)
    grace = ("scontrol", "update", "partitionname=cheap")
    by_hand(rough, *grace, "GraceTime=60", user="root")
    try:
        told = submitted(rough, steps, "told", "-p", "cheap", "-a", "0-1", "-t", "5",
                         command="srun bash saves")  # fmt: skip
        until(lambda: len(list(steps.glob("alive-*"))) == 2, "both steps to begin")
        free = started(rough, none, "free", "-p", "cheap", "-a", "0-1", "-t", "5")
        large = by_hand(rough, "sbatch", "--parsable", "-p", "main", "-N4", "-n16",
                        "--mem-per-cpu=10", "-o", "/dev/null", "--wrap", "true")  # fmt: skip
        told.all("PREEMPTED")
        assert ("exit 0" in str(told.record("0")["reason"])) is not by_slurm
        write(rough, none / "go", "")
        free.all("PREEMPTED" if by_slurm else "COMPLETED")
        by_hand(rough, "scancel", large)
        write(rough, steps / "go", "")
        again(rough, steps, "told")
        assert settled(rough, steps, "told") == {"COMPLETED": 2}
    finally:
        by_hand(rough, *grace, "GraceTime=0", user="root")


SAVES = witnessed("""\
saving() { until [ -e saved ]; do note alive; sleep 0.2; done; exit 1; }
trap saving TERM
until [ -e go ]; do note alive; sleep 0.2; done""")
"""Waits for ``go``; after a signal it saves, alive, until the file ``saved`` exists."""


def test_a_slice_that_still_saves_is_not_resubmitted(rough: Site) -> None:
    """Slurm says PREEMPTED or CANCELLED at once and gives KillWait: the slice has not ended.

    The same holds if the queue was silent when accounting reported the end.
    """
    with beside(rough, "wait", kill_wait=90, slurmd_timeout=60) as site, empty_folder(site) as top:
        given, own = folders(site, top, "given", "own")
        options = ["-p", "cheap", "-a", "0-1", "--max-attempts", "2", "--shell", SAVES]
        with following(site, given, "given", *options) as (run, _):
            preempted = Watched(site, given, "given")
            until(lambda: len(witness(given)) == 2, "both to begin")
            preempted.all("RUNNING")
            large = by_hand(site, "sbatch", "--parsable", "-p", "main", "-N4", "-n16",
                            "--mem-per-cpu=10", "-o", "/dev/null", "--wrap", "true")  # fmt: skip
            until_told(site, given, preempted.job, "PREEMPTED")
            by_hand(site, "scancel", large)
            preempted.all("COMPLETING")  # Slurm's state is not enough: each gives a sign of life
            assert "PREEMPTED" in str(preempted.record("0")["reason"])
            for file in ("saved", "go"):
                write(site, given / file, "")
            assert run.wait(DEADLINE_S) == 0
        done_apart(given, ["0", "1"], tries=2)
        cancelled = submitted(site, own, "own", "-a", "0", command=SAVES)
        cancelled.all("RUNNING")
        by_hand(site, "scancel", cancelled.job)
        until_told(site, own, cancelled.job, "CANCELLED")
        cluster_of(site).stop("slurmctld")
        try:
            cancelled.all("CANCELLED")
        finally:
            cluster_of(site).start("slurmctld")
        nothing = site.slurmslice("resubmit", "own", "--state", "CANCELLED", cwd=own)
        assert nothing.returncode == 5, nothing.stderr
        assert noted(nothing.stderr, "nothing-to-resubmit") == [{"states": {"COMPLETING": "0"}}]
        assert len(events(own, "own", "intent")) == 1
        cancelled.all("COMPLETING")
        for file in ("saved", "go"):
            write(site, own / file, "")
        cancelled.all("CANCELLED")
        again(site, own, "own", "--state", "CANCELLED")
        assert settled(site, own, "own") == {"COMPLETED": 1}
        done_apart(own, ["0"], tries=2)


def until_told(site: Site, directory: Path, job: str, state: str) -> None:
    """Wait until accounting reports this end for every task of a job.

    It must be a record of the task's own: the record for unstarted tasks may be shown for a moment
    (seen).
    """

    def told() -> bool:
        said = accounted(site, directory, [job], "State")
        ended = all(index.isdigit() and word.startswith(state) for (_, index), word in said.items())
        return bool(said) and ended

    until(told, f"accounting to say {state} of {job}")


def test_the_database_stops_and_returns(rough: Site, roughly: Path) -> None:
    """slurmdbd is down while 300 slices run. Only the three that fail are reported as failed."""
    cluster, bad = cluster_of(rough), {"7", "150", "290"}
    work = witnessed("[ -e repaired ] || case $SLICE in 7|150|290) exit 3 ;; esac; sleep 0.1")
    watched = Watched(rough, roughly, "many")
    with following(rough, roughly, "many", "-a", "0-299", "--shell", work) as (run, said):
        until(lambda: len(witness(roughly)) > 60, "a fifth of them")
        cluster.stop("slurmdbd")
        try:
            until(lambda: bool(noted(said.read_text(), "no-answer")), "a poll without an answer")
            assert watched.other_than(*GOOD) <= bad
            until(lambda: len(witness(roughly)) == 300, "all to have begun meanwhile")
            assert watched.other_than(*GOOD) <= bad
        finally:
            cluster.start("slurmdbd")
        assert run.wait(DEADLINE_S) == 1
    assert watched.other_than("COMPLETED") == bad
    write(rough, roughly / "repaired", "")
    again(rough, roughly, "many")
    assert settled(rough, roughly, "many") == {"COMPLETED": 300}
    done_apart(roughly, [str(key) for key in range(300)])
    assert Counter(len(spans) for spans in witness(roughly).values()) == {1: 297, 2: 3}


def test_the_controller_is_restarted(rough: Site, roughly: Path) -> None:
    """slurmctld is down during 100 slices: none is lost, failed or done twice."""
    cluster = cluster_of(rough)
    options = ["-a", "0-99%12", "--shell", witnessed("sleep 0.3")]
    with following(rough, roughly, "some", *options) as (run, said):
        until(lambda: len(witness(roughly)) > 30, "a third of them")
        cluster.stop("slurmctld")
        try:
            until(lambda: bool(noted(said.read_text(), "no-answer")), "a poll without an answer")
            asked = rough.slurmslice(
                "status", "some", "--json", cwd=roughly, env={"SLURMSLICE_ASK_TIMEOUT": "3"}
            )
            slices = json.loads(asked.stdout)["slices"]
            assert [one for one in slices if one["state"] not in GOOD] == []
        finally:
            cluster.start("slurmctld")
            cluster.wait_for_nodes()
        assert run.wait(DEADLINE_S) == 0, said.read_text()
    assert rough.status(roughly, "some")["counts"] == {"COMPLETED": 100}
    done_apart(roughly, [str(key) for key in range(100)], tries=1)


def test_a_partition_is_set_down(rough: Site, roughly: Path) -> None:
    """Running slices continue, pending ones have a reason; an inactive partition refuses."""
    ran, waited = folders(rough, roughly, "ran", "waited")
    early = started(rough, ran, "early", "-p", "cheap", "-a", "0-1")
    try:
        by_hand(rough, "scontrol", "update", "PartitionName=cheap", "State=DOWN", user="root")
        late = submitted(rough, waited, "late", "-p", "cheap", "-a", "0-1")
        until(lambda: "PartitionDown" in str(late.record("0")["reason"]), "the reason to be told")
        late.all("PENDING")
        early.all("RUNNING")
        by_hand(rough, "scontrol", "update", "PartitionName=cheap", "State=INACTIVE", user="root")
        write(rough, ran / "go", "")
        early.all("COMPLETED")
        made = rough.slurmslice("render", "-p", "cheap", "-a", "0-1", "--name", "no", "--shell",
                                "true", cwd=roughly)  # fmt: skip
        assert made.returncode == 0, made.stderr
        refused = rough.slurmslice("submit", "no", cwd=roughly)
        assert (refused.returncode, error_code(refused.stderr)) == (3, "submission-rejected")
        assert rough.status(roughly, "no")["counts"] == {"WAITING": 2}
    finally:
        by_hand(rough, "scontrol", "update", "PartitionName=cheap", "State=UP", user="root")
    assert rough.slurmslice("submit", "no", cwd=roughly).returncode == 0
    assert settled(rough, roughly, "no") == {"COMPLETED": 2}
    write(rough, waited / "go", "")
    late.all("COMPLETED")
    for directory in (ran, waited):
        done_apart(directory, ["0", "1"], tries=1)


def test_requeued_held_and_suspended_by_hand(rough: Site, roughly: Path) -> None:
    """scontrol requeue, requeuehold, suspend of running tasks: always in flight."""
    run = started(rough, roughly, "hands", "-a", "0-3")
    by_hand(rough, "scontrol", "requeue", f"{run.job}_0")
    by_hand(rough, "scontrol", "requeuehold", f"{run.job}_1")
    by_hand(rough, "scontrol", "suspend", f"{run.job}_2", user="root")
    try:
        run.until(s0="PENDING", s1="PENDING", s2="SUSPENDED", s3="RUNNING")
        said = rough.slurmslice("resubmit", "hands", cwd=roughly)
        assert len(noted(said.stderr, "nothing-to-resubmit")) == 1, said.stderr
        run.until(s0="RUNNING", s1="PENDING", s2="SUSPENDED", s3="RUNNING")
        held = rough.slurmslice("status", "hands", cwd=roughly)
        assert [one["keys"] for one in noted(held.stderr, "will-not-start")] == ["1"]
        assert f"scontrol release {run.job}" in held.stderr, held.stderr
    finally:  # no signal ends a frozen process
        by_hand(rough, "scontrol", "resume", f"{run.job}_2", user="root")
    by_hand(rough, "scontrol", "release", f"{run.job}_1")
    run.all("RUNNING")
    write(rough, roughly / "go", "")
    run.all("COMPLETED")
    assert run.history("2") == ["SUSPENDED", "RUNNING", "COMPLETED"]
    tries = {key: len(spans) for key, spans in witness(roughly).items()}
    assert tries == {"0": 2, "1": 2, "2": 1, "3": 1}
    done_apart(roughly, ["0", "1", "2", "3"])
    assert len(events(roughly, "hands", "intent")) == 1


def test_scancel_by_hand(rough: Site, roughly: Path) -> None:
    """Pending tasks leave no record, and are CANCELLED after the array's end; running ones do."""
    run = submitted(rough, roughly, "cut", "-a", "0-7%3")
    run.until(s0="RUNNING", s1="RUNNING", s2="RUNNING", s3="PENDING")
    by_hand(rough, "scancel", f"{run.job}_[3,5]")
    by_hand(rough, "scancel", f"{run.job}_1")
    run.until(s1="CANCELLED", s0="RUNNING", s2="RUNNING", s4="RUNNING")
    assert "user" in str(run.record("1")["reason"])
    assert (run.look()["3"], run.look()["5"]) == ("PENDING", "PENDING")
    write(rough, roughly / "go", "")
    run.until(s0="COMPLETED", s2="COMPLETED", s4="COMPLETED", s6="COMPLETED", s7="COMPLETED")
    until(lambda: "cancelled" in str(run.record("3")["reason"]), "the reason to say so")
    assert (run.look()["3"], run.look()["5"]) == ("PENDING", "PENDING")
    later = rough.later(400, "status", "cut", cwd=roughly)
    assert later.returncode == 0, later.stderr
    assert run.other_than("COMPLETED") == {"1", "3", "5"}
    assert run.other_than("COMPLETED", "CANCELLED") == set()
    again(rough, roughly, "cut", "--state", "CANCELLED")
    run.all("COMPLETED")
    done_apart(roughly, list("01234567"))
    assert {key for key, spans in witness(roughly).items() if len(spans) == 2} == {"1"}


def test_scancel_of_all_by_hand(rough: Site, roughly: Path) -> None:
    """Started or not, they are CANCELLED; slices that were done stay done."""
    run = submitted(
        rough, roughly, "all", "-a", "0-7%3", command=f"[ $SLICE = 0 ] && exit\n{WAITS}"
    )
    run.until(s0="COMPLETED", s1="RUNNING", s2="RUNNING", s3="RUNNING", s4="PENDING")
    by_hand(rough, "scancel", run.job)
    until(lambda: run.other_than("COMPLETED", "CANCELLED") == set(), "all to have ended")
    assert run.other_than("COMPLETED") == set("1234567")
    write(rough, roughly / "go", "")
    again(rough, roughly, "all", "--state", "CANCELLED")
    run.all("COMPLETED")
    done_apart(roughly, list("1234567"))


def test_the_controller_loses_its_state(rough: Site, roughly: Path) -> None:
    """Slurm reuses job ids of older records: no slice gets another one's end."""
    cluster = cluster_of(rough)
    one, two = folders(rough, roughly, "one", "two")
    cluster.forget_jobs()
    older = submitted(
        rough, one, "older", "-a", "0-5%3", command=f"[ $SLICE = 0 ] && exit\n{WAITS}"
    )
    older.until(s0="COMPLETED", s1="RUNNING", s2="RUNNING", s3="RUNNING", s4="PENDING")
    cluster.lose_state()
    newer = submitted(rough, two, "newer", "--hold", "-a", "0-5")
    assert older.job == newer.job
    newer.all("PENDING")
    assert rough.slurmslice("cancel", "older", cwd=one).returncode == 0
    older.all_of("COMPLETED", "0")
    assert rough.later(130, "status", "older", cwd=one).returncode == 0  # no source has its end
    older.all_of("CANCELLED", *"12345")
    by_hand(rough, "scontrol", "release", newer.job)
    newer.all("RUNNING")
    assert older.other_than("COMPLETED") == set("12345")
    again(rough, one, "older", "--state", "CANCELLED")
    for directory in (one, two):
        write(rough, directory / "go", "")
    older.all("COMPLETED")
    newer.all("COMPLETED")
    assert all(set(states) <= set(GOOD) for states in newer.seen.values()), newer.seen
    done_apart(one, list("12345"))
    done_apart(two, list("012345"), tries=1)
