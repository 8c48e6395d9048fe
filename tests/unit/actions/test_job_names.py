"""Names that a person gives the jobs of an existing run: each one gets a token of its own."""

from __future__ import annotations

import pytest

from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

RUN = ("-a", "0-3", "--name", "x", "--", "true", "{}")


def names(engine: FakeEngine) -> list[str]:
    """The names of all jobs, without their tokens, which all differ."""
    pairs = [job.order.job_name.rpartition("-") for job in engine.jobs.values()]
    assert len({token for _, _, token in pairs}) == len(pairs)
    for (_, _, token), job in zip(pairs, engine.jobs.values(), strict=True):
        assert token == job.order.token
        assert dict(job.order.request)["job-name"] == job.order.job_name
    return [name for name, _, _ in pairs]


@pytest.mark.parametrize(
    "typed_name", [("-J", "long run"), ("--job-name=long run",), ("--sbatch", "job-name=long run")]
)
def test_a_job_name_gets_the_token(
    typed: Typed, engine: FakeEngine, typed_name: tuple[str, ...]
) -> None:
    """The first submission, a later one and a resubmission; the job is found and cancelled."""
    typed("render", *RUN)
    typed("submit", "x", *typed_name, "--only", "0-1")
    typed("submit", "x")
    assert typed.code == 0, typed.stderr
    engine.end_all(State.FAILED)
    typed("resubmit", "x", *typed_name, "--mem", "1G", "--", "2")
    assert not typed.noted("edited-line-overridden")
    assert names(engine) == ["long run", "x", "long run"]
    assert typed.json("status", "x")["counts"] == {"PENDING": 1, "FAILED": 3}
    typed("cancel", "x")
    assert engine.cancelled[-1][0] == "102"


def test_the_whole_script_gets_another_name(typed: Typed, engine: FakeEngine) -> None:
    """Submission 001 sends the script as it is, with its token under another name."""
    typed("render", *RUN)
    shown = typed("submit", "x", "-J", "a", "--dry-run")
    assert "--job-name=a-" in shown
    typed("submit", "x", "-J", "a")
    assert names(engine) == ["a"]
    assert engine.jobs["100"].order.number == 1


def test_a_slice_keeps_the_name_of_its_jobs(typed: Typed, engine: FakeEngine) -> None:
    """As every option of its last request; slices with different names are different jobs."""
    typed("render", *RUN)
    typed("submit", "x")
    engine.end_all(State.FAILED)
    typed("resubmit", "x", "-J", "late", "--", "3")
    engine.end_all(State.FAILED)
    typed("resubmit", "x")
    assert names(engine) == ["x", "late", "x", "late"]
    engine.end_all(State.FAILED)
    typed("resubmit", "x", "-J", "all")
    assert names(engine)[4:] == ["all"]


@pytest.mark.parametrize("name", [" ", "a,b", "a|b", "a\nb", "x" * 201])
def test_an_impossible_name_is_refused(typed: Typed, engine: FakeEngine, name: str) -> None:
    """Slurm's own lists are separated by commas; nothing is submitted."""
    typed("render", *RUN)
    typed("submit", "x", "-J", name)
    assert (typed.code, typed.error) == (2, "bad-job-name")
    assert not engine.jobs


def test_run_keeps_its_own_meaning_of_the_option(typed: Typed, engine: FakeEngine) -> None:
    """``run -J`` names a new run, and sbatch's option cannot replace that name."""
    typed("run", "--sbatch", "job-name=y", *RUN)
    assert typed.error == "option-not-allowed"
    typed("render", *RUN)
    typed("run", "x", "--sbatch", "job-name=y")
    assert typed.error == "option-not-allowed"
    assert not engine.jobs
