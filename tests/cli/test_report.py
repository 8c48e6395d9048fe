"""The verb ``report``: one file, whole or not at all, and a row per slice as CSV."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import random
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from slurmslice.reports.report_data import Numbers, Texts, pack_columns
from slurmslice.status.states import State
from tests.support.fakes import FakeEngine
from tests.support.typed import Typed

pytestmark = pytest.mark.usefixtures("interrupted")

HOSTILE = '</script><img src=x onerror="alert(1)">&quot;\'{{ 7*7 }}'


@pytest.fixture
def ended(typed: Typed, engine: FakeEngine) -> Typed:
    """A run with a hostile value, of which one slice has failed."""
    quoted = HOSTILE.replace('"', '""')
    (typed.folder / "t.csv").write_text(f'name,state\na,"x, ""y"""\nb,"{quoted}"\n')
    typed("submit", "--table", "t.csv", "--key", "name", "--mem", "1G", "-t", "10", "--name", "x",
          "--", "true", "{}")  # fmt: skip
    engine.end("100", 0, State.COMPLETED, elapsed_s=7.0, submitted_at=10, started_at=20,
               ended_at=27)  # fmt: skip
    engine.end("100", 1, State.FAILED, exit_code=1, elapsed_s=1.5)
    return typed


class Marks(HTMLParser):
    """The tags of a page, and the names of their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.attributes = set[str](), set[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}


def unpacked(page: str) -> bytes:
    """Return the data in a page."""
    found = re.search(r'id="data"[^>]*>([^<]*)<', page)
    assert found
    return zlib.decompress(base64.b64decode(found[1]))


def test_a_report_is_one_small_file_without_addresses(ended: Typed) -> None:
    """Its policy names its one style and its one script; no value is ever markup."""
    ended("report", "x", "--html", "r.html")
    assert ended.code == 0, ended.stderr
    text = (ended.folder / "r.html").read_text()
    assert len(text) < 150_000
    marks = Marks()
    marks.feed(text)
    assert "img" not in marks.tags
    assert not [name for name in marks.attributes if name.startswith("on")]
    assert marks.attributes.isdisjoint({"src", "href", "style", "action", "data"})
    assert "://" not in text
    assert "{{ 7*7 }}" in text
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy
    assert policy[1].startswith("default-src 'none'")
    for tag, kind in (("style", "style-src"), ("script", "script-src")):
        (body,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}'" in policy[1]
    assert b"FAILED" in unpacked(text)


def test_a_report_replaces_a_report_and_nothing_else(ended: Typed) -> None:
    """Nor a folder; a file that cannot be written is named, and nothing is left behind."""
    for _ in range(2):
        ended("report", "x", "--html", "r.html")
        assert ended.code == 0
    (ended.folder / "thesis.html").write_text("<!doctype html>\n<html>my thesis")
    (ended.folder / "folder").mkdir()
    (ended.folder / "link").symlink_to("nowhere")
    for name in ("thesis.html", "folder", "link", "none/r.html", "/proc/r.html"):
        before = sorted(path.name for path in ended.folder.iterdir())
        ended("report", "x", "--html", name)
        assert (ended.code, ended.error) == (2, "cannot-write-report"), name
        assert sorted(path.name for path in ended.folder.iterdir()) == before
    assert "thesis" in (ended.folder / "thesis.html").read_text()


def test_one_form_is_chosen(ended: Typed) -> None:
    """Not both, and not none."""
    ended("report", "x")
    assert ended.code == 2
    ended("report", "x", "--csv", "--html", "r.html")
    assert (ended.code, Path("r.html").exists()) == (2, False)


@pytest.mark.parametrize("words", [("report", "x", "--csv"), ("status", "x", "--csv")])
def test_a_row_per_slice(words: tuple[str, ...], ended: Typed) -> None:
    """A column with the name of ours is not lost; each value comes back as it was."""
    ended(*words)
    assert ended.code == 0
    rows = list(csv.DictReader(io.StringIO(ended.stdout, newline="")))
    assert [row["key"] for row in rows] == ["a", "b"]
    assert [row["column_state"] for row in rows] == ['x, "y"', HOSTILE]
    assert [row["state"] for row in rows] == ["COMPLETED", "FAILED"]
    assert (rows[0]["elapsed_s"], rows[1]["exit_code"], rows[1]["cpu_s"]) == ("7.0", "1", "")
    ended("status", "x", "--csv", "--state", "FAIL")
    assert len(ended.stdout.splitlines()) == 2


def test_packed_columns_have_their_values() -> None:
    """Codes of numbers, None, a dictionary, texts; also of bytes that are no UTF-8."""
    texts = [f"k{n}" for n in range(6)]
    columns: list[Numbers | Texts] = [
        Texts("key", texts), Texts("state", ["A", "B"] * 3), Texts("odd", ["\udcff"] * 6),
        Numbers("elapsed", [0.04, 1.26, None, 3e9, -5.0, 70000.0], "s"),
    ]  # fmt: skip
    data = zlib.decompress(base64.b64decode(pack_columns(columns)))
    length = int.from_bytes(data[:4], "little")
    heads, rest = json.loads(data[4 : 4 + length])["columns"], data[4 + length :]
    assert heads[0]["texts"] == texts
    assert (heads[1]["words"], heads[2]["words"]) == (["A", "B"], ["\ufffd"])
    planes = [rest[24 * n : 24 * n + 24] for n in range(3)]
    values = [
        [int.from_bytes(bytes(p[rank * 6 + row] for rank in range(4)), "little", signed=True)
         for row in range(6)]
        for p in planes
    ]  # fmt: skip
    assert values[0] == [0, 1] * 3
    assert values[2] == [0, 13, -(2**31), 2**31 - 1, -50, 70_540]


def large_columns(slices: int) -> list[Numbers | Texts]:
    """Return columns as a run of many slices has them, with figures by chance."""
    chance = random.Random(1)
    elapsed = [round(chance.lognormvariate(5, 0.7)) for _ in range(slices)]
    states = chance.choices(["COMPLETED", "FAILED", "OUT_OF_MEMORY"], [90, 8, 2], k=slices)
    return [
        Texts("key", [f"data/part-{n:06}.h5" for n in range(slices)]),
        Texts("rate", [str(chance.choice((0.1, 0.01, 0.001))) for _ in range(slices)]),
        Texts("state", states),
        Texts("reason", [f"exit {int(one != 'COMPLETED')}" for one in states]),
        Numbers("attempts", [1 + (one != "COMPLETED") for one in states]),
        Numbers("elapsed", elapsed, "s"),
        Numbers("memory", [round(chance.lognormvariate(6, 0.4)) << 20 for _ in elapsed], "B"),
        Numbers("CPU", [one * chance.uniform(0.8, 1) for one in elapsed], "s"),
        Numbers("started", [1_800_000_000 + n // 7 for n in range(slices)], "at"),
        Texts("node", [f"node{chance.randrange(400):04}" for _ in elapsed]),
    ]


def test_a_hundred_thousand_slices_take_little_room() -> None:
    """With the page around them at most 1.5 MB."""
    assert len(pack_columns(large_columns(100_000))) < 1_350_000
