"""Which slices go into which submission."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.errors import BadInput
from slurmslice.plan import batch, check_size, grouped_by_changes, is_direct, to_resubmit
from slurmslice.slices import SliceTable, from_range
from slurmslice.states import FINAL, State


@given(st.lists(st.integers(0, 200), unique=True, min_size=1), st.data())
def test_each_slice_is_carried_once_by_the_index_that_is_its_key(
    keys: list[int], data: st.DataObject
) -> None:
    """Direct form: indices and rows are paired, and index = key, whatever the order."""
    table = SliceTable(tuple(map(str, keys)))
    rows = data.draw(st.lists(st.sampled_from(range(len(keys))), unique=True, min_size=1))
    made = batch(table, rows, direct=True, throttle=None)
    assert sorted(made.rows) == sorted(rows)
    assert [int(table.keys[row]) for row in made.rows] == list(made.array)


def test_the_table_form_counts_from_zero() -> None:
    """Table form: index i carries row i of the submission's own table."""
    made = batch(SliceTable(("a", "b", "c", "d")), [1, 3], direct=False, throttle=2)
    assert (made.rows, str(made.array)) == ((1, 3), "0-1%2")


def test_the_form_depends_on_the_highest_index() -> None:
    """MaxArraySize 1001 admits the index 1000, and no higher."""
    assert is_direct(from_range("0-1000")[0], 1001)
    assert not is_direct(from_range("5-1001")[0], 1001)
    assert not is_direct(SliceTable(("a",)), 1001)


def test_more_than_one_array_holds_is_refused() -> None:
    """The error says what the highest index is."""
    with pytest.raises(BadInput, match="highest is 1000"):
        check_size(from_range("0-1001")[0], False, 1001)
    check_size(from_range("0-1000")[0], True, 1001)
    check_size(from_range("1000-2000")[0], False, 1001)


def test_an_expression_that_sbatch_would_not_take_is_refused() -> None:
    """sbatch takes 4096 bytes of --array."""
    keys = [str(n) for n in range(10**8, 10**8 + 5000) if n % 3 and n % 7]
    with pytest.raises(BadInput, match="4096"):
        batch(SliceTable(tuple(keys)), range(len(keys)), direct=True, throttle=None)


def test_distinct_requests_are_distinct_submissions() -> None:
    """Slices that ask for the same go together."""
    big = (("mem", "8G"),)
    assert grouped_by_changes([1, 2, 3], {2: big}) == [([1, 3], ()), ([2], big)]


@given(st.lists(st.sampled_from(State)), st.none() | st.frozensets(st.sampled_from(State)))
def test_nothing_in_flight_is_ever_submitted_again(
    states: list[State], chosen: frozenset[State] | None
) -> None:
    """Whatever states a person names, PENDING, RUNNING and SUBMITTED are left alone."""
    for row in to_resubmit(states, chosen):
        assert states[row] in FINAL | {State.WAITING, State.UNKNOWN}
        assert chosen is None or states[row] in chosen


def test_without_names_failures_are_taken() -> None:
    """Any final state but COMPLETED and CANCELLED."""
    states = list(State)
    taken = {states[row] for row in to_resubmit(states, None)}
    assert taken == FINAL - {State.COMPLETED, State.CANCELLED}
