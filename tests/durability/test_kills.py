"""``kill -9`` at every step of every verb: the same command continues, slices run once."""

from __future__ import annotations

import copy
import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from slurmslice.engines.protocol import SubmitRequest
from slurmslice.errors import (
    EngineError,
    SubmissionRejectedError,
    SubmitLimitError,
    TooManyTasksError,
)
from slurmslice.run.run import Run
from slurmslice.sbatch.array_expression import parse_array
from slurmslice.sbatch.resource_request import NO_REQUEST
from tests.support.fakes import Clock, FakeEngine
from tests.support.kills import Killed, Killer, end, kill_at, points
from tests.support.typed import Typed

Line = tuple[str, ...]

pytestmark = pytest.mark.usefixtures("unmeasured")


class Play:
    """A folder, a cluster and a person at the keyboard, reset to the same state for each point.

    Attributes:
        ran: the number of starts of each slice's command, by the tasks' own records.
        fails: keys of slices that fail at their first attempt.
        pack: slices in each task.
    """

    def __init__(self, typed: Typed, engine: FakeEngine, clock: Clock) -> None:
        self.typed, self.engine, self.clock = typed, engine, clock
        self.ran: Counter[str] = Counter()
        self.fails: frozenset[str] = frozenset()
        self.pack = 1
        self.killer = Killer(-1)
        self._saved: tuple[Counter[str], float, dict[str, object]] | None = None

    def keep(self) -> None:
        """Save the state of the folder, the cluster and the clock."""
        del self.engine.on_wait
        self._saved = self.ran.copy(), self.clock.now, copy.deepcopy(vars(self.engine))
        shutil.copytree(self.typed.folder, self._copy)

    def back(self) -> None:
        """Restore the saved state."""
        assert self._saved is not None
        shutil.rmtree(self.typed.folder)
        shutil.copytree(self._copy, self.typed.folder)
        os.chdir(self.typed.folder)
        ran, self.clock.now, engine = self._saved
        self.ran = ran.copy()
        vars(self.engine).clear()
        vars(self.engine).update(copy.deepcopy(engine))
        self.engine.on_wait = self.second

    @property
    def _copy(self) -> Path:
        return self.typed.folder.with_name("kept")

    def second(self) -> None:
        """Let other processes work for one second while slurmslice waits."""
        self.killer.away = True
        self.pass_time(1)
        self.work()
        self.killer.away = False

    def pass_time(self, seconds: float) -> None:
        """Advance the time; delayed jobs arrive."""
        self.clock.now += seconds
        self.engine.pass_time(seconds)

    def work(self) -> None:
        """Let every task that may start run to its end."""
        self.engine.work(self._task)

    def _task(self, job: str, order: SubmitRequest, index: int) -> int:
        """Act like the script: run the slices one after another, with their progress lines."""
        code, log = 0, order.folder / "tasks" / f"{index}.log"
        with log.open("a") as lines:
            for slot, key in enumerate(self.keys(order, index)):
                self.ran[key] += 1
                failed = int(key in self.fails and self.ran[key] == 1)
                code = code or failed
                for what in (f"start job={job}", f"end job={job}"):
                    end = f" exit={failed}" if what.startswith("end") else ""
                    at = int(self.clock.now)
                    lines.write(f"slurmslice {what} restart=0 at={at} host=n slot={slot}{end}\n")
        return code

    def keys(self, order: SubmitRequest, index: int) -> list[str]:
        """Return the slices of a task as its script reads them."""
        table = order.folder / "tasks.tsv"
        if not table.exists():
            return [str(index)]
        lines = table.read_text().splitlines()[1:]
        mine = lines[index * self.pack : (index + 1) * self.pack]
        return [line.split("\t")[1].removeprefix("x=") for line in mine]

    def submitted(self) -> Counter[str]:
        """Return the number of submissions of each slice, by the cluster's records."""
        return Counter(
            key
            for job in self.engine.jobs.values()
            for index in job.order.array
            for key in self.keys(job.order, index)
        )

    def to_the_end(self) -> None:
        """Let time pass and cron call tick until nothing is left to do."""
        for _ in range(30):
            self.pass_time(40)
            self.work()  # before the next poll, because a delayed job may run at once
            self.typed("tick", "--exit-code")
            if self.typed.code in (0, 1) and not self.engine.later:
                return
        raise AssertionError(f"it never ended: {self.typed('status')}")


@dataclass(frozen=True)
class Scene:
    """A command that is killed and typed again, and the result that it must have.

    Attributes:
        name: for a person.
        line: the command.
        before: the commands and events before it, as words or functions.
        after: the commands after it has succeeded.
        runs: the number of times that each slice must run.
        sent: the number of times that it must be submitted, if that is different.
        fails: the slices that fail at their first attempt.
        pack: slices in each task.
        codes: the possible exit codes of the command when it is typed again.
        setting: fields of the cluster.
    """

    name: str
    line: Line
    runs: dict[str, int]
    before: tuple[Line | Callable[[Play], None], ...] = ()
    after: tuple[Line, ...] = ()
    fails: frozenset[str] = frozenset()
    pack: int = 1
    sent: dict[str, int] = field(default_factory=dict)
    codes: tuple[int, ...] = (0,)
    setting: Callable[[FakeEngine], None] = lambda engine: None

    def attempt(self, play: Play, killer: Killer) -> None:
        """Play the scene once, killed at the killer's point."""
        play.back()
        self.setting(play.engine)
        play.killer = killer
        with pytest.MonkeyPatch.context() as patch:
            kill_at(killer, patch)
            try:
                said = play.typed(*self.line)
            except Killed:
                play.typed.capture.readouterr()
        killer.away = True
        if killer.error and killer.dead and play.typed.code:
            assert play.typed.code in (2, 3), f"{killer.where}: {said}"
            assert os.strerror(killer.error) in said, f"{killer.where}: {said}"
        said = play.typed(*self.line) if killer.dead else " ".join(play.typed.lines)
        assert play.typed.code in self.codes, f"{killer.where}: {said}"
        for line in self.after:
            said = play.typed(*line)
            allowed = (0, 5) if line[0] == "resubmit" else (0,)  # 5: it was done before
            assert play.typed.code in allowed, f"{killer.where}: {said}"
        play.to_the_end()
        assert play.ran == self.runs, f"{killer.where}: {play.ran}"
        if "sbatch" not in killer.where:  # a job that comes late is there, and is refused
            assert play.submitted() == (self.sent or self.runs), killer.where


def of(keys: Iterable[int], times: int = 1) -> dict[str, int]:
    """Return this number of times for each key."""
    return {str(key): times for key in keys}


def ran(play: Play) -> None:
    """End every task, and poll."""
    play.work()
    play.typed("status")


def but(*keys: int) -> dict[str, int]:
    """Return once for each of ten keys, except these."""
    return of([key for key in range(10) if key not in keys])


def refuses(why: EngineError, option: str = "") -> Callable[[FakeEngine], None]:
    """Make the cluster refuse once, or refuse every request that has an option with this value."""

    def no(order: SubmitRequest) -> None:
        said = list(order.overrides.values())
        if option in said if option else not said_already:
            said_already.append(why)
            raise why

    said_already: list[EngineError] = []

    def setting(engine: FakeEngine) -> None:
        said_already.clear()
        engine.on_submit = no

    return setting


def limited(play: Play) -> None:
    """Make the cluster accept at most four tasks of a user."""
    play.engine.most = 4


def thirty(play: Play) -> None:
    """Submit thirty slices, of which ten have not begun."""
    play.typed("render", "-a", "0-29", *TEN[2:])
    play.typed("submit", "--only", "20")


def twenty_failed(play: Play) -> None:
    """Let the first twenty slices fail; the others are submitted and pending."""
    ran(play)
    play.typed("submit")


def edited(play: Play) -> None:
    """Edit the script, as a person would."""
    script = play.typed.folder / "slurmslice-runs" / "demo" / "script.sh"
    script.write_text(f"{script.read_text()}# edited\n")


def sent(play: Play, name: str = "") -> None:
    """Act like ``sbatch script.sh``, or like it with another job name."""
    run = play.typed.folder / "slurmslice-runs" / "demo"
    token = json.loads((run / "run.json").read_text())["token"]
    folder, array = run / "submissions" / "001", parse_array("0-9")
    FakeEngine.submit(
        play.engine,
        SubmitRequest(
            1,
            name or f"demo-{token}",
            token,
            run / "script.sh",
            folder,
            array,
            NO_REQUEST,
            (),
            NO_REQUEST,
        ),
    )
    play.clock.now += 10  # the last poll of the queue is old


def by_hand(play: Play) -> None:
    """Submit the script by hand."""
    sent(play)


def by_another_name(play: Play) -> None:
    """Submit the script by hand under another name."""
    sent(play, "mine")


def ran_double(play: Play) -> None:
    """Let the job submitted by hand begin, so that the other job finds its claim."""
    play.engine.stopped.add("100")
    play.work()
    play.engine.stopped.clear()


def lost(play: Play) -> None:
    """Kill sbatch after the job exists."""
    play.engine.after_submit = end
    with pytest.raises(Killed):
        play.typed("submit")
    play.engine.after_submit = lambda order: None


def never_sent(play: Play) -> None:
    """Kill sbatch before it reaches Slurm, long ago."""
    play.engine.on_submit = end
    with pytest.raises(Killed):
        play.typed("submit")
    play.engine.on_submit = lambda order: None
    play.clock.now += 100


def refused(play: Play) -> None:
    """Submit a run with a mistake: everything is refused."""
    play.engine.on_submit = lambda order: no()
    play.typed("run", "--mem", "9T", *TEN)
    play.engine.on_submit = lambda order: None
    play.typed.code = 0


def no() -> None:
    """Refuse for good."""
    raise SubmissionRejectedError("no such node")


def write(*lines: str) -> Callable[[Play], None]:
    """Write a job file."""

    def step(play: Play) -> None:
        (play.typed.folder / "jobs").write_text("".join(f"{line}\n" for line in lines))

    return step


JOBS = ("--job-file", "jobs", "--name", "demo", "--engine", "slurm")
TEN = ("-a", "0-9", "--name", "demo", "--engine", "slurm", "--", "true", "{}")
NAMES = ("--grid", "x=0-9", "--name", "demo", "--engine", "slurm", "--", "true", "{x}")
MADE = ("render", *TEN)
PACKED = ("render", "--pack", "4", *TEN)
SCENES = [
    Scene("render", MADE, of(range(10)), after=(("submit",),)),
    Scene("render-names", ("render", *NAMES), of(range(10)), after=(("submit",),)),
    Scene("render-packed", PACKED, of(range(10)), after=(("submit",),), pack=4),
    Scene("submit", ("submit",), of(range(10)), (MADE,)),
    Scene("submit-names", ("submit",), of(range(10)), (("render", *NAMES),)),
    Scene("submit-packed", ("submit",), of(range(10)), (PACKED,), pack=4),
    Scene(
        "submit-a-few",
        ("submit", "--only", "3-5"),
        of(range(10)),
        (MADE,),
        after=(("submit",),),
        codes=(0, 2),
    ),
    Scene(
        "submit-chunks",
        ("submit",),
        of(range(10)),
        (("render", *NAMES),),
        setting=lambda engine: setattr(engine, "max_array_size", 4),
    ),
    Scene(
        "submit-limited",
        ("submit",),
        of(range(10)),
        (("render", *NAMES),),
        setting=lambda engine: setattr(engine, "most", 4),
    ),
    Scene(
        "submit-refused-for-now",
        ("submit",),
        of(range(10)),
        (MADE,),
        codes=(0, 3),
        after=(("submit",),),
        setting=refuses(SubmitLimitError("the queue is full")),
    ),
    Scene(
        "submit-too-many",
        ("submit",),
        of(range(10)),
        (("render", *NAMES),),
        codes=(0, 3),
        after=(("submit",),),
        setting=refuses(TooManyTasksError("MaxSubmit")),
    ),
    Scene(
        "submit-refused",
        ("submit", "--mem", "9T"),
        of(range(10)),
        (MADE,),
        codes=(0, 3),
        after=(("submit", "--mem", "1G"),),
        setting=refuses(SubmissionRejectedError("no such node"), "9T"),
    ),
    Scene(
        "resubmit",
        ("resubmit", "--mem", "2x"),
        {**of(range(10)), **of(range(3, 6), 2)},
        (("render", "--mem", "1G", *TEN), ("submit",), ran),
        codes=(0, 5),
        fails=frozenset("345"),
    ),
    Scene(
        "resubmit-refused",
        ("resubmit",),
        {**of(range(10)), **of(range(3, 6), 2)},
        (("render", *NAMES), ("submit",), ran),
        fails=frozenset("345"),
        codes=(0, 3, 5),
        after=(("resubmit",),),
        setting=refuses(SubmitLimitError("the queue is full")),
    ),
    Scene(
        "resubmit-packed",
        ("resubmit", "--mem", "2x"),
        {**of(range(10)), **of(range(3, 6), 2)},
        (("render", "--mem", "1G", "--pack", "4", *TEN), ("submit",), ran),
        pack=4,
        codes=(0, 5),
        fails=frozenset("345"),
    ),
    Scene(
        "run",
        ("run", "--max-attempts", "2", *TEN),
        {**of(range(10)), **of(range(3, 6), 2)},
        fails=frozenset("345"),
    ),
    Scene(
        "run-in-chunks",
        ("run", "--throttle", "3", *NAMES),
        of(range(10)),
        setting=lambda engine: setattr(engine, "max_array_size", 4),
    ),
    Scene(
        "run-packed",
        ("run", "--max-attempts", "2", "--pack", "4", *TEN),
        pack=4,
        runs={**of(range(10)), **of(range(3, 6), 2)},
        fails=frozenset("345"),
    ),
    Scene("cancel-all", ("cancel",), {}, (MADE, ("submit",)), sent=of(range(10))),
    Scene(
        "cancel-some",
        ("cancel", "demo", "x=2", "x=3", "x=8"),
        but(2, 3, 8),
        (("render", *NAMES), ("submit", "demo", "--only", "5"), ("submit", "demo", "--only", "2")),
        sent=but(8),
        after=(("submit",),),
    ),
    Scene(
        "cancel-queued",
        ("cancel", "demo", "x=2", "x=9"),
        but(2, 9),
        (limited, ("render", *NAMES), ("submit",)),
        sent=but(9),
    ),
    Scene(
        "throttle",
        ("throttle", "demo", "3"),
        of(range(10)),
        (("render", *NAMES), ("submit", "--only", "4"), ("submit", "--only", "4")),
        after=(("submit",),),
    ),
    Scene(
        "throttle-below",
        ("throttle", "demo", "1"),
        of(range(10)),
        (("render", *NAMES), ("submit", "--only", "4"), ("submit", "--only", "4")),
        after=(("throttle", "demo", "none"), ("submit",)),
    ),
    Scene("tick", ("tick",), of(range(10)), (limited, ("render", *NAMES), ("submit",), ran)),
    Scene("status", ("status",), of(range(10)), (MADE, ("submit",), Play.work)),
    Scene("status-by-hand", ("status",), of(range(10)), (MADE, by_hand)),
    Scene(
        "status-doubled",
        ("status",),
        of(range(10)),
        (MADE, ("submit",), by_hand, ran_double),
        sent=of(range(10), 2),
    ),
    Scene("attach", ("attach", "100"), of(range(10)), (MADE, by_another_name), codes=(0, 2)),
    Scene("doubt", ("submit",), of(range(10)), (MADE, lost)),
    Scene("doubt-nowhere", ("status",), of(range(10)), (MADE, never_sent), after=(("submit",),)),
    Scene(
        "breaker",
        ("tick",),
        {**of(range(20), 2), **of(range(20, 30))},
        (thirty, twenty_failed),
        after=(("submit", "--max-failures", "none"), ("resubmit",)),
        fails=frozenset(map(str, range(20))),
    ),
    Scene(
        "release",
        ("submit", "--max-failures", "none"),
        {**of(range(20), 2), **of(range(20, 30))},
        (thirty, twenty_failed, ("tick",)),
        after=(("resubmit",),),
        fails=frozenset(map(str, range(20))),
    ),
    Scene(
        "release-edited",
        ("resubmit", "--max-failures", "none"),
        {**of(range(20), 2), **of(range(20, 30))},
        (thirty, twenty_failed, ("tick",), edited),
        codes=(0, 5),
        fails=frozenset(map(str, range(20))),
        sent=of(range(30), 2),
    ),
    Scene(
        "extend",
        ("extend", "demo", "--grid", "x=0-9"),
        of(range(10)),
        (("render", "--grid", "x=0-5", *NAMES[2:]), ("submit",)),
        codes=(0, 5),
    ),
    Scene(
        "correct",
        ("extend", "demo", "--job-file", "jobs"),
        of(range(1, 5)),
        (write("a", "b", "c"), ("render", *JOBS), ("submit",), write("a", "B", "c", "d")),
        sent={**of(range(1, 5)), "2": 2},
        codes=(0, 5),
    ),
    Scene("made-anew", ("run", "--mem", "1G", *TEN), of(range(10)), (refused,)),
]

LEAST = {
    "render": 25, "render-names": 30, "render-packed": 30, "submit": 30, "submit-names": 30,
    "submit-packed": 30, "submit-a-few": 30, "submit-chunks": 80, "submit-limited": 30,
    "submit-refused-for-now": 20, "submit-too-many": 20, "submit-refused": 20, "resubmit": 30,
    "resubmit-refused": 25, "resubmit-packed": 35, "run": 120, "run-in-chunks": 160,
    "run-packed": 120, "cancel-all": 17, "cancel-some": 20, "cancel-queued": 20, "throttle": 18,
    "throttle-below": 18, "tick": 28, "status": 8, "status-by-hand": 20,
    "status-doubled": 9, "attach": 12, "doubt": 22, "doubt-nowhere": 12, "breaker": 20,
    "release": 16, "release-edited": 40, "extend": 30, "correct": 40, "made-anew": 80,
}  # fmt: skip
"""The least number of points of each scene."""

NO_RIGHT = (errno.EDQUOT, errno.EROFS, errno.EACCES)
"""Other errors of a write: the quota, a read-only file system, another user's folder."""

FULL = [scene for scene in SCENES if scene.name in {
    "render-names", "submit-names", "resubmit", "cancel-some", "throttle", "tick", "attach",
    "status-by-hand", "doubt-nowhere", "extend", "made-anew",
}]  # fmt: skip


@pytest.fixture
def play(typed: Typed, engine: FakeEngine, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Make a folder below the test's, and a clock for all of slurmslice."""
    monkeypatch.setattr(Run.__init__, "__defaults__", (clock,))
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    typed.folder = typed.folder / "here"
    typed.folder.mkdir()
    monkeypatch.delenv("SLURMSLICE_RUNS")
    monkeypatch.chdir(typed.folder)
    return Play(typed, engine, clock)


@pytest.fixture
def set_up(play: Play) -> Callable[[Scene], Play]:
    """Play everything before a scene's command."""

    def build(scene: Scene) -> Play:
        play.pack, play.fails = scene.pack, scene.fails
        for step in scene.before:
            step(play) if callable(step) else play.typed(*step)
            assert play.typed.code == 0, play.typed.lines
        play.keep()
        return play

    return build


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_killed_anywhere_the_same_command_continues(
    set_up: Callable[[Scene], Play], scene: Scene
) -> None:
    """Promise 10: killed at any point, each slice is done as often as requested."""
    play = set_up(scene)
    found = points(lambda killer: scene.attempt(play, killer))
    assert found >= LEAST[scene.name]


def test_there_are_points_enough() -> None:
    """Every scene has at least its recorded number of points, so none is lost unnoticed."""
    assert sum(LEAST[scene.name] for scene in SCENES) >= 1000


@pytest.mark.parametrize(
    ("scene", "error"),
    [*((scene, errno.ENOSPC) for scene in FULL), *((FULL[1], error) for error in NO_RIGHT)],
    ids=lambda value: getattr(value, "name", value),
)
def test_a_full_disk_is_reported_and_nothing_is_lost(
    set_up: Callable[[Scene], Play], scene: Scene, error: int
) -> None:
    """From any write on all fail: it is reported, and with space the same command continues."""
    play = set_up(scene)
    assert points(lambda killer: scene.attempt(play, killer), error) > 10


@pytest.mark.parametrize(
    "line",
    [("submit",), ("resubmit",), ("run",), ("cancel",), ("throttle", "2"), ("tick",),
     ("attach", "100")],
    ids=lambda line: line[0],
)  # fmt: skip
def test_a_copy_of_a_run_never_acts_as_the_run(play: Play, line: Line) -> None:
    """It submits, cancels and records nothing for the original's jobs. Looking is allowed."""
    play.typed(*MADE)
    play.typed("submit", "--only", "4")
    folder = play.typed.folder / "slurmslice-runs"
    shutil.copytree(folder / "demo", folder / "copied")
    verb, *rest = line
    play.typed(verb, "copied", *rest)
    assert (play.typed.code, play.typed.error) == (2, "run-is-a-copy")
    assert play.typed.fields == {"run": "copied", "other": f"{folder}/demo"}
    assert (len(play.engine.jobs), play.engine.cancelled, play.engine.throttled) == (1, [], [])
    play.typed("status", "copied")
    assert play.typed.code == 0


def test_a_run_that_was_moved_can_be_cancelled_and_not_submitted(play: Play) -> None:
    """Its tasks would write to the old folder, so the error names the lines to change."""
    play.typed(*MADE)
    play.typed("submit", "--only", "4")
    folder = play.typed.folder / "slurmslice-runs"
    (folder / "demo").rename(folder / "moved")
    play.typed("submit", "moved")
    assert (play.typed.code, play.typed.error) == (2, "script-output-elsewhere")
    play.typed("cancel", "moved")
    assert play.typed.code == 0
    assert play.engine.cancelled == [("100", None)]
