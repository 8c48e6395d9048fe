"""Steward jobs through Slurm's commands, which are played by programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.engines.slurm import SlurmEngine, environment
from slurmslice.engines.slurm.cluster_records import parse_partitions
from slurmslice.engines.slurm.slurm_health import steward_health
from slurmslice.engines.stewards import LiveTask, StewardOrder
from slurmslice.errors import NoAnswerError, SubmissionRejectedError, SubmissionUnknownError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.identity import JobIdentity
from slurmslice.status.states import State
from tests.recorded import calls, program, seen_environment

JOB = JobIdentity("12", "x-tok-steward")
QUEUE = """\
7_0|RUNNING|0|100|110|9999|0|n1|None|x-aaa|
7_[2-3,5%2]|PENDING|0|100|N/A|N/A|0||Resources|x-aaa|
7_1|COMPLETING|0|100|105|120|0|n2|None|x-aaa|
8_0|RUNNING|0|100|110|9999|0|n1|None|another-job|
"""


@pytest.fixture
def slurm(tmp_path: Path) -> SlurmEngine:
    """Make an engine; a test puts its programs into ``tmp_path``."""
    return SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURMSLICE_ASK_TIMEOUT": "5"})


def order(folder: Path, environ: dict[str, str]) -> StewardOrder:
    """Return an order for a steward."""
    options = ResourceRequest.of({"job-name": "x-tok-steward", "requeue": ""})
    return StewardOrder(folder / "steward.sh", ("run", "tok"), options, environ)


def test_live_tasks_are_those_that_the_queue_lists_now(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Also pending ones, by index; not those of another job that has the id."""
    program(tmp_path, "squeue", f"cat <<'END'\n{QUEUE}END")
    jobs = [JobIdentity("7", "x-aaa"), JobIdentity("8", "x-bbb")]
    assert slurm.stewards.live_tasks(jobs) == [
        LiveTask("7", 0, 110), LiveTask("7", 2), LiveTask("7", 3), LiveTask("7", 5),
        LiveTask("7", 1, 105),
    ]  # fmt: skip
    assert slurm.stewards.live_tasks([]) == []
    program(tmp_path, "squeue", "exit 1")
    with pytest.raises(NoAnswerError):
        slurm.stewards.live_tasks(jobs)


@pytest.mark.parametrize(
    ("queue", "accounting", "state"),
    [
        ("12|PENDING|0|100|N/A|N/A|2||Dependency|x-tok-steward|", None, State.PENDING),
        ("12|RUNNING|0|100|110|N/A|2|n1|None|x-tok-steward|", None, State.RUNNING),
        ("12|RUNNING|0|100|110|N/A|2|n1|None|other|", "", None),
        ("", "", None),
        (
            "",
            "12|CANCELLED by 7|0:0|0:0|100|110|120|10|1|5M|n1|None|x-tok-steward",
            State.CANCELLED,
        ),
    ],
)
def test_the_queue_tells_of_a_steward_and_then_accounting(
    queue: str, accounting: str | None, state: State | None, slurm: SlurmEngine, tmp_path: Path
) -> None:
    """Accounting is asked only about a job that the queue does not have under its name."""
    program(tmp_path, "squeue", f"printf '%s\\n' '{queue}'" if queue else "true")
    program(tmp_path, "sacct", f"printf '%s\\n' '{accounting}'" if accounting else "true")
    report = slurm.stewards.look(JOB)
    assert (report.state if report else None) == state
    assert bool(calls(tmp_path, "sacct")) == (accounting is not None)


def test_a_silent_source_is_no_end_of_a_steward(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Neither the queue nor accounting."""
    program(tmp_path, "squeue", "true")
    program(tmp_path, "sacct", "exit 1")
    with pytest.raises(NoAnswerError):
        slurm.stewards.look(JOB)


def test_a_steward_is_submitted_without_the_variables_for_slices(
    slurm: SlurmEngine, tmp_path: Path
) -> None:
    """They reach the steward's Python under other names, and come back unchanged."""
    person = {
        "PATH": f"{tmp_path}:/usr/bin:/bin", "DATA": "1", "SBATCH_GRES": "gpu:8",
        "SBATCH_PARTITION": "gpu", "SLURM_CONF": "/x", "SLURM_JOB_ID": "3",
    }  # fmt: skip
    program(tmp_path, "sbatch", "echo '12;halo'")
    assert slurm.stewards.submit(order(tmp_path, person)) == "12"
    (line,) = calls(tmp_path, "sbatch")
    assert line.startswith("--parsable --job-name=x-tok-steward --requeue ")
    seen = seen_environment(tmp_path, "sbatch")
    assert not [name for name in seen if name.startswith("SBATCH_")]
    assert (seen["DATA"], seen["SLURM_CONF"]) == ("1", "/x")
    back = slurm.stewards.environ_of_person(seen)
    assert {n: v for n, v in back.items() if n in person} == {
        name: value for name, value in person.items() if name != "SLURM_JOB_ID"
    }
    assert not [name for name in back if "KEPT" in name]
    assert environment.of_person(person) == person


def test_a_waiting_steward_gets_another_wake(slurm: SlurmEngine, tmp_path: Path) -> None:
    """A refusal is no error: the steward runs. Another job with its id is left alone."""
    program(tmp_path, "squeue", "echo '12|PENDING|0|100|N/A|N/A|2||Dependency|x-tok-steward|'")
    program(tmp_path, "scontrol", "echo 'Job is no longer pending execution' >&2; exit 1")
    slurm.stewards.wait_for(JOB, ("StartTime=now+60", "Dependency=afterany:7"))
    assert calls(tmp_path, "scontrol") == ["update JobId=12 StartTime=now+60 Dependency=afterany:7"]
    slurm.stewards.wait_for(JobIdentity("12", "x-other-steward"), ("StartTime=now+60",))
    assert len(calls(tmp_path, "scontrol")) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("echo 'sbatch: error: invalid partition specified: x' >&2; exit 1",
         SubmissionRejectedError),
        ("echo 'sbatch: error: Socket timed out on send/recv operation' >&2; exit 1",
         SubmissionUnknownError),
    ],
)  # fmt: skip
def test_answers_about_a_steward_are_those_about_any_submission(
    answer: str, error: type[Exception], slurm: SlurmEngine, tmp_path: Path
) -> None:
    """A refusal is a refusal, and a lost answer is a doubt."""
    program(tmp_path, "sbatch", answer)
    with pytest.raises(error):
        slurm.stewards.submit(order(tmp_path, {"PATH": f"{tmp_path}:/usr/bin:/bin"}))


@pytest.mark.parametrize(
    ("nodes", "requeue", "word"),
    [("ALL", "1", "possible"), ("ALL", "0", "JobRequeue"), ("login1", "1", "login1")],
)
def test_the_settings_tell_if_a_steward_can_follow_runs(
    nodes: str, requeue: str, word: str
) -> None:
    """AllocNodes may shut compute nodes out. A job may ask for a requeue that is not the usual."""
    line = f"PartitionName=main AllocNodes={nodes} Default=YES State=UP MaxTime=UNLIMITED\n"
    said = steward_health(parse_partitions(line), {"JobRequeue": requeue})
    assert word in said
    assert said.startswith("possible") == (nodes == "ALL")
