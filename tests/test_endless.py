"""Slices that have no end are refused before they take the machine's memory."""

from __future__ import annotations

import io
import os
import resource
import subprocess
from pathlib import Path

import pytest

from slurmslice.errors import BadInput
from slurmslice.readers import text
from tests.errors import error_code, raises_error
from tests.test_on_this_machine import Here

MEMORY = 1 << 29
"""Bytes of address space: room for Python, and for less than an endless input would take."""

ENDLESS = [
    ("--slices-from", "cat /dev/zero", "nul-byte", "line 1"),
    ("--slices-from", "tr '\\0' a < /dev/zero", "endless-input", "a line of"),
    ("--slices-from", "yes", "endless-input", "lines"),
    ("-0 --slices-from", "cat /dev/zero", "endless-input", "lines"),
    ("-0 --slices-from", "yes", "endless-input", "a line of"),
    ("--table", "cat /dev/zero", "nul-byte", "line 1"),
    ("--table", "tr '\\0' a < /dev/zero", "endless-input", "a line of"),
    ("--table", "yes a,b", "endless-input", "lines"),
    ("--job-file", "cat /dev/zero", "nul-byte", "line 1"),
    ("--job-file", "yes", "endless-input", "lines"),
]


def limited() -> None:
    """Let a process have little memory (setrlimit(2))."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.mark.parametrize(("option", "endless", "code", "named"), ENDLESS)
def test_it_is_refused_in_time(
    tmp_path: Path, option: str, endless: str, code: str, named: str
) -> None:
    """Exit 2, what there is too much of, and nothing made."""
    here, command = Here(tmp_path), () if option == "--job-file" else ("--", "true", "{}")
    with subprocess.Popen(["sh", "-c", f"exec {endless}"], stdout=subprocess.PIPE) as source:
        done = here("render", "--engine", "local", *option.split(), "-", *command,
                    stdin=source.stdout, preexec_fn=limited)  # fmt: skip
        assert source.stdout
        source.stdout.close()  # which ends it
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert named in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_device_is_read_as_a_pipe_is(tmp_path: Path) -> None:
    """``--slices-from /dev/zero`` names it; a giant that is nothing but a hole does not matter."""
    here = Here(tmp_path)
    with (tmp_path / "hole").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    for name in ("/dev/zero", "hole"):
        done = here(
            "render", "--engine", "local", "--table", name, "--", "true", preexec_fn=limited
        )
        assert (done.returncode, error_code(done.stderr)) == (2, "nul-byte")
        assert f"{name}, line 1" in done.stderr


def test_too_little_memory_is_told(tmp_path: Path) -> None:
    """What is no slices' file and too large for memory: a sentence, no traceback."""
    here = Here(tmp_path)
    with (tmp_path / "slurmslice.toml").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    done = here("render", "--engine", "local", "-a", "0", "--", "true", preexec_fn=limited)
    assert (done.returncode, error_code(done.stderr)) == (3, "out-of-memory"), done.stderr


def test_standard_input_may_be_closed(tmp_path: Path) -> None:
    """``<&-``: it cannot be read."""
    done = Here(tmp_path)("render", "--engine", "local", "--table", "-", "--", "true",
                          preexec_fn=lambda: os.close(0))  # fmt: skip
    assert (done.returncode, error_code(done.stderr)) == (2, "unreadable-file"), done.stderr
    assert "standard input" in done.stderr


def test_whatever_the_blocks_lines_are_counted_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that goes on over blocks is one; as many as a run takes are all read."""
    monkeypatch.setattr(text, "LONGEST_LINE", 50)
    monkeypatch.setattr(text, "MOST_SLICES", 4)
    for block in range(1, 60):
        monkeypatch.setattr(text, "_BLOCK", block)
        for data in (b"", b"k\n" + 4 * (b"a" * 49 + b"\n"), b"\n" + b"b" * 50, b"a\n" * 5):
            assert text.gathered(io.BytesIO(data), "x") == data
        with raises_error(BadInput, "endless-input", path="x", lines=4):
            text.gathered(io.BytesIO(b"ab\n" * 6 + b"c"), "x")
        with raises_error(BadInput, "endless-input", path="x", line_bytes=50):
            text.gathered(io.BytesIO(b"ab\n" + b"c" * 110), "x")
