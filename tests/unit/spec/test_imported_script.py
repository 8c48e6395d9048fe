"""Sbatch scripts as options and a command."""

from __future__ import annotations

import pytest

from slurmslice.errors import BadInputError
from slurmslice.spec.imported_script import literal_braces, read_imported_script, run_name
from tests.support.errors import raises_error

HEAD = "#!/bin/bash\n#SBATCH -a 0-9%2\n"


def words_of(text: str, *typed: str) -> list[str]:
    return read_imported_script("jobs/hand.sh", text).words(typed)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#SBATCH --mem=4G -t 1:00 # why", ["--mem=4G", "--time=1:00"]),
        ("#SBATCH -o 'a b-%A_%a.out' -e %J.err", ["--output=a b-%A_%a.out", "--error=%j.err"]),
        ("#SBATCH -o {x}-{}-%a", ["--output={{x}}-{{}}-%a"]),
        ("#SBATCH --open-mode=truncate", ["--open-mode=truncate"]),
        ("#SBATCH --mail-user=a@b.c\n#SBATCH --mail-type=END,FAIL",
         ["--mail-user=a@b.c", "--mail-type=END,FAIL"]),
        ("#SBATCH --requeue --exclusive=user", ["--requeue", "--exclusive=user"]),
        ("#SBATCH -d afterok:7 --export=NONE", ["--dependency=afterok:7", "--export=NONE"]),
        ("#SBATCH --profile=task", ["--sbatch", "profile=task"]),
        ("#SBATCH --site-option=3", ["--sbatch", "site-option=3"]),
        ("#SBATCH --mem=1G\n#SBATCH --mem=2G", ["--mem=2G"]),
        ("##SBATCH --mem=1G", []),
        ("true\n#SBATCH --mem=1G", []),
        ("#SBATCH --wait --parsable", []),
        ('mv "slurm-${SLURM_ARRAY_JOB_ID}_$x.out" log/', ["--output=slurm-%A_%a.out"]),
        ("# it writes slurm-1_2.out", []),
        ("#SBATCH -o x-%a\ncat slurm-1.out", ["--output=x-%a"]),
    ],
)  # fmt: skip
def test_each_line_becomes_an_option(line: str, words: list[str]) -> None:
    """As sbatch reads it: above the first command, with letters and quotes."""
    found = words_of(HEAD + line + "\n")
    assert [word for word in found if word[:6] not in {"--arra", "--name"}] == words
    assert {"--array=0-9%2", "--name=hand"} <= set(found)


def test_what_was_typed_overrides_its_line() -> None:
    text = HEAD + "#SBATCH --mem=4G -J its-name\n"
    assert words_of(text, "array", "mem-per-cpu", "job-name") == []


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("script-without-interpreter", "#SBATCH -a 0-9\n"),
        ("script-without-interpreter", ""),
        ("heterogeneous-job", HEAD + "#SBATCH hetjob\n"),
        ("option-not-imported", HEAD + "#SBATCH --input=in.txt\n"),
        ("option-not-imported", HEAD + "#SBATCH --wrap=true\n"),
        ("foreign-directive", "#!/bin/bash\n#PBS -l x\n"),
        ("unclosed-quote", HEAD + "#SBATCH --comment='x\n"),
    ],
)
def test_what_is_refused(code: str, text: str) -> None:
    with raises_error(BadInputError, code):
        read_imported_script("hand.sh", text)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("#!/bin/bash", ("/bin/bash",)),
        ("#! /bin/bash -l ", ("/bin/bash", "-l")),
        ("#!/usr/bin/env python3", ("/usr/bin/env", "python3")),
        ("#!/usr/bin/env -S Rscript --vanilla", ("/usr/bin/env", "-S Rscript --vanilla")),
    ],
)
def test_the_first_line_starts_the_script(line: str, words: tuple[str, ...]) -> None:
    """As the kernel reads it: all that follows the program is one argument (execve(2))."""
    assert read_imported_script("x", f"{line}\n").interpreter == words


@pytest.mark.parametrize(
    ("name", "run"),
    [("my job", "my-job"), ("array_%J", "array_-J"), ("../x", "x"), ("%%", "imported")],
)  # fmt: skip
def test_any_name_of_a_job_gives_one_of_a_run(name: str, run: str) -> None:
    assert run_name(name) == run


def test_notes_name_what_does_not_count() -> None:
    text = HEAD + "#SBATCH --wait\necho $0\n#SBATCH --mem=1G\n"
    notes = {note.code: note.fields for note in read_imported_script("hand.sh", text).notes}
    assert notes["import-dropped"]["options"] == ["wait"]
    assert notes["ignored-directive"]["line"] == 5
    assert notes["import-own-path"]["line"] == 4
    assert literal_braces("a{x}{}{1}") == "a{{x}}{{}}{1}"
