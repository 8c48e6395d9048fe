"""The Slurm engine with fake Slurm programs: its commands, and its results without answers."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from slurmslice.engines.protocol import TaskLimits
from slurmslice.engines.slurm import (
    SlurmEngine,
    account_limits,
    capacity,
    cluster_records,
    commands,
)
from slurmslice.errors import EngineError, NoAnswerError, UnusableSlurmError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.observation import Observation, SourceAnswer
from slurmslice.status.states import State
from slurmslice.system.shell_quoting import quote
from tests.recorded import calls, load, program, replay, seen_environment
from tests.support.errors import check_error, raises_error
from tests.support.requested import a_request
from tests.unit.engines.test_sbatch_result import an_order

CORR = [JobIdentity("2", "corr|x-k7m2")]


@pytest.fixture
def slurm(tmp_path: Path) -> SlurmEngine:
    """Make an engine; a test puts its programs into ``tmp_path``."""
    return SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURMSLICE_ASK_TIMEOUT": "5"})


def poll_once(engine: SlurmEngine, *jobs: JobIdentity) -> Observation:
    """Poll these jobs, or the recorded job."""
    return engine.observe(jobs or CORR)


# -- the configuration -----------------------------------------------------------------------


QUESTIONS: dict[str, Callable[[SlurmEngine], object]] = {
    "cluster": lambda slurm: slurm.cluster(),
    "health": lambda slurm: slurm.cluster_health(),
    "limits": lambda slurm: slurm.limits(a_request()),
    "queue": poll_once,
    "cancel": lambda slurm: slurm.cancel(JobIdentity("2", "x-k7m2"), None),
}


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("path", ["/no/such/file", "", "/"])
def test_no_command_waits_for_a_missing_configuration(
    tmp_path: Path, path: str, question: str
) -> None:
    """Each of Slurm's commands would wait 60 s for the file of SLURM_CONF."""
    for name in ("scontrol", "sacct", "squeue", "sinfo"):
        program(tmp_path, name, "exit 1")
    slurm = SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CONF": path})
    if question == "queue":
        assert "SLURM_CONF" in poll_once(slurm).queue.silence
    else:
        with raises_error(UnusableSlurmError, "slurm-conf-missing", path=path):
            QUESTIONS[question](slurm)
    assert slurm.lasting_fault
    assert not list(tmp_path.glob("*.calls"))


def test_a_configuration_that_disappears_later_is_waited_for(tmp_path: Path) -> None:
    """Its file system may return; a run is followed until then."""
    path = tmp_path / "slurm.conf"
    path.touch()
    slurm = SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CONF": str(path)})
    replay(tmp_path, "sacct", "sacct-many")
    replay(tmp_path, "squeue", "squeue-many")
    assert poll_once(slurm).queue.answered
    path.unlink()
    assert "SLURM_CONF" in poll_once(slurm).queue.silence
    path.touch()
    assert poll_once(slurm).queue.answered


# -- commands that can never answer ------------------------------------------------------------


UNUSABLE = {
    "own options": (
        "for a; do case $a in --Format*|--states=all) "
        'echo "rc-squeue: error: unrecognized arguments: $a" >&2; exit 2;; esac; done'
    ),
    "usage": "echo 'Usage: squeue [-u USER]'; exit 1",
    "getopt": "echo \"squeue: unrecognized option '--Format'\" >&2; exit 1",
    "fields": "echo 'squeue: error: Invalid job format specification: exit_code' >&2; exit 1",
    "wrapper": "exec /no/such/squeue",
}


@pytest.mark.parametrize("case", UNUSABLE)
def test_a_squeue_that_cannot_answer_is_a_lasting_fault(
    slurm: SlurmEngine, tmp_path: Path, case: str
) -> None:
    """The fault names the program's path. A poll itself is only without an answer."""
    replay(tmp_path, "sacct", "sacct-many")
    program(tmp_path, "squeue", UNUSABLE[case])
    assert not poll_once(slurm).queue.answered
    path = str(tmp_path / "squeue")
    check_error(slurm.lasting_fault, "slurm-command-unusable", command="squeue", path=path)
    assert path in str(slurm.lasting_fault)


@pytest.mark.parametrize(
    "said",
    [
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "slurm_load_jobs error: Invalid job id specified",
        "squeue: error: Zero Bytes were transmitted or received",
        "",
    ],
)
def test_a_slurm_in_trouble_is_no_lasting_fault(
    slurm: SlurmEngine, tmp_path: Path, said: str
) -> None:
    """Waiting cures it."""
    program(tmp_path, "squeue", f"echo '{said}' >&2; exit 1")
    program(tmp_path, "sacct", "exit 1")
    assert not poll_once(slurm).accounting.answered
    assert slurm.lasting_fault is None


@pytest.mark.parametrize("question", ["cluster", "cancel", "queue"])
def test_a_missing_command_is_a_lasting_fault(tmp_path: Path, question: str) -> None:
    """Slurm is not here, or only a part of it."""
    slurm = SlurmEngine({"PATH": str(tmp_path)})
    with contextlib.suppress(NoAnswerError):
        QUESTIONS[question](slurm)
    check_error(slurm.lasting_fault, "slurm-command-not-found", path=None)


def test_a_missing_sbatch_is_a_lasting_fault(tmp_path: Path) -> None:
    """The other commands are there. A broken one is named by its path."""
    program(tmp_path, "scontrol", "echo 'MaxArraySize = 9'")
    slurm = SlurmEngine({"PATH": str(tmp_path)})
    slurm.cluster()
    with pytest.raises(EngineError):
        slurm.submit(an_order(tmp_path))
    check_error(slurm.lasting_fault, "slurm-command-not-found", command="sbatch")
    (tmp_path / "sbatch").write_text("#!/no/such/interpreter\n")
    (tmp_path / "sbatch").chmod(0o755)
    with pytest.raises(EngineError):
        slurm.submit(an_order(tmp_path))
    path = str(tmp_path / "sbatch")
    check_error(slurm.lasting_fault, "slurm-command-unusable", command="sbatch", path=path)


def test_commands_that_disappear_together_are_waited_for(
    slurm: SlurmEngine, tmp_path: Path
) -> None:
    """Their file system is away, and may return."""
    replay(tmp_path, "sacct", "sacct-many")
    replay(tmp_path, "squeue", "squeue-many")
    assert poll_once(slurm).queue.answered
    (tmp_path / "squeue").rename(tmp_path / "away")
    assert not poll_once(slurm).queue.answered
    with pytest.raises(NoAnswerError):
        slurm.cluster()
    assert slurm.lasting_fault is None


def test_a_silent_controller_is_asked_once_by_a_command(slurm: SlurmEngine, tmp_path: Path) -> None:
    """scontrol waits for a minute before it gives up."""
    program(tmp_path, "scontrol", "exit 1")
    for question in ("cluster", "health", "limits", "cluster"):
        with pytest.raises(NoAnswerError):
            QUESTIONS[question](slurm)
    assert calls(tmp_path, "scontrol") == ["show config"]


# -- observe ---------------------------------------------------------------------------------


def test_a_poll_runs_one_sacct_and_one_squeue(slurm: SlurmEngine, tmp_path: Path) -> None:
    """For any number of jobs (promise 8); sacct runs first, and squeue omits ended jobs."""
    program(tmp_path, "sacct", f"date +%s%N >{tmp_path}/sacct.at")
    program(tmp_path, "squeue", f"date +%s%N >{tmp_path}/squeue.at")
    seen = poll_once(slurm, JobIdentity("2", "a"), JobIdentity("3", "b"), JobIdentity("4", "c"))
    assert seen.accounting.answered
    assert seen.queue.answered
    (sacct,), (squeue,) = calls(tmp_path, "sacct"), calls(tmp_path, "squeue")
    assert sacct.endswith("-X --jobs 2,3,4")
    assert squeue.endswith("--jobs 2,3,4")
    assert "--states" not in squeue
    moments = [int((tmp_path / f"{name}.at").read_text()) for name in ("sacct", "squeue")]
    assert moments == sorted(moments)
    assert seen_environment(tmp_path, "sacct")["SLURM_TIME_FORMAT"] == "%s"


def test_no_jobs_run_no_commands(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Without jobs or tasks no command runs, and there is no error."""
    for name in ("sacct", "squeue", "scancel"):
        program(tmp_path, name, "exit 1")
    assert slurm.observe([]) == Observation(SourceAnswer(), SourceAnswer())
    assert slurm.fetch_job_steps([], []) == {}
    slurm.cancel(JobIdentity("2", "x-k7m2"), [])
    assert [calls(tmp_path, name) for name in ("sacct", "squeue", "scancel")] == [[], [], []]


def test_both_sources_are_returned_unchanged(slurm: SlurmEngine, tmp_path: Path) -> None:
    """The engine does not decide between accounting and the queue."""
    replay(tmp_path, "sacct", "sacct-many")
    replay(tmp_path, "squeue", "squeue-many")
    seen = poll_once(slurm)
    assert seen.accounting.reports["2", 1].state is State.FAILED
    assert set(seen.queue.reports) == {("2", 2), ("2", 4), ("2", 6)}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("exit 1", "exit 1"),
        ("echo 'sacct: error: Problem talking to the database' >&2; exit 1", "database"),
        ("echo garbage; exit 0", "garbage"),
        ("kill -9 $$", "exit -9"),
        ("sleep 30", "in time"),
    ],
)
def test_a_failed_command_gives_no_reports(tmp_path: Path, body: str, says: str) -> None:
    """An error, a timeout or garbage gives a reason and no reports (promise 5)."""
    slurm = SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURMSLICE_ASK_TIMEOUT": "0.3"})
    program(tmp_path, "sacct", body)
    replay(tmp_path, "squeue", "squeue-ended")
    seen = poll_once(slurm)
    assert says in seen.accounting.silence
    assert (seen.accounting.reports, seen.accounting.off) == ({}, False)
    assert "--states=all" in calls(tmp_path, "squeue")[0]
    assert seen.queue.reports["2", 1].exit_code == 3
    program(tmp_path, "squeue", body)
    again = poll_once(slurm)
    assert says in again.queue.silence
    assert again.queue.reports == {}


def test_missing_commands_give_no_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Slurm's commands there are no reports, and a hint names the module to load."""
    monkeypatch.setenv("PATH", str(tmp_path))
    seen = poll_once(SlurmEngine({"PATH": str(tmp_path)}))
    assert "sacct" in seen.accounting.silence
    assert "squeue" in seen.queue.silence
    missing = {"code": "slurm-command-not-found", "command": "scontrol"}
    with raises_error(NoAnswerError, **missing) as caught:
        SlurmEngine({"PATH": str(tmp_path)}).cluster()
    assert "slurm module" in caught.value.hint


def test_disabled_accounting_is_asked_only_once(slurm: SlurmEngine, tmp_path: Path) -> None:
    """sacct runs once; ended tasks come from the queue, as long as it remembers them."""
    replay(tmp_path, "sacct", "sacct-off")
    replay(tmp_path, "squeue", "squeue-ended")
    for _ in range(2):
        seen = poll_once(slurm)
        assert seen.accounting.off
        assert not seen.accounting.answered
        assert seen.queue.reports["2", 3].state is State.OUT_OF_MEMORY
    assert len(calls(tmp_path, "sacct")) == 1
    assert all("--states=all" in call for call in calls(tmp_path, "squeue"))


def test_a_job_forgotten_by_the_controller(slurm: SlurmEngine, tmp_path: Path) -> None:
    """An unknown id is an answer if squeue was asked about this job only."""
    replay(tmp_path, "sacct", "sacct-unknown")
    replay(tmp_path, "squeue", "squeue-one-unknown")
    alone = poll_once(slurm, JobIdentity("987654", "x"))
    assert alone.queue.answered
    assert alone.queue.reports == {}
    assert not poll_once(slurm, JobIdentity("987654", "x"), JobIdentity("3", "y")).queue.answered


# -- find ------------------------------------------------------------------------------------


def find_job_id(engine: SlurmEngine, token: str, since: float = 0) -> str | None:
    """Find the job id of a token."""
    sighting = engine.find_job(token, f"demo-{token}", since)
    return sighting.job if sighting else None


def test_the_queue_is_searched_before_accounting(slurm: SlurmEngine, tmp_path: Path) -> None:
    """The queue knows held and dependent jobs, accounting knows jobs that ended long ago."""
    replay(tmp_path, "squeue", "squeue-many")
    replay(tmp_path, "scontrol", "config")
    replay(tmp_path, "sacct", "sacct-node-failed")
    assert find_job_id(slurm, "f7y5") == "7"
    assert calls(tmp_path, "sacct") == []
    assert find_job_id(slurm, "k3p1") == "28"
    (asked,) = calls(tmp_path, "sacct")
    assert f"--uid {os.getuid()}" in asked
    assert asked.endswith("--name demo-k3p1")
    assert f"--user {os.getuid()}" in calls(tmp_path, "squeue")[0]
    assert "--states=all" in calls(tmp_path, "squeue")[0]
    assert find_job_id(slurm, "zzzz") is None


def test_a_refused_submission_is_not_found(slurm: SlurmEngine, tmp_path: Path) -> None:
    """A refused submission leaves a record in both sources, but it was not accepted."""
    replay(tmp_path, "squeue", "squeue-ghost")
    replay(tmp_path, "scontrol", "config")
    replay(tmp_path, "sacct", "sacct-ghost")
    assert find_job_id(slurm, "m5s8") is None


def test_finding_a_job_needs_the_queue(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Without the queue, absence means nothing: an error prevents a second job (promise 4)."""
    replay(tmp_path, "squeue", "squeue-controller-down")
    replay(tmp_path, "sacct", "sacct-unknown")
    with raises_error(NoAnswerError, "no-answer", command="squeue"):
        find_job_id(slurm, "k3p1")


def test_without_accounting_a_fresh_job_is_searched_in_the_queue(
    slurm: SlurmEngine, tmp_path: Path
) -> None:
    """A fresh submission would still be in the queue; an old one may have left it."""
    replay(tmp_path, "squeue", "squeue-many")
    replay(tmp_path, "scontrol", "config")
    replay(tmp_path, "sacct", "sacct-database-down")
    assert find_job_id(slurm, "zzzz", time.time() - 5) is None
    with raises_error(NoAnswerError, "no-answer", command="sacct"):
        find_job_id(slurm, "zzzz", time.time() - 3600)
    replay(tmp_path, "sacct", "sacct-off")
    (tmp_path / "sacct.calls").unlink()
    assert [find_job_id(slurm, "zzzz", 0), find_job_id(slurm, "zzzz", 0)] == [None, None]
    assert len(calls(tmp_path, "sacct")) == 1


def test_names_changed_by_accounting_are_not_queried() -> None:
    """Commas separate names and quotes are replaced, so all jobs of the user are queried."""
    assert commands.sacct_by_name("a b-k7", 7, 0)[-2:] == ("--name", "a b-k7")
    for name in ("a,b-k7", 'a"b-k7', "é-k7", "a\nb-k7", ""):
        assert "--name" not in commands.sacct_by_name(name, 7, 0)


# -- cancel and throttle ---------------------------------------------------------------------


def test_scancel_gets_ranges_without_steps(slurm: SlurmEngine, tmp_path: Path) -> None:
    """scancel cannot read steps (recorded); the whole array is named by its id."""
    for name in ("squeue", "scancel"):
        program(tmp_path, name, "exit 0")
    slurm.cancel(JobIdentity("9", "x-k7m2"), None)
    slurm.cancel(JobIdentity("9", "x-k7m2"), [5, 3, 4, 0, 7, 14, 21])
    slurm.cancel(JobIdentity("9", "x-k7m2"), range(0, 2000, 2))
    whole, some, many = calls(tmp_path, "scancel")
    assert (whole, some) == ("9", "9_[0,3-5,7,14,21]")
    assert load("scancel-steps").done.returncode == 1
    words = many.split(" ")
    assert max(map(len, words)) < 1020
    parts = [word.removeprefix("9_[").removesuffix("]") for word in words]
    assert [int(n) for part in parts for n in part.split(",")] == list(range(0, 2000, 2))


def test_only_running_tasks_hear_of_cancelled_slices(slurm: SlurmEngine, tmp_path: Path) -> None:
    """scancel repeats the signal to others for more than a minute (seen). Programs ignore URG."""
    tasks = {"[3-7%2]": "PENDING", "0": "RUNNING", "1": "RUNNING", "2": "COMPLETING"}
    lines = [f"9_{index}|{state}|0|1|N/A|N/A|0|n1|None|x-k7m2|" for index, state in tasks.items()]
    program(tmp_path, "squeue", "printf '%s\\n' " + " ".join(f"'{line}'" for line in lines))
    program(tmp_path, "scancel", "exit 0")
    slurm.announce_cancelled(JobIdentity("9", "x-k7m2"), [0, 2, 3, 4])
    slurm.announce_cancelled(JobIdentity("9", "x-k7m2"), [2, 5])
    slurm.announce_cancelled(JobIdentity("9", "another"), [0])
    assert calls(tmp_path, "scancel") == [f"--signal={signal.SIGURG.value} --batch 9_[0]"]


@pytest.mark.parametrize(
    "name", ["scancel-ended", "scancel-unknown", "throttle-unknown", "throttle-ended", "throttle"]
)
def test_ended_tasks_are_no_error(slurm: SlurmEngine, tmp_path: Path, name: str) -> None:
    """A task that ended in the meantime was to end anyway."""
    for program_name in ("scancel", "scontrol"):
        replay(tmp_path, program_name, name)
    program(tmp_path, "squeue", "echo 'error: Invalid job id specified' >&2; exit 1")
    slurm.cancel(JobIdentity("9", "x-k7m2"), [0, 2])
    slurm.throttle(JobIdentity("9", "x-k7m2"), 3)
    assert calls(tmp_path, "scontrol") == ["update JobId=9 ArrayTaskThrottle=3"]
    slurm.throttle(JobIdentity("9", "x-k7m2"), None)
    assert calls(tmp_path, "scontrol")[1] == "update JobId=9 ArrayTaskThrottle=0"


def test_a_refused_command_and_an_outage_are_different_errors(
    slurm: SlurmEngine, tmp_path: Path
) -> None:
    """A refusal holds Slurm's text; an outage is ``NoAnswerError``, and may be tried again."""
    program(tmp_path, "squeue", "exit 0")
    replay(tmp_path, "scancel", "scancel-denied")
    with raises_error(EngineError, "slurm-error", command="scancel") as caught:
        slurm.cancel(JobIdentity("9", "x-k7m2"), None)
    assert load("scancel-denied").done.stderr.strip() in str(caught.value.fields["said"])
    assert not isinstance(caught.value, NoAnswerError)
    replay(tmp_path, "scancel", "scancel-controller-down")
    with raises_error(NoAnswerError, "no-answer", command="scancel"):
        slurm.cancel(JobIdentity("9", "x-k7m2"), None)


def test_messages_of_an_outage_become_one_line(slurm: SlurmEngine, tmp_path: Path) -> None:
    """The line is shown beside each slice, with a hint for the user."""
    line = "scontrol: error: "
    words = f"{line}If munged is up, wait\n{line}If munged is up, wait\n{line}Munge encode failed"
    program(tmp_path, "scontrol", f"echo '{words}' >&2; exit 1")
    said = "If munged is up, wait; Munge encode failed"
    with raises_error(NoAnswerError, "no-answer", command="scontrol", said=said) as caught:
        slurm.cluster()
    assert caught.value.hint


CONTROLS: list[Callable[[SlurmEngine, str], None]] = [
    lambda slurm, name: slurm.cancel(JobIdentity("2", name), None),
    lambda slurm, name: slurm.cancel(JobIdentity("2", name), [1]),
    lambda slurm, name: slurm.throttle(JobIdentity("2", name), 3),
    lambda slurm, name: slurm.hold(JobIdentity("2", name)),
    lambda slurm, name: slurm.release(JobIdentity("2", name)),
]


@pytest.mark.parametrize("control", CONTROLS)
def test_another_job_with_our_id_is_left_alone(
    slurm: SlurmEngine, tmp_path: Path, control: Callable[[SlurmEngine, str], None]
) -> None:
    """A command is sent if the id is ours or unknown, not if it has only another name."""
    for name in ("scancel", "scontrol"):
        program(tmp_path, name, "exit 0")
    replay(tmp_path, "squeue", "squeue-many")
    control(slurm, "corr|x-0000")
    sent = [*calls(tmp_path, "scancel"), *calls(tmp_path, "scontrol")]
    assert sent == []
    assert calls(tmp_path, "squeue")[0].endswith("--jobs 2")
    control(slurm, "corr|x-k7m2")
    program(tmp_path, "squeue", "exit 0")
    control(slurm, "corr|x-0000")
    sent = [*calls(tmp_path, "scancel"), *calls(tmp_path, "scontrol")]
    assert len(sent) == 2


@pytest.mark.parametrize("control", CONTROLS)
def test_no_control_without_an_answer_of_the_queue(
    slurm: SlurmEngine, tmp_path: Path, control: Callable[[SlurmEngine, str], None]
) -> None:
    """Without a complete answer of the queue, the id might belong to another job."""
    for name in ("scancel", "scontrol"):
        program(tmp_path, name, "exit 0")
    for body in ("echo 'Unable to contact slurm controller' >&2; exit 1", "echo half"):
        program(tmp_path, "squeue", body)
        with pytest.raises(NoAnswerError):
            control(slurm, "corr|x-k7m2")
    assert [calls(tmp_path, name) for name in ("scancel", "scontrol")] == [[], []]


def test_steps_are_queried_by_task(slurm: SlurmEngine, tmp_path: Path) -> None:
    """One sacct for these tasks with their steps; an array with many tasks is queried whole."""
    replay(tmp_path, "sacct", "sacct-steps")
    tasks = [("2", 4), ("2", 6), *(("3", index) for index in range(300))]
    find_job_id = slurm.fetch_job_steps([*CORR, JobIdentity("3", "x")], tasks)
    assert find_job_id["2", 4].max_rss_bytes == 69865472
    (asked,) = calls(tmp_path, "sacct")
    assert asked.endswith("--jobs 2_4,2_6,3")
    assert " -X" not in asked


@pytest.mark.parametrize(
    ("config", "interval"),
    [
        ("JobAcctGatherFrequency = 1", 1),
        ("JobAcctGatherFrequency = task=15,energy=60", 15),
        ("", 30),
    ],
)
def test_reports_have_the_interval_of_the_measurements(
    slurm: SlurmEngine, tmp_path: Path, config: str, interval: float
) -> None:
    """It is a setting of the cluster; without an answer it is Slurm's default."""
    replay(tmp_path, "sacct", "sacct-steps")
    answer = f"printf '%s\\n' 'MaxArraySize = 9' {quote(config)}" if config else "exit 1"
    program(tmp_path, "scontrol", answer)
    reports = slurm.fetch_job_steps(CORR, [("2", 4)])
    assert {report.sampling_s for report in reports.values()} == {interval}


def test_very_many_steps_are_queried_in_parts(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Each command names a few thousand tasks, so no answer fills the memory."""
    program(tmp_path, "sacct", "exit 0")
    tasks = [(str(job), index) for job in range(10) for index in range(1000)]
    assert slurm.fetch_job_steps([JobIdentity(str(job), "x") for job in range(10)], tasks) == {}
    asked = [call.rpartition(" ")[2].split(",") for call in calls(tmp_path, "sacct")]
    assert asked == [["0", "1", "2", "3", "4"], ["5", "6", "7", "8", "9"]]


def test_sacct_gets_the_cluster_as_an_option(tmp_path: Path) -> None:
    """squeue and other commands read SLURM_CLUSTERS, sacct does not (sacct(1))."""
    program(tmp_path, "sacct", "exit 0")
    program(tmp_path, "squeue", "exit 0")
    poll_once(SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_CLUSTERS": "halo"}))
    assert calls(tmp_path, "sacct")[0].startswith("--clusters halo ")
    assert seen_environment(tmp_path, "squeue")["SLURM_CLUSTERS"] == "halo"


# -- limits ----------------------------------------------------------------------------------


@pytest.fixture
def halo(slurm: SlurmEngine, tmp_path: Path) -> SlurmEngine:
    """Make an engine on the recorded cluster: 4 nodes of 4 CPUs and 4000 MiB, 100 MiB per CPU."""
    (tmp_path / "config").write_text(load("config").text)
    (tmp_path / "partitions").write_text(load("partitions").text)
    program(
        tmp_path, "scontrol", f'cat "{tmp_path}/${{@: -1}}s" 2>/dev/null || cat "{tmp_path}/config"'
    )
    replay(tmp_path, "sinfo", "sinfo-busy")
    program(tmp_path, "sacctmgr", "exit 1")
    return slurm


@pytest.mark.parametrize(
    ("options", "asked", "at_once"),
    [
        ((), a_request(), 16),
        ((), a_request(cpus=3), 4),
        ((), a_request(cpus=5), 0),
        ((), a_request(mem_mib=1500), 8),
        ((), a_request(mem_mib=4001), 0),
        ((("nodes", "2"),), a_request(cpus=8), 2),
        ((("exclusive", ""),), a_request(), 4),
        ((("mem", "0"),), a_request(), 4),
        ((), a_request(partition="short,main"), 16),
    ],
)
def test_tasks_at_once_by_nodes(
    halo: SlurmEngine, options: tuple[tuple[str, str], ...], asked: ResourceRequest, at_once: int
) -> None:
    """The count is the sum over usable nodes, by CPUs and by memory."""
    asked = ResourceRequest.of((*asked.options, *options))
    limits = halo.limits(asked)
    assert (limits.max_array_size, limits.at_once) == (1001, at_once)
    assert f"{at_once} fit into" in limits.why


def test_only_usable_nodes_of_the_partition_count(halo: SlurmEngine, tmp_path: Path) -> None:
    """Idle CPUs of nodes in maintenance and of other partitions are not counted."""
    states = {"n1": "idle", "n2": "maint", "n3": "idle*", "n4": "mixed"}
    lines = [f"{name}|main*|{state}|0/4/0/4|4000|0|" for name, state in states.items()]
    lines += ["n1|short|idle|0/4/0/4|4000|0|", "n5|short|idle|0/8/0/8|4000|0|"]
    program(tmp_path, "sinfo", f"echo '{chr(10).join(lines)}'")
    assert halo.limits(a_request()).at_once == 8
    assert halo.limits(a_request(partition="short")).at_once == 12
    assert halo.limits(a_request(partition="short,main")).at_once == 16


@pytest.mark.parametrize(
    ("nodes", "begins_at"), [("node[1-4]", 2000), ("node1,node2,node3", None), ("", None)]
)
def test_the_next_maintenance_of_all_nodes(
    halo: SlurmEngine, tmp_path: Path, nodes: str, begins_at: int | None
) -> None:
    """While one node is left, tasks can run there."""
    (tmp_path / "node[1-4]s").write_text("node1\nnode2\nnode3\nnode4\n")
    (tmp_path / "reservations").write_text(
        f"ReservationName=r StartTime=2000 Nodes={nodes} Flags=MAINT\n" if nodes else "none\n"
    )
    assert halo.limits(a_request()).maintenance_at == begins_at


def test_no_guess_without_a_count(halo: SlurmEngine, tmp_path: Path) -> None:
    """GPUs, an unknown partition, no sinfo: only MaxArraySize and the reason are returned."""
    assert halo.limits(a_request(options=(("gres", "gpu:1"),))) == TaskLimits(
        1001, None, "GPUs are not counted", node_mem_mib=4000, nodes=4
    )
    assert halo.limits(a_request(options=(("gres", "disk:1"),))).at_once == 16
    assert halo.limits(a_request(partition="nope")).why == "there is no partition nope"
    replay(tmp_path, "sinfo", "squeue-controller-down")
    limits = halo.limits(a_request())
    assert limits.at_once is None
    assert "Unable to contact" in limits.why


def test_accounting_limits_count(halo: SlurmEngine, tmp_path: Path) -> None:
    """The smallest number counts: by nodes, by association, or by quality of service."""

    def limited(at_once: int, why: str) -> TaskLimits:
        return TaskLimits(1001, at_once, why, node_mem_mib=4000, nodes=4)

    qos = "normal|cpu=12||cpu=6,mem=1000M|5|||\nhigh||3|||||\n"
    body = f'case "$*" in *withassoc*) echo "a|a|||normal|||7||";; *) echo "{qos}";; esac'
    program(tmp_path, "sacctmgr", body)
    assert halo.limits(a_request()) == limited(5, "MaxJobsPU is 5")
    assert halo.limits(a_request(cpus=3)) == limited(2, "MaxTRESPU is cpu=6")
    assert halo.limits(a_request(mem_mib=400)) == limited(2, "MaxTRESPU is mem=1000M")
    assert halo.limits(a_request(options=(("qos", "high"),))) == limited(3, "GrpJobs is 3")
    assert halo.limits(a_request(options=(("account", "b"),))).at_once == 16


def test_running_limits_as_recorded() -> None:
    """Recorded from sacctmgr with MaxJobs=7 on the user and limits on the QOS."""
    request = a_request(cpus=2, mem_mib=200)
    texts = load("sacctmgr-associations").text, load("sacctmgr-qos").text
    assert set(account_limits.running_limits(*texts, request)) == {
        (7, "MaxJobs is 7"),
        (5, "MaxJobsPU is 5"),
        (6, "GrpTRES is cpu=12"),
        (3, "MaxTRESPU is cpu=6"),
        (5, "MaxTRESPU is mem=1000M"),
    }


def test_submit_limits_as_recorded() -> None:
    """All limits of the tasks in the queue, as recorded."""
    texts = load("sacctmgr-associations").text, load("sacctmgr-qos").text
    settings = {"MaxJobCount": "10000"}
    assert set(account_limits.submit_limits(*texts, a_request(), settings)) == {
        (10000, "MaxJobCount is 10000"),
        (50, "MaxSubmit is 50"),
        (60, "GrpSubmit is 60"),
        (100, "MaxSubmitPU is 100"),
        (120, "MaxSubmitPA is 120"),
        (150, "GrpSubmit is 150"),
    }


@pytest.mark.parametrize(
    ("enforced", "counts"),
    [("none", False), ("associations", False), ("associations,limits,qos", True), ("safe", True)],
)
def test_limits_count_only_if_enforced(enforced: str, counts: bool) -> None:
    """slurm.conf(5), AccountingStorageEnforce."""
    assert account_limits.enforces_limits({"AccountingStorageEnforce": enforced}) is counts


def test_limits_not_enforced_are_not_queried(halo: SlurmEngine, tmp_path: Path) -> None:
    """slurmdbd is not asked if its limits do not count."""
    config = load("config").text
    enforces = "AccountingStorageEnforce = associations,limits,qos"
    assert enforces in config
    (tmp_path / "config").write_text(config.replace(enforces, "AccountingStorageEnforce = none"))
    program(tmp_path, "sacctmgr", "echo 'a|a|||normal|||7||'")
    assert halo.limits(a_request()).at_once == 16
    assert calls(tmp_path, "sacctmgr") == []


@pytest.mark.parametrize(
    ("settings", "partition_mem", "mem", "alone"),
    [
        ({"SelectTypeParameters": "CR_CPU"}, None, 0, False),
        ({"SelectTypeParameters": "CR_CORE_MEMORY"}, None, 0, True),
        ({"SelectTypeParameters": "CR_CORE_MEMORY", "DefMemPerCPU": "100"}, None, 200, False),
        ({"SelectTypeParameters": "CR_CORE_MEMORY", "DefMemPerNode": "500"}, None, 500, False),
        ({"SelectTypeParameters": "CR_CORE_MEMORY", "DefMemPerCPU": "100"}, (7, "node"), 7, False),
        (
            {"SelectTypeParameters": "CR_ONE_TASK_PER_CORE", "SelectType": "select/linear"},
            None,
            0,
            True,
        ),
    ],
)
def test_default_memory_of_a_task(
    settings: dict[str, str], partition_mem: tuple[int, str] | None, mem: int, alone: bool
) -> None:
    """The partition's default, else the cluster's; without both a task gets a whole node."""
    partition = cluster_records.Partition("p", True, "UP", None, partition_mem)
    found = capacity.effective_request(a_request(cpus=2), settings, partition)
    assert (found.mem_mib or 0, "exclusive" in found) == (mem, alone)


def test_count_fitting_tasks() -> None:
    """Counts beside running jobs and on empty nodes; an exclusive task needs an empty node."""
    busy = [
        n for n in cluster_records.parse_nodes(load("sinfo-busy").text) if n.partition == "main"
    ]
    assert capacity.count_fitting(a_request(mem_mib=100), busy) == capacity.FittingTasks(13, 16)
    assert capacity.count_fitting(a_request(mem_mib=2000), busy) == capacity.FittingTasks(6, 8)
    assert capacity.count_fitting(
        ResourceRequest.of({"exclusive": ""}), busy
    ) == capacity.FittingTasks(3, 4)
    assert capacity.count_fitting(
        a_request(cpus=12, options=(("nodes", "3"),)), busy
    ) == capacity.FittingTasks(1, 1)


def test_cluster_health(halo: SlurmEngine, tmp_path: Path) -> None:
    """Version, name, MaxArraySize, accounting, and the tasks that fit into each partition."""
    replay(tmp_path, "sacct", "sacct-database-down")
    health = halo.cluster_health(a_request(cpus=2))
    assert (health.version, health.cluster, health.max_array_size) == (
        "22.05.8",
        "slurmslice",
        1001,
    )
    assert "database" in health.accounting
    assert [(p.name, p.default, p.max_time_s) for p in health.partitions] == [
        ("main", True, None), ("scavenge", False, None), ("short", False, 300),
    ]  # fmt: skip
    main = health.partitions[0]
    assert (main.nodes, main.free_cpus, main.cpus) == (4, 13, 16)
    assert main.fitting == capacity.FittingTasks(6, 8)
    assert (main.mem_mib, main.why_none) == (4000, "")
    replay(tmp_path, "sacct", "sacct-unknown")
    assert halo.cluster_health().accounting == "on"
    replay(tmp_path, "sacct", "sacct-off")
    assert "disabled" in halo.cluster_health().accounting


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (a_request(cpus=5), "no node has 5 CPUs, the largest has 4"),
        (a_request(mem_mib=8000), "no node has 8000M, the largest has 4000M"),
        (
            a_request(cpus=40, options=(("nodes", "10"),)),
            "too few nodes have enough CPUs and memory",
        ),
    ],
)
def test_why_no_task_fits(
    halo: SlurmEngine, tmp_path: Path, asked: ResourceRequest, why: str
) -> None:
    """``doctor`` explains it for each partition, the preview for the requested one."""
    replay(tmp_path, "sacct", "sacct-unknown")
    assert {part.why_none for part in halo.cluster_health(asked).partitions} == {why}
    assert halo.limits(asked).why.endswith(why)


def test_cluster_health_counts_the_time_limit(halo: SlurmEngine, tmp_path: Path) -> None:
    """If a task exceeds a partition's time limit, none fits, even into empty nodes."""
    replay(tmp_path, "sacct", "sacct-unknown")
    fits = {
        part.name: part.fitting.when_empty
        for part in halo.cluster_health(a_request(time_s=301)).partitions
    }
    assert fits == {"main": 16, "scavenge": 16, "short": 0}


def test_settings_are_fetched_once(halo: SlurmEngine, tmp_path: Path) -> None:
    """Settings do not change while slurmslice runs."""
    assert [halo.cluster(), halo.cluster()] == ["slurmslice", "slurmslice"]
    assert calls(tmp_path, "scontrol") == ["show config"]


def test_wait_sleeps(slurm: SlurmEngine) -> None:
    """``wait`` returns after the given time."""
    before = time.monotonic()
    slurm.wait(0.05)
    assert time.monotonic() - before >= 0.05


def test_reading_options_imports_no_engine() -> None:
    """A command that only reads a script must start fast."""
    program = (
        "import sys, slurmslice.sbatch as d; d.known_options()\n"
        "from slurmslice.engines import slurm\n"
        "assert 'slurmslice.engines.slurm.engine' not in sys.modules\n"
        "assert slurm.SlurmEngine.name == 'slurm' and not hasattr(slurm, 'nothing')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (a_request(partition="mian"), "there is no partition mian (did you mean main?)"),
        (a_request(partition="main,shrot"), "there is no partition shrot (did you mean short?)"),
        (a_request(partition="short", time_s=301), "--time is at most 00:05:00 in short"),
        (ResourceRequest.of({"partition": "short", "time": "0"}), "--time is at most 00:05:00"),
        (a_request(partition="short", time_s=300), ""),
        (a_request(partition="short"), ""),
        (a_request(partition="short,main", time_s=301), ""),
        (a_request(time_s=10**9), ""),
    ],
)
def test_requests_that_no_partition_accepts(
    halo: SlurmEngine, asked: ResourceRequest, why: str
) -> None:
    """A misspelt partition or too much time: no task can run, and the reason is given."""
    limits = halo.limits(asked)
    assert (limits.at_once == 0) == bool(why)
    assert limits.why.startswith(why)


LARGE = (("mem", "4001M"),)


@pytest.mark.parametrize(
    ("options", "never"),
    [
        (LARGE, "no node has 4001M, the largest has 4000M"),
        ((("mem-per-cpu", "2G"), ("cpus-per-task", "2")), "no node has 4G, the largest has 4000M"),
        ((("cpus-per-task", "5"),), "no node has 5 CPUs, the largest has 4"),
        ((("partition", "short"), ("time", "6")), "--time is at most 00:05:00 in short"),
        ((("ntasks", "5"),), ""),  # its processes may be on two nodes
        ((("ntasks", "5"), ("nodes", "1")), ""),
        ((*LARGE, ("reservation", "big")), ""),
        ((("partition", "mian"),), "there is no partition mian"),
        ((*LARGE, ("partition", "main,shrot")), "there is no partition shrot"),
        ((("mem", "4000M"),), ""),
        ((("partition", "short"), ("time", "6"), ("reservation", "big")), ""),
        ((("partition", "short"), ("time", "60"), ("time-min", "5")), ""),
        ((("partition", "short"), ("time", "60"), ("time-min", "soon")), ""),
        (
            (("partition", "short"), ("time", "60"), ("time-min", "6")),
            "--time-min is at most",
        ),
    ],
)
def test_requests_that_can_never_run(
    halo: SlurmEngine, tmp_path: Path, options: tuple[tuple[str, str], ...], never: str
) -> None:
    """Only certain cases: more than any node has, more time than allowed, no such partition."""
    program(tmp_path, "sacctmgr", "echo DenyOnLimit")
    assert halo.limits(ResourceRequest(options)).impossible_reason.startswith(never)
    assert bool(halo.limits(ResourceRequest(options)).impossible_reason) == bool(never)


ACCOUNTS = "a|b|||\nb|root|cpu=3,mem=1G,gres/gpu=2||\nroot||||\nc|root|cpu=1||"


@pytest.mark.parametrize(
    ("options", "qos", "never"),
    [
        ((("cpus-per-task", "4"),), "normal|||||||", "GrpTRES is cpu=3"),
        ((("mem", "1025M"),), "normal|||||||", "GrpTRES is mem=1G"),
        ((("cpus-per-task", "3"),), "normal|||||||", ""),
        ((("cpus-per-task", "2"), ("account", "b")), "normal|||||||", ""),  # not of this user
        ((("cpus-per-task", "4"),), "normal|cpu=9||||||", ""),  # the QOS has another limit
        ((("cpus-per-task", "4"),), "normal|||cpu=2||||", "MaxTRESPU is cpu=2"),
        ((("cpus-per-task", "2"),), "normal|cpu=1||||||", "GrpTRES is cpu=1"),
        ((("cpus-per-task", "4"), ("reservation", "x")), "normal|||||||", ""),
    ],
)
def test_a_task_above_a_group_limit_can_never_run(
    halo: SlurmEngine, tmp_path: Path, options: tuple[tuple[str, str], ...], qos: str, never: str
) -> None:
    """Slurm accepts it, and it waits for ever. The limits of accounts above count (seen)."""
    bodies = f'*withassoc*) echo "a|a|||normal|||||";; *user=*) echo "{ACCOUNTS}";;'
    program(tmp_path, "sacctmgr", f'case "$*" in {bodies} *) echo "{qos}";; esac')
    limits = halo.limits(ResourceRequest(options))
    assert limits.impossible_reason.startswith(never)
    assert bool(limits.impossible_reason) == bool(never)
    if never:
        assert limits.at_once == 0
        config = load("config").text
        (tmp_path / "config").write_text(re.sub(r"(JobSubmitPlugins +=) .*", r"\1 lua", config))
        changed = SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin"})
        assert not changed.limits(ResourceRequest(options)).impossible_reason


def test_the_qos_of_a_partition_replaces_group_limits(halo: SlurmEngine, tmp_path: Path) -> None:
    """Its limits are not asked for, so no refusal is certain."""
    bodies = f'*withassoc*) echo "a|a|||normal|||||";; *user=*) echo "{ACCOUNTS}";;'
    program(tmp_path, "sacctmgr", f'case "$*" in {bodies} *) echo "normal|||||||";; esac')
    text = load("partitions").text
    assert "QoS=N/A" in text
    (tmp_path / "partitions").write_text(text.replace("QoS=N/A", "QoS=big"))
    limits = halo.limits(ResourceRequest((("cpus-per-task", "4"),)))
    assert (limits.at_once, limits.impossible_reason) == (0, "")


def test_a_node_that_is_down_may_return(halo: SlurmEngine, tmp_path: Path) -> None:
    """A task that fits only into this node cannot run now, but may run later."""
    small = "".join(f"n{n}|main*|idle|0/4/0/4|4000|0|\\n" for n in (1, 2, 3))
    program(tmp_path, "sinfo", f"printf '{small}n4|main*|down*|0/0/64/64|256000|0|\\n'")
    for options in (LARGE, (("cpus-per-task", "64"),)):
        limits = halo.limits(ResourceRequest(options))
        assert (limits.at_once, limits.impossible_reason) == (0, "")
    assert "has 64" in halo.limits(ResourceRequest((("cpus-per-task", "65"),))).impossible_reason


def test_an_unlisted_node_may_be_larger(halo: SlurmEngine, tmp_path: Path) -> None:
    """scontrol counts a cloud's powered-down nodes, sinfo does not list them."""
    listed = "".join(f"n{n}|main*|idle|0/4/0/4|4000|0|\\n" for n in (1, 2, 3))
    program(tmp_path, "sinfo", f"printf '{listed}'")
    assert halo.limits(ResourceRequest(LARGE)) == TaskLimits(
        1001, None, "sinfo does not list all nodes of main", nodes=3
    )
    assert halo.limits(a_request()).at_once == 12


SHORT = (("time", "6"),)


@pytest.mark.parametrize(
    ("variable", "value", "options", "never"),
    [
        ("SBATCH_PARTITION", "short", SHORT, "--time is at most 00:05:00 in short"),
        (
            "SBATCH_PARTITION",
            "main",
            (*SHORT, ("partition", "short")),
            "--time is at most",
        ),
        ("SBATCH_PARTITION", "mian", (), "there is no partition mian"),
        ("SBATCH_PARTITION", "mian", (("partition", "main"),), ""),
        ("SBATCH_QOS", "high", LARGE, "no node has 4001M"),
        ("SBATCH_TIMELIMIT", "6", LARGE, "no node has 4001M"),  # dropped from sbatch's environment
        ("SBATCH_MEM_PER_NODE", "1", LARGE, "no node has 4001M"),
        ("SBATCH_RESERVATION", "big", LARGE, ""),
        ("SBATCH_OVERCOMMIT", "1", (("cpus-per-task", "5"),), ""),
        ("SLURM_CLUSTERS", "other", LARGE, ""),
        ("SLURM_CLUSTERS", "other", (("partition", "mian"),), ""),
    ],
)
def test_variables_of_sbatch_count(
    halo: SlurmEngine,
    tmp_path: Path,
    variable: str,
    value: str,
    options: tuple[tuple[str, str], ...],
    never: str,
) -> None:
    """A variable in sbatch's environment is counted, or makes the result uncertain (sbatch(1))."""
    program(tmp_path, "sacctmgr", "echo DenyOnLimit")
    path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    why_never = (
        SlurmEngine({**path, variable: value}).limits(ResourceRequest(options)).impossible_reason
    )
    assert why_never.startswith(never)
    assert bool(why_never) == bool(never)


def test_a_partition_of_the_environment_replaces_the_default(
    halo: SlurmEngine, tmp_path: Path
) -> None:
    """The request exceeds the default partition and fits into the other one: no refusal."""
    lines = "".join(f"n{n}|main*|idle|0/4/0/4|4000|0|\\n" for n in (1, 2, 3, 4))
    program(tmp_path, "sinfo", f"printf '{lines}b1|short|idle|0/64/0/64|256000|0|\\n'")
    assert halo.limits(ResourceRequest(LARGE)).impossible_reason
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SBATCH_PARTITION": "short"}
    limits = SlurmEngine(environ).limits(ResourceRequest(LARGE))
    assert (limits.at_once, limits.impossible_reason) == (63, "")


@pytest.mark.parametrize("body", ["echo DenyOnLimit,PartitionTimeLimit", "exit 1"])
def test_a_quality_of_service_may_lift_the_time_limit(
    halo: SlurmEngine, tmp_path: Path, body: str
) -> None:
    """sacctmgr(1), flag PartitionTimeLimit; without an answer the result is uncertain."""
    program(tmp_path, "sacctmgr", body)
    limits = halo.limits(ResourceRequest((("partition", "short"), ("time", "6"))))
    assert (limits.at_once, limits.impossible_reason) == (0, "")


def test_a_plugin_may_change_the_request(halo: SlurmEngine, tmp_path: Path) -> None:
    """slurm.conf(5), JobSubmitPlugins: a plugin may change partition and resources."""
    config = load("config").text
    changed = re.sub(r"(JobSubmitPlugins +=) .*", r"\1 lua", config)
    assert changed != config
    (tmp_path / "config").write_text(changed)
    limits = halo.limits(ResourceRequest(LARGE))
    assert (limits.at_once, limits.impossible_reason) == (0, "")
    limits = halo.limits(a_request(partition="mian"))
    assert limits == TaskLimits(1001, None, "there is no partition mian (did you mean main?)")


@pytest.mark.parametrize("body", ["echo 'Federation: all of us'", "exit 1"])
def test_another_cluster_of_a_federation_may_know_a_partition(
    halo: SlurmEngine, tmp_path: Path, body: str
) -> None:
    """scontrol(1), show federation; without an answer the result is uncertain."""
    others = f'*partition) cat "{tmp_path}/partitions";; *) cat "{tmp_path}/config";;'
    program(tmp_path, "scontrol", f'case "$*" in *federation) {body};; {others} esac')
    limits = halo.limits(a_request(partition="mian"))
    assert limits == TaskLimits(1001, None, "there is no partition mian (did you mean main?)")


def test_a_hidden_partition_is_known(halo: SlurmEngine, tmp_path: Path) -> None:
    """A hidden partition accepts jobs, and only ``--all`` lists it."""
    known = load("partitions").text.strip()
    hidden = known.split("\n")[0].replace("Name=main", "Name=secret").replace("=YES", "=NO")
    (tmp_path / "all").write_text(f"{known}\n{hidden}\n")
    others = f'*partition) cat "{tmp_path}/partitions";; *) cat "{tmp_path}/config";;'
    program(tmp_path, "scontrol", f'case "$*" in --all*) cat "{tmp_path}/all";; {others} esac')
    program(tmp_path, "sinfo", 'case "$*" in --all*) echo "n1|secret|idle|0/4/0/4|4000|0|";; esac')
    assert halo.limits(a_request(partition="secret")).at_once == 4


def test_default_time_limit_of_a_task(halo: SlurmEngine, tmp_path: Path) -> None:
    """DefaultTime, if all partitions of the task have the same."""
    known = load("partitions").text.replace("DefaultTime=NONE", "DefaultTime=01:00:00", 1)
    (tmp_path / "partitions").write_text(known)
    assert halo.limits(a_request()).default_time_s == 3600
    assert halo.limits(a_request(partition="short")).default_time_s is None
    assert halo.limits(a_request(partition="main,short")).default_time_s is None
