"""The test cluster: it starts, stops, survives crashes and confines jobs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.paths import SLURM_CLUSTER
from tests.support.site import Site
from tests.support.slurm_cluster import Cluster, ClusterError, Settings, cgroups, processes
from tests.support.slurm_cluster.record import load_record

pytestmark = pytest.mark.slurm

PARTITIONS = ("main", "scavenge", "short")
COMMAND = [sys.executable, str(SLURM_CLUSTER)]


def folder(name: str) -> Path:
    """A folder for a cluster of its own. The users of the daemons cannot enter tmp_path."""
    return Path(f"/var/tmp/slurmslice-{name}-{os.getpid()}")


def brought_up(cluster: Cluster) -> Iterator[Cluster]:
    try:
        cluster.up()
        yield cluster
    finally:
        cluster.down(remove=True)


@pytest.fixture(scope="module", autouse=True)
def settings(site: Site) -> Settings:
    """Of clusters of their own, and of the release that the other tests use."""
    if site.cluster is None:
        pytest.skip("this machine has a Slurm of its own")
    theirs = site.cluster.settings
    return Settings(requeue_wait=5, root=theirs.root, user=theirs.user)


@pytest.fixture(scope="module")
def cluster(settings: Settings) -> Iterator[Cluster]:
    """A cluster that stays up."""
    yield from brought_up(Cluster(folder("calm"), settings))


@pytest.fixture(scope="module")
def other(settings: Settings) -> Iterator[Cluster]:
    """A second cluster beside the first, to be mistreated."""
    yield from brought_up(Cluster(folder("rough"), settings))


@pytest.fixture(scope="module")
def too_long(cluster: Cluster) -> str:
    """A job that will reach its time limit, which is counted in minutes, during the tests."""
    return submit(cluster, "sleep 600", "--time=1")


def submit(cluster: Cluster, script: str, *options: str) -> str:
    done = cluster.run(["sbatch", "--parsable", *options], input=f"#!/bin/sh\n{script}\n")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def rows(cluster: Cluster, job: str) -> list[str]:
    """The job's line and then its steps', as State|ExitCode."""
    command = ["sacct", "-nPj", job, "--format=State,ExitCode"]
    return cluster.run(command, env={"LC_ALL": "C"}).stdout.splitlines()


def ended(cluster: Cluster, job: str, deadline: float = 60) -> list[str]:
    """Wait until accounting has the end of the job and its batch step."""

    def all_rows() -> list[str]:
        found = rows(cluster, job)
        unfinished_rows = [row for row in found if row.startswith(("PENDING", "RUNNING"))]
        return found if len(found) > 1 and not unfinished_rows else []

    return cluster.wait_until(all_rows, deadline, f"the end of job {job}")


def runs(cluster: Cluster, job: str) -> bool:
    return cluster.run(["squeue", "-hj", job, "-o", "%T"]).stdout == "RUNNING\n"


def started(cluster: Cluster, job: str) -> None:
    cluster.wait_until(lambda: runs(cluster, job), 30, f"the start of {job}")


def home_file(cluster: Cluster, name: str) -> str:
    return Path(cluster.env["HOME"], name).read_text()


def kill_everything(cluster: Cluster) -> None:
    """Kill all processes, like a crash of the machine."""
    for name in cluster.daemon_names:
        cluster.kill(name)
    for node in cluster.nodes:
        processes.kill(cgroups.job_pids(node), f"jobs of {node}")


def test_jobs_run_as_the_ordinary_user_on_every_partition(cluster: Cluster, too_long: str) -> None:
    assert cluster.user != "root"
    jobs = {
        partition: submit(cluster, "id -un", f"-p{partition}", f"-o{partition}.out")
        for partition in PARTITIONS
    }
    for partition, job in jobs.items():
        assert ended(cluster, job)[0] == "COMPLETED|0:0"
        assert home_file(cluster, f"{partition}.out") == f"{cluster.user}\n"


def test_four_jobs_of_one_cpu_share_a_node(cluster: Cluster) -> None:
    node = cluster.nodes[-1]
    jobs = [submit(cluster, "sleep 600", f"-w{node}", "-pshort") for _ in range(4)]
    for job in jobs:
        started(cluster, job)
    cluster.run(["scancel", *jobs])


def test_too_much_memory_is_killed_by_the_kernel(cluster: Cluster) -> None:
    # tail keeps its last line, and this is one line of 300 MB.
    job = submit(cluster, "head -c 300M /dev/zero | tail", "--mem=100", "-o/dev/null")
    assert ended(cluster, job)[:2] == ["OUT_OF_MEMORY|0:125"] * 2


def test_memory_use_is_measured(cluster: Cluster) -> None:
    script = "dd if=/dev/zero bs=50M count=1000 of=/dev/null & sleep 2; kill $!"
    job = submit(cluster, script, "--mem=200", "-o/dev/null")
    ended(cluster, job)
    command = ["sacct", "-nPj", f"{job}.batch", "--format=MaxRSS", "--noconvert"]
    used = cluster.run(command).stdout.strip()
    assert 50e6 < float(used) < 200e6


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    before = cluster.running()
    cluster.up()
    assert cluster.running() == before
    assert sorted(before) == sorted(cluster.daemon_names)


def test_nothing_listens_beyond_this_machine(cluster: Cluster) -> None:
    if "NoInAddrAny" not in cluster.layout.slurm_conf.read_text():
        pytest.skip("this machine's name does not lead to 127.0.0.1")
    record = load_record(cluster.folder)
    assert record is not None
    ours = {record.mariadb_port, record.slurmdbd_port, record.slurmctld_port, record.node_port(0)}
    # proc_pid_net(5): local_address in hexadecimal, 0A is LISTEN, 0100007F is 127.0.0.1.
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening = [line[1].split(":") for line in lines if line[3] == "0A"]
    found = {int(port, 16): address for address, port in listening if int(port, 16) in ours}
    assert found == dict.fromkeys(ours, "0100007F")


def test_command_line(cluster: Cluster, settings: Settings, tmp_path: Path) -> None:
    where = ["--dir", str(cluster.folder)]
    before = cluster.running()
    chosen = [f"--root={settings.root}", f"--user={settings.user}", "--requeue-wait=5"]
    done = subprocess.run(
        [*COMMAND, "up", *where, *chosen], cwd=tmp_path, capture_output=True, text=True
    )
    assert f"export SLURM_CONF={cluster.env['SLURM_CONF']}" in done.stdout
    assert cluster.running() == before
    status = subprocess.run([*COMMAND, "status", *where], cwd=tmp_path, capture_output=True)
    assert status.returncode == 0
    shell = [*COMMAND, "shell", *where]
    done = subprocess.run(shell, input="id -un; pwd\n", capture_output=True, text=True)
    assert done.stdout.split()[:2] == [cluster.user, cluster.env["HOME"]]


def test_submit_limit(cluster: Cluster) -> None:
    cluster.set_limit(MaxSubmitJobs=0)
    done = cluster.run(["sbatch", "--wrap=true"])
    cluster.set_limit(MaxSubmitJobs=None)
    assert "AssocMaxSubmitJobLimit" in done.stderr
    submit(cluster, "true", "-o/dev/null")


def test_two_clusters_share_no_jobs(cluster: Cluster, other: Cluster) -> None:
    assert not set(cluster.nodes) & set(other.nodes)
    assert not set(cluster.running().values()) & set(other.running().values())
    here, there = submit(cluster, "sleep 600"), submit(other, "sleep 600")
    started(cluster, here)
    started(other, there)
    other.run(["scancel", there])
    assert ended(other, there)[0].startswith("CANCELLED")
    assert runs(cluster, here)
    cluster.run(["scancel", here])


def test_preempted_job_runs_again(other: Cluster) -> None:
    everything = ("-N4", "-n16", "-o/dev/null")
    job = submit(other, 'test "$SLURM_RESTART_COUNT" || sleep 600', "-pscavenge", *everything)
    started(other, job)
    ended(other, submit(other, "true", *everything))
    other.wait_until(lambda: "COMPLETED|0:0" in rows(other, job), 60, "the second run")


def test_up_after_everything_was_killed(other: Cluster) -> None:
    job = submit(other, "sleep 600")
    started(other, job)
    kill_everything(other)
    assert other.running() == {}
    begin = time.monotonic()
    other.up()
    assert time.monotonic() - begin < 30
    assert ended(other, submit(other, "true", "-o/dev/null"))[0] == "COMPLETED|0:0"


def test_single_daemons_stop_and_start(other: Cluster) -> None:
    for name in ("munged", "mariadbd", "slurmdbd", "slurmctld", "n1"):
        other.kill(name)
        other.start(name)
        other.restart(name)
    other.wait_for_nodes()
    assert sorted(other.running()) == sorted(other.daemon_names)


def test_forgotten_jobs(other: Cluster) -> None:
    submit(other, "sleep 600")
    other.forget_jobs()
    assert submit(other, "true", "-o/dev/null") in {"1", "2"}  # 20.11 begins with 2


def test_changed_settings(other: Cluster, settings: Settings) -> None:
    smaller = Cluster(other.folder, replace(settings, max_array_size=50, nodes=2))
    smaller.up()
    shown = smaller.run(["scontrol", "show", "config"]).stdout
    assert re.search(r"^MaxArraySize\s*= 50$", shown, re.MULTILINE)
    assert sorted(smaller.running()) == sorted(smaller.daemon_names)
    other.up()


def test_a_daemon_that_fails_is_named_with_its_log(other: Cluster, settings: Settings) -> None:
    broken = Cluster(other.folder, replace(settings, extra=("NoSuchParameter=1",)))
    with pytest.raises(ClusterError, match="NoSuchParameter"):
        broken.up()
    other.up()


def test_down_twice_and_a_reused_pid(other: Cluster) -> None:
    nodes = other.nodes
    submit(other, "sleep 600", "-N4")
    stranger = subprocess.Popen(["sleep", "600"])
    other.down()
    other.layout.pid_file("slurmctld").write_text(f"{stranger.pid}\n")
    other.down()
    assert other.running() == {}
    assert not any(cgroups.job_pids(node) for node in nodes)
    assert stranger.poll() is None
    other.up()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_time_limit(cluster: Cluster, too_long: str) -> None:
    assert ended(cluster, too_long, 120)[0] == "TIMEOUT|0:0"
