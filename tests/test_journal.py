"""The journal and its replay."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import DamagedRun
from slurmslice.journal import (
    Barred,
    Cancelled,
    Dismissed,
    Event,
    Intent,
    Refused,
    Returned,
    Submitted,
    Throttled,
    from_lines,
    to_line,
)
from slurmslice.ledger import Fate, replay

SLICES = 10


def intent(number: int, rows: str, **more: object) -> Intent:
    """An intent of the direct form: index and row are the same."""
    made = Intent(number, f"t{number}", f"x-t{number}", rows, rows, (), (), "s", "", 1.0)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


HISTORY: list[Event] = [
    Throttled(5, 1.0),
    intent(1, "0-9"),
    Submitted(1, "419", "halo", "sbatch", 2.0),
    intent(2, "3,7", changes=(("mem", "8G"),), overrides=(("array", "3,7"),)),
    Refused(2, "no such partition: \udcff", 3.0),
    intent(3, "3,7"),
    Barred(3, 4.0),
    Dismissed(3, "421", 4.5),
    intent(4, "7"),
    Submitted(4, "423", None, "found", 5.0),
    Returned(4, "7", "its runner ended", 6.0, queued=True),
    Cancelled(1, "0-2", 7.0),
    Cancelled(0, "7", 8.0),
]


def test_every_event_survives_the_file() -> None:
    """What is journalled is read back equal, surrogates included."""
    data = b"".join(map(to_line, HISTORY))
    assert list(from_lines(data)) == HISTORY


@given(st.integers(0, 3000))
def test_any_prefix_of_a_journal_replays(length: int) -> None:
    """A process killed at any byte leaves a journal that can be read and folded."""
    data = b"".join(map(to_line, HISTORY))[:length]
    events = list(from_lines(data))
    ledger = replay(events, SLICES)
    assert events == HISTORY[: len(events)]
    assert all(0 <= attempts <= 4 for attempts in ledger.attempts)
    assert all(holder == 0 or holder in ledger.submissions for holder in ledger.holder)


def test_a_damaged_line_in_the_middle_is_named() -> None:
    """Damage that is no torn end is an error with the line's number, not a silent loss."""
    lines = [to_line(event) for event in HISTORY]
    lines[2] = b'{"event": "submit\n'
    with pytest.raises(DamagedRun, match=r"Line 3 of journal\.jsonl"):
        list(from_lines(b"".join(lines)))


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"null\n", b'{"event":"dance"}\n', b'{"event":"barred"}\n', b"\xff\n"]
)
def test_every_kind_of_damage_is_one_typed_error(line: bytes) -> None:
    """Whatever stands there, it is DamagedRun."""
    with pytest.raises(DamagedRun):
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
    ledger = replay([intent(1, "0-4"), intent(2, "3", changes=(("mem", "8G"),))], 5)
    assert ledger.request_of(3) == (("mem", "8G"),)
    assert not ledger.request_of(2)


def test_cancelling_is_known_by_slice() -> None:
    """Rows of a submission, and rows that waited."""
    ledger = replay(HISTORY, SLICES)
    assert set(ledger.submissions[1].cancelled) == {0, 1, 2}
    assert ledger.withdrawn == {7: 8.0}
