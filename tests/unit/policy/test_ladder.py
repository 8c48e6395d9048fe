"""The next step of a slice: ladders, counts, caps. No policy asks for more than its limits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.policy.ladder import (
    DEFAULT_ATTEMPTS,
    MEMORY_CAP,
    MOST_UNCOUNTED,
    TIME_CAP,
    Bounds,
    Left,
    RepairPolicy,
    attempts_used,
    foresee,
    next_step,
    request_changes,
    seconds_until,
)
from slurmslice.policy.repair_rules import Step, StepKind
from slurmslice.sbatch.resource_request import ResourceRequest

RETRY = RepairPolicy(DEFAULT_ATTEMPTS, retry=True)
MORE_MEMORY = Step(StepKind.MORE_MEMORY)


def asked(**options: str) -> ResourceRequest:
    """Return a request."""
    return ResourceRequest.of({name.replace("_", "-"): value for name, value in options.items()})


def on(*rules: str, attempts: int = DEFAULT_ATTEMPTS, retry: bool = False) -> RepairPolicy:
    """Return a policy with rules."""
    return RepairPolicy(attempts, retry, rules)


def values(policy: RepairPolicy, cause: str, bounds: Bounds, name: str) -> list[str | None]:
    """Return the values of an option on a ladder, without its end."""
    steps = foresee(policy, cause, bounds)
    return [step[1].get(name) for step in steps if not isinstance(step, Left)]


@pytest.mark.parametrize(
    ("first", "ladder"),
    [
        ("100M", ["400M", "800M"]),
        ("300M", ["2G", "2400M"]),
        ("4G", ["8G", "16G", "32G"]),
        ("3000M", ["6G", "12G", "24000M"]),
        ("64G", ["128G", "192G", "288G"]),
        ("100G", ["150G", "225G", "338G"]),
    ],
)
def test_memory_grows_faster_if_there_is_little(first: str, ladder: list[str]) -> None:
    """Four times below 1 GiB, twice up to 64 GiB, 1.5 times above; 8 times is the end."""
    assert values(RETRY, "oom", Bounds(asked(mem=first)), "mem") == ladder


@pytest.mark.parametrize("option", ["mem", "mem_per_cpu", "mem_per_gpu"])
def test_the_option_that_requests_memory_grows(option: str) -> None:
    """sbatch accepts one of three options for memory: that of the slice is changed."""
    had = asked(**{option: "2G", "cpus_per_task": "4", "gpus": "2"})
    assert request_changes(MORE_MEMORY, had, Bounds(had)) == {option.replace("_", "-"): "4G"}


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"peak_mib": 10 * 1024}, "13G"),
        ({"peak_mib": 1024}, "8G"),
        ({"peak_mib": 90 * 1024}, "32G"),  # the cap of 8 times
        ({"node_mib": 6 * 1024}, "6G"),
        ({"node_mib": 2 * 1024}, "8G"),  # the request is for larger nodes
        ({"node_mib": 4 * 1024}, None),
    ],
)
def test_what_bounds_memory(bounds: dict[str, int], expected: str | None) -> None:
    """What others used is the floor; the commonest node and 8 times the first are the caps."""
    had = asked(mem="4G")
    changes = request_changes(MORE_MEMORY, had, replace(Bounds(had), **bounds))  # type: ignore[arg-type]
    assert isinstance(changes, Left) if expected is None else changes == {"mem": expected}


@pytest.mark.parametrize("had", [asked(), asked(mem="0"), asked(time="1:00:00")])
def test_memory_that_is_not_known_does_not_grow(had: ResourceRequest) -> None:
    """A guess could ask for too little or too much."""
    assert isinstance(request_changes(MORE_MEMORY, had, Bounds(had)), Left)


def test_time_grows_to_its_caps() -> None:
    """1.5 times each; at most 4 times the first, and the partition's limit once."""
    hour = asked(time="1:00:00")
    many = RepairPolicy(9, retry=True)
    grown = ["01:30:00", "02:15:00", "03:22:30", "04:00:00"]
    assert values(many, "timeout", Bounds(hour), "time") == grown
    limited = Bounds(hour, max_time_s=2 * 3600)
    assert values(many, "timeout", limited, "time") == ["01:30:00", "02:00:00"]
    assert values(RETRY, "timeout", Bounds(asked()), "time") == []


@pytest.mark.parametrize(
    ("left", "grown"),
    [
        (5 * 3600, ["01:30:00", "02:15:00", "03:22:30", "04:00:00"]),
        (7259, ["01:30:00", "02:00:00"]),  # whole minutes: Slurm rounds up
        (3600, []),
        (0, []),
    ],
)
def test_time_ends_before_a_maintenance(left: int, grown: list[str]) -> None:
    """A longer job would only start after it. A typed time is the person's."""
    hour = asked(time="1:00:00")
    bounds = Bounds(hour, maintenance_s=left)
    assert values(RepairPolicy(9, retry=True), "timeout", bounds, "time") == grown
    assert values(on("timeout=--time=9:00:00"), "timeout", bounds, "time") == ["9:00:00"]


def test_a_maintenance_is_the_reason_to_leave() -> None:
    """And a pack shares the time until then among its rounds."""
    hour = asked(time="1:00:00")
    step = Step(StepKind.CHANGE, (("time", "2x"),))
    left = request_changes(step, hour, Bounds(hour, maintenance_s=3600))
    assert isinstance(left, Left)
    assert "maintenance" in left.reason
    assert seconds_until(5000.5, 1000.0, 2) == 2000
    assert seconds_until(900.0, 1000.0, 1) == 0
    assert seconds_until(None, 1000.0, 1) is None


def test_a_typed_value_has_no_cap() -> None:
    """A person who types an amount means it."""
    bounds = Bounds(asked(mem="1G"), node_mib=4 * 1024)
    assert values(on("oom=--mem=64G -p fat"), "oom", bounds, "mem") == ["64G"]
    assert values(on("oom=--mem=9x"), "oom", bounds, "mem") == ["4G"]


def test_elsewhere_excludes_every_node_that_failed() -> None:
    """The person's own ``--exclude`` stays."""
    step = Step(StepKind.ELSEWHERE)
    had = asked(exclude="bad[1-3]")
    assert request_changes(step, had, Bounds(had, node="n3")) == {"exclude": "bad[1-3],n3"}
    had = asked(exclude="n3")
    assert request_changes(step, had, Bounds(had, node="n3")) == {"exclude": "n3"}
    assert isinstance(request_changes(step, had, Bounds(had)), Left)


@pytest.mark.parametrize(
    ("policy", "repaired"),
    [
        (RepairPolicy(), set()),
        (RETRY, {"oom", "timeout", "node", "preempted", "boot"}),
        (RepairPolicy(3), {"oom", "timeout", "node", "preempted", "boot", "setup", "check",
                           "failed", "exit:1", "signal:KILL"}),
        (on("exit:75=again"), {"exit:75"}),
        (on("failed=again"), {"failed", "exit:1", "exit:75", "signal:KILL"}),
        (on("failed=again", "exit:1=leave"), {"failed", "exit:75", "signal:KILL"}),
        (on("oom=leave", retry=True), {"timeout", "node", "preempted", "boot"}),
        (on("exit:70-79=again", "exit:75=leave"), set()),
        (on("exit:75=again", "exit:70-79=leave"), {"exit:75"}),
    ],
)  # fmt: skip
def test_which_causes_are_repaired(policy: RepairPolicy, repaired: set[str]) -> None:
    """Defaults, ``--max-attempts`` alone, and rules; the narrowest rule counts."""
    causes = ("oom", "timeout", "node", "preempted", "boot", "setup", "check", "failed", "exit:1",
              "exit:75", "signal:KILL")  # fmt: skip
    found = {cause for cause in causes if not isinstance(next_step(policy, cause, ()), Left)}
    if policy.max_attempts == 3:
        repaired |= {"exit:75"}
    assert found == repaired


def test_a_ladder_goes_up_one_rung_for_each_repair_by_its_rule() -> None:
    """Other causes in between do not move it; a fixed last rung is tried once."""
    policy = on("oom=--mem=8G; --mem=16G", "exit:1-9=again; --mem=2x", attempts=9)

    def changes(cause: str, *earlier: str) -> object:
        step = next_step(policy, cause, earlier)
        return step if isinstance(step, Left) else step.changes

    assert changes("oom") == (("mem", "8G"),)
    assert changes("oom", "oom", "exit:3") == (("mem", "16G"),)
    assert isinstance(changes("oom", "oom", "oom"), Left)
    assert changes("exit:3") == ()
    assert changes("exit:3", "exit:7") == (("mem", "2x"),)
    assert changes("exit:3", "exit:7", "exit:7", "exit:7") == (("mem", "2x"),)


everything = st.lists(
    st.sampled_from(["oom", "timeout", "node", "preempted", "boot", "exit:1", "signal:KILL"]),
    max_size=60,
)


@given(everything, st.integers(1, 6), st.booleans())
def test_attempts_never_exceed_their_limits(causes: list[str], most: int, retry: bool) -> None:
    """Whatever happens to a slice, counted and uncounted attempts have an end."""
    policy = RepairPolicy(most, retry)
    earlier: list[str] = []
    for cause in causes:
        if isinstance(next_step(policy, cause, earlier), Left):
            break
        earlier.append(cause)
    assert attempts_used(earlier) < most
    for cause in ("node", "preempted", "boot"):
        assert earlier.count(cause) <= MOST_UNCOUNTED


@given(
    st.integers(1, 2_000_000), st.integers(1, 10**6),
    st.one_of(st.none(), st.integers(1, 4_000_000)), st.one_of(st.none(), st.integers(1, 10**6)),
    st.one_of(st.none(), st.integers(1, 3_000_000)), st.integers(2, 12),
)  # fmt: skip
def test_requests_grow_and_stay_below_their_caps(
    mib: int, seconds: int, node: int | None, max_s: int | None, peak: int | None, attempts: int
) -> None:
    """Each step asks for more than the one before, and none for more than the cap."""
    first = asked(mem=f"{mib}M", time=f"0:0:{seconds}")
    bounds = Bounds(first, node, max_s, peak)
    policy = RepairPolicy(attempts, retry=True)
    caps = {"oom": MEMORY_CAP * mib, "timeout": TIME_CAP * seconds}
    if node is not None and node >= mib:
        caps["oom"] = min(caps["oom"], node)
    if max_s is not None:
        caps["timeout"] = min(caps["timeout"], max_s)
    for cause, cap in caps.items():
        before = mib if cause == "oom" else seconds
        for step in foresee(policy, cause, bounds):
            if isinstance(step, Left):
                break
            now = ResourceRequest.of(step[1])
            value = (now.mem_mib if cause == "oom" else now.time_s) or 0
            assert before < value <= cap
            before = value
