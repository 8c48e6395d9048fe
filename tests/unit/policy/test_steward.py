"""What wakes a steward, and how long it pauses: values in, values out."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slurmslice.engines.stewards import LiveTask
from slurmslice.policy.steward_rounds import (
    DAY_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    next_pause_s,
)
from slurmslice.policy.steward_wake import FIRST_ROUNDS, MAX_TERMS, make_wake
from slurmslice.run.steward_record import Round, parse_rounds
from tests.support.paths import REPOSITORY

NOW = 1_800_000_000.0
FORM = re.search(r"^form='(.*)'$", (REPOSITORY / "templates" / "steward.sh").read_text(), re.M)


def test_the_first_failure_or_the_end_of_all_wakes_it() -> None:
    """Each live task is named, then the largest array, then the heartbeat of the newest task."""
    tasks = [LiveTask("7", 0, NOW - 600), LiveTask("7", 3, NOW - 120), LiveTask("9", 1)]
    wake = make_wake(tasks, now=NOW)
    assert wake.dependency == (
        "afternotok:7_0?afternotok:7_3?afternotok:9_1?afterany:7?after:7_3+32"
    )
    assert wake.every_failure


def test_if_slices_wait_for_room_each_end_wakes_it() -> None:
    """Another slice can be submitted as soon as one has ended."""
    wake = make_wake([LiveTask("7", 0, NOW)], now=NOW, any_end=True)
    assert wake.dependency == "afterany:7_0?afterany:7?after:7_0+30"


def test_while_nothing_has_started_the_heartbeat_begins_with_the_first_start() -> None:
    """The steward does not run while nothing runs."""
    wake = make_wake([LiveTask("7", 0), LiveTask("7", 1)], now=NOW)
    assert wake.dependency.endswith("?after:7_0+30")
    assert wake.none_started


def test_without_tasks_it_is_a_time() -> None:
    """A list of dependencies would hold at once."""
    assert make_wake([], now=NOW).words == ("StartTime=now+120",)
    assert make_wake([], now=NOW, pause_s=960).words == ("StartTime=now+960",)


def test_pause_and_list_are_both_words_and_options() -> None:
    """The same wake for scontrol and for sbatch."""
    wake = make_wake([LiveTask("7", 0, NOW)], now=NOW, pause_s=240)
    assert wake.words == ("StartTime=now+240", f"Dependency={wake.dependency}")
    assert wake.options == (("begin", "now+240"), ("dependency", wake.dependency))


tasks = st.lists(
    st.builds(
        LiveTask,
        st.integers(1, 150).map(str),
        st.integers(0, 400_000),
        st.one_of(st.none(), st.floats(NOW - 1e6, NOW + 10)),
    ),
    max_size=150,
)


@given(tasks, st.integers(0, 3600), st.booleans())
def test_a_list_is_short_names_only_live_tasks_and_bash_accepts_it(
    live: list[LiveTask], pause_s: int, any_end: bool
) -> None:
    """At most 100 terms; purged ids cannot be in it; bash reads what Python wrote."""
    wake = make_wake(live, now=NOW, pause_s=pause_s, any_end=any_end)
    terms = wake.dependency.split("?") if wake.dependency else []
    assert len(terms) <= MAX_TERMS
    known = {task.name for task in live} | {task.job for task in live}
    assert {term.split(":")[1].partition("+")[0] for term in terms} <= known
    assert wake.words
    assert FORM is not None
    assert re.fullmatch(FORM[1], " ".join(("wait", *wake.words)))


def test_too_many_tasks_leave_arrays_and_a_faster_heartbeat() -> None:
    """Then a failure is seen by the heartbeat, soon in the first rounds."""
    tasks = [LiveTask("7", n, NOW) for n in range(99)]
    assert make_wake(tasks, now=NOW).dependency == "afterany:7?after:7_0+2"
    later = make_wake(tasks, now=NOW, rounds=FIRST_ROUNDS)
    assert later.dependency == "afterany:7?after:7_0+10"
    assert make_wake(tasks[:98], now=NOW).every_failure


def rounds(*changed: bool, apart: float = 600) -> list[Round]:
    """Return rounds at regular times, the last one now."""
    last = len(changed) - 1
    return [Round(NOW - (last - n) * apart, "2", one) for n, one in enumerate(changed)]


@pytest.mark.parametrize(
    ("changed", "pause"),
    [
        ((), 0),
        ((True,), 0),
        ((False,), 120),
        ((False, False), 240),
        ((True, False, False, False), 480),
        ((False, False, True), 0),
        ((False,) * 6, 3600),
        ((False,) * 20, 3600),
    ],
)
def test_each_round_in_vain_doubles_the_pause(changed: tuple[bool, ...], pause: int) -> None:
    """From 2 minutes to an hour; a change sets it back."""
    assert next_pause_s(rounds(*changed), NOW) == pause
    assert FIRST_PAUSE_S == 120


@given(st.lists(st.booleans(), min_size=1, max_size=400))
@example([True] * 200)
@example([True, False] * 100)
@example([True] * 23 + [False] * 30 + [True] * 100)
def test_no_day_has_more_than_48_rounds(changes: list[bool]) -> None:
    """Whatever the rounds do, and even if Slurm starts each at once."""
    now, done = NOW, list[Round]()
    for changed in changes:
        done.append(Round(now, "2", changed))
        now += max(next_pause_s(done, now), 1)
    times = [one.at for one in done]
    assert max(sum(at <= t < at + DAY_S for t in times) for at in times) <= 48
    assert next_pause_s(done, now) <= LONGEST_PAUSE_S


def test_rounds_come_back_from_their_lines() -> None:
    """A damaged line is left out."""
    some = Round(NOW, "2", True, "a slice fails", "no", NOW + 9)
    assert parse_rounds([some.to_line(), b"{torn", b"[]", some.to_line()]) == [some, some]
