"""``efficiency`` on the fake cluster: what was seen of slices becomes advice."""

from __future__ import annotations

import tomllib

import pytest

from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

MIB = 2**20


def ended(typed: Typed, engine: FakeEngine, elapsed_s: float = 600.0) -> None:
    """Run four slices that are done; each used 2400 MiB of 8 GiB, and half an hour of one day."""
    typed("run", "-a", "0-3", "--name", "x", "--mem", "8G", "-t", "1-0", "-c", "8", "--", "true")
    for index in range(4):
        engine.end("100", index, State.COMPLETED, exit_code=0, elapsed_s=elapsed_s,
                   requested_mem_bytes=8192 * MIB)  # fmt: skip


def test_advice_its_toml_and_the_next_command(typed: Typed, engine: FakeEngine) -> None:
    """Text, data and TOML say the same."""
    engine.max_rss_bytes, engine.cpu_s, engine.sampling_s = 2400 * MIB, 590.0, 30.0
    ended(typed, engine)
    found = typed.json("efficiency", "x")
    (group,) = found["groups"]
    values = {one["option"]: one["value"] for one in group["advice"]}
    assert values == {"mem": "3G", "time": "00:15:00", "cpus-per-task": "1"}
    assert found["next"][0][:2] == ["slurmslice", "efficiency"]
    typed("efficiency", "x", "--toml")
    sbatch = tomllib.loads(typed.stdout)["sbatch"]
    assert sbatch == {"mem": "3G", "time": "00:15:00", "cpus-per-task": 1}
    assert "--mem=3G" in typed("efficiency", "x", "--slices")


@pytest.mark.parametrize(
    ("peak", "elapsed_s"), [(2400 * MIB, 80.0), (2400 * MIB, 2.0), (9000 * MIB, 600.0)]
)
def test_peaks_that_do_not_count(
    typed: Typed, engine: FakeEngine, peak: int, elapsed_s: float
) -> None:
    """Fewer than three measurements, or more than the limit."""
    engine.max_rss_bytes, engine.sampling_s = peak, 30.0
    ended(typed, engine, elapsed_s)
    advice = typed.json("efficiency", "x")["groups"][0]["advice"][0]
    assert (advice["option"], advice["value"], advice["enough"]) == ("mem", "", False)


def test_a_run_without_ends(typed: Typed) -> None:
    """No traceback and no advice; TOML stays valid."""
    typed("render", "-a", "0-3", "--name", "x", "--", "true")
    typed("efficiency", "x", "--toml")
    assert typed.code == 0
    assert tomllib.loads(typed.stdout) == {"sbatch": {}}
    typed("efficiency", "nowhere")
    assert typed.error == "no-such-run"


def test_what_does_not_count_is_told_by_its_reason(typed: Typed, engine: FakeEngine) -> None:
    """Failed slices, those that hung, cancelled ones and those that have not ended."""
    typed("run", "-a", "0-9", "--name", "x", "--mem", "8G", "-t", "1", "--", "true")
    ends = [State.COMPLETED] * 3 + [State.FAILED] * 2 + [State.TIMEOUT] * 2 + [State.CANCELLED]
    for index, state in enumerate(ends):
        engine.end("100", index, state, exit_code=int(state is State.FAILED), elapsed_s=60.0,
                   cpu_s=0.1 if index == 6 else 60.0)  # fmt: skip
    (group,) = typed.json("efficiency", "x")["groups"]
    counted = group["left_out_by"]
    assert (group["done"], group["left_out"], sum(counted.values())) == (3, 7, 7)
    assert (counted["cancelled"], counted["not ended"]) == (1, 2)
    assert counted["failed"] + counted.get("hung", 0) == 4
    assert "7 left out" in typed("efficiency", "x")


def test_the_groups_have_a_total(typed: Typed, engine: FakeEngine) -> None:
    """What was requested and not used, over all requests of the run."""
    engine.max_rss_bytes, engine.cpu_s, engine.sampling_s = 512 * MIB, 900.0, 30.0
    typed("run", "--grid", "gib=1,2", "--grid", "n=1-3", "--mem", "{gib}G", "-t", "60", "-c", "1",
          "--name", "x", "--", "true")  # fmt: skip
    for job in list(engine.jobs):
        for index in engine.jobs[job].tasks:
            gib = int(engine.jobs[job].order.request.get("mem", "0G").removesuffix("G"))
            engine.end(job, index, State.COMPLETED, elapsed_s=3600.0,
                       requested_mem_bytes=gib * 1024 * MIB)  # fmt: skip
    groups = typed.json("efficiency", "x")["groups"]
    assert [one["request"] for one in groups] == [{"mem": "1G"}, {"mem": "2G"}]
    assert [one["gib_hours"] for one in groups] == [3.0, 6.0]
    assert [one["wasted_gib_hours"] for one in groups] == [1.5, 4.5]
    assert [one["wasted_core_hours"] for one in groups] == [2.25, 2.25]
    assert "6.00 of 9.00 GiB-hours" in typed("efficiency", "x")


def test_slices_have_their_shares_and_hours(typed: Typed, engine: FakeEngine) -> None:
    """A line per slice that is done, in the order of the table; text and data say the same."""
    engine.max_rss_bytes, engine.cpu_s, engine.sampling_s = 2048 * MIB, 2400.0, 30.0
    ended(typed, engine)
    engine.end("100", 2, State.FAILED, exit_code=1, elapsed_s=600.0)
    found = typed.json("efficiency", "x", "--slices")["slices"]
    assert [one["key"] for one in found] == ["0", "1", "3"]
    first = found[0]
    assert (first["memory"], first["memory_requested"], first["cpus"]) == (2048, 8192, 4.0)
    assert first["wasted_gib_hours"] == pytest.approx(1.0)
    assert first["wasted_core_hours"] == pytest.approx(8 / 6 - 2 / 3)
    shown = typed("efficiency", "x", "--slices").splitlines()
    (line,) = [one for one in shown if one.startswith("3")]
    assert "2G of 8G (25%)" in line
    assert "4.0 of 8.0 (50%)" in line


@pytest.mark.parametrize(
    ("options", "requested", "asked"),
    [
        (("--mem", "8G"), 8192, {"mem": "3G"}),
        (("--mem-per-cpu", "2G"), 8192, {"mem-per-cpu": "768M"}),
        (("--mem-per-gpu", "4G", "--gres", "gpu:2"), 8192, {"mem-per-gpu": "1536M"}),
    ],
)
def test_the_option_that_is_in_force_gets_the_advice(
    typed: Typed,
    engine: FakeEngine,
    options: tuple[str, ...],
    requested: int,
    asked: dict[str, str],
) -> None:
    """sbatch takes one of the three memory options, so the advice has the one in use."""
    engine.max_rss_bytes, engine.cpu_s, engine.sampling_s = 2400 * MIB, 2400.0, 30.0
    typed("run", "-a", "0-3", "--name", "x", *options, "-t", "15", "-c", "4", "--", "true")
    for index in range(4):
        engine.end(
            "100", index, State.COMPLETED, elapsed_s=600.0, requested_mem_bytes=requested * MIB
        )
    typed("efficiency", "x", "--toml")
    assert tomllib.loads(typed.stdout)["sbatch"] == asked


def test_a_file_has_the_largest_advice_of_several_groups(typed: Typed, engine: FakeEngine) -> None:
    """But not for an option that a column sets: that is a comment."""
    engine.max_rss_bytes, engine.cpu_s, engine.sampling_s = 100 * MIB, 900.0, 30.0
    typed("run", "--grid", "gib=1,2", "--grid", "n=1-3", "--mem", "{gib}G", "-t", "1-0", "-c", "1",
          "--name", "x", "--", "true")  # fmt: skip
    for at, job in enumerate(engine.jobs):
        for index in engine.jobs[job].tasks:
            engine.end(job, index, State.COMPLETED, elapsed_s=3600.0 * (at + 1),
                       requested_mem_bytes=1024 * MIB)  # fmt: skip
    typed("efficiency", "x", "--toml")
    assert tomllib.loads(typed.stdout)["sbatch"] == {"time": "02:30:00"}
    assert "# --mem" in typed.stdout
