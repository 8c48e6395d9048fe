"""More slices than the user may have in the queue of a real Slurm cluster."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.notes import noted
from tests.support.site import Site, accounted, events, marks, until, until_empty, write
from tests.support.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

MARK = 'echo "$SLICE" >>marks'
MOST = 30


@pytest.fixture
def limited(site: Site) -> Iterator[Cluster]:
    """Start our own cluster, where the user may have 30 tasks in the queue, with running ones."""
    if site.cluster is None:
        pytest.skip("limits are set on a cluster of our own only")
    until_empty(site)
    site.cluster.set_limit(MaxSubmitJobs=MOST)
    yield site.cluster
    site.cluster.set_limit(MaxSubmitJobs=None)


def render(site: Site, directory: Path, run: str, command: str = MARK) -> None:
    """Make a run of 100 slices without a submission."""
    made = site.slurmslice("render", "-a", "0-99", "--name", run, "--shell", command, cwd=directory)
    assert made.returncode == 0, made.stderr


def in_queue(site: Site, directory: Path, states: str = "PD,R") -> int:
    """Count the user's array tasks in the queue in these states."""
    told = site.run("squeue", "-h", "-r", "-t", states, "-o", "%i", cwd=directory)
    return len(told.stdout.split())


def ticked(site: Site, directory: Path, run: str) -> None:
    """Call tick twice at once, repeatedly, until the run is finished."""
    tick = [str(site.python), "-m", "slurmslice", "tick", run]

    def finished() -> bool:
        both = [site.popen(tick, cwd=directory) for _ in range(2)]
        assert {process.wait(60) for process in both} <= {0}
        assert in_queue(site, directory) <= MOST
        return bool(site.status(directory, run)["finished"])

    until(finished, "the last slice to end")


def each_once(site: Site, directory: Path, run: str) -> None:
    """Assert that each of 100 slices ran once, by its own mark and by the cluster's records."""
    assert marks(directory) == {str(key): 1 for key in range(100)}
    jobs = [event["job"] for event in events(directory, run, "submitted")]
    ends = accounted(site, directory, jobs, "State")
    assert Counter(ends.values()) == {"COMPLETED": 100}
    assert site.status(directory, run)["counts"] == {"COMPLETED": 100}


def test_slices_that_fit_are_submitted_and_the_rest_later(
    site: Site, workplace: Path, limited: Cluster
) -> None:
    """30 are submitted, submit's last line has the 70, and ticks submit them."""
    render(site, workplace, "fed")
    sent = site.slurmslice("submit", "fed", cwd=workplace)
    assert sent.returncode == 0, sent.stderr
    assert noted(sent.stderr, "waiting") == [{"slices": 70}]
    assert "tick fed" in sent.stderr
    assert site.status(workplace, "fed")["counts"]["WAITING"] == 70
    ticked(site, workplace, "fed")
    each_once(site, workplace, "fed")


def test_other_jobs_reduce_the_free_places(site: Site, workplace: Path, limited: Cluster) -> None:
    """25 tasks of the user wait already: 5 fit, and the reason says so; then none fit."""
    other = site.run(
        "sbatch", "--parsable", "--hold", "-a", "0-24", "--wrap", "true", cwd=workplace
    )
    assert other.returncode == 0, other.stderr
    try:
        render(site, workplace, "few", "while [ ! -e go ]; do sleep 0.2; done")
        sent = site.slurmslice("submit", "few", cwd=workplace)
        assert sent.returncode == 0, sent.stderr
        assert noted(sent.stderr, "waiting") == [{"slices": 95}]
        assert "already in the queue: 25" in sent.stderr  # the engine's reason
        assert in_queue(site, workplace) == MOST
        again = site.slurmslice("tick", "few", cwd=workplace)
        assert again.returncode == 0, again.stderr
        assert noted(again.stderr, "waiting") == [{"slices": 95}]
        assert "already in the queue: 30" in again.stderr
        assert site.status(workplace, "few")["counts"]["WAITING"] == 95
        assert len(events(workplace, "few", "submitted")) == 1
    finally:
        site.run("scancel", other.stdout.strip(), cwd=workplace)
        write(site, workplace / "go", "")
    assert site.slurmslice("cancel", "few", cwd=workplace).returncode == 0


def test_a_permanent_refusal_stops_at_once(site: Site, workplace: Path, limited: Cluster) -> None:
    """No such QOS: one sbatch, exit 3, all kept; with a valid one, all are submitted once."""
    render(site, workplace, "bad", f"while [ ! -e go ]; do sleep 0.2; done; {MARK}")
    assert site.slurmslice("submit", "bad", "--only", "10", cwd=workplace).returncode == 0
    refused = site.slurmslice("submit", "bad", "-q", "nowhere", cwd=workplace)
    assert (refused.returncode, error_code(refused.stderr)) == (3, "submission-rejected")
    assert len(events(workplace, "bad", "rejected")) == 1
    counts = site.status(workplace, "bad")["counts"]
    assert counts["WAITING"] == 90
    tick = site.slurmslice("tick", "bad", cwd=workplace)
    assert tick.returncode == 0, tick.stderr
    assert len(events(workplace, "bad", "rejected")) == 1
    write(site, workplace / "go", "")
    assert site.slurmslice("submit", "bad", "-q", "normal", cwd=workplace).returncode == 0
    ticked(site, workplace, "bad")
    each_once(site, workplace, "bad")


def test_an_unknown_limit_is_found_by_halving(
    site: Site, workplace: Path, limited: Cluster
) -> None:
    """sacctmgr is silent: 100 and 50 are refused, 25 are accepted, and all are done."""
    (workplace / "bin").mkdir()
    (workplace / "bin" / "sacctmgr").write_text("#!/bin/sh\nexit 1\n")
    (workplace / "bin" / "sacctmgr").chmod(0o755)
    path = f"{workplace / 'bin'}:{os.path.dirname(site.python)}:{site.path}"
    render(site, workplace, "half")
    ran = site.slurmslice("run", "half", "--interval", "0.5", cwd=workplace, env={"PATH": path})
    assert ran.returncode == 0, ran.stderr
    arrays = [event["array"] for event in events(workplace, "half", "intent")]
    assert arrays[:3] == ["0-99", "0-49", "0-24"]
    assert events(workplace, "half", "submitted")[0]["number"] == 3
    each_once(site, workplace, "half")


def test_watch_submits_nothing_and_tick_does(site: Site, workplace: Path, limited: Cluster) -> None:
    """30 slices in the queue, 70 not: ``watch`` sees the 30 end, ``tick`` submits 30 more."""
    render(site, workplace, "seen", f"while [ ! -e go ]; do sleep 0.2; done; {MARK}")
    assert site.slurmslice("submit", "seen", cwd=workplace).returncode == 0
    journal = workplace / "slurmslice-runs" / "seen" / "journal.jsonl"
    before = journal.read_bytes()
    with ThreadPoolExecutor(1) as window:
        watching = window.submit(
            site.slurmslice, "watch", "seen", "--interval", "0.5", cwd=workplace
        )
        until(lambda: in_queue(site, workplace, "R") > 0, "a slice to run")
        write(site, workplace / "go", "")
        watched = watching.result()
    assert watched.returncode == 4, watched.stderr
    assert "70 slices waiting" in watched.stderr
    assert "slurmslice tick seen" in watched.stderr
    assert journal.read_bytes() == before
    assert in_queue(site, workplace) == 0
    assert site.slurmslice("tick", "seen", cwd=workplace).returncode == 0
    assert len(events(workplace, "seen", "submitted")) == 2
    ticked(site, workplace, "seen")
    each_once(site, workplace, "seen")
