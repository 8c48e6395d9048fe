"""A command that uses SLURM_ARRAY_TASK_ID, for slices that have no such number."""

from __future__ import annotations

import pytest

from tests.support.typed import Typed

FILES = {
    "files.txt": "a\nb\nc\n",
    "t.csv": "name,mass\na,1\nb,2\n",
    "hand.sh": '# by SLURM_ARRAY_TASK_ID\nsed -n "${SLURM_ARRAY_TASK_ID}p" files.txt\n',
    "hand.py": 'import os\nprint(os.environ["SLURM_ARRAY_TASK_ID"])\n',
    "shard.R": 'n <- Sys.getenv("SLURM_ARRAY_TASK_COUNT")\n',
    "comment.sh": "# for SLURM_ARRAY_TASK_ID\n  # SLURM_ARRAY_TASK_ID\ntrue\n",
    "env.sh": "seed=$SLURM_ARRAY_TASK_ID\n",
    "data.bin": "\0SLURM_ARRAY_TASK_ID\n",
    "jobs.txt": "./x 1\nbash hand.sh 2\n",
    "ids.txt": "./x $SLURM_ARRAY_TASK_ID\n",
}
LIST = ("--slices-from", "files.txt")


@pytest.fixture
def here(typed: Typed) -> Typed:
    """A folder with scripts."""
    for name, text in FILES.items():
        (typed.folder / name).write_text(text)
    return typed


@pytest.mark.parametrize(
    ("words", "where", "instead"),
    [
        ((*LIST, "--", "bash", "hand.sh"), "hand.sh", 'sed -n "${SLICE}p" files.txt'),
        (("--table", "t.csv", "--", "python", "hand.py"), "hand.py", 'print(os.environ["SLICE"])'),
        (("--glob", "*.csv", "--", "Rscript", "shard.R"), "shard.R",
         'n <- Sys.getenv("SLICE_COUNT")'),
        (("--grid", "x=1,2", "--", "bash", "-c", "echo $SLURM_ARRAY_TASK_ID"), "The command",
         "echo $SLICE"),
        ((*LIST, "--shell", "x=1\necho $SLURM_ARRAY_TASK_ID"), "--shell", "echo $SLICE"),
        ((*LIST, "--shell", 'bash ./hand.sh "$SLICE"'), "./hand.sh",
         'sed -n "${SLICE}p" files.txt'),
        ((*LIST, "--setup", "env.sh", "--", "true", "{}"), "--setup", "seed=$SLICE"),
        ((*LIST, "--setup", "source env.sh", "--", "true", "{}"), "env.sh", "seed=$SLICE"),
        ((*LIST, "--check", "test -e $SLURM_ARRAY_TASK_ID # $SLICE", "--", "true", "{}"),
         "--check", "test -e $SLICE # $SLICE"),
        (("--glob", "hand.*", "--", "bash", "{}"), "hand.py", 'print(os.environ["SLICE"])'),
        (("--job-file", "jobs.txt"), "hand.sh", 'sed -n "${SLICE}p" files.txt'),
        (("--job-file", "ids.txt"), "ids.txt, line 1", "./x $SLICE"),
        (("-a", "1-8", "--pack", "2", "--setup", "env.sh", "--", "true", "{}"), "--setup", ""),
    ],
)  # fmt: skip
def test_a_use_without_a_number_is_refused(
    here: Typed, words: tuple[str, ...], where: str, instead: str
) -> None:
    """Nothing is made; the error has the line to write; --allow-task-id accepts it."""
    said = here("render", *words)
    assert (here.code, here.error) == (2, "task-id-of-no-slice")
    assert (here.fields["where"], here.fields["instead"]) == (where, instead)
    assert " ".join(instead.split()) in said
    assert not (here.folder / "runs").exists()
    here("render", "--allow-task-id", *words)
    assert here.code == 0


@pytest.mark.parametrize(
    "words",
    [
        ("-a", "1-3", "--", "bash", "hand.sh"),
        ("-a", "1-3", "--pack", "2", "--", "bash", "hand.sh"),
        ("-a", "1-3", "--setup", "env.sh", "--", "true", "{}"),
        (*LIST, "--", "bash", "comment.sh", "{}"),
        (*LIST, "--", "cat", "data.bin", "{}"),
        (*LIST, "--", "env", "SLURM_ARRAY_TASK_ID={}", "bash", "hand.sh"),
        (*LIST, "--shell", "export SLURM_ARRAY_TASK_ID=$((SLICE_ROW + 1)); bash hand.sh"),
    ],
)
def test_a_use_of_the_right_number_is_accepted(here: Typed, words: tuple[str, ...]) -> None:
    """Slices of a range have it, and a text may set it; a comment or a binary uses nothing."""
    here("render", *words)
    assert (here.code, here.error) == (0, "")


def test_it_may_be_allowed_in_settings(here: Typed) -> None:
    """As every option."""
    (here.folder / "slurmslice.toml").write_text("allow-task-id = true\n")
    here("render", *LIST, "--", "bash", "hand.sh")
    assert here.code == 0


def test_a_template_that_uses_it(here: Typed) -> None:
    """A template is a script too."""
    text = '{% extends "array.sh.j2" %}\n{% block command %}\n  ./x $SLURM_ARRAY_TASK_ID\n'
    (here.folder / "own.j2").write_text(text + "{% endblock %}\n")
    here("render", *LIST, "--template", "own.j2", "--", "true", "{}")
    assert (here.error, here.fields["where"]) == ("task-id-of-no-slice", "own.j2")


@pytest.mark.parametrize(
    ("words", "noted"),
    [
        (("--shell", "./x $SLURM_ARRAY_TASK_ID"), 0),
        (("--", "bash", "-c", "./x ${SLURM_ARRAY_TASK_ID}"), 0),
        (("--", "bash", "-c", "./x"), 1),
    ],
)
def test_a_command_with_the_number_is_not_the_same_for_every_slice(
    here: Typed, words: tuple[str, ...], noted: int
) -> None:
    """The preview says nothing about a command that uses SLURM_ARRAY_TASK_ID."""
    here("run", "--dry-run", "-a", "1-3", *words)
    assert len(here.noted("same-command")) == noted
