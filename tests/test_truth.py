"""A small world: what happens to an array task, and how late and how patchily its sources tell it.

Whatever the order, the lag and the gaps, nobody is told an end that is not the true one, and once
the sources have caught up everybody is told that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from slurmslice.evidence import Steps, TaskReport
from slurmslice.judge import GRACE_S, Hearing, Standing, judge, reopened
from slurmslice.packed import VISIBLE_S
from slurmslice.progress import SlotProgress
from slurmslice.states import Evidence, State

BEGAN = 1_800_000_000
KNOWN = Standing(State.SUBMITTED, "submitted", submission=1, index=3, attempt=1)
LAG_S = int(GRACE_S) - 20
"""Accounting lags by less than the grace: then what the task wrote never has to speak for it."""
WAITS_S = 120
"""What is put back waits first, so that accounting knows by then (slurm.conf(5), cred_expire)."""
REMEMBERED_S = 300  # slurm.conf(5), MinJobAge


@dataclass(frozen=True)
class Start:
    """One start of the task: when it waits, runs, is cleaned up and is gone; and how it ends.

    ``exit_code`` is what the task writes of its own end; None where it has no time to. CHECK_FAILED
    is COMPLETED by all but a job step, whose end comes so many seconds after the task's.
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
    def told(self) -> State:
        """What Slurm calls its end."""
        return State.COMPLETED if self.end is State.CHECK_FAILED else self.end

    def phase(self, when: int) -> State | None:
        """PENDING, RUNNING, its end while it is being cleaned up; None: gone."""
        if when < self.runs:
            return State.PENDING
        if when < self.leaves:
            return State.RUNNING
        return self.told if when < self.gone else None


@dataclass(frozen=True)
class World:
    """The starts of a task, one after another; all but the last are ended by Slurm, and go on."""

    starts: tuple[Start, ...]

    @property
    def last(self) -> Start:
        """The start that is not followed by another."""
        return self.starts[-1]

    def at(self, when: int) -> Start:
        """The start of a time."""
        return next((start for start in self.starts if when < start.gone), self.last)

    def queue(self, when: int, *, ended: bool) -> TaskReport | None:
        """What squeue says; of a task that has gone, only where those are asked for as well."""
        start = self.at(when)
        phase = start.phase(when)
        if phase is None:
            if not ended or when >= start.gone + REMEMBERED_S:
                return None
            word, at = str(start.told), start.leaves
            return TaskReport(
                start.told, word, restarts=start.number, started_at=start.runs, ended_at=at
            )
        completing = phase is start.told
        state = State.RUNNING if completing else phase
        return TaskReport(state, str(state), restarts=start.number, completing=completing)

    def accounting(self, when: int, now: int, *, steps: bool) -> TaskReport | None:
        """What sacct knew of the newest start then; what never started is left to the queue.

        Its steps are told now, if they are, and in the end within the grace.
        """
        start = self.at(when)
        phase = start.phase(when)
        if phase is State.PENDING and start.number == 0:
            return None
        if phase is State.PENDING or phase is State.RUNNING:
            return TaskReport(phase, str(phase))
        code = start.exit_code if start.end is State.FAILED else 0
        end, failed = start.told, "exited 3" if start.end is State.CHECK_FAILED else ""
        known = Steps(failed) if now >= start.leaves + start.step_s else Steps(ended=False)
        return TaskReport(
            end, str(end), exit_code=code, started_at=start.runs, ended_at=start.leaves,
            steps=known if steps or now >= start.leaves + LAG_S else None,
        )  # fmt: skip

    def visible(self, then: int, lag: int) -> int:
        """Until when what it has written is to be read; BEGAN for a file that is not seen yet.

        Who opens a file on a network file system sees what was there when its writer closed it
        (nfs(5), close-to-open); but a file may be missing for as long as its folder's listing is
        believed (acdirmax).
        """
        if then < self.at(then).leaves:
            return then - lag
        return then if not lag or then - self.starts[0].runs >= VISIBLE_S else BEGAN

    def progress(self, when: int) -> SlotProgress | None:
        """What the task has written, in its newest start that wrote anything."""
        begun = [start for start in self.starts if start.runs <= when]
        if not begun:
            return None
        start = begun[-1]
        wrote = SlotProgress(start.runs, "n1", restart=start.number)
        if start.leaves <= when and start.exit_code is not None:
            how = "TERM" if start.end in TOLD_TO_END else ""
            return replace(wrote, ended_at=start.leaves, exit_code=start.exit_code, told=how)
        return wrote


TOLD_TO_END = frozenset({State.TIMEOUT, State.CANCELLED, State.PREEMPTED})
"""Ends that Slurm announces to the task by SIGTERM: its command may save, and exit 0."""

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
    """A task that is put back up to twice."""
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
    """One poll: seconds since the last, who is silent, and by how much each lags."""

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


def followed(world: World, looks: list[Look], *, off: bool) -> Iterator[tuple[int, Standing]]:
    """The standing after each look, and when it was; a last one long after the end has no lag."""
    known, now, told = KNOWN, BEGAN, BEGAN
    late = world.last.gone + REMEMBERED_S + 100
    after = max(1, late - BEGAN - sum(look.after for look in looks))
    last = Look(after, False, False, False, 0, 0, 0)
    for look in [*looks, last]:
        asked = now + look.after
        now = asked + look.between
        told = max(told, asked - look.accounting_lag)  # what it has told it does not take back
        known = one_look(world, known, look, now, told, off=off)
        yield now, known


def one_look(
    world: World, known: Standing, look: Look, then: int, told: int, *, off: bool
) -> Standing:
    """Accounting is asked first, then the queue; of an ended slice only whether it runs again."""
    silent = off or look.accounting_down
    queue = None if look.queue_down else world.queue(then, ended=silent)
    if known.state.final:
        return reopened(known, queue) or known
    return judge(
        known,
        Hearing(
            accounting=None if silent else world.accounting(told, then, steps=not look.steps_down),
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


@settings(max_examples=1500)
@given(worlds(), LOOKS)
def test_no_end_is_invented_and_none_is_missed(world: World, looks: list[Look]) -> None:
    """A final state is the true one, at a time when it is true; and it is told in the end."""
    for when, standing in followed(world, looks, off=False):
        if standing.state.final:
            start = world.at(when)
            assert start.number == world.last.number
            assert standing.state is as_known(world, standing)
            assert start.phase(when) in {start.told, None}
    assert standing.state is as_known(world, standing)


def as_known(world: World, standing: Standing) -> State:
    """The end of a world; of job steps only accounting knows, and the queue does not."""
    last = world.last
    return last.told if standing.evidence is Evidence.QUEUE else last.end


@settings(max_examples=1500)
@given(worlds(), LOOKS)
def test_without_accounting_nothing_is_called_done_that_is_not(
    world: World, looks: list[Look]
) -> None:
    """Success is told only of what exited 0, untold, and of nothing that runs."""
    for when, standing in followed(world, looks, off=True):
        if standing.state.final:
            start = world.at(when)
            assert start.number == world.last.number
            assert start.phase(when) in {start.told, None}
        if standing.state is State.COMPLETED:
            assert world.last.exit_code == 0
            assert world.last.end not in TOLD_TO_END


@settings(max_examples=500)
@given(worlds(), LOOKS, LOOKS)
def test_the_way_there_does_not_matter(world: World, some: list[Look], others: list[Look]) -> None:
    """Whoever looked when, and whatever was silent then: in the end all know the same."""
    ends = [[*followed(world, looks, off=False)][-1][1] for looks in (some, others)]
    if Evidence.QUEUE not in {standing.evidence for standing in ends}:  # it knows no job steps
        assert ends[0].state is ends[1].state
