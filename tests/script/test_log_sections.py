"""The logs of ended slices: few files, no byte lost, and nothing in a text looks like a line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurmslice.script.log_sections import LogSection, find_sections
from slurmslice.script.progress_lines import extract_progress_lines, parse_progress
from slurmslice.spec.command import ShellText
from slurmslice.system.shell_quoting import quote
from tests.script.test_script import Place, wait_for
from tests.support.scripts import logged

HEAD = b"slurmslice log job=419 restart=0 at=1795424180 host=n3 slot=0 bytes=%d name=17.log%s\n"
END_LINE = b"slurmslice end job=419 restart=0 at=1795424180 host=n3 slot=0 exit=%d us=1 cpu_us=1\n"
START_LINE = b"slurmslice start job=419 restart=0 at=1795424100 host=n3 slot=0 format=1\n"
CLOSING = b"slurmslice log-end bytes=%d\n"


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Place]:
    here = Place(tmp_path)
    yield here
    here.clear()


def section(text: bytes) -> bytes:
    """Return the section of a text, as the library writes it."""
    between = b"" if text.endswith(b"\n") else b"\n"
    return HEAD % (len(text), b"") + (text + between + CLOSING % len(text) if text else b"")


def own_logs(directory: Place) -> list[str]:
    """Return the names of the slices' own logs."""
    logs = directory.submission() / "logs"
    return sorted(str(path.relative_to(logs)) for path in logs.rglob("*.log"))


TEXTS = st.binary(max_size=60) | st.sampled_from(
    [
        b"\n",
        b"\n\n",
        CLOSING % 28,
        b"\n" + CLOSING % 29,
        END_LINE % 1,
        section(b"x\n"),
        b"slurmslice log ",
    ]
)


@given(st.lists(TEXTS, max_size=5), st.integers(1, 200))
def test_any_text_comes_back_and_is_no_line(texts: list[bytes], size: int) -> None:
    """A text may hold anything, also lines of ours, and may be read in pieces of any size."""
    data = b"".join(map(section, texts)) + END_LINE % 7
    assert find_sections(data, "17.log") == [LogSection(text) for text in texts]
    chunks = (data[start : start + size] for start in range(0, len(data), size))
    wrote = parse_progress(extract_progress_lines(chunks), "419")
    assert wrote.slots[0].exit_code == 7
    assert wrote.restart == 0
    assert len(wrote.slots) == 1


@given(st.data())
def test_a_torn_section_does_not_count(data: st.DataObject) -> None:
    """A section that was cut anywhere is no section. Its text is no line; the next start's are."""
    whole = section(END_LINE % 0 + b"some\ntext\n")
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    after = b"x\n" + section(b"later\n")
    assert find_sections(cut + after, "17.log") == [LogSection(b"later\n")]
    before = END_LINE % 7
    alone = parse_progress(extract_progress_lines((before + cut,)), "419")
    assert alone.slots[0].exit_code == 7
    again = (START_LINE + END_LINE % 3).replace(b"restart=0", b"restart=1")
    wrote = parse_progress(extract_progress_lines((before + cut + again,)), "419")
    assert (wrote.restart, wrote.slots[0].exit_code) == (1, 3)


BYTES = b"".join(bytes([n]) for n in range(1, 256))
OUTPUTS = {
    "nothing": b"",
    "a line": b"hello\n",
    "no line end": b"hello",
    "line ends": b"\n\n",
    "all bytes": BYTES,
    "all bytes twice": BYTES[::-1] + BYTES,
    "blanks": b"  \t a\\n \r\n ",
    "lines of ours": section(b"x\n") + END_LINE % 1 + CLOSING % 9,
    "the longest": b"x" * 4096,
    "too long": b"x" * 4097,
    "far too long": b"y" * 200_000,
    "NUL": b"a\0b\n",
}


@pytest.mark.parametrize("pack", [1, 2, 3])
@pytest.mark.parametrize("name", OUTPUTS)
def test_every_byte_of_a_log_is_kept(directory: Place, name: str, pack: int) -> None:
    """In its own file or as a section; and an empty log is no file."""
    text = OUTPUTS[name]
    (directory.folder / "output").write_bytes(text)
    command = ShellText(f"cat {quote(str(directory.folder / 'output'))}")
    directory.write(command, direct=False, numbers=None, pack=pack, at_once=max(1, pack - 1))
    directory.make(rows=[("a",), ("b",), ("c",)][:pack])
    assert directory.run(0).code == 0
    for row in range(pack):
        assert logged(directory.submission(), f"row-{row + 40}.log") == text
    moved = b"\0" not in text and len(text) <= (4096 if pack == 1 else 1 << 16)
    assert len(own_logs(directory)) == (0 if moved else pack)


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_large_pack_leaves_three_files(directory: Place, at_once: int) -> None:
    """More slices than one rm removes. Their texts are in one file, whole and not mixed."""
    directory.write(
        ShellText('echo "$SLICE"; echo "again $SLICE"'),
        direct=False, numbers=None, pack=250, at_once=at_once,
    )  # fmt: skip
    directory.make(rows=[(f"k{i}",) for i in range(250)])
    assert directory.run(0).code == 0
    assert own_logs(directory) == []
    assert sorted(path.name for path in (directory.submission() / "tasks").iterdir()) == [
        "0.log",
        "0.logs",
    ]
    for i in (0, 99, 249):
        text = logged(directory.submission(), f"row-{i + 40}.log")
        assert text == f"k{i}\nagain k{i}\n".encode()


@pytest.mark.parametrize("pack", [1, 3])
def test_only_logs_of_failed_slices_are_kept(directory: Place, pack: int) -> None:
    """--keep-logs failed: a slice that is done leaves a note instead of its text."""
    command = ShellText('echo "$SLICE"; [[ $SLICE != b ]]')
    directory.write(command, direct=False, numbers=None, pack=pack, keep_logs="failed")
    directory.make(rows=[("a",), ("b",), ("c",)])
    for index in range(3 // pack):
        directory.run(index)
    texts = [logged(directory.submission(), f"row-{row}.log") for row in (40, 41, 42)]
    assert texts == [b"", b"b\n", b""]
    files = sorted((directory.submission() / "tasks").glob("*.log*"))
    data = b"".join(path.read_bytes() for path in files)
    assert find_sections(data, "row-40.log") == [LogSection(b"", dropped=True)]
    assert own_logs(directory) == []


def test_each_start_of_a_task_adds_a_section(directory: Place) -> None:
    """A restarted slice keeps the output of its earlier start."""
    directory.write(ShellText('echo "start $SLURM_RESTART_COUNT"'))
    directory.run(17, SLURM_RESTART_COUNT="0")
    directory.run(17, SLURM_RESTART_COUNT="1")
    assert logged(directory.submission(), "17.log") == b"start 0\nstart 1\n"
    assert own_logs(directory) == []


@pytest.mark.parametrize("pack", [1, 2])
def test_a_killed_task_loses_no_text(directory: Place, pack: int) -> None:
    """Until the end is recorded, the text is in the slice's own log."""
    command = ShellText('echo ready "$SLICE"; exec sleep 60')
    directory.write(command, direct=False, numbers=None, pack=pack)
    directory.make(rows=[("a",), ("b",)])
    task, own = directory.start(0), directory.submission() / "logs/row-40.log"
    wait_for(lambda: own.exists() and own.read_bytes() == b"ready a\n")
    directory.clear()
    task.communicate()
    assert logged(directory.submission(), "row-40.log") == b"ready a\n"


@pytest.mark.parametrize("pack", [1, 2])
def test_a_log_stays_if_its_section_cannot_be_written(directory: Place, pack: int) -> None:
    """A full disk: neither the text nor the log is lost."""
    directory.write(ShellText("echo text"), direct=False, numbers=None, pack=pack)
    directory.make(rows=[("a",), ("b",)])
    target = ' >&"$_out"' if pack == 1 else ' >>"$_file"'
    line = 'builtin printf %s "$_section"'
    text, full = directory.library.read_text(), "builtin printf >/dev/full %s text"
    assert text.count(line + target) == 1
    directory.library.write_text(text.replace(line + target, full))
    directory.run(0)
    assert (directory.submission() / "logs/row-40.log").read_bytes() == b"text\n"


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_nothing_of_the_user_is_written_or_emptied(directory: Place, kind: str) -> None:
    """A slice links its log to its own file, or puts something where the shared file will be."""
    put = {"link": "ln -s ../victim", "pipe": "mkfifo", "folder": "mkdir"}[kind]
    folder = quote(str(directory.submission()))
    command = (
        f"cd {folder}; echo text; ln -f logs/row-40.log mine; {put} tasks/0.logs 2>/dev/null; true"
    )
    directory.write(ShellText(command), direct=False, numbers=None, pack=2)
    directory.make(rows=[("a",), ("b",)])
    (directory.submission().parent / "victim").write_bytes(b"precious")
    assert directory.run(0).code == 0
    assert (directory.submission().parent / "victim").read_bytes() == b"precious"
    assert (directory.submission() / "mine").read_bytes() == b"text\n"
    assert (directory.submission() / "logs/row-41.log").read_bytes() == b"text\n"


def test_a_log_that_somebody_linked_is_not_emptied(directory: Place) -> None:
    """The log is removed under our name only."""
    folder = quote(str(directory.submission()))
    command = f"cd {folder}; echo text; ln logs/row-$SLICE_ROW.log mine.$SLICE_ROW"
    directory.write(ShellText(command), direct=False, numbers=None, pack=2)
    directory.make(rows=[("a",), ("b",)])
    assert directory.run(0).code == 0
    assert own_logs(directory) == []
    assert (directory.submission() / "mine.41").read_bytes() == b"text\n"


def test_a_limit_of_file_sizes_does_not_end_the_pack(directory: Place) -> None:
    """Each log is below the limit, and all of them together are not."""
    command = ShellText("head -c 9000 /dev/zero | tr '\\0' x")
    directory.write(command, direct=False, numbers=None, pack=4, setup="ulimit -f 20")
    directory.make(rows=[("a",), ("b",), ("c",), ("d",)])
    assert directory.run(0).code == 0
    for row in range(40, 44):
        assert logged(directory.submission(), f"row-{row}.log") == b"x" * 9000


def test_the_log_of_a_slice_at_its_time_limit_is_kept(directory: Place) -> None:
    """It has failed, although it saved its work and exited 0."""
    command = ShellText("trap 'echo saved; exit 0' TERM; sleep 20 & wait")
    directory.write(command, direct=False, numbers=None, pack=2, slice_time_s=1, keep_logs="failed")
    directory.make(rows=[("a",)])
    directory.run(0)
    assert logged(directory.submission(), "row-40.log") == b"saved\n"
