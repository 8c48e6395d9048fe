"""``import`` of sbatch array scripts on a real cluster: the same as sbatch makes of them.

The scripts are written for these tests, after habits that public array scripts have.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import Site, array_task_of, jobs_in, side_by_side, until, write

pytestmark = pytest.mark.slurm

ODD_NUMBERS = """\
#!/bin/bash
#SBATCH --job-name=odd
#SBATCH --array=1-9:2%2          # every second one, two at once
#SBATCH --mem=50M
#SBATCH --output=logs/%x_%A_%a.out
#SBATCH --error=logs/%x-%4a.err
#SBATCH --mail-type=END,FAIL
#SBATCH --mail-user=ada@lab.invalid
echo "$SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT"
echo "$SLURM_ARRAY_TASK_MIN-$SLURM_ARRAY_TASK_MAX:$SLURM_ARRAY_TASK_STEP $SLURM_MEM_PER_NODE" >&2
"""

FUNCTIONS = """\
#!/bin/bash -e

# The sizes of three halos.
#SBATCH -a 0-2

##SBATCH --mem=900G
#SBATCH -J "small halos"  --mem 60M
# Below the first command, a line is none of sbatch's.
set -uo pipefail
shopt -s extglob
alias say=echo; shopt -s expand_aliases
sizes=(1 10 100)
size=${sizes[$SLURM_ARRAY_TASK_ID]}
#SBATCH --mem=900G
report() { local unit=$1; shift; say "$size $unit" "$@"; }
trap 'say "the end of $size"' EXIT
case $size in 1?(0)) kind=small ;; *) kind=large ;; esac
report halos "$kind" "$@" $- "$SLURM_JOB_NAME"
[[ $size -ne 10 ]]
false | true || exit 7
"""

OF_PYTHON = """\
#!/usr/bin/python3 -u
#SBATCH --array=3,5
#SBATCH -o {curly}/%x-%3a.txt --open-mode=truncate
import os, sys
print(*(os.environ["SLURM_ARRAY_TASK_" + name] for name in ("ID", "COUNT", "MIN", "MAX")))
print(sys.argv[1:], sys.flags.interactive, file=sys.stderr)
sys.exit(int(os.environ["SLURM_ARRAY_TASK_ID"]) == 5)
"""

OF_PERL = """\
#!/usr/bin/perl -w
#SBATCH -a10-11 -o %A-%a.txt -e/dev/null
print "$ENV{SLURM_ARRAY_TASK_ID} $^W @ARGV\\n";
print STDERR "lost\\n";
"""

WITHOUT_MODULES = """\
#!/bin/sh
#SBATCH --job-name=mods
#SBATCH --output=%x-%j
#SBATCH --array=1,3,15

# LOAD MODULES
module load python/3.5
. ./nowhere/activate || true
cd nowhere-either
echo "dim $SLURM_ARRAY_TASK_ID"
"""

OF_WINDOWS = """\
#!/bin/bash -e\r
#SBATCH --array=0,2 -o %A_%a.out\r
text='\r
'\r
case $SLURM_ARRAY_TASK_ID in\r
  0) echo "none ${#text}" ;;\r
  *) false ;;\r
esac\r
"""
"""sbatch refuses such a file. A run has it with the line ends of Unix."""

SCRIPTS: dict[str, tuple[object, ...]] = {
    "odd.sh": (ODD_NUMBERS, tuple("13579")),
    "functions.sh": (FUNCTIONS, tuple("012")),
    "numbers.py": (OF_PYTHON, tuple("35")),
    "windows.sh": (OF_WINDOWS, tuple("02")),
    "words.pl": (OF_PERL, ("10", "11")),
    "modules.sh": (WITHOUT_MODULES, ("1", "3", "15")),
}
"""The text of each script, and its indices."""

_SCRIPT = re.compile(r"\S*(slurm_script|/imported\.\w+)")


@dataclass(frozen=True)
class Ended:
    """The result of an array.

    Attributes:
        files: the text of each output file, by its name with ``JOB`` for the id of the array and
            ``TASK`` for that of a task.
        exits: State and ExitCode of each task, by its index.
    """

    files: dict[str, str]
    exits: dict[str, str]


def ended(site: Site, folder: Path, job: str, indices: Sequence[str]) -> Ended:
    """Wait for the end of an array, and return its result."""
    exits: dict[str, str] = {}
    ids: dict[str, str] = {}

    def are_over() -> bool:
        line = ("sacct", "-X", "-n", "-P", "-j", job, "-o", "JobID,JobIDRaw,State,ExitCode,End")
        for row in site.run(*line, cwd=folder).stdout.splitlines():
            task, raw, state, code, end = row.split("|")
            if end != "Unknown" and task.partition("_")[2] in indices:
                exits[task.partition("_")[2]] = f"{state} {code}"
                ids[raw] = "TASK"
        return len(exits) == len(indices) and not jobs_in(site, folder)

    until(are_over, f"the end of {job}")
    files = {}
    for path in folder.rglob("*"):
        if path.is_file() and "slurmslice-runs" not in path.parts and path.name not in SCRIPTS:
            name = path.relative_to(folder).as_posix()
            for raw in ids:
                name = name.replace(f"{raw}_", "JOB_") if raw == job else name
                name = name.replace(f"{raw}-", "JOB-") if raw == job else name
                name = re.sub(rf"-{raw}$", "-TASK", name)
            files[name] = _SCRIPT.sub("SCRIPT", path.read_text())
    return Ended(files, exits)


def test_an_imported_script_does_what_sbatch_does(site: Site, workplace: Path) -> None:
    """The same output in files with the same names, and the same exit codes, for each index."""
    side_by_side(site, workplace, as_by_sbatch, {name: (name, *of) for name, of in SCRIPTS.items()})


def as_by_sbatch(site: Site, folder: Path, name: str, text: str, indices: Sequence[str]) -> None:
    """Submit a script by sbatch, and beside it as a run."""
    plain, mine = folder / "plain", folder / "mine"
    for place in (plain, mine):
        site.run("mkdir", "-p", f"{place}/logs", f"{place}/{{curly}}", cwd=folder)
        write(site, place / name, text.replace("\r", "") if place is plain else text)
    words = (name, "a b", "--", "-x")
    job = site.run("sbatch", "--parsable", *words, cwd=plain).stdout.strip()
    made = site.slurmslice("import", *words, cwd=mine)
    assert made.returncode == 0, made.stderr
    sent = site.slurmslice("submit", cwd=mine)
    assert sent.returncode == 0, sent.stderr
    mine_job = array_task_of(sent)
    if "%2" in text:
        assert told(site, mine, mine_job) == told(site, plain, job)
    by_sbatch, by_us = ended(site, plain, job, indices), ended(site, mine, mine_job, indices)
    logs = {
        f"slurm-JOB_{key}.out": _SCRIPT.sub("SCRIPT", site.slurmslice("logs", key, cwd=mine).stdout)
        for key in indices
    }
    usual = not re.search("^#SBATCH.*(-o|--output)", text, re.MULTILINE)
    assert {**by_us.files, **(logs if usual else {})} == by_sbatch.files
    assert by_us.exits == by_sbatch.exits


def told(site: Site, folder: Path, job: str) -> set[str]:
    """Return what Slurm tells of the requests of an array: throttle, mail and memory."""
    shown = site.run("scontrol", "show", "job", job, cwd=folder).stdout
    found = set(re.findall(r"(?:ArrayTaskThrottle|MailUser|MailType|MinMemory\w*)=\S+", shown))
    assert {word.partition("=")[0] for word in found} >= {"ArrayTaskThrottle", "MailUser"}, shown
    return found


REFUSED: dict[str, tuple[object, ...]] = {
    # The code and the text. sbatch refuses them too, except for the first.
    "no-array": ("one-source", "#!/bin/bash\n#SBATCH --mem=50M\ntrue\n"),
    "unknown": ("unknown-option", "#!/bin/bash\n#SBATCH -a 0-1 --nodess=1\ntrue\n"),
    "range": ("backward-range", "#!/bin/bash\n#SBATCH --array=3-1\ntrue\n"),
    "memory": ("bad-memory", "#!/bin/bash\n#SBATCH -a 0-1\n#SBATCH --mem=4Q\ntrue\n"),
    "no-script": ("script-without-interpreter", "SBATCH -a 0-1\ntrue\n"),
    "empty": ("script-without-interpreter", ""),
    "binary": ("script-without-interpreter", "#!/bin/sh\0\n#SBATCH -a 0-1\ntrue\n"),
    "some-crlf": ("carriage-return", "#!/bin/bash\n#SBATCH -a 0-1\r\ntrue\n"),
    "het": ("heterogeneous-job", "#!/bin/bash\n#SBATCH -a 0-1\n#SBATCH hetjob\n#SBATCH -c 1\n"),
    "quotes": ("unclosed-quote", "#!/bin/bash\n#SBATCH -a 0-1 -J 'halos\ntrue\n"),
}


def test_a_bad_script_makes_nothing(site: Site, workplace: Path) -> None:
    """What sbatch refuses, ``import`` refuses before a run is made."""
    side_by_side(
        site, workplace, refused_by_both, {name: (name, *of) for name, of in REFUSED.items()}
    )
    assert jobs_in(site, workplace) == []


def refused_by_both(site: Site, folder: Path, name: str, code: str, text: str) -> None:
    """Try the script by both."""
    write(site, folder / "bad.sh", text)
    done = site.slurmslice("import", "bad.sh", cwd=folder)
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert "bad.sh" in done.stderr
    assert not (folder / "slurmslice-runs").exists()
    if name != "no-array":
        assert site.run("sbatch", "--hold", "bad.sh", cwd=folder).returncode != 0, name
