"""Nodes that pending tasks avoid, through Slurm's commands, which are played by programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from slurmslice.engines.slurm import SlurmEngine
from slurmslice.errors import EngineError, NoAnswerError
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.identity import JobIdentity
from tests.recorded import calls, program

JOB = JobIdentity("7", "x-aaa")
PART = "'7_0: Job is no longer pending execution' '7_2-3: No error'"


@pytest.fixture
def slurm(tmp_path: Path) -> SlurmEngine:
    """Make an engine, and an scontrol that expands lists of nodes."""
    return SlurmEngine({"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURMSLICE_ASK_TIMEOUT": "5"})


def queue(folder: Path, before: str, after: str, name: str = "x-aaa") -> None:
    """Play squeue: task 0 runs, tasks 2 and 3 wait and avoid these nodes before and after."""
    for state, nodes in (("before", before), ("after", after)):
        lines = [f"{task}|PENDING|100|{nodes}|main|10:00|1G|{name}|\n" for task in ("7_2", "7_3")]
        (folder / f"{state}-nodes").write_text(
            f"7_0|RUNNING|100||main|10:00|1G|{name}|\n{''.join(lines)}"
        )
    others = "".join(
        f"{task}|{state}|0|100|N/A|N/A|0||Resources|{name}|\n"
        for task, state in (("7_[2-3]", "PENDING"), ("7_0", "RUNNING"))
    )
    for state in ("before", "after"):
        (folder / f"{state}-others").write_text(others)
    program(
        folder, "squeue",
        f"state=before; [[ ! -e {folder}/updated ]] || state=after\n"
        f"asked=others; [[ $* != *%x* ]] || asked=nodes\ncat {folder}/$state-$asked",
    )  # fmt: skip


def control(folder: Path, code: int, said: str = "''") -> None:
    """Play scontrol: an update exits with this code."""
    program(
        folder, "scontrol",
        'if [[ $2 = hostnames ]]; then printf "%s\\n" n1 n2; exit; fi\n'
        f"touch {folder}/updated; printf '%s\\n' {said} >&2; exit {code}",
    )  # fmt: skip


def updates(folder: Path) -> list[str]:
    """Return the updates that were made."""
    return [call for call in calls(folder, "scontrol") if call.startswith("update")]


def test_the_list_of_the_job_is_kept(slurm: SlurmEngine, tmp_path: Path) -> None:
    """What it avoided before stays, and nodes to remove go."""
    queue(tmp_path, "n[1-2]", "n1,n3")
    control(tmp_path, 0)
    slurm.avoid_nodes(JOB, ["n3"], ["n2"])
    assert updates(tmp_path) == ["update JobId=7 ExcNodeList=n1,n3"]


def test_a_list_is_added_as_it_is_typed(slurm: SlurmEngine, tmp_path: Path) -> None:
    """scontrol expands it, so that the answer of the queue can be compared."""
    queue(tmp_path, "n9", "n1,n2,n9")
    control(tmp_path, 0)
    slurm.avoid_nodes(JOB, ["n[1-2]"], [])
    assert updates(tmp_path) == ["update JobId=7 ExcNodeList=n1,n2,n9"]


def test_an_exit_code_of_1_is_judged_by_the_queue(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Slurm has changed what waits, and complains about what runs."""
    queue(tmp_path, "", "n3")
    control(tmp_path, 1, PART)
    slurm.avoid_nodes(JOB, ["n3"], [])
    assert updates(tmp_path) == ["update JobId=7 ExcNodeList=n3"]


@pytest.mark.parametrize(
    ("add", "remove", "before"), [(["n3"], [], ""), ([], ["n3"], "n3"), (["n3"], ["n4"], "n4")]
)
@pytest.mark.parametrize("code", [0, 1])
def test_what_the_queue_does_not_show_is_a_refusal(
    code: int, add: list[str], remove: list[str], before: str, slurm: SlurmEngine, tmp_path: Path
) -> None:
    """Also if scontrol exits 0."""
    queue(tmp_path, before, before)
    control(tmp_path, code, "denied")
    with pytest.raises(EngineError) as error:
        slurm.avoid_nodes(JOB, add, remove)
    assert not isinstance(error.value, NoAnswerError)
    assert ("denied" in error.value.message) == bool(code)


def test_nothing_is_changed_without_need(slurm: SlurmEngine, tmp_path: Path) -> None:
    """If all waiting tasks avoid the nodes already, or the id belongs to another job now."""
    control(tmp_path, 0)
    queue(tmp_path, "n[1-2]", "")
    slurm.avoid_nodes(JOB, ["n2"], ["n9"])
    queue(tmp_path, "", "", name="other")
    slurm.avoid_nodes(JOB, ["n2"], [])
    assert updates(tmp_path) == []


def test_no_answer_is_no_refusal(slurm: SlurmEngine, tmp_path: Path) -> None:
    """Neither before nor after the update."""
    control(tmp_path, 1, "'Unable to contact slurm controller (connect failure)'")
    queue(tmp_path, "", "")
    with pytest.raises(NoAnswerError):
        slurm.avoid_nodes(JOB, ["n3"], [])
    program(tmp_path, "squeue", "exit 1")
    with pytest.raises(NoAnswerError):
        slurm.avoid_nodes(JOB, ["n3"], [])


@pytest.mark.parametrize("code", [0, 1])
def test_a_changed_request_is_judged_by_the_queue(
    code: int, slurm: SlurmEngine, tmp_path: Path
) -> None:
    """One update with the words of scontrol; its exit code says nothing."""
    request = ResourceRequest.of({"mem": "2G", "time": "4:30", "partition": "short,long"})
    queue(tmp_path, "", "")
    control(tmp_path, code, PART)
    with pytest.raises(EngineError):
        slurm.change_waiting(JOB, request)
    changed = tmp_path / "after-nodes"
    text = changed.read_text().replace("|main|10:00|1G|", "|long,short|5:00|2G|")
    changed.write_text(text)
    (tmp_path / "updated").unlink()
    assert slurm.change_waiting(JOB, request) == {2, 3}
    update = "update JobId=7_[2-3] MinMemoryNode=2048 TimeLimit=00:05:00 Partition=short,long"
    assert updates(tmp_path) == [update] * 2
    assert slurm.change_waiting(JOB, request) == {2, 3}
    assert len(updates(tmp_path)) == 2


def test_nodes_to_avoid_are_added_to_those_of_the_job(slurm: SlurmEngine, tmp_path: Path) -> None:
    """With the other options, in one update."""
    queue(tmp_path, "n9", "n1,n2,n9")
    control(tmp_path, 0)
    request = ResourceRequest.of({"exclude": "n[1-2]", "mem-per-cpu": "1G"})
    assert slurm.change_waiting(JOB, request) == {2, 3}
    assert updates(tmp_path) == ["update JobId=7 MinMemoryCPU=1024 ExcNodeList=n1,n2,n9"]
