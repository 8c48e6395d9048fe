"""Any bytes for each reader: it returns records or raises its one documented error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.engines.slurm import (
    account_limits,
    cluster_records,
    fields,
    find_job,
    job_records,
    versions,
)
from slurmslice.engines.slurm.sbatch_result import parse_sbatch_result
from slurmslice.errors import BadInputError, DamagedRunError, EngineError, NoAnswerError
from slurmslice.run import journal
from slurmslice.run.journal_state import JournalState
from slurmslice.run.statuses import StatusTable
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.script import progress_lines
from slurmslice.slices.slice_table import SliceTable
from slurmslice.system.process import ProgramResult
from tests.support.requested import a_request

WORDS = st.sampled_from(
    [b"9", b"_", b"[", b"]", b"0-5", b":", b"%", b"...", b",", b"|", b"PENDING", b"COMPLETED",
     b"3:0", b"\n", b"n", b"9" * 20, "١²".encode(), b".batch", b"Unknown", b"1.5G", b"1-0:0:1",
     b"node[1-2]", b"=", b" ", b"MaxArraySize", b"PartitionName=x", b"\0", b"\xff", b"4/0/0/4",
     b"-1", b"\t", b"\\", b"\\0777", b"row\tkey\tlog\n", b"slurmslice end job=9 restart=0 at=1 "
     b"host=n slot=0 exit=", b"sbatch: error: ", b"JobName=x UserId= Command= WorkDir=", b"cpu=4",
     b'{"event": "intent"}\n', b'{"event": "queued", "rows": "0", "changes": [], "at": 1}\n',
     b"null\n", b"[]\n", b"\r", b"\x85", b"mem=", b"0:00", b"99999999999999999999:0"]
)  # fmt: skip
ANY = st.one_of(st.binary(), st.lists(WORDS, max_size=40).map(b"".join))

Reader = Callable[[bytes], object]


def text_of(data: bytes) -> str:
    """Decode a program's output as ``process`` does."""
    return data.decode("utf-8", "surrogateescape")


def of_text(read: Callable[[str], object]) -> Reader:
    """Turn a reader of text into a reader of bytes."""
    return lambda data: read(text_of(data))


def limits(text: str) -> object:
    """Read both tables of the accounting manager."""
    return [
        *account_limits.running_limits(text, text, a_request(mem_mib=1)),
        *account_limits.submit_limits(text, text, a_request(), {"MaxJobCount": text}),
    ]


def reports(text: str) -> object:
    """Read every report of accounting."""
    return list(job_records.parse_accounting_reports(text, {"9": "n"}).values())


def sightings(data: bytes) -> object:
    """Return the statuses of a few rows after these lines."""
    statuses = StatusTable(JournalState.empty(5))
    statuses.read(data)
    return [statuses.seen(row) for row in range(5)], list(statuses)


def slices(data: bytes) -> object:
    """Read a table and every value in it."""
    table = SliceTable.read(data, "slices.tsv")
    return [
        (table.keys[row], table.column_values(row), table.log_name(row))
        for row in range(len(table))
    ]


READERS: list[tuple[str, Reader, tuple[type[Exception], ...]]] = [
    ("accounting", of_text(reports), (NoAnswerError,)),
    ("accounting_rows", of_text(job_records.parse_sacct_records), (NoAnswerError,)),
    ("queue", of_text(lambda t: job_records.parse_queue_reports(t, {"9": "n"})), (NoAnswerError,)),
    ("same_name", of_text(lambda t: job_records.is_same_job_name(t, f"x{t}")), ()),
    ("config", of_text(cluster_records.parse_config), (NoAnswerError,)),
    ("partitions", of_text(cluster_records.parse_partitions), (NoAnswerError,)),
    ("nodes", of_text(cluster_records.parse_nodes), (NoAnswerError,)),
    ("limits", of_text(limits), ()),
    ("identity", of_text(lambda t: find_job.parse_job_info(t, None, (), 0)), (NoAnswerError,)),
    ("seconds", of_text(find_job.parse_seconds), ()),
    (
        "taken",
        of_text(lambda t: parse_sbatch_result(ProgramResult(("sbatch",), 0, t, ""))),
        (EngineError,),
    ),
    (
        "refused",
        of_text(lambda t: parse_sbatch_result(ProgramResult(("sbatch",), 1, "", t))),
        (EngineError,),
    ),
    ("number_of", of_text(fields.parse_number), ()),
    ("bytes_of", of_text(lambda t: fields.parse_size(t, 4)), ()),
    ("seconds_of", of_text(fields.parse_clock), ()),
    ("node_of", of_text(fields.first_node), ()),
    ("release_of", of_text(versions.parse_release), ()),
    ("parse_array", of_text(parse_array), (BadInputError,)),
    ("progress", progress_lines.parse_progress, ()),
    ("journal", lambda data: list(journal.parse_events(data)), (DamagedRunError,)),
    ("sightings", sightings, ()),
    ("slices", slices, (DamagedRunError,)),
]


@pytest.mark.parametrize(("read", "errors"), [r[1:] for r in READERS], ids=[r[0] for r in READERS])
@given(data=ANY)
def test_any_bytes_are_read_or_refused(
    read: Reader, errors: tuple[type[Exception], ...], data: bytes
) -> None:
    """Invalid bytes raise only the documented error, or count as absent."""
    try:
        read(data)
    except errors:
        return


@pytest.mark.parametrize(
    ("text", "indices", "throttle"),
    [
        ("0-15", [*range(16)], None),
        ("1,3,5,7", [1, 3, 5, 7], None),
        ("0,6,16-32", [0, 6, *range(16, 33)], None),
        ("1-7:2", [1, 3, 5, 7], None),
        ("0-15:4", [0, 4, 8, 12], None),
        ("0-15%4", [*range(16)], 4),
        ("0-98:7%3", [*range(0, 99, 7)], 3),
    ],
)
def test_documented_array_expressions(text: str, indices: list[int], throttle: int | None) -> None:
    """The forms of sbatch(1) ``--array``, of the page on job arrays, and of squeue are accepted."""
    parsed: Any = parse_array(text)
    assert (list(parsed), parsed.throttle) == (indices, throttle)
    row = f"9_[{text}]|PENDING|0|1|N/A|N/A|0||None|n|\n"
    assert [index for _, index in job_records.parse_queue_reports(row, {"9": "n"})] == indices
