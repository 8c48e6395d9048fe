"""The variables that a slice sees: its own, Slurm's, and those of its request (docs/adr/0015)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from slurmslice.sbatch.array_expression import parse_array
from slurmslice.slices.sources.array_range import slices_from_range
from slurmslice.spec.command import ShellText
from slurmslice.spec.output_check import OutputCheck
from slurmslice.spec.slice_numbers import SliceNumbers
from tests.script.test_script import Place
from tests.support.scripts import logged

FAMILY = tuple(f"SLURM_ARRAY_TASK_{name}" for name in ("ID", "COUNT", "MIN", "MAX", "STEP"))
SHOW = 'echo "$W ' + " ".join(f"${{{name}-}}" for name in FAMILY) + ' ${SLURM_ARRAY_JOB_ID-none}"'
REAL = 'echo "$SLURMSLICE_ARRAY_JOB_ID $SLURMSLICE_ARRAY_TASK_ID"'
OWN = 'echo "$SLICE_COUNT $SLICE_ROW $SLICE_ATTEMPT"'

# What Slurm sets for one of several tasks that are submitted again.
SLURM = dict(zip(FAMILY[1:], ("2", "17", "40", "23"), strict=True))


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Place]:
    directory = Place(tmp_path)
    yield directory
    directory.clear()


def write(directory: Place, text: str, expression: str, **fields: object) -> None:
    """Make the script of a run with the slices of a range."""
    parsed = parse_array(expression)
    numbers = SliceNumbers.of(parsed)
    directory.write(ShellText(text), numbers=numbers, slices=len(parsed), **fields)
    table, _ = slices_from_range(expression)
    (directory.run_dir / "slices.tsv").write_bytes(table.data)


def lines(log: bytes) -> list[str]:
    return log.decode().splitlines()


def test_a_slice_of_the_direct_form(directory: Place) -> None:
    """The array of a resubmission has other slices; the slice sees that of the run."""
    write(directory, f"{SHOW}; {REAL}; {OWN}", "3-17:7,40-90")
    ran = directory.run(17, **SLURM)
    assert ran.code == 0
    assert lines(ran.log) == [" 17 54 3 90 7 419", "419 17", "54 2 1"]


@pytest.mark.parametrize(
    ("expression", "index", "row"),
    [("0-98", 7, 7), ("5-50:5", 20, 3), ("9", 9, 0), ("7-9,1,3", 3, 4), ("5-9,0-4", 2, 7)],
)
def test_the_row_in_the_direct_form(
    directory: Place, expression: str, index: int, row: int
) -> None:
    """It follows from the index, or is found in slices.tsv if the keys are scattered."""
    write(directory, OWN, expression)
    count = len(parse_array(expression))
    assert lines(directory.run(index).log) == [f"{count} {row} 1"]


@pytest.mark.parametrize(
    ("text", "index", "attempt"),
    [("2 *\n", 5, 2), ("2 15,50\n3 5,7\n", 5, 3), ("2 15,5\n3 55\n", 5, 2), ("2 15\n4 50\n", 5, 1)],
)
def test_the_attempt_in_the_direct_form(
    directory: Place, text: str, index: int, attempt: int
) -> None:
    """It stands in a file of the submission: for all slices, or by index."""
    write(directory, OWN, "0-98")
    (directory.make(2) / "attempts").write_text(text)
    task = directory.start(index, argument="002")
    assert lines(directory.end(task, index, number=2).log) == [f"99 {index} {attempt}"]


@pytest.mark.parametrize(("text", "number"), [("2 *\n", 2), ("1 15,50\n3 5,7\n", 3), ("1 15\n", 0)])
def test_the_continuations_in_the_direct_form(directory: Place, text: str, number: int) -> None:
    """They stand in a file of the submission as well."""
    write(directory, 'echo "$SLICE_CONTINUED"', "0-98")
    (directory.make(2) / "continued").write_text(text)
    task = directory.start(5, argument="002")
    assert lines(directory.end(task, 5, number=2).log) == [str(number)]


def test_a_slice_of_the_table_form(directory: Place) -> None:
    """The number of the slice is its key; the name of another slice's task is not given."""
    write(directory, f"{SHOW}; {REAL}; {OWN}", "1001-1004", direct=False)
    directory.make(rows=[("1003",), ("1001",), ("0002",)])
    ran = directory.run(0, "row-40.log", **SLURM)
    assert lines(ran.log) == [" 1003 4 1001 1004 1 none", "419 0", "4 40 1"]
    ran = directory.run(2, "row-42.log")
    assert lines(ran.log)[0] == " 2 4 1001 1004 1 419"  # its number is the index


def test_the_attempt_in_the_table_form(directory: Place) -> None:
    """It is a column of the task table."""
    write(directory, OWN, "1001-1004", direct=False)
    directory.make(rows=[("1003", "3"), ("1001", "2")], columns=["attempt"])
    assert lines(directory.run(1, "row-41.log").log) == ["4 41 2"]


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_slice_of_a_pack(directory: Place, at_once: int) -> None:
    """Each slice of a pack has its own number, and none has the array's id."""
    write(directory, f"{SHOW}; {REAL}; {OWN}", "000-005", direct=False, pack=3, at_once=at_once)
    directory.make(rows=[("000",), ("002",), ("004",), ("001",), ("003",), ("008",)])
    ran = directory.run(1, **SLURM)
    assert ran.code == 0
    for row, number in ((43, 1), (44, 3), (45, 8)):
        log = logged(directory.submission(), f"row-{row}.log")
        assert lines(log) == [f" {number} 6 0 5 1 none", "419 1", f"6 {row} 1"]


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize(
    ("job_id", "tasks", "seen"), [("420", "2", "none"), ("419", "1", "none"), ("419", "2", "0")]
)
def test_the_task_that_has_the_id_of_the_array(
    directory: Place, pack: int, job_id: str, tasks: str, seen: str
) -> None:
    """A requeue of SLURM_JOB_ID would be one of all tasks, so the command must not fall back to it.

    Slurm gives the array's own id to the last task that starts.
    """
    write(directory, SHOW, "1001-1004", direct=False, pack=pack)
    directory.make(rows=[("1003",), ("1001",)])
    slurm = SLURM | {"SLURM_JOB_ID": job_id, "SLURM_ARRAY_TASK_COUNT": tasks}
    ran = directory.run(0, "row-40.log", **slurm)
    assert lines(ran.log) == [f" 1003 4 1001 1004 1 {seen}"]


@pytest.mark.parametrize("pack", [1, 2])
def test_setup_command_and_check_see_the_same(directory: Place, pack: int) -> None:
    """The setup of a pack runs once, before any slice: it sees Slurm's variables."""
    check = OutputCheck(f"W=check; {SHOW}")
    setup = f"W=setup; {SHOW}"
    write(
        directory, f"W=command; {SHOW}", "10-19", direct=False, pack=pack, setup=setup, check=check
    )
    directory.make(rows=[("13",), ("16",)])
    ran = directory.run(0, "row-40.log", **SLURM)
    assert ran.code == 0
    own = "13 10 10 19 1 none"
    log = lines(ran.log)
    if pack == 1:
        assert log == [f"setup {own}", f"command {own}", f"check {own}"]
    else:
        assert log == [f"command {own}", f"check {own}"]
        assert b"setup 0 2 17 40 23 419\n" in ran.stdout


def test_the_bookkeeping_has_the_real_ids(directory: Place) -> None:
    """Claim and progress lines name Slurm's job and task, also after a failed check."""
    write(directory, "true", "10-19", direct=False, check=OutputCheck("false"))
    directory.make(rows=[("13",), ("16",)])
    ran = directory.run(1, "row-41.log")
    assert ran.said.slots[0].check_exit == 1
    assert (directory.submission() / "job").read_text() == "419\n"


def test_by_hand_the_slice_sees_its_number(directory: Place) -> None:
    """SLURM_ARRAY_TASK_ID names the task, and the slice gets its own number."""
    write(directory, SHOW, "1001-1004", direct=False, pack=2)
    directory.make(rows=[("1001",), ("1003",), ("1002",), ("1004",)])
    done = directory.by_hand(SLURM_ARRAY_TASK_ID="1")
    assert done.stdout.splitlines() == [f" {n} 4 1001 1004 1 none" for n in (1002, 1004)]


def test_other_slices_see_the_variables_of_slurm(directory: Place) -> None:
    """Slices of a list have no number. Their own variables are there."""
    directory.write(ShellText(f"{SHOW}; {OWN}"), numbers=None, direct=False)
    directory.make(rows=[("5",), ("6",)])
    ran = directory.run(1, "row-41.log", **SLURM)
    assert lines(ran.log) == [" 1 2 17 40 23 419", "99 41 1"]


# -- the request of a slice -------------------------------------------------------------------

REQUEST = {
    "SLURM_CPUS_PER_TASK": "12",
    "SLURM_CPUS_ON_NODE": "12",
    "SLURM_JOB_CPUS_PER_NODE": "12",
    "SLURM_MEM_PER_NODE": "900",
    "SLURM_TRES_PER_TASK": "cpu=12,license:x=3",
    "SLURM_NTASKS": "1",
}


@pytest.mark.parametrize(
    ("at_once", "expected"),
    [(1, "12 12 12 900 cpu=12,license:x=3 1"), (3, "4 4 4 300 cpu=4,license:x=3 1")],
)
def test_the_request_is_that_of_a_slice(directory: Place, at_once: int, expected: str) -> None:
    """A task that runs three slices at a time has three times the request of one; its setup too."""
    show = "echo " + " ".join(f"${name}" for name in REQUEST)
    fields = {"pack": 3, "at_once": at_once, "cpus": 4, "direct": False, "numbers": None}
    directory.write(ShellText(f"{show} $OMP_NUM_THREADS"), setup=show, **fields)
    directory.make(rows=[("a",), ("b",), ("c",)])
    ran = directory.run(0, "row-41.log", **REQUEST)
    assert lines(ran.log) == [f"{expected} {expected.split(maxsplit=1)[0]}"]
    assert f"{expected}\n".encode() in ran.stdout


def test_less_than_one_cpu_for_each_slice_is_one(directory: Place) -> None:
    """A request may have been edited."""
    fields = {"pack": 4, "at_once": 4, "direct": False, "numbers": None}
    directory.write(ShellText("echo $SLURM_CPUS_PER_TASK [$SLURM_MEM_PER_NODE]"), **fields)
    directory.make(rows=[("a",)])
    assert directory.run(0, "row-40.log", SLURM_CPUS_PER_TASK="3").log == b"1 []\n"


@pytest.mark.parametrize("rank", ["PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK"])
def test_the_variables_of_a_launch_do_not_reach_slices(directory: Place, rank: str) -> None:
    """A slice is no rank of a launch around it; without a launch they are settings and stay."""
    directory.write(ShellText("env | grep -E '^(PMI|PMIX|OMPI)_' || echo none"))
    settings = {"OMPI_MCA_btl": "self", "PMIX_MCA_gds": "hash"}
    found = directory.run(1, **settings).log
    assert sorted(lines(found)) == ["OMPI_MCA_btl=self", "PMIX_MCA_gds=hash"]
    assert directory.run(2, PMI_FD="7", **settings, **{rank: "3"}).log == b"none\n"


ONE_IS_BAD = '[[ $SLICE == 1 ]] || echo "$SLICE is bad" >"$SLURMSLICE_ERROR"; [[ $SLICE == 1 ]]'


@pytest.mark.parametrize("fields", [{}, {"check": OutputCheck("true")}])
def test_a_program_writes_its_own_reason(directory: Place, fields: dict[str, object]) -> None:
    """The file is beside the log, exists only if it is written, and is of the newest start."""
    write(directory, ONE_IS_BAD, "0-3", **fields)
    stale = directory.submission() / "logs/1.log.error"
    stale.write_text("of an earlier start\n")
    for index in (0, 1):
        directory.run(index)
    assert (directory.submission() / "logs/0.log.error").read_text() == "0 is bad\n"
    assert not stale.exists()


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_slice_of_a_pack_writes_its_own_reason(directory: Place, at_once: int) -> None:
    """Each slice of a pack has a file of its own; in a terminal, the reason is shown."""
    write(directory, ONE_IS_BAD, "0-1", direct=False, pack=2, at_once=at_once)
    directory.make(rows=[("0",), ("1",)])
    directory.run(0)
    logs = directory.submission() / "logs"
    assert {path.name: path.read_text() for path in logs.glob("*.error")} == {
        "row-40.log.error": "0 is bad\n"
    }
