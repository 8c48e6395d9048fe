"""Messages about continuing: by itself, or by a command."""

from __future__ import annotations

import os
import shutil

from slurmslice.cli.output.progress_line import progress_line
from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

LINE = ("-a", "0-9", "--name", "x")
COMMAND = ("--", "true", "{}")
PUTS_IN = ("slurmslice run x", "tick x")
"""What puts in the slices that wait for room."""


def interrupted() -> None:
    """Press Ctrl-C while the engine waits."""
    raise KeyboardInterrupt


# -- what waits to be submitted ----------------------------------------------------------------


def test_ctrl_c_counts_slices_that_are_not_submitted(engine: FakeEngine, typed: Typed) -> None:
    """The notes count the slices that are not in Slurm's queue, and name the command for them."""
    engine.most, engine.on_wait = 4, interrupted
    said = typed("run", *LINE, *COMMAND)
    assert typed.code == 130
    assert typed.noted("jobs-keep-running") == [{"all": False}]
    assert typed.noted("waiting") == [{"slices": 6}]
    assert all(words in said for words in PUTS_IN)
    typed("watch", "x")
    assert {"slices": 6} in typed.noted("waiting")


def test_ctrl_c_names_no_command_if_all_slices_are_submitted(
    engine: FakeEngine, typed: Typed
) -> None:
    """If all slices are in the queue, no further command is named."""
    engine.on_wait = interrupted
    typed("run", *LINE, *COMMAND)
    assert typed.noted("jobs-keep-running") == [{"all": True}]
    assert not typed.noted("waiting")


def test_status_names_commands_that_submit_waiting_slices(engine: FakeEngine, typed: Typed) -> None:
    """``status`` names the commands that submit waiting slices, also while others are in flight."""
    engine.most = 4
    typed("render", *LINE, *COMMAND)
    typed("submit", "x")
    said = typed("status", "x")
    assert typed.noted("waiting") == [{"slices": 6}]
    assert all(words in said for words in PUTS_IN)
    engine.most = None
    typed("tick", "x")
    typed("status", "x")
    assert not typed.noted("waiting")


# -- a cancel that is only shown ---------------------------------------------------------------


def test_cancel_of_slices_in_packs(engine: FakeEngine, typed: Typed) -> None:
    """A dry run cancels nothing. What has not ended yet is named, if its task goes on."""
    typed("render", *LINE, "--pack", "5", "-t", "1", *COMMAND)
    typed("submit", "x")
    typed("cancel", "x", "0", "--dry-run")
    assert typed.noted("would-cancel") == [{"slices": 1, "keys": "0"}]
    assert (typed.code, engine.cancelled, engine.announced) == (0, [], [])
    typed("cancel", "x", "0")
    assert typed.noted("cancelled") == [{"slices": 1, "keys": "0"}]
    assert typed.noted("cancel-not-noticed") == [{"slices": 1, "keys": "0"}]
    assert (typed.code, engine.cancelled, len(engine.announced)) == (0, [], 1)
    typed("cancel", "x", "0-8:2")
    assert typed.noted("cancelled") == [{"slices": 5, "keys": "0-8:2"}]
    assert typed.noted("cancel-not-noticed") == []
    typed("cancel", "x", "--dry-run")
    assert typed.noted("would-cancel") == [{"slices": 5, "keys": "1-9:2"}]


# -- time limits of less than a minute ---------------------------------------------------------


def test_slurm_counts_whole_minutes(engine: FakeEngine, typed: Typed) -> None:
    """20 s count as one minute in the preview and after a timeout; twice that is two minutes."""
    line = ("-a", "0-1", "--name", "x", "-t", "0:00:20", *COMMAND)
    engine.limited = TaskLimits(1001, 1, "1 fits")
    shown = typed("run", "--dry-run", *line)
    assert typed.noted("time-rounded") == [{"time": "00:01:00"}]
    assert "00:02:00" in shown  # at worst, one slice after the other
    engine.after_submit = lambda order: engine.end_all(State.TIMEOUT)
    assert "00:01:00" in typed("run", *line)
    assert " 00:01:00 " in typed("status", "x", "--slices")
    assert "--time=00:02:00" in typed("resubmit", "x", "--time", "2x", "--dry-run")
    typed("resubmit", "x", "--time", "0:00:10", "--dry-run")
    assert (typed.code, typed.noted("lower-request")) == (0, [])
    typed("run", "--dry-run", "-a", "0-1", "-t", "2", *COMMAND)
    assert (typed.code, typed.noted("time-rounded")) == (0, [])


def test_time_limits_from_columns_are_rounded_too(engine: FakeEngine, typed: Typed) -> None:
    """One note has the smallest and the largest rounded limit."""
    (typed.folder / "t.csv").write_text("n,s\na,20\nb,10\nc,70\nd,60\n")
    line = ("--table", "t.csv", "--key", "n", "--name", "x", "-t", "0:{s}", *COMMAND)
    typed("run", "--dry-run", *line)
    assert typed.noted("time-rounded") == [{"time": "00:01:00 to 00:02:00"}]
    engine.after_submit = lambda order: engine.end_all(State.TIMEOUT)
    typed("run", *line)
    assert "--time=00:04:00" in typed("resubmit", "x", "c", "--time", "2x", "--dry-run")


def test_a_limit_in_a_pack_is_kept_to_the_second(engine: FakeEngine, typed: Typed) -> None:
    """The script itself ends the slice, so 20 s stay 20 s, and 2x is 40 s."""
    line = ("-a", "0-1", "--name", "x", "--pack", "2", "-t", "0:00:20", *COMMAND)
    typed("run", "--dry-run", *line)
    assert (typed.code, typed.noted("time-rounded")) == (0, [])
    engine.after_submit = lambda order: engine.end_all(State.TIMEOUT)
    typed("run", *line)
    assert " 00:00:20 " in typed("status", "x", "--slices")
    shown = typed("resubmit", "x", "--time", "2x", "--dry-run")
    assert "--time=00:01:20" in shown
    engine.name = "local"
    engine.runs_in_process, engine.jobs_outlive_us = True, False
    engine.may_be_submitted_by_hand = engine.has_queue_limits = False
    engine.counts_whole_minutes = False
    typed("run", "--dry-run", "-a", "0-1", "-t", "0:20", *COMMAND)
    assert (typed.code, typed.noted("time-rounded")) == (0, [])


# -- how far a run is --------------------------------------------------------------------------


def test_cancelled_slices_count_as_ended() -> None:
    """The line of progress counts every final state."""
    line = progress_line(
        {State.COMPLETED: 40, State.CANCELLED: 5, State.FAILED: 2, State.RUNNING: 3}
    )
    assert "47/50" in line
    assert "50/50" in progress_line({State.COMPLETED: 47, State.CANCELLED: 3})


# -- runs that were made elsewhere -------------------------------------------------------------


def test_runs_names_those_that_were_made_elsewhere(typed: Typed) -> None:
    """If there is no run here, ``runs`` counts and lists the newest runs elsewhere."""
    typed("runs")
    assert typed.noted("no-run-here") == [{"elsewhere": 0}]
    for number in range(12):
        folder = typed.folder / f"there{number}"
        typed.patch.setenv("SLURMSLICE_RUNS", str(folder))
        typed("render", "-a", "0-1", "--name", f"x{number}", *COMMAND)
        os.utime(folder / f"x{number}" / "run.json", (number, number))
    typed.patch.setenv("SLURMSLICE_RUNS", str(typed.folder / "runs"))
    said = typed("runs")
    assert typed.noted("no-run-here") == [{"elsewhere": 12}]
    assert f"x11 {typed.folder / 'there11'} x10 {typed.folder / 'there10'} x9" in said
    assert typed.noted("more-runs") == [{"runs": 2}]
    assert "x1 " not in said
    shutil.rmtree(typed.folder / "there11")
    typed("runs")
    assert typed.noted("no-run-here") == [{"elsewhere": 11}]


# -- a setup that fails ------------------------------------------------------------------------


def setup_fails(engine: FakeEngine, typed: Typed, submission: int) -> None:
    """Let the setup of the only task of a submission exit with 7, and its task too."""
    typed("submit", "x")
    line = f"slurmslice setup job={99 + submission} restart=0 at=1700000000 host=n exit=7\n"
    tasks = typed.folder / "runs" / "x" / "submissions" / f"{submission:03d}" / "tasks"
    (tasks / "0.log").write_text(line)
    engine.end_all(State.FAILED)


def test_advice_for_a_failed_setup_names_the_script(engine: FakeEngine, typed: Typed) -> None:
    """The advice names the script before ``resubmit``, because the script has the setup."""
    typed("render", "-a", "0-1", "--name", "x", "--pack", "2", "--setup", "load it", *COMMAND)
    for submission in (1, 2):
        setup_fails(engine, typed, submission)
        said = typed("status", "x")
    way = said[said.index("slurmslice failures x") : said.index("slurmslice resubmit x")]
    assert "runs/x/script.sh" in way
    assert "setup" in way
    slices = typed.json("status", "x")["slices"]
    assert all("7" in one["reason"].split() for one in slices)  # the setup's exit code


def test_a_failed_command_is_not_reported_as_a_failed_setup(
    engine: FakeEngine, typed: Typed
) -> None:
    """The advice names the program and the script."""
    engine.after_submit = lambda order: engine.end_all(State.FAILED)
    said = typed("run", "-a", "0-1", "--name", "x", "--setup", "load it", *COMMAND)
    way = said[said.index("slurmslice failures x") : said.index("slurmslice resubmit x")]
    assert "program" in way
    assert "runs/x/script.sh" in way
    assert "setup" not in way
    engine.after_submit = lambda order: engine.end_all(State.TIMEOUT)
    assert "script.sh" not in typed("run", "-a", "0-1", "--name", "y", *COMMAND)


def test_the_hint_for_another_command_names_the_script(typed: Typed) -> None:
    """A second line with another command and the same name.

    The hint names the first run's script.
    """
    typed("render", "-a", "0-1", "--name", "x", *COMMAND)
    said = typed("run", "-a", "0-1", "--name", "x", "--setup", "load it", *COMMAND)
    assert typed.error == "run-differs"
    assert "setup:" in said
    assert "runs/x/script.sh" in said
    assert "script.sh" not in typed("run", "-a", "0-2", "--name", "x", *COMMAND)
    assert typed.error == "run-differs"


# -- what a machine cannot do ------------------------------------------------------------------


def test_the_preview_shows_the_notes_of_the_engine(engine: FakeEngine, typed: Typed) -> None:
    """A note of the engine is shown once, with and without --dry-run."""
    engine.limited = TaskLimits(1001, note="a task over its memory is not ended")
    engine.after_submit = lambda order: engine.end_all()
    for more in (("--dry-run",), ()):
        said = typed("run", *more, *LINE, "--mem", "1G", *COMMAND)
        assert len(typed.noted("engine-note")) == 1
        assert said.count("a task over its memory is not ended") == 1


# -- logs by state -----------------------------------------------------------------------------


def test_logs_of_the_slices_in_a_state(engine: FakeEngine, typed: Typed) -> None:
    """``--state`` chooses among all slices, or among the named ones."""

    def some_fail(order: SubmitRequest) -> None:
        engine.end_all()
        for index in (2, 5):
            engine.end("100", index, State.FAILED, exit_code=3)

    engine.after_submit = some_fail
    typed("run", *LINE, *COMMAND)
    for index in (2, 5):
        (typed.folder / f"runs/x/submissions/001/logs/{index}.log").write_text("text\n")
    for words in (("--state", "FAILED"), ("x", "--state", "fail"), ("x", "0-9", "--state", "FAIL")):
        typed("logs", "--path", *words)
        shown = [line for line in typed.lines if line.startswith("/")]
        assert (typed.code, [os.path.basename(path) for path in shown]) == (0, ["2.log", "5.log"])
    typed("logs", "x", "3", "--state", "FAIL")
    assert (typed.code, len(typed.noted("none-in-state"))) == (0, 1)
    for line, code in (
        ("-f x --state FAILED", "one-slice-only"),
        ("--state NOPE", "unknown-state"),
        ("", "missing-slice"),
    ):
        typed("logs", *line.split())
        assert (typed.code, typed.error) == (2, code)
