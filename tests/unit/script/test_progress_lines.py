"""The progress lines: the parser reads the lines that bash writes, and nothing else."""

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

from slurmslice.script.progress_lines import (
    SlotProgress,
    TaskProgress,
    extract_progress_lines,
    find_refused_jobs,
    parse_progress,
    signal_number,
)
from slurmslice.script.render import library_bytes

FUNCTION = (
    library_bytes().decode().replace('\n_main "$@"\n', "\n")
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
REJECTED = b"slurmslice refused job=420 restart=0 at=1795424103 host=n4 owner=419\n"
STARTED = SlotProgress(1795424103, "n3")
ENDED = SlotProgress(1795424103, "n3", 1795424180, 3)


def later(line: bytes, restart: int) -> bytes:
    return line.replace(b"restart=0", b"restart=%d" % restart)


def written(text: str, **environ: str) -> bytes:
    """Return the output of the bash function."""
    env = {"PATH": os.environ["PATH"], "SLURM_ARRAY_JOB_ID": "419", **environ}
    script = f"{FUNCTION}\n{text}\n"
    return subprocess.run(
        [BASH, "-c", script], env=env, stdout=subprocess.PIPE, check=True, timeout=20
    ).stdout


def test_the_parser_reads_the_lines_of_bash() -> None:
    """Start and end of a slice, its node, its exit code, the time."""
    before = int(time.time()) - 1  # bash reads a coarser clock, which may be a tick behind
    data = written(
        "_progress start slot=2; _progress end 'slot=2 exit=137'",
        SLURM_RESTART_COUNT="4",
        SLURMD_NODENAME="n7",
    )
    said = parse_progress(data, "419")
    slot = said.slots[2]
    assert (said.restart, slot.host, slot.exit_code) == (4, "n7", 137)
    assert slot.started_at is not None
    assert slot.ended_at is not None
    assert before <= slot.started_at <= slot.ended_at <= time.time()
    assert (said.refused, said.setup_exit) == (None, None)


def test_without_slurm_the_host_and_restart_have_defaults() -> None:
    """Without Slurm's variables the restart is 0 and the host is the machine's name."""
    said = parse_progress(written("_progress start slot=0"))
    assert said.restart == 0
    assert said.slots[0].host == os.uname().nodename


def test_refusal_and_setup_as_bash_writes_them() -> None:
    """An owner's name may contain blanks: it ends with its line."""
    data = written(
        "_progress refused 'owner=fenced by slurmslice: given up'; _progress setup exit=0"
    )
    assert parse_progress(data).refused == "fenced by slurmslice: given up"
    assert parse_progress(data).setup_exit == 0


def test_the_lines_of_one_slice() -> None:
    """A slice has started after its start line, and ended after its end line."""
    assert parse_progress(b"") == TaskProgress()
    assert parse_progress(START) == TaskProgress(0, {0: STARTED})
    assert parse_progress(START + END) == TaskProgress(0, {0: ENDED})
    assert parse_progress(END).slots[0] == SlotProgress(None, "n3", 1795424180, 3)


def test_several_slices_of_one_task() -> None:
    """The slots of a task are independent."""
    data = START + END + START.replace(b"slot=0", b"slot=1")
    assert parse_progress(data).slots == {0: ENDED, 1: STARTED}


def test_a_slice_over_its_time_limit() -> None:
    """The timeout is known from its line on, and stays beside the exit code."""
    late = replace(STARTED, timed_out=True)
    assert parse_progress(START + TIMEOUT) == TaskProgress(0, {0: late})
    for data in (START + TIMEOUT + END, START + END + TIMEOUT):
        assert parse_progress(data) == TaskProgress(0, {0: replace(ENDED, timed_out=True)})
    assert parse_progress(START + TIMEOUT + later(START, 1)) == TaskProgress(
        1, {0: replace(STARTED, restart=1)}
    )
    assert parse_progress(TIMEOUT.replace(b"slot=0", b"slot=1") + START).slots[0] == STARTED


def test_a_slice_that_an_earlier_start_of_the_task_has_done() -> None:
    """Its end line is in the newest restart, without a start line and without a start time."""
    kept = later(END, 1).replace(b"exit=3\n", b"exit=0 kept=1\n")
    assert parse_progress(START + END + kept) == TaskProgress(
        1, {0: SlotProgress(None, "n3", 1795424180, 0, restart=1)}
    )


@pytest.mark.parametrize(
    ("fields", "elapsed", "cpu"),
    [
        ("us=1203344 cpu_us=270000", 1.203344, 0.27),
        ("us=0 cpu_us=0", 0.0, 0.0),
        ("us=77000000", 77.0, None),
        ("us=77000000 kept=1", 77.0, None),
        ("us=-5 cpu_us=0", None, None),  # the clock was set back
        ("us= cpu_us=", None, None),
        ("us=" + "9" * 40, None, None),
        ("kept=1", None, None),
    ],
)
@pytest.mark.parametrize("told", ["", "TERM"])
def test_the_times_of_a_slice(
    fields: str, elapsed: float | None, cpu: float | None, told: str
) -> None:
    """The end line has them; whatever is wrong with them, the end counts."""
    tail = f"{f' told={told}' if told else ''} {fields}\n".encode()
    ended = replace(ENDED, elapsed_s=elapsed, cpu_s=cpu, signal_received=told)
    assert parse_progress(START + END[:-1] + tail) == TaskProgress(0, {0: ended})


@pytest.mark.parametrize(
    ("fields", "peak", "samples"),
    [
        ("us=9 cpu_us=7 mem=640 samples=3", 640, 3),
        ("us=9 mem=640 samples=3 kept=1", 640, 3),
        ("us=9 cpu_us=7 mem=640", None, None),
        ("us=9 cpu_us=7 mem=-1 samples=3", None, None),
        ("us=9 cpu_us=7 mem=" + "9" * 40 + " samples=3", None, None),
        ("us=9 cpu_us=7", None, None),
    ],
)
def test_the_peak_memory_of_a_slice(fields: str, peak: int | None, samples: int | None) -> None:
    """The end line has it with its measurements; whatever is wrong with it, the end counts."""
    slot = parse_progress(START + END[:-1] + f" {fields}\n".encode()).slots[0]
    assert (slot.peak_bytes, slot.peak_samples, slot.exit_code) == (peak, samples, ENDED.exit_code)


def test_only_the_newest_restart_counts() -> None:
    """After a requeue the earlier end is ignored: the slice runs again."""
    data = START + END + later(START, 1)
    assert parse_progress(data) == TaskProgress(1, {0: replace(STARTED, restart=1)})
    assert parse_progress(data + START.replace(b"slot=0", b"slot=1")).older_slots == {1}
    assert parse_progress(START + SETUP + later(START, 1)).setup_exit is None
    newest = TaskProgress(10, {0: replace(STARTED, restart=10)})
    assert parse_progress(later(START, 10) + later(START + END, 9)) == newest


def test_a_check_that_failed() -> None:
    """Its line gives the exit code that follows the command's."""
    check = END.replace(b"slurmslice end", b"slurmslice check")
    assert parse_progress(START + check + END).slots[0] == replace(ENDED, check_exit=3)
    assert parse_progress(START + check).slots[0] == replace(STARTED, check_exit=3)
    assert parse_progress(check + later(START + END, 1)).slots[0].check_exit is None


def test_a_process_killed_out_of_memory() -> None:
    """Its line gives the number of slices that ran; a line of an older start is ignored."""
    lost = START.replace(b"slurmslice start", b"slurmslice memory").replace(b"\n", b" of=3\n")
    assert parse_progress(START + lost + END).slots[0] == replace(ENDED, oom_candidates=3)
    assert parse_progress(lost + later(START + END, 1)).slots[0].oom_candidates is None


def test_lines_of_another_job_are_not_this_task_s() -> None:
    """A refused duplicate writes to the same file; its lines say nothing about this task."""
    data = START + REJECTED + END
    assert parse_progress(data, "419") == TaskProgress(0, {0: ENDED})
    assert parse_progress(data, "420") == TaskProgress(refused="419")
    assert parse_progress(data, "41") == TaskProgress()


def test_refused_jobs() -> None:
    """Each refused job, with the content of the claim and the time; other lines are ignored."""
    assert find_refused_jobs(START + REJECTED + END) == {"420": ("419", 1795424103)}
    assert find_refused_jobs(START + END) == {}


def test_a_host_of_any_bytes() -> None:
    """A name that is not UTF-8 is shown escaped."""
    assert parse_progress(START.replace(b"n3", b"n\xff")).slots[0].host == "n\\xff"


def test_a_setup_that_failed() -> None:
    """A task that ended in its setup has that exit code and no started slice."""
    said = parse_progress(SETUP)
    assert said == TaskProgress(restart=0, setup_exit=1)
    assert said.setup_ended_at == 1795424103


@pytest.mark.parametrize(
    "noise", [b"no newline at its end ", b"\xff\0\n", b"slurmslice start job=4"]
)
def test_lines_are_found_between_other_output(noise: bytes) -> None:
    """The setup and slurmstepd write to the same file; a line may begin after their text."""
    assert parse_progress(noise + START + noise + END, "419") == TaskProgress(0, {0: ENDED})


def test_a_start_of_another_format_is_ignored() -> None:
    """Its lines may have another meaning in a newer library."""
    now, newer = (START.replace(b"\n", b" format=%d\n" % number) for number in (1, 10))
    assert parse_progress(now).slots[0] == STARTED
    assert parse_progress(newer) == TaskProgress()


@pytest.mark.parametrize("cut", range(len(START + END)))
def test_an_incomplete_line_is_ignored(cut: int) -> None:
    """A file that is cut anywhere gives the facts of its complete lines."""
    said = parse_progress((START + END)[:cut])
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
def test_a_malformed_line_is_ignored(line: bytes) -> None:
    """A field is missing, odd or forged."""
    assert parse_progress(line) == TaskProgress()


def test_a_slice_that_was_cancelled_alone() -> None:
    """Before its start the line is its end. While it runs, its end follows."""
    line = b"slurmslice cancel job=419 restart=0 at=1795424170 host=n3 slot=0\n"
    never = SlotProgress(None, "n3", 1795424170, cancelled=True)
    assert parse_progress(line).slots == {0: never}
    assert parse_progress(START + line).slots == {0: replace(STARTED, cancelled=True)}
    assert parse_progress(START + line + END).slots == {0: replace(ENDED, cancelled=True)}
    assert parse_progress(line + later(START, 1)).older_slots == frozenset()
    assert extract_progress_lines([b"x" + line]) == line


def test_fields_of_later_versions_are_ignored() -> None:
    """New fields are added at the end only."""
    data = START[:-1] + b" cpus=4\n" + END[:-1] + b" cpu_s=1,5 x\n"
    assert parse_progress(data) == parse_progress(START + END)


@given(
    st.lists(
        st.one_of(st.binary(max_size=30), st.sampled_from([START, TIMEOUT, END, SETUP, REJECTED]))
    ),
    st.integers(0, 300),
)
def test_no_bytes_make_it_fail(parts: list[bytes], cut: int) -> None:
    """Any bytes give a record with possible values."""
    said = parse_progress(b"".join(parts)[cut:])
    for slot in said.slots.values():
        assert slot.exit_code is None or 0 <= slot.exit_code <= 999
        assert (slot.exit_code is None) == (slot.ended_at is None)


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=30),
        st.sampled_from(
            [START, TIMEOUT, END, SETUP, REJECTED, b"slurmslice start job=", b"x" * 5000]
        ),
        st.builds(lambda line, cut: line[:cut], st.sampled_from([START, END]), st.integers(0, 80)),
    )
)


@given(PIECES, st.integers(1, 3000))
def test_sifted_lines_parse_like_the_whole_output(parts: list[bytes], size: int) -> None:
    """For any pieces, and any text between the lines."""
    data = b"".join(parts)
    kept = extract_progress_lines(data[at : at + size] for at in range(0, len(data), size))
    assert parse_progress(kept) == parse_progress(data)
    assert find_refused_jobs(kept) == find_refused_jobs(data)


def test_a_large_output_takes_little_memory() -> None:
    """A setup that prints without end, even in one line, needs little memory."""
    piece = b"x" * 2**20

    def large() -> Iterator[bytes]:
        yield START
        yield from (piece for _ in range(64))
        yield b"\n" + END

    tracemalloc.start()
    try:
        kept = extract_progress_lines(large())
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
    """Only the newest restart's lines of a slice describe it."""
    said = parse_progress(b"".join(lines))
    newest = [line for line in lines if b"restart=%d " % (said.restart or 0) in line]
    assert replace(parse_progress(b"".join(newest)), older_slots=said.older_slots) == said
    for slot, known in said.slots.items():
        own = b"".join(line for line in newest if b"slot=%d" % slot in line)
        assert parse_progress(own).slots == {slot: known}
        assert known.timed_out == (b" timeout " in own)


@pytest.mark.parametrize(
    ("code", "signal"),
    [(None, None), (0, None), (1, None), (128, None), (137, 9), (143, 15), (192, 64), (193, None)],
)
def test_the_signal_in_an_exit_code(code: int | None, signal: int | None) -> None:
    """128 + n is signal n; an exit code such as 255 is none."""
    assert signal_number(code) == signal
