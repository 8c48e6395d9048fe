"""The journal, and the state of a run after its events."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import DamagedRunError
from slurmslice.run.acceptances import AcceptanceUndone, FailureAccepted
from slurmslice.run.journal import (
    AfterMet,
    CanaryEnded,
    Cancelled,
    Dequeued,
    EndTold,
    EnvironmentRecorded,
    Event,
    Fenced,
    Held,
    Intent,
    JobCarriesMore,
    LateJobCancelled,
    NodeExcluded,
    NodeIncluded,
    PolicyChanged,
    QueueAvoids,
    Queued,
    Rejected,
    Released,
    Requeued,
    Shared,
    SlicesReturned,
    Submitted,
    Throttled,
    Unclear,
    format_event,
    parse_events,
)
from slurmslice.run.journal_state import replay_events
from slurmslice.run.queue_changes import QueueChanged
from slurmslice.run.raised_requests import RequestRaised
from slurmslice.run.slice_changes import RunClosed, SlicesChanged
from slurmslice.run.statuses import STATUS_HEADER, StatusTable, format_status_lines
from slurmslice.run.steward_record import StewardEnded, StewardIntent, StewardSubmitted
from slurmslice.run.submission import SubmissionStatus
from slurmslice.run.then_record import ThenCalledOff, ThenEnded, ThenIntent, ThenSubmitted
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.spec.code_record import CodeRecord
from slurmslice.spec.recorded_environment import RecordedEnvironment
from slurmslice.status.reconcile import SliceStatus
from slurmslice.status.states import EvidenceSource, State
from tests.support.errors import raises_error

SLICES = 10
of = ResourceRequest.of


def intent(number: int, rows: str, **more: object) -> Intent:
    """Return an intent whose array indices equal its rows."""
    made = Intent(number, f"t{number}", f"x-t{number}", rows, rows, of({}), of({}), "s", "", 1.0)
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


HISTORY: list[Event] = [
    Throttled(5, 1.0),
    intent(1, "0-9"),
    Submitted(1, "419", "halo", "sbatch", 2.0),
    intent(2, "3,7", changes=of({"mem": "8G"}), overrides=of({"array": "3,7"})),
    Rejected(2, "no such partition: \udcff", 3.0),
    intent(3, "3,7"),
    Fenced(3, 4.0),
    LateJobCancelled(3, "421", 4.5),
    intent(4, "7"),
    Submitted(4, "423", None, "found", 5.0),
    SlicesReturned(4, "7", "its runner ended", 6.0, queued=True),
    Cancelled(1, "0-2", 7.0, partly="0"),
    Cancelled(0, "7", 8.0),
    Requeued(4, "7", 8.2),
    JobCarriesMore(4, "5-9", "5-9", 8.4),
    Shared(1, 2, 9.0),
    Shared(4, 0, 9.5),
    Queued("0-2,7", of({"mem": "16G"}), 10.0),
    Dequeued("2", "Slurm still has them", 10.5),
    Held("the first 20 have all failed", 11.0),
    Released(12.0),
    intent(5, "0-1,7", changes=of({"mem": "16G"})),
    Rejected(5, "full", 13.0, temporary=True, too_many_tasks=True),
    Throttled(None, 14.0),
    PolicyChanged(3, 15.0),
    PolicyChanged(None, 15.2, None, retry=True, on=("exit:75=again", "oom=--mem=2x")),
    Queued("0", of({"mem": "32G"}), 15.4, "oom"),
    intent(6, "0-1"),
    Unclear(6, "[SITE] \udcff no", 16.0),
    Fenced(6, 17.0),
    EnvironmentRecorded(RecordedEnvironment("salt", {"A\udcff": "0123456789ab"}), 18.0),
    StewardIntent("tok1", "x-tok1-steward", 19.0, of({"partition": "serial"})),
    StewardSubmitted("tok1", "430", "sbatch", 19.5),
    StewardEnded("tok1", "done", 20.0),
    ThenIntent("tok2", "demo-tok2-then", 20.0, 3, ResourceRequest.of({"mem": "8G"})),
    ThenSubmitted("tok2", "431", "sbatch", 20.5),
    ThenEnded("tok2", "FAILED", "exit 3", 21.0),
    ThenCalledOff(22.0),
    FailureAccepted("0", "corrupt \udcff", 22.5),
    AcceptanceUndone("0", 22.6),
    intent(7, "0", code=CodeRecord({"x\udcff.py": "01234567"}, "a" * 40)),
    NodeExcluded("n3", "failures", 5.0, 8, 1, 90, 1e-7, 86419.0, 19.0),
    NodeIncluded("n3", "a person decided that", 20.0),
    QueueAvoids(1, "n3", 20.5),
    QueueAvoids(1, "n3,n4", 20.6, "denied"),
    QueueChanged(1, "1-2", of({"mem": "6G"}), of({"mem": "6G", "time": "10:00"}), 20.7),
    CanaryEnded("it is done", 21.0),
    AfterMet("it is done", 21.0),
    Queued("9", of({}), 21.2),
    RequestRaised("9", of({"mem": "8G"}), 1, "4G", "8G", 5, 20, 1 << 32, 21.5),
    PolicyChanged(None, 19.0, budget="2x"),
    EndTold("mail", 20.0),
    EndTold("mail", 21.0, failed=True),
    SlicesChanged(2, "10-12", 13, "0" * 64, 22.0, "11"),
    Queued("12", of({}), 22.5),
    RunClosed(23.0),
]


def test_every_event_survives_the_file() -> None:
    """An event is read back unchanged, also with surrogates."""
    data = b"".join(map(format_event, HISTORY))
    assert list(parse_events(data)) == HISTORY


WHOLE = b"".join(map(format_event, HISTORY))


def test_history_has_every_kind_of_event() -> None:
    """A new kind of event must be added to the history that these tests replay."""
    assert {type(event) for event in HISTORY} == set(get_args(Event))


def test_any_prefix_of_a_journal_replays() -> None:
    """A process killed at any byte leaves a journal that can be replayed; all are tried."""
    for length in range(len(WHOLE) + 1):
        events = list(parse_events(WHOLE[:length]))
        assert events == HISTORY[: WHOLE[:length].count(b"\n")]
    for number in range(len(HISTORY) + 1):
        journal_state = replay_events(HISTORY[:number], SLICES)
        assert all(0 <= attempts <= 5 for attempts in journal_state.attempts)
        assert all(
            holder == 0 or holder in journal_state.submissions for holder in journal_state.holder
        )
        statuses = StatusTable(journal_state)
        slices = len(journal_state.holder)
        assert slices == (SLICES + 3 if journal_state.changes.tables else SLICES)
        assert sum(statuses.state_counts().values()) == len(list(statuses)) == slices


@given(st.integers(0, len(WHOLE)), st.binary(max_size=60))
def test_bytes_after_an_incomplete_line_are_events_or_damage(length: int, rest: bytes) -> None:
    """Other bytes after any prefix give events or DamagedRunError, and no other exception."""
    with contextlib.suppress(DamagedRunError):
        events = list(parse_events(WHOLE[:length] + rest))
        whole = WHOLE[:length].count(b"\n")
        assert events[:whole] == HISTORY[:whole]


SEEN = {
    0: SliceStatus(State.COMPLETED, "", EvidenceSource.ACCOUNTING, submission=1, index=0, attempt=1,
                exit_code=0, elapsed_s=1.5, max_rss_bytes=7, node="n1"),
    1: SliceStatus(State.FAILED, "a\ttab, \udcff", EvidenceSource.QUEUE,
                submission=1, index=1, attempt=1),
    2: SliceStatus(State.RUNNING, "", EvidenceSource.QUEUE, submission=1, index=2, attempt=1),
}  # fmt: skip
LINES = STATUS_HEADER + format_status_lines(SEEN)


@given(st.integers(0, len(LINES)), st.binary(max_size=40), st.booleans())
def test_any_prefix_of_the_statuses_is_read(length: int, rest: bytes, ended: bool) -> None:
    """Statuses cut at any byte, with other bytes behind, are read line by line without error."""
    statuses = StatusTable(replay_events(HISTORY[:3], SLICES))
    cut = LINES[:length]
    statuses.read(cut + b"\n" * ended)
    for row in range(len(SEEN)) if length == len(LINES) else ():
        assert statuses[row] == SEEN[row]
    statuses.read(rest)
    assert len(list(statuses)) == SLICES
    statuses.read(b"\n" + format_status_lines(SEEN))
    assert {row: statuses[row] for row in SEEN} == SEEN


def test_damaged_line_is_named() -> None:
    """Damage before the last line is an error with the line's number, not a silent loss."""
    lines = [format_event(event) for event in HISTORY]
    lines[2] = b'{"event": "submit\n'
    with raises_error(DamagedRunError, "damaged-run", path="journal.jsonl", line=3):
        list(parse_events(b"".join(lines)))


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b"null\n", b'{"event":"dance"}\n', b'{"event":"held"}\n', b"\xff\n"]
)
def test_damage_is_one_type_of_error(line: bytes) -> None:
    """An invalid line of any kind is DamagedRunError."""
    with raises_error(DamagedRunError, "damaged-run", line=1):
        list(parse_events(line))


def test_rejected_or_fenced_submission_returns_its_slices() -> None:
    """Their earlier submission holds them again, and no attempt was used."""
    journal_state = replay_events(HISTORY[:7], SLICES)
    assert journal_state.holder == [1] * SLICES
    assert journal_state.attempts == [1] * SLICES
    assert journal_state.submissions[2].status is SubmissionStatus.REJECTED
    assert journal_state.submissions[3].status is SubmissionStatus.FENCED


def test_returned_slice_used_no_attempt() -> None:
    """No submission holds a slice that a local runner returned."""
    before, after = replay_events(HISTORY[:10], SLICES), replay_events(HISTORY[:11], SLICES)
    assert (before.holder[7], before.attempts[7]) == (4, 2)
    assert (after.holder[7], after.attempts[7]) == (0, 1)


def test_rejected_submission_submitted_by_hand_holds_its_slices() -> None:
    """sbatch script.sh, typed after a rejection, makes this submission the holder of the slices."""
    journal_state = replay_events(
        [intent(1, "0-4"), Rejected(1, "", 1.0), Submitted(1, "9", None, "found", 2.0)], 5
    )
    assert journal_state.holder == [1] * 5
    assert journal_state.attempts == [1] * 5


def test_changed_options_stay_with_the_slice() -> None:
    """A slice keeps the changed options of its last submission."""
    journal_state = replay_events([intent(1, "0-4"), intent(2, "3", changes=of({"mem": "8G"}))], 5)
    assert journal_state.changes_of(3) == of({"mem": "8G"})
    assert not journal_state.changes_of(2)


def test_repairs_are_counted_from_a_persons_submission() -> None:
    """A rejection undoes one, a return does not count, and a person starts a new count."""

    def repairs(*events: Event) -> tuple[str, ...]:
        state = replay_events(
            [intent(1, "0-1"), Submitted(1, "100", None, "sbatch", 1.0), *events], 2
        )
        return state.repairs.of(0)

    oom, node = Queued("0", of({"mem": "8G"}), 2.0, "oom"), Queued("0", of({}), 5.0, "node")
    sent = intent(2, "0", changes=of({"mem": "8G"}))
    accepted = Submitted(2, "101", None, "sbatch", 3.0)
    assert repairs() == ()
    assert repairs(oom) == ("oom",)
    assert repairs(oom, sent, accepted, node) == ("oom", "node")
    assert repairs(oom, Dequeued("0", "Slurm still has it", 3.0)) == ()
    assert repairs(oom, sent, Fenced(2, 3.0)) == ("oom",)
    for temporary, left in ((True, ("oom",)), (False, ())):
        rejected = Rejected(2, "full", 3.0, temporary=temporary)
        assert repairs(oom, sent, rejected) == left
    returned = SlicesReturned(2, "0", "its node was drained", 4.0, queued=True)
    assert repairs(oom, sent, accepted, returned) == ("oom",)
    again = intent(3, "0", changes=of({"mem": "8G"}))
    assert repairs(oom, sent, accepted, returned, again) == ("oom",)
    queued = Queued("0", of({"mem": "8G"}), 5.0)
    not_by_a_person = SlicesReturned(2, "0", "interrupted", 4.0, queued=False), queued
    assert repairs(oom, sent, accepted, *not_by_a_person) == ("oom",)
    assert repairs(oom, sent, accepted, queued) == ()


def test_cancelled_slices_are_recorded() -> None:
    """Cancelled rows of a submission and cancelled waiting rows are recorded separately."""
    journal_state = replay_events(HISTORY[:13], SLICES)
    assert set(journal_state.submissions[1].cancelled) == {0, 1, 2}
    assert journal_state.withdrawn == {7: 8.0}


def test_submission_begins_once() -> None:
    """Two writers without a lock are detected, and nothing is applied."""
    with pytest.raises(ValueError, match="twice"):
        replay_events([intent(1, "0-1"), intent(1, "2-3")], SLICES)
