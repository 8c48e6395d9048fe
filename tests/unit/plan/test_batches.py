"""Batches carry each slice once, and the shares never exceed the throttle."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slurmslice.plan.batches import (
    MAX_ARRAY_TEXT_BYTES,
    ThrottleShare,
    can_be_direct,
    compute_shares,
    distribute_round_robin,
    make_batch,
    may_resubmit,
    rows_that_fit,
)
from slurmslice.slices.slice_table import SliceTable
from slurmslice.slices.sources.array_range import slices_from_range
from slurmslice.status.states import FINAL_STATES, State


@given(st.lists(st.integers(0, 200), unique=True, min_size=1), st.data())
def test_direct_form_carries_each_slice_once_by_its_key(
    keys: list[int], data: st.DataObject
) -> None:
    """Direct form: index = key for each row, in any order of the rows."""
    table = SliceTable(tuple(map(str, keys)))
    rows = data.draw(st.lists(st.sampled_from(range(len(keys))), unique=True, min_size=1))
    made = make_batch(table, rows, direct=True, pack=1, throttle=None)
    assert sorted(made.rows) == sorted(rows)
    assert [int(table.keys[row]) for row in made.rows] == list(made.array)


def test_table_form_indices_start_at_zero() -> None:
    """Table form: index i carries row i of the submission's own table."""
    made = make_batch(SliceTable(("a", "b", "c", "d")), [1, 3], direct=False, pack=1, throttle=2)
    assert (list(made.rows), str(made.array)) == ([1, 3], "0-1%2")


def test_the_form_depends_on_the_highest_index() -> None:
    """MaxArraySize 1001 allows the index 1000 and none above it; a pack needs a table."""
    assert can_be_direct(slices_from_range("0-1000")[0], 1001, 1)
    assert not can_be_direct(slices_from_range("5-1001")[0], 1001, 1)
    assert not can_be_direct(SliceTable(("a",)), 1001, 1)
    assert not can_be_direct(slices_from_range("0-9")[0], 1001, 2)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 7))
def test_batches_carry_each_slice_exactly_once(slices: int, most: int, pack: int) -> None:
    """For all sizes: each row once, no submission too large, all packs full but the last."""
    table = SliceTable(tuple(f"k{n}" for n in range(slices)))
    left = list(range(slices))
    carried: list[int] = []
    while left:
        rows = rows_that_fit(table, left, direct=False, pack=pack, most=most)
        made = make_batch(table, rows, direct=False, pack=pack, throttle=None)
        assert 1 <= len(made.array) <= most
        assert len(made.array) == -(-len(rows) // pack)
        carried += made.rows
        left = [row for row in left if row not in set(rows)]
    assert sorted(carried) == list(range(slices))


def test_array_text_never_exceeds_the_limit_of_sbatch() -> None:
    """sbatch accepts 4096 bytes of --array: the next submission carries the rest."""
    keys = [str(n) for n in range(10**8, 10**8 + 5000) if n % 3 and n % 7]
    table = SliceTable(tuple(keys))
    left, rounds = list(range(len(keys))), 0
    while left:
        rows = rows_that_fit(table, left, direct=True, pack=1, most=10**9)
        made = make_batch(table, rows, direct=True, pack=1, throttle=None)
        assert len(str(made.array)) <= MAX_ARRAY_TEXT_BYTES
        assert len(str(made.array)) > MAX_ARRAY_TEXT_BYTES / 2 or len(rows) == len(left)
        left = [row for row in left if row not in set(rows)]
        rounds += 1
    assert rounds > 1


@given(st.integers(1, 200), st.integers(1, 20))
def test_neighbours_go_to_different_tasks(slices: int, pack: int) -> None:
    """Round-robin: the slices of a task are as far apart as possible."""
    order, tasks = distribute_round_robin(range(slices), pack), -(-slices // pack)
    assert sorted(order) == list(range(slices))
    for first in range(0, slices, pack):
        one = order[first : first + pack]
        assert all(b - a >= tasks - 1 for a, b in pairwise(one))


@given(st.sampled_from(State))
def test_slices_in_flight_are_never_submitted_again(state: State) -> None:
    """A person may name any state: PENDING, RUNNING and SUBMITTED are still refused."""
    assert may_resubmit(state) == (state in FINAL_STATES | {State.WAITING, State.UNKNOWN})


SHARES = st.lists(
    st.builds(
        lambda number, running, more, share: ThrottleShare(number, running + more, running, share),
        st.integers(1, 99),
        st.integers(0, 9),
        st.integers(0, 9),
        st.none() | st.integers(0, 20),
    ),
    max_size=5,
    unique_by=lambda array: array.number,
)


@given(st.integers(1, 30), SHARES)
def test_shares_never_exceed_the_throttle(limit: int, arrays: list[ThrottleShare]) -> None:
    """Allowed tasks and the spare share stay within the limit; only running tasks may exceed it."""
    arrays = [array for array in arrays if array.open_tasks]
    shares, spare = compute_shares(limit, arrays)
    after = [
        ThrottleShare(c.number, c.open_tasks, c.running_tasks, shares.get(c.number, c.share))
        for c in arrays
    ]
    assert all(share >= 0 for share in shares.values())
    assert sum(array.allowed_tasks for array in after) + spare <= limit
    running = sum(array.running_tasks for array in arrays)
    assert sum(array.used_tasks for array in after) + spare <= max(limit, running)


@given(st.integers(1, 30), SHARES)
def test_no_share_is_idle(limit: int, arrays: list[ThrottleShare]) -> None:
    """A free share goes to arrays with waiting tasks first, then to the next submission."""
    arrays = [array for array in arrays if array.open_tasks]
    shares, spare = compute_shares(limit, arrays)
    after = [
        ThrottleShare(c.number, c.open_tasks, c.running_tasks, shares.get(c.number, c.share))
        for c in arrays
    ]
    if spare:
        assert all(array.used_tasks == array.open_tasks for array in after)
    elif sum(array.used_tasks for array in arrays) <= limit:
        assert sum(array.used_tasks for array in after) == limit
