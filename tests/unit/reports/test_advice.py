"""Advice on requests, on synthetic evidence: no number without evidence, and none that kills."""

from __future__ import annotations

import pytest

from slurmslice.reports.advice import Advice, Evidence, advise_cpus, advise_memory, advise_time
from slurmslice.reports.growth import find_growth
from slurmslice.sbatch.units import parse_memory, parse_time


def mem(used: list[float], had: float | None = 8192, done: int = 0, **more: object) -> Advice:
    """Advise on memory, MiB."""
    return advise_memory(Evidence(done or len(used), used, had, **more))  # type: ignore[arg-type]


def test_all_slices_fit_into_the_advice() -> None:
    """The issue's example: the reason names the largest, and what less would have cost."""
    found = mem([2000.0] * 95 + [2450.0] * 4)
    assert found.value == "3G"
    assert "99" in found.reason
    assert "at 2G 4 " in found.reason


def test_a_bimodal_run_keeps_its_large_slices() -> None:
    """A few large slices decide; a second run with the advice has no OUT_OF_MEMORY."""
    used = [500.0] * 90 + [6000.0] * 10
    found = mem(used, 32768)
    assert max(used) < parse_memory(found.value) < 32768


@pytest.mark.parametrize(
    "more",
    [
        {"used": [100.0] * 2},
        {"used": [100.0] * 20, "exceeded": 1},
        {"used": [100.0] * 20, "above_limit": 1},
        {"used": [], "done": 99},
        {"used": [100.0] * 3, "done": 99, "floor_only": [90.0] * 96},
    ],
    ids=["few", "leak until killed", "above the limit", "2 s jobs or page cache", "mostly short"],
)
def test_no_number_without_evidence(more: dict[str, object]) -> None:
    """The advice says so and gives no value."""
    found = mem(**more)  # type: ignore[arg-type]
    assert not found.enough
    assert not found.value


def test_exceeded_requests_and_short_peaks_are_floors() -> None:
    """The advice is above them, although every good figure is small."""
    assert parse_memory(mem([100.0] * 20, floors=[3000.0]).value) > 3000
    assert parse_memory(mem([100.0] * 20, done=21, floor_only=[3000.0]).value) > 3000


@pytest.mark.parametrize("had", [3072, 3000, 3500, 2600])
def test_a_small_change_is_not_advised(had: float) -> None:
    """The request stays, with evidence."""
    found = mem([2400.0] * 9, had)
    assert found.enough
    assert not found.value


def test_a_request_without_margin_is_raised() -> None:
    """The largest slice used almost all of it."""
    assert mem([4000.0] * 9, 4096).value == "5G"


def test_time() -> None:
    """The longest + 25 %; never a limit of seconds."""
    found = advise_time(Evidence(9, [3000.0] * 8 + [3100.0], 86400))
    assert parse_time(found.value) == 4500
    assert parse_time(advise_time(Evidence(9, [2.0] * 9, 86400)).value) == 300


def test_cpus() -> None:
    """One busy CPU of eight is one; short slices say nothing."""
    assert advise_cpus(Evidence(9, [0.9] * 9, 8), [100.0] * 9, 10.0).value == "1"
    assert not advise_cpus(Evidence(9, [7.9] * 9, 8), [100.0] * 9, 10.0).value
    assert not advise_cpus(Evidence(9, [0.9] * 9, 8), [2.0] * 9, 10.0).enough


def test_growth_is_found() -> None:
    """With the column that explains it; not with noise, texts or a constant."""
    sizes = [float(n) for n in range(1, 21)]
    columns = {
        "n": [str(n) for n in range(20)], "name": ["a"] * 20, "odd": [str(n % 2) for n in range(20)]
    }  # fmt: skip
    assert find_growth(columns, [size**2 for size in sizes]) == "n"
    assert not find_growth(columns, [100.0] * 20)
    assert not find_growth({"odd": columns["odd"]}, sizes)


@pytest.mark.parametrize(("largest", "value"), [(70.0, "100M"), (90.0, "150M"), (161.0, "250M")])
def test_advice_on_little_memory_is_fine(largest: float, value: str) -> None:
    """It was measured, so it needs no step of a hundred."""
    assert mem([largest] * 5, 4096).value == value
