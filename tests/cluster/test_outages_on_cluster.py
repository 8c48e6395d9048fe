"""Outages of a real cluster: daemons down, commands with wrong output, accounting switched off.

No answer is no information. A state stays unchanged, its reason says what is missing, and ``watch``
continues until the answers return.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.notes import noted
from tests.support.site import (
    DEADLINE_S,
    Finished,
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

# 0 fails at once, 1 is done at once; the test decides about the others.
WORK = witnessed("""\
[ $SLICE = 0 ] && [ ! -e repaired ] && exit 3
until [ $SLICE = 1 ] || [ -e go ] || [ -e "go.$SLICE" ]; do note alive; sleep 0.2; done
[ ! -e "bad.$SLICE" ] || exit 4""")


def submitted(site: Site, directory: Path, *options: str) -> str:
    """Make and submit a run ``out``; return its job."""
    made = site.slurmslice(
        "render", *options, "--mem", "50M", "--name", "out", "--shell", WORK, cwd=directory
    )
    assert made.returncode == 0, made.stderr
    sent = site.slurmslice("submit", "out", cwd=directory)
    assert sent.returncode == 0, sent.stderr
    return str(events(directory, "out", "submitted")[-1]["job"])


def status(site: Site, directory: Path, env: dict[str, str] | None = None) -> Finished:
    """Return the output and the exit code of status."""
    return site.slurmslice("status", "out", "--json", cwd=directory, env=env)


def slices(told: Finished) -> dict[str, dict[str, object]]:
    """Return the record of each slice."""
    return {one["key"]: one for one in json.loads(told.stdout)["slices"]}


def states(told: Finished) -> dict[str, str]:
    """Return the state of each slice."""
    return {key: str(one["state"]) for key, one in slices(told).items()}


def until_states(site: Site, directory: Path, *wanted: str) -> dict[str, str]:
    """Poll until the slices have these states, by key from 0; return them."""
    meant = {str(key): state for key, state in enumerate(wanted)}
    until(lambda: states(status(site, directory)) == meant, f"{meant}")
    return meant


# -- daemons ---------------------------------------------------------------------------------


def cluster_of(site: Site) -> Cluster:
    """Return the cluster whose daemons are stopped."""
    assert site.cluster is not None
    return site.cluster


def test_daemons_stop_and_return(rough: Site, roughly: Path) -> None:
    """One source silent: exit 0; both: exit 3. No state changes; watch continues to the end."""
    cluster = cluster_of(rough)
    submitted(rough, roughly, "-a", "0-4%2")
    known = until_states(rough, roughly, "FAILED", "COMPLETED", "RUNNING", "RUNNING", "PENDING")
    argv = [str(rough.python), "-m", "slurmslice", "watch", "out", "--interval", "0.5"]
    hurried = {"SLURMSLICE_ASK_TIMEOUT": "5"}  # squeue tries for nine seconds
    env = {**cluster.as_user()["env"], **hurried}
    watch = rough.popen(argv, cwd=roughly, env=env)
    try:
        for down, code, missing in (
            (["slurmdbd"], 0, ["sacct"]),
            (["slurmctld"], 0, ["squeue"]),
            (["slurmdbd", "slurmctld"], 3, ["sacct", "squeue"]),
            (["munged"], 3, ["sacct", "squeue"]),
        ):
            for name in down:
                cluster.stop(name)
            told = status(rough, roughly, hurried)
            if down == ["munged"]:
                write(rough, roughly / "go", "")
            for name in reversed(down):
                cluster.start(name)
            assert told.returncode == code, (down, told.stderr)
            assert states(told) == known, down
            assert noted(told.stderr, "no-answer"), told.stderr
            assert all(word in told.stderr for word in missing), told.stderr
            pending = str(slices(told)["4"]["reason"])
            assert "squeue" not in missing or "squeue" in pending, pending
            assert watch.poll() is None
            # A controller that was restarted and cannot reach its nodes takes them for dead, and
            # starts their tasks again (seen).
            cluster.wait_for_nodes()
        assert watch.wait(3 * DEADLINE_S) == 1  # nodes report late what ended meanwhile
    finally:
        watch.kill()
        watch.wait()
    until_states(rough, roughly, "FAILED", *["COMPLETED"] * 4)
    write(rough, roughly / "repaired", "")
    assert rough.slurmslice("resubmit", "out", cwd=roughly).returncode == 0
    assert settled(rough, roughly, "out") == {"COMPLETED": 5}
    done_apart(roughly, list("01234"), deaf=True)


# -- commands with wrong output ----------------------------------------------------------------

FAULTS = {
    "hangs": "exec sleep 60",
    "talks nonsense": "echo The database is very busy, dear user",
    "is cut": 'text=$({real} "$@"; echo end); printf %s "${text:0:${#text} * 2 / 3}"',
    "is empty": "exit 0",
    "fails": 'echo "error: Problem talking to the database: Connection refused" >&2; exit 1',
    "lies and fails": '{real} "$@" | head -n 1; exit 1',
}
ASKING = ("sacct", "squeue", "scontrol", "sinfo", "sacctmgr", "sbatch", "scancel")


def faulty(site: Site, directory: Path, programs: tuple[str, ...], body: str) -> dict[str, str]:
    """Return the environment in which these programs of Slurm are replaced."""
    folder = directory / "bin"
    folder.mkdir(exist_ok=True)
    for program in ASKING:
        path = folder / program
        path.unlink(missing_ok=True)
        if program in programs:
            real = site.run("sh", "-c", f"command -v {program}", cwd=directory).stdout.strip()
            path.write_text("#!/bin/bash\n" + body.replace("{real}", real) + "\n")
            path.chmod(0o755)
    return {
        "PATH": f"{folder}:{os.path.dirname(site.python)}:{site.path}",
        "SLURMSLICE_ASK_TIMEOUT": "3" if body == FAULTS["hangs"] else "20",
    }


def test_commands_that_lie(site: Site, workplace: Path) -> None:
    """A state is unchanged or true for any output of sacct and squeue; both fail: exit 3.

    If squeue says nothing about a running slice and succeeds, the slice is COMPLETING: in flight.
    For a finished run slurmslice calls no program of Slurm.
    """
    job = submitted(site, workplace, "-a", "0-5%4")
    known = until_states(site, workplace, "FAILED", "COMPLETED", *["RUNNING"] * 4)
    write(site, workplace / "bad.3", "")
    for key in "23":
        write(site, workplace / f"go.{key}", "")

    def in_accounting() -> bool:
        told = accounted(site, workplace, [job], "State")
        return [told.get((job, key)) for key in "23"] == ["COMPLETED", "FAILED"]

    until(in_accounting, "accounting to know of two ends")
    truth = {**known, "2": "COMPLETED", "3": "FAILED"}
    seen = workplace / "slurmslice-runs" / "out" / "states.tsv"
    before = seen.read_bytes()

    def look(env: dict[str, str], silent: bool) -> int:
        told = status(site, workplace, env)
        for key, state in states(told).items():
            left = known[key] == "RUNNING" and (key in "23" or not silent)
            allowed = {known[key], truth[key], *(["COMPLETING"] if left else [])}
            assert state in allowed, f"{key} is {state}; {told.stderr}"
        assert not silent or noted(told.stderr, "no-answer"), told
        seen.write_bytes(before)
        return told.returncode

    for fault, body in FAULTS.items():
        for programs in (("sacct",), ("squeue",), ("sacct", "squeue")):
            env = faulty(site, workplace, programs, body)
            silent = fault not in {"is empty", "is cut"}
            codes = {3 if silent and len(programs) == 2 else 0}
            if fault == "is cut" and len(programs) == 2:
                codes = {0, 3}  # it may be cut at the end of a line
            assert look(env, silent) in codes, f"{programs} {fault}"
    assert states(status(site, workplace)) == truth
    write(site, workplace / "go", "")
    assert settled(site, workplace, "out") == {"COMPLETED": 4, "FAILED": 2}
    env = faulty(site, workplace, ASKING, "echo $0 $* >>asked; exit 1")
    for words in ("status", "status --slices", "status --json", "watch", "logs 1", "runs"):
        verb, *more = words.split()
        run = [] if verb == "runs" else ["out"]
        done = site.slurmslice(verb, *run, *more, cwd=workplace, env=env)
        assert done.returncode == (1 if verb == "watch" else 0), done.stderr
    assert not (workplace / "asked").exists(), (workplace / "asked").read_text()


# -- accounting switched off -------------------------------------------------------------------


@pytest.fixture(scope="session")
def unaccounted(site: Site) -> Iterator[Site]:
    """Start a small cluster without accounting, whose controller soon forgets ended jobs."""
    if site.cluster is None:
        pytest.skip("accounting is switched off on a cluster of our own only")
    with beside(site, "off", accounting=False, nodes=2, requeue_wait=5, min_job_age=2) as other:
        yield other


@pytest.fixture
def nowhere(unaccounted: Site) -> Iterator[Path]:
    """Make an empty folder of the ordinary user of that cluster."""
    with empty_folder(unaccounted) as folder:
        yield folder


def until_forgotten(site: Site, directory: Path, job: str) -> None:
    """Wait until the controller has forgotten the job."""

    def forgotten() -> bool:
        told = site.run("squeue", "-h", "--states=all", "-j", job, cwd=directory)
        return not told.stdout.strip()

    until(forgotten, f"job {job} to be forgotten")


@pytest.mark.parametrize("packing", [[], ["--pack", "3"]], ids=["unpacked", "packed"])
def test_queue_and_progress_lines_replace_accounting(
    unaccounted: Site, nowhere: Path, packing: list[str]
) -> None:
    """No poll until the controller has forgotten all; after a resubmit all are done."""
    job = submitted(unaccounted, nowhere, "-a", "0-5", *packing)
    write(unaccounted, nowhere / "bad.4", "")
    write(unaccounted, nowhere / "go", "")
    until_forgotten(unaccounted, nowhere, job)
    told = status(unaccounted, nowhere)
    assert told.returncode == 0, told.stderr
    ends = {str(key): "FAILED" if key in {0, 4} else "COMPLETED" for key in range(6)}
    assert states(told) == ends
    assert {one["evidence"] for one in slices(told).values()} == {"progress"}
    assert (slices(told)["0"]["exit_code"], slices(told)["4"]["exit_code"]) == (3, 4)
    write(unaccounted, nowhere / "repaired", "")
    (nowhere / "bad.4").unlink()
    ran = unaccounted.slurmslice(
        "run", "out", "--max-attempts", "2", "--interval", "0.5", cwd=nowhere
    )
    assert ran.returncode == 0, ran.stderr
    assert unaccounted.status(nowhere, "out")["counts"] == {"COMPLETED": 6}
    done_apart(nowhere, list("012345"))
    tries = {key: len(spans) for key, spans in witness(nowhere).items()}
    assert tries == {"0": 2, "1": 1, "2": 1, "3": 1, "4": 2, "5": 1}


def test_a_killed_and_forgotten_task(unaccounted: Site, nowhere: Path) -> None:
    """No source has its end: it stays in flight, until the person cancels it."""
    write(unaccounted, nowhere / "repaired", "")
    job = submitted(unaccounted, nowhere, "-a", "0-1")
    until_states(unaccounted, nowhere, "RUNNING", "COMPLETED")
    until(lambda: "0" in witness(nowhere), "the command of slice 0 to begin")
    pids = [pid for node in cluster_of(unaccounted).nodes for pid in cgroups.job_pids(node)]
    own = [pid for pid in pids if processes.name_of(pid) != "slurmstepd"]
    processes.kill(own, "the task of slice 0")  # at once: it has no time to write its end line
    until_forgotten(unaccounted, nowhere, job)
    log = nowhere / "slurmslice-runs" / "out" / "submissions" / "001" / "tasks" / "0.log"
    assert "slurmslice end" not in log.read_text()
    told = status(unaccounted, nowhere)
    assert states(told) == {"0": "COMPLETING", "1": "COMPLETED"}
    assert unaccounted.slurmslice("cancel", "out", cwd=nowhere).returncode == 0
    assert states(status(unaccounted, nowhere)) == {"0": "COMPLETING", "1": "COMPLETED"}
    later = unaccounted.later(130, "status", "out", "--json", cwd=nowhere)
    assert states(later) == {"0": "CANCELLED", "1": "COMPLETED"}
    write(unaccounted, nowhere / "go", "")
    again = unaccounted.slurmslice("resubmit", "out", "--state", "CANCELLED", cwd=nowhere)
    assert again.returncode == 0, again.stderr
    assert settled(unaccounted, nowhere, "out") == {"COMPLETED": 2}
    done_apart(nowhere, list("01"))
