"""Slices that share an array task of a real Slurm cluster: each has its own end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.site import Site, array_task_of, events, marks, settled, until, write
from tests.support.slurm_cluster import cgroups, processes

pytestmark = pytest.mark.slurm

# Each slice of a pack marks its start and does what its key says.
WORK = """\
echo "$SLICE" >>marks
echo "this is $SLICE"
[ -e repaired ] && exit 0
case $SLICE in
  fails) exit 5 ;;
  slow) sleep 60 ;;
  parent) (/usr/bin/python3 -c 'bytearray(600 * 2**20)'); true ;;
  large) /usr/bin/python3 -c 'bytearray(600 * 2**20)' ;;
  ended) exec sh -c 'kill -s TERM $$' ;;
  stays) trap 'exit 0' TERM; while [ ! -e go ]; do sleep 0.2; done ;; # as one that saves
esac
"""


def render(site: Site, directory: Path, keys: str, *options: str) -> None:
    """Make a run of these slices in one pack, without a submission."""
    write(site, directory / "keys", keys.replace(" ", "\n") + "\n")
    made = site.slurmslice(
        "render", "--slices-from", "keys", "--pack", str(len(keys.split())), *options,
        "--name", "p", "--shell", WORK, cwd=directory,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def states(site: Site, directory: Path) -> dict[str, str]:
    """Return each slice's state."""
    return {slice_["key"]: slice_["state"] for slice_ in site.status(directory, "p")["slices"]}


def submitted(site: Site, directory: Path) -> str:
    """Submit the run, wait until its slice ``stays`` runs, and return the job's id."""
    sent = site.slurmslice("submit", "p", cwd=directory)
    until(lambda: "stays" in marks(directory), "the middle of the pack")
    return array_task_of(sent)


def test_each_slice_of_a_pack_ends_in_its_own_way(site: Site, workplace: Path) -> None:
    """One pack, six ends: states, exit codes, logs; only failed slices are resubmitted."""
    keys = "first fails slow large parent ended last"
    render(site, workplace, keys, "--mem", "200M", "-t", "0:08")
    ran = site.slurmslice("run", "p", "--interval", "1", cwd=workplace)
    assert ran.returncode == 1, ran.stderr
    slices = {slice_["key"]: slice_ for slice_ in site.status(workplace, "p")["slices"]}
    assert {key: slice_["state"] for key, slice_ in slices.items()} == {
        "first": "COMPLETED", "fails": "FAILED", "slow": "TIMEOUT", "large": "OUT_OF_MEMORY",
        "parent": "OUT_OF_MEMORY", "ended": "FAILED", "last": "COMPLETED",
    }  # fmt: skip
    assert (slices["fails"]["exit_code"], slices["ended"]["exit_code"]) == (5, 143)
    assert len({slice_["job"] for slice_ in slices.values()}) == 1
    for key in keys.split():
        log = site.slurmslice("logs", "p", key, cwd=workplace)
        assert log.stdout.startswith(f"this is {key}\n")
    write(site, workplace / "repaired", "")
    again = site.slurmslice("resubmit", "p", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert settled(site, workplace, "p") == {"COMPLETED": 7}
    assert marks(workplace) == {key: 1 if key in {"first", "last"} else 2 for key in keys.split()}


def test_memory_of_one_of_several_at_once(site: Site, workplace: Path) -> None:
    """Three run at a time and one takes all memory: no unfinished slice is COMPLETED.

    Those that were killed are repaired with more memory. Slurm tells what each task requested.
    """
    keys = "a large b c d e"
    render(site, workplace, keys, "--mem", "90M", "--at-once", "3", "--retry")
    ran = site.slurmslice("run", "p", "--interval", "1", cwd=workplace)
    assert ran.returncode == 0, ran.stderr
    assert states(site, workplace) == dict.fromkeys(keys.split(), "COMPLETED")
    # A task requests three times the memory of a slice. sacct has a huge number at first (22.05).
    until(lambda: requested(site, workplace) == [3 * 90, 3 * 400], "sacct to tell the requests")


def requested(site: Site, workplace: Path) -> list[int]:
    """Return the memory that each submission of the run requested, MiB."""
    asked = []
    for event in events(workplace, "p", "submitted"):
        words = ("sacct", "-Xnp", "--units=M", "-j", str(event["job"]), "--format=ReqMem")
        told = re.match(r"(\d+)[.\d]*M", site.run(*words, cwd=workplace).stdout)
        asked.append(int(told[1]) if told else 0)
    return asked


def test_a_failed_slice_is_resubmitted_while_its_pack_continues(
    site: Site, workplace: Path
) -> None:
    """Its task runs, but slurmslice does not mistake it for a slice that Slurm restarts.

    Two other slices of the task are cancelled alone: one that waits, and one that runs.
    """
    render(site, workplace, "fails stays c away")
    submitted(site, workplace)
    cancelled = site.slurmslice("cancel", "p", "away", cwd=workplace)
    assert cancelled.returncode == 0, cancelled.stderr
    until(lambda: states(site, workplace)["away"] == "CANCELLED", "the last to be cancelled")
    until(lambda: states(site, workplace)["fails"] == "FAILED", "the first of the pack to fail")
    write(site, workplace / "repaired", "")
    again = site.slurmslice("resubmit", "p", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert events(workplace, "p", "intent")[-1]["rows"] == "0"
    until(lambda: states(site, workplace)["fails"] == "COMPLETED", "it to be done")
    assert states(site, workplace)["stays"] == "RUNNING"
    assert site.slurmslice("cancel", "p", "stays", cwd=workplace).returncode == 0
    assert settled(site, workplace, "p") == {"COMPLETED": 2, "CANCELLED": 2}
    assert marks(workplace) == {"fails": 2, "stays": 1, "c": 1}


def test_a_pack_cancelled_by_hand(site: Site, workplace: Path) -> None:
    """scancel of the task: done slices stay done, the others are CANCELLED and can run again."""
    render(site, workplace, "a b stays c d")
    job = submitted(site, workplace)
    site.run("scancel", f"{job}_0", cwd=workplace)
    assert settled(site, workplace, "p") == {"COMPLETED": 2, "CANCELLED": 3}
    assert [key for key, state in states(site, workplace).items() if state == "COMPLETED"] == [
        "a", "b",
    ]  # fmt: skip
    write(site, workplace / "go", "")
    again = site.slurmslice("resubmit", "p", "--state", "CANCELLED", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert settled(site, workplace, "p") == {"COMPLETED": 5}
    assert marks(workplace) == {"a": 1, "b": 1, "stays": 2, "c": 1, "d": 1}


def test_a_returned_slice_runs_with_its_requeued_task(site: Site, workplace: Path) -> None:
    """Its setup failed, so its slices wait; requeued by hand, the task runs them."""
    render(site, workplace, "first last", "--setup", "[ -e repaired ] || exit 1")
    sent = site.slurmslice("submit", "p", cwd=workplace)
    job = array_task_of(sent)
    until(lambda: set(states(site, workplace).values()) == {"WAITING"}, "both to wait")
    write(site, workplace / "repaired", "")
    put_back = site.run("scontrol", "requeuehold", f"{job}_0", cwd=workplace)
    assert put_back.returncode == 0, put_back.stderr
    beside = site.slurmslice("submit", "p", cwd=workplace)
    assert beside.returncode == 0, beside.stderr
    assert len(events(workplace, "p", "intent")) == 1
    assert set(states(site, workplace).values()) == {"PENDING"}
    assert site.run("scontrol", "release", f"{job}_0", cwd=workplace).returncode == 0
    assert settled(site, workplace, "p") == {"COMPLETED": 2}
    assert marks(workplace) == {"first": 1, "last": 1}


def test_a_pack_that_slurm_starts_again(site: Site, workplace: Path) -> None:
    """After scontrol requeue or a node failure, done slices do not run again."""
    keys, cluster = "a b stays c d", site.cluster
    if cluster is None:
        pytest.skip("nodes are killed on a cluster of our own only")
    died, requeued = workplace / "died", workplace / "requeued"
    assert site.run("mkdir", str(died), str(requeued), cwd=workplace).returncode == 0
    render(site, died, keys)
    job = submitted(site, died)
    where = site.run("squeue", "-h", "-j", job, "-o", "%N", cwd=died).stdout.strip()
    render(site, requeued, keys, "-x", where)
    done = site.run("scontrol", "requeue", f"{submitted(site, requeued)}_0", cwd=requeued)
    assert done.returncode == 0, done.stderr
    cluster.kill(where)
    processes.kill(cgroups.job_pids(where), f"the jobs of {where}")
    try:
        for directory in (requeued, died):
            write(site, directory / "go", "")
            assert settled(site, directory, "p") == {"COMPLETED": 5}
            assert marks(directory) == {"a": 1, "b": 1, "stays": 2, "c": 1, "d": 1}
    finally:
        cluster.start(where)
        cluster.wait_for_nodes()
    nodes = {slice_["key"]: slice_["node"] for slice_ in site.status(died, "p")["slices"]}
    assert (nodes["a"], nodes["d"] != where) == (where, True)
