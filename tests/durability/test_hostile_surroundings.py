"""The traces of a run: files with the user's umask, and none of the user's secrets."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest

from slurmslice.script.render import pinned_variables
from slurmslice.script.source_line import LIBRARY_NAME
from tests.cli.test_bad_input import here  # noqa: F401 - a fixture
from tests.local.test_local_runs import Here
from tests.script.test_template import DOCUMENTED, ROOT
from tests.support.commands import SLURMSLICE
from tests.support.typed import Typed

SECRETS = {
    name: f"SECRET-{name}"
    for name in (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TOKEN", "GITHUB_TOKEN", "PASSWORD",
        "PGPASSWORD", "SSH_AUTH_SOCK", "SLURM_JWT", "KRB5CCNAME", "HTTPS_PROXY", "LD_PRELOAD_X",
        "CONDA_CHANNEL_ALIAS", "CONDA_DEFAULT_CHANNELS", "CONDA_PROXY_SERVERS", "CONDA_TOKEN",
        "CONDA_PREFIX_TOKEN", "CONDA_EXE_PASSWORD", "VIRTUAL_ENV_PROMPT", "PYTHONPATH_TOKEN",
        "PATH_SECRET", "SBATCH_COMMENT", "SLICE_SECRET", "MODULESHOME", "_ModuleTable001_",
    )
}  # fmt: skip
"""Secret variables, some with names similar to pinned ones."""


def widened(folder: Path, umask: int) -> dict[str, str]:
    """Return files whose mode differs from the umask's."""
    wrong = {}
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        usual = {0o777} if path.is_dir() else {0o777, 0o666}
        if path.name == LIBRARY_NAME:
            usual = {0o444}
        if path.is_symlink() or mode not in {mask & ~umask for mask in usual}:
            wrong[str(path.relative_to(folder))] = oct(mode)
    return wrong


def with_secrets(folder: Path) -> list[Path]:
    """Return files that contain one of the secrets."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return [path for path in files if b"SECRET-" in path.read_bytes()]


@pytest.mark.parametrize("umask", [0o077, 0o027, 0o022, 0o002])
def test_files_carry_the_umask_and_no_secrets(here: Here, umask: int) -> None:  # noqa: F811
    """This is true for all files, in the run and in the user's index (local engine).

    A task has the caller's environment, so a command can use a token in it.
    """
    here.env |= SECRETS
    text = '[ -n "$TOKEN" ] && ! [ "$SLICE" = b ]'
    for words, code in (
        (("render", "--engine", "local", "--grid", "k=a,b", "--name", "x", "--shell", text), 0),
        (("submit", "x", "--only", "1"), 0),
        (("run", "x", "--interval", "0.2"), 0),
        (("cancel", "x"), 0),
    ):
        done = subprocess.run([*SLURMSLICE, *words], cwd=here.folder, env=here.env, umask=umask,
                              stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
        assert done.returncode == code, done.stderr
    assert here.counts("x") == {"COMPLETED": 2}
    for name in ("slurmslice-runs", "state"):
        assert widened(here.folder / name, umask) == {}
    assert with_secrets(here.folder) == []


def test_pinned_variables_are_documented() -> None:
    """Exactly the variables that the docs name are pinned."""
    rows = DOCUMENTED.splitlines()
    row = next(line for line in rows if line.startswith("| `environment` | list"))
    named = re.findall(r"`([A-Z_]{4,})`", row)
    assert "LD_LIBRARY_PATH" in named
    environ = {**dict.fromkeys(named, "x"), "CONDA_PREFIX_1": "x", **SECRETS}
    assert {name for name, _ in pinned_variables(environ)} == {*named, "CONDA_PREFIX_1"}
    page = (ROOT / "docs" / "quickstart.md").read_text()
    listed = page.partition("the script holds")[2].partition("conda")[0]
    assert re.findall(r"`(\w+)`", listed) == [n for n in named if not n.startswith("CONDA_")]


def test_a_template_is_announced_as_code_before_it_runs(typed: Typed) -> None:
    """The note is printed before anything else, for an option and for a setting."""
    (typed.folder / "t.sh.j2").write_text("{{ 1 // 0 }}")
    (typed.folder / "slurmslice.toml").write_text('template = "t.sh.j2"\n')
    for words in (("--template", "t.sh.j2"), ()):
        for verb in (("render", "--print"), ("render",), ("run",)):
            typed(*verb, *words, "-a", "0-1", "--", "true", "{}")
            assert (typed.code, typed.error) == (2, "template-failed")
            assert typed.noted("template-is-code") == [{"path": "t.sh.j2"}]
    assert "code" in typed("run", "--help")
    assert not (typed.folder / "runs").exists()
