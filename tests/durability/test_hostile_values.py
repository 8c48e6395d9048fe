"""Hostile values from every input to every output: the same bytes, and nothing executed."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from slurmslice import sbatch
from slurmslice.errors import BadInputError
from slurmslice.run.run import Run
from slurmslice.settings.toml_reader import parse_settings
from slurmslice.slices.log_names import MAX_LOGS_PER_FOLDER
from slurmslice.slices.slice_table import MAX_VALUE_BYTES, SliceTable
from slurmslice.slices.sources.columns import add_computed_columns
from slurmslice.slices.sources.delimited_table import slices_from_table
from slurmslice.slices.sources.file_paths import FILE_PATHS, slices_from_paths
from slurmslice.slices.sources.grid import slices_from_grid
from slurmslice.slices.sources.key_list import slices_from_key_list
from slurmslice.spec.command import CommandWords, command_to_bash
from slurmslice.spec.per_slice_options import MAX_REQUESTS
from slurmslice.status.states import State
from slurmslice.system.escaping import unescape
from tests.cli.test_bad_input import here  # noqa: F401 - a fixture
from tests.conftest import NewRun
from tests.local.test_local_runs import Here
from tests.script.test_script import BASH
from tests.support.fakes import FakeEngine
from tests.support.hostile import CANARY, CORPUS, around, is_literal, is_text, values
from tests.support.typed import Typed

ROWS, COLUMNS = 2000, ("a", "b", "c", "d")
ALL = values(ROWS * (1 + len(COLUMNS)) + 500)


def test_there_are_as_many_as_promised() -> None:
    """At least 10,000 different values, none empty, none with a NUL."""
    assert len({*ALL}) == len(ALL) >= 10_000
    assert all(value and b"\0" not in value for value in ALL)


def written(records: list[list[bytes]]) -> bytes:
    """Write a CSV file, as Python's csv does."""
    file = io.StringIO(newline="")
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([list(map(os.fsdecode, r)) for r in records])
    return file.getvalue().encode("utf-8", "surrogateescape")


def records(width: int) -> list[list[bytes]]:
    """Return the values in rows of this many."""
    return [ALL[at : at + width] for at in range(0, ROWS * width, width)]


def column(table: SliceTable, name: str) -> list[bytes]:
    """Return the bytes of a column."""
    directory = table.columns.index(name)
    return [os.fsencode(table.column_values(row)[directory]) for row in range(len(table))]


# -- from input to output -------------------------------------------------------------------


@pytest.mark.usefixtures("unmeasured")
def test_from_a_table_to_the_command_and_back(here: Here) -> None:  # noqa: F811
    """The command gets 10,000 values of a CSV file through script and bash unchanged.

    It gets them as arguments and as variables, computed columns too. ``status`` prints the keys as
    JSON and as a table. Nothing runs but the command, and nothing is written outside the run.
    """
    here.folder /= 'a folder\'s $(touch pwned) `touch pwned` "é" %j'
    here.folder.mkdir()
    (here.folder / "v.csv").write_bytes(written([[b"k", *map(str.encode, COLUMNS)], *records(5)]))
    before = around(here.folder.parent)
    ran = here(
        "run", "--engine", "local", "--interval", "0.2", "--name", "x", "--pack", str(ROWS // 2),
        "--table", "v.csv", "--key", "k", "--column", "e={{ a }}", "--",
        "sh", "-c", "cat /proc/$$/cmdline /proc/$$/environ", "sh",
        "{}", "{a}", "<{b}>", "{c}", "{d}", "{e}",
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr + ran.stdout
    assert around(here.folder.parent) == before
    told = here.status("x")["slices"]
    for (key, a, b, c, d), slice_ in zip(records(5), told, strict=True):
        assert os.fsencode(slice_["key"]) == key
        got = Path(slice_["log"]).read_bytes().split(b"\0")
        assert got[4:10] == [key, a, b"<" + b + b">", c, d, a]
        names = ("SLICE", *(f"SLICE_{name.upper()}" for name in (*COLUMNS, "e")))
        for name, value in zip(names, (key, a, b, c, d, a), strict=True):
            assert name.encode() + b"=" + value in got[10:]
    lines = here("status", "x", "--slices").stdout.splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == [
        shown_in_a_table(row[0]) for row in records(5)
    ]


def shown_in_a_table(key: bytes) -> str:
    return SliceTable([os.fsdecode(key)]).data.decode().split("\n")[1].split("\t")[1]


# -- inputs ---------------------------------------------------------------------------------


def test_a_list_of_keys() -> None:
    """NUL may end all keys; a newline may end keys without newlines and carriage returns."""
    table = slices_from_key_list(b"\0".join(ALL) + b"\0", "f", nul=True)
    assert list(map(os.fsencode, table.keys)) == ALL
    lines = [value for value in ALL if not {*b"\r\n"} & {*value} and value.strip()]
    assert list(map(os.fsencode, slices_from_key_list(b"\n".join(lines), "f").keys)) == lines


@pytest.mark.parametrize("name", ["v.csv", "v.tsv", "-"])
def test_cells(name: str) -> None:
    """Formulas, quotes and separators are text. Values that TSV cannot hold are left out."""
    cells = [value for value in ALL if value.strip(b" \t\r\n")]  # others are blank rows
    if name == "v.tsv":
        cells = [value for value in cells if not {*b"\t\n\r"} & {*value}]
        data = b"k\n" + b"\n".join(cells) + b"\n"
    else:
        data = written([[b"k"], *([value] for value in cells)])
    table = slices_from_table(data, name, None)
    assert column(table, "k") == cells
    assert column(add_computed_columns(table, ["e={{ k }}"]), "e") == cells


def test_a_grid() -> None:
    """Values of an axis contain anything, with a backslash before a comma."""
    axis = [v for v in ALL if not v[:1].isdigit() and b"\0" not in v]
    typed = b",".join(v.replace(b"\\", b"\\\\").replace(b",", b"\\,") for v in axis)
    table, _ = slices_from_grid([f"a={os.fsdecode(typed)}"])
    assert column(table, "a") == axis
    assert [os.fsencode(key) for key in table.keys] == [b"a=" + value for value in axis]


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pattern finds files of any names, and their names are data from then on."""
    monkeypatch.chdir(tmp_path)
    names = [v for v in ALL[: ROWS * 2] if len(v) <= 255 and b"/" not in v and v[:1] != b"."]
    folder = Path("d;$(touch pwned)")
    folder.mkdir()
    for name in names:
        (folder / os.fsdecode(name)).touch()
    table = FILE_PATHS.read({"glob": "d;*/*", "settled": None}).table
    assert {*column(table, "name")} == {*names}
    assert len(table) == len(names) > ROWS
    assert {*map(os.fsencode, table.keys)} == {os.fsencode(folder / os.fsdecode(n)) for n in names}
    assert around(tmp_path) == {str(folder), *(str(folder / os.fsdecode(name)) for name in names)}
    assert slices_from_paths(table.keys, "*").keys[:] == table.keys[:]


def test_words_of_a_settings_file(tmp_path: Path) -> None:
    """Any text of TOML becomes an argument of the command, as bash reads it."""
    from slurmslice.cli.options.new_run_options import setting_keys

    words = [os.fsdecode(value) for value in ALL if is_text(value) and is_literal(value)]
    assert len(words) > 4000
    data = f"command = [{','.join(map(toml, words))}]\n"
    setting = parse_settings(data.encode(), "f", setting_keys()).always["words"]
    assert isinstance(setting.value, tuple)
    half = len(words) // 2  # one line may be as long as a program's arguments
    for some in (words[:half], words[half:]):
        line = command_to_bash(CommandWords(("printf", "%s\\0", *some)))
        assert line.isprintable()
        done = subprocess.run([BASH, "-c", "--", "eval \"$(cat)\""], input=line.encode(),
                              cwd=tmp_path, capture_output=True)  # fmt: skip
        literal = [word.replace("{{}}", "{}") for word in some]
        assert done.stdout.decode().split("\0")[:-1] == literal
    assert setting.value == tuple(words)
    assert not around(tmp_path)


def toml(text: str) -> str:
    """Return a basic string of TOML 1.0."""
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08x}"
                         for c in text) + '"'  # fmt: skip


def test_names_of_columns() -> None:
    """A column's name becomes a variable's name. Other names are refused, with their line."""
    for value in CORPUS:
        data = written([[b"k", value], [b"1", b"2"]])
        if re.fullmatch(rb"[A-Za-z_]\w*", value):
            assert slices_from_table(data, "v.csv", "k").columns == ("k", value.decode())
            continue
        with pytest.raises(BadInputError, match=r"v\.csv, line 1: "):
            slices_from_table(data, "v.csv", "k")


@pytest.mark.usefixtures("unmeasured")
def test_run_directories(typed: Typed, tmp_path: Path) -> None:
    """The script and Slurm write into a folder of any name, or the name is refused."""
    made, places = 0, []
    typed.patch.setattr(
        "slurmslice.cli.commands.render.write_data", lambda _: None
    )  # paths that are not UTF-8
    for number, value in enumerate(CORPUS[::2]):
        path = typed.folder / "in" / str(number) / os.fsdecode(value)
        if b"/" in value or value in {b".", b".."}:
            continue
        said = typed("render", "-a", "0-1", "--run-dir", str(path), "--name", "x", "--", "true")
        if typed.code == 2:
            assert typed.error in {"bad-run-path", "cannot-create-run"}, said
            assert not os.path.exists(path)
            continue
        made += 1
        text = (path / "script.sh").read_bytes().decode("utf-8", "surrogateescape")
        output = dict(sbatch.read_directives(text))["output"]
        assert output.replace("%%", "\0").replace("%a", "0").replace("\0", "%") == str(
            path / "submissions/001/tasks/0.log"
        )
        places.append((path, next(line for line in text.split("\n") if line.startswith("source "))))
    assert made > 70
    shown = "source() { printf '%s\\0' \"${1%/slurmslice.sh}\"; }\n"
    program = shown + "".join(f"{line}\n" for _, line in places)
    done = subprocess.run([BASH], input=os.fsencode(program), cwd=tmp_path, capture_output=True)
    assert done.stdout.split(b"\0")[:-1] == [os.fsencode(path) for path, _ in places]


@pytest.mark.parametrize("key", ["a" * 300, "b" * 5000, "x\n/../y", "\x1b[31m", "-x"])
def test_a_slice_instead_of_a_run_is_a_slice(key: str, new_run: NewRun, typed: Typed) -> None:
    """A key of any length is not a run: it is a slice of the only run."""
    new_run(SliceTable([key]))
    typed("cancel", "--dry-run", "--", key)
    assert (typed.code, typed.noted("would-cancel")[0]["slices"]) == (0, 1)
    typed("status", "--json", "--", key)
    assert [one["key"] for one in json.loads(typed.stdout)["slices"]] == [key]
    said = typed("run", "--run-dir", key * 30, "-a", "0-1", "--template", key * 30, "--", "true")
    assert typed.code == 2
    assert "There is no template" in said


def test_checked_files(here: Here) -> None:  # noqa: F811
    """``--check-file`` takes any file name; here all slices but the first write their file."""
    keys = [v for v in CORPUS if b"/" not in v and v not in {b".", b".."} and len(v) <= 255]
    (here.folder / "d").mkdir()
    (here.folder / "keys").write_bytes(b"".join(key + b"\0" for key in keys))
    before = around(here.folder)
    ran = here("run", "--engine", "local", "--interval", "0.2", "--name", "x", "--pack", "500",
               "--slices-from", "keys", "-0", "--check-file", "d/{}",
               "--shell", '[[ $SLICE_ROW == 0 ]] || echo done >"d/$SLICE"')  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    states = [slice_["state"] for slice_ in here.status("x")["slices"]]
    assert states == ["CHECK_FAILED", *["COMPLETED"] * (len(keys) - 1)]
    assert {name for name in around(here.folder) if not name.startswith("d/")} == before


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("way", ["--name", "--key", "--engine", "--pack", "-a", "--profile"])
def test_hostile_names_and_numbers_are_refused(way: str, typed: Typed) -> None:
    """Names, numbers and ranges are not data: odd ones are refused, and nothing is made."""
    before = around(typed.folder)
    line = ("--table", "t.csv") if way == "--key" else () if way == "-a" else ("-a", "0-1")
    (typed.folder / "t.csv").write_text("x\n1\n")
    for value in CORPUS:
        text = os.fsdecode(value)
        said = typed("run", "--dry-run", *line, f"{way}={text}" if way != "-a" else f"-a{text}",
                     "--", "true", "{}")  # fmt: skip
        assert all(map(str.isprintable, typed.lines)), said
        assert "Traceback" not in said
        assert typed.code == 2 or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._,%-]*", text), text
    assert around(typed.folder) == before | {"t.csv"}


def test_options_of_slices_take_columns_as_data(engine: FakeEngine, typed: Typed) -> None:
    """A column in ``--comment`` reaches sbatch as one word; a newline is refused."""
    fit = [value for value in CORPUS if b"\n" not in value and value.strip(b" \t\r\n")]
    for at in range(0, len(fit), 2 * MAX_REQUESTS):
        some = fit[at : at + MAX_REQUESTS]
        (typed.folder / "v.csv").write_bytes(written([[b"c"], *([value] for value in some)]))
        line = ("--name", f"x{at}", "--table", "v.csv", "--comment", "{c}", "--", "true", "{c}")
        engine.jobs.clear()
        typed("render", *line)
        assert typed.code == 0, typed.lines
        typed("submit", f"x{at}")
        script = typed.folder / f"runs/x{at}/script.sh"
        first = dict(sbatch.read_directives(script.read_text("utf-8", "surrogateescape")))[
            "comment"
        ]
        orders = [dict(job.order.overrides) for job in engine.jobs.values()]
        got = [first, *(order["comment"] for order in orders[1:])]
        assert list(map(os.fsencode, got)) == some
    (typed.folder / "v.csv").write_bytes(written([[b"c"], [b"a\nb"]]))
    assert "[control-character]" in typed("render", "--name", "y", *line[2:])


# -- outputs --------------------------------------------------------------------------------


def test_a_table_is_never_cut_in_a_pipe(new_run: NewRun, typed: Typed) -> None:
    """The longest possible key, with each byte escaped, is printed completely."""
    key = "\x01" * MAX_VALUE_BYTES
    new_run(SliceTable([key]))
    typed("status", "demo", "--slices")
    assert typed.lines[-1].split()[0] == "\\0001" * MAX_VALUE_BYTES


@pytest.fixture
def failed(new_run: NewRun, engine: FakeEngine) -> Run:
    """Make a run with each value as a key, in which each slice has failed."""
    engine.max_array_size = 20_000
    table = slices_from_key_list(b"\0".join(ALL) + b"\0", "f", nul=True)
    return new_run(table)


@pytest.mark.usefixtures("unmeasured")
def test_output_is_printable_and_complete(failed: Run, engine: FakeEngine, typed: Typed) -> None:
    """Each verb prints 10,000 keys without a control character; JSON and table lose no byte."""
    typed("submit", "demo")
    assert engine.jobs
    engine.end_all(State.FAILED)
    keys = list(map(os.fsdecode, CORPUS))
    for words in ("status", "runs", "resubmit --dry-run", "cancel --dry-run", "status --slices --"):
        typed(*words.split(), *(["demo", *keys] if "--slices" in words else []))
        assert all(line.replace("\t", "").isprintable() for line in typed.lines), words
    shown = [line.split("\t")[0] for line in typed.lines[1:]]
    assert [os.fsencode(unescape(key)) for key in shown] == list(CORPUS)
    typed("status", "demo", "--json")
    whole = "\n".join(typed.lines)
    assert whole.isascii()
    assert all(map(str.isprintable, typed.lines))
    slices = json.loads(whole)["slices"]
    assert [os.fsencode(slice_["key"]) for slice_ in slices] == ALL


def test_each_slice_has_a_log_file_of_its_own() -> None:
    """No key leads outside its folder, to another slice's log, or to a folder that is too full."""
    table = slices_from_key_list(b"\0".join(ALL) + b"\0", "f", nul=True)
    logs = [table.log_name(row) for row in range(len(ALL))]
    assert len({*map(str.casefold, logs)}) == len(ALL)
    folders, names = zip(*(log.split("/") for log in logs), strict=True)
    assert all(map(str.isdecimal, folders))
    assert all(name.endswith(".log") and not name.startswith((".", "-")) for name in names)
    assert max(Counter(folders).values()) <= MAX_LOGS_PER_FOLDER


@pytest.mark.usefixtures("unmeasured")
def test_logs_are_found_by_any_key(new_run: NewRun, typed: Typed) -> None:
    """``logs KEY`` shows the output of that slice for any key."""
    run = new_run(SliceTable(list(map(os.fsdecode, CORPUS))))
    typed("submit", "demo")
    paths = [run.directory.log_path(1, run.table.log_name(row)) for row in range(len(CORPUS))]
    for row, key in enumerate(CORPUS):
        paths[row].write_bytes(b"this is %d\n" % row)
        typed("logs", "demo", "--", os.fsdecode(key))
        assert typed.lines[-1] == f"this is {row}", key
        assert all(map(str.isprintable, typed.lines))


@pytest.mark.parametrize("keys", [("ROW-1", "../x"), ("a", "A", "row-0"), ("rOw-2", ".", "..")])
def test_log_names_stay_unique_if_case_is_ignored(keys: tuple[str, ...]) -> None:
    """A key may look like the name that another key gets as a replacement."""
    table = SliceTable(keys)
    names = [table.log_name(row).casefold() for row in range(len(keys))]
    assert len({*names}) == len(keys)


def test_nothing_was_run(tmp_path_factory: pytest.TempPathFactory) -> None:
    """There is no ``pwned`` in any folder of these tests, nor in their working directory."""
    assert not list(tmp_path_factory.getbasetemp().rglob(CANARY))
    assert not Path(CANARY).exists()
