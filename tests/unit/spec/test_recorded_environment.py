"""Later attempts get the variables of the first one, or it is known which of them differ."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.recorded_environment import (
    NextEnvironment,
    RecordedEnvironment,
    carried_names,
    exported_environment,
    next_environment,
    settled_names,
)

HERE = {"DATA": "/scratch/d", "LANG": "de_DE.UTF-8", "HOME": "/home/ada", "SSH_TTY": "/dev/pts/1"}


def after(
    caller: Mapping[str, str], login: Mapping[str, str] | None = None, **more: frozenset[str]
) -> NextEnvironment:
    """Return the environment after an attempt with ``HERE``."""

    def start() -> Mapping[str, str]:
        assert login is not None, "a login shell is started although nothing is missing"
        return login

    return next_environment(RecordedEnvironment.of(HERE), caller, start, **more)


def test_the_same_shell_has_the_same_environment() -> None:
    """No login shell is started."""
    assert after(HERE) == NextEnvironment(HERE)


@pytest.mark.parametrize("name", ["DATA", "LANG", "HOME"])
def test_what_is_missing_or_different_is_named(name: str) -> None:
    """A value that is empty is not the same as none."""
    gone = {key: value for key, value in HERE.items() if key != name}
    assert after(gone, {}).missing == (name,)
    assert after({**HERE, name: ""}, {}).different == (name,)
    assert after({**HERE, name: HERE[name] + "x"}, {}).unlike


def test_a_login_shell_fills_only_what_is_the_same() -> None:
    """cron has next to nothing; a start file may set something else by now."""
    login = {"LANG": "de_DE.UTF-8", "HOME": "/home/ada", "DATA": "/elsewhere", "NEW": "1"}
    found = after({"HOME": "/home/ada"}, login)
    assert found.environ == {"HOME": "/home/ada", "LANG": "de_DE.UTF-8"}
    assert (found.missing, found.different, found.left_out) == (("DATA",), (), ())


@pytest.mark.parametrize(
    "more",
    [
        {"CUDA_VISIBLE_DEVICES": "3"},
        {"OMP_NUM_THREADS": "1", "DEBUG": "1"},
        {"GIT_DIR": "/x", "PYTHONHASHSEED": "0"},
    ],
)
def test_what_the_first_attempt_did_not_have_is_left_out(more: dict[str, str]) -> None:
    """A variable of a surrounding job, or of another shell, would change the result."""
    found = after({**HERE, **more})
    assert (found.environ, found.left_out) == (HERE, tuple(sorted(more)))


@pytest.mark.parametrize("name", ["SSH_TTY", "XDG_SESSION_ID", "TMUX", "TERM", "PWD", "SHLVL"])
def test_what_differs_between_logins_does_not_count(name: str) -> None:
    """It is neither missed nor compared; a login's own value passes."""
    assert not RecordedEnvironment.of({name: "1"}).digests
    assert not after({k: v for k, v in HERE.items() if k != name}).unlike
    found = after({**HERE, name: "other"})
    assert (found.unlike, found.left_out, found.environ[name]) == (False, (), "other")


def test_a_session_of_a_job_does_not_pass_to_another_job() -> None:
    """The scratch folder of a job on a node is gone when the slice starts."""
    found = after({**HERE, "SLURM_JOB_ID": "7", "TMPDIR": "/tmp/slurm.7", "SLURM_CONF": "/c"})
    assert "TMPDIR" not in found.environ
    assert found.environ["SLURM_CONF"] == "/c"
    assert after({**HERE, "TMPDIR": "/scratch"}).environ["TMPDIR"] == "/scratch"


def test_what_the_script_sets_does_not_count() -> None:
    """The caller's value passes: sbatch itself needs PATH."""
    found = after({**HERE, "DATA": "/x", "PATH": "/bin"}, settled=frozenset({"DATA", "PATH"}))
    assert (found.unlike, found.environ["PATH"]) == (False, "/bin")


def test_only_what_export_carries_counts() -> None:
    """A clean environment is the same from everywhere."""
    assert not after({}, None, carried=frozenset()).unlike
    assert after({}, {}, carried=frozenset({"LANG"})).missing == ("LANG",)


@pytest.mark.parametrize(
    ("name", "value"),
    [("GITHUB_TOKEN", "ghp_1"), ("AWS_SECRET_ACCESS_KEY", "k"), ("PGPASSWORD", "hunter2")],
)
def test_nothing_shows_a_secret(name: str, value: str) -> None:
    """Not even a digest is kept, only the name. Other values are digests with a salt."""
    text = json.dumps(RecordedEnvironment.of({name: value, "DATA": "d"}).to_json())
    other = RecordedEnvironment.of({"DATA": "d"})
    assert value not in text
    assert RecordedEnvironment.of({name: value}).digests == {name: ""}
    assert RecordedEnvironment.of({"DATA": "d"}).digests != other.digests
    assert RecordedEnvironment.from_json(json.loads(json.dumps(other.to_json()))) == other


def test_bytes_that_are_not_utf_8_are_compared() -> None:
    """The environment is bytes; Python reads them as surrogates."""
    recorded = RecordedEnvironment.of({"NAME": "\udce9"})
    assert recorded.has("NAME", {"NAME": "\udce9"})
    assert not recorded.has("NAME", {"NAME": "\udce8"})


@pytest.mark.parametrize(
    ("line", "name", "settled"),
    [
        ("  export DATA=/scratch", "DATA", True),
        ("  DATA='a b'", "DATA", True),
        ('  export N="${N:-4}"', "N", False),
        ("  export PATH=$PATH:/x", "PATH", False),
        ("  # DATA=/x", "DATA", False),
        ("}\n\nrun_slice() {\n  DATA=1 ./x", "DATA", False),
    ],
)
def test_what_a_script_sets(line: str, name: str, settled: bool) -> None:
    """Not if the line uses the value that was there before, and not in the command."""
    assert (name in settled_names(f"prepare() {{\n{line}\n}}\n")) is settled


@pytest.mark.parametrize(
    ("export", "carried", "seen"),
    [
        ("ALL", None, {"A": "1", "B": "2"}),
        ("ALL,C=3", None, {"A": "1", "B": "2", "C": "3"}),
        ("NONE", frozenset(), {"HOME": "/h"}),
        ("NIL", frozenset(), {}),
        ("A,C=3", frozenset({"A"}), {"HOME": "/h", "A": "1", "C": "3"}),
    ],
)
def test_the_forms_of_export(
    export: str, carried: frozenset[str] | None, seen: dict[str, str]
) -> None:
    """As sbatch reads them."""
    request = ResourceRequest.of({"export": export})
    assert carried_names(request) == carried
    assert exported_environment(request, {"A": "1", "B": "2"}, lambda: {"HOME": "/h"}) == seen
