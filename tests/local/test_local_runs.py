"""The main job on the local engine: the same script, states and verbs, without Slurm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.test_main_job_on_cluster import HOSTILE, UNTIL_GO, WORK
from tests.support.commands import SLURMSLICE, forked
from tests.support.notes import SHOW_CODES, noted, notes_in
from tests.support.site import KILL

DEADLINE_S = 20.0


class Here:
    """A folder on this machine in which slurmslice is run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        self.env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SLURM")},
            **SHOW_CODES,
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }

    def __call__(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run slurmslice to its end."""
        # A function that changes the process (limits, streams) would not reach a fork.
        words = SLURMSLICE if "preexec_fn" in more else forked(self.env)
        return subprocess.run(
            [*words, *args], cwd=self.folder, env=self.env, capture_output=True, text=True,
            timeout=DEADLINE_S * 4, **{"stdin": subprocess.DEVNULL, **more},
        )  # fmt: skip

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a program and do not wait for it."""
        started = subprocess.Popen(
            argv, cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.started.append(started)
        return started

    def status(self, run: str) -> dict[str, Any]:
        """Return the output of ``status --json``."""
        done = self("status", run, "--json")
        assert done.returncode == 0, done.stderr
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    def counts(self, run: str) -> dict[str, int]:
        """Return the number of slices in each state; empty before the run exists."""
        done = self("status", run, "--json")
        return dict(json.loads(done.stdout)["counts"]) if done.returncode == 0 else {}

    def orphans(self) -> list[psutil.Process]:
        """Return the processes that still work in this folder."""
        return [p for p in psutil.process_iter() if _works_in(p, self.folder)]


def _works_in(process: psutil.Process, folder: Path) -> bool:
    try:
        return Path(process.cwd()).is_relative_to(folder) and process.status() != "zombie"
    except (psutil.Error, OSError):
        return False


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Here]:
    """An empty folder; nothing may still run in it when the test ends."""
    directory = Here(tmp_path)
    yield directory
    for process in directory.started:
        process.kill()
        process.communicate()
    until(lambda: not directory.orphans(), f"no process to be left: {directory.orphans()}")


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, not for a time."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


RUN = ("run", "--engine", "local", "--interval", "0.3")


def test_the_main_job(here: Here) -> None:
    """Of 99 slices, five fail for three causes: exactly these are reported and repaired."""
    (here.folder / "work.py").write_text(WORK.replace("sleep(600)", "sleep(90)"))
    # Without `site` Python starts fast, and coverage does not measure it.
    command = (*RUN, "-a", "0-98%4", "--mem", "300M", "-t", "0:08", "--", sys.executable,
               "-S", "work.py", "{}")  # fmt: skip
    ran = here(*command)
    assert ran.returncode == 1, ran.stderr
    record = here.status("work")
    states = {s["key"]: s["state"] for s in record["slices"]}
    assert {key for key, state in states.items() if state == "FAILED"} == {"3", "7", "11"}
    assert states["20"] == "TIMEOUT"
    memory_is_enforced = os.geteuid() == 0
    # Without a cgroup of its own a slice over its memory only runs into its time limit here.
    assert states["13"] == ("OUT_OF_MEMORY" if memory_is_enforced else "TIMEOUT")
    assert record["counts"]["COMPLETED"] == 94
    assert all(s["cpu_s"] is not None for s in record["slices"] if s["state"] == "COMPLETED")
    (here.folder / "mended").touch()
    again = here("resubmit", "--mem", "2x", "--time", "2x")
    assert again.returncode == 0, again.stderr
    assert "Submitted 5 slices (3,7,11,13,20)" in again.stderr
    assert here.counts("work") == {"COMPLETED": 99}
    repeats = Counter((here.folder / f"ran.{key}").read_text() for key in range(99))
    assert repeats == {"x": 94, "xx": 5}


def test_hostile_keys_arrive_byte_for_byte(here: Here) -> None:
    """Promise 3: keys of any bytes reach the command's argv and $SLICE unchanged."""
    (here.folder / "say.py").write_text(
        "import os, sys\nargv, env = map(os.fsencode, (sys.argv[1], os.environ['SLICE']))\n"
        "assert argv == env\nopen('got.' + os.environ['SLICE_ROW'], 'wb').write(argv)\n"
    )
    (here.folder / "keys").write_bytes(b"".join(key + b"\0" for key in HOSTILE))
    ran = here(*RUN, "--slices-from", "keys", "-0", "--", sys.executable, "-S", "say.py", "{}")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert [(here.folder / f"got.{row}").read_bytes() for row in range(len(HOSTILE))] == HOSTILE
    assert not list(here.folder.rglob("pwned"))
    assert [os.fsencode(s["key"]) for s in here.status("say")["slices"]] == HOSTILE


def test_no_escape_sequence_reaches_the_terminal(here: Here) -> None:
    """Escape sequences in a key or a log are shown as text."""
    (here.folder / "keys").write_bytes(b"\x1b[31mred\n")
    ran = here(*RUN, "--slices-from", "keys", "--", "false", "{}")
    shown = here("status", "--slices").stdout + here("status").stdout
    assert ran.returncode == 1
    assert "\x1b" not in shown + ran.stdout + ran.stderr
    assert "red" in shown


SAVES = ("", "trap 'exit 0' TERM; ")
"""The command's reaction to SIGTERM: none, or a trap that exits with 0."""


@pytest.mark.parametrize("saves", SAVES)
def test_ctrl_c_leaves_no_orphan_and_no_attempt_is_used(here: Here, saves: str) -> None:
    """Running slices become WAITING; the same line continues; each slice ends once."""
    command = [*SLURMSLICE, *RUN, "-a", "0-3%2", "--name", "i", "--shell",
               f"{saves}{UNTIL_GO}; echo x >>$SLICE"]  # fmt: skip
    started = here.start(*command)
    until(lambda: here.counts("i").get("RUNNING") == 2, "two to run")
    started.send_signal(signal.SIGINT)
    _, said = started.communicate(timeout=DEADLINE_S)
    assert started.returncode == 130, said
    assert "slurmslice run i" in said
    assert not here.orphans()
    record = here.status("i")
    assert record["counts"] == {"WAITING": 4}
    assert {s["attempt"] for s in record["slices"]} == {0}
    (here.folder / "go").touch()
    done = here(*command[len(SLURMSLICE) :])
    assert done.returncode == 0, done.stderr
    assert {s["attempt"] for s in here.status("i")["slices"]} == {1}
    assert [(here.folder / key).read_text() for key in "0123"] == ["x\n"] * 4


@pytest.mark.parametrize("saves", SAVES)
def test_kill_9_leaves_no_orphan_and_loses_nothing(here: Here, saves: str) -> None:
    """The tasks of a killed runner are ended; the same line continues."""
    command = [*SLURMSLICE, *RUN, "-a", "0-3%2", "--name", "k", "--shell",
               f"{saves}[ $SLICE = 0 ] || {{ {UNTIL_GO}; }}; echo x >>$SLICE"]  # fmt: skip
    started = here.start(*command)
    until(lambda: here.counts("k") == {"COMPLETED": 1, "RUNNING": 2, "PENDING": 1}, "two to run")
    started.kill()
    started.wait(DEADLINE_S)
    until(lambda: not here.orphans(), "the orphans to be ended")
    assert here.counts("k") == {"COMPLETED": 1, "WAITING": 3}
    (here.folder / "go").touch()
    done = here("run", "k")
    assert done.returncode == 0, done.stderr
    assert [(here.folder / key).read_text() for key in "0123"] == ["x\n"] * 4


NAMELESS = """#!/bin/bash
exec 9>>"$1.lock"
flock -n 9 || echo x >>"$1.twice"
echo x >>"$1.began"
while [ ! -e go ]; do sleep 0.2; done
echo x >>"$1"
"""
"""A slice that holds a lock while one of its processes lives. It records if the lock is taken."""

DETACHED = """case $SLICE in
0) env -i ./slice.sh 0 ;;
1) setsid -w env -i ./slice.sh 1 ;;
2) (env -i ./slice.sh 2 &); until [ -e 2 ]; do sleep 0.1; done ;;
esac"""
"""Commands that clear the environment: directly, in a new session, or without a parent."""


def test_a_wiped_environment_hides_no_process(here: Here) -> None:
    """Runner and workers killed -9 at once: no slice of the next runner runs beside its last."""
    (here.folder / "slice.sh").write_text(NAMELESS)
    (here.folder / "slice.sh").chmod(0o755)
    began = [here.folder / f"{key}.began" for key in range(3)]

    def all_began(times: int) -> bool:
        return all(note.exists() and note.read_text() == "x\n" * times for note in began)

    started = here.start(
        *SLURMSLICE, *RUN, "-a", "0-2%3", "--mem", "50M", "--name", "w", "--shell", DETACHED
    )
    until(lambda: all_began(1), "three to run")
    runner = psutil.Process(started.pid)
    everybody = [runner, *runner.children()]
    for process in everybody:
        process.suspend()  # so that none can act before all are killed
    for process in everybody:
        process.kill()
    started.wait(DEADLINE_S)
    again = here.start(*SLURMSLICE, "run", "w")
    until(lambda: all_began(2), "three to run again")
    (here.folder / "go").touch()
    _, said = again.communicate(timeout=DEADLINE_S)
    assert again.returncode == 0, said
    assert not list(here.folder.glob("*.twice"))
    assert [(here.folder / key).read_text() for key in "012"] == ["x\n"] * 3


def test_other_verbs_work_beside_a_run(here: Here) -> None:
    """In a second terminal: status, throttle, cancel, resubmit, while ``run`` goes on."""
    command = [*SLURMSLICE, *RUN, "-a", "0-5%2", "--name", "b", "--shell",
               f"[ $SLICE != 0 ] || [ -e mended ] || exit 3; {UNTIL_GO}"]  # fmt: skip
    started = here.start(*command)
    until(lambda: here.counts("b").get("RUNNING") == 2 and here.counts("b").get("FAILED"), "work")
    assert here("throttle", "b", "3").returncode == 0
    until(lambda: here.counts("b").get("RUNNING") == 3, "three to run")
    assert "Cancelled 2 slices: 4-5" in here("cancel", "b", "4-5").stderr
    until(lambda: here.counts("b").get("CANCELLED") == 2, "two to be cancelled")
    (here.folder / "mended").touch()
    again = here("resubmit", "b")
    assert again.returncode == 0, again.stderr
    assert "1 slice waiting (throttle reached)" in again.stderr
    (here.folder / "go").touch()
    _, said = started.communicate(timeout=DEADLINE_S)
    assert started.returncode == 1, said
    assert here.counts("b") == {"COMPLETED": 4, "CANCELLED": 2}


def test_the_setup_reaches_the_command(here: Here) -> None:
    """--setup accepts a text or a file; its variables and its folder reach the command."""
    (here.folder / "env.sh").write_text("export FROM_FILE=yes\nmkdir -p sub && cd sub\n")
    for name, setup in (("file", "env.sh"), ("text", "export FROM_FILE=yes; cd sub")):
        text = 'echo "$FROM_FILE $SLICE ${PWD##*/}"'
        ran = here(*RUN, "-a", "3", "--name", name, "--setup", setup, "--shell", text)
        assert ran.returncode == 0, ran.stderr
        assert here("logs", name, "3").stdout == "yes 3 sub\n"
    failed = here(*RUN, "-a", "3", "--name", "bad", "--setup", "exit 4", "--shell", "touch made")
    assert failed.returncode == 1
    assert "setup exited 4" in here("logs", "--task", "bad", "3").stdout
    assert not list(here.folder.rglob("made"))


def test_a_posix_shell_tells_the_truth_too(here: Here) -> None:
    """POSIXLY_CORRECT around it, or ``set -o posix`` in the setup: exit codes are the command's."""
    here.env["POSIXLY_CORRECT"] = "1"
    text = "exit $SLICE"
    for name, more in (("a", ()), ("b", ("--setup", "set -o posix"))):
        here(*RUN, "-a", "0,3", "--name", name, *more, "--shell", text)
        codes = {s["key"]: s["exit_code"] for s in here.status(name)["slices"]}
        assert codes == {"0": 0, "3": 3}


@pytest.mark.parametrize("packed", [(), ("--pack", "2", "--at-once", "2")])
def test_exit_0_after_a_signal_is_no_success(here: Here, packed: tuple[str, ...]) -> None:
    """A warning by SIGTERM reached the slices. They saved their work and exited 0."""
    saves = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
    limits = ("-t", "0:04", "--signal", "B:TERM@3")
    ran = here(*RUN, "-a", "0-1", *limits, *packed, "-J", "x", "--", "bash", "-c", saves)
    assert ran.returncode == 1, ran.stderr
    slices = here.status("x")["slices"]
    assert {s["state"] for s in slices} == {"FAILED"}
    assert all("SIGTERM" in s["reason"] and "COMPLETED" in s["reason"] for s in slices)


def test_runs_are_listed_and_found_from_below(here: Here) -> None:
    """``runs`` and ``slurmslice`` alone; a run is found by name in the folders below its own."""
    alone = here()
    assert alone.returncode == 0
    assert "slurmslice run -a" in alone.stdout
    here(*RUN, "-a", "0-2", "--name", "one", "--shell", "[ $SLICE != 2 ]")
    listed = json.loads(here("runs", "--json").stdout)
    assert [(r["run"], r["done"], r["failed"], r["slices"]) for r in listed] == [("one", 2, 1, 3)]
    assert "one" in here("runs").stdout
    assert "one" in here().stdout
    below = here.folder / "below"
    below.mkdir()
    found = subprocess.run(
        [*SLURMSLICE, "status", "one", "--exit-code"], cwd=below, env=here.env, capture_output=True
    )
    assert found.returncode == 1
    elsewhere = subprocess.run(
        [*SLURMSLICE, "status", "one"], cwd="/", env=here.env, capture_output=True, text=True
    )
    assert elsewhere.returncode == 0, elsewhere.stderr


def test_doctor_reports_on_this_machine(here: Here) -> None:
    """``doctor`` shows the number of tasks of a request that fit here."""
    done = here("doctor", "--engine", "local", "-c", "1", "--mem", "100M")
    assert done.returncode == 0, done.stderr
    assert "tasks of this request at once: " in done.stdout


def test_a_few_first_on_this_machine(here: Here) -> None:
    """``submit --only`` runs a few slices and returns; ``run`` runs the others."""
    here("render", "--engine", "local", "-a", "0-4", "--name", "f", "--", "true", "{}")
    shown = here("submit", "f", "--only", "2", "--dry-run")
    assert "Would submit 2 slices (0-1)" in shown.stderr
    few = here("submit", "f", "--only", "2")
    assert few.returncode == 0, few.stderr
    assert here.counts("f") == {"COMPLETED": 2, "WAITING": 3}
    assert here("submit", "f", "--only", "3,4").returncode == 0
    assert here("run", "f").returncode == 0
    assert here.counts("f") == {"COMPLETED": 5}


def test_the_rest_is_cancelled_after_too_many_failures(here: Here) -> None:
    """Packs too: slices that run go on, those that have not begun do not start."""
    command = "[ $SLICE -gt 1 ] || exit 1; until [ -e go ]; do sleep 0.1; done"
    words = ("--engine", "local", "-a", "0-11%4", "--pack", "3", "--interval", "0.1")
    limit = ("--max-failures", "10%", "--cancel-rest", "--name", "c", "--shell", command)
    run = here.start(sys.executable, "-m", "slurmslice", "run", *words, *limit)
    until(lambda: here.counts("c").get("CANCELLED"), "the rest to be cancelled")
    (here.folder / "go").touch()
    assert run.wait(DEADLINE_S) == 6
    counts = here.counts("c")
    assert (counts["FAILED"], set(counts)) == (2, {"FAILED", "COMPLETED", "CANCELLED"})


def test_a_canary_on_this_machine(here: Here) -> None:
    """In packs too: the rest runs when these slices are done; a failed one ends the run with 6."""
    words = ("--engine", "local", "-a", "0-19", "--pack", "4", "--canary", "3", "--interval", "0.1")
    command = "echo $SLICE >>order; [ -e repaired ] || [ $SLICE != 19 ]"
    failed = here("run", *words, "--name", "k", "--shell", command)
    assert failed.returncode == 6, failed.stderr
    assert here.counts("k") == {"COMPLETED": 2, "FAILED": 1, "WAITING": 17}
    (here.folder / "repaired").touch()
    assert here("resubmit", "k").returncode == 0
    assert here("run", "k").returncode == 0
    order = (here.folder / "order").read_text().split()
    assert (sorted(order[:3]), order[3], len(order)) == (["0", "10", "19"], "19", 21)


def test_a_closed_terminal_ends_it_in_order(here: Here) -> None:
    """After SIGHUP, running slices are stopped and wait, as after Ctrl-C."""
    started = here.start(*SLURMSLICE, *RUN, "-a", "0-1%2", "--name", "h", "--shell", UNTIL_GO)
    until(lambda: here.counts("h").get("RUNNING") == 2, "two to run")
    started.send_signal(signal.SIGHUP)
    started.communicate(timeout=DEADLINE_S)
    assert started.returncode == 130
    assert here.counts("h") == {"WAITING": 2}


def test_nohup_outlives_its_terminal(here: Here) -> None:
    """``nohup slurmslice run … &`` ignores the hangup."""
    started = here.start(
        "nohup", *SLURMSLICE, *RUN, "-a", "0-1%2", "--name", "n", "--shell", UNTIL_GO
    )
    until(lambda: here.counts("n").get("RUNNING") == 2, "two to run")
    started.send_signal(signal.SIGHUP)
    (here.folder / "go").touch()
    started.communicate(timeout=DEADLINE_S)
    assert started.returncode == 0
    assert here.counts("n") == {"COMPLETED": 2}


def test_logs_are_found_by_key_and_followed(here: Here) -> None:
    """``logs KEY`` shows the newest attempt, ``-f`` goes on to its end, ``--task`` the task's."""
    text = f"echo began; {UNTIL_GO}; echo ended"
    started = here.start(*SLURMSLICE, *RUN, "-a", "7,9", "--name", "l", "--shell", text)
    until(lambda: "began" in here("logs", "l", "7").stdout, "the log to begin")
    follower = subprocess.Popen(
        [*SLURMSLICE, "logs", "-f", "l", "7"], cwd=here.folder, env=here.env,
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert follower.stdout is not None
    assert follower.stdout.readline() == "began\n"
    (here.folder / "go").touch()
    assert follower.communicate(timeout=DEADLINE_S)[0] == "ended\n"
    started.communicate(timeout=DEADLINE_S)
    assert "slurmslice end" in here("logs", "--task", "l", "9").stdout
    missing = here("logs", "l", "8")
    assert missing.returncode == 2
    assert "no slice '8'" in missing.stderr


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [0, 1, 2])
def test_kill_9_of_submit(here: Here, step: int, when: str) -> None:
    """Killed at each journal step, the same command continues: each slice runs once."""
    local = KILL.replace("engines import slurm", "engines.local import LocalEngine").replace(
        "slurm.SlurmEngine", "LocalEngine"
    )
    (here.folder / "kill.py").write_text(local)
    here(
        "render", "--engine", "local", "-a", "0-3", "--name", "k", "--shell", "echo x >>ran.$SLICE"
    )
    killed = here.start(sys.executable, "kill.py", str(step), when, "submit", "k")
    killed.communicate(timeout=DEADLINE_S)
    assert killed.returncode == -signal.SIGKILL
    done = here("run", "k")
    assert done.returncode == 0, done.stderr
    assert [(here.folder / f"ran.{key}").read_text() for key in range(4)] == ["x\n"] * 4


def test_auto_never_loads_a_login_node(here: Here) -> None:
    """If anything indicates a cluster and sbatch is missing, ``auto`` is an error."""
    here.env |= {"PATH": str(here.folder), "SLURM_CONF": "/nowhere/slurm.conf"}
    done = here("run", "-a", "0-1", "--", "true")
    assert done.returncode == 2
    assert "--engine local" in done.stderr
    assert not (here.folder / "slurmslice-runs").exists()


@pytest.mark.parametrize(
    "options", [("-N", "2"), ("--gres", "gpu:1"), ("-c", "4096"), ("--mem", "900T")]
)
def test_impossible_requests_are_refused(here: Here, options: tuple[str, ...]) -> None:
    """Several nodes, GPUs, too many CPUs or too much memory: exit code 2, nothing created."""
    done = here(*RUN, "-a", "0-1", *options, "--", "true")
    assert done.returncode == 2, done.stderr
    assert not (here.folder / "slurmslice-runs").exists()


def test_this_machine_has_no_sbatch_and_no_tick(here: Here) -> None:
    """``render`` ends with lines that work here; ``tick`` of an ended run has nothing to do."""
    made = here("render", "--engine", "local", "-a", "3-4", "--name", "r", "--", "echo", "{}")
    assert "sbatch" not in made.stderr
    by_hand = made.stderr.rstrip().rpartition("\n")[2].partition(":")[2]
    ran = subprocess.run(["bash", "-c", by_hand], cwd=here.folder, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "3\n")
    assert here("tick", "r").returncode == 2
    assert here("run", "r").returncode == 0
    assert here("tick", "r", "--exit-code").returncode == 0


REPAIRED = """
mkdir -p tries-$1
tries=$(ls tries-$1 | wc -l)
: > tries-$1/$tries
case $1-$tries in
  1-0) exec sleep 60;;
  2-0) exit 75;;
  3-*) exit 7;;
  4-*) exit 75;;
  5-*) head -c 50M /dev/zero | tail -c 50M >/dev/null & wait $!;;
esac
"""


@pytest.mark.parametrize("packed", [(), ("--pack", "5")], ids=["direct", "packed"])
def test_failures_are_repaired_by_cause(here: Here, packed: tuple[str, ...]) -> None:
    """More time or memory after a limit, again after exit 75, nothing after another exit."""
    (here.folder / "x.sh").write_text(REPAIRED)
    rules = ("--retry", "--on", "exit:70-79=again", "--max-attempts", "3")
    options = ("-a", "0-5", "-t", "0:01", "--mem", "24M", "--interval", "0.2", "--name", "r")
    done = here("run", "--engine", "local", *options, *rules, *packed,
                "--", "bash", "x.sh", "{}")  # fmt: skip
    assert done.returncode == 1, done.stderr
    slices = here.status("r")["slices"]
    assert [one["state"] for one in slices[:5]] == ["COMPLETED"] * 3 + ["FAILED"] * 2
    assert [one["attempt"] for one in slices[:5]] == [1, 2, 2, 1, 3]
    assert [one["time_limit_s"] for one in slices[:5]] == [1, 2, 1, 1, 1]
    assert [one["cause"] for one in slices[:5]] == [None, None, None, "exit:7", "exit:75"]
    # Without a cgroup of its own a slice may use more memory than it requests here.
    grown = slices[5]["state"], slices[5]["requested_mem_bytes"] >> 20
    assert grown == ("COMPLETED", 96 if os.geteuid() == 0 else 24)
    tries = [len(list((here.folder / f"tries-{key}").iterdir())) for key in range(5)]
    assert tries == [1, 2, 2, 1, 3]
    (told,) = noted(done.stderr, "attempts-left")
    assert {one["keys"]: one["cause"] for one in told["not_repaired"]} == {
        "3": "exit:7", "4": "exit:75",
    }  # fmt: skip


CONTINUED = """
n=$(cat "ck-$1" 2>&-) || n=0
echo "$n=$SLICE_CONTINUED" >>"said-$1"
[ "$1" = 3 ] || echo "$((n + 1))" >"ck-$1"
case $1-$n in
  1-[01] | 3-*) exit 85;;
  2-0) exec sleep 60;;
esac
"""


@pytest.mark.parametrize(
    "form", [(), ("--pack", "2"), ("--pack", "4", "--at-once", "2"), ("--column", "x={{ slice }}")]
)
def test_slices_continue_from_their_checkpoints(here: Here, form: tuple[str, ...]) -> None:
    """After a time limit and an exit code, in every form, while the checkpoint changes."""
    (here.folder / "x.sh").write_text(CONTINUED)
    rule = ("--continue-on", "timeout,exit:85", "--checkpoint", "ck-{}", "--interval", "0.2")
    done = here("run", "--engine", "local", "-a", "0-3", "-t", "0:01", "--name", "r", *rule, *form,
                "--", "bash", "x.sh", "{}")  # fmt: skip
    assert done.returncode == 1, done.stderr
    slices = here.status("r")["slices"]
    assert [one["state"] for one in slices] == ["COMPLETED"] * 3 + ["FAILED"]
    assert [one["continued"] for one in slices] == [0, 2, 1, 0]
    assert [one["attempt"] for one in slices] == [1, 3, 2, 1]
    said = [(here.folder / f"said-{key}").read_text().split() for key in range(4)]
    assert said == [["0=0"], ["0=0", "1=1", "2=2"], ["0=0", "1=1"], ["0=0"]]


@pytest.mark.parametrize("stays_away", [False, True], ids=["comes back", "stays away"])
def test_after_many_failures_three_slices_are_tried(here: Here, stays_away: bool) -> None:
    """The run goes on if they are done; else it is held."""
    back = "" if stays_away else "[ -e paused ] ||"
    paused = """grep -q '"probe": "[0-9]' slurmslice-runs/r/journal.jsonl && : >paused"""
    work = f'[ "$SLICE" -lt 5 ] || {{ {paused}; {back} exit 1; }}'
    line = ("--throttle", "1", "--interval", "0.1", "--name", "r")
    ran = here("run", "--engine", "local", "-a", "0-199", *line, "--shell", work)
    assert ran.returncode == (6 if stays_away else 1), ran.stderr
    assert len(noted(ran.stderr, "run-paused")) == 1
    assert len(noted(ran.stderr, "probe-done")) == (not stays_away)
    counts = here.status("r")["counts"]
    assert counts["FAILED"] < 199
    assert ("WAITING" in counts) is stays_away


def test_a_held_run_tells_one_story(here: Here) -> None:
    """After --max-failures, every command has the same states and the same reason."""
    held = """grep -q '"held"' slurmslice-runs/r/journal.jsonl"""
    work = f'[ "$SLICE" -gt 0 ] || exit 1; until {held}; do sleep 0.02; done'
    line = ("--throttle", "1", "--max-failures", "1", "--interval", "0.1")
    ran = here("run", "--engine", "local", "-a", "0-199", "--name", "r", *line, "--shell", work)
    assert ran.returncode == 6, ran.stderr
    slices = here.status("r")["slices"]
    waiting = [one for one in slices if one["state"] == "WAITING"]
    assert {one["state"] for one in slices} <= {"FAILED", "COMPLETED", "WAITING"}
    assert waiting
    for verb in ("status", "watch", "run"):
        assert here(verb, "r").stdout == ran.stdout
    assert {one["reason"].partition(":")[0] for one in waiting} == {"held"}
    again = here("resubmit", "r")
    assert not noted(again.stderr, "other-process-works")
    assert noted(again.stderr, "resubmitted-but-held") == [{"slices": 1}]
    assert [one.code for one in notes_in(again.stderr)][-1] == "next-step"
