"""Endless lists of slices are refused before they use up the memory."""

from __future__ import annotations

import io
import os
import resource
import subprocess
from pathlib import Path

import pytest

from slurmslice.errors import BadInputError
from slurmslice.slices.sources import text_input
from tests.local.test_local_runs import Here
from tests.support.errors import error_code, raises_error

MEMORY = 1 << 29
"""Bytes of address space: enough for Python, and less than an endless input would need."""

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
    """Limit the memory of a process (setrlimit(2))."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


@pytest.mark.parametrize(("option", "endless", "code", "named"), ENDLESS)
def test_endless_input_is_refused_early(
    tmp_path: Path, option: str, endless: str, code: str, named: str
) -> None:
    """Exit code 2, the exceeded limit, and no new file."""
    here, command = Here(tmp_path), () if option == "--job-file" else ("--", "true", "{}")
    with subprocess.Popen(["sh", "-c", f"exec {endless}"], stdout=subprocess.PIPE) as source:
        done = here("render", "--engine", "local", *option.split(), "-", *command,
                    stdin=source.stdout, preexec_fn=limited)  # fmt: skip
        assert source.stdout
        source.stdout.close()  # ends the source
    assert (done.returncode, error_code(done.stderr)) == (2, code), done.stderr
    assert named in done.stderr
    assert not list(tmp_path.iterdir())


def test_device_and_sparse_file_are_refused(tmp_path: Path) -> None:
    """The error names ``/dev/zero``; the size of a sparse file does not matter."""
    here = Here(tmp_path)
    with (tmp_path / "hole").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    for name in ("/dev/zero", "hole"):
        done = here(
            "render", "--engine", "local", "--table", name, "--", "true", preexec_fn=limited
        )
        assert (done.returncode, error_code(done.stderr)) == (2, "nul-byte")
        assert f"{name}, line 1" in done.stderr


def test_out_of_memory_is_an_error(tmp_path: Path) -> None:
    """A settings file that is too large for the memory is an error without a traceback."""
    here = Here(tmp_path)
    with (tmp_path / "slurmslice.toml").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    done = here("render", "--engine", "local", "-a", "0", "--", "true", preexec_fn=limited)
    assert (done.returncode, error_code(done.stderr)) == (3, "out-of-memory"), done.stderr


def test_closed_standard_input_is_refused(tmp_path: Path) -> None:
    """``<&-`` is an unreadable input."""
    done = Here(tmp_path)("render", "--engine", "local", "--table", "-", "--", "true",
                          preexec_fn=lambda: os.close(0))  # fmt: skip
    assert (done.returncode, error_code(done.stderr)) == (2, "unreadable-file"), done.stderr
    assert "standard input" in done.stderr


def test_closed_standard_error_changes_nothing(tmp_path: Path) -> None:
    """``2>&-`` loses messages; the slices run, and no file of the run gets them."""
    here = Here(tmp_path)
    for word, code, state in (("true", 0, "COMPLETED"), ("false", 1, "FAILED")):
        done = here("run", "--engine", "local", "-a", "0-1", "--name", word, "--", word,
                    preexec_fn=lambda: os.close(2))  # fmt: skip
        assert done.returncode == code
        assert {slice_["state"] for slice_ in here.status(word)["slices"]} == {state}


def test_lines_are_counted_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that spans blocks counts once; as many lines as a run accepts are all read."""
    monkeypatch.setattr("slurmslice.slices.sources.text_input.MAX_LINE_BYTES", 50)
    monkeypatch.setattr("slurmslice.slices.sources.text_input.MAX_SLICES", 4)
    for block in range(1, 60):
        monkeypatch.setattr("slurmslice.slices.sources.text_input._BLOCK", block)
        for data in (b"", b"k\n" + 4 * (b"a" * 49 + b"\n"), b"\n" + b"b" * 50, b"a\n" * 5):
            assert text_input.read_bounded(io.BytesIO(data), "x") == data
        with raises_error(BadInputError, "endless-input", path="x", lines=4):
            text_input.read_bounded(io.BytesIO(b"ab\n" * 6 + b"c"), "x")
        with raises_error(BadInputError, "endless-input", path="x", line_bytes=50):
            text_input.read_bounded(io.BytesIO(b"ab\n" + b"c" * 110), "x")
