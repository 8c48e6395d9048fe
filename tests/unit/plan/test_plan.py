"""Plans: execution does exactly what a dry run shows."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slurmslice.actions.cancel import cancel
from slurmslice.actions.poll import poll
from slurmslice.actions.submit import choose_failed, choose_waiting, execute_plan, submit
from slurmslice.engines.protocol import TaskLimits
from slurmslice.errors import BadInputError
from slurmslice.plan.plan import Choice, make_plan, refuse_impossible_requests
from slurmslice.plan.planned_submission import PlannedSubmission
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.packing import Packing
from slurmslice.status.states import State
from tests.conftest import NewRun
from tests.support.fakes import FakeEngine
from tests.support.plans import a_plan
from tests.support.typed import Typed

ALL = choose_waiting(None)
FAILED = choose_failed(None, None)
Shown = tuple[list[int], dict[str, str]]


def shown(submission: PlannedSubmission) -> Shown:
    """Return a submission's rows and options, without the options that are new each time."""
    options = submission.overrides.without({"job-name"})
    return list(submission.batch.rows), dict(options)


def some_failed(run: Run, engine: FakeEngine) -> None:
    """End some slices in two kinds of failure, and complete the others."""
    submit(run, ALL, {}, "submit")
    engine.end_all()
    for index in (1, 4, 6):
        engine.end("100", index, State.OUT_OF_MEMORY)
    engine.end("100", 8, State.TIMEOUT)
    poll(run)


@pytest.mark.parametrize("changes", [{}, {"mem": "2x"}, {"mem": "3G", "partition": "long"}])
def test_execution_makes_the_submissions_of_the_plan(
    new_run: NewRun, engine: FakeEngine, changes: dict[str, str]
) -> None:
    """Rows, options and order are the same for waiting and for failed slices."""
    run = new_run("0-9", mem="1G", time="10")
    first = a_plan(run, ALL, changes)
    expected = [shown(one) for one in first.submissions(run)]
    assert [
        shown(accepted.planned) for accepted in execute_plan(run, first, "submit").accepted
    ] == expected
    engine.end_all(State.FAILED)
    poll(run)
    again = a_plan(run, FAILED, changes)
    expected = [shown(one) for one in again.submissions(run)]
    assert [
        shown(accepted.planned) for accepted in execute_plan(run, again, "resubmit").accepted
    ] == expected


@pytest.mark.parametrize(
    "words",
    ["submit demo", "submit demo --mem 2x", "submit demo --only 3 -p long", "run demo -t 5"],
)
def test_a_dry_run_shows_the_effect_of_the_same_command(
    new_run: NewRun, engine: FakeEngine, typed: Typed, words: str
) -> None:
    """The words for sbatch are equal, except for the job's name, which is new each time."""
    new_run("0-9", mem="1G")
    typed(*words.split(), "--dry-run")
    lines = [shlex.split(line) for line in typed.lines if line.startswith("sbatch ")]
    assert lines
    assert not engine.jobs
    engine.on_wait = engine.end_all
    typed(*words.split())
    sent = [job.order.overrides.to_argv() for job in engine.jobs.values()]
    assert [_options(line) for line in lines] == [_options(list(argv)) for argv in sent]


def _options(words: list[str]) -> list[str]:
    fixed = ("--parsable", "--job-name=")
    return [word for word in words if word.startswith("--") and not word.startswith(fixed)]


def test_a_policy_makes_a_plan_of_several_choices(new_run: NewRun, engine: FakeEngine) -> None:
    """Each cause has its own change, and each request is a submission of its own."""
    run = new_run("0-9", mem="1G", time="10")
    some_failed(run, engine)
    memory, time = (run.statuses.rows_in({s}) for s in (State.OUT_OF_MEMORY, State.TIMEOUT))
    plan = make_plan(run, Choice(memory, {"mem": "2x"}), Choice(time, {"time": "3x"}))
    assert {tuple(one.rows): dict(one.request) for one in plan.requests} == {
        (1, 4, 6): {"mem": "2G"},
        (8,): {"time": "00:30:00"},
    }
    accepted = execute_plan(run, plan, "resubmit").accepted
    assert [list(one.planned.batch.rows) for one in accepted] == [[1, 4, 6], [8]]


def submit_others(run: Run, engine: FakeEngine, rows: list[int]) -> None:
    """Another process submits them."""
    submit(run, choose_waiting(rows), {}, "submit")


def finish_others(run: Run, engine: FakeEngine, rows: list[int]) -> None:
    """Another process submits them, and they end."""
    submit(run, choose_waiting(rows), {}, "submit")
    engine.end_all()
    poll(run)


def cancel_others(run: Run, engine: FakeEngine, rows: list[int]) -> None:
    """Another process cancels them."""
    cancel(run, rows)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(0, 11), min_size=1, max_size=6, unique=True),
    st.sampled_from([submit_others, finish_others, cancel_others]),
    st.sampled_from([{}, {"mem": "2x"}]),
    st.integers(1, 3),
)
def test_execution_never_exceeds_the_plan(
    make_run: Callable[..., tuple[Run, FakeEngine]],
    rows: list[int],
    meanwhile: Callable[[Run, FakeEngine, list[int]], None],
    changes: Mapping[str, str],
    pack: int,
) -> None:
    """Slices that another process changed after the plan are left out, and named."""
    run, engine = make_run(12, Packing(pack), options=(("mem", "100M"), ("time", "1")))
    plan = a_plan(run, ALL, changes)
    other = Run(run.directory, engine, run.clock)
    meanwhile(other, engine, rows)
    done = execute_plan(run, plan, "submit")
    wanted = {row: one.request for one in plan.requests for row in one.rows}
    carried = {row: t.planned.batch.changes for t in done.accepted for row in t.planned.batch.rows}
    assert carried.items() <= wanted.items()
    assert set(done.left_out_rows) == set(rows)
    assert carried.keys() == wanted.keys() - set(rows)


def test_a_slice_that_slurm_runs_again_is_left_out(new_run: NewRun, engine: FakeEngine) -> None:
    """The last poll saw it fail. Under the lock, Slurm reports that it runs again."""
    run = new_run("0-9")
    some_failed(run, engine)
    plan = a_plan(run, FAILED)
    report = engine.jobs["100"].tasks[4]
    engine.jobs["100"].tasks[4] = type(report)(State.RUNNING, "RUNNING", restarts=1)
    done = execute_plan(run, plan, "resubmit")
    assert done.left_out_rows == (4,)
    assert [list(accepted.planned.batch.rows) for accepted in done.accepted] == [[1, 6, 8]]


def test_a_script_edited_after_the_plan_is_not_submitted(
    new_run: NewRun, engine: FakeEngine
) -> None:
    """The script changed after the plan: nothing is queued."""
    run = new_run("0-9", mem="1G")
    plan = a_plan(run, ALL)
    run.directory.script.write_text(
        run.directory.script.read_text().replace("--mem=1G", "--mem=2G")
    )
    with pytest.raises(BadInputError) as caught:
        execute_plan(run, plan, "submit")
    assert caught.value.code == "script-changed"
    assert not engine.jobs
    assert not run.journal_state.queue


def test_slices_that_can_never_run_are_refused(new_run: NewRun, engine: FakeEngine) -> None:
    """The plan holds the refusal with its slices; nothing is queued."""
    run = new_run("0-9", mem="1G")
    engine.limits = lambda request: TaskLimits(  # type: ignore[method-assign]
        1001, impossible_reason="too large" if (request.mem_mib or 0) > 2048 else ""
    )
    assert not refuse_impossible_requests(run, a_plan(run, ALL, {"mem": "2x"})).refused
    plan = refuse_impossible_requests(run, a_plan(run, ALL, {"mem": "9x"}))
    (refused,) = plan.refused
    assert refused.rows == tuple(range(10))
    with pytest.raises(BadInputError) as caught:
        execute_plan(run, plan, "submit")
    assert (caught.value.code, caught.value.fields["key"]) == ("never-runs", "0")
    assert not run.journal_state.queue


def test_the_script_is_read_once_for_a_plan(
    new_run: NewRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows, requests, warnings, limits and submissions use one reading of the script."""
    run = new_run("0-9", mem="1G")
    read = ResourceRequest.from_script
    seen: list[str] = []

    def with_rounded_time(text: str) -> ResourceRequest:
        seen.append(text)
        return read(text)

    monkeypatch.setattr(ResourceRequest, "from_script", with_rounded_time)
    plan = refuse_impossible_requests(run, a_plan(run, ALL, {"mem": "1500M"}))
    assert parse_array("0-9") == parse_array(str(next(plan.submissions(run)).batch.array))
    assert len(seen) == 1
