"""Requests: the numbers in sbatch's options, changes, scaling, JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.sbatch import accumulates
from slurmslice.sbatch.options import MEMORY_OPTIONS
from slurmslice.sbatch.resource_request import NO_REQUEST, ResourceRequest
from slurmslice.spec.packing import Packing, slice_request, task_request
from tests.support.errors import raises_error

VALUES = st.text(st.characters() | st.sampled_from("\udc80\udcff"), max_size=8)
ANY = st.dictionaries(st.sampled_from(sorted(sbatch.known_options())), VALUES, max_size=6)
REQUESTS = ANY.map(NO_REQUEST.overridden_by)
SIZES = st.integers(1, 10**5)


def told(options: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """Return the options that differ after a person's changes."""
    before = ResourceRequest.of(options)
    return dict(before.with_changes(changes).differing_from(before))


# -- laws ------------------------------------------------------------------------------------


@given(ANY)
def test_a_request_is_a_mapping_in_order(options: dict[str, str]) -> None:
    """Lookup, order and length are those of the options; equal requests are one dict key."""
    request = ResourceRequest.of(options)
    assert list(request.items()) == list(options.items()) == list(request.options)
    assert len({request: 1, ResourceRequest.of(request): 2}) == 1


@given(REQUESTS)
def test_a_request_survives_json(request_: ResourceRequest) -> None:
    """Through real JSON text, in order, surrogates too."""
    assert ResourceRequest.from_json(json.loads(json.dumps(request_.to_json()))) == request_


@given(REQUESTS, REQUESTS)
def test_the_difference_is_enough_to_override(one: ResourceRequest, other: ResourceRequest) -> None:
    """A request over another one equals the other plus the difference."""
    both = one.overridden_by(other)
    replaced = {name: value for name, value in other.items() if not accumulates(name)}
    assert both.items() >= replaced.items()
    assert one.overridden_by(both.differing_from(one)) == both
    assert one.overridden_by(NO_REQUEST) == one
    assert not one.differing_from(one)


@given(REQUESTS)
def test_argv_has_one_word_per_option(request_: ResourceRequest) -> None:
    """Each word names its option, and ends with its value."""
    words = request_.to_argv()
    assert len(words) == len(request_)
    for word, (name, value) in zip(words, request_.options, strict=True):
        assert word.startswith(f"--{name}")
        assert word.endswith(value)


@given(st.sampled_from(["mem", "mem-per-cpu"]), SIZES, st.integers(1, 64), st.integers(1, 4))
def test_a_change_of_memory_keeps_one_memory_option(
    used: str, mib: int, cpus: int, factor: int
) -> None:
    """Of the three memory options the one in force is changed, and no other is added."""
    before = ResourceRequest.of({used: f"{mib}M", "cpus-per-task": str(cpus)})
    for name in ("mem", "mem-per-cpu"):
        after = before.with_changes({name: f"{factor}x"})
        assert after.mem_mib == (before.mem_mib or 0) * factor
        assert [option for option in after if option in MEMORY_OPTIONS] == [used]


@given(st.integers(1, 50), st.integers(1, 8), SIZES, SIZES, st.integers(1, 64))
def test_dividing_a_task_request_restores_the_slice_request(
    pack: int, at_once: int, mib: int, seconds: int, cpus: int
) -> None:
    """Scaled to a task and divided again, every number of a slice's request is restored."""
    packing = Packing(pack, min(at_once, pack), seconds)
    asked = ResourceRequest.of(
        {"mem": f"{mib}M", "time": f"0:{seconds}", "cpus-per-task": str(cpus), "qos": "x"}
    )
    of_task = task_request(asked, packing)
    back = slice_request(of_task, packing)
    numbers = [(one.cpus, one.mem_mib, one.time_s, one["qos"]) for one in (asked, back)]
    assert numbers[0] == numbers[1]
    at_a_time = packing.at_once if pack > 1 else 1
    assert (of_task.cpus, of_task.mem_mib) == (cpus * at_a_time, mib * at_a_time)


# -- numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "cpus", "mem_mib", "time_s"),
    [
        ({}, 1, None, None),
        ({"cpus-per-task": "4", "mem": "4G", "time": "1:00:00"}, 4, 4096, 3600),
        ({"ntasks": "3", "cpus-per-task": "4", "mem-per-cpu": "1G"}, 12, 12288, None),
        ({"nodes": "2", "mem": "4G"}, 2, 8192, None),
        ({"nodes": "2-4", "ntasks-per-node": "8", "mem": "4G"}, 16, 8192, None),
        ({"nodes": "4", "ntasks": "2", "mem": "1G"}, 2, 2048, None),
        ({"mem": "0"}, 1, None, None),
        ({"gpus": "a100:2", "mem-per-gpu": "8G", "cpus-per-gpu": "6"}, 12, 16384, None),
        ({"gpus-per-node": "2", "nodes": "2", "mem-per-gpu": "1G"}, 2, 4096, None),
        ({"gpus-per-task": "2", "ntasks": "3", "mem-per-gpu": "1G"}, 3, 6144, None),
        ({"gres": "gpu:a100:2", "mem-per-gpu": "1G"}, 1, 2048, None),
        ({"gres": "gpu", "mem-per-gpu": "1G"}, 1, 1024, None),
        ({"gres": "gpu:4", "mem-per-gpu": "1G"}, 1, 4096, None),
        ({"gres": "lustre:1", "mem-per-gpu": "1G"}, 1, None, None),
        ({"time": "UNLIMITED", "time-min": "5"}, 1, None, None),
    ],
)  # fmt: skip
def test_the_numbers_of_a_task(
    options: dict[str, str], cpus: int, mem_mib: int | None, time_s: int | None
) -> None:
    """CPUs, memory and time of one task, over all its nodes, by sbatch's own rules."""
    found = ResourceRequest.of(options)
    assert (found.cpus, found.mem_mib, found.time_s) == (cpus, mem_mib, time_s)


@pytest.mark.parametrize(
    ("name", "value"), [("cpus-per-task", "x"), ("mem", "4Q"), ("time", "soon"), ("ntasks", "0")]
)
def test_a_request_of_a_bad_edit(name: str, value: str) -> None:
    """A wrong value in the edited script is an error, not a guess."""
    with pytest.raises(BadInputError):
        ResourceRequest(((name, value),)).verify()


# -- change ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "changes", "given"),
    [
        ({"mem": "4G"}, {"mem": "2x"}, {"mem": "8G"}),
        ({"mem": "4G"}, {"mem": "8G"}, {"mem": "8G"}),
        ({"mem": "4G"}, {"mem": "4G"}, {}),
        ({}, {"mem": "8G"}, {"mem": "8G"}),
        ({"mem-per-cpu": "2G", "cpus-per-task": "4"}, {"mem": "2x"}, {"mem-per-cpu": "4G"}),
        ({"mem-per-cpu": "2G", "cpus-per-task": "4"}, {"mem": "16G"}, {"mem-per-cpu": "4G"}),
        ({"mem-per-cpu": "1G", "cpus-per-task": "3"}, {"mem": "4G"}, {"mem-per-cpu": "1366M"}),
        ({"mem": "8G", "cpus-per-task": "4"}, {"mem-per-cpu": "4G"}, {"mem": "16G"}),
        ({"mem": "8G", "nodes": "2", "ntasks": "4"}, {"mem-per-cpu": "4G"}, {}),
        ({"mem-per-gpu": "4G"}, {"mem": "1.5x"}, {"mem-per-gpu": "6G"}),
        ({"time": "30"}, {"time": "1.5x", "partition": "long"},
         {"time": "00:45:00", "partition": "long"}),
        ({"no-requeue": ""}, {"requeue": ""}, {"requeue": ""}),
        ({"mem": "4G"}, {"c": "2"}, {"cpus-per-task": "2"}),
    ],
)  # fmt: skip
def test_a_change_uses_the_memory_option_of_the_script(
    options: dict[str, str], changes: dict[str, str], given: dict[str, str]
) -> None:
    """sbatch accepts no ``--mem`` with ``--mem-per-cpu``: the script's option is changed."""
    assert told(options, changes) == given


@pytest.mark.parametrize(
    ("options", "changes", "code", "fields"),
    [
        ({}, {"mem": "2x"}, "nothing-to-multiply", {"option": "mem"}),
        ({}, {"time": "2x"}, "nothing-to-multiply", {"option": "time"}),
        ({"mem": "0"}, {"mem": "2x"}, "cannot-multiply", {"option": "mem"}),
        ({"time": "UNLIMITED"}, {"time": "2x"}, "cannot-multiply", {"option": "time"}),
        ({"mem-per-gpu": "4G"}, {"mem": "8G"}, "options-conflict", {"other": "mem-per-gpu"}),
        ({"mem-per-cpu": "4G"}, {"mem": "0"}, "options-conflict", {"other": "mem-per-cpu"}),
        ({"mem": "4G"}, {"ntasks": "2x"}, "bad-number", {"option": "ntasks"}),
        ({"mem": "4G"}, {"output": "x"}, "option-not-allowed", {"option": "output"}),
        ({"mem": "4G"}, {"mem": "lots"}, "bad-memory", {"option": "mem"}),
    ],
)
def test_an_impossible_change_is_refused(
    options: dict[str, str], changes: dict[str, str], code: str, fields: dict[str, object]
) -> None:
    """No value to multiply, a conflicting option or one of slurmslice's own: an error."""
    with raises_error(BadInputError, code, **fields):
        ResourceRequest.of(options).with_changes(changes)
