"""A model of an array task, and of sources that report it late and with gaps.

For any order, lag and gaps, no reported end is false. After the sources have caught up, the true
end is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurmslice.script.progress_lines import SlotProgress
from slurmslice.status.observation import JobSteps, TaskReport
from slurmslice.status.reconcile import (
    ACCOUNTING_LAG_S,
    SliceEvidence,
    SliceStatus,
    reconcile,
    requeued_status,
)
from slurmslice.status.reconcile_packed import FILE_VISIBLE_S
from slurmslice.status.states import EvidenceSource, State

BEGAN = 1_800_000_000
KNOWN = SliceStatus(State.SUBMITTED, "submitted", submission=1, index=3, attempt=1)
LAG_S = int(ACCOUNTING_LAG_S) - 20
"""Accounting lags by less than the grace, so the progress lines never have to replace it."""
WAITS_S = 120
"""A requeued task waits first, so that accounting knows by then (slurm.conf(5), cred_expire)."""
REMEMBERED_S = 300  # slurm.conf(5), MinJobAge


@dataclass(frozen=True)
class Start:
    """One start of a task: its times of waiting, running, cleaning and absence, and its end.

    ``exit_code`` is in the task's own end line; None if the task has no time to write one.
    CHECK_FAILED means that everything is COMPLETED except a job step, which ends this many seconds
    after the task.
    """

    number: int
    waits: int
    runs: int
    leaves: int
    gone: int
    end: State
    exit_code: int | None
    step_s: int = 0

    @property
    def slurm_state(self) -> State:
        """Return Slurm's state for its end."""
        return State.COMPLETED if self.end is State.CHECK_FAILED else self.end

    def phase(self, when: int) -> State | None:
        """Return PENDING, RUNNING, or the end while Slurm cleans up; None after that."""
        if when < self.runs:
            return State.PENDING
        if when < self.leaves:
            return State.RUNNING
        return self.slurm_state if when < self.gone else None


@dataclass(frozen=True)
class World:
    """The starts of a task in order. Slurm ends each but the last, and restarts the task."""

    starts: tuple[Start, ...]

    @property
    def last(self) -> Start:
        """Return the last start."""
        return self.starts[-1]

    def at(self, when: int) -> Start:
        """Return the start of a time."""
        return next((start for start in self.starts if when < start.gone), self.last)

    def queue(self, when: int, *, ended: bool) -> TaskReport | None:
        """Return squeue's report; of an ended task only if ``ended`` is true."""
        start = self.at(when)
        phase = start.phase(when)
        if phase is None:
            if not ended or when >= start.gone + REMEMBERED_S:
                return None
            word, at = str(start.slurm_state), start.leaves
            return TaskReport(
                start.slurm_state, word, restarts=start.number, started_at=start.runs, ended_at=at
            )
        state = State.COMPLETING if phase is start.slurm_state else phase
        return TaskReport(state, str(state), restarts=start.number)

    def accounting(self, when: int, now: int, *, steps: bool) -> TaskReport | None:
        """Return sacct's report of the newest start at a time; None for a start that only waited.

        Its steps may be reported then, and are reported at the latest within the grace.
        """
        start = self.at(when)
        phase = start.phase(when)
        if phase is State.PENDING and start.number == 0:
            return None
        if phase is State.PENDING or phase is State.RUNNING:
            return TaskReport(phase, str(phase))
        code = start.exit_code if start.end is State.FAILED else 0
        end, failed = start.slurm_state, "exited 3" if start.end is State.CHECK_FAILED else ""
        known = JobSteps(failed) if now >= start.leaves + start.step_s else JobSteps(ended=False)
        return TaskReport(
            end, str(end), exit_code=code, started_at=start.runs, ended_at=start.leaves,
            steps=known if steps or now >= start.leaves + LAG_S else None,
        )  # fmt: skip

    def visible(self, then: int, lag: int) -> int:
        """Return the time up to which its lines are visible; BEGAN if the file is not visible yet.

        On a network file system a reader sees the content that the file had when its writer closed
        it (nfs(5), close-to-open). But a file may be missing for as long as its folder's listing is
        cached (acdirmax).
        """
        if then < self.at(then).leaves:
            return then - lag
        return then if not lag or then - self.starts[0].runs >= FILE_VISIBLE_S else BEGAN

    def progress(self, when: int) -> SlotProgress | None:
        """Return the lines of the task in its newest start that wrote any."""
        begun = [start for start in self.starts if start.runs <= when]
        if not begun:
            return None
        start = begun[-1]
        wrote = SlotProgress(start.runs, "n1", restart=start.number)
        if start.leaves <= when and start.exit_code is not None:
            how = "TERM" if start.end in TOLD_TO_END else ""
            return replace(
                wrote, ended_at=start.leaves, exit_code=start.exit_code, signal_received=how
            )
        return wrote


TOLD_TO_END = frozenset({State.TIMEOUT, State.CANCELLED, State.PREEMPTED})
"""Ends that Slurm announces to the task by SIGTERM. Its command may save its work and exit 0."""

PUT_BACK = st.sampled_from(
    [(State.NODE_FAIL, None), (State.NODE_FAIL, 0), (State.PREEMPTED, 143), (State.PREEMPTED, 0)]
)
ENDS = st.sampled_from(
    [
        (State.COMPLETED, 0),
        (State.CHECK_FAILED, 0),
        (State.FAILED, 1),
        (State.FAILED, 143),
        (State.TIMEOUT, 143),
        (State.TIMEOUT, None),
        (State.TIMEOUT, 0),
        (State.CANCELLED, 0),
        (State.PREEMPTED, 0),
        (State.CANCELLED, None),
        (State.OUT_OF_MEMORY, 0),
        (State.OUT_OF_MEMORY, 137),
        (State.NODE_FAIL, None),
        (State.PREEMPTED, 143),
    ]
)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Generate a task that is requeued up to twice."""
    clock, starts = BEGAN, []
    ends = [*draw(st.lists(PUT_BACK, max_size=2)), draw(ENDS)]
    for number, (end, code) in enumerate(ends):
        runs = clock + draw(st.integers(WAITS_S if number else 1, 300))
        leaves = runs + draw(st.integers(1, 400))
        gone = leaves + draw(st.integers(1, 30))
        late = draw(st.integers(0, LAG_S))
        starts.append(Start(number, clock, runs, leaves, gone, end, code, late))
        clock = gone
    return World(tuple(starts))


@dataclass(frozen=True)
class Look:
    """One poll: seconds since the last one, the silent sources, and the lag of each."""

    after: int
    accounting_down: bool
    queue_down: bool
    steps_down: bool
    accounting_lag: int
    progress_lag: int
    between: int


LOOKS = st.lists(
    st.builds(
        Look,
        after=st.integers(1, 150),
        accounting_down=st.booleans(),
        queue_down=st.booleans(),
        steps_down=st.booleans(),
        accounting_lag=st.just(0) | st.integers(0, LAG_S),
        progress_lag=st.just(0) | st.integers(0, 60),
        between=st.integers(0, 5),
    ),
    max_size=12,
)


def followed(world: World, looks: list[Look], *, off: bool) -> Iterator[tuple[int, SliceStatus]]:
    """Return the status after each look, with its time. The last look is late and has no lag."""
    known, now, seen_at = KNOWN, BEGAN, BEGAN
    late = world.last.gone + REMEMBERED_S + 100
    after = max(1, late - BEGAN - sum(look.after for look in looks))
    last = Look(after, False, False, False, 0, 0, 0)
    for look in [*looks, last]:
        asked = now + look.after
        now = asked + look.between
        seen_at = max(
            seen_at, asked - look.accounting_lag
        )  # it does not withdraw an earlier report
        known = one_look(world, known, look, now, seen_at, off=off)
        yield now, known


def one_look(
    world: World, known: SliceStatus, look: Look, then: int, seen_at: int, *, off: bool
) -> SliceStatus:
    """Poll once, accounting first. For an ended slice ask only if Slurm runs it again."""
    silent = off or look.accounting_down
    queue = None if look.queue_down else world.queue(then, ended=silent)
    if known.state.final:
        return requeued_status(known, queue) or known
    return reconcile(
        known,
        SliceEvidence(
            accounting=None
            if silent
            else world.accounting(seen_at, then, steps=not look.steps_down),
            queue=queue,
            progress=world.progress(world.visible(then, look.progress_lag)),
            accounting_silence="down" if silent else "",
            queue_silence="down" if look.queue_down else "",
            accounting_off=off,
            cancelled_at=None,
            array_ended_at=None,
            now=then,
        ),
    )


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=500)
@given(worlds(), LOOKS)
def test_no_end_is_invented_and_none_is_missed(world: World, looks: list[Look]) -> None:
    """A final state is the true one and not early; and at the end it is reported."""
    for when, status in followed(world, looks, off=False):
        if status.state.final:
            start = world.at(when)
            assert start.number == world.last.number
            assert status.state is as_known(world, status)
            assert start.phase(when) in {start.slurm_state, None}
    assert status.state is as_known(world, status)


def as_known(world: World, status: SliceStatus) -> State:
    """Return the end of a world without the knowledge of job steps, which only accounting has."""
    last = world.last
    return last.slurm_state if status.evidence is EvidenceSource.QUEUE else last.end


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=500)
@given(worlds(), LOOKS)
def test_without_accounting_no_false_success(world: World, looks: list[Look]) -> None:
    """COMPLETED means exit 0 without a signal, and never a running task."""
    for when, status in followed(world, looks, off=True):
        if status.state.final:
            start = world.at(when)
            assert start.number == world.last.number
            assert start.phase(when) in {start.slurm_state, None}
        if status.state is State.COMPLETED:
            assert world.last.exit_code == 0
            assert world.last.end not in TOLD_TO_END


@pytest.mark.usefixtures("unmeasured")
@settings(max_examples=500)
@given(worlds(), LOOKS, LOOKS)
def test_the_order_of_polls_does_not_matter(
    world: World, some: list[Look], others: list[Look]
) -> None:
    """For any polls and any silence, the last status is the same."""
    ends = [[*followed(world, looks, off=False)][-1][1] for looks in (some, others)]
    if EvidenceSource.QUEUE not in {
        status.evidence for status in ends
    }:  # the queue knows no job steps
        assert ends[0].state is ends[1].state
