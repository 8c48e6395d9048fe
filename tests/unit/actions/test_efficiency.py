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
