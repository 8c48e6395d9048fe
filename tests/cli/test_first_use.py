"""Typical problems of a first user: missing information and probable mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slurmslice.actions.cancel import cancel
from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_failed, choose_waiting, submit
from slurmslice.actions.submit_queued import submit_queued
from slurmslice.cli.output.blocked_slices import UNKNOWN_AFTER_S, notes_on_blocked_slices
from slurmslice.engines.protocol import SubmitRequest, TaskLimits
from slurmslice.errors import (
    BadInputError,
    DamagedRunError,
    SubmissionRejectedError,
    SubmitLimitError,
)
from slurmslice.notes import Note
from slurmslice.reports.counts import key_ranges
from slurmslice.run.directory import RunDirectory
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.status.observation import TaskReport
from slurmslice.status.states import State
from slurmslice.system.escaping import escape
from tests.support.errors import raises_error
from tests.support.fakes import Clock, FakeEngine
from tests.support.typed import Typed

NewRun = Callable[..., Run]
ALL = choose_waiting(None)
FAILED = choose_failed(None, None)
CANCELLED = choose_failed(frozenset({State.CANCELLED}), None)


def full(order: SubmitRequest) -> None:
    raise SubmitLimitError("not now")


def refuse(order: SubmitRequest) -> None:
    raise SubmissionRejectedError("sbatch: error: invalid partition specified: nope")


def ended(run: Run, engine: FakeEngine, state: State, **what: int) -> None:
    """Submit all slices, end them in one state, and poll."""
    submit(run, ALL, {}, "submit")
    for index in engine.jobs["100"].tasks:
        engine.end("100", index, state, **what)
    poll(run)


def changes(run: Run, **wanted: str) -> dict[str, str]:
    """Return the sbatch options of a resubmission of failed slices."""
    outcome = submit(run, FAILED, wanted, "resubmit")
    outcome.raise_error(ignore_temporary=False)
    (accepted,) = outcome.accepted
    return dict(accepted.planned.batch.changes)


# -- a multiple of what nobody asked for -----------------------------------------------------


def test_twice_the_memory_that_slurm_gave(new_run: NewRun, engine: FakeEngine) -> None:
    """``--mem 2x`` without an earlier --mem doubles the memory in accounting."""
    run = new_run("0-1")
    ended(run, engine, State.OUT_OF_MEMORY, requested_mem_bytes=950 << 20)
    assert changes(run, mem="2x") == {"mem": "1900M"}
    engine.end_all(State.OUT_OF_MEMORY)
    poll(run)
    assert changes(run, mem="2x") == {"mem": "3800M"}


def test_a_multiple_applies_to_the_request_of_each_slice(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """Slices with different memory are resubmitted with different requests."""
    run = new_run("0-1")
    submit(run, ALL, {}, "submit")
    for index, gigabytes in enumerate((1, 3)):
        engine.end("100", index, State.OUT_OF_MEMORY, requested_mem_bytes=gigabytes << 30)
    poll(run)
    outcome = submit(run, FAILED, {"mem": "2x"}, "resubmit")
    assert [dict(accepted.planned.batch.changes)["mem"] for accepted in outcome.accepted] == [
        "2G",
        "6G",
    ]


def test_twice_the_time_of_the_partition(new_run: NewRun, engine: FakeEngine) -> None:
    """``--time 2x`` without an earlier --time doubles the partition's default."""
    engine.limited = TaskLimits(1001, default_time_s=3600)
    run = new_run("0-1")
    ended(run, engine, State.TIMEOUT)
    assert changes(run, time="2x") == {"time": "02:00:00"}


@pytest.mark.parametrize(("name", "full"), [("mem", "--mem 8G"), ("time", "--time 02:00:00")])
def test_a_multiple_of_an_unknown_value_is_refused(
    new_run: NewRun, engine: FakeEngine, name: str, full: str
) -> None:
    """The hint has the option in full; nothing is submitted."""
    run = new_run("0-1")
    ended(run, engine, State.OUT_OF_MEMORY)
    with raises_error(BadInputError, "nothing-to-multiply") as caught:
        submit(run, FAILED, {name: "2x"}, "resubmit")
    assert full in caught.value.hint
    assert len(engine.jobs) == 1


# -- a refusal ---------------------------------------------------------------------------------


def test_a_cancelled_slice_stays_cancelled_after_a_rejection(
    new_run: NewRun, engine: FakeEngine, reopen: Callable[[Run], Run]
) -> None:
    """After a rejected ``resubmit --state CANCELLED``, ``submit`` submits nothing."""
    run = new_run("0-3")
    cancel(run, [1, 2])
    engine.on_submit = refuse
    with pytest.raises(SubmissionRejectedError):
        submit(run, CANCELLED, {}, "resubmit").raise_error(ignore_temporary=False)
    for seen in (run, reopen(run)):
        assert seen.statuses.rows_in({State.CANCELLED}) == [1, 2]
        assert seen.statuses[1].state is State.CANCELLED
    engine.on_submit = lambda order: None
    (accepted,) = submit(run, ALL, {}, "submit").accepted
    assert list(accepted.planned.batch.rows) == [0, 3]


def test_a_cancelled_slice_waits_after_it_is_resubmitted(
    new_run: NewRun, engine: FakeEngine, reopen: Callable[[Run], Run]
) -> None:
    """The slices wait while there is no room, until they are cancelled again."""
    run = new_run("0-3")
    cancel(run, None)
    engine.most = 1
    submit(run, CANCELLED, {}, "resubmit")
    for seen in (run, reopen(run)):
        assert seen.statuses.state_counts() == {State.WAITING: 3, State.SUBMITTED: 1}
        assert seen.statuses[3].state is State.WAITING
    cancel(run, [3])
    assert run.statuses[3].state is State.CANCELLED


def test_a_cancelled_slice_waits_after_a_temporary_rejection(
    new_run: NewRun, engine: FakeEngine, reopen: Callable[[Run], Run]
) -> None:
    """The slices stay queued and are submitted later with the same request."""
    run = new_run("0-3")
    cancel(run, None)
    engine.on_submit = full
    submit(run, CANCELLED, {}, "resubmit")
    for seen in (run, reopen(run)):
        assert seen.statuses.state_counts() == {State.WAITING: 4}
    engine.on_submit = lambda order: None
    (accepted,) = submit_queued(run, "tick").accepted
    assert len(accepted.planned.batch.rows) == 4


# -- what is shown in little room --------------------------------------------------------------

NAMES = st.characters(exclude_categories=["Cs"], exclude_characters="\0,")


@given(st.lists(st.text(NAMES, min_size=1, max_size=90), min_size=1, max_size=30, unique=True))
def test_keys_that_are_not_shown_are_counted_right(keys: list[str]) -> None:
    """Only whole keys are shown; shown and omitted keys add up."""
    assume(not any(key.isdecimal() or " and " in key for key in keys))
    shown, _, more = key_ranges(keys).partition(" and ")
    whole = shown.split(", ")
    assert len(whole) + int(more.removesuffix(" more") or 0) == len(keys)
    assert whole[0].startswith(escape(keys[0])[:50])
    assert whole[1:] == [escape(key) for key in keys[1 : len(whole)]]
    assert len(shown) <= 62


@given(st.sets(st.integers(0, 10**6), min_size=1, max_size=60))
def test_ranges_that_are_not_shown_are_counted_right(numbers: set[int]) -> None:
    """No number is cut in the middle."""
    shown, _, more = key_ranges(list(map(str, numbers))).partition(" and ")
    told = list(parse_array(shown))
    assert told == sorted(numbers)[: len(told)]
    assert len(told) + int(more.removesuffix(" more") or 0) == len(numbers)


# -- what is typed ----------------------------------------------------------------------------


def test_after_a_refusal_the_line_that_works_is_named(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """The line has the same verb and the same choice of slices."""
    cancel(new_run("0-3"), [1, 2])
    engine.on_submit = refuse
    said = typed("resubmit", "demo", "--state", "CANCELLED", "1", "-p", "mian")
    assert typed.code == 3
    assert "slurmslice resubmit demo --state CANCELLED -p PARTITION -- 1" in said
    said = typed("submit", "demo", "--only", "1", "-p", "mian")
    assert "slurmslice submit demo --only 1 -p PARTITION" in said


@pytest.mark.parametrize(
    ("words", "note"),
    [
        ("submit demo --dry-run", Note("nothing-waits", "")),
        ("run demo --dry-run", Note("nothing-waits", "")),
        (
            "resubmit demo --dry-run",
            Note("nothing-to-resubmit", "", {"states": {"COMPLETED": "0-3"}}),
        ),
        ("resubmit demo 1 2", Note("nothing-to-resubmit", "", {"states": {"COMPLETED": "1-2"}})),
    ],
)
def test_nothing_to_do_is_noted(
    new_run: NewRun, engine: FakeEngine, typed: Typed, words: str, note: Note
) -> None:
    """The note is the same with --dry-run; for named slices it is about these."""
    ended(new_run("0-3"), engine, State.COMPLETED, exit_code=0)
    typed(*words.split())
    code = 5 if words.startswith("resubmit") else 0
    assert (typed.code, typed.noted(note.code)) == (code, [note.fields])


def test_what_works_instead_of_resubmit_is_named(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """Waiting slices need ``run``; completed slices need ``--state COMPLETED``."""
    run = new_run("0-3")
    assert "slurmslice run demo" in typed("resubmit", "demo", "1")
    ended(run, engine, State.COMPLETED, exit_code=0)
    assert "--state COMPLETED" in typed("resubmit", "demo", "1")
    assert "--state COMPLETED" not in typed("resubmit", "demo")  # nobody means all of them


def test_a_dry_run_of_run_shows_the_submissions(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """It shows the same as a dry run of ``submit`` and changes nothing."""
    new_run("0-3")
    for verb in ("run", "submit"):
        said = typed(verb, "demo", "--dry-run", "-p", "short")
        assert typed.noted("would-submit") == [{"slices": 4, "keys": "0-3", "submission": 1}]
        assert "sbatch --parsable --partition=short" in said
    assert engine.jobs == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("submit", "demo", "--only", "0"), "--only 0-0"),
        (("submit", "demo", "--array", "3"), "slurmslice submit demo 3"),
        (("resubmit", "demo", "--array", "3"), "slurmslice resubmit demo 3"),
        (("resubmit", "demo", "--time", "x2"), "2x"),
        (("resubmit", "demo", "--mem", "0x"), "2x"),
        (("resubmit", "demo", "--mem", "0.0x"), "2x"),
    ],
)
def test_a_mistyped_option_gets_the_right_form(
    new_run: NewRun, engine: FakeEngine, typed: Typed, words: tuple[str, ...], said: str
) -> None:
    """The exit code is 2, and nothing is created."""
    new_run("0-3")
    assert said in typed(*words)
    assert typed.code == 2
    assert engine.jobs == {}


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("PartitionTimeLimit", "slurmslice resubmit demo --state CANCELLED -t TIME"),
        ("PartitionNodeLimit", "slurmslice resubmit demo --state CANCELLED -N NODES"),
        ("QOSMaxWallDurationPerJobLimit", "--state CANCELLED -t TIME"),
        ("AssocMaxCpuPerJobLimit", "--state CANCELLED -c CPUS"),
        ("DependencyNeverSatisfied", "--state CANCELLED -d none"),
        ("AssocGrpCPUMinutesLimit", "--state CANCELLED -A ACCOUNT"),
        ("JobHeldUser", "scontrol release 100"),
        ("launch failure limit exceeded requeued held", "scontrol release 100"),
        ("JobHeldAdmin", "administrators"),
        ("ReservationDeleted", "--state CANCELLED --reservation NAME"),
        ("AssocGrpWallLimit", "--state CANCELLED -A ACCOUNT"),
        ("BadConstraints", "--state CANCELLED -C FEATURES"),
    ],
)
def test_slices_that_never_start_get_a_command_to_type(
    new_run: NewRun, engine: FakeEngine, typed: Typed, reason: str, said: str
) -> None:
    """``status`` names the commands, and the slices if others wait normally."""
    submit(new_run("0-3"), ALL, {}, "submit")
    for index in range(1, 4):
        engine.jobs["100"].tasks[index] = TaskReport(State.PENDING, "PENDING", reason=reason)
    shown = typed("status", "demo")
    assert typed.noted("will-not-start") == [{"keys": "1-3", "reason": reason}]
    assert said in shown
    assert ("slurmslice cancel demo -- 1 …" in shown) == ("held" not in reason.lower())


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("AssocGrpCpuLimit", "-c CPUS --mem SIZE"), ("QOSGrpMemLimit", "-c CPUS --mem SIZE"),
        ("QOSMaxCpuPerUserLimit", "-c CPUS --mem SIZE"), ("AssocGrpJobsLimit", "-A ACCOUNT"),
        ("QOSMaxJobsPerUserLimit", "squeue --me"), ("PartitionDown", "-p PARTITION"),
        ("PartitionInactive", "sinfo -s"), ("Licenses", "scontrol show licenses"),
        ("Reservation", "scontrol show reservation"), ("AssocMaxJobsLimit", "squeue --me"),
        ("ReqNodeNotAvail, UnavailableNodes:n1", "sinfo -R"),
        ("ReqNodeNotAvail, Reserved for maintenance", "-t TIME"),
    ],
)  # fmt: skip
def test_slices_that_may_wait_for_ever_get_advice(
    new_run: NewRun, engine: FakeEngine, typed: Typed, reason: str, said: str
) -> None:
    """A limit that others use. If a slice of the run runs, the others follow: no note."""
    submit(new_run("0-3"), ALL, {}, "submit")
    for index in range(4):
        engine.jobs["100"].tasks[index] = TaskReport(State.PENDING, "PENDING", reason=reason)
    shown = typed("status", "demo")
    (found,) = typed.noted("may-not-start")
    assert (found["keys"], found["reason"]) == ("0-3", reason.partition(",")[0])
    assert said in shown
    assert not typed.noted("will-not-start")
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING")
    typed("status", "demo")
    assert not typed.noted("may-not-start")


@pytest.mark.parametrize("reason", ["AssocGrpCpuLimit", "QOSGrpMemLimit", "QOSMaxCpuPerUserLimit"])
@pytest.mark.parametrize("verb", ["status", "run"])
def test_a_task_that_is_above_a_limit_alone_is_told_never_to_start(
    new_run: NewRun, engine: FakeEngine, typed: Typed, reason: str, verb: str
) -> None:
    """It was submitted by hand, or the limit was lowered since then. The engine is asked once."""
    submit(new_run("0-3", cpus_per_task="4"), ALL, {}, "submit")
    engine.jobs["100"].tasks = {
        index: TaskReport(State.PENDING, "PENDING", reason=reason) for index in range(4)
    }
    asked = []

    def limits(request: ResourceRequest) -> TaskLimits:
        asked.append(request.options)
        return TaskLimits(1001, 0, impossible_reason="GrpTRES is cpu=3 of x")

    engine.limits = limits  # type: ignore[method-assign]
    engine.on_wait = lambda: engine.end_all() if len(engine.waited) > 2 else None
    said = typed(verb, "demo")
    assert typed.noted("will-not-start") == [{"keys": "0-3", "reason": reason}]
    assert not typed.noted("may-not-start")
    assert "GrpTRES is cpu=3" in said
    assert "slurmslice resubmit demo --state CANCELLED -c CPUS --mem SIZE" in said
    assert len(asked) == 1
    assert ("cpus-per-task", "4") in asked[0]


@pytest.mark.parametrize("column", ["mem", "cpus"])
def test_only_the_slices_that_are_above_the_limit_never_start(
    engine: FakeEngine, typed: Typed, column: str
) -> None:
    """The others run. Those wait for the same reason, and the note does not name them."""
    (typed.folder / "t.csv").write_text("name,mem,cpus\na,1,1\nb,1,1\nc,64,9\nd,64,9\n")
    option = ("--mem", "{mem}G") if column == "mem" else ("-c", "{cpus}")
    line = ("--table", "t.csv", "--key", "name", "--name", "demo", *option, "--", "true", "{name}")
    typed("render", *line)
    typed("submit", "demo")
    for job in engine.jobs.values():
        for index in job.tasks:
            job.tasks[index] = TaskReport(State.PENDING, "PENDING", reason="AssocGrpMemLimit")
    engine.jobs["100"].tasks[0] = TaskReport(State.RUNNING, "RUNNING")

    def limits(request: ResourceRequest) -> TaskLimits:
        high = "64G" in request.values() or "9" in request.values()
        return TaskLimits(1001, impossible_reason="GrpTRES is mem=9G of x" if high else "")

    engine.limits = limits  # type: ignore[method-assign]
    typed("status", "demo")
    assert typed.noted("will-not-start") == [{"keys": "c, d", "reason": "AssocGrpMemLimit"}]
    assert not typed.noted("may-not-start")


def test_jobs_lost_by_slurm_get_a_command_to_type(
    new_run: NewRun, engine: FakeEngine, clock: Clock
) -> None:
    """A controller that lost its state answers but does not know the jobs."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    engine.jobs["100"].tasks[0] = TaskReport(State.COMPLETED, "COMPLETED")
    poll(run)
    engine.jobs.clear()
    poll(run)
    assert notes_on_blocked_slices(run) == ()  # accounting may lag
    clock.now += UNKNOWN_AFTER_S
    poll(run)
    (note,) = notes_on_blocked_slices(run)
    assert (note.code, note.fields) == ("unknown-to-slurm", {"keys": "1-3"})
    told = note.message
    assert told.index("slurmslice cancel demo") < told.index("resubmit demo --state CANCELLED")


def test_a_follower_prints_the_note_once(new_run: NewRun, engine: FakeEngine, typed: Typed) -> None:
    """``run`` and ``watch`` print the note once while they wait."""
    submit(new_run("0-3"), ALL, {}, "submit")
    hopeless = TaskReport(State.PENDING, "PENDING", reason="PartitionTimeLimit")
    engine.jobs["100"].tasks.update(dict.fromkeys(range(4), hopeless))
    wait_reason = iter(range(3))
    engine.on_wait = lambda: None if next(wait_reason, None) is not None else engine.end_all()
    said = typed("watch", "demo")
    assert typed.code == 0
    stuck_once = {"keys": "0-3", "reason": "PartitionTimeLimit"}
    assert typed.noted("will-not-start") == [stuck_once]
    assert "slurmslice cancel demo" in said


@pytest.mark.parametrize(
    "reason",
    ["Priority", "Resources", "JobArrayTaskLimit", "Dependency", "BeginTime", "ReservationX", ""],
)
def test_a_temporary_reason_gets_no_advice(
    new_run: NewRun, engine: FakeEngine, typed: Typed, reason: str
) -> None:
    """A temporary reason gets no advice."""
    submit(new_run("0-3"), ALL, {}, "submit")
    for index in range(4):
        engine.jobs["100"].tasks[index] = TaskReport(State.PENDING, "PENDING", reason=reason)
    typed("status", "demo")
    assert not typed.noted("will-not-start")
    assert not typed.noted("may-not-start")
    assert any(line.startswith("PENDING") for line in typed.lines)


LINE = ("run", "-a", "0-3", "--name", "x")
COMMAND = ("--", "true", "{}")


def test_a_corrected_command_replaces_a_rejected_run(engine: FakeEngine, typed: Typed) -> None:
    """After a rejected line the corrected line works: one script, one run, and a note."""
    engine.on_submit = refuse
    typed(*LINE, "-p", "mian", *COMMAND)
    assert typed.code == 3
    engine.on_submit, engine.after_submit = lambda order: None, lambda order: engine.end_all()
    said = typed("run", "-a", "0-4", "--name", "x", "-p", "main", *COMMAND)
    assert typed.code == 0, said
    assert typed.noted("run-replaced") == [{"run": "x"}]
    (job,) = engine.jobs.values()
    assert (str(job.order.array), job.order.request.partition) == ("0-4", "main")
    assert job.order.arguments == ()
    assert [path.name for path in (typed.folder / "runs").iterdir()] == ["x"]


@pytest.mark.parametrize("what", ["nothing submitted", "script edited", "sent by hand", "silent"])
def test_a_run_that_a_person_changed_is_not_replaced(
    engine: FakeEngine, typed: Typed, what: str
) -> None:
    """A rendered run, an edited script, or a possible submission by hand is not replaced."""
    engine.on_submit = refuse
    line = LINE if what != "nothing submitted" else ("render", *LINE[1:])
    typed(*line, "-p", "mian", *COMMAND)
    script = typed.folder / "runs" / "x" / "script.sh"
    if what == "script edited":
        script.write_text(script.read_text() + "# mine\n")
    if what == "sent by hand":
        (script.parent / "submissions" / "001" / "job").write_text("100\n")
    engine.lookups_fail = what == "silent"
    before = {path: path.read_bytes() for path in script.parent.iterdir() if path.is_file()}
    said = typed(*LINE, "-p", "main", *COMMAND)
    assert (typed.code, typed.error) == (2, "run-differs")
    assert "slurmslice run x --partition=main" in said
    assert script.read_bytes() == before[script]
    assert (script.parent / "run.json").read_bytes() == before[script.parent / "run.json"]


def test_a_replaced_run_is_not_continued_from_memory(
    new_run: NewRun, engine: FakeEngine, typed: Typed
) -> None:
    """A process that had the old run open stops and submits nothing."""
    engine.on_submit = refuse
    typed(*LINE, "-p", "mian", *COMMAND)
    old = Run(RunDirectory(typed.folder / "runs" / "x"), engine)
    typed("render", *LINE[1:], "-p", "main", *COMMAND)
    engine.on_submit = lambda order: None
    with raises_error(DamagedRunError, "changed-meanwhile"):
        submit(old, ALL, {}, "submit")
    assert engine.jobs == {}


@pytest.mark.parametrize(
    ("there", "asked", "hint"),
    [
        (("-p", "mian"), ("-p", "main", "--mem", "1G"), "run x --mem=1G --partition=main"),
        (("-p", "main", "-c", "2"), ("-c", "4", "-p", "main"), "run x --cpus-per-task=4"),
        (("-p", "main", "--mem", "1G"), ("-p", "main"), "#SBATCH"),
    ],
)
def test_the_hint_names_the_command_for_another_request(
    typed: Typed, there: tuple[str, ...], asked: tuple[str, ...], hint: str
) -> None:
    """The hint has the changed options; a removed option needs an edit of the script."""
    typed("render", *LINE[1:], *there, *COMMAND)
    assert hint in typed("render", *LINE[1:], *asked, *COMMAND)
    assert typed.code == 2


def test_status_reports_a_rejection(engine: FakeEngine, typed: Typed) -> None:
    """``status`` shows Slurm's message and the line that changes the request.

    Until a submission succeeds.
    """
    engine.on_submit = refuse
    typed(*LINE, "-p", "mian", *COMMAND)
    shown = typed("status", "x")
    assert len(typed.noted("submission-rejected")) == 1
    assert "invalid partition specified: nope" in shown  # Slurm's own words
    assert "slurmslice submit x -p PARTITION" in shown
    engine.on_submit = lambda order: None
    typed("submit", "x", "--only", "1", "-p", "main")
    typed("status", "x")
    assert not typed.noted("submission-rejected")


# -- which run, which slice --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        ("submit 2 1 --dry-run", "would-submit"),
        ("cancel 1-2 --dry-run", "would-cancel"),
        ("cancel 1 -- 2", "cancelled"),
        ("cancel -- 1 2", "cancelled"),
        ("resubmit 1 --state CANCELLED --dry-run 2", "would-submit"),
        ("resubmit --state CANCELLED --dry-run -- 1 2", "would-submit"),
    ],
)
def test_keys_alone_are_slices_of_the_only_run(
    new_run: NewRun, typed: Typed, verb: str, code: str
) -> None:
    """Each verb that takes keys: no run is typed, if there is one run."""
    new_run("0-3")
    if verb.startswith("resubmit"):
        typed("cancel", "demo")
    typed(*verb.split())
    (found,) = typed.noted(code)
    assert (typed.code, found["slices"], found["keys"]) == (0, 2, "1-2")


def test_keys_alone_are_read(new_run: NewRun, typed: Typed) -> None:
    """``status`` and ``logs``, also with options between the keys, and with a pattern."""
    new_run("0-3")
    typed("submit")
    for line in ("status 2 1", "status -- 1 2", "status [12] --slices"):
        typed(*line.split())
        assert [line.split("\t")[0] for line in typed.stdout.splitlines()[1:]] == ["1", "2"]
    assert [one["key"] for one in typed.json("status", "1-2")["slices"]] == ["1", "2"]
    for line in ("logs 1 2 --path", "logs 1 2 --state PENDING --path"):
        typed(*line.split())
        assert (typed.code, len(typed.stdout.splitlines())) == (0, 2)


def test_a_runs_name_comes_before_a_slice_of_that_name(typed: Typed, engine: FakeEngine) -> None:
    """A run may have a number as its name."""
    typed("render", "-a", "0-9", "--name", "7", *COMMAND)
    typed("cancel", "7", "--dry-run")
    assert typed.noted("would-cancel") == [{"slices": 10, "keys": "0-9"}]
    typed("cancel", "7", "7", "--dry-run")
    assert typed.noted("would-cancel") == [{"slices": 1, "keys": "7"}]


def test_submit_takes_keys_or_only(new_run: NewRun, typed: Typed) -> None:
    """Both together are two choices."""
    new_run("0-3")
    typed("submit", "demo", "2", "--only", "1")
    assert (typed.code, typed.error) == (2, "options-conflict")


@pytest.mark.parametrize("verb", ["status", "cancel", "resubmit"])
def test_a_word_that_is_no_slice_is_no_run(new_run: NewRun, typed: Typed, verb: str) -> None:
    """The hint names the runs that are here, and does not guess."""
    new_run("0-3")
    said = typed(verb, "9")
    assert (typed.code, typed.error) == (2, "no-such-run")
    assert f"slurmslice {verb}" not in said
    assert "demo" in said  # the run that is here


def test_the_chosen_run_is_named_if_there_are_several(typed: Typed) -> None:
    """A reading verb uses the newest run and says so if there are several."""
    typed("render", "-a", "0-3", "--name", "one", *COMMAND)
    typed("status")
    assert not typed.noted("newest-run")
    typed("render", "-a", "0-3", "--name", "two", *COMMAND)
    (typed.folder / "runs" / "two" / "run.json").touch()
    for words in (("status",), ("logs", "3")):
        typed(*words)
        assert typed.noted("newest-run") == [{"run": "two", "runs": 2}]


@pytest.mark.parametrize("verb", ["status", "logs", "cancel", "resubmit"])
@pytest.mark.parametrize("key", ["-leading.dat", "-first"])
def test_a_key_that_begins_with_a_dash(typed: Typed, verb: str, key: str) -> None:
    """The key is read as an option; the hint has the form with ``--``."""
    said = typed(verb, "demo", key)
    assert typed.code == 2
    assert f"slurmslice {verb} demo -- {key}" in said
    said = typed(verb, key, "--", "-x")
    assert f"slurmslice {verb} -- -x {key}" in said


def test_different_runs_look_different(new_run: NewRun, typed: Typed) -> None:
    """A cancelled run and a run that was never submitted look different in ``runs``."""
    cancel(new_run("0-3"), [0, 1, 2])
    (record,) = json.loads(typed("runs", "--json"))
    assert (record["cancelled"], record["waiting"]) == (3, 1)
    assert "4 0 0 3 0 1" in typed("runs")


# -- what is hardly meant, before anything is made ---------------------------------------------


@pytest.mark.parametrize(
    ("limits", "words", "at_once", "note"),
    [
        (TaskLimits(1001, 0, "there is no partition mian"), (), 0, "no-task-can-run"),
        (TaskLimits(1001, 4, "4 fit"), ("-t", "0"), 4, "no-time-limit"),
    ],
)
def test_the_preview_notes_a_probable_mistake(
    engine: FakeEngine,
    typed: Typed,
    limits: TaskLimits,
    words: tuple[str, ...],
    at_once: int,
    note: str,
) -> None:
    """A probable mistake gets a note; the run is created."""
    engine.limited = limits
    said = typed("render", "-a", "0-3", *words, *COMMAND)
    (preview,) = typed.noted("preview")
    assert (typed.code, preview["at_once"], len(typed.noted(note))) == (0, at_once, 1)
    assert limits.at_once or limits.why in said  # the engine's reason


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("-a", "0-3%0"), "bad-number"),
        (("-a", "0-3", "--mem", "1G", "--mem-per-cpu", "1G"), "options-conflict"),
    ],
)
def test_options_that_sbatch_would_reject_are_refused_first(
    typed: Typed, words: tuple[str, ...], error: str
) -> None:
    """The exit code is 2, and nothing is created."""
    typed("render", *words, *COMMAND)
    assert (typed.code, typed.error) == (2, error)
    assert not (typed.folder / "runs").exists()


def test_keys_that_end_with_nul_are_recognised(typed: Typed) -> None:
    """The hint names -0; the message does not print a huge key."""
    (typed.folder / "keys").write_bytes(b"\0".join(b"key%d" % n for n in range(5000)))
    said = typed("render", "--slices-from", "keys", *COMMAND)
    assert typed.code == 2
    assert "-0" in said
    assert len(said) < 300


# -- what to type next -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "lines"),
    [
        ([State.FAILED], ["resubmit demo"]),
        ([State.TIMEOUT], ["resubmit demo --time 2x"]),
        ([State.OUT_OF_MEMORY, State.TIMEOUT, State.FAILED, State.NODE_FAIL],
         ["resubmit demo --state OUT_OF_MEMORY --mem 2x",
          "resubmit demo --state TIMEOUT --time 2x",
          "resubmit demo --state FAILED,NODE_FAIL"]),
    ],
)  # fmt: skip
def test_each_cause_has_its_own_advice(
    new_run: NewRun, engine: FakeEngine, typed: Typed, states: list[State], lines: list[str]
) -> None:
    """OUT_OF_MEMORY gets more memory, TIMEOUT gets more time."""
    submit(new_run("0-3"), ALL, {}, "submit")
    for index in range(4):
        engine.end("100", index, states[index % len(states)])
    typed("status", "demo")
    told = [line.split("slurmslice ")[1] for line in typed.lines if "slurmslice resubmit" in line]
    assert told == lines


@pytest.mark.parametrize(
    ("state", "code", "how", "advice"),
    [
        (State.FAILED, 127, "", "whole path"),
        (State.FAILED, 126, "", "chmod +x"),
        (State.FAILED, 127, "setup", "module"),
        (State.CHECK_FAILED, 127, "check", "whole path"),
        (State.FAILED, 1, "", "program"),
    ],
)
def test_a_command_that_cannot_start_has_its_own_advice(
    new_run: NewRun,
    engine: FakeEngine,
    typed: Typed,
    state: State,
    code: int,
    how: str,
    advice: str,
) -> None:
    """Exit 127 and 126 of the command, the setup or the check: what happened, what to type."""
    run = new_run("0-3")
    submit(run, ALL, {}, "submit")
    engine.end_all()
    engine.end("100", 2, State.FAILED, exit_code=code)
    head, slot = "job=100 restart=0 at=1800000000 host=n", "" if how == "setup" else " slot=0"
    kinds = {"": ("start", "end"), "setup": ("setup",), "check": ("start", "check", "end")}[how]
    exits = {"start": ""}
    run.directory.task_log_path(1, 2).write_text(
        "".join(f"slurmslice {k} {head}{slot}{exits.get(k, f' exit={code}')}\n" for k in kinds)
    )
    said = typed("status", "demo")
    (told,) = [one for one in typed.json("status", "demo")["slices"] if one["key"] == "2"]
    assert (told["state"], "usually" in told["reason"]) == (state, code > 1)
    assert advice in said
    assert "slurmslice resubmit demo" in said


# -- named slices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("0-5",), {"RUNNING": "3", "PENDING": "4-5", "COMPLETED": "1"}),
        (("0", "3"), {"RUNNING": "3"}),
        (("0", "1", "--dry-run"), {"COMPLETED": "1"}),
        (("0-3", "--state", "COMPLETED"), {"FAILED": "0", "RUNNING": "3", "CANCELLED": "2"}),
        (("0",), None),
        ((), None),
    ],
)
def test_a_named_slice_that_is_not_resubmitted_is_told(
    new_run: NewRun,
    engine: FakeEngine,
    typed: Typed,
    words: tuple[str, ...],
    left: dict[str, str] | None,
) -> None:
    """It has not ended, or not failed. Slices that nobody named are not listed."""
    submit(new_run("0-5"), ALL, {}, "submit")
    for index, state in enumerate((State.FAILED, State.COMPLETED, State.CANCELLED)):
        engine.end("100", index, state)
    engine.jobs["100"].tasks[3] = TaskReport(State.RUNNING, "RUNNING")
    typed("resubmit", "demo", *words)
    assert typed.code == 0
    assert [note["states"] for note in typed.noted("named-left-out")] == ([left] if left else [])


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_named_slice_that_cannot_be_cancelled_is_told(
    new_run: NewRun, engine: FakeEngine, typed: Typed, more: tuple[str, ...]
) -> None:
    """It has ended."""
    submit(new_run("0-5"), ALL, {}, "submit")
    for index, state in enumerate((State.FAILED, State.COMPLETED)):
        engine.end("100", index, state)
    typed("cancel", "demo", "0-3", *more)
    (note,) = typed.noted("named-left-out")
    assert note["states"] == {"COMPLETED": "1", "FAILED": "0"}
    typed("cancel", "demo", *more)
    assert not typed.noted("named-left-out")
