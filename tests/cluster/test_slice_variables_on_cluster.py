"""Scripts that were written for a job array, on a real Slurm cluster."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.site import Site, events, settled, side_by_side, until, write

pytestmark = pytest.mark.slurm

HAND = """\
#!/bin/bash
line=$(sed -n "$((SLURM_ARRAY_TASK_ID % 1000))p" files.txt)
echo "$line: $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT" \\
  "$SLURM_ARRAY_TASK_MIN-$SLURM_ARRAY_TASK_MAX:$SLURM_ARRAY_TASK_STEP" \\
  "row $SLICE_ROW of $SLICE_COUNT attempt $SLICE_ATTEMPT"
[[ -e mended || ! $line =~ [27] ]]
"""


FORMS = {
    "direct": (1, ()),
    "packed": (1, ("--pack", "3", "--at-once", "2")),
    "above-max-array-size": (9001, ()),
}
"""The first number and the options, by a name."""


def test_a_script_for_an_array_in_every_form(site: Site, workplace: Path) -> None:
    """Direct, in packs and above MaxArraySize; also for the two slices that run again."""
    side_by_side(site, workplace, a_script_for_an_array, FORMS)


def a_script_for_an_array(
    site: Site, workplace: Path, first: int, options: tuple[str, ...]
) -> None:
    """Run eight slices, two of them again."""
    write(site, workplace / "hand.sh", HAND)
    write(site, workplace / "files.txt", "".join(f"input {n}\n" for n in range(1, 9)))
    numbers = range(first, first + 8)
    line = ("-a", f"{first}-{numbers[-1]}", "--name", "h", *options, "--", "bash", "hand.sh")
    assert site.slurmslice("run", "--interval", "1", *line, cwd=workplace).returncode == 1
    write(site, workplace / "mended", "")
    assert site.slurmslice("resubmit", "h", cwd=workplace).returncode == 0
    assert settled(site, workplace, "h") == {"COMPLETED": 8}
    for row, number in enumerate(numbers):
        said = site.slurmslice("logs", "h", str(number), cwd=workplace).stdout
        attempt = 2 if row + 1 in {2, 7} else 1
        array = f"{number} of 8 {first}-{numbers[-1]}:1"
        assert said == f"input {row + 1}: {array} row {row} of 8 attempt {attempt}\n"


# A command that has its own task requeued at USR1, as PyTorch Lightning does. $1: it ends at once.
REQUEUES = """\
echo x >>"ran.$SLICE"
[ -e second ] || exit 1
requeue() {
  task=$SLURM_JOB_ID
  [ -z "$SLURM_ARRAY_JOB_ID" ] || task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  scontrol requeue "$task"
}
trap requeue USR1
touch "alive.$SLICE"
case $1 in *" $SLICE "*) ;; *) until [ -e go ]; do sleep 0.2; done ;; esac
"""


@dataclass(frozen=True)
class Scene:
    """Slices of which one has its task requeued.

    Attributes:
        options: of slurmslice.
        numbers: the numbers of all slices.
        asks: the slice that is requeued.
        signalled: the indices of the tasks that get the signal.
        short: the slices that have ended before.
    """

    options: tuple[str, ...]
    numbers: tuple[int, ...]
    asks: int
    signalled: tuple[int, ...]
    short: tuple[int, ...] = ()


SCENES = {
    "direct": Scene(("-a", "0-1"), (0, 1), asks=1, signalled=(1,)),
    "again": Scene(("-a", "1,3", "--column", "x={{ slice }}"), (1, 3), asks=1, signalled=(0,)),
    "pack": Scene(
        ("-a", "1-4", "--pack", "2", "--at-once", "2"), (1, 2, 3, 4), 1, signalled=(0,), short=(3,)
    ),
    "high": Scene(("-a", "9001-9002"), (9001, 9002), asks=9001, signalled=(0, 1)),
}


def test_a_requeue_by_number_reaches_no_other_slice(site: Site, workplace: Path) -> None:
    """A slice that asks at USR1 runs again; slices that run or have ended beside it do not.

    In a pack (task 0 has the slices 1 and 3), and in a resubmission of the slices 1 and 3, the
    number of the slice is the index of another task. Above MaxArraySize it is the index of none.
    The last task to start has the id of the array, so its requeue would be one of all tasks.
    """
    for run, scene in SCENES.items():
        _start(site, workplace / run, run, scene)
    for run, scene in SCENES.items():
        folder = workplace / run
        for number in scene.numbers:
            until((folder / f"alive.{number}").exists, f"slice {number} of {run}")
        until(partial(_have_ended, folder, run, scene), f"the short slices of {run}")
        job = events(folder, run, "submitted")[-1]["job"]
        for index in scene.signalled:
            site.run("scancel", "--batch", "--signal=USR1", f"{job}_{index}", cwd=folder)
    for run, scene in SCENES.items():
        folder = workplace / run
        until(partial(_restarted, folder, scene), f"slice {scene.asks} of {run} to start again")
        write(site, folder / "go", "")
        assert settled(site, folder, run) == {"COMPLETED": len(scene.numbers)}
        starts = {number: _starts(folder, number) for number in scene.numbers}
        assert starts == {number: 1 + (number == scene.asks) for number in scene.numbers}, run


def _start(site: Site, folder: Path, run: str, scene: Scene) -> None:
    """Start the slices of a scene: for "again" as a resubmission."""
    site.run("mkdir", str(folder), cwd=folder.parent)
    write(site, folder / "work.sh", REQUEUES)
    short = f" {' '.join(map(str, scene.short))} "
    line = (*scene.options, "--name", run, "--", "bash", "work.sh", short)
    if run == "again":
        assert site.slurmslice("run", "--interval", "1", *line, cwd=folder).returncode == 1
        site.run("rm", *(f"ran.{number}" for number in scene.numbers), cwd=folder)
    else:
        assert site.slurmslice("render", *line, cwd=folder).returncode == 0
    write(site, folder / "second", "")
    verb = "resubmit" if run == "again" else "submit"
    assert site.slurmslice(verb, run, cwd=folder).returncode == 0


def _have_ended(folder: Path, run: str, scene: Scene) -> bool:
    log = folder / "slurmslice-runs" / run / "submissions" / "001" / "tasks" / "0.log"
    return log.read_text().count("slurmslice end") >= len(scene.short)


def _restarted(folder: Path, scene: Scene) -> bool:
    return _starts(folder, scene.asks) == 2


def _starts(folder: Path, number: int) -> int:
    """Count the starts of a slice."""
    path = folder / f"ran.{number}"
    return path.read_text().count("x") if path.exists() else 0


def test_slices_side_by_side_have_their_own_requests(site: Site, workplace: Path) -> None:
    """A slice that runs beside another sees its own request, and a step (srun) takes that much."""
    write(site, workplace / "step.sh", 'echo "$SLURM_CPUS_PER_TASK $SLURM_MEM_PER_NODE"\n')
    work = "bash step.sh && touch here.$SLICE && until [ -e here.0 ] && [ -e here.1 ]; do sleep 1; "
    command = f"bash step.sh; srun --ntasks=1 bash -c '{work}done; bash step.sh'"
    line = ("-a", "0-1", "--name", "h", "--pack", "2", "--at-once", "2", "-c", "2", "--mem", "60M")
    ran = site.slurmslice(
        "run", "--interval", "1", *line, "-t", "2", "--shell", f"{command} # $SLICE", cwd=workplace
    )
    assert ran.returncode == 0, ran.stderr
    assert site.slurmslice("logs", "h", "1", cwd=workplace).stdout == "2 60\n" * 3
