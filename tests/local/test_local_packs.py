"""Packed runs on this machine, from the command line: each slice has its own result."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

from slurmslice.script.source_line import find_source_line
from tests.cluster.test_main_job_on_cluster import UNTIL_GO
from tests.local.test_local_runs import DEADLINE_S, RUN, Here, here, until
from tests.support.commands import SLURMSLICE
from tests.support.errors import error_code
from tests.support.notes import noted

__all__ = ["here"]

WORK = """\
echo x >>"ran.$SLICE"; echo "slice $SLICE"
[ -e mended ] && exit 0
case $SLICE in 3|7) exit 5;; 5) kill -9 $BASHPID;; 9) sleep 60;; esac
"""


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_each_slice_of_a_pack_has_its_own_exit(here: Here, at_once: str) -> None:
    """State, log, exit code, time limit and resubmission belong to one slice; the pack goes on."""
    command = (*RUN, "-a", "0-19", "--name", "p", "--pack", "6", "--at-once", at_once, "-t", "0:02",
               "--shell", WORK)  # fmt: skip
    ran = here(*command)
    assert ran.returncode == 1, ran.stderr
    slices = {s["key"]: s for s in here.status("p")["slices"]}
    states = Counter(s["state"] for s in slices.values())
    assert states == {"COMPLETED": 16, "FAILED": 3, "TIMEOUT": 1}
    assert [slices[key]["exit_code"] for key in ("3", "5", "7")] == [5, 137, 5]
    assert slices["5"]["exit_code"] == 137
    assert slices["9"]["state"] == "TIMEOUT"
    assert 2 <= slices["9"]["elapsed_s"] < 60
    assert all(one["elapsed_s"] > 0 and one["cpu_s"] >= 0 for one in slices.values())
    assert {one["max_rss_bytes"] for one in slices.values()} == {None}
    assert here("status", "p", "--slices").stdout.count("not measured") == 20  # the memory
    assert here("logs", "p", "8").stdout == "slice 8\n"
    (here.folder / "mended").touch()
    again = here("resubmit", "p")
    assert again.returncode == 0, again.stderr
    assert here.counts("p") == {"COMPLETED": 20}
    runs = {key: (here.folder / f"ran.{key}").read_text().count("x") for key in slices}
    assert runs == {key: 2 if key in ("3", "5", "7", "9") else 1 for key in slices}


def test_an_interrupted_pack_keeps_completed_slices(here: Here) -> None:
    """After Ctrl-C completed slices stay completed; the others wait, and run once more."""
    shell = f"echo x >>ran.$SLICE; [ $SLICE -lt 4 ] || {{ {UNTIL_GO}; }}"
    command = [*SLURMSLICE, *RUN, "-a", "0-11%2", "--name", "i", "--pack", "6", "--shell", shell]
    started = here.start(*command)
    # striped: one task has the even slices, the other the odd ones
    until(lambda: here.counts("i").get("COMPLETED") == 4, "four to be done")
    until(lambda: here.counts("i").get("RUNNING") == 2, "the next two to run")
    started.send_signal(signal.SIGINT)
    assert started.wait(DEADLINE_S) == 130
    assert here.counts("i") == {"COMPLETED": 4, "WAITING": 8}
    (here.folder / "go").touch()
    done = here("run", "i")
    assert done.returncode == 0, done.stderr
    runs = [(here.folder / f"ran.{key}").read_text().count("x") for key in range(12)]
    assert runs == [1] * 4 + [2, 2] + [1] * 6


@pytest.mark.parametrize("at_once", ["1", "2"])
def test_a_slice_of_a_pack_is_cancelled_alone(here: Here, at_once: str) -> None:
    """By another process: a running slice ends, a later one never begins, the others go on."""
    shell = f"echo x >>ran.$SLICE; [ $SLICE = 0 ] || {{ {UNTIL_GO}; }}"
    command = [*SLURMSLICE, *RUN, "-a", "0-5", "--name", "c", "--pack", "6", "--at-once", at_once,
               "--shell", shell]  # fmt: skip
    started = here.start(*command)
    until(lambda: here.counts("c").get("COMPLETED") == 1, "the first to be done")
    until((here.folder / "ran.1").exists, "the second to run")
    cancelled = here("cancel", "c", "0", "1", "4")
    assert cancelled.returncode == 0, cancelled.stderr
    until(lambda: here.counts("c").get("CANCELLED") == 2, "both to be cancelled")
    (here.folder / "go").touch()
    assert started.wait(DEADLINE_S) == 1
    slices = {one["key"]: one for one in here.status("c")["slices"]}
    assert here.counts("c") == {"COMPLETED": 4, "CANCELLED": 2}
    assert [slices[key]["exit_code"] for key in "0145"] == [0, 143, None, 0]
    assert not (here.folder / "ran.4").exists()
    again = here("resubmit", "c", "--state", "CANCELLED")
    assert again.returncode == 0, again.stderr
    assert here.counts("c") == {"COMPLETED": 6}


def test_automatic_packs_take_a_quarter_of_an_hour(here: Here) -> None:
    """--pack auto: by --slice-time, else by an earlier run of the same command."""
    words = ("--", "sleep", "{}")
    given = here("render", "--engine", "local", "-a", "0-99", "--name", "a", "--pack", "auto",
                "--slice-time", "1:30", *words)  # fmt: skip
    assert given.returncode == 0, given.stderr
    assert " pack=10 " in (here.folder / "slurmslice-runs/a/script.sh").read_text()
    unknown = here("render", "--engine", "local", "-a", "0-99", "--name", "b", "--pack", "auto",
                   "--", "true", "{}")  # fmt: skip
    assert (unknown.returncode, error_code(unknown.stderr)) == (2, "unknown-slice-time")
    assert "--slice-time" in unknown.stderr
    assert here(*RUN, "-a", "1", "--name", "few", *words).returncode == 0
    measured = here("render", "--engine", "local", "-a", "1-9999", "--name", "c", "--pack", "auto",
                    *words)  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    assert [one["seconds"] >= 1 for one in noted(measured.stderr, "slice-time")] == [True]
    line = find_source_line((here.folder / "slurmslice-runs/c/script.sh").read_text())
    assert line is not None
    assert 100 < line.pack <= 900


@pytest.mark.parametrize(
    ("arguments", "code", "option"),
    [
        (("--pack", "x"), "bad-number", "--pack"),
        (("--pack", "0"), "bad-number", "--pack"),
        (("--at-once", "2"), "at-once-exceeds-pack", "--at-once"),
        (("--pack", "4", "-N", "2"), "options-conflict", "--nodes"),
        (("--pack", "4", "--at-once", "2", "--throttle", "1"), "throttle-below-at-once", "1"),
        (("--pack", "4", "--slice-time", "1"), "option-needs-another", "--slice-time"),
    ],
)
def test_the_reason_is_shown_if_slices_cannot_be_packed(
    here: Here, arguments: tuple[str, ...], code: str, option: str
) -> None:
    """One error, exit 2, and no run directory."""
    done = here("render", "--engine", "local", "-a", "0-9", *arguments, "--", "true", "{}")
    assert (done.returncode, error_code(done.stderr)) == (2, code)
    assert option in done.stderr
    assert not (here.folder / "slurmslice-runs").exists()
