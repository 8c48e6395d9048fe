"""Options that name columns: each slice's own request."""

from __future__ import annotations

import pytest

from slurmslice.actions.create import RunInputs, create_run, make_record
from slurmslice.actions.submit import choose_waiting, submit
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.slices.slice_table import SliceTable
from slurmslice.spec.command import CommandWords
from slurmslice.spec.per_slice_options import (
    MAX_REQUESTS,
    PerSliceOptions,
    check_run_option,
    has_column_names,
)
from slurmslice.spec.run_spec import RunSpec
from tests.support.errors import raises_error
from tests.support.fakes import FakeEngine

TABLE = SliceTable(
    ["a", "b", "c", "d"],
    {"mem": ["1", "2", "1", "4"], "hours": ["1", "1", "1", "2"], "x": ["p", "q", "r", "s"]},
)
of = ResourceRequest.of
OPTIONS = of({"mem": "{mem}G", "time": "{hours}:00:00"})


def test_slices_with_equal_requests_share_a_submission() -> None:
    """Slices are grouped by the used columns, in the order of the first slices."""
    assert PerSliceOptions(OPTIONS, TABLE).group_rows() == {
        of({"mem": "1G", "time": "1:00:00"}): [0, 2],
        of({"mem": "2G", "time": "1:00:00"}): [1],
        of({"mem": "4G", "time": "2:00:00"}): [3],
    }


@pytest.mark.parametrize(
    ("options", "code", "fields"),
    [
        ((("mem", "{memo}G"),), "unknown-column", {"column": "memo", "option": "mem"}),
        ((("mem", "{x}G"),), "bad-memory", {"key": "a", "option": "mem", "value": "pG"}),
        ((("time", "{x}"),), "bad-time", {"key": "a", "option": "time"}),
        ((("output", "{x}"),), "option-not-allowed", {"key": "a", "option": "output"}),
    ],
)
def test_a_bad_request_names_the_slice(
    options: tuple[tuple[str, str], ...], code: str, fields: dict[str, object]
) -> None:
    """A misspelt column, and a value that sbatch does not accept."""
    with raises_error(BadInputError, code, **fields):
        PerSliceOptions(of(options), TABLE).group_rows()


def test_too_many_different_requests_are_refused() -> None:
    """Each request is a submission, so their number is limited."""
    numbers = [str(n + 1) for n in range(MAX_REQUESTS + 1)]
    table = SliceTable(numbers, {"mem": numbers})
    with raises_error(BadInputError, "too-many-requests", most=MAX_REQUESTS):
        PerSliceOptions(of({"mem": "{mem}G"}), table).group_rows()
    fits = SliceTable(numbers[:MAX_REQUESTS], {"mem": numbers[:MAX_REQUESTS]})
    assert len(PerSliceOptions(of({"mem": "{mem}G"}), fits).group_rows()) == MAX_REQUESTS


def test_only_options_with_columns_are_checked_per_slice() -> None:
    """The other options are checked as typed."""
    assert check_run_option("mem", "{mem}G") == ("mem", "{mem}G")
    assert not has_column_names("4G")
    with raises_error(BadInputError, "bad-memory", option="mem", value="4Q"):
        check_run_option("mem", "4Q")


def test_each_request_is_a_submission(
    tmp_path_factory: pytest.TempPathFactory, engine: FakeEngine
) -> None:
    """The script has the first slice's request; the others override it on the command line."""
    folder = tmp_path_factory.mktemp("run")
    spec = RunSpec(
        name="r", command=CommandWords(("true", "{}")), source="a test", work_dir=str(folder),
        request=OPTIONS,
    )  # fmt: skip
    new = RunInputs(spec, TABLE)
    record, _ = make_record(new, engine)
    run = Run(create_run(record, new, folder / "r"), engine)
    accepted = submit(run, choose_waiting(None), {}, "submit").accepted
    assert [list(t.planned.batch.rows) for t in accepted] == [[0, 2], [1], [3]]
    orders = [engine.jobs[t.job].order for t in accepted]
    assert [(o.request.mem_mib, o.request.time_s) for o in orders] == [
        (1024, 3600), (2048, 3600), (4096, 7200),
    ]  # fmt: skip
    assert not orders[0].overrides
    assert "--mem=1G" in run.directory.script.read_text()
