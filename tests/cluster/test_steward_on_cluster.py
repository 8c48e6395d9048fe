"""Unattended runs on a real cluster: the steward is a job that Slurm wakes and puts back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.notes import noted
from tests.support.site import (
    WAITS,
    Site,
    accounted,
    done_apart,
    events,
    jobs_in,
    side_by_side,
    until,
    witnessed,
    write,
)
from tests.support.slurm_cluster import Cluster

pytestmark = pytest.mark.slurm

PAUSES_S = 480.0
"""A steward that learns nothing in a round pauses for two minutes, then for four."""
ONCE = "if [ $SLICE = 0 ] && [ ! -e failed ]; then touch failed; exit 75; fi"
LONG = "until [ $SLICE = 0 ] || [ -e go ]; do note alive; sleep 0.2; done"
LOST = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation'"


def started(site: Site, folder: Path, work: str, *options: str, path: str = "") -> str:
    """Start an unattended run of two slices; return the job of its steward."""
    env = {"PATH": path or site.path}
    made = site.slurmslice(
        "run", "--unattended", "-a", "0-1", "--mem", "50M", "-t", "5", "--name", "x", *options,
        "--shell", work, cwd=folder, env=env,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    return str(noted(made.stderr, "steward-submitted")[0]["job"])


def told(site: Site, folder: Path) -> dict[str, Any]:
    """Return what ``status`` tells of the steward."""
    found: dict[str, Any] = site.status(folder, "x")["steward"]
    return found


def log(folder: Path) -> str:
    """Return the steward's log."""
    path = folder / "slurmslice-runs" / "x" / "steward" / "log"
    return path.read_text() if path.exists() else ""


def until_done(folder: Path) -> None:
    """Wait until the steward has recorded its end."""
    until(
        lambda: bool(events(folder, "x", "steward_ended")),
        lambda: f"the end:\n{log(folder)}",
        PAUSES_S,
    )
    assert [one["reason"] for one in events(folder, "x", "steward_ended")] == ["done"]


def hasten(site: Site, folder: Path, job: str) -> None:
    """Start the next round without its pause, as soon as the steward is put back."""
    soon = ("scontrol", "update", f"JobId={job}", "StartTime=now+2")
    until(lambda: site.run(*soon, cwd=folder).returncode == 0, "an earlier start")


def repairs_while_others_run(site: Site, folder: Path) -> None:
    """The first failure wakes it. It repairs, keeps its id, and ends after the step afterwards."""
    mail = ("--mail", "--mail-user", "ada@lab.invalid")
    then = ("--then", 'echo "$SLURM_JOB_ID" >>then; cat "$SLURMSLICE_MISSING" >>then')
    work = witnessed(f"{ONCE}\n{LONG}")
    job = started(site, folder, work, "--on", "exit:75=again", *mail, *then)
    until(
        lambda: len(events(folder, "x", "submitted")) == 2,
        lambda: f"a repair:\n{log(folder)}",
        PAUSES_S,
    )
    repair = str(events(folder, "x", "submitted")[1]["job"])
    until(lambda: set(accounted(site, folder, [repair], "State").values()) == {"COMPLETED"}, "it")
    assert told(site, folder)["job"] == job
    write(site, folder / "go", "")
    until_done(folder)
    status = site.status(folder, "x")
    assert status["counts"] == {"COMPLETED": 2}
    assert (status["then"]["state"], status["then"]["stale"]) == ("COMPLETED", False)
    assert (folder / "then").read_text() == f"{status['then']['job']}\n"
    assert [one["job"] for one in events(folder, "x", "steward_submitted")] == [job]
    rows = site.run("sacct", "-D", "-X", "-n", "-P", "-o", "State", "-j", job, cwd=folder).stdout
    assert rows.split()[0] == "REQUEUED", rows
    if site.cluster:
        one_mail(site.cluster, job)


def one_mail(cluster: Cluster, job: str) -> None:
    """Slurm mails the end of the steward, and nothing else: its requeues send no mail."""

    def mails() -> list[str]:
        path = cluster.layout.mails
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if f"Job_id={job} " in line]

    until(lambda: bool(mails()), "a mail")
    (mail,) = mails()
    assert "Name=x: all 2 done, then done Ended" in mail
    assert mail.endswith(" ada@lab.invalid")


def goes_on_after_kill_9(site: Site, folder: Path) -> None:
    """A round that is killed leaves no wake: the job is put back and has another round."""
    write(site, folder / "squeue", "#!/bin/bash\n"
        f"[ ! -e {folder}/kill ] || ! mkdir {folder}/killed || kill -9 $PPID\n"
        f"PATH={site.path}; exec squeue \"$@\"\n")  # fmt: skip
    site.run("chmod", "+x", "squeue", cwd=folder)
    job = started(site, folder, WAITS, path=f"{folder}:{site.path}")
    write(site, folder / "kill", "")
    write(site, folder / "go", "")
    until(lambda: "exit 137" in log(folder), lambda: f"a killed round:\n{log(folder)}")
    hasten(site, folder, job)
    until_done(folder)
    assert [one["job"] for one in events(folder, "x", "steward_submitted")] == [job]


def started_twice(site: Site, folder: Path) -> None:
    """Whichever job claims first is the steward. The other one says so, and ends."""
    first = started(site, folder, WAITS)
    run_dir = folder / "slurmslice-runs" / "x"
    (intent,) = events(folder, "x", "steward_intent")
    words = (str(run_dir / "steward" / "steward.sh"), str(run_dir), intent["token"])
    output = ("--parsable", "--requeue", f"--output={folder}/second", "--mem=300M")
    sent = site.run("sbatch", *output, *words, str(site.python), cwd=folder)
    second = sent.stdout.strip()
    until(lambda: len(events(folder, "x", "steward_submitted")) == 2, "the claim of the second")
    assert told(site, folder)["job"] == second
    write(site, folder / "go", "")
    hasten(site, folder, second)
    until_done(folder)
    until(lambda: second in log(folder), lambda: f"a word of {first}:\n{log(folder)}")
    assert site.status(folder, "x")["counts"] == {"COMPLETED": 2}


def cancelled_by_the_person(site: Site, folder: Path) -> None:
    """Nothing more is submitted; what runs goes on; ``status`` says what to type."""
    job = started(site, folder, WAITS)
    site.run("scancel", job, cwd=folder)
    until(lambda: told(site, folder)["state"] == "gone", lambda: str(told(site, folder)))
    assert told(site, folder)["reason"] == "CANCELLED"
    write(site, folder / "go", "")
    until(lambda: site.status(folder, "x")["finished"], "the end of the slices")
    assert site.status(folder, "x")["counts"] == {"COMPLETED": 2}


def lost_answer(site: Site, folder: Path) -> None:
    """It is found by its token; ``cancel`` ends it first, and then the slices."""
    write(site, folder / "sbatch", "#!/bin/bash\n"
        f"export PATH={site.path}\n[[ $* == *steward.sh* ]] || exec sbatch \"$@\"\n"
        f"sbatch \"$@\" >/dev/null; {LOST} >&2; exit 1\n")  # fmt: skip
    site.run("chmod", "+x", "sbatch", cwd=folder)
    job = started(site, folder, WAITS, path=f"{folder}:{site.path}")
    assert [one.split()[0] for one in jobs_in(site, folder) if "-steward" in one] == [job]
    again = site.slurmslice("run", "x", "--unattended", cwd=folder)
    assert noted(again.stderr, "steward-there")[0]["job"] == job
    done = site.slurmslice("cancel", "x", cwd=folder)
    assert noted(done.stderr, "steward-cancelled")[0]["job"] == job
    until(lambda: not jobs_in(site, folder), lambda: f"an empty queue: {jobs_in(site, folder)}")


SCENES: dict[str, Callable[[Site, Path], None]] = {
    scene.__name__: scene
    for scene in (
        repairs_while_others_run, goes_on_after_kill_9, started_twice, cancelled_by_the_person,
        lost_answer,
    )
}  # fmt: skip


def play(site: Site, folder: Path, scene: str) -> None:
    """Play one scene in its folder."""
    SCENES[scene](site, folder)
    if scene != "lost_answer":  # its slices are cancelled
        done_apart(folder, ["0", "1"])


def test_a_steward_follows_a_run(site: Site, workplace: Path) -> None:
    """Whatever happens to it: one steward at most, and each slice runs once."""
    loads = (str(site.python), "-c", "import slurmslice.cli.app")
    if site.run("srun", *loads, cwd=workplace).returncode:
        pytest.skip("the nodes have no Python that has slurmslice")
    side_by_side(site, workplace, play, {scene: (scene,) for scene in SCENES})
