"""``import`` of sbatch scripts, and their slices on this machine.

The scripts are written for these tests, after habits that public array scripts have.
"""

from __future__ import annotations

import json

import pytest

from tests.local.test_local_runs import Here, here
from tests.support.errors import error_code
from tests.support.notes import noted

__all__ = ["here"]

IMPORT = ("import", "--engine", "local")

LINES_OF_A_LIST = """\
#!/bin/bash
#SBATCH --job-name=lines
#SBATCH --array=1-4%2      # one task for each line
#SBATCH --time=00:01:00
#SBATCH --output=logs/%x_%A_%a.out
#SBATCH --error=logs/%x_%A_%a.err

set -euo pipefail
cd data
item=$(sed -n "${SLURM_ARRAY_TASK_ID}p" ../list.txt)
trap 'echo "end of $item" >&2' EXIT
source ./helpers.sh
greet "$item"
[[ $item != c ]]
echo "$item is done"
"""

GRID_FROM_ONE_NUMBER = """\
#!/bin/bash -e
#SBATCH -J grid
#SBATCH -a 0-5
shopt -s extglob
rates=(0.1 0.2 0.3)
local_rate=${rates[SLURM_ARRAY_TASK_ID % 3]} seed=$((SLURM_ARRAY_TASK_ID / 3))
case $local_rate in 0.+([12])) kind=low ;; *) kind=high ;; esac
echo "$1 $local_rate $seed $kind of $SLURM_ARRAY_TASK_COUNT"
"""

PYTHON = """\
#!/usr/bin/env python3
#SBATCH --array=3,5
#SBATCH -o {curly}-%3a.txt
import os, sys

print(os.environ["SLURM_ARRAY_TASK_ID"], os.environ["SLURM_ARRAY_TASK_MAX"], *sys.argv[1:])
sys.exit(0)
"""


def test_lines_of_a_list(here: Here) -> None:
    """set -e, a trap, a sourced file, logs with names, and a failure that is resubmitted."""
    (here.folder / "data").mkdir()
    (here.folder / "data/helpers.sh").write_text('greet() { echo "hello $1"; }\n')
    (here.folder / "list.txt").write_text("a\nb\nc\nd\n")
    (here.folder / "hand.sh").write_text(LINES_OF_A_LIST)
    assert here(*IMPORT, "hand.sh").returncode == 0
    record = json.loads((here.folder / "slurmslice-runs/lines/run.json").read_text())
    assert (record["throttle"], record["slices"]) == (2, 4)
    (here.folder / "hand.sh").write_text("the run has a copy")
    assert here("run", "lines").returncode == 1
    first = next((here.folder / "logs").glob("lines_*_2.out"))
    assert first.read_text() == "hello b\nb is done\n"
    assert here("logs", "lines", "3").stdout == "hello c\nend of c\n"
    (here.folder / "list.txt").write_text("a\nb\nC\nd\n")
    assert here("resubmit", "lines").returncode == 0
    assert len(list((here.folder / "logs").glob("lines_*_3.out"))) == 2


def test_a_second_import(here: Here) -> None:
    """The same script is the same run; a changed one is not."""
    (here.folder / "grid.sh").write_text(GRID_FROM_ONE_NUMBER)
    assert here(*IMPORT, "grid.sh").returncode == 0
    assert error_code(here(*IMPORT, "grid.sh").stderr) == "run-exists"
    (here.folder / "grid.sh").write_text(f"{GRID_FROM_ONE_NUMBER}# more\n")
    assert error_code(here(*IMPORT, "grid.sh").stderr) == "run-differs"


@pytest.mark.parametrize("packing", [(), ("--pack", "3")])
def test_arguments_and_shell_options(here: Here, packing: tuple[str, ...]) -> None:
    """Words after the file are its arguments; options before it override its lines."""
    (here.folder / "grid.sh").write_text(GRID_FROM_ONE_NUMBER)
    assert here(*IMPORT, *packing, "-a", "0-3", "-J", "g", "grid.sh", "a b").returncode == 0
    assert here("run", "g").returncode == 0
    assert here("gather", "g").stdout.splitlines() == [
        "a b 0.1 0 low of 4", "a b 0.2 0 low of 4", "a b 0.3 0 high of 4", "a b 0.1 1 low of 4",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "noted_words"),
    [
        (("--engine", "local"), ["--engine"]),
        (("x", "--mem=4G", "--dry-run"), ["--mem=4G", "--dry-run"]),
        (("--throttle=2", "--", "--name"), ["--throttle=2"]),
        (("--seeds=3", "-n", "5", "x--mem", "--"), None),
        (("--", "--engine"), None),
    ],
)
def test_options_after_the_file_are_arguments(
    here: Here, words: tuple[str, ...], noted_words: list[str] | None
) -> None:
    """A note names those that look like options of the run, and the script gets all of them."""
    (here.folder / "x.sh").write_text('#!/bin/sh\n#SBATCH -a 1\necho "$@"\n')
    done = here(*IMPORT, "x.sh", *words)
    said = [one["words"] for one in noted(done.stderr, "import-words-after")]
    assert said == ([noted_words] if noted_words else [])
    assert noted(done.stderr, "imported-as")[0]["words"][-len(words) :] == list(words)


@pytest.mark.parametrize(
    ("line", "words", "name"),
    [
        ("-J 'small {halos} 9%'", (), "small {halos} 9%"),
        ("-J small", (), "small"),
        ("-c 1", (), "x.sh"),
        ("-J small", ("-J", "large"), "large"),
        ("-c 1", ("--name", "large"), "large"),
    ],
)
def test_the_name_of_the_job(here: Here, line: str, words: tuple[str, ...], name: str) -> None:
    """It is that of sbatch in files and in SLURM_JOB_NAME, also if a run cannot have it."""
    text = f"#!/bin/sh\n#SBATCH -a 1 {line} -o '%x %%x'\necho \"$SLURM_JOB_NAME\"\n"
    (here.folder / "x.sh").write_text(text)
    assert here(*IMPORT, *words, "x.sh").returncode == 0
    (run,) = (path.parent.name for path in (here.folder / "slurmslice-runs").glob("*/run.json"))
    assert here("run", run).returncode == 0
    assert (here.folder / f"{name} %x").read_text() == f"{name}\n"


def test_another_interpreter(here: Here) -> None:
    """The first line counts, and braces in a name of the script are no placeholder."""
    (here.folder / "p.py").write_text(PYTHON)
    assert here(*IMPORT, "p.py", "--", "-x").returncode == 0
    assert here("run", "p").returncode == 0
    assert (here.folder / "{curly}-003.txt").read_text() == "3 5 -- -x\n"
    assert (here.folder / "slurmslice-runs/p/imported.py").read_text() == PYTHON


@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_a_script_of_windows(here: Here, start: str) -> None:
    """The copy has the line ends of Unix, and no byte-order mark."""
    text = f"{start}#!/bin/sh -e\n#SBATCH -a 1\nif true; then\n  echo a\nfi\n"
    (here.folder / "w.sh").write_bytes(text.replace("\n", "\r\n").encode())
    assert here(*IMPORT, "w.sh").returncode == 0
    assert here("run", "w").returncode == 0
    assert here("logs", "w", "1").stdout == "a\n"


def test_the_folder_of_the_script(here: Here) -> None:
    """--chdir is the working directory, and the run stays here."""
    (here.folder / "work").mkdir()
    text = "#!/bin/sh\n#SBATCH -a 1 -D work -o o-%a\npwd; ls\n"
    (here.folder / "c.sh").write_text(text)
    assert here(*IMPORT, "c.sh").returncode == 0
    assert here("run", "c").returncode == 0
    assert (here.folder / "work/o-1").read_text().splitlines() == [str(here.folder / "work"), "o-1"]
    assert (here.folder / "slurmslice-runs/c/run.json").exists()


def test_the_same_as_a_line_of_render(here: Here) -> None:
    """A dry run makes nothing. The note has the whole line."""
    (here.folder / "grid.sh").write_text(GRID_FROM_ONE_NUMBER)
    done = here(*IMPORT, "--dry-run", "grid.sh")
    assert done.returncode == 0
    words = noted(done.stderr, "imported-as")[0]["words"]
    assert set(words) >= {"--name=grid", "--array=0-5"}
    assert not (here.folder / "slurmslice-runs").exists()


@pytest.mark.parametrize(
    ("code", "text", "words"),
    [
        ("one-source", "#!/bin/sh\ntrue\n", ()),
        ("script-without-interpreter", "true\n", ()),
        ("script-without-interpreter", "\x7fELF\r\n\0", ()),
        ("carriage-return", "#!/bin/sh\n#SBATCH -a 0-3\r\ntrue\n", ()),
        ("file-shared", "#!/bin/sh\n#SBATCH -a 0-3 -o all.txt\n", ()),
        ("no-such-file", "#!/bin/sh\n#SBATCH -a 0-3 -D nowhere\n", ()),
        ("bad-memory", "#!/bin/sh\n#SBATCH -a 0-3 --mem=4Q\n", ()),
        ("heterogeneous-job", "#!/bin/sh\n#SBATCH -a 0-3\n#SBATCH hetjob\n", ()),
        ("unknown-option", "#!/bin/sh\n#SBATCH -a 0-3\n", ("--nodess=1",)),
    ],
)  # fmt: skip
def test_nothing_is_made_after_a_refusal(
    here: Here, code: str, text: str, words: tuple[str, ...]
) -> None:
    (here.folder / "x.sh").write_text(text)
    done = here(*IMPORT, *words, "x.sh")
    assert (done.returncode, error_code(done.stderr)) == (2, code)
    assert not (here.folder / "slurmslice-runs").exists()


def test_an_option_of_another_cluster(here: Here) -> None:
    """Nobody is asked on this machine, which does without the option."""
    (here.folder / "x.sh").write_text("#!/bin/sh\n#SBATCH -a 0 --of-a-plugin=x\ntrue\n")
    assert here(*IMPORT, "x.sh").returncode == 0
    assert here("run", "x").returncode == 0


def test_no_file_and_a_folder(here: Here) -> None:
    assert error_code(here(*IMPORT).stderr) == "missing-argument"
    assert error_code(here(*IMPORT, "none.sh").stderr) == "unreadable-file"
    assert here(*IMPORT, ".").returncode == 2
    assert here("import", "--help").returncode == 0


def test_run_of_a_script_names_this_verb(here: Here) -> None:
    (here.folder / "grid.sh").write_text(GRID_FROM_ONE_NUMBER)
    done = here("run", "grid.sh")
    assert error_code(done.stderr) == "no-such-run"
    assert "slurmslice import grid.sh" in done.stderr
