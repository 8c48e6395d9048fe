"""Each slice is submitted once on a real cluster, for any behaviour of sbatch, and beside others.

The cluster's accounting counts, by the tokens in the jobs' names, and the marks that the slices
make.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Site, empty_folder, marks, settled, until, write

pytestmark = pytest.mark.slurm

Race = Callable[[Site, Path], Mapping[str, int]]
MARK = 'echo "$SLICE" >>marks'
LOST = "echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation'"

ODDITIES: dict[str, tuple[str, int]] = {
    # The first call of a wrapper, and the number of jobs that the cluster accepts in all.
    "killed-before": ("kill -9 $PPID; exit 1", 1),
    "killed-meanwhile": ("kill -9 $PPID; real", 1),
    "killed-after": ("real >/dev/null; kill -9 $PPID", 1),
    "killed-and-much-later": ("kill -9 $PPID; sleep 24; real", 2),
    "answer-lost": (f"real >/dev/null; {LOST} >&2; exit 1", 1),
    "not-heard": (f"{LOST} >&2; exit 1", 1),
    "hangs-and-was-heard": ("real >/dev/null; exec sleep 100", 1),
    "hangs-unheard": ("exec sleep 100", 1),
    "hangs-and-goes-on": ("(sleep 6; real) >/dev/null 2>&1 & wait", 1),
    "more-lines": ("echo Welcome to halo; real; echo; echo Good bye", 1),
    "suffix": ('echo "$(real);halo"', 1),
    "nothing-said": ("real >/dev/null", 1),
    "twice-says-first": ("real; real >/dev/null", 2),
    "twice-says-second": ("real >/dev/null; real", 2),
    "twice-first-held": ("real --hold >/dev/null; real", 2),
    "rejected": ("ghost; exit 1", 1),
    "rejected-unheard": (f"ghost 2>/dev/null || {LOST} >&2; exit 1", 1),
}
WRAPPER = """\
#!/bin/bash
words=("$@")
real() {{
  job=$(PATH={path} sbatch "$@" "${{words[@]}}") || return
  echo "$job" >>{jobs}
  echo "$job"
}}
ghost() {{ # refused, and all the same a record in accounting under the job's name
  script=${{words[-1]}}
  name=$(sed -n 's/^#SBATCH --job-name=//p' "$script")
  PATH={path} sbatch --job-name="$name" --mem=900G --wrap true
}}
set -C
if {{ : >{flag}; }} 2>/dev/null; then
  {first}
else
  real
fi
"""


@dataclass(frozen=True)
class Played:
    """The result of one oddity: exit codes, accepted jobs, marks, counts, records."""

    codes: tuple[int, ...]
    jobs: frozenset[str]
    marks: Mapping[str, int]
    counts: Mapping[str, int]
    rows: tuple[tuple[str, str, str], ...]
    said: str


def wrapped(site: Site, directory: Path, first: str) -> dict[str, str]:
    """Return an environment in which sbatch does this at its first call."""
    folder = directory / "bin"
    folder.mkdir()
    sbatch = folder / "sbatch"
    sbatch.write_text(
        WRAPPER.format(
            first=first, flag=directory / "called", jobs=directory / "jobs", path=site.path
        )
    )
    sbatch.chmod(0o755)
    return {
        "PATH": f"{folder}:{os.path.dirname(site.python)}:{site.path}",
        "SLURMSLICE_SBATCH_TIMEOUT": "3",
    }


def told(site: Site, directory: Path, run: str) -> tuple[tuple[str, str, str], ...]:
    """Return accounting's rows for every token of a run: job, index, state."""
    journal = (directory / "slurmslice-runs" / run / "journal.jsonl").read_text().splitlines()
    names = {event["job_name"] for line in journal if (event := json.loads(line)).get("job_name")}
    done = site.run(
        "sacct", "-X", "-n", "-P", "--format=JobID,State", "-S", "now-1hours",
        "--name", ",".join(names), cwd=directory,
    )  # fmt: skip
    rows = (line.split("|") for line in done.stdout.splitlines())
    return tuple((task.partition("_")[0], task.partition("_")[2], state) for task, state in rows)


def play(site: Site, directory: Path, first: str) -> Played:
    """Submit three slices with a wrapper that fails once, and again until all are submitted."""
    site.run("mkdir", "-p", str(directory), cwd=site.folder)
    odd = wrapped(site, directory, first)
    made = site.slurmslice("render", "-a", "0-2", "--name", "o", "--shell", MARK, cwd=directory)
    assert made.returncode == 0, made.stderr
    said = ""
    codes: list[int] = []
    while not codes or (codes[-1] != 0 and len(codes) < 4):
        done = site.slurmslice("submit", "o", cwd=directory, env=odd)
        codes.append(done.returncode)
        said += done.stderr
    counts = settled(site, directory, "o")
    if "24" in first:  # its job comes after all are done: its tasks are refused
        until(lambda: len(taken(directory)) == 2, "the late job")
        until(lambda: not queued(site, directory), "its tasks to end")
        counts = settled(site, directory, "o")
    until(lambda: completed(site, directory) >= 3, "accounting")
    rows = told(site, directory, "o")
    return Played(tuple(codes), taken(directory), marks(directory), counts, rows, said)


def taken(directory: Path) -> frozenset[str]:
    """Return the jobs that the cluster has accepted."""
    return frozenset((directory / "jobs").read_text().split())


def queued(site: Site, directory: Path) -> bool:
    """Return whether one of them is still in the queue."""
    jobs = ",".join(taken(directory))
    return bool(site.run("squeue", "-h", "-j", jobs, "-o", "%i", cwd=directory).stdout.strip())


# -- two commands at once ---------------------------------------------------------------------


def at_once(site: Site, directory: Path, *lines: Sequence[str]) -> list[int]:
    """Type commands in several terminals at the same moment; return their exit codes."""
    with ThreadPoolExecutor(len(lines)) as windows:
        ended = [windows.submit(site.slurmslice, *line, cwd=directory) for line in lines]
    return [one.result().returncode for one in ended]


def render(site: Site, directory: Path, text: str, *options: str) -> None:
    """Make a run of six slices in three submissions, because they request different memory."""
    table = "name,mem\n" + "".join(f"k{n},{50 + n % 3}\n" for n in range(6))
    site.run("mkdir", "-p", str(directory), cwd=site.folder)
    write(site, directory / "slices.csv", table)
    made = site.slurmslice(
        "render", "--table", "slices.csv", "--key", "name", "--mem", "{mem}M", "--name", "o",
        *options, "--shell", text, cwd=directory,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr


def submits(site: Site, directory: Path) -> Mapping[str, int]:
    """Submit three times at once."""
    render(site, directory, MARK)
    codes = at_once(site, directory, *[["submit", "o"]] * 3)
    assert set(codes) == {0}, codes
    return dict.fromkeys(KEYS, 1)


def ticks(site: Site, directory: Path) -> Mapping[str, int]:
    """Call tick twice at once, repeatedly, with a throttle of two."""
    render(site, directory, MARK, "--throttle", "2")
    codes = [site.slurmslice("submit", "o", cwd=directory).returncode]
    while not site.status(directory, "o")["finished"]:
        codes += at_once(site, directory, *[["tick", "o"]] * 2)
    assert set(codes) == {0}, codes
    return dict.fromkeys(KEYS, 1)


FAIL_ONCE = f"{MARK}; [ $(grep -cx $SLICE marks) = 1 ] && [ $SLICE != k5 ] && exit 3"
WAIT = "[ $SLICE != k5 ] || while [ ! -e go ]; do sleep 0.2; done"


def resubmits(site: Site, directory: Path) -> Mapping[str, int]:
    """Call ``resubmit`` twice beside a ``run`` that resubmits failures by itself."""
    render(site, directory, f"{FAIL_ONCE}; {WAIT}")
    run = ["run", "o", "--max-attempts", "2", "--interval", "0.5"]
    with ThreadPoolExecutor(1) as window:
        running = window.submit(site.slurmslice, *run, cwd=directory)
        until(lambda: marks(directory).total() >= 3, "some to begin")
        codes = at_once(site, directory, *[["resubmit", "o"]] * 2)
        until(lambda: marks(directory).total() == 11, "all but one to have run twice")
        codes += at_once(site, directory, *[["resubmit", "o"]] * 2)
        write(site, directory / "go", "")
        codes.append(running.result().returncode)
    assert set(codes) <= {0, 5}, codes  # 5: another process was faster
    return {**dict.fromkeys(KEYS, 2), "k5": 1}


def cancels(site: Site, directory: Path) -> Mapping[str, int]:
    """Cancel twice at once beside a ``watch``, which ends with the remaining slices."""
    render(site, directory, f"[ -e go ] || sleep 300; {MARK}")
    assert site.slurmslice("submit", "o", cwd=directory).returncode == 0
    with ThreadPoolExecutor(1) as window:
        watching = window.submit(site.slurmslice, "watch", "o", "--interval", "0.5", cwd=directory)
        until(lambda: "RUNNING" in site.status(directory, "o")["counts"], "one to run")
        codes = at_once(site, directory, ["cancel", "o"], ["cancel", "o", "k1", "k2"])
        codes.append(watching.result().returncode - 1)
    assert set(codes) == {0}, codes
    assert site.status(directory, "o")["counts"] == {"CANCELLED": 6}
    write(site, directory / "go", "")
    again = ["resubmit", "o", "--state", "CANCELLED"]
    assert set(at_once(site, directory, again, again)) <= {0, 5}
    return dict.fromkeys(KEYS, 1)


KEYS = tuple(f"k{n}" for n in range(6))
RACES = (submits, ticks, resubmits, cancels)


def race(site: Site, directory: Path, beside: Race) -> None:
    """Run them at once. Each slice then has run this often, and no task is superfluous."""
    runs = beside(site, directory)
    assert settled(site, directory, "o") == {"COMPLETED": 6}
    assert marks(directory) == runs
    until(lambda: completed(site, directory) == 6, "accounting")
    began = Counter(state for _, _, state in told(site, directory, "o"))
    assert began["COMPLETED"] + began["FAILED"] == sum(runs.values()), began


def completed(site: Site, directory: Path) -> int:
    """Return the number of completed tasks by accounting."""
    return sum(state == "COMPLETED" for _, _, state in told(site, directory, "o"))


# -- all of them in parallel, because each waits most of the time ------------------------------


@pytest.fixture(scope="module")
def played(site: Site) -> Iterator[dict[object, Future[Any]]]:
    """Return the result of each oddity and each race."""
    with empty_folder(site) as folder, ThreadPoolExecutor(len(ODDITIES) + len(RACES)) as pool:
        yield {
            **{n: pool.submit(play, site, folder / n, first) for n, (first, _) in ODDITIES.items()},
            **{r: pool.submit(race, site, folder / r.__name__, r) for r in RACES},
        }


@pytest.mark.parametrize("beside", RACES)
def test_two_at_once(played: Mapping[object, Future[None]], beside: Race) -> None:
    """Commands at the same time all succeed, and no slice is submitted twice."""
    played[beside].result()


@pytest.mark.parametrize("oddity", ODDITIES)
def test_each_slice_runs_once_after_every_fault_of_sbatch(
    played: Mapping[object, Future[Played]], oddity: str
) -> None:
    """Promise 4: each slice runs once, by the cluster's records and by the slices' marks."""
    came = played[oddity].result()
    assert came.codes[-1] == 0, came
    assert came.marks == {"0": 1, "1": 1, "2": 1}, came
    assert came.counts == {"COMPLETED": 3}, came
    ran = Counter(index for _, index, state in came.rows if state == "COMPLETED")
    assert ran == {"0": 1, "1": 1, "2": 1}, came
    assert len(came.jobs) == ODDITIES[oddity][1], came
    ghosts = [job for job, index, state in came.rows if not index and state == "FAILED"]
    assert len(ghosts) == oddity.startswith("rejected"), came
