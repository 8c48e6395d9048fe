"""Later attempts on this machine have the environment of the first one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.local.test_local_runs import Here, here
from tests.support.errors import error_code
from tests.support.site import Finished

__all__ = ["here"]

DUMP = 'env -0 >"env.$SLICE_ATTEMPT"; [ "$SLICE_ATTEMPT" -gt 2 ]'
LINE = ("run", "--engine", "local", "-a", "0-0", "--name", "e")


def seen(here: Here, attempt: int) -> dict[str, str]:
    """Return the environment of an attempt, without what is the attempt's own."""
    pairs = ((here.folder / f"env.{attempt}").read_text("utf-8", "surrogateescape")).split("\0")
    variables = dict(pair.partition("=")[::2] for pair in pairs if pair)
    own = {name for name in variables if name.startswith(("SLURM", "SLICE", "SLURMSLICE"))}
    return {n: v for n, v in variables.items() if n not in own | {"_", "SHLVL"}}


NEEDED = ("PATH", "PYTHONPATH", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "SLURMSLICE_CODES")


def bare(here: Here, *words: str, **more: str) -> Finished:
    """Run slurmslice as after ``env -i``, with these variables."""
    here.env = {**{name: here.env[name] for name in NEEDED if name in here.env}, **more}
    return here(*words)


@pytest.mark.parametrize("options", [(), ("--pack", "2"), ("--export", "NONE")])
def test_env_in_later_attempts(here: Here, options: tuple[str, ...]) -> None:
    """From a shell with more variables, and again from the bare one."""
    line = (*LINE, *options, "--env", "DATA", "--shell", f"{DUMP} # $SLICE")
    assert bare(here, *line, DATA="/scratch d", LC_ALL="C").returncode == 1
    more = {"OMP_NUM_THREADS": "7", "DEBUG": "1", "DATA": "other", "TMUX": "1"}
    if options[-1:] != ("NONE",):
        more["LC_ALL"] = "C"
    bare(here, "resubmit", "e", **more)
    first = seen(here, 1)
    assert first["DATA"] == "/scratch d"
    assert ("LC_ALL" in first) is ("LC_ALL" in more)
    assert {n: v for n, v in seen(here, 2).items() if n != "TMUX"} == first
    last = bare(here, "resubmit", "e")
    if "LC_ALL" in more:
        assert (last.returncode, error_code(last.stderr)) == (2, "environment-differs")
    else:
        assert (last.returncode, seen(here, 3)) == (0, first)


def test_a_value_is_written_nowhere(here: Here) -> None:
    """Neither in the run directory nor in the script, unless it is asked for."""
    value = "quite-a-secret-value"
    assert bare(here, *LINE, "--", "true", "{}", DATA=value).returncode == 0
    again = bare(here, "resubmit", "e", "--state", "COMPLETED", DATA=value)
    assert again.returncode == 0
    folder = Path(here.folder) / "slurmslice-runs" / "e"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if value.encode() in path.read_bytes()]
