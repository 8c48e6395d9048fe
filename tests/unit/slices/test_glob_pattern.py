"""``--glob``: patterns match like Python's glob, and circular links do not run forever."""

from __future__ import annotations

from glob import glob
from itertools import permutations
from pathlib import Path

import pytest

from slurmslice.errors import BadInputError
from slurmslice.slices.sources.glob_pattern import matching_paths
from tests.support.errors import raises_error

FILES = ("x.h5", "a/x.h5", "a/b/y.h5", "a/b/.z.h5", "a/.h/x.h5", "c[1]/a/b/x.h5", "c[1]/t.txt")

PATTERNS = (
    "*", "a/*.h5", "**", "**/", "**/*", "**/*.h5", "./**/*.h5", "a*/**", "a/**/", "**/a/**",
    "**/b/*.h5", "**/a/**/*.h5", "**/c[[]1]/**/x.h5", "**/.*.h5", "**/.h/*", "c*/../**/*.h5",
    "**/*/", "**/x.h5/", "**//x.h5", "a//**/y.h5", "{here}/**/*.h5", "/**nothing", "l/**/*.h5", "",
)  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files, and a link to one of its folders."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "l").symlink_to("c[1]")
    (tmp_path / "gone.h5").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_match_like_python_glob(here: Path, pattern: str) -> None:
    """Without circular links, all matches of ``glob`` are found; links to folders are followed."""
    pattern = pattern.replace("{here}", str(here))
    assert sorted(matching_paths(pattern)) == sorted(set(glob(pattern, recursive=True)))


def test_circular_links_end(here: Path) -> None:
    """Each file is found once, if folders contain themselves or each other through links."""
    (here / "a" / "up").symlink_to("..")
    (here / "a" / "b" / "same").symlink_to(".")
    (here / "c[1]" / "a" / "other").symlink_to(here / "a")
    (here / "self").symlink_to("self")
    found = matching_paths("a/b/**/*.h5")
    assert found == ["a/b/y.h5"]
    found = matching_paths("**/*.h5")
    assert {"x.h5", "a/x.h5", "a/b/y.h5", "c[1]/a/b/x.h5", "c[1]/a/other/x.h5"} <= {*found}
    assert not [path for path in found if "up/" in path or "same/" in path]


def test_too_many_circular_links_are_refused(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten folders with links to each other have millions of paths; the hint names a way out."""
    monkeypatch.setattr("slurmslice.slices.sources.glob_pattern.MAX_REVISITS", 2000)
    names = [f"f{n}" for n in range(10)]
    for name in names:
        (here / name).mkdir()
    for one, other in permutations(names, 2):
        (here / one / f"to-{other}").symlink_to(here / other)
    with raises_error(BadInputError, "link-loop") as why:
        matching_paths("**/*.h5")
    assert "--slices-from -" in why.value.hint
    assert not matching_paths("f1/*.h5")


def test_link_to_many_folders_is_followed(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of folders is not limited; only repeated visits count."""
    monkeypatch.setattr("slurmslice.slices.sources.glob_pattern.MAX_REVISITS", 3)
    for n in range(9):
        (here / ".far" / f"{n}").mkdir(parents=True)
        (here / ".far" / f"{n}" / "x.nc").touch()
    (here / "near").symlink_to(".far")
    assert len(matching_paths("**/*.nc")) == 9
