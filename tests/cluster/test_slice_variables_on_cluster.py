"""Scripts that were written for a job array, on a real Slurm cluster."""

from __future__ import annotations

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


# A command that has its own task requeued, as PyTorch Lightning does.
REQUEUES = """\
echo x >>"ran.$SLICE"
[ -e first ] || exit 1
if [ "$SLICE" = 1 ] && [ ! -e asked ]; then
  until [ -e "alive.3" ]; do sleep 0.2; done
  touch asked
  task=$SLURM_JOB_ID
  [ -z "$SLURM_ARRAY_JOB_ID" ] || task=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  scontrol requeuehold "$task"
  sleep 60
fi
touch "alive.$SLICE"
[ "$SLICE" = 1 ] || until [ -e go ]; do sleep 0.2; done
"""


def test_a_requeue_by_number_reaches_no_other_slice(site: Site, workplace: Path) -> None:
    """The slices 1 and 3 run again as the tasks 0 and 1: slice 1 requeues its own task only."""
    write(site, workplace / "work.sh", REQUEUES)
    line = ("-a", "1,3", "--column", "x={{ slice }}", "--name", "h", "--", "bash", "work.sh")
    assert site.slurmslice("run", "--interval", "1", *line, cwd=workplace).returncode == 1
    write(site, workplace / "first", "")
    assert site.slurmslice("resubmit", "h", cwd=workplace).returncode == 0
    until((workplace / "asked").exists, "slice 1 to ask")
    job = events(workplace, "h", "submitted")[-1]["job"]

    def released() -> bool:
        site.run("scontrol", "release", f"{job}_0", cwd=workplace)
        return (workplace / "ran.1").read_text() == "x\n" * 3

    until(released, "slice 1 to run again")
    write(site, workplace / "go", "")
    assert settled(site, workplace, "h") == {"COMPLETED": 2}
    assert (workplace / "ran.3").read_text() == "x\n" * 2


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
