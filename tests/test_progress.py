"""The progress lines: what bash writes is what the parser reads, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import time
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.progress import SlotProgress, TaskProgress, parse, refusals, sifted, signal_of
from slurmslice.script import library

FUNCTION = (
    library().decode().replace('\n_main "$@"\n', "\n")
    + """
_job=${SLURM_ARRAY_JOB_ID:-} _restart=${SLURM_RESTART_COUNT:-0}
_host=${SLURMD_NODENAME:-$HOSTNAME}
exec {_out}>&1
"""
)
BASH = os.environ.get("SLURMSLICE_BASH", "bash")

START = b"slurmslice start job=419 restart=0 at=1795424103 host=n3 slot=0\n"
END = b"slurmslice end job=419 restart=0 at=1795424180 host=n3 slot=0 exit=3\n"
TIMEOUT = b"slurmslice timeout job=419 restart=0 at=1795424170 host=n3 slot=0\n"
SETUP = b"slurmslice setup job=419 restart=0 at=1795424103 host=n3 exit=1\n"
REFUSED = b"slurmslice refused job=420 restart=0 at=1795424103 host=n4 owner=419\n"
STARTED = SlotProgress(1795424103, "n3")
ENDED = SlotProgress(1795424103, "n3", 1795424180, 3)


def later(line: bytes, restart: int) -> bytes:
    return line.replace(b"restart=0", b"restart=%d" % restart)


def written(text: str, **environ: str) -> bytes:
    """What the bash function writes."""
    env = {"PATH": os.environ["PATH"], "SLURM_ARRAY_JOB_ID": "419", **environ}
    script = f"{FUNCTION}\n{text}\n"
    return subprocess.run(
        [BASH, "-c", script], env=env, stdout=subprocess.PIPE, check=True, timeout=20
    ).stdout


def test_what_bash_writes_is_what_is_read() -> None:
    """Grammar and parser agree: start and end of a slice, its node, its exit code, the time."""
    before = int(time.time()) - 1  # bash reads a coarser clock, which may be a tick behind
    data = written(
        "_progress start slot=2; _progress end 'slot=2 exit=137'",
        SLURM_RESTART_COUNT="4",
        SLURMD_NODENAME="n7",
    )
    said = parse(data, "419")
    slot = said.slots[2]
    assert (said.restart, slot.host, slot.exit_code) == (4, "n7", 137)
    assert slot.started_at is not None
    assert slot.ended_at is not None
    assert before <= slot.started_at <= slot.ended_at <= time.time()
    assert (said.refused, said.setup_exit) == (None, None)


def test_without_slurm_the_host_and_restart_have_defaults() -> None:
    """Restart 0 and the machine's own name stand where Slurm says nothing."""
    said = parse(written("_progress start slot=0"))
    assert said.restart == 0
    assert said.slots[0].host == os.uname().nodename


def test_refusal_and_setup_as_bash_writes_them() -> None:
    """An owner's name may have blanks: it goes to the end of its line."""
    data = written(
        "_progress refused 'owner=barred by slurmslice: given up'; _progress setup exit=0"
    )
    assert parse(data).refused == "barred by slurmslice: given up"
    assert parse(data).setup_exit == 0


def test_the_lines_of_one_slice() -> None:
    """A slice has started once its start line stands, and ended once its end line does."""
    assert parse(b"") == TaskProgress()
    assert parse(START) == TaskProgress(0, {0: STARTED})
    assert parse(START + END) == TaskProgress(0, {0: ENDED})
    assert parse(END).slots[0] == SlotProgress(None, "n3", 1795424180, 3)


def test_several_slices_of_one_task() -> None:
    """Each slot of a task stands for itself."""
    data = START + END + START.replace(b"slot=0", b"slot=1")
    assert parse(data).slots == {0: ENDED, 1: STARTED}


def test_a_slice_that_had_taken_its_time() -> None:
    """The time-out is known from its line on, and stays beside the exit code."""
    late = replace(STARTED, timed_out=True)
    assert parse(START + TIMEOUT) == TaskProgress(0, {0: late})
    for data in (START + TIMEOUT + END, START + END + TIMEOUT):
        assert parse(data) == TaskProgress(0, {0: replace(ENDED, timed_out=True)})
    assert parse(START + TIMEOUT + later(START, 1)) == TaskProgress(
        1, {0: replace(STARTED, restart=1)}
    )
    assert parse(TIMEOUT.replace(b"slot=0", b"slot=1") + START).slots[0] == STARTED


def test_a_slice_that_an_earlier_start_of_the_task_has_done() -> None:
    """Its end stands in the newest restart, without a start; no time is made up for it."""
    kept = later(END, 1).replace(b"exit=3\n", b"exit=0 kept=1\n")
    assert parse(START + END + kept) == TaskProgress(
        1, {0: SlotProgress(None, "n3", 1795424180, 0, restart=1)}
    )


def test_only_the_newest_restart_counts() -> None:
    """After a requeue the end of the run before is history: the slice is running again."""
    data = START + END + later(START, 1)
    assert parse(data) == TaskProgress(1, {0: replace(STARTED, restart=1)})
    assert parse(data + START.replace(b"slot=0", b"slot=1")).older == {1}
    assert parse(START + SETUP + later(START, 1)).setup_exit is None
    newest = TaskProgress(10, {0: replace(STARTED, restart=10)})
    assert parse(later(START, 10) + later(START + END, 9)) == newest


def test_a_check_that_failed() -> None:
    """Its line tells the exit code that follows from the command's own."""
    check = END.replace(b"slurmslice end", b"slurmslice check")
    assert parse(START + check + END).slots[0] == replace(ENDED, check_exit=3)
    assert parse(START + check).slots[0] == replace(STARTED, check_exit=3)
    assert parse(check + later(START + END, 1)).slots[0].check_exit is None


def test_a_process_lost_for_want_of_memory() -> None:
    """Its line tells of how many slices one lost it; an older start's counts for nothing."""
    lost = START.replace(b"slurmslice start", b"slurmslice memory").replace(b"\n", b" of=3\n")
    assert parse(START + lost + END).slots[0] == replace(ENDED, lost_among=3)
    assert parse(lost + later(START + END, 1)).slots[0].lost_among is None


def test_lines_of_another_job_are_not_this_task_s() -> None:
    """A duplicate that was refused shares the file; it says nothing of the task that runs."""
    data = START + REFUSED + END
    assert parse(data, "419") == TaskProgress(0, {0: ENDED})
    assert parse(data, "420") == TaskProgress(refused="419")
    assert parse(data, "41") == TaskProgress()


def test_who_was_refused() -> None:
    """Each job with what the claim said, and when; whatever else stands there."""
    assert refusals(START + REFUSED + END) == {"420": ("419", 1795424103)}
    assert refusals(START + END) == {}


def test_a_host_of_any_bytes() -> None:
    """A name that is not UTF-8 is shown as it is, escaped."""
    assert parse(START.replace(b"n3", b"n\xff")).slots[0].host == "n\\xff"


def test_a_setup_that_failed() -> None:
    """A task that ended in its setup says with which code, and no slice of it started."""
    said = parse(SETUP)
    assert said == TaskProgress(restart=0, setup_exit=1)
    assert said.setup_ended_at == 1795424103


@pytest.mark.parametrize(
    "noise", [b"no newline at its end ", b"\xff\0\n", b"slurmslice start job=4"]
)
def test_lines_are_found_between_what_others_print(noise: bytes) -> None:
    """The setup and slurmstepd write to the same file; a line may begin behind theirs."""
    assert parse(noise + START + noise + END, "419") == TaskProgress(0, {0: ENDED})


def test_a_start_of_another_format_is_none() -> None:
    """A newer library may mean something else by its lines."""
    now, newer = (START.replace(b"\n", b" format=%d\n" % number) for number in (1, 10))
    assert parse(now).slots[0] == STARTED
    assert parse(newer) == TaskProgress()


@pytest.mark.parametrize("cut", range(len(START + END)))
def test_a_torn_line_says_nothing(cut: int) -> None:
    """Cut anywhere, a file says what its whole lines say."""
    said = parse((START + END)[:cut])
    assert said == (TaskProgress(0, {0: STARTED}) if cut >= len(START) else TaskProgress())


@pytest.mark.parametrize(
    "line",
    [
        START.replace(b"slot=0", b"slot=x"),
        START.replace(b"slot=0", b"slot=" + b"9" * 5000),
        START.replace(b"at=", b"at=-"),
        START.replace(b"host=n3 ", b""),
        START.replace(b"restart=0", b"restart="),
        START.replace(b"start ", b"begin "),
        END.replace(b"exit=3", b"exit="),
        END.replace(b"exit=3", b"exit=1000"),
        END.replace(b" slot=0", b""),
        START.upper(),
    ],
)
def test_a_line_that_is_not_whole_is_ignored(line: bytes) -> None:
    """A line with a field missing, odd or forged is no line."""
    assert parse(line) == TaskProgress()


def test_fields_of_later_versions_are_passed_over() -> None:
    """Fields are only ever added, at the end."""
    data = START[:-1] + b" cpus=4\n" + END[:-1] + b" cpu_s=1,5 x\n"
    assert parse(data) == parse(START + END)


@given(
    st.lists(
        st.one_of(st.binary(max_size=30), st.sampled_from([START, TIMEOUT, END, SETUP, REFUSED]))
    ),
    st.integers(0, 300),
)
def test_no_bytes_make_it_fail(parts: list[bytes], cut: int) -> None:
    """Whatever stands in the file, parsing gives a record of possible values."""
    said = parse(b"".join(parts)[cut:])
    for slot in said.slots.values():
        assert slot.exit_code is None or 0 <= slot.exit_code <= 999
        assert (slot.exit_code is None) == (slot.ended_at is None)


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [START, TIMEOUT, END, SETUP, REFUSED, b"slurmslice start job=", b"x" * 5000]
        ),
        st.builds(lambda line, cut: line[:cut], st.sampled_from([START, END]), st.integers(0, 80)),
    )
)


@given(PIECES, st.integers(1, 3000))
def test_what_is_sifted_says_what_the_whole_says(parts: list[bytes], size: int) -> None:
    """However it is cut into pieces, and whatever stands between the lines."""
    data = b"".join(parts)
    kept = sifted(data[at : at + size] for at in range(0, len(data), size))
    assert parse(kept) == parse(data)
    assert refusals(kept) == refusals(data)


def test_a_large_output_takes_little_memory() -> None:
    """A setup that prints without end, also in one line, costs no memory to be read."""
    piece = b"x" * 2**20

    def large() -> Iterator[bytes]:
        yield START
        yield from (piece for _ in range(64))
        yield b"\n" + END

    tracemalloc.start()
    try:
        kept = sifted(large())
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert kept == START + END
    assert most < 8 * len(piece)


@given(
    st.lists(
        st.builds(
            lambda line, restart, slot: later(line, restart).replace(b"slot=0", b"slot=%d" % slot),
            st.sampled_from([START, TIMEOUT, END]),
            st.integers(0, 2),
            st.integers(0, 2),
        ),
        min_size=1,
    )
)
def test_old_restarts_and_other_slices_change_nothing(lines: list[bytes]) -> None:
    """What is known of a slice is what the newest restart's lines of that slice say."""
    said = parse(b"".join(lines))
    newest = [line for line in lines if b"restart=%d " % (said.restart or 0) in line]
    assert replace(parse(b"".join(newest)), older=said.older) == said
    for slot, known in said.slots.items():
        own = b"".join(line for line in newest if b"slot=%d" % slot in line)
        assert parse(own).slots == {slot: known}
        assert known.timed_out == (b" timeout " in own)


@pytest.mark.parametrize(
    ("code", "signal"),
    [(None, None), (0, None), (1, None), (128, None), (137, 9), (143, 15), (192, 64), (193, None)],
)
def test_the_signal_in_an_exit_code(code: int | None, signal: int | None) -> None:
    """128 + n is signal n, and an exit code such as 255 is none."""
    assert signal_of(code) == signal
