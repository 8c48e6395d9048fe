"""A script that people bring, written for a job array, on this machine and in every form."""

from __future__ import annotations

import pytest

from tests.local.test_local_runs import RUN, Here, here

__all__ = ["here"]

HAND = """\
line=$(sed -n "${SLURM_ARRAY_TASK_ID}p" files.txt)
echo "$line: $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT" \\
  "$SLURM_ARRAY_TASK_MIN-$SLURM_ARRAY_TASK_MAX:$SLURM_ARRAY_TASK_STEP" \\
  "row $SLICE_ROW of $SLICE_COUNT attempt $SLICE_ATTEMPT"
[[ -e mended || ! $line =~ [27] ]]
"""


def prepare(here: Here) -> None:
    (here.folder / "hand.sh").write_text(HAND)
    (here.folder / "files.txt").write_text("".join(f"input {n}\n" for n in range(1, 30)))


def said(here: Here, key: int) -> str:
    return here("logs", "h", str(key)).stdout


@pytest.mark.parametrize(
    "form",
    [(), ("--pack", "3"), ("--pack", "4", "--at-once", "2"), ("--column", "x={{ slice }}")],
)
def test_the_array_of_the_run_is_seen_in_every_form(here: Here, form: tuple[str, ...]) -> None:
    """Also by the slices that are submitted again: three of eight, two of them twice."""
    prepare(here)
    assert here(*RUN, "-a", "1-8%4", "--name", "h", *form, "--", "bash", "hand.sh").returncode == 1
    assert here("resubmit", "h", "2").returncode == 1
    (here.folder / "mended").touch()
    assert here("resubmit", "h").returncode == 0
    for key in range(1, 9):
        attempt = {2: 3, 7: 2}.get(key, 1)
        expected = f"input {key}: {key} of 8 1-8:1 row {key - 1} of 8 attempt {attempt}\n"
        assert said(here, key) == expected


def test_a_part_of_the_slices_sees_the_whole_array(here: Here) -> None:
    """``--only`` submits a part, of a range with zeros and a step."""
    prepare(here)
    line = ("--engine", "local", "-a", "004-028:6", "--name", "h", "--", "bash", "hand.sh")
    assert here("render", *line).returncode == 0
    assert here("submit", "h", "--only", "010,016-016").returncode == 0
    assert here("watch", "h", "--interval", "0.3").returncode in {0, 1, 4}
    assert here("logs", "h", "010").stdout == "input 10: 10 of 5 4-28:6 row 1 of 5 attempt 1\n"


def test_an_edited_script_sees_the_same(here: Here) -> None:
    """The worker then starts a bash for each task."""
    prepare(here)
    line = ("--engine", "local", "-a", "7-9,1,3", "--name", "h", "--", "bash", "hand.sh")
    (here.folder / "mended").touch()
    assert here("render", *line).returncode == 0
    script = here.folder / "slurmslice-runs/h/script.sh"
    script.write_text(script.read_text().replace("\nsource ", "\nx=1\nsource "))
    assert here("run", "h").returncode == 0
    assert said(here, 3) == "input 3: 3 of 5 1-9:1 row 4 of 5 attempt 1\n"


@pytest.mark.parametrize("form", [("%2",), ("%2", "-c", "1", "--mem", "64M")])
def test_scratch_under_the_job_id_is_one_slices(here: Here, form: tuple[str, ...]) -> None:
    """As on Slurm, $SLURM_JOBID differs between tasks and $SLURMD_NODENAME is the machine."""
    (here.folder / "scratch.sh").write_text(
        'd="scratch/$SLURM_JOBID.$SLURMD_NODENAME"; mkdir -p scratch; mkdir "$d" || exit 1\n'
        'echo "$SLURM_NTASKS $SLURM_CPUS_ON_NODE $SLURM_JOB_NUM_NODES" >"$d/out"\n'
        'cp "$d/out" "out.$SLURM_ARRAY_TASK_ID"\n'
    )
    throttle, *options = form
    line = (*RUN, "-a", f"1-8{throttle}", "--name", "h", *options, "--", "bash", "scratch.sh")
    assert here(*line).returncode == 0
    assert [(here.folder / f"out.{n}").read_text() for n in range(1, 9)] == ["1 1 1\n"] * 8


SLOTS = """\
mkdir "at.$SLICE_SLOT" || exit 1
touch "seen.$SLICE_SLOT"
tries=0
until [[ -e seen.0 && -e seen.1 && -e seen.2 && -e seen.3 ]]; do
  ((tries++ < 1000)) || exit 2
  sleep 0.02
done
rmdir "at.$SLICE_SLOT"
(( SLICE_SLOT < 4 ))
"""
"""A slice fails if another one has its slot at the same time, or if the slots are not 0 to 3."""


@pytest.mark.parametrize("form", [("%4",), ("%4", "--pack", "3", "--at-once", "2")])
@pytest.mark.parametrize("edited", [False, True])
def test_no_two_slices_at_a_time_have_a_slot(
    here: Here, form: tuple[str, ...], edited: bool
) -> None:
    """Four at once have the slots 0 to 3: four tasks, and two tasks of two slices."""
    (here.folder / "slots.sh").write_text(SLOTS)
    throttle, *options = form
    line = ("--engine", "local", "-a", f"1-12{throttle}", "--name", "h", *options)
    assert here("render", *line, "--", "bash", "slots.sh").returncode == 0
    if edited:  # the worker then starts a bash for each task
        script = here.folder / "slurmslice-runs/h/script.sh"
        script.write_text(script.read_text().replace("\nsource ", "\nx=1\nsource "))
    assert here("run", "h").returncode == 0
