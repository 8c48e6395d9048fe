"""The main job on a real Slurm cluster, as an ordinary user."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import (
    DEADLINE_S,
    Site,
    array_task_of,
    events,
    marks,
    settled,
    side_by_side,
    until,
    write,
)

pytestmark = pytest.mark.slurm

WORK = """\
import os, sys, time
key = sys.argv[1]
mended = os.path.exists("mended")
with open(f"ran.{key}", "a") as f:
    f.write("x")
if not mended:
    if key in ("3", "7", "11"):
        sys.exit(5)
    if key == "13":
        block = bytearray(600 * 2**20)
        time.sleep(30)
    if key == "20":
        time.sleep(600)
print("slice", key)
"""
UNTIL_GO = "while [ ! -e go ]; do sleep 0.2; done"
HOSTILE = [
    b"a b", b"$(touch pwned)", b"`id`", b"'\"", b"-rf", b"*", b"two\nlines", b"\\x", b"\xff\xfe",
    b"../../x", b"tab\there", b" blanks ", b"%a", b"#", b"~", b"!", b"\x1b[31m", "ü€".encode(),
    b"trailing\n", b"a" * 300, b"--", b"{}", b"$SLICE", b";exit 3",
]  # fmt: skip


def test_the_main_job(site: Site, workplace: Path) -> None:
    """Of 99 slices, five fail for three causes: exactly these are reported and repaired."""
    write(site, workplace / "work.py", WORK)
    command = ["run", "-a", "0-98", "--mem", "300M", "-t", "1", "--interval", "1", "--",
               "/usr/bin/python3", "work.py", "{}"]  # fmt: skip
    ran = site.slurmslice(*command, cwd=workplace)
    assert ran.returncode == 1, ran.stderr
    record = site.status(workplace, "work")
    assert record["counts"] == {"COMPLETED": 94, "FAILED": 3, "OUT_OF_MEMORY": 1, "TIMEOUT": 1}
    assert record["finished"] is True
    states = {slice_["key"]: slice_["state"] for slice_ in record["slices"]}
    assert {key for key, state in states.items() if state == "FAILED"} == {"3", "7", "11"}
    assert (states["13"], states["20"]) == ("OUT_OF_MEMORY", "TIMEOUT")
    assert {s["exit_code"] for s in record["slices"] if s["state"] == "FAILED"} == {5}
    write(site, workplace / "mended", "")
    shown = site.slurmslice("resubmit", "--mem", "2x", "--time", "2x", "--dry-run", cwd=workplace)
    assert "--array=3,7,11,13,20" in shown.stdout
    again = site.slurmslice("resubmit", "--mem", "2x", "--time", "2x", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert settled(site, workplace, "work") == {"COMPLETED": 99}
    repeats = Counter((workplace / f"ran.{key}").read_text() for key in range(99))
    assert repeats == {"x": 94, "xx": 5}
    log = site.slurmslice("logs", "work", "13", cwd=workplace)
    assert log.stdout.endswith("slice 13\n")
    done = site.slurmslice(*command, cwd=workplace)
    assert done.returncode == 0, done.stderr


def test_hostile_keys_arrive_byte_for_byte(site: Site, workplace: Path) -> None:
    """Promise 3: keys of any bytes reach the command's argv and $SLICE unchanged."""
    keys = workplace / "keys"
    write(site, keys, "")
    keys.write_bytes(b"".join(key + b"\0" for key in HOSTILE))
    write(site, workplace / "say.py", "import os, sys\nargv, env = map(os.fsencode, "
          "(sys.argv[1], os.environ['SLICE']))\nassert argv == env\n"
          "open('got.' + os.environ['SLICE_ROW'], 'wb').write(argv)\n"
          "print('a log without output is removed')\n")  # fmt: skip
    ran = site.slurmslice(
        "run", "--slices-from", "keys", "-0", "--interval", "1", "--",
        "/usr/bin/python3", "say.py", "{}", cwd=workplace,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    got = [(workplace / f"got.{row}").read_bytes() for row in range(len(HOSTILE))]
    assert got == HOSTILE
    assert not (workplace / "pwned").exists()
    record = site.status(workplace, "say")
    assert [os.fsencode(s["key"]) for s in record["slices"]] == HOSTILE
    for key in (b"$(touch pwned)", b"../../x", b"-rf", b"two\nlines"):
        log = site.slurmslice("logs", "--path", "say", "--", os.fsdecode(key), cwd=workplace)
        assert Path(log.stdout.strip()).is_relative_to(workplace), log.stderr


def test_the_submitted_script_is_the_reviewed_one(site: Site, workplace: Path) -> None:
    """Promise 7: the bytes that Slurm has are those of script.sh, edits included, every time."""
    site.slurmslice("render", "-a", "0-3", "--name", "edited", "--", "false", "{}", cwd=workplace)
    script = workplace / "slurmslice-runs" / "edited" / "script.sh"
    script.write_text(script.read_text().replace("# Yours to edit", "# Edited by hand; yours"))
    for verb in ("submit", "resubmit"):
        done = site.slurmslice(verb, "edited", cwd=workplace)
        assert done.returncode == 0, done.stderr
        sent = site.run(
            "scontrol", "write", "batch_script", array_task_of(done), "-", cwd=workplace
        )
        assert sent.stdout.rstrip("\n") == script.read_text().rstrip("\n")
        assert settled(site, workplace, "edited") == {"FAILED": 4}


def test_a_script_submitted_by_hand_is_the_run(site: Site, workplace: Path) -> None:
    """``sbatch script.sh`` works like ``submit``; the next ``status`` adds the job to the run."""
    names = ("-o", "out/%x-%A_%a_%N.txt")
    line = ("render", "-a", "2-4", "--name", "hand", *names, "--", "echo", "{}")
    site.slurmslice(*line, cwd=workplace)
    sent = site.run("sbatch", "slurmslice-runs/hand/script.sh", cwd=workplace)
    assert sent.returncode == 0, sent.stderr
    until(lambda: site.status(workplace, "hand")["counts"] == {"COMPLETED": 3}, "three slices done")
    again = site.run("sbatch", "slurmslice-runs/hand/script.sh", cwd=workplace)
    job = again.stdout.split()[-1]
    log = workplace / "slurmslice-runs/hand/submissions/001/tasks/2.log"
    until(lambda: "slurmslice refused" in log.read_text(), f"job {job} to be stopped by the claim")
    logs = [site.slurmslice("logs", "hand", key, cwd=workplace).stdout for key in "234"]
    assert logs == ["2\n", "3\n", "4\n"]
    first = sent.stdout.split()[-1]
    files = sorted(path.name.rpartition("_")[0] for path in (workplace / "out").iterdir())
    assert files == [f"hand-{first}_{key}" for key in "234"]
    until(
        lambda: f"Job {job} ran nothing" in site.slurmslice("status", cwd=workplace).stderr,
        "status to tell of the second job",
    )


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        (("--mem", "900G"), "900G"),
        (("-c", "500"), "500 CPUs"),
        (("-p", "short", "-t", "6"), "00:05:00"),
    ],
)
def test_a_request_that_can_never_run_is_refused(
    site: Site, workplace: Path, request_: tuple[str, ...], why: str
) -> None:
    """The check uses the cluster's nodes, partitions and QOS."""
    line = ("run", "-a", "0-1", "--name", "n", *request_, "--", "true")
    refused = site.slurmslice(*line, cwd=workplace)
    assert (refused.returncode, error_code(refused.stderr)) == (2, "never-runs"), refused.stderr
    assert why in refused.stderr
    assert not (workplace / "slurmslice-runs").exists()


def test_a_time_that_may_be_less_is_run(site: Site, workplace: Path) -> None:
    """sbatch(1), --time-min: Slurm gives the partition's time although --time is longer."""
    request = ("-p", "short", "--time", "1:00:00", "--time-min", "0:02:00")
    line = ("run", "-a", "0", "--name", "t", "--interval", "1", *request, "--", "true")
    ran = site.slurmslice(*line, cwd=workplace)
    assert ran.returncode == 0, ran.stderr


def test_a_person_submits_a_part_and_we_submit_the_rest(site: Site, workplace: Path) -> None:
    """The job by hand has the claim and two slices; the others are submitted again and run once."""
    args = ["--name", "h", "-a", "0-5", "--begin", "now+15", "--shell", "echo $SLICE >>marks"]
    assert site.slurmslice("render", *args, cwd=workplace).returncode == 0
    assert site.slurmslice("submit", "h", cwd=workplace).returncode == 0
    sbatch = ["sbatch", "--parsable", "--array=0-1", "--begin=now", "slurmslice-runs/h/script.sh"]
    assert site.run(*sbatch, cwd=workplace).returncode == 0
    until(lambda: marks(workplace).total() == 2, "the job by hand to run")
    ran = site.slurmslice("run", "h", "--interval", "1", cwd=workplace)
    assert ran.returncode == 0, ran.stderr
    assert marks(workplace) == {str(key): 1 for key in range(6)}


def test_a_person_submits_all_after_we_submitted_a_part(site: Site, workplace: Path) -> None:
    """After a trial of two slices, the job by hand runs nothing; each slice runs once."""
    args = ["--name", "h", "-a", "0-5", "--begin", "now+15", "--shell", "echo $SLICE >>marks"]
    assert site.slurmslice("render", *args, cwd=workplace).returncode == 0
    assert site.slurmslice("submit", "h", "--only", "2", cwd=workplace).returncode == 0
    sbatch = ["sbatch", "--parsable", "--begin=now", "slurmslice-runs/h/script.sh"]
    sent = site.run(*sbatch, cwd=workplace)
    assert sent.returncode == 0, sent.stderr
    until(
        lambda: (
            f"Job {sent.stdout.strip()} ran nothing"
            in site.slurmslice("status", "h", cwd=workplace).stderr
        ),
        "status to tell of the job by hand",
    )
    assert site.slurmslice("submit", "h", cwd=workplace).returncode == 0
    ran = site.slurmslice("run", "h", "--interval", "1", cwd=workplace)
    assert ran.returncode == 0, ran.stderr
    assert marks(workplace) == {str(key): 1 for key in range(6)}


def test_resubmitting_while_others_run(site: Site, workplace: Path) -> None:
    """Only failed slices are resubmitted; running slices are not touched."""
    command = "if [ $SLICE = 1 ] && [ ! -e mended ]; then exit 3; fi; " \
        "while [ $SLICE = 2 ] && [ ! -e go ]; do sleep 0.2; done"  # fmt: skip
    made = site.slurmslice("render", "-a", "0-3", "--name", "r", "--shell", command, cwd=workplace)
    assert made.returncode == 0, made.stderr
    site.slurmslice("submit", "r", cwd=workplace)

    def counts() -> dict[str, int]:
        found: dict[str, int] = site.status(workplace, "r")["counts"]
        return found

    until(lambda: counts().get("FAILED") == 1 and counts().get("RUNNING") == 1, "one bad, one busy")
    write(site, workplace / "mended", "")
    again = site.slurmslice("resubmit", "r", cwd=workplace)
    assert again.returncode == 0, again.stderr
    assert events(workplace, "r", "intent")[-1]["rows"] == "1"
    write(site, workplace / "go", "")
    assert settled(site, workplace, "r") == {"COMPLETED": 4}


def test_cancel_throttle_and_the_rest(site: Site, workplace: Path) -> None:
    """Pending and running slices are cancelled by key; the others end; resubmit runs them again."""
    command = "[ -e go ] || sleep 300"
    site.slurmslice("render", "-a", "0-5%2", "--name", "c", "--shell", command, cwd=workplace)
    site.slurmslice("submit", "c", cwd=workplace)
    until(lambda: site.status(workplace, "c")["counts"].get("RUNNING") == 2, "two to run")
    throttled = site.slurmslice("throttle", "c", "3", cwd=workplace)
    assert throttled.returncode == 0, throttled.stderr
    until(lambda: site.status(workplace, "c")["counts"].get("RUNNING") == 3, "three to run")
    cancelled = site.slurmslice("cancel", "c", "0", "4-5", cwd=workplace)
    assert cancelled.returncode == 0, cancelled.stderr
    until(lambda: site.status(workplace, "c")["counts"].get("CANCELLED") == 3, "three cancelled")
    write(site, workplace / "go", "")
    rest = site.slurmslice("cancel", "c", cwd=workplace)
    assert rest.returncode == 0, rest.stderr
    until(lambda: site.status(workplace, "c")["finished"], "all to end")
    site.slurmslice("resubmit", "c", "--state", "CANCELLED", cwd=workplace)
    assert settled(site, workplace, "c") == {"COMPLETED": 6}


def test_a_partition_that_there_is_not(site: Site, workplace: Path) -> None:
    """A request that sbatch would refuse is refused before; a hidden partition is known."""
    if site.cluster is None:
        pytest.skip("a partition is made on a cluster of our own only")
    line = ("run", "-a", "0-1", "-t", "1", "--interval", "1", "--", "true", "{}")
    for names in ("mian", "main,mian"):
        by_sbatch = site.run("sbatch", "-p", names, "--wrap", "true", cwd=workplace)
        assert "Invalid partition name" in by_sbatch.stderr
        done = site.slurmslice(*line[:1], "-p", names, *line[1:], cwd=workplace)
        assert (done.returncode, error_code(done.stderr)) == (2, "never-runs"), done.stderr
        assert re.search(r"\bmian\b.*\bmain\b", done.stderr)
        assert not (workplace / "slurmslice-runs").exists()
    made = ("scontrol", "create", "PartitionName=secret", "Hidden=YES", "Nodes=ALL")
    assert site.run(*made, cwd=workplace, user="root").returncode == 0
    try:
        done = site.slurmslice(*line[:1], "-p", "secret", *line[1:], cwd=workplace)
    finally:
        site.run("scontrol", "delete", "PartitionName=secret", cwd=workplace, user="root")
    assert done.returncode == 0, done.stderr


def test_requeued_and_cancelled_by_hand(site: Site, workplace: Path) -> None:
    """A requeue by hand is noticed before a resubmission; scancel is reported."""
    command = f"echo x >>ran.$SLICE; [ $SLICE = 1 ] && [ ! -e mended ] && exit 3; {UNTIL_GO}"
    site.slurmslice("render", "-a", "0-3%2", "--name", "h", "--shell", command, cwd=workplace)
    sent = site.slurmslice("submit", "h", cwd=workplace)
    job = array_task_of(sent)
    until(lambda: site.status(workplace, "h")["counts"].get("FAILED") == 1, "slice 1 to fail")
    until(lambda: site.status(workplace, "h")["counts"].get("RUNNING") == 2, "two to run")
    write(site, workplace / "mended", "")
    requeued = site.run("scontrol", "requeue", f"{job}_1", cwd=workplace)
    assert requeued.returncode == 0, requeued.stderr
    again = site.slurmslice("resubmit", "h", cwd=workplace)
    assert again.returncode == 5, again.stderr
    assert len(events(workplace, "h", "intent")) == 1
    site.run("scancel", f"{job}_0", cwd=workplace)
    until(lambda: site.status(workplace, "h")["counts"].get("CANCELLED") == 1, "0 to be cancelled")
    write(site, workplace / "go", "")
    assert settled(site, workplace, "h") == {"COMPLETED": 3, "CANCELLED": 1}
    assert (workplace / "ran.1").read_text() == "x\nx\n"


def test_exit_codes_are_reported_exactly(site: Site, workplace: Path) -> None:
    """Codes from 128 up are exact, although sacct subtracts 128 in some releases.

    Also of a setup.
    """
    codes = [1, 127, 128, 143, 200, 255]
    command = f"codes=({' '.join(map(str, codes))}); exit ${{codes[SLICE]}}"
    args = ["--name", "e", "-a", "0-5", "--interval", "1", "--shell", command]
    assert site.slurmslice("run", *args, cwd=workplace).returncode == 1
    args = ["--name", "s", "-a", "0", "--interval", "1", "--setup", "exit 200", "--", "true"]
    assert site.slurmslice("run", *args, cwd=workplace).returncode == 1
    told = {run: site.status(workplace, run)["slices"] for run in ("e", "s")}
    assert {slice_["state"] for run in told.values() for slice_ in run} == {"FAILED"}
    assert [slice_["exit_code"] for slice_ in told["e"]] == codes
    assert [slice_["exit_code"] for slice_ in told["s"]] == [200]


def test_slurms_refusals_are_shown_and_keep_the_run(site: Site, workplace: Path) -> None:
    """An unknown QOS gives Slurm's message and exit code 3; ``submit`` can be repeated."""
    site.slurmslice(
        "render", "-a", "0-1", "-q", "nowhere", "--name", "p", "--", "true", cwd=workplace
    )
    refused = site.slurmslice("submit", "p", cwd=workplace)
    assert (refused.returncode, error_code(refused.stderr)) == (3, "submission-rejected")
    assert "slurmslice submit p" in refused.stderr
    done = site.slurmslice("submit", "p", "-q", "normal", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert settled(site, workplace, "p") == {"COMPLETED": 2}


def test_a_request_larger_than_any_node_is_reported(site: Site, workplace: Path) -> None:
    """The error names the largest node's memory; the run is kept."""
    site.slurmslice(
        "render", "-a", "0-1", "--mem", "900G", "--name", "m", "--", "true", cwd=workplace
    )
    refused = site.slurmslice("submit", "m", cwd=workplace)
    assert (refused.returncode, error_code(refused.stderr)) == (2, "never-runs"), refused.stderr
    assert "900G" in refused.stderr
    assert site.status(workplace, "m")["counts"] == {"WAITING": 2}


def test_slurm_away_changes_no_state(site: Site, workplace: Path) -> None:
    """Promise 5: without answers the exit code is 3, states stay, nothing is submitted."""
    site.slurmslice("render", "-a", "0-1", "--name", "q", "--shell", UNTIL_GO, cwd=workplace)
    site.slurmslice("submit", "q", cwd=workplace)
    until(lambda: site.status(workplace, "q")["counts"] == {"RUNNING": 2}, "two to run")
    away = {"SLURM_CONF": str(workplace / "no.conf"), "SLURMSLICE_ASK_TIMEOUT": "5"}
    done = site.slurmslice("status", "q", "--json", cwd=workplace, env=away)
    assert done.returncode == 3
    assert json.loads(done.stdout)["counts"] == {"RUNNING": 2}
    assert site.slurmslice("resubmit", "q", cwd=workplace, env=away).returncode == 3
    write(site, workplace / "go", "")
    assert settled(site, workplace, "q") == {"COMPLETED": 2}


def test_kill_9_of_submit(site: Site, workplace: Path) -> None:
    """Killed at each journal step, the same command continues: each slice runs once."""
    steps = itertools.product((0, 1, 2), ("before", "after"))
    cases = {f"{step}-{when}": (step, when) for step, when in steps}
    side_by_side(site, workplace, kill_9_of_submit, cases)


def kill_9_of_submit(site: Site, workplace: Path, step: int, when: str) -> None:
    """Kill submit at one step, then continue it."""
    command = 'echo x >>"ran.$SLICE"'
    site.slurmslice("render", "-a", "0-4", "--name", "k", "--shell", command, cwd=workplace)
    killed = site.killed(step, when, "submit", "k", cwd=workplace)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = site.slurmslice("submit", "k", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert settled(site, workplace, "k") == {"COMPLETED": 5}
    token = json.loads((workplace / "slurmslice-runs/k/run.json").read_text())["name"]
    assert token == "k"
    assert [(workplace / f"ran.{key}").read_text() for key in range(5)] == ["x\n"] * 5
    jobs = site.run(
        "sacct", "-X", "-n", "-P", "--format=JobID,State", "-S", "now-1hours",
        "--name", ",".join(names_of(workplace / "slurmslice-runs/k")), cwd=workplace,
    )  # fmt: skip
    arrays = {line.partition("_")[0] for line in jobs.stdout.split()}
    assert len(arrays) == 1, jobs.stdout


def names_of(run: Path) -> list[str]:
    """The job names that a run's journal has used."""
    lines = (run / "journal.jsonl").read_text().splitlines()
    return [event["job_name"] for line in lines if "job_name" in (event := json.loads(line))]


def test_an_interrupted_run_can_be_continued(site: Site, workplace: Path) -> None:
    """kill -9 of ``run`` loses nothing; the same command follows the submitted jobs."""
    command = [str(site.python), "-m", "slurmslice", "run", "-a", "0-2", "--name", "i",
               "--interval", "0.5", "--shell", f"{UNTIL_GO}; echo x >>$SLICE"]  # fmt: skip
    started = site.popen(command, cwd=workplace)
    until(lambda: started_running(site, workplace, "i", 3), "three to run")
    started.kill()
    started.wait(DEADLINE_S)
    write(site, workplace / "go", "")
    done = site.run(*command, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert [(workplace / key).read_text() for key in "012"] == ["x\n"] * 3


def started_running(site: Site, directory: Path, run: str, how_many: int) -> bool:
    """Return whether so many slices run; False also before the run exists."""
    done = site.slurmslice("status", run, "--json", cwd=directory)
    return done.returncode == 0 and json.loads(done.stdout)["counts"].get("RUNNING") == how_many


def test_ctrl_c_leaves_the_slices(site: Site, workplace: Path) -> None:
    """Interrupted, ``run`` says how to return and exits with 130; the slices keep running."""
    command = [str(site.python), "-m", "slurmslice", "run", "-a", "0-1", "--name", "s",
               "--interval", "0.5", "--shell", UNTIL_GO]  # fmt: skip
    started = site.popen(command, cwd=workplace, stderr=subprocess.PIPE)
    until(lambda: started_running(site, workplace, "s", 2), "two to run")
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=DEADLINE_S)
    assert started.returncode == 130
    assert "slurmslice status s" in said
    write(site, workplace / "go", "")
    assert settled(site, workplace, "s") == {"COMPLETED": 2}


def test_somebody_elses_run_can_be_watched(site: Site, workplace: Path) -> None:
    """Reading verbs need no write permission: they poll and record nothing."""
    if site.cluster is None:
        pytest.skip("files are given to another user on our own cluster only")
    site.slurmslice("render", "-a", "0-3", "--name", "theirs", "--", "sleep", "3", cwd=workplace)
    assert site.slurmslice("submit", "theirs", cwd=workplace).returncode == 0
    directory = workplace / "slurmslice-runs" / "theirs"
    until(lambda: site.status(workplace, "theirs")["finished"], "its tasks to end")
    for path in (directory, *directory.rglob("*")):
        os.chown(path, 0, 0)
    (directory / "states.tsv").unlink()
    watched = site.slurmslice("watch", "theirs", "--interval", "0.5", cwd=workplace)
    assert watched.returncode == 0, watched.stderr
    assert "COMPLETED" in watched.stdout
    assert site.status(workplace, "theirs")["counts"] == {"COMPLETED": 4}
    assert not (directory / "states.tsv").exists()


def test_doctor_knows_the_cluster(site: Site, workplace: Path) -> None:
    """The output has version, MaxArraySize, accounting and the number of tasks that fit."""
    done = site.slurmslice("doctor", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+ more \(MaxJobCount", done.stdout)
    assert re.search(r"Slurm \d+\.\d+", done.stdout)
    assert "accounting" in done.stdout
    assert "main" in done.stdout


@pytest.mark.example
def test_the_example_sums_up_exactly(site: Site, workplace: Path) -> None:
    """Slice × whole, summed over all slices, is whole × whole to the last pair."""
    from tests.support.paths import REPOSITORY

    example = workplace / "correlation"
    site.run("cp", "-r", str(REPOSITORY / "examples" / "correlation"), str(example), cwd=workplace)
    made = site.run(str(site.python), "make_catalogue.py", "--points", "3000", "--slices", "12",
                    "--out", ".", cwd=example)  # fmt: skip
    assert made.returncode == 0, made.stderr
    options = ["--file_2", "mill2_fof_sorted.h5", "-l", "400", "-n", "0", "--m_factor", "1"]
    ran = site.slurmslice(
        "run", "-a", "0-11", "--mem", "1G", "-t", "10", "--interval", "1", "--",
        str(site.python), "correlate.py", "--file_1", "mill2sort-{}.h5", *options, "--slicing",
        "--log", "logs/mill2sort-{}.log", cwd=example,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    whole = site.run(str(site.python), "correlate.py", "--file_1", "mill2_fof_sorted.h5", *options,
                     "--slicing", "--results", "whole", cwd=example)  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    assert summed(example / "results") == summed(example / "whole")


def summed(folder: Path) -> list[int]:
    """The pair counts of all results in a folder, summed."""
    h5py = pytest.importorskip("h5py")
    counts: list[list[int]] = []
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path) as file:
            counts.append(file["dd"][:].tolist())
    assert counts, f"no result in {folder}: {sys.version}"
    return [sum(column) for column in zip(*counts, strict=True)]
