"""Messages about obstacles: the obstacle, the slice, and the command to type next."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.errors import SubmissionRejectedError, SubmissionUnknownError, SubmitLimitError
from slurmslice.reports.records import run_json
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.packing import Packing
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from tests.support.fakes import Clock, FakeEngine
from tests.support.plans import a_plan, planned
from tests.support.typed import Typed

NewRun = Callable[..., Run]
LINE = ("-a", "0-3", "--name", "x")
COMMAND = ("--", "true", "{}")


def at_most(engine: FakeEngine, mib: int) -> None:
    """A cluster whose largest node has this much memory."""

    def limits(request: ResourceRequest) -> TaskLimits:
        never = "no node has that much" if (request.mem_mib or 0) > mib else ""
        return TaskLimits(1001, 0 if never else 4, never, impossible_reason=never)

    engine.limits = limits  # type: ignore[method-assign]


# -- what could never run ----------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_run_that_can_never_start_is_not_created(
    engine: FakeEngine, typed: Typed, more: tuple[str, ...]
) -> None:
    """The preview says so and nothing is submitted. The hint says how to submit anyway."""
    at_most(engine, 1024)
    said = typed("run", *LINE, "--mem", "2G", *more, *COMMAND)
    assert (typed.code, typed.error) == (2, "never-runs")
    assert "no node has that much" in said  # the engine's reason
    assert "slurmslice doctor" in said
    assert "render" in said
    assert not (typed.folder / "runs").exists()
    assert engine.jobs == {}


def test_every_request_is_checked_and_not_only_the_first(engine: FakeEngine, typed: Typed) -> None:
    """If an option names a column, the request of each slice is checked."""
    at_most(engine, 1024)
    (typed.folder / "t.csv").write_text("mem,n\n1,a\n2,b\n")
    line = ("--table", "t.csv", "--key", "n", "--mem", "{mem}G", *COMMAND)
    for _ in range(2):  # the second time it is there
        assert "'b'" in typed("run", *line)
        assert (typed.code, typed.error, engine.jobs) == (2, "never-runs", {})


@pytest.mark.parametrize("verb", ["submit", "run"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_run_that_was_rendered_is_refused_too(
    engine: FakeEngine, typed: Typed, verb: str, more: tuple[str, ...]
) -> None:
    """The hint has the sbatch line; a smaller request is submitted."""
    at_most(engine, 1024)
    typed("render", *LINE, "--mem", "2G", *COMMAND)
    assert typed.code == 0
    said = typed(verb, "x", *more)
    assert (typed.code, typed.error, engine.jobs) == (2, "never-runs", {})
    assert "no node has that much" in said  # the engine's reason
    assert "sbatch" in said
    engine.after_submit = lambda order: engine.end_all()
    typed(verb, "x", "--mem", "1G", *more)
    assert (typed.code, len(engine.jobs)) == (0, 0 if more else 1)


def test_twice_the_memory_may_be_more_than_there_is(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``resubmit --mem 2x`` is refused, with and without --dry-run."""
    run = new_run("0-3", mem="1G")
    at_most(engine, 1024)
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.OUT_OF_MEMORY)
    poll(run)
    for more in ((), ("--dry-run",)):
        assert "'0'" in typed("resubmit", "demo", "--mem", "2x", *more)
        assert (typed.code, typed.error, len(engine.jobs)) == (2, "never-runs", 1)


def test_a_request_for_nodes_that_are_down_waits(engine: FakeEngine, typed: Typed) -> None:
    """Nodes that are down may return."""
    engine.limited = TaskLimits(1001, 0, "no node is usable now")
    engine.after_submit = lambda order: engine.end_all()
    typed("run", *LINE, *COMMAND)
    assert (typed.code, len(engine.jobs)) == (0, 1)


# -- a script that is sent by hand once more ---------------------------------------------------


def refused(run: Run, job: str, owner: str, at: float) -> None:
    """A task of another job finds the claim of the first submission."""
    line = f"slurmslice refused job={job} restart=0 at={at:.0f} host=n4 owner={owner}\n"
    for index in (2, 3):
        run.directory.task_log_path(1, index).write_text(line)


def test_a_job_that_ran_nothing_is_reported(
    new_run: NewRun, engine: FakeEngine, typed: Typed, clock: Clock
) -> None:
    """``status`` names the owner of the submission and the command to type instead."""
    run = new_run("0-3")
    clock.now += 0.9
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    typed("status", "demo")
    assert not typed.noted("job-ran-nothing")
    refused(
        run, "777", "100", int(run.journal_state.submissions[1].intent.at)
    )  # in the same second
    said = typed("status", "demo")
    assert typed.noted("job-ran-nothing") == [{"job": "777", "submission": 1, "owner": "100"}]
    assert "slurmslice resubmit demo" in said


def test_a_job_that_ran_nothing_is_reported_until_a_submission(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """A refusal before the newest submission is not shown; a forged line is ignored."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    for job, owner, at in (("777", "100", run.clock() - 60), ("777", "5", run.clock() + 60)):
        refused(run, job, owner, at)
        typed("status", "demo")
        assert not typed.noted("job-ran-nothing")


def test_a_whole_script_that_ran_nothing_is_reported(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """After --only, the whole script is submitted by hand: it runs nothing."""
    run = new_run("0-3")
    submit(run, choose_waiting(1), {}, "submit")
    refused(run, "777", "fenced by slurmslice, which gave this submission up", run.clock() + 60)
    said = typed("status", "demo")
    assert typed.noted("job-ran-nothing") == [{"job": "777", "submission": 1, "owner": None}]
    assert "slurmslice submit demo" in said
    run.directory.script.unlink()
    assert "777" not in typed("status", "demo")
    assert typed.code == 0


# -- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "options"),
    [
        ("Requested time limit is invalid (missing or exceeds some limit)", "-t TIME"),
        ("Memory specification can not be satisfied", "--mem SIZE"),
        ("Invalid account or account/partition combination specified", "-A ACCOUNT"),
        ("Invalid qos specification", "-q QOS"),
    ],
)
def test_after_a_rejection_a_change_of_the_option_is_suggested(
    new_run: NewRun, engine: FakeEngine, typed: Typed, words: str, options: str
) -> None:
    """``submit``, ``run`` and ``status`` suggest a change of the rejected option."""

    def refuse(order: SubmitRequest) -> None:
        raise SubmissionRejectedError(f"Slurm refused the submission: sbatch: error: {words}")

    new_run("0-3")
    engine.on_submit = refuse
    assert f"slurmslice submit demo --only 2 {options}" in typed("submit", "demo", "--only", "2")
    typed("run", "demo")
    (kept,) = typed.noted("run-kept")
    assert kept["command"] == f"slurmslice run demo {options}"
    assert f"slurmslice submit demo {options}" in typed("status", "demo")


def test_the_line_after_a_rejection_repeats_what_was_typed(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Options of the request and the choice of slices; only the rejected option is replaced."""
    submit(new_run("0-3", mem="1G"), choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)

    def refuse(order: SubmitRequest) -> None:
        raise SubmissionRejectedError("Slurm refused the submission: sbatch: error: invalid qos")

    engine.on_submit = refuse
    typed("resubmit", "demo", "2", "--state", "FAILED", "--mem", "2x", "-q", "x", "-p", "main")
    (kept,) = typed.noted("run-kept")
    assert kept["command"] == (
        "slurmslice resubmit demo --state FAILED --mem=2x --partition=main -q QOS -- 2"
    )
    new_run_line = ("run", "-a", "0-1", "--name", "other", "-q", "x", "-p", "main", "--", "true")
    typed(*new_run_line)
    (kept,) = typed.noted("run-kept")
    assert kept["command"] == "slurmslice run other -q QOS"  # the rest is in its script
    typed("run", "other", "-q", "x", "-c", "2")
    (kept,) = typed.noted("run-kept")
    assert kept["command"] == "slurmslice run other --cpus-per-task=2 -q QOS"


def test_after_a_temporary_error_no_change_is_suggested(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """If Slurm did not answer, no change of the request is suggested."""

    def full(order: SubmitRequest) -> None:
        raise SubmitLimitError("Slurm takes nothing now")

    new_run("0-3")
    engine.on_submit = full
    typed("submit", "demo")
    (kept,) = typed.noted("run-kept")
    assert kept["command"] == "slurmslice submit demo"


# -- what was asked for ------------------------------------------------------------------------


def line_of(typed: Typed, state: str) -> str:
    """Return the last line on stdout that has the name of a state."""
    return next(line for line in reversed(typed.lines) if state in line)


def test_an_exceeded_limit_is_named(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The counts.

    The slice lines and the JSON show the exceeded request, also after a resubmission.
    """
    run = new_run("0-3", mem="150M", time="10")
    submit(run, choose_waiting(None), {}, "submit")
    for index, state in enumerate((State.OUT_OF_MEMORY, State.OUT_OF_MEMORY, State.TIMEOUT)):
        engine.end("100", index, state)
    typed("status", "demo")
    assert "150M" in line_of(typed, "OUT_OF_MEMORY")
    assert "00:10:00" in line_of(typed, "TIMEOUT")
    typed("status", "demo", "--slices")
    over = [line for line in typed.lines if "OUT_OF_MEMORY" in line]
    assert [line.count("150M") for line in over] == [2, 2]  # as requested, and in the reason
    assert "00:10:00" in line_of(typed, "TIMEOUT")
    typed("resubmit", "demo", "1", "--mem", "2x")
    engine.end("101", 1, State.OUT_OF_MEMORY)
    typed("status", "demo")
    assert "150M, 300M" in line_of(typed, "OUT_OF_MEMORY")
    (one, two) = json.loads(typed("status", "demo", "0", "1", "--json"))["slices"]
    assert (one["requested_mem_bytes"], one["time_limit_s"]) == (150 << 20, 600)
    assert (two["requested_mem_bytes"], two["time_limit_s"]) == (300 << 20, 600)


def test_slices_of_packs_have_their_own_request(
    make_run: Callable[..., tuple[Run, FakeEngine]],
) -> None:
    """A slice has its own part of the memory and time of its task."""
    run, _ = make_run(12, Packing(6, 2, 60), options=(("mem", "150M"), ("time", "1")))
    submit(run, choose_waiting(None), {}, "submit")
    (first, *_) = json.loads(run_json(run, [0]))["slices"]
    assert (first["requested_mem_bytes"], first["time_limit_s"]) == (150 << 20, 60)


def test_memory_that_slurm_gave_unasked(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The memory comes from accounting; an unreadable script does not prevent ``status``."""
    run = new_run("0-3", time="10")
    submit(run, choose_waiting(None), {}, "submit")
    engine.end("100", 0, State.OUT_OF_MEMORY, requested_mem_bytes=950 << 20)
    for script in (run.directory.script.read_text(), "#SBATCH --time\n"):
        run.directory.script.write_text(script)
        typed("status", "demo")
        assert "950M" in line_of(typed, "OUT_OF_MEMORY")


def test_a_retry_with_the_same_memory_is_noted(engine: FakeEngine, typed: Typed) -> None:
    """A retry with the same memory is mentioned; one with more memory is not."""
    engine.on_wait = lambda: engine.end_all(State.OUT_OF_MEMORY)
    again = ("--on", "oom=again", "--max-attempts", "2")
    said = typed("run", *LINE, "--mem", "1G", *again, *COMMAND)
    assert typed.noted("memory-not-raised") == [{"keys": "0-3"}]
    assert "slurmslice resubmit x --mem 2x" in said
    typed("resubmit", "x", "0", "--mem", "2x")
    assert not typed.noted("memory-not-raised")
    typed("resubmit", "x", "1")
    assert typed.noted("memory-not-raised") == [{"keys": "1"}]
    script = typed.folder / "runs/x/script.sh"
    script.write_text(script.read_text().replace("--mem=1G", "--mem=3G"))
    typed("resubmit", "x", "2")
    assert not typed.noted("memory-not-raised")


# -- less than it was --------------------------------------------------------------------------


def lowered_requests(typed: Typed) -> list[tuple[object, ...]]:
    """Return option, new value, old value and slices of each note of a lower request."""
    names = ("option", "now", "before", "keys")
    return [tuple(map(fields.get, names)) for fields in typed.noted("lower-request")]


@pytest.mark.parametrize(
    ("options", "less"),
    [
        (("--mem", "20"), ("mem", "20M", "100M")),
        (("--mem", "2M"), ("mem", "2M", "100M")),
        (("--mem", "0.5x"), ("mem", "50M", "100M")),
        (("--mem-per-cpu", "2M"), ("mem", "2M", "100M")),
        (("-t", "2"), ("time", "00:02:00", "00:10:00")),
        (("-t", "0.1x"), ("time", "00:01:00", "00:10:00")),
        (("--mem", "2x", "--time", "2x"), ()),
        (("--mem", "100M", "-t", "10"), ()),
        (("-t", "0"), ()),
        (("--mem", "0"), ()),
        (("-p", "main"), ()),
    ],
)
def test_a_lower_request_is_noted(
    new_run: NewRun,
    engine: FakeEngine,
    typed: Typed,
    options: tuple[str, ...],
    less: tuple[str, ...],
) -> None:
    """A probably forgotten x is mentioned, also with --dry-run; the slices are submitted."""
    submit(new_run("0-3", mem="100M", time="10"), choose_waiting(None), {}, "submit")
    for index in range(3):
        engine.end("100", index, State.OUT_OF_MEMORY)
    for more, jobs in ((("--dry-run",), 1), ((), 2)):
        said = typed("resubmit", "demo", *options, *more)
        assert (typed.code, len(engine.jobs)) == (0, jobs)
        assert lowered_requests(typed) == ([(*less, "0-2")] if less else [])
        assert not less or f"--{less[0]} 2x" in said


@pytest.mark.parametrize(
    ("options", "found", "meant", "insists"),
    [
        (("--mem", "2"), "--mem=2M", "--mem 2x", "--mem 2M"),
        (("-t", "2"), "--time=00:02:00", "--time 2x", "--time 00:02:00"),
    ],
)
def test_a_forgotten_x_submits_nothing(
    new_run: NewRun,
    engine: FakeEngine,
    typed: Typed,
    options: tuple[str, str],
    found: str,
    meant: str,
    insists: str,
) -> None:
    """A bare number below a tenth is refused; the hint has both possible meanings."""
    submit(new_run("0-3", mem="4G", time="60"), choose_waiting(None), {}, "submit")
    engine.end_all(State.OUT_OF_MEMORY)
    for more in (("--dry-run",), ()):
        said = typed("resubmit", "demo", *options, *more)
        assert (typed.code, typed.error, len(engine.jobs)) == (2, "request-lowered", 1)
        assert found in said
        assert "0-3" in said
        assert meant in said
        assert insists in said
    typed("resubmit", "demo", *insists.split())
    assert (typed.code, len(engine.jobs)) == (0, 2)


def test_a_lower_request_names_its_slices(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Slices with different amounts are named separately. Slices that get no less are left out."""
    submit(new_run("0-3", mem="100M"), choose_waiting(None), {}, "submit")
    engine.end_all(State.OUT_OF_MEMORY)
    typed("resubmit", "demo", "1", "--mem", "4x")
    typed("resubmit", "demo", "2", "--mem", "2x")
    engine.end_all(State.OUT_OF_MEMORY)
    typed("resubmit", "demo", "--mem", "150M")
    assert lowered_requests(typed) == [
        ("mem", "150M", "400M", "1"),
        ("mem", "150M", "200M", "2"),
    ]


def test_less_than_slurm_gave_unasked(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The old value comes from accounting."""
    submit(new_run("0-3"), choose_waiting(None), {}, "submit")
    engine.end("100", 0, State.OUT_OF_MEMORY, requested_mem_bytes=950 << 20)
    typed("resubmit", "demo", "--mem", "200")
    assert lowered_requests(typed) == [("mem", "200M", "950M", "0")]


def test_a_lower_request_in_packs_names_its_slices(
    make_run: Callable[..., tuple[Run, FakeEngine]], typed: Typed
) -> None:
    """The note compares a slice's part of the task's request."""
    run, _ = make_run(12, Packing(6, 2, 60), options=(("mem", "150M"), ("time", "1")))
    assert not a_plan(run, choose_waiting(None), {"mem": "150M", "time": "1"}).lowered
    (mem, time) = a_plan(run, choose_waiting(None), {"mem": "100M", "time": "0:30"}).lowered
    assert (mem.before, mem.now) == ("150M", "100M")
    assert (time.before, time.now) == ("00:01:00", "00:00:30")


def test_a_lower_request_of_waiting_slices_is_noted(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The note also comes from ``submit`` and ``run RUN``."""
    new_run("0-3", mem="1G")
    for verb in ("submit", "run"):
        typed(verb, "demo", "--mem", "200", "--dry-run")
        assert lowered_requests(typed) == [("mem", "200M", "1G", "0-3")]


# -- logs --------------------------------------------------------------------------------------


def wrote(run: Run, number: int, index: int, log: str | None) -> None:
    """Let a task begin its slice and write a log; None: the log was deleted later."""
    job = run.journal_state.submissions[number].job
    start = f"slurmslice start job={job} restart=0 at=1800000000 host=n slot=0\n"
    run.directory.task_log_path(number, index).write_text(start)
    if log is not None:
        run.directory.log_path(number, run.table.log_name(index)).write_text(log)


def test_several_slices_and_earlier_attempts(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Keys and ranges choose logs; --all shows the attempts in order."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(3):
        wrote(run, 1, index, f"first {index}\n")
        engine.end("100", index, State.FAILED)
    typed("resubmit", "demo", "1")
    run.reload()
    wrote(run, 2, 1, "second 1\n")
    engine.end("101", 1, State.COMPLETED)
    said = typed("logs", "demo", "0-1", "2")
    assert all(word in said for word in ("first 0", "second 1", "first 2"))
    assert "first 1" not in said
    assert typed.noted("earlier-logs") == [{"logs": 1}]
    assert "--all" in said
    said = typed("logs", "demo", "1", "--all")
    assert said.index("first 1") < said.index("second 1")
    paths = typed("logs", "demo", "1", "--all", "--path")
    assert (paths.count("001/logs/1.log"), paths.count("002/logs/1.log")) == (1, 1)
    typed("logs", "demo", "0-1", "-f")
    assert (typed.code, typed.error) == (2, "one-slice-only")


def test_each_of_several_logs_names_its_slice(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """A line before each log names its key; for one log the line is on stderr."""
    run = new_run(SliceTable(["a/b", "c\nd"]))
    submit(run, choose_waiting(None), {}, "submit")
    for index in range(2):
        wrote(run, 1, index, f"no line end {index}")
        engine.end("100", index, State.FAILED, exit_code=1)
    logs = "runs/demo/submissions/001/logs"
    typed("logs", "--state", "FAILED")
    (head, text, second_head, second_text) = typed.lines
    assert (text, second_text) == ("no line end 0", "no line end 1")
    assert head.startswith(f"==> a/b: {logs}/row-0.log")
    assert second_head.startswith(f"==> c\\nd: {logs}/row-1.log")
    assert all("FAILED" in line for line in (head, second_head))
    typed("logs", "a/b")
    (log_name,) = typed.noted("log-of")
    assert log_name == {"key": "a/b", "path": f"{typed.folder}/{logs}/row-0.log"}
    assert typed.lines[1:] == ("no line end 0",)
    typed("resubmit", "demo", "a/b")
    run.reload()
    wrote(run, 2, 0, "again")
    typed("logs", "--all", "a/b")
    assert sum(line.startswith("==> a/b: ") for line in typed.lines) == 2


@pytest.mark.parametrize("state", [State.COMPLETED, State.FAILED])
def test_a_log_that_was_deleted(
    new_run: NewRun, engine: FakeEngine, typed: Typed, state: State
) -> None:
    """A deleted log, an empty log and a slice that never began have different notes."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    wrote(run, 1, 0, None)
    engine.end("100", 0, state)
    typed("logs", "demo", "0")
    assert typed.noted("log-gone") == [{"path": str(run.directory.log_path(1, "0.log"))}]
    typed("logs", "demo", "1")
    assert typed.noted("no-output-yet")
    engine.end("100", 2, State.CANCELLED)
    typed("logs", "demo", "2")
    assert typed.noted("slice-wrote-nothing")


# -- slips -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("run -a 0-3 work.sh", "slurmslice run -a 0-3 -- work.sh"),
        ("render -a 0-3 --mem 1G work.sh {}", "render -a 0-3 --mem 1G -- work.sh '{}'"),
        ("run -a 0-3 python3 x.py --in {}", "run -a 0-3 -- python3 x.py --in '{}'"),
        ("run -a 0-3 --exclusive=user ./x -o y", "run -a 0-3 --exclusive=user -- ./x -o y"),
        ("run -a 0-3 --nosuch x", "-- ./x {}"),
        ("run -a 0-3 --nosuch", "-- ./x {}"),
        ("run -a 0-3 -o x", "-- python x.py {}"),
        ("run --grid lr=1,2 seed=1 -- true {}", "--grid seed=1"),
        ("render --grid lr=1,2 seed=1 -- true {}", "--grid seed=1"),
    ],
)
def test_the_suggested_command_has_the_missing_dashes(typed: Typed, line: str, said: str) -> None:
    """The suggested line has ``--`` before the first word that is neither an option nor a run."""
    told = typed(*line.split())
    assert typed.code == 2
    assert said in told
    assert typed.error


def test_the_name_of_a_run_is_not_used_as_a_command(new_run: NewRun, typed: Typed) -> None:
    """If the word names a run, the message says how to continue it."""
    new_run("0-3")
    for line in (("-o", "log"), ("--nosuch",)):
        assert "-- demo" not in typed("run", "demo", *line)
    typed("run", "-a", "0-3", "demo")
    assert (typed.code, typed.error) == (2, "run-and-new-run")
    assert "slurmslice throttle demo" in typed("run", "demo", "--throttle", "8")


def test_a_pattern_that_the_shell_expanded(typed: Typed) -> None:
    """The hint says to quote the pattern: the second file would be read as the name of a run."""
    for name in ("a1.txt", "a2.txt"):
        (typed.folder / name).write_text("")
    said = typed("run", "--glob", "a1.txt", "a2.txt", *COMMAND)
    assert typed.code == 2
    assert "--glob" in said


def test_a_slip_in_a_settings_file_names_the_file(typed: Typed) -> None:
    """Errors of the check and of the command name the settings file too."""
    for said, key in (
        ('check-file = "out/{nme}.h5"\ncommand = ["true", "{}"]', "check-file:"),
        ('check = "test -s {}"\ncommand = ["true", "{}"]', "check:"),
        ('command = ["true", "{nme}"]', "command:"),
    ):
        (typed.folder / "slurmslice.toml").write_text(f'slices = "0-3"\n{said}\n')
        assert f"slurmslice.toml: {key}" in typed("run", "--dry-run")
        assert typed.code == 2
    said = typed("run", "--dry-run", "--", "true", "{nme}")
    assert typed.error == "unknown-column"
    assert "slurmslice.toml: command" not in said  # what was typed is in no file


def test_an_option_that_names_no_column(typed: Typed) -> None:
    """The error lists the columns, or says how slices get columns."""
    (typed.folder / "t.csv").write_text("mass,n\n1,a\n")
    said = typed("run", "--table", "t.csv", "--key", "n", "--mem", "{mem}G", *COMMAND)
    assert typed.error == "unknown-column"
    assert "--mem={mem}G" in said
    assert "mass, n" in said
    said = typed("run", "-a", "0-3", "--mem", "{mem}G", *COMMAND)
    assert typed.error == "unknown-column"
    assert "--table" in said


def test_a_script_that_bash_cannot_read_is_not_submitted(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The error has bash's message and the line; a repaired script is submitted."""
    run = new_run("0-3")
    text = run.directory.script.read_text()
    broken = text.replace("prepare() {\n", "prepare() {\n  if true\n", 1)
    assert broken != text
    for words in (("submit", "demo"), ("run", "demo"), ("submit", "demo", "--dry-run")):
        edit(run, broken)
        said = typed(*words)
        assert (typed.code, typed.error, engine.jobs) == (2, "bash-syntax", {})
        assert str(run.directory.script) in said
        assert "syntax" in said  # bash's own word
    edit(run, text.replace("prepare() {\n", "shopt -s extglob\nprepare() {\n  ls !(x)\n"))
    typed("submit", "demo", "--only", "2")
    assert (typed.code, len(engine.jobs)) == (0, 1)
    edit(run, broken)
    said = typed("submit", "demo")
    assert (typed.code, len(engine.jobs)) == (2, 1)


@pytest.mark.parametrize(
    ("line", "is_bash"),
    [
        *((line, False) for line in ("#!/bin/sh", "#!/bin/sh -l", "#! /bin/dash", "#!/bin/zsh",
                                     "#!/usr/bin/env python3", "", "# a remark", "#!/bin/bashful")),
        *((line, True) for line in ("#!/bin/bash -l", "#!/usr/bin/env bash", "#! /opt/bin/bash",
                                    "#!/usr/bin/env -S bash -l")),
    ],
)  # fmt: skip
def test_a_script_for_another_shell_is_not_submitted(
    line: str, is_bash: bool, new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The library is written for bash. The error has the file, the line and the line to write."""
    run = new_run("0-3")
    edit(run, run.directory.script.read_text().replace("#!/bin/bash", line, 1))
    for words in (("submit", "demo", "--dry-run"), ("submit", "demo")):
        said = typed(*words)
        assert (typed.code, typed.error) == ((0, "") if is_bash else (2, "script-not-bash"))
        assert ("#!/bin/bash" in said) or is_bash
    assert len(engine.jobs) == is_bash
    assert is_bash or typed.fields["line"] == 1


@pytest.mark.parametrize(
    "line",
    ["#SBTACH --mem=4G", "#SBATH -t 5", "#BATCH --mem=4G", "#sbatch -c 4", "# SBATCH --mem=4G",
     "#SBACTH: --mem=4G", "#S-BATCH -p main", " #SBATCH --mem=4G"],
)  # fmt: skip
def test_a_misspelled_directive_is_named(line: str, new_run: NewRun, typed: Typed) -> None:
    """sbatch ignores such a line without a word. The note has the file and the line."""
    run = new_run("0-3")
    typed("submit", "demo", "--dry-run")
    assert not typed.noted("ignored-directive")
    edit(run, run.directory.script.read_text().replace("\n", f"\n{line}\n", 1))
    for words in (("submit", "demo", "--dry-run"), ("submit", "demo")):
        said = typed(*words)
        (found,) = typed.noted("ignored-directive")
        assert (typed.code, found["line"], found["path"]) == (0, 2, str(run.directory.script))
        assert "#SBATCH" in said


@pytest.mark.parametrize(
    "line",
    ["##SBATCH --mem=4G", "#SBATCH --mem=4G", "# sbatch --mem=4G x.sh", "# a switch -t of it",
     "#SBATCH is read by sbatch", "#SLURM --mem=4G", "# shellcheck -x"],
)  # fmt: skip
def test_other_comments_are_not_named(line: str, new_run: NewRun, typed: Typed) -> None:
    """A directive, one that is switched off, and prose."""
    run = new_run("0-3")
    text = run.directory.script.read_text()
    edit(run, text.replace("\n#SBATCH", f"\n{line}\n#SBATCH", 1))
    typed("submit", "demo")
    assert not typed.noted("ignored-directive")


@pytest.mark.parametrize(
    "above", ["true", "export A=1", "module load gcc", 'cd "$HOME" || exit', "f() { :; }"]
)
def test_a_directive_below_a_command_is_named(new_run: NewRun, typed: Typed, above: str) -> None:
    """sbatch reads directives up to the first command."""
    run = new_run("0-3")
    text = run.directory.script.read_text()
    edit(run, text.replace("prepare() {", f"{above}\n#SBATCH --mem=4G\nprepare() {{", 1))
    typed("submit", "demo", "--only", "0-0")
    (found,) = typed.noted("ignored-directive")
    assert (typed.code, found["written"]) == (0, "#SBATCH")


@pytest.mark.parametrize("verb", ["submit", "run", "resubmit"])
def test_a_dependency_can_be_dropped(
    verb: str, new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``-d none`` overrides the line of the script, and stays with the slices."""
    run = new_run("0-1", dependency="afterok:7")
    if verb == "resubmit":
        typed("submit", "demo")
        typed("cancel", "demo")
        engine.pass_time(60)
    engine.after_submit = lambda order: engine.end_all()
    words = ("--state", "CANCELLED") if verb == "resubmit" else ()
    typed(verb, "demo", *words, "-d", "none")
    assert typed.code == 0
    newest = list(engine.jobs.values())[-1]
    assert newest.order.request["dependency"] == "0"
    assert "--dependency=0" in newest.order.overrides.to_argv()
    assert "afterok:7" in run.directory.script.read_text()


@pytest.mark.parametrize("modes", [[], ["truncate"], ["append", "truncate"]])
def test_a_script_that_would_truncate_its_log_is_not_submitted(
    typed: Typed, engine: FakeEngine, modes: list[str]
) -> None:
    """A requeued pack reads in its log which slices are done: sbatch(1)."""
    typed("render", "--name", "demo", "-a", "0-7", "--pack", "2", *COMMAND)
    script = next(typed.folder.rglob("script.sh"))
    text = script.read_text()
    now = "".join(f"#SBATCH --open-mode={mode}\n" for mode in modes)
    script.write_text(text.replace("#SBATCH --open-mode=append\n", now))
    said = typed("submit", "demo")
    assert (typed.code, typed.error, len(engine.jobs)) == (2, "script-open-mode", 0)
    assert str(script) in said
    script.write_text(text)
    typed("submit", "demo")
    assert (typed.code, len(engine.jobs)) == (0, 1)


def test_a_script_that_would_run_other_slices_is_not_submitted(
    typed: Typed, engine: FakeEngine
) -> None:
    """The slices of each array task are fixed before; another array would lose some."""
    typed("render", "--name", "demo", "-a", "0-7", "--pack", "2", *COMMAND)
    script = next(typed.folder.rglob("script.sh"))
    text = script.read_text()
    changed = {"pack=2 ": "pack=4 ", "table pack=2 ": "direct ", "source ": "# "}
    for old, new in changed.items():
        script.write_text(text.replace(f" {old}" if old != "source " else f"\n{old}", f" {new}"))
        os.utime(script, (time.time() + 5, time.time() + 5))
        typed("submit", "demo")
        assert (typed.code, engine.jobs) == (2, {})
    script.write_text(text.replace("pack=2 --", "pack=2 at_once=2 --"))
    os.utime(script, (time.time() + 5, time.time() + 5))
    typed("submit", "demo")
    assert (typed.code, len(engine.jobs)) == (0, 1)


def edit(run: Run, text: str) -> None:
    """Write a script that is newer than its run by any clock."""
    run.directory.script.write_text(text)
    made = (run.directory.path / "run.json").stat().st_mtime
    os.utime(run.directory.script, (made + 5, made + 5))


def test_queued_slices_need_a_readable_script(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """After an edit with an error, the next submission of queued slices is refused too."""
    run = new_run("0-3")
    engine.most = 2
    submit(run, choose_waiting(None), {}, "submit")
    edit(run, run.directory.script.read_text().replace("prepare() {", "prepare() { ("))
    engine.end_all()
    typed("tick", "demo")
    assert (typed.code, typed.error, len(engine.jobs)) == (2, "bash-syntax", 1)


# -- options for a run that is there -----------------------------------------------------------


def test_options_change_waiting_slices_and_not_submitted_ones(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """``run RUN -c`` changes waiting slices; a note names the others, which Slurm cannot change."""
    run = new_run("0-3", mem="1G")
    engine.most = 2
    submit(run, choose_waiting(None), {}, "submit")

    engine.on_wait = engine.end_all
    said = typed("run", "demo", "-c", "2")
    assert typed.code == 0
    (queued,) = typed.noted("already-queued")
    assert queued["slices"] == 2
    assert "slurmslice cancel demo -- 0-1" in said
    assert "slurmslice resubmit demo --state CANCELLED --cpus-per-task=2 -- 0-1" in said
    asked = [job.order.request.cpus for job in engine.jobs.values()]
    assert asked == [1, 2]


def test_options_are_refused_if_all_slices_are_submitted(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The options are refused; the hint has the two lines that change the request."""
    submit(new_run("0-3"), choose_waiting(None), {}, "submit")
    said = typed("run", "demo", "-c", "8")
    assert (typed.code, typed.error) == (2, "nothing-waits")
    assert said.index("slurmslice cancel demo") < said.index("resubmit demo --state CANCELLED")


def test_a_multiple_is_asked_for_once(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """Slices that wait for room are not multiplied again."""
    run = new_run("0-3", mem="1G")
    engine.most = 2
    submit(run, choose_waiting(None), {}, "submit")
    engine.most = 1
    engine.on_wait = engine.end_all
    typed("run", "demo", "--mem", "2x")
    asked = [job.order.request.mem_mib for job in engine.jobs.values()]
    assert asked == [1024, 2048, 2048]


@pytest.mark.parametrize("words", [("run", "demo"), ("submit", "demo"), ("resubmit", "demo")])
def test_the_first_poll_reports_a_job_submitted_by_hand(
    new_run: NewRun, engine: FakeEngine, typed: Typed, words: tuple[str, ...]
) -> None:
    """A job submitted by hand is added to the run by the first verb that polls."""
    run = new_run("0-3")
    order = planned(run, choose_waiting([0, 1]))[0].submit_request(run)
    by_hand = replace(order, job_name=run.record.job_name, array=parse_array("0-1"))
    engine.submit(by_hand)
    engine.after_submit = lambda order: engine.end_all()
    engine.on_wait = engine.end_all
    typed(*words)
    assert typed.noted("job-submitted-by-hand") == [{"job": "100", "submission": 1}]


# -- a rehearsal -------------------------------------------------------------------------------


def test_a_dry_run_makes_the_checks_of_resubmit(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Both leave out slices that Slurm requeues; both fail if Slurm does not answer."""
    run = new_run("0-3")
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    poll(run)
    engine.jobs["100"].tasks[2] = TaskReport(State.PENDING, "PENDING", restarts=1)
    typed("resubmit", "demo", "--dry-run")
    assert typed.noted("would-submit") == [{"slices": 3, "keys": "0-1,3", "submission": 2}]
    engine.silence = "the fake cluster does not answer"
    for more in (("--dry-run",), ()):
        typed("resubmit", "demo", *more)
        assert (typed.code, typed.error, len(engine.jobs)) == (3, "no-answer", 1)


def test_a_dry_run_checks_the_task_table(engine: FakeEngine, typed: Typed) -> None:
    """Both refuse a changed table."""
    (typed.folder / "keys").write_text("a\nb\n")
    typed("render", "--slices-from", "keys", "--name", "x", *COMMAND)
    (typed.folder / "runs" / "x" / "submissions" / "001" / "tasks.tsv").write_text("b\n")
    for more in (("--dry-run",), ()):
        typed("submit", "x", *more)
        assert (typed.code, typed.error, engine.jobs) == (2, "table-changed", {})


def test_a_dry_run_reports_held_slices(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """The note names the option that releases the held slices."""
    run = new_run("0-39")
    engine.most = 20
    submit(run, choose_waiting(None), {}, "submit")
    engine.end_all(State.FAILED)
    typed("tick", "demo")
    said = typed("resubmit", "demo", "--dry-run")
    assert typed.noted("rest-held")
    assert "--max-failures none" in said


# -- doubts ------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("submit", "x"), ("cancel", "x")])
def test_a_wait_for_a_late_job_is_noted_with_its_result(
    engine: FakeEngine, typed: Typed, words: tuple[str, ...]
) -> None:
    """A note appears before the wait for a late job; no slice is submitted twice."""
    sent: list[SubmitRequest] = []

    def send_and_lose(order: SubmitRequest) -> None:
        sent.append(order)
        raise SubmissionUnknownError("Socket timed out on send/recv operation.")

    def show_itself() -> None:
        if not engine.jobs:
            engine.submit(sent[0])

    engine.on_submit, engine.lookups_fail = send_and_lose, True
    typed("render", *LINE, *COMMAND)
    typed("submit", "x")
    assert typed.code == 3
    engine.on_submit, engine.lookups_fail, engine.on_wait = lambda order: None, False, show_itself
    typed(*words)
    assert typed.noted("looking-for-submission") == [{"submission": 1, "seconds": 20}]
    assert typed.noted("submission-found") == [{"submission": 1, "job": "100"}]
    assert (typed.code, list(engine.jobs)) == (0, ["100"])


def test_an_option_that_sbatch_does_not_know_must_go(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """No other request is suggested, because it would be rejected too."""
    new_run("0-3")

    def reject(order: SubmitRequest) -> None:
        raise SubmissionRejectedError("sbatch: unrecognized option '--foo=1'")

    engine.on_submit = reject
    for verb in ("submit", "status", "run"):
        said = typed(verb, "demo", *(["--sbatch", "foo=1"] if verb != "status" else []))
        assert "unrecognized" in said
        assert "PARTITION" not in said
    assert typed.error == "submission-rejected"
