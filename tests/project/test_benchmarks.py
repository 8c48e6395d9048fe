"""The benchmarks measure correct results, and report failures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import paper
from benchmarks.__main__ import main
from benchmarks.measure import Line, MissingError, NotMeasuredError, Spent, faster, spend, within
from benchmarks.place import workplace
from slurmslice.engines.slurm.commands import TASK_FIELDS
from slurmslice.engines.slurm.job_records import parse_accounting_reports
from tests.support.site import NoSiteError, Site


@pytest.mark.parametrize("slices", [60, 300])
def test_a_simulated_run_ends_as_its_records_say(tmp_path: Path, slices: int) -> None:
    """slurmslice itself makes the large run that is measured, from answers that it understands.

    slurmslice asks for the steps of a few tasks one by one, and of many by their whole array.
    """
    env = {**os.environ, "PATH": f"{paper.programs(tmp_path / 'bin')}:{os.environ['PATH']}"}

    def slurmslice(*args: str) -> str:
        argv = (sys.executable, "-m", "slurmslice", *args)
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    slurmslice("render", "-a", f"0-{slices - 1}", "--name", "work", "--", "./work", "{}")
    slurmslice("submit", "work")
    record = json.loads(slurmslice("status", "work", "--json"))
    call = (tmp_path / "bin" / "calls").read_text()
    assert call.count("\n") == 1
    job, name = record["slices"][0]["job"].partition("_")[0], paper.option("job-name", call)
    lines = paper.rows(job, name, range(slices), TASK_FIELDS)
    told = parse_accounting_reports("".join(f"{line}\n" for line in lines), {job: name})
    assert record["finished"]
    assert len(record["counts"]) > 1
    assert Counter(record["counts"]) == Counter(str(report.state) for report in told.values())


def test_targets_are_compared_in_their_direction() -> None:
    """`3 times as long` divides our time by the rival's; `1.5 times as fast` is the opposite."""
    one, two = Spent(1.0, 0), Spent(2.0, 0)
    assert within("", two, "rival", one, 3).met
    assert not within("", two, "rival", one, 1.9).met
    assert faster("", one, "rival", two, 1.9).met
    assert not faster("", one, "rival", two, 2.1).met
    assert not faster("", two, "rival", one, 1).met


def test_a_program_that_fails_is_not_measured(tmp_path: Path) -> None:
    """A program that fails at once must not pass for a fast one."""
    with pytest.raises(NotMeasuredError, match="ended with 3: no such thing"):
        spend(("sh", "-c", "echo no such thing >&2; exit 3"), cwd=tmp_path)
    assert spend(("sh", "-c", "exit 3"), cwd=tmp_path, exits=(0, 3)).mib > 0


def test_a_small_benchmark_measures_and_judges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """CI runs each benchmark small: it gives figures, and no bar is compared with them."""
    monkeypatch.setattr("benchmarks.size.WORK", tmp_path)
    assert main(["--small", "answers"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("answers")]
    assert len(lines) == 3
    assert not any("met" in line.lower() for line in lines)


@pytest.mark.parametrize(
    ("error", "code"),
    [(None, 1), (NotMeasuredError("the run failed"), 1), (MissingError("there is no cluster"), 0)],
)
def test_a_benchmark_without_a_figure_fails(
    error: NotMeasuredError | None, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken benchmark ends with 1. A program that this machine lacks is no failure."""

    def measure(size: object) -> Iterator[Line]:
        if error:
            raise error
        yield from ()

    monkeypatch.setattr("benchmarks.size.WORK", tmp_path)
    monkeypatch.setattr("benchmarks.startup.measure", measure)
    assert main(["startup"]) == code


def test_a_missing_cluster_that_is_required_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `SLURM=require`, a missing cluster is not skipped."""

    def none(wish: str, folder: str) -> Site:
        raise NoSiteError("there is none")

    monkeypatch.setattr("benchmarks.place.find_site", none)
    for wish, left_out_rows in (("auto", True), ("require", False)):
        monkeypatch.setenv("SLURMSLICE_TEST_SLURM", wish)
        with pytest.raises(NotMeasuredError) as error, workplace():
            pass
        assert isinstance(error.value, MissingError) is left_out_rows
