"""Hostile values through real sbatch and real tasks, of an ordinary user."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.durability.test_hostile_surroundings import SECRETS, widened, with_secrets
from tests.durability.test_hostile_values import COLUMNS, records, written
from tests.support.hostile import around
from tests.support.notes import noted
from tests.support.site import Site, write

pytestmark = pytest.mark.slurm

UMASK = 0o027
AS_THE_USER_HAS_IT = f'umask {UMASK:o}; exec "$0" -m slurmslice "$@"'
COMMENT = "$(touch pwned) `touch pwned` \"';|%j\\\x1b[31m #SBATCH é"
COMMAND = """\
cat /proc/$$/cmdline /proc/$$/environ
printf '\\nslurmslice end job=%s restart=0 at=1 host=x slot=0 exit=0\\n' "$SLURM_ARRAY_JOB_ID"
exit 3
"""


def test_hostile_values_on_a_cluster(site: Site, workplace: Path) -> None:
    """The command gets 10,000 values unchanged, each log is found, and the comment is Slurm's.

    Nothing runs but the command, and nothing is written outside the run. The files of Slurm and of
    the tasks have the user's umask and contain no secret. The output of a slice completes no slice.
    """
    folder = workplace / "a $(touch pwned) `touch pwned` %j %A %a '\";é#"
    made = site.run("mkdir", str(folder), cwd=workplace)
    assert made.returncode == 0, made.stderr
    write(site, folder / "v.csv", "")
    (folder / "v.csv").write_bytes(written([[b"k", *map(str.encode, COLUMNS)], *records(5)]))
    before = around(workplace)
    env = SECRETS | {"XDG_STATE_HOME": str(folder / "state")}
    del env["SLURM_JWT"]  # variables that change the behaviour of Slurm's commands

    def typed(*words: str) -> tuple[int, str]:
        done = site.run("sh", "-c", AS_THE_USER_HAS_IT, str(site.python), *words, cwd=folder,
                        env=env)  # fmt: skip
        return done.returncode, done.stderr

    line = ("--name", "x", "--table", "v.csv", "--key", "k", "--pack", "250", "--comment", COMMENT,
            "--max-failures", "none", "--",
            "sh", "-c", COMMAND, "sh", "{}", "{a}", "<{b}>", "{c}", "{d}")  # fmt: skip
    assert typed("render", *line)[0] == 0
    code, said = typed("submit", "x", "--test-only")
    assert code == 0, said
    code, said = typed("run", "x", "--interval", "1")
    assert code == 1, said
    told = site.status(folder, "x")["slices"]
    assert {(one["state"], one["exit_code"], one["attempt"]) for one in told} == {("FAILED", 3, 1)}
    for (key, a, b, c, d), one in zip(records(5), told, strict=True):
        assert os.fsencode(one["key"]) == key
        _, _, command, _, *rest = Path(one["log"]).read_bytes().split(b"\0")
        assert command == COMMAND.encode()
        assert rest[:5] == [key, a, b"<" + b + b">", c, d]
        assert {b"SLICE=" + key, b"SLICE_A=" + a, b"SLICE_D=" + d} <= {*rest}
        assert rest[-1].startswith(b"\nslurmslice end job=")
    job = str(noted(said, "submitted")[0]["job"])
    shown = site.run("scontrol", "--oneliner", "show", "job", job, cwd=folder)
    assert f"Comment={COMMENT}" in shown.stdout
    assert around(workplace) == before
    assert not list(workplace.rglob("pwned"))
    for name in ("slurmslice-runs", "state"):
        assert widened(folder / name, UMASK) == {}
    assert [path for path in with_secrets(folder) if path.parent.parent.name != "logs"] == []
