"""``failures`` and ``--group`` on the fake cluster (ADR 43)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from slurmslice.reports.failure_texts import FailureTexts
from slurmslice.run.slice_logs import SliceLog
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

CAUSES = (
    b"ValueError: too large: 1%d\n",
    b"cannot open in-%d.csv\n",
    b"bad seed %d, exit code 4\n",
)


def fail(typed: Typed, engine: FakeEngine, number: int, text: bytes, **what: Any) -> None:
    """Let a slice of run x fail with this log."""
    logs = typed.folder / "runs/x/submissions/001/logs"
    (logs / f"{number}.log").write_bytes(text)
    engine.end("100", number, State.FAILED, **{"exit_code": 1, "node": "n1", **what})


def fail_by_number(typed: Typed, engine: FakeEngine, numbers: range) -> None:
    for number in numbers:
        fail(typed, engine, number, CAUSES[number % 3] % number)


def groups(typed: Typed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = typed.json("failures", "x")["groups"]
    assert typed.code == 0
    return found


@pytest.fixture
def failed(typed: Typed, engine: FakeEngine) -> Typed:
    """A run of 200 slices, of which 30 failed for three causes and 5 for want of memory."""
    typed("run", "-a", "0-199", "--name", "x", "--mem", "1G", "--", "./x", "{}")
    fail_by_number(typed, engine, range(30))
    for number in range(30, 35):
        engine.end("100", number, State.OUT_OF_MEMORY, node="n3")
    return typed


def test_the_groups_as_data(failed: Typed) -> None:
    """The largest first; each has what the issue of users asked for."""
    found = groups(failed)
    assert [one["count"] for one in found] == [10, 10, 10, 5]
    assert {len(one["id"]) for one in found} == {7}
    oom = found[-1]
    assert (oom["cause"], oom["keys"], oom["nodes"]) == (
        "oom",
        [*map(str, range(30, 35))],
        {"n3": 5},
    )
    assert oom["next"] == [
        ["slurmslice", "logs", "x", "--group", oom["id"]],
        ["slurmslice", "resubmit", "x", "--group", oom["id"], "--mem", "2x"],
    ]
    values = next(one for one in found if "ValueError" in one["signature"])
    assert values["example"] == {
        "key": "0",
        "line": "ValueError: too large: 10",
        "reason": "exit 1",
    }
    assert values["end"] == "exit 1"


def test_ids_stay_and_name_the_same_slices(failed: Typed, engine: FakeEngine) -> None:
    """Fifty new failures, of old and of new causes, come in between."""
    before = {one["id"]: one["keys"] for one in groups(failed)}
    fail_by_number(failed, engine, range(50, 90))
    for number in range(90, 100):
        fail(failed, engine, number, b"something else\n")
    chosen = next(found for found, keys in before.items() if "0" in keys)
    said = failed("resubmit", "x", "--group", chosen[:5])
    (note,) = failed.noted("group-grew")
    assert note["slices"] == 13
    assert said.index("New in") < said.index("Submitted")
    sent = {str(index) for index in engine.jobs["101"].tasks}
    assert sent == {*before[chosen], *map(str, range(51, 90, 3))}
    after = {one["id"]: one["keys"] for one in groups(failed)}
    assert {found: after[found][: len(before[found])] for found in before if found != chosen} == {
        found: keys for found, keys in before.items() if found != chosen
    }


def test_a_group_that_has_not_grown_is_sent_without_a_note(
    failed: Typed, engine: FakeEngine
) -> None:
    """Keys and states narrow it; a dry run sends nothing."""
    found = next(one["id"] for one in groups(failed) if "0" in one["keys"])
    failed("resubmit", "x", "0", "1", "--group", found, "--dry-run")
    assert (failed.code, [one["keys"] for one in failed.noted("would-submit")]) == (0, ["0"])
    assert failed.noted("group-grew") == []
    assert len(engine.jobs) == 1


def test_the_logs_of_a_group(failed: Typed) -> None:
    """Only its members are shown."""
    found = next(one for one in groups(failed) if "1" in one["keys"])
    failed("logs", "x", "--group", found["id"])
    assert failed.stdout.count("cannot open in-") == 10
    assert "bad seed" not in failed.stdout


def test_accepted_failures_are_in_no_group(failed: Typed) -> None:
    """A group is accepted as a whole; a mistaken one is taken back by keys."""
    found = next(one for one in groups(failed) if "1" in one["keys"])
    failed("accept", "x", "--group", found["id"], "--reason", "no input")
    assert (failed.code, failed.noted("accepted")[0]["slices"]) == (0, 10)
    assert found["id"] not in {one["id"] for one in groups(failed)}
    failed("accept", "x", "--group", found["id"], "--undo")
    assert (failed.code, failed.error) == (2, "options-conflict")
    failed("accept", "x", "1", "--undo")
    assert ["1"] in [one["keys"] for one in groups(failed)]


@pytest.mark.parametrize("verb", ["logs", "resubmit", "accept --reason x"])
@pytest.mark.parametrize(
    ("text", "code"), [("g", "ambiguous-group"), ("zz", "unknown-group"), ("", "unknown-group")]
)
def test_a_group_must_be_known(failed: Typed, verb: str, text: str, code: str) -> None:
    """Nothing is shown or sent."""
    failed(*verb.split(), "x", "--group", text)
    assert (failed.code, failed.error) == (2, code)


def test_each_log_is_read_once(failed: Typed, patch_tails: list[Path]) -> None:
    """A second call, and status, read nothing; a log that changed is read again."""
    groups(failed)
    assert len(patch_tails) == 30
    groups(failed)
    failed("status", "x")
    assert len(patch_tails) == 30
    (failed.folder / "runs/x/submissions/001/logs/3.log").write_bytes(b"other\n")
    assert "other" in {one["signature"] for one in groups(failed)}
    assert len(patch_tails) == 31


@pytest.fixture
def patch_tails(failed: Typed, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The logs that were read after the poll that saw their ends."""
    failed("status", "x")
    read, tail = list[Path](), SliceLog.tail

    def noted(log: SliceLog, size: int) -> bytes:
        read.append(log.own)
        return tail(log, size)

    monkeypatch.setattr(SliceLog, "tail", noted)
    return read


@pytest.mark.parametrize("damage", [b"", b"row\n", b"\xff\n1\t2\n", None])
def test_a_lost_cache_costs_only_time(failed: Typed, damage: bytes | None) -> None:
    """A damaged one is made again."""
    before, cache = groups(failed), failed.folder / "runs/x/failures.tsv"
    if damage is None:
        cache.unlink()
    else:
        cache.write_bytes(cache.read_bytes()[:-7] + damage)
    assert groups(failed) == before


def test_a_cache_that_cannot_be_written(failed: Typed) -> None:
    """The groups are shown; they are read again the next time."""
    (failed.folder / "runs/x/failures.tsv").mkdir()
    assert len(groups(failed)) == 4
    assert len(groups(failed)) == 4


def test_a_reason_of_the_program_counts_first(failed: Typed, engine: FakeEngine) -> None:
    """It is written beside the log."""
    reason = failed.folder / "runs/x/submissions/001/logs/40.log.error"
    reason.write_text("mass is negative\n")
    fail(failed, engine, 40, b"Traceback (most recent call last):\nValueError: x\n")
    assert groups(failed)[-1]["signature"] == "mass is negative"


def test_columns_that_a_group_shares(typed: Typed, engine: FakeEngine) -> None:
    """Only a value that tells something is named; hostile values are shown as text."""
    typed("run", "--grid", "lr=0.1,10", "--grid", "seed=0-19", "--grid", "same=1", "--name", "x",
          "--", "./x", "{lr}", "{seed}")  # fmt: skip
    for index in range(20, 40):
        engine.end("100", index, State.FAILED, exit_code=3, node="n1")
    (found,) = groups(typed)
    assert found["columns"] == [{"column": "lr", "value": "10", "count": 20}]
    assert "20 of 20 have lr=10" in typed("failures", "x")


def test_one_screen_for_a_thousand(typed: Typed, engine: FakeEngine) -> None:
    """1,000 failed slices with four causes need fewer than 24 lines of 100 characters."""
    typed("run", "-a", "0-999", "--name", "x", "--", "./x", "{}")
    for number in range(1000):
        text = b"Error: cause %c of slice %d\n" % (65 + number % 4, number)
        fail(typed, engine, number, text, node=f"n{number % 4}")
    typed("failures", "x")
    assert len(typed.lines) <= 23
    assert max(map(len, typed.lines)) <= 100


def test_nothing_has_failed(typed: Typed, engine: FakeEngine) -> None:
    """A note says so; the data are empty."""
    typed("run", "-a", "0-3", "--name", "x", "--", "./x", "{}")
    typed("failures", "x")
    assert (typed.code, [note.code for note in typed.notes]) == (0, ["no-failures"])
    assert typed.json("failures", "x") == {
        "run": "x", "failed": 0, "slices": 4, "groups": [], "next": [],
    }  # fmt: skip
    engine.silence = "down"
    typed("failures", "x")
    assert typed.code == 3


def test_many_groups_are_cut(typed: Typed, engine: FakeEngine) -> None:
    """--all shows them all."""
    typed("run", "-a", "0-19", "--name", "x", "--", "./x", "{}")
    for number in range(12):
        fail(typed, engine, number, b"bad %c\n" % (97 + number))
    typed("failures", "x")
    assert typed.noted("more-groups")[0]["groups"] == 4
    shown = len(typed.stdout.splitlines())
    typed("failures", "x", "--all")
    assert len(typed.stdout.splitlines()) > shown
    assert typed.noted("more-groups") == []


def test_status_shows_known_groups(failed: Typed) -> None:
    """In place of the exit codes, after failures was called once; the counts stay."""
    assert "exit 1" in failed("status", "x")
    known = {one["id"] for one in groups(failed) if one["cause"] != "oom"}
    shown = failed("status", "x")
    assert [found for found in known if found not in shown] == []
    assert "exit 1" not in shown


def test_no_log_is_needed_for_what_slurm_tells(failed: Typed) -> None:
    """The evidence of Slurm is the signature; what the program printed last is not."""
    from slurmslice.actions.open_run import open_run
    from slurmslice.run.directory import RunDirectory

    groups(failed)
    run = open_run(RunDirectory(failed.folder / "runs/x"))
    texts = FailureTexts(run)
    assert texts.read == 0
    assert {texts.now[row].files for row in range(30, 35)} == {""}


def test_a_line_of_a_log_cannot_write_to_the_terminal(failed: Typed, engine: FakeEngine) -> None:
    """Neither in failures nor in status; NUL and other bytes do not end the command."""
    for number in range(100, 120):
        fail(failed, engine, number, b"\x1b[2Jerror: \0 bad \xff \xe2\x80\xae <script>\n")
    for words in (
        ("failures", "x"),
        ("failures", "x"),
        ("status", "x"),
        ("failures", "x", "--json"),
    ):
        failed(*words)
        assert failed.code == 0
        assert not {"\x1b", "\0", "\u202e"} & set(failed.stdout)


def test_what_a_steward_repairs_is_not_resubmitted_by_hand(
    failed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resubmission would begin a new ladder."""
    from slurmslice.reports import failure_groups
    from slurmslice.run.run import Run

    monkeypatch.setattr(Run, "has_steward", True)
    monkeypatch.setattr(failure_groups, "rows_to_repair", lambda run: [30, 31, 32, 33, 34])
    found = {one["cause"]: [words[1] for words in one["next"]] for one in groups(failed)}
    assert found["oom"] == ["logs"]
    assert found["exit:1"] == ["logs", "resubmit"]
