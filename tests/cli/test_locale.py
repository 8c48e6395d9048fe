"""Locales that are not UTF-8: bytes pass unchanged, and nothing fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NAME = "grün.dat".encode()
LATIN = "gr\xfcn2.dat".encode("latin-1")


def environment(where: Path, locale: str) -> dict[str, str]:
    """Return variables for a locale; one that is not installed is made."""
    kept = (k for k in os.environ if k == "PYTHONPATH" or not k.startswith(("LC_", "PYTHON")))
    inherited = {k: os.environ[k] for k in kept}
    if locale == "ascii":
        return inherited | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    if locale == "utf8 off":
        return inherited | {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "0"}
    if shutil.which("localedef") is None or not Path("/usr/share/i18n/charmaps").is_dir():
        pytest.skip("this machine cannot make a locale")  # glibc's own program and data
    language, charset = locale.split(".")
    subprocess.run(
        ["localedef", "-i", language, "-f", charset, where / locale],
        check=True,
        capture_output=True,
    )
    return inherited | {"LOCPATH": str(where), "LC_ALL": locale}


@pytest.mark.parametrize("locale", ["ascii", "utf8 off", "de_DE.ISO-8859-1", "el_GR.ISO-8859-7"])
def test_bytes_pass_unchanged(tmp_path: Path, locale: str) -> None:
    """File names, words, shell texts and setups reach the command as they were typed."""
    env, here = environment(tmp_path, locale), tmp_path / "here"
    here.mkdir()
    for name in (NAME, LATIN):
        (here / os.fsdecode(name)).touch()
    setup = "MARK=ü…€"
    check = '[[ -e $SLICE && $MARK == "ü…€" ]]'

    def slurmslice(*words: str | bytes) -> subprocess.CompletedProcess[bytes]:
        argv = (sys.executable, "-m", "slurmslice", *words)
        done = subprocess.run(argv, cwd=here, env=env, capture_output=True)
        assert b"Traceback" not in done.stderr, done.stderr
        return done

    made = slurmslice("run", "--engine", "local", "--name", "g", "--glob", "*.dat",
                      "--setup", setup.encode(), "--check", check.encode(),
                      "--", "ls", b"--quoting-style=literal", "{}", NAME)  # fmt: skip
    assert made.returncode == 0, made.stderr
    for key in (NAME, LATIN):
        assert slurmslice("logs", "g", key).stdout.splitlines()[-2:] == sorted((key, NAME))
    assert setup.encode() in (here / "slurmslice-runs/g/script.sh").read_bytes()
    assert slurmslice("render", "--engine", "local", "-a", "0", "--name", "s",
                      "--shell", "echo ü€ | cat".encode()).returncode == 0  # fmt: skip
