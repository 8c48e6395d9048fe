"""Array scripts of other people: sbatch runs them, and slurmslice runs them after an import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.support.errors import error_code
from tests.support.site import Site, events, settled, side_by_side, until, write

pytestmark = pytest.mark.slurm


@dataclass(frozen=True)
class Script:
    """An array script, and how it is typed.

    Attributes:
        text: the file.
        options, arguments: the words before and after the file.
    """

    text: str
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


VARIABLES = """\
echo "$SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT:" \\
  "$SLURM_ARRAY_TASK_MIN-$SLURM_ARRAY_TASK_MAX:$SLURM_ARRAY_TASK_STEP $*"
"""

SCRIPTS = {
    "lines": Script(
        "#!/bin/bash\n#SBATCH --job-name=lines\n#SBATCH --array=1-3%2   # one for each line\n"
        "#SBATCH --output=logs/%x_%A_%a.out\n#SBATCH --error=logs/%x_%A_%a.err\n"
        "# Ada wrote this.\n#SBATCH --mem=50M --time=5\nset -euo pipefail\n"
        "greet() { echo \"hello $1\"; }\ntrap 'echo \"end of $item\" >&2' EXIT\n"
        'item=$(sed -n "${SLURM_ARRAY_TASK_ID}p" list)\ngreet "$item"\n[[ $item != b ]]\n'
        + VARIABLES,
    ),
    "steps": Script(
        "#!/bin/bash -e\n#SBATCH -J steps -o out-%a.txt\n#SBATCH -a 1-9:4\nshopt -s extglob\n"
        "case $1 in +([ab])) echo ab ;; *) echo other ;; esac\n" + VARIABLES,
        ("--mem=50M",), ("aba", "two words", "$HOME"),
    ),
    "python": Script(
        "#!/usr/bin/python3\n#SBATCH --array=3,5 --mem=50M\n#SBATCH -o {curly}-%3a.txt\n"
        "import os, sys\nprint(os.environ['SLURM_ARRAY_TASK_ID'], sys.argv[1:])\n"
        "#SBATCH --array=0-99\nsys.exit(os.environ['SLURM_ARRAY_TASK_ID'] == '5')\n",
        (), ("--open", "-x"),
    ),
    "no-name": Script("#!/bin/sh\n#SBATCH --array=0-1\nls slurm-*_$SLURM_ARRAY_TASK_ID.out\n"
                      "echo >&2 of both streams\n", ("--mem=50M",)),
}  # fmt: skip


def logs(folder: Path) -> dict[str, str]:
    """Return what the slices have printed, by the name of the file without the job's id."""
    files = [*folder.glob("*_*.out"), *folder.glob("logs/*"), *folder.glob("*.txt")]
    return {
        re.sub(r"\d+_(?=\d+\.)", "A_", str(path.relative_to(folder))):
            re.sub(r"slurm-\d+", "slurm-A", path.read_text())
        for path in files
    }  # fmt: skip


def test_an_import_prints_what_sbatch_prints(site: Site, workplace: Path) -> None:
    """The same files with the same lines, and what fails there fails here."""
    cases = {name: (name, script) for name, script in SCRIPTS.items()}
    side_by_side(site, workplace, compared, cases)


def compared(site: Site, folder: Path, name: str, script: Script) -> None:
    """Run a script in both ways."""
    for place in ("hand", "run"):
        site.run("mkdir", "-p", f"{place}/logs", cwd=folder)
        write(site, folder / place / f"{name}.sh", script.text)
        write(site, folder / place / "list", "a\nb\nc\n")
    words = (*script.options, f"{name}.sh", *script.arguments)
    sent = site.run("sbatch", "--wait", "--parsable", *words, cwd=folder / "hand")
    made = site.slurmslice("import", *words, cwd=folder / "run")
    assert made.returncode == 0, made.stderr
    run = re.search(r"slurmslice submit (\S+)$", made.stdout + made.stderr, re.MULTILINE)
    assert run, made
    write(site, folder / "run" / f"{name}.sh", "the run has a copy")
    ran = site.slurmslice("run", run[1], "--interval", "1", cwd=folder / "run")
    assert (ran.returncode, sent.returncode) in {(0, 0), (1, 1)}, ran.stderr
    assert logs(folder / "hand")
    assert logs(folder / "run") == logs(folder / "hand")


BAD = {
    "no array": ("#!/bin/bash\necho x\n", "one-source"),
    "no first line": ("#SBATCH -a 0-1\necho x\n", "script-without-interpreter"),
    "an option of nobody": ("#!/bin/bash\n#SBATCH -a 0-1 --memory-of-ada\n", "unknown-option"),
    "parts": ("#!/bin/bash\n#SBATCH -a 0-1\n#SBATCH hetjob\n#SBATCH -n 2\n", "heterogeneous-job"),
    "indices": ("#!/bin/bash\n#SBATCH -a 5-1\necho x\n", "backward-range"),
    "nothing": ("", "script-without-interpreter"),
}
"""The text of a script that cannot be imported, and the code of its error."""


def test_what_sbatch_would_refuse_makes_no_run(site: Site, workplace: Path) -> None:
    """Nothing is made, and the error names what is wrong."""
    seen = {}
    for name, (text, _) in BAD.items():
        write(site, workplace / "bad.sh", text)
        refused = site.slurmslice("import", "bad.sh", cwd=workplace)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), refused.stderr
        seen[name] = error_code(refused.stderr)
    assert seen == {name: code for name, (_, code) in BAD.items()}
    assert not (workplace / "slurmslice-runs").exists()


def test_combined_sources(site: Site, workplace: Path) -> None:
    """Each file with each value of a grid and of linked lists; a computed column is the key."""
    site.run("bash", "-c", "mkdir in; touch in/a in/'b c'", cwd=workplace)
    work = 'printf "%s;" "$SLICE" "$SLICE_ITEM" "$SLICE_OPTS" "$SLICE_N" "$SLICE_M"; echo'
    ran = site.slurmslice(
        "run", "--glob", "in/*", "--grid", r"opts=-a\,b,-c", "--zip", "n=1,2", "--zip", "m=x,y",
        "--column", "id={{ item[3:4] }}{{ opts[1:2] }}{{ n }}", "--key", "id",
        "--mem", "50M", "--name", "x", "--interval", "1", "--shell", work, cwd=workplace,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    keys = [key["key"] for key in site.status(workplace, "x")["slices"]]
    said = [site.slurmslice("logs", "x", key, cwd=workplace).stdout.strip() for key in keys]
    assert said == [
        f"{file[3]}{opts[1]}{n};{file};{opts};{n};{m};"
        for file in ("in/a", "in/b c") for n, m in ("1x", "2y") for opts in ("-a,b", "-c")
    ]  # fmt: skip
    bad = (
        ("--zip", "n=1,2", "--zip", "m=1"), ("--grid", "n=1", "--grid", "n=2"),
        ("-a", "0-1", "--grid", "n=1"), ("--glob", "*", "--slices-from", "in/a"),
    )  # fmt: skip
    for words in bad:
        refused = site.slurmslice("render", *words, "--name", "bad", "--", "true", cwd=workplace)
        assert (refused.returncode, "Traceback" in refused.stderr) == (2, False), words


def test_no_two_slices_share_a_slot(site: Site, workplace: Path) -> None:
    """In a pack of two tasks with three at once: a folder of a slot is never there before."""
    work = (
        'mkdir "at.$SLURM_JOB_ID.$SLICE_SLOT" && touch "seen.$SLICE_SLOT" || exit 1; sleep 0.3; '
        'rmdir "at.$SLURM_JOB_ID.$SLICE_SLOT"; ((SLICE_SLOT < 3))'
    )
    ran = site.slurmslice(
        "run", "-a", "0-19", "--pack", "10", "--at-once", "3", "--mem", "30M", "--name", "x",
        "--interval", "1", "--shell", work, cwd=workplace,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in workplace.glob("seen.*")) == ["seen.0", "seen.1", "seen.2"]


def test_submit_prints_jobs_and_logs_have_the_names_that_were_typed(
    site: Site, workplace: Path
) -> None:
    """squeue knows the printed job; typed again it is the same job; two slices need two names."""
    names = ("-o", "out/%x/%A_%a_{n}.txt", "-e", "/dev/null")
    work = "until [ -e go ]; do sleep 0.2; done; echo $SLICE_N; echo err >&2"
    words = ("submit", "--grid", "n=1-3", *names, "--mem", "50M", "--name", "x", "--parsable",
             "--shell", work)  # fmt: skip
    sent = site.slurmslice(*words, cwd=workplace)
    assert sent.returncode == 0, sent.stderr
    (job,) = sent.stdout.split()
    known = site.run("squeue", "-h", "-j", job, "-o", "%A", cwd=workplace).stdout.split()
    assert known
    assert site.slurmslice(*words, cwd=workplace).stdout.split() == [job]
    assert len(events(workplace, "x", "intent")) == 1
    write(site, workplace / "go", "")
    assert settled(site, workplace, "x") == {"COMPLETED": 3}
    found = {path.name: path.read_text() for path in (workplace / "out").glob("*/*.txt")}
    assert found == {f"{job}_{n - 1}_{n}.txt": f"{n}\n" for n in (1, 2, 3)}
    assert site.slurmslice("logs", "x", "n=2", cwd=workplace).stdout == "2\n"
    twice = site.slurmslice("render", "-a", "0-1", "-o", "all.txt", "--", "true", cwd=workplace)
    assert (twice.returncode, error_code(twice.stderr)) == (2, "file-shared")


SITE = """\
import sys
from pathlib import Path
from slurmslice.actions import site_rules
from slurmslice.system import config_files
site_rules.SITE_FILE = config_files.SITE_FILE = Path(sys.argv.pop(1))
from slurmslice.cli import app
app.main()
"""


def test_the_clusters_table_and_the_site_count(site: Site, workplace: Path) -> None:
    """The table of the real cluster's name counts, the site's is the lowest; doctor shows them."""
    config = site.run("scontrol", "show", "config", cwd=workplace).stdout
    name = next(line.split()[-1] for line in config.splitlines() if line.startswith("ClusterName"))
    at = workplace / "home" / "slurmslice"
    site.run("mkdir", "-p", str(at), cwd=workplace)
    write(site, at / "config.toml", f"[cluster.{name}.sbatch]\nmem = '41M'\n"
          "[cluster.elsewhere.sbatch]\npartition = 'nowhere'\n")  # fmt: skip
    write(site, workplace / "site.toml", "[defaults.sbatch]\nmem = '99M'\ncomment = 'of the site'\n"
          "[site]\nmin-poll = '2s'\ncontact = 'ada@example.org'\n")  # fmt: skip
    typed = partial(typed_at, site, workplace)
    ran = typed("submit", "-a", "0", "--name", "x", "--", "true")
    assert ran[0] == 0, ran
    job = str(events(workplace, "x", "submitted")[0]["job"])
    asked = site.run("scontrol", "show", "job", job, cwd=workplace).stdout
    assert re.search(r"MinMemory\w+=41M", asked)
    assert "Comment=of the site" in asked
    code, told = typed("doctor")
    assert code == 0
    for word in (str(at / "config.toml"), "site.toml", "41M", "of the site", "ada@example.org"):
        assert word in told
    for text in ("on-end = 'touch hooked'\n", "[mail]\nsmtp = 'localhost'\n"):
        write(site, workplace / "slurmslice.toml", text)
        assert typed("submit", "-a", "0", "--name", "y", "--", "true")[0] == 2
    assert not (workplace / "slurmslice-runs" / "y").exists()
    until(lambda: site.status(workplace, "x")["finished"], "the run to end")


def typed_at(site: Site, workplace: Path, *words: str) -> tuple[int, str]:
    """Type a line with these settings files; return its exit code and what it printed."""
    env: Mapping[str, str] = {"XDG_CONFIG_HOME": str(workplace / "home")}
    argv = (str(site.python), "-c", SITE, str(workplace / "site.toml"), *words)
    done = site.run(*argv, cwd=workplace, env=env)
    return done.returncode, done.stdout + done.stderr
