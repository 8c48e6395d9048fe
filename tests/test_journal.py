"""The journal and its replay."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import DamagedRun
from slurmslice.journal import (
    Barred,
    Cancelled,
    Dismissed,
    Dropped,
    Event,
    Held,
    Intent,
    PolicyChanged,
    Queued,
    Refused,
    Released,
    Restarted,
    Returned,
    Shared,
    Submitted,
    Throttled,
    Widened,
    from_lines,
    to_line,
)
from slurmslice.judge import Standing
from slurmslice.ledger import Fate, replay
from slurmslice.resources import ResourceRequest
from slurmslice.sightings import HEADER, Standings, to_lines
from slurmslice.states import Evidence, State
from tests.errors import raises_error

SLICES = 10
of = ResourceRequest.of


def intent(number: int, rows: str, **more: object) -> Intent:
    """An intent of the direct form: index and row are the same."""
    made = Intent(number, f"t{number}", f"x-t{number}", rows, rows, of({}), of({}), "s", "", 1.0)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


HISTORY: list[Event] = [
    Throttled(5, 1.0),
    intent(1, "0-9"),
    Submitted(1, "419", "halo", "sbatch", 2.0),
    intent(2, "3,7", changes=of({"mem": "8G"}), overrides=of({"array": "3,7"})),
    Refused(2, "no such partition: \udcff", 3.0),
    intent(3, "3,7"),
    Barred(3, 4.0),
    Dismissed(3, "421", 4.5),
    intent(4, "7"),
    Submitted(4, "423", None, "found", 5.0),
    Returned(4, "7", "its runner ended", 6.0, queued=True),
    Cancelled(1, "0-2", 7.0),
    Cancelled(0, "7", 8.0),
    Restarted(4, "7", 8.2),
    Widened(4, "5-9", "5-9", 8.4),
    Shared(1, 2, 9.0),
    Shared(4, 0, 9.5),
    Queued("0-2,7", of({"mem": "16G"}), 10.0),
    Dropped("2", "Slurm still has them", 10.5),
    Held("the first 20 have all failed", 11.0),
    Released(12.0),
    intent(5, "0-1,7", changes=of({"mem": "16G"})),
    Refused(5, "full", 13.0, passing=True, too_many=True),
    Throttled(None, 14.0),
    PolicyChanged(3, 15.0),
]


def test_every_event_survives_the_file() -> None:
    """What is journalled is read back equal, surrogates included."""
    data = b"".join(map(to_line, HISTORY))
    assert list(from_lines(data)) == HISTORY


WHOLE = b"".join(map(to_line, HISTORY))


def test_the_history_has_every_kind_of_event() -> None:
    """A new event has its place in the tests of replay too."""
    assert {type(event) for event in HISTORY} == set(get_args(Event))


def test_any_prefix_of_a_journal_replays() -> None:
    """A process killed at any byte leaves a journal that can be read and folded: each is tried."""
    for length in range(len(WHOLE) + 1):
        events = list(from_lines(WHOLE[:length]))
        assert events == HISTORY[: WHOLE[:length].count(b"\n")]
    for number in range(len(HISTORY) + 1):
        ledger = replay(HISTORY[:number], SLICES)
        assert all(0 <= attempts <= 5 for attempts in ledger.attempts)
        assert all(holder == 0 or holder in ledger.submissions for holder in ledger.holder)
        standings = Standings(ledger)
        assert sum(standings.tally().values()) == len(list(standings)) == SLICES


@given(st.integers(0, len(WHOLE)), st.binary(max_size=60))
def test_whatever_follows_a_torn_line_it_replays_or_is_named(length: int, rest: bytes) -> None:
    """Bytes of another kind after any prefix: events, or the one error; nothing else."""
    with contextlib.suppress(DamagedRun):
        events = list(from_lines(WHOLE[:length] + rest))
        whole = WHOLE[:length].count(b"\n")
        assert events[:whole] == HISTORY[:whole]


SEEN = {
    0: Standing(State.COMPLETED, "", Evidence.ACCOUNTING, submission=1, index=0, attempt=1,
                exit_code=0, elapsed_s=1.5, max_rss_bytes=7, node="n1"),
    1: Standing(State.FAILED, "a\ttab, \udcff", Evidence.QUEUE,
                submission=1, index=1, attempt=1),
    2: Standing(State.RUNNING, "", Evidence.QUEUE, submission=1, index=2, attempt=1),
}  # fmt: skip
LINES = HEADER + to_lines(SEEN)


@given(st.integers(0, len(LINES)), st.binary(max_size=40), st.booleans())
def test_any_prefix_of_the_states_is_read(length: int, rest: bytes, ended: bool) -> None:
    """What was seen, cut anywhere and with anything behind: whole lines count, nothing fails."""
    standings = Standings(replay(HISTORY[:3], SLICES))
    cut = LINES[:length]
    standings.read(cut + b"\n" * ended)
    for row in range(len(SEEN)) if length == len(LINES) else ():
        assert standings[row] == SEEN[row]
    standings.read(rest)
    assert len(list(standings)) == SLICES
    standings.read(b"\n" + to_lines(SEEN))
    assert {row: standings[row] for row in SEEN} == SEEN


def test_a_damaged_line_in_the_middle_is_named() -> None:
    """Damage that is no torn end is an error with the line's number, not a silent loss."""
    lines = [to_line(event) for event in HISTORY]
    lines[2] = b'{"event": "submit\n'
    with raises_error(DamagedRun, "damaged-run", path="journal.jsonl", line=3):
        list(from_lines(b"".join(lines)))


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"null\n", b'{"event":"dance"}\n', b'{"event":"barred"}\n', b"\xff\n"]
)
def test_every_kind_of_damage_is_one_typed_error(line: bytes) -> None:
    """Whatever stands there, it is DamagedRun."""
    with raises_error(DamagedRun, "damaged-run", line=1):
        list(from_lines(line))


def test_a_refused_or_barred_submission_gives_its_slices_back() -> None:
    """Their earlier submission holds them again, and no attempt was used up."""
    ledger = replay(HISTORY[:7], SLICES)
    assert ledger.holder == [1] * SLICES
    assert ledger.attempts == [1] * SLICES
    assert ledger.submissions[2].fate is Fate.REFUSED
    assert ledger.submissions[3].fate is Fate.BARRED


def test_a_returned_slice_has_used_no_attempt() -> None:
    """What a local runner gave back is held by none."""
    before, after = replay(HISTORY[:10], SLICES), replay(HISTORY[:11], SLICES)
    assert (before.holder[7], before.attempts[7]) == (4, 2)
    assert (after.holder[7], after.attempts[7]) == (0, 1)


def test_a_submission_that_was_refused_and_then_sent_by_hand_holds_its_slices() -> None:
    """sbatch script.sh after a refusal takes the slices after all."""
    ledger = replay(
        [intent(1, "0-4"), Refused(1, "", 1.0), Submitted(1, "9", None, "found", 2.0)], 5
    )
    assert ledger.holder == [1] * 5
    assert ledger.attempts == [1] * 5


def test_changes_stay_with_the_slice() -> None:
    """The request under which a slice was last submitted is known."""
    ledger = replay([intent(1, "0-4"), intent(2, "3", changes=of({"mem": "8G"}))], 5)
    assert ledger.request_of(3) == of({"mem": "8G"})
    assert not ledger.request_of(2)


def test_cancelling_is_known_by_slice() -> None:
    """Rows of a submission, and rows that waited."""
    ledger = replay(HISTORY[:13], SLICES)
    assert set(ledger.submissions[1].cancelled) == {0, 1, 2}
    assert ledger.withdrawn == {7: 8.0}


def test_a_submission_begins_once() -> None:
    """Two writers whom no lock kept apart: it is told, and nothing is made of it."""
    with pytest.raises(ValueError, match="twice"):
        replay([intent(1, "0-1"), intent(1, "2-3")], SLICES)
