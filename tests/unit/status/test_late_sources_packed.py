"""The model of ``test_truth`` for tasks of several slices: each slice gets its own end."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmslice.script.progress_lines import TaskProgress, parse_progress
from slurmslice.status.confirm import confirm_exit, needs_confirmation
from slurmslice.status.reconcile import SliceEvidence, SliceStatus
from slurmslice.status.reconcile_packed import reconcile_packed, requeued_status_packed
from slurmslice.status.states import State
from tests.unit.status.test_late_sources import (
    BEGAN,
    KNOWN,
    LOOKS,
    REMEMBERED_S,
    WAITS_S,
    Look,
    Start,
    World,
)

CUTS = (State.NODE_FAIL, State.PREEMPTED)
ENDS = (*CUTS, State.TIMEOUT, State.CANCELLED, State.OUT_OF_MEMORY)
TOLD = ("143 told=TERM", "143", "0 told=TERM", "1 told=TERM")
"""Ends of a slice after a signal: its program saves its work, or does not handle signals."""


@dataclass(frozen=True)
class Pack:
    """The starts of a task, its lines with their times, and the fate of each of its slices."""

    world: World
    lines: tuple[tuple[int, int, str], ...]  # time, start, text
    truth: tuple[tuple[frozenset[State], int], ...]  # by slot: true states, and their first time
    emptied: int = 0  # time when the task's log was emptied (by hand, by a full disk)

    def wrote(self, when: int) -> TaskProgress:
        """Return the lines that can be read at a time."""
        lost = self.emptied if when >= self.emptied else 0
        text = "".join(
            f"slurmslice {what[0]} job=7 restart={start} at={at} host=n1 {what[1]}\n"
            for at, start, said in self.lines
            if lost <= at <= when and (what := said.split(" ", 1))
        )
        return parse_progress(text.encode(), "7")

    def has_log(self, slot: int, when: int) -> bool:
        """Return whether a slice's own log exists at a time."""
        starts = [at for at, _, said in self.lines if said == f"start slot={slot}"]
        return bool(starts) and starts[0] <= when


@st.composite
def packs(draw: st.DrawFn) -> Pack:
    """Generate slices that run one after another, in a task that is requeued up to twice."""
    todo = draw(st.lists(st.tuples(st.integers(1, 80), st.sampled_from([0, 0, 0, 1, 3])),
                         min_size=2, max_size=4))  # fmt: skip
    puts_back = draw(st.integers(0, 2))
    clock, starts, lines = BEGAN, [], []
    ended: dict[int, tuple[int, int]] = {}  # by slot: exit code, time
    before: set[int] = set()  # slices that an older start began
    for number in range(puts_back + 1):
        runs = clock + draw(st.integers(WAITS_S if number else 1, 300))
        last, began = number == puts_back, {}
        cut = runs + draw(st.integers(0, 200)) if draw(st.booleans()) or not last else None
        lines += [(runs, number, f"end slot={slot} exit={code} kept=1")
                  for slot, (code, _) in ended.items()]  # fmt: skip
        by = draw(st.sampled_from(ENDS if last else CUTS))
        at = runs
        for slot, (seconds, code) in enumerate(todo):
            if slot in ended or (cut is not None and at >= cut):
                continue
            lines.append((at, number, f"start slot={slot}"))
            began[slot], at = at, at + seconds
            if cut is not None and at >= cut:
                how = "137" if by is State.OUT_OF_MEMORY else draw(st.sampled_from(TOLD))
                if draw(st.booleans()):
                    lines.append((cut, number, f"end slot={slot} exit={how}"))
                break
            ended[slot] = (code, at)
            lines.append((at, number, f"end slot={slot} exit={code}"))
        if len(ended) == len(todo):
            cut = None
        leaves = at if cut is None else cut
        bad = any(code for code, _ in ended.values())
        done = State.FAILED if bad else State.COMPLETED
        end = done if cut is None else by
        gone = leaves + draw(st.integers(1, 30))
        starts.append(
            Start(number, clock, runs, max(leaves, runs + 1), max(gone, runs + 2), end, 1)
        )
        clock = starts[-1].gone
        if cut is None:
            break
        before |= set() if last else set(began)
    world = World(tuple(starts))
    return Pack(
        world,
        tuple(lines),
        tuple(_truth(world, ended, began, before - set(began), s) for s in range(len(todo))),
    )


def _truth(
    world: World,
    ended: dict[int, tuple[int, int]],
    began: dict[int, int],
    before: set[int],
    slot: int,
) -> tuple[frozenset[State], int]:
    """Return the true states: its own end, or its task's if it had begun, or WAITING.

    If only an older start had begun it, either is true, and so is FAILED.
    """
    if slot in ended:
        code, at = ended[slot]
        return frozenset({State.FAILED if code else State.COMPLETED}), at
    if slot in began or world.last.end is State.CANCELLED:
        return frozenset({world.last.end}), world.last.leaves
    either = {world.last.end, State.FAILED} if slot in before else set()
    return frozenset({State.WAITING} | either), world.last.leaves


def one_look(
    pack: Pack,
    known: SliceStatus,
    look: Look,
    then: int,
    seen_at: int,
    slot: int,
    cancelled_at: float | None = None,
) -> SliceStatus:
    """Poll once, as ``test_truth.one_look``, for one slice of the pack."""
    queue = None if look.queue_down else pack.world.queue(then, ended=look.accounting_down)
    wrote = pack.wrote(pack.world.visible(then, look.progress_lag))
    if known.state.final or known.state is State.WAITING:
        return (
            requeued_status_packed(known, queue, slot, wrote) or known
            if known.state.final
            else known
        )
    said = SliceEvidence(
        accounting=None
        if look.accounting_down
        else pack.world.accounting(seen_at, then, steps=False),
        queue=queue,
        progress=None,
        accounting_silence="down" if look.accounting_down else "",
        queue_silence="down" if look.queue_down else "",
        accounting_off=False,
        cancelled_at=cancelled_at,
        task_goes_on=cancelled_at is not None,
        array_ended_at=None,
        now=then,
    )
    has_log = pack.has_log(slot, then)
    found = reconcile_packed(known, said, slot, wrote, 0, has_log=has_log)
    if not needs_confirmation(found):
        return found
    return confirm_exit(
        known, found, wrote, slot, then,
        has_log=has_log, times_returned=0, cancelled=cancelled_at is not None,
    )  # fmt: skip


def last_look(pack: Pack, looks: list[Look]) -> Look:
    """Poll after all others, when everything is visible."""
    late = pack.world.last.gone + REMEMBERED_S + 100
    after = max(1, late - BEGAN - sum(look.after for look in looks))
    return Look(after, False, False, False, 0, 0, 0)


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=500)
@given(packs(), LOOKS)
def test_each_slice_of_a_pack_gets_its_own_end(pack: Pack, looks: list[Look]) -> None:
    """Done, failed, ended with the task or returned: true, and never early."""
    looks = [*looks, last_look(pack, looks)]
    for slot, (truth, since) in enumerate(pack.truth):
        known, now, seen_at = replace(KNOWN, index=0), BEGAN, BEGAN
        for look in looks:
            asked = now + look.after
            now = asked + look.between
            seen_at = max(seen_at, asked - look.accounting_lag)
            known = one_look(pack, known, look, now, seen_at, slot)
            if known.state.final or known.state is State.WAITING:
                assert known.state in truth
                assert now >= since
        assert known.state in truth


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=500)
@given(packs(), LOOKS, st.integers(0, 3), st.integers(0, 2), st.integers(0, 400), st.booleans())
def test_a_slice_that_was_cancelled_alone(
    pack: Pack, looks: list[Look], slot: int, start: int, after: int, ran: bool
) -> None:
    """It is CANCELLED for good after its line, and never FAILED or returned."""
    slot, start = slot % len(pack.truth), start % len(pack.world.starts)
    within = pack.world.starts[start]
    line = min(within.runs + after, within.leaves)
    end = f"end slot={slot} exit=143"
    lines = [one for one in pack.lines if f"slot={slot}" not in one[2].split()]
    if ran:
        lines.append((line, start, f"start slot={slot}"))
    lines.append((line, start, f"cancel slot={slot}"))
    if ran:
        lines.append((line, start, f"{end} told=TERM"))
    for later in pack.world.starts[start + 1 :]:  # the library writes it again
        lines.append((later.runs, later.number, f"cancel slot={slot}"))
        lines += [(later.runs, later.number, f"{end} kept=1")] if ran else []
    pack = replace(pack, lines=tuple(sorted(lines)))
    looks = [*looks, last_look(pack, looks)]
    known, now, seen_at = replace(KNOWN, index=0), BEGAN, BEGAN
    for look in looks:
        asked = now + look.after
        now = asked + look.between
        seen_at = max(seen_at, asked - look.accounting_lag)
        known = one_look(pack, known, look, now, seen_at, slot, cancelled_at=BEGAN)
        assert known.state.in_flight or known.state is State.CANCELLED
    assert known.state is State.CANCELLED


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=500)
@given(packs(), LOOKS, st.integers(0, 700))
def test_a_slice_that_began_is_never_returned_as_not_begun(
    pack: Pack, looks: list[Look], emptied: int
) -> None:
    """The task's log was emptied; its own log proves the start. It is not COMPLETED either."""
    pack = replace(pack, emptied=BEGAN + emptied)
    looks = [*looks, last_look(pack, looks)]
    newest = {said for _, start, said in pack.lines if start == pack.world.last.number}
    for slot, (truth, _) in enumerate(pack.truth):
        known, now = replace(KNOWN, index=0), BEGAN
        for look in looks:
            asked, now = now + look.after, now + look.after + look.between
            known = one_look(pack, known, look, now, asked, slot)
            if known.state in {State.WAITING, State.COMPLETED}:
                assert known.state in truth
            if known.state is State.WAITING:
                assert f"start slot={slot}" not in newest
