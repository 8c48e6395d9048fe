"""Which slices go into which submission."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from slurmslice.plan import (
    ARRAY_TEXT_LIMIT,
    Claim,
    batch,
    dealt,
    is_direct,
    may_resubmit,
    portion,
    shared_out,
)
from slurmslice.slices import SliceTable, from_range
from slurmslice.states import FINAL, State


@given(st.lists(st.integers(0, 200), unique=True, min_size=1), st.data())
def test_each_slice_is_carried_once_by_the_index_that_is_its_key(
    keys: list[int], data: st.DataObject
) -> None:
    """Direct form: indices and rows are paired, and index = key, whatever the order."""
    table = SliceTable(tuple(map(str, keys)))
    rows = data.draw(st.lists(st.sampled_from(range(len(keys))), unique=True, min_size=1))
    made = batch(table, rows, direct=True, pack=1, throttle=None)
    assert sorted(made.rows) == sorted(rows)
    assert [int(table.keys[row]) for row in made.rows] == list(made.array)


def test_the_table_form_counts_from_zero() -> None:
    """Table form: index i carries row i of the submission's own table."""
    made = batch(SliceTable(("a", "b", "c", "d")), [1, 3], direct=False, pack=1, throttle=2)
    assert (list(made.rows), str(made.array)) == ([1, 3], "0-1%2")


def test_the_form_depends_on_the_highest_index() -> None:
    """MaxArraySize 1001 admits the index 1000, and no higher; a pack needs a table."""
    assert is_direct(from_range("0-1000")[0], 1001, 1)
    assert not is_direct(from_range("5-1001")[0], 1001, 1)
    assert not is_direct(SliceTable(("a",)), 1001, 1)
    assert not is_direct(from_range("0-9")[0], 1001, 2)


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 7))
def test_portions_carry_every_slice_exactly_once(slices: int, most: int, pack: int) -> None:
    """Whatever the sizes: each row once, no submission above its bound, packs full but the last."""
    table = SliceTable(tuple(f"k{n}" for n in range(slices)))
    left = list(range(slices))
    carried: list[int] = []
    while left:
        rows = portion(table, left, direct=False, pack=pack, most=most)
        made = batch(table, rows, direct=False, pack=pack, throttle=None)
        assert 1 <= len(made.array) <= most
        assert len(made.array) == -(-len(rows) // pack)
        carried += made.rows
        left = [row for row in left if row not in set(rows)]
    assert sorted(carried) == list(range(slices))


def test_a_submission_fits_into_what_sbatch_takes() -> None:
    """sbatch takes 4096 bytes of --array: what does not fit goes into the next submission."""
    keys = [str(n) for n in range(10**8, 10**8 + 5000) if n % 3 and n % 7]
    table = SliceTable(tuple(keys))
    left, rounds = list(range(len(keys))), 0
    while left:
        rows = portion(table, left, direct=True, pack=1, most=10**9)
        made = batch(table, rows, direct=True, pack=1, throttle=None)
        assert len(str(made.array)) <= ARRAY_TEXT_LIMIT
        assert len(str(made.array)) > ARRAY_TEXT_LIMIT / 2 or len(rows) == len(left)
        left = [row for row in left if row not in set(rows)]
        rounds += 1
    assert rounds > 1


@given(st.integers(1, 200), st.integers(1, 20))
def test_neighbours_do_not_share_a_task(slices: int, pack: int) -> None:
    """Striped: the slices of a task are as far from one another as they can be."""
    order, tasks = dealt(range(slices), pack), -(-slices // pack)
    assert sorted(order) == list(range(slices))
    for first in range(0, slices, pack):
        hand = order[first : first + pack]
        assert all(b - a >= tasks - 1 for a, b in pairwise(hand))


@given(st.sampled_from(State))
def test_nothing_in_flight_is_ever_submitted_again(state: State) -> None:
    """Whatever states a person names, PENDING, RUNNING and SUBMITTED are left alone."""
    assert may_resubmit(state) == (state in FINAL | {State.WAITING, State.UNKNOWN})


CLAIMS = st.lists(
    st.builds(
        lambda number, running, more, share: Claim(number, running + more, running, share),
        st.integers(1, 99),
        st.integers(0, 9),
        st.integers(0, 9),
        st.none() | st.integers(0, 20),
    ),
    max_size=5,
    unique_by=lambda claim: claim.number,
)


@given(st.integers(1, 30), CLAIMS)
def test_shares_never_let_more_run_than_the_throttle(limit: int, claims: list[Claim]) -> None:
    """What arrays may start, and what is left for the next, is within it, but for what runs."""
    claims = [claim for claim in claims if claim.open]
    shares, spare = shared_out(limit, claims)
    after = [Claim(c.number, c.open, c.running, shares.get(c.number, c.share)) for c in claims]
    assert all(share >= 0 for share in shares.values())
    assert sum(claim.may for claim in after) + spare <= limit
    running = sum(claim.running for claim in claims)
    assert sum(claim.taken for claim in after) + spare <= max(limit, running)


@given(st.integers(1, 30), CLAIMS)
def test_no_share_lies_idle(limit: int, claims: list[Claim]) -> None:
    """What is free goes to arrays with tasks waiting before it is left for the next."""
    claims = [claim for claim in claims if claim.open]
    shares, spare = shared_out(limit, claims)
    after = [Claim(c.number, c.open, c.running, shares.get(c.number, c.share)) for c in claims]
    if spare:
        assert all(claim.taken == claim.open for claim in after)
    elif sum(claim.taken for claim in claims) <= limit:
        assert sum(claim.taken for claim in after) == limit
