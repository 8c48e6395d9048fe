"""A simulated Slurm: programs that answer like a cluster on which every task has ended.

It allows a run of a million recorded slices, which no cluster on one machine can have.
``python -m benchmarks.paper FOLDER ARGUMENTS…`` is its sacct.
"""

from __future__ import annotations

import random
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from benchmarks.measure import REPOSITORY, SLURMSLICE, spend
from slurmslice.sbatch.array_expression import parse_array

MAX_ARRAY_SIZE = 1001
_FIRST_JOB = 5000
_BEGAN = 1_795_000_000

_CONFIG = f"""\
ClusterName             = paper
MaxArraySize            = {MAX_ARRAY_SIZE}
MaxJobCount             = 4000000
MinJobAge               = 300 sec
SLURM_VERSION           = 22.05.8
"""
_SBATCH = f"""\
printf '%s\\n' "$*" >>"$here/calls"
mapfile -t calls <"$here/calls"
echo $(({_FIRST_JOB} + ${{#calls[@]}}))
"""
_SCONTROL = f"""\
[[ $* == "show config" ]] || exit 1
cat <<'CONFIG'
{_CONFIG}CONFIG
"""


def programs(folder: Path, *, all_fail: bool = False) -> Path:
    """Make the programs; return their folder, which must be first on PATH.

    Args:
        folder: the folder.
        all_fail: every task exits with 1. Otherwise most tasks are done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if all_fail:
        (folder / _ALL_FAIL).touch()
    sacct = f'PYTHONPATH={REPOSITORY} exec {sys.executable} -m benchmarks.paper {folder} "$@"\n'
    bodies = {"sbatch": _SBATCH, "scontrol": _SCONTROL, "sacct": sacct, "squeue": ""}
    bodies |= dict.fromkeys(("sinfo", "sacctmgr"), "exit 1\n")
    for name, body in bodies.items():
        (folder / name).write_text(f"#!/bin/bash\nhere={folder}\n{body}")
        (folder / name).chmod(0o755)
    return folder


def recorded_run(place: Path, slices: int, env: Mapping[str, str]) -> str:
    """Make a run whose slices have all ended and are recorded, once; return its name.

    slurmslice itself makes it, so it has today's file formats. A million take a few minutes.
    """
    name = f"of-{slices}"
    made, marker = place / "slurmslice-runs" / name, place / f"{name}.recorded"
    if marker.exists():
        return name
    shutil.rmtree(made, ignore_errors=True)
    (place / "bin" / "calls").unlink(missing_ok=True)
    table = ("-a", f"0-{slices - 1}", "--name", name, "--engine", "slurm")
    spend((*SLURMSLICE, "render", *table, "--", "./work", "{}"), cwd=place, env=env)
    spend((*SLURMSLICE, "submit", name), cwd=place, env=env)
    status = (*SLURMSLICE, "status", name, "--exit-code")
    spend(status, cwd=place, env=env, exits=ENDED)
    marker.touch()
    return name


ENDED = (0, 1)
"""The exit codes of a verb for a run in which nothing is in flight and nothing waits."""

_ALL_FAIL = "all-fail"
"""If the folder has this file, every task fails."""


def rows(
    job: str, name: str, indices: Sequence[int], fields: Sequence[str], *, all_fail: bool = False
) -> Iterator[str]:
    """Return sacct's lines about an array: one line per task, with these fields."""
    draw = random.Random(job)
    submit = _BEGAN + int(job)
    for index in indices:
        start, elapsed = submit + draw.randrange(5000), draw.randrange(1, 4000)
        state, code = _FAILED if all_fail else draw.choices(_ENDS, _WEIGHTS)[0]
        values = {
            "JobID": f"{job}_{index}",
            "State": state,
            "ExitCode": code,
            "DerivedExitCode": "0:0",
            "Submit": submit,
            "Start": start,
            "End": start + elapsed,
            "ElapsedRaw": elapsed,
            "AllocCPUS": 1,
            "ReqMem": "4096M",
            "MaxRSS": f"{draw.randrange(50_000, 4_000_000)}K",
            "TotalCPU": f"{elapsed // 60:02}:{elapsed % 60:02}.{draw.randrange(1000):03}",
            "NodeList": f"node{draw.randrange(400)}",
            "Reason": "None",
            "JobName": name,
        }
        yield "|".join(str(values.get(field, "")) for field in fields)


_ENDS = (("COMPLETED", "0:0"), ("FAILED", "3:0"), ("TIMEOUT", "0:0"), ("OUT_OF_MEMORY", "0:125"))
_WEIGHTS = (95, 3, 1, 1)
_FAILED = ("FAILED", "1:0")


def _sacct(folder: Path, argv: Sequence[str]) -> None:
    options = dict(pairwise(argv))
    fields = options["--format"].split(",")
    calls = (folder / "calls").read_text().splitlines()
    for job, tasks in _asked_jobs(options.get("--jobs", "")).items():
        call = calls[int(job) - _FIRST_JOB - 1]
        indices, name = list(parse_array(option("array", call))), option("job-name", call)
        fails = (folder / _ALL_FAIL).exists()
        lines = rows(job, name, indices, fields, all_fail=fails)
        for index, line in zip(indices, lines, strict=True):
            if not tasks or index in tasks:
                print(line)


def _asked_jobs(words: str) -> dict[str, set[int]]:
    """Return job ids and array indices of ``--jobs 5001,5002_3``. No indices mean all."""
    asked: dict[str, set[int]] = {}
    for word in filter(None, words.split(",")):
        job, _, index = word.partition("_")
        asked.setdefault(job, set()).update([int(index)] if index else [])
    return asked


def option(name: str, call: str) -> str:
    """Return an option's value: from sbatch's command line, else from the script."""
    pattern = rf"--{name}=(\S+)"
    given = re.search(pattern, call)
    if given is None:
        script = next(word for word in call.split() if word.endswith(".sh"))
        given = re.search(rf"^#SBATCH {pattern}", Path(script).read_text(), re.MULTILINE)
    assert given is not None
    return given[1]


if __name__ == "__main__":
    _sacct(Path(sys.argv[1]), sys.argv[2:])
