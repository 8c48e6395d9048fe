"""Scripts that were written for a job of their own, brought as the command."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.typed import Typed

HEAD = """\
#!/bin/bash
#SBATCH -J test --array=1-8%4
#SBATCH -c 16 --mem-per-cpu=4G    # for each CPU
#SBATCH --time 1:00:00
#SBATCH -o logs/%A_%a.out
"""
FILES = {
    "hand.sh": HEAD + "echo $SLURM_ARRAY_TASK_ID\n",
    "plain.sh": "echo $SLURM_ARRAY_TASK_ID\n",
    "submits.sh": "cat >job <<X\n#SBATCH --mem=1G\nX\n",
    "broken.sh": "#SBATCH --mem='1G\ntrue\n",
    "nothing.sh": "#SBATCH --array=1-8\ntrue\n",
    "scratch.sh": "# in $SLURM_JOBID\ncd /scratch/$SLURM_JOBID\nrm -r /scratch/${SLURM_JOBID}\n",
    "requeues.sh": "scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\n",
    "lightning.py": "import os\njob = os.environ['SLURM_JOB_ID']\n",
    "ours.sh": "echo $SLURMSLICE_ARRAY_JOB_ID $MY_SLURM_JOB_ID $SLURM_JOB_ID_2\n",
}


@pytest.fixture
def here(typed: Typed) -> Typed:
    """A folder with scripts."""
    for name, text in FILES.items():
        (typed.folder / name).write_text(text)
    (typed.folder / "direct").write_text(FILES["hand.sh"])
    (typed.folder / "direct").chmod(0o755)
    return typed


ALL = {"cpus-per-task": "16", "mem-per-cpu": "4G", "time": "1:00:00"}


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (("--", "bash", "hand.sh"), ALL),
        (("--", "./direct", "x"), ALL),
        (("--shell", "bash ./hand.sh"), ALL),
        (("-c", "2", "--", "bash", "hand.sh"), {"mem-per-cpu": "4G", "time": "1:00:00"}),
        (("--mem", "2G", "-c", "1", "--", "bash", "hand.sh"), {"time": "1:00:00"}),
        (("-c", "1", "--mem", "1G", "-t", "2", "--", "bash", "hand.sh"), None),
        (("--", "bash", "plain.sh"), None),
        (("--", "bash", "submits.sh"), None),
        (("--", "bash", "broken.sh"), None),
        (("--", "bash", "nothing.sh"), None),
    ],
)
def test_the_options_of_a_script_that_do_not_count(
    here: Typed, words: tuple[str, ...], options: dict[str, str] | None
) -> None:
    """sbatch would read them; as a command the script gets what the line says."""
    here("render", "-a", "1-8", *words)
    assert here.code == 0
    found = here.noted("script-options-unused")
    assert [note["options"] for note in found] == ([] if options is None else [options])


@pytest.mark.parametrize(
    ("pack", "words", "uses"),
    [
        (("--pack", "3"), ("--", "bash", "scratch.sh"), [("SLURM_JOBID", 2)]),
        (("--pack", "4", "--at-once", "2"), ("--", "bash", "scratch.sh"), [("SLURM_JOBID", 2)]),
        (("--pack", "3"), ("--", "bash", "requeues.sh"), [("SLURM_ARRAY_JOB_ID", 1)]),
        (("--pack", "3"), ("--", "python", "lightning.py"), [("SLURM_JOB_ID", 2)]),
        (("--pack", "3"), ("--shell", "mkdir $TMPDIR/$SLURM_JOB_ID"), [("SLURM_JOB_ID", 1)]),
        (("--pack", "3"), ("--", "bash", "ours.sh"), []),
        ((), ("--", "bash", "scratch.sh"), []),
        ((), ("--", "bash", "requeues.sh"), []),
        (("-a", "9001-9008"), ("--", "bash", "requeues.sh"), [("SLURM_ARRAY_JOB_ID", 1)]),
        (("-a", "9001-9008"), ("--", "bash", "scratch.sh"), []),
    ],
)
def test_the_ids_that_the_slices_of_a_pack_share(
    here: Typed, pack: tuple[str, ...], words: tuple[str, ...], uses: list[Any]
) -> None:
    """A folder or a requeue by such an id is not the slice's own."""
    slices = () if "-a" in pack else ("-a", "1-8")
    here("render", *slices, *pack, *words)
    assert here.code == 0
    found = here.noted("job-id-of-task")
    assert [(note["variable"], note["line"]) for note in found] == uses


@pytest.mark.parametrize(("script", "alike"), [("plain.sh", False), ("nothing.sh", True)])
def test_a_script_that_uses_the_number_is_not_the_same_for_every_slice(
    here: Typed, script: str, alike: bool
) -> None:
    """The note is for commands that cannot tell slices apart."""
    here("render", "-a", "1-8", "--", "bash", script)
    assert bool(here.noted("same-command")) is alike


@pytest.mark.parametrize(
    ("first", "words", "noted"),
    [
        ("#!/bin/bash -e", ("bash", "x.sh"), True),
        ("#!/bin/bash --login", ("bash", "x.sh", "1"), True),
        ("#!/bin/tcsh", ("bash", "x.sh"), True),
        ("#!/usr/bin/env bash", ("sh", "x.sh"), True),
        ("#!/usr/bin/env -S bash -eu", ("/bin/bash", "-u", "./x.sh"), True),
        ("#!/bin/bash -e", ("bash", "-e", "x.sh"), False),
        ("#! /bin/bash", ("bash", "-l", "x.sh"), False),
        ("#!/usr/bin/env bash", ("bash", "x.sh"), False),
        ("#!/bin/bash -e", ("./x.sh",), False),
        ("#!/bin/bash -e", ("wc", "x.sh"), False),
        ("# no such line", ("bash", "x.sh"), False),
    ],
)
def test_the_first_line_of_a_script_that_does_not_count(
    here: Typed, first: str, words: tuple[str, ...], noted: bool
) -> None:
    """sbatch would run the script by it: without its -e, for example, errors have no effect."""
    (here.folder / "x.sh").write_text(f"{first}\necho $SLURM_ARRAY_TASK_ID\n")
    (here.folder / "x.sh").chmod(0o755)
    here("render", "-a", "1-8", "--", *words)
    assert here.code == 0
    assert [note["line"] for note in here.noted("first-line-unused")] == [first] * noted
