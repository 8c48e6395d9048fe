"""The step after a run on this machine: a process of the ``run`` that follows."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.local.test_local_runs import DEADLINE_S, RUN, Here, here, until
from tests.support.commands import SLURMSLICE
from tests.support.notes import noted

__all__ = ["here"]

LINE = (*RUN, "-a", "0-3", "--name", "x")
FAILS_ONCE = "[ $SLICE != 2 ] || [ -e repaired ] || exit 7"
WAITS = "echo x >>began; until [ -e go ]; do read -t 0.1 <> <(:); done; echo x >>ended"


def test_from_slices_to_the_result_in_one_command(here: Here) -> None:
    """It runs as slices do: in their folder, after their setup; a hand edit of it counts."""
    setup = ("--setup", "export ADDED=setup; cd sub")
    (here.folder / "sub").mkdir()
    then = (
        'echo "$ADDED" >../sum; cat "$SLURMSLICE_MISSING" >>../sum; echo "$SLURMSLICE_RUN" >>../sum'
    )
    done = here(*LINE, *setup, "--then", then, "--shell", 'echo "$SLICE"')
    assert done.returncode == 0, done.stderr
    run_dir = here.folder / "slurmslice-runs" / "x"
    assert (here.folder / "sum").read_text() == f"setup\n{run_dir}\n"
    script = run_dir / "script.sh"
    script.write_text(script.read_text().replace("ADDED=setup", "ADDED=edited"))
    assert here("then", "x").returncode == 0
    assert (here.folder / "sum").read_text().startswith("edited\n")


def test_it_waits_until_a_person_has_repaired_the_run(here: Here) -> None:
    """Only ``run`` starts it; its failure is exit code 1; the verb runs it again."""
    then = ("--then", "[ -e fine ] || { echo oops; exit 5; }; echo x >>ended")
    assert here(*LINE, *then, "--shell", FAILS_ONCE).returncode == 1
    assert here.status("x")["then"]["phase"] == "not-met"
    (here.folder / "repaired").touch()
    assert here("resubmit", "x").returncode == 0
    assert here.status("x")["then"]["phase"] == "due"
    failed = here("run", "x")
    assert failed.returncode == 1
    (state,) = noted(failed.stderr, "then-state")
    assert (state["state"], state["reason"]) == ("FAILED", "exit 5")
    assert Path(state["log"]).read_text() == "oops\n"
    (here.folder / "fine").touch()
    assert here("run", "x").returncode == 1
    assert here("then", "x").returncode == 0
    assert here("run", "x").returncode == 0
    assert (here.folder / "ended").read_text() == "x\n"


def test_a_setup_that_fails_is_its_failure(here: Here) -> None:
    """The command does not run after it."""
    then = ("--then", "echo x >ran", "--then-if", "ended")
    done = here(*LINE, *then, "--setup", "false || return 3", "--shell", "true")
    assert done.returncode == 1
    assert here.status("x")["then"]["reason"] == "exit 3"
    assert not (here.folder / "ran").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interruption_it_runs_again_and_alone(here: Here, how: signal.Signals) -> None:
    """The killed one does not go on beside the next one, also if it has left its session."""
    (here.folder / "step").write_text(WAITS)
    line = (*LINE, "--then", "setsid -w bash step", "--shell", "true")
    started = here.start(*SLURMSLICE, *line)
    until((here.folder / "began").exists, "the step to begin")
    assert here.status("x")["then"]["state"] == "RUNNING"
    started.send_signal(how)
    _, said = started.communicate(timeout=DEADLINE_S)
    assert (len(noted(said, "then-not-ended")), how) in {(1, signal.SIGINT), (0, signal.SIGKILL)}
    assert here.status("x")["then"]["phase"] == "due"
    assert not here.orphans()
    (here.folder / "go").touch()
    assert here("run", "x").returncode == 0
    assert (here.folder / "began").read_text() == "x\nx\n"
    assert (here.folder / "ended").read_text() == "x\n"


def test_two_followers_start_it_once(here: Here) -> None:
    """The second one waits for the first one's step."""
    line = (*SLURMSLICE, *LINE, "--then", WAITS, "--shell", "true")
    first = here.start(*line)
    until((here.folder / "began").exists, "the step to begin")
    second = here.start(*line)
    assert here("then", "x").returncode == 2
    (here.folder / "go").touch()
    for one in (first, second):
        one.communicate(timeout=DEADLINE_S)
        assert one.returncode == 0
    assert (here.folder / "ended").read_text() == "x\n"


def test_settings_have_a_table_for_it(here: Here) -> None:
    """Values with any characters reach the shell unchanged."""
    text = f"{sys.executable} -c 'print(\"a b\")' >out"
    (here.folder / "slurmslice.toml").write_text(f'[then]\ncommand = """{text}"""\nif = "ended"\n')
    assert here(*LINE, "--shell", "exit 1").returncode == 1
    assert (here.folder / "out").read_text() == "a b\n"
