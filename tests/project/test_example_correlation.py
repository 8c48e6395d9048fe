"""The correlation example: exact sums, whole files, clear errors."""

from __future__ import annotations

import csv
import importlib
import os
import signal
import subprocess
import sys
import warnings
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.paths import REPOSITORY

np = pytest.importorskip("numpy")
h5py = pytest.importorskip("h5py")
pytest.importorskip("scipy")
pytest.importorskip("matplotlib")

pytestmark = [
    pytest.mark.example,
    # Where one library has deprecated what another one uses, the example can do nothing about it.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:matplotlib"),
]

EXAMPLE = REPOSITORY / "examples" / "correlation"
NAMES = (
    "pairs", "catalogue", "commandline", "plotting",
    "correlate", "make_catalogue", "combine",
)  # fmt: skip


def load_example() -> list[Any]:
    """Import the example's modules, and leave neither them nor their folder on the path."""
    sys.path.insert(0, str(EXAMPLE))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return [importlib.import_module(name) for name in NAMES]
    finally:
        sys.path.remove(str(EXAMPLE))
        for name in NAMES:
            sys.modules.pop(name, None)


pairs, catalogue, _, plotting, correlate, make_catalogue, combine = load_example()

LAWS = settings(max_examples=60)
WHOLE = "mill2_fof_sorted.h5"


def brute_force(first: Any, second: Any, edges: Any, box: int, itself: int) -> list[int]:
    """Count ordered pairs of integer positions with integer arithmetic only.

    ``itself`` pairs are taken off where r = 0 counts: those of each point with itself.
    """
    apart = np.abs(first[:, np.newaxis, :] - second[np.newaxis, :, :])
    squares = (np.minimum(apart, box - apart) ** 2).sum(axis=2)
    counts = []
    for low, high in pairwise(edges):
        above = squares >= 0 if low == 0 else squares > low * low
        inside = int((above & (squares <= high * high)).sum())
        counts.append(inside - itself if low == 0 else inside)
    return counts


def cut(points: Any, cuts: list[int]) -> list[Any]:
    """Cut the rows of an array into contiguous pieces, some perhaps empty."""
    return list(np.split(points, sorted(c % (len(points) + 1) for c in cuts)))


triples = st.tuples(*[st.integers(0, 11)] * 3)
lattice_points = st.lists(triples, min_size=1, max_size=60)
lattice_edges = st.lists(st.integers(0, 5), min_size=2, max_size=6, unique=True).map(sorted)
cuts_lists = st.lists(st.integers(0, 1000), max_size=8)


# --- the counting ---------------------------------------------------------------------------


@LAWS
@given(points=lattice_points, edges=lattice_edges, cuts=cuts_lists)
def test_counts_are_those_of_brute_force(
    points: list[tuple[int, int, int]], edges: list[int], cuts: list[int]
) -> None:
    """Slice x whole equals a comparison of every pair, coincident points and edges included."""
    whole = np.array(points)
    for piece in cut(whole, cuts):
        found = pairs.count_pairs(
            piece.astype(float), whole.astype(float), np.array(edges, float), 12.0, part=True
        )
        assert found.dtype == np.int64
        assert found.tolist() == brute_force(piece, whole, edges, 12, itself=len(piece))


@LAWS
@given(first=lattice_points, second=lattice_points, edges=lattice_edges)
def test_nothing_is_left_out_between_different_catalogues(
    first: list[tuple[int, int, int]], second: list[tuple[int, int, int]], edges: list[int]
) -> None:
    """Without slicing every pair counts, also of points at the same place."""
    one, two = np.array(first), np.array(second)
    found = pairs.count_pairs(
        one.astype(float), two.astype(float), np.array(edges, float), 12.0, part=False
    )
    assert found.tolist() == brute_force(one, two, edges, 12, itself=0)


@LAWS
@given(
    points=st.lists(st.tuples(*[st.integers(0, 30)] * 3), min_size=1, max_size=150),
    box=st.sampled_from([0.7, 1.0, 10.0, 75.3, 400.0]),
    cells=st.integers(3, 31),
    steps=st.lists(st.sampled_from([0, 1, 2, 3, 2**0.5, 3**0.5, 5**0.5, 3.3]), min_size=2,
                   unique=True).map(sorted),
    cuts=cuts_lists,
)  # fmt: skip
def test_slices_sum_to_the_whole_even_on_the_edges(
    points: list[tuple[int, int, int]], box: float, cells: int, steps: list[float], cuts: list[int]
) -> None:
    """The sum of slice x whole is whole x whole, although the pairs lie on edges but for rounding.

    The points sit on a lattice whose step is no binary fraction, and so do the edges: where a
    pair falls depends on the last bit of its distance, which must be the same in every slicing.
    """
    step = box / cells
    whole = pairs.wrap(np.array(points) * step, box)
    edges = np.array(steps) * step
    total = pairs.count_pairs(whole, whole, edges, box, part=True)
    slices = [pairs.count_pairs(piece, whole, edges, box, part=True) for piece in cut(whole, cuts)]
    assert np.array_equal(np.sum(slices, axis=0), total)
    assert not (total % 2).any()  # (a, b) and (b, a)


@LAWS
@given(points=lattice_points, edges=lattice_edges, shift=triples)
def test_the_box_is_periodic(
    points: list[tuple[int, int, int]], edges: list[int], shift: tuple[int, int, int]
) -> None:
    """If all points move through the periodic box, no count changes."""
    whole, bins = np.array(points, float), np.array(edges, float)
    moved = pairs.wrap(whole + np.array(shift), 12.0)
    here = pairs.count_pairs(whole, whole, bins, 12.0, part=True)
    assert np.array_equal(here, pairs.count_pairs(moved, moved, bins, 12.0, part=True))


def test_coincident_points_are_pairs_but_a_point_with_itself_is_not() -> None:
    """Of three points at one place, a slice with one of them makes 2 pairs, not 3 and not 0."""
    whole = np.full((3, 3), 5.0)
    bins = np.array([0.0, 1.0])
    assert pairs.count_pairs(whole[:1], whole, bins, 10.0, part=True).tolist() == [2]
    assert pairs.count_pairs(whole, whole, bins, 10.0, part=True).tolist() == [6]
    assert pairs.count_pairs(whole, whole, bins, 10.0, part=False).tolist() == [9]
    assert pairs.count_pairs(whole, whole, bins + 0.5, 10.0, part=True).tolist() == [0]


def test_bins_are_open_below_and_closed_above() -> None:
    """A pair at r = 1 is in the bin (0, 1], not in (1, 2]."""
    whole = np.array([[1.0, 1.0, 1.0], [2.0, 1.0, 1.0]])
    bins = np.array([0.0, 1.0, 2.0])
    assert pairs.count_pairs(whole, whole, bins, 10.0, part=True).tolist() == [2, 0]


@given(st.floats(-1e4, 1e4), st.floats(1e-3, 1e4))
def test_wrapping_stays_inside_the_half_open_box(x: float, box: float) -> None:
    """A wrapped coordinate is in [0, box), also if the remainder rounds to box."""
    for value in (x, -abs(x) * 1e-20, box, -box, np.nextafter(0, -1)):
        wrapped = pairs.wrap(np.array([value]), box)[0]
        assert 0 <= wrapped < box


def test_a_coordinate_at_the_far_side_is_at_zero() -> None:
    """X = L is the same place as x = 0, and no other valid coordinate is changed."""
    points = np.array([[10.0, 0.0, np.nextafter(10.0, 0)]])
    checked = pairs.check_positions(points, 10.0, "c")
    assert checked.tolist() == [[0.0, 0.0, np.nextafter(10.0, 0)]]


@given(st.floats(4.0, 1e5))
def test_default_bins_fit_every_box(box: float) -> None:
    """The default edges increase, start at 0.1 and stay below half the box."""
    edges = pairs.check_edges(pairs.default_edges(box), box)
    assert len(edges) == 21
    assert edges[0] == 0.1
    assert edges[-1] <= 40


# --- what uniform points would give ---------------------------------------------------------


@LAWS
@given(cuts=cuts_lists, number=st.integers(1, 10**6))
def test_analytic_counts_of_the_slices_sum_to_the_whole(cuts: list[int], number: int) -> None:
    """The analytic counts add up to n (n - 1) times the share of the box in the shell."""
    edges = np.array([0.0, 1.0, 2.0, 5.0])
    sizes = np.diff([0, *sorted(c % (number + 1) for c in cuts), number])
    slices = [pairs.analytic_pairs(n, number, edges, 20.0, part=True) for n in sizes.tolist()]
    volumes = 4 / 3 * np.pi * np.array([1.0, 7.0, 117.0])
    expected = number * (number - 1) * volumes / 20.0**3
    np.testing.assert_allclose(np.sum(slices, axis=0), expected, rtol=1e-12)
    cross = pairs.analytic_pairs(3, number, edges, 20.0, part=False)
    np.testing.assert_allclose(cross, 3 * number * volumes / 20.0**3, rtol=1e-12)


@pytest.mark.parametrize("part", [True, False])
@pytest.mark.parametrize("factor", [1, 3])
def test_random_counts_are_on_average_the_analytic_ones(part: bool, factor: int) -> None:
    """The mean over realisations is the analytic count within its errors, whatever m_factor is."""
    edges = np.array([0.0, 2.0, 4.0, 9.0])
    number = 40
    generators = correlate.random_generators(1, "slice-3", number)
    sizes = 50, 300
    found = pairs.random_pairs(sizes, edges, 20.0, part=part, factor=factor, generators=generators)
    expected = pairs.analytic_pairs(*sizes, edges, 20.0, part=part)
    sigma = np.sqrt(2 * expected / number) / factor
    assert (np.abs(found - expected) < 5 * sigma).all()


def test_xi_is_unknown_where_nothing_is_expected() -> None:
    """Xi is dd / rr - 1, its error counts each pair once, and both are NaN where rr is 0."""
    xi, error = pairs.correlation(np.array([8, 3]), np.array([2.0, 0.0]), part=True)
    assert xi[0] == 3
    assert error[0] == pytest.approx(4 * 4**-0.5)  # 4 +- 2 independent pairs where 1 is expected
    assert np.isnan([xi[1], error[1]]).all()
    _, across = pairs.correlation(np.array([8]), np.array([2.0]), part=False)
    assert across[0] == pytest.approx(8**0.5 / 2)


# --- the command lines ----------------------------------------------------------------------


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def points() -> Any:
    """Return 200 uniform positions in a box of side 20."""
    return 20 * np.random.default_rng(5).random((200, 3))


def write(name: str, data: Any, dataset: str = "position") -> Path:
    """Write an array to an HDF5 file, past the example's own code."""
    with h5py.File(name, "w") as file:
        file[dataset] = data
    return Path(name)


def small(*more: str, file_1: str = "s-0.h5", file_2: str = "whole.h5") -> list[str]:
    """Return a command line of correlate.py in a box of side 20."""
    return ["--file_1", file_1, "--file_2", file_2, "-l", "20", *more]


def run(script: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts as a user does."""
    return subprocess.run(
        [sys.executable, str(EXAMPLE / script), *args],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def read(path: Path | str) -> dict[str, Any]:
    """Return all datasets of an HDF5 file."""
    with h5py.File(path) as file:
        return {name: file[name][()] for name in file}


def correlate_slices(number: int, *more: str, box: str = "20") -> None:
    """Correlate mill2sort-0 ... with the whole, in this process, into results/."""
    for index in range(number):
        slice_ = f"mill2sort-{index}.h5"
        args = ["--file_1", slice_, "--file_2", WHOLE, "-l", box, "--slicing", *more]
        assert correlate.main(args) == 0


def make(points: int, slices: int, *more: str, box: str = "20") -> None:
    """Make a catalogue here."""
    args = ["--points", str(points), "--slices", str(slices), "--box", box, *more]
    assert make_catalogue.main(args) == 0


@pytest.fixture
def three(here: Path) -> Path:
    """Return a folder with the results of three slices."""
    make(100, 3)
    correlate_slices(3)
    return here / "results"


def test_the_sum_over_99_slices_is_exactly_the_whole(here: Path) -> None:
    """99 unequal slices of a clustered catalogue: dd sums to whole x whole, integer for integer."""
    make(5003, 99, box="400")
    correlate_slices(99, "--log", "logs/all.log", box="400")
    args = ["--file_1", WHOLE, "--file_2", WHOLE, "-l", "400", "--slicing", "--results", "one"]
    assert correlate.main(args) == 0
    whole = read(f"one/{WHOLE}")
    slices = [read(f"results/mill2sort-{index}.h5") for index in range(99)]
    assert sum(s["dd"] for s in slices).tolist() == whole["dd"].tolist()
    assert sum(int(s["n_1"]) for s in slices) == whole["n_2"] == 5003
    np.testing.assert_allclose(sum(s["rr"] for s in slices), whole["rr"], rtol=1e-12)
    assert combine.main(["results", "--plot", "xi.png", "--expect", "99"]) == 0
    with Path("xi.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["r_lo", "r_hi", "dd", "rr", "xi"]
    assert [int(row["dd"]) for row in rows] == whole["dd"].tolist()
    assert [float(row["r_lo"]) for row in rows] == whole["edges"][:-1].tolist()
    assert [float(row["r_hi"]) for row in rows] == whole["edges"][1:].tolist()
    for row in rows:
        assert float(row["xi"]) == pytest.approx(int(row["dd"]) / float(row["rr"]) - 1)
    assert Path("xi.png").read_bytes().startswith(b"\x89PNG\r\n")
    assert sorted(path.name for path in Path().iterdir() if "xi" in path.name) == [
        "xi.csv",
        "xi.png",
    ]


def test_the_scripts_run_from_any_folder_as_the_readme_says(tmp_path: Path) -> None:
    """The three programs run as in the README, and the result has the datasets it describes."""
    done = run("make_catalogue.py", "--out", "data", "--points", "990", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    data = tmp_path / "data"
    line = (
        f"--file_1 mill2sort-17.h5 --file_2 {WHOLE} -l 400 -n 0 --m_factor 1 --slicing "
        "--log logs/mill2sort-17.log"
    )
    done = run("correlate.py", *line.split(), cwd=data)
    assert (done.returncode, done.stderr) == (0, "")
    assert "wrote results/mill2sort-17.h5" in (data / "logs/mill2sort-17.log").read_text()
    result = read(data / "results/mill2sort-17.h5")
    assert set(result) == {"edges", "dd", "rr", "n_1", "n_2"}
    bins = len(result["edges"]) - 1
    assert (result["dd"].dtype, result["dd"].shape) == (np.int64, (bins,))
    assert (result["rr"].dtype, result["rr"].shape) == (np.float64, (bins,))
    assert (result["edges"].dtype, result["n_1"], result["n_2"]) == (np.float64, 10, 990)
    done = run("combine.py", "results", "--expect", "99", cwd=data)
    assert done.returncode == 2
    assert "(-a 0-16,18-98)" in done.stderr


@pytest.mark.parametrize(("number", "slices"), [(1000, 99), (99, 99), (7, 1), (100, 3)])
def test_no_point_is_lost_or_doubled(here: Path, number: int, slices: int) -> None:
    """The slices are contiguous, non-empty, nearly equal pieces of the catalogue sorted by x."""
    make(number, slices, box="50")
    whole = read(WHOLE)["position"]
    pieces = [read(f"mill2sort-{index}.h5")["position"] for index in range(slices)]
    assert np.array_equal(np.concatenate(pieces), whole)
    assert whole.shape == (number, 3)
    assert (np.diff(whole[:, 0]) >= 0).all()
    assert ((whole >= 0) & (whole < 50)).all()
    sizes = {len(piece) for piece in pieces}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert len(list(here.iterdir())) == slices + 1


def test_the_catalogue_follows_from_the_seed_and_is_clustered(here: Path) -> None:
    """A seed makes the same catalogue again, another seed another one; xi is large at small r."""
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        make(4000, 2, "--out", folder, "--seed", seed, box="200")
    a, b, c = (read(f"{folder}/{WHOLE}")["position"] for folder in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    edges = np.array([0.5, 2.0, 40.0, 80.0])
    dd = pairs.count_pairs(a, a, edges, 200.0, part=True)
    xi = dd / pairs.analytic_pairs(4000, 4000, edges, 200.0, part=True) - 1
    assert 5 < xi[0] < 100
    assert abs(xi[2]) < 0.05


@pytest.mark.parametrize("realisations", ["0", "20"])
def test_uniform_points_are_not_correlated(here: Path, points: Any, realisations: str) -> None:
    """Of a uniform catalogue xi is 0 within its errors, summed over slices, with either rr."""
    for index, piece in enumerate(np.array_split(points, 4)):
        write(f"mill2sort-{index}.h5", piece)
    write(WHOLE, points)
    Path("bins").write_text("# Mpc/h\n0 3 # the smallest\n6\n9\n")
    correlate_slices(4, "-n", realisations, "--bins", "bins", "--m_factor", "2")
    assert combine.main(["results", "--out", "xi.csv"]) == 0
    with Path("xi.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["r_lo"], row["r_hi"]) for row in rows] == [
        ("0.0", "3.0"),
        ("3.0", "6.0"),
        ("6.0", "9.0"),
    ]
    for row in rows:
        assert abs(float(row["xi"])) < 5 * (2 * int(row["dd"])) ** 0.5 / float(row["rr"])


def test_random_counts_follow_from_the_seed_and_the_slice(here: Path, points: Any) -> None:
    """The same seed and slice give the same rr again; another seed or slice gives another."""
    write("whole.h5", points)
    for index in (0, 1):
        write(f"s-{index}.h5", points[:50])

    def rr(seed: str, index: int) -> list[float]:
        args = small("-n", "2", "--slicing", "--seed", seed, file_1=f"s-{index}.h5")
        assert correlate.main(args) == 0
        return list(read(f"results/s-{index}.h5")["rr"])

    first = rr("7", 0)
    assert rr("7", 0) == first
    assert rr("8", 0) != first
    assert rr("7", 1) != first


def test_float32_and_the_far_side_are_read(here: Path) -> None:
    """Positions of type float32 and coordinates equal to L are valid, and are periodic."""
    whole = np.array([[20.0, 1, 1], [0.0, 1, 1], [19.75, 1, 1]], dtype=np.float32)
    write("whole.h5", whole)
    write("s-0.h5", whole[:1])
    Path("bins").write_text("0 0.1 0.25 1")
    assert correlate.main(small("--slicing", "--bins", "bins")) == 0
    assert read("results/s-0.h5")["dd"].tolist() == [1, 1, 0]


def test_an_empty_slice_counts_nothing(here: Path, points: Any) -> None:
    """A slice without points is valid and adds zeros."""
    write("whole.h5", points)
    write("s-0.h5", points[:0])
    for realisations in ("0", "1"):
        assert correlate.main(small("--slicing", "-n", realisations)) == 0
        result = read("results/s-0.h5")
        assert not result["dd"].any()
        assert not result["rr"].any()


# --- refusals -------------------------------------------------------------------------------


def spoil(kind: str, points: Any) -> list[str]:
    """Prepare bad input of a kind; return the command line that meets it."""
    write("whole.h5", points)
    write("s-0.h5", points[:9])
    bins = {
        "bins fall": "1 2 2 3", "bins negative": "-1 2", "bins few": "1", "bins text": "1 two",
        "bins nan": "1 nan", "bins wide": "1 10",
    }  # fmt: skip
    if kind in bins:
        Path("bins").write_text(bins[kind])
        return small("--bins", "bins")
    outside, infinite = points.copy(), points.copy()
    outside[3, 1], infinite[3, 1] = -1e-9, np.nan
    data = {
        "shape": points[:, :2], "rank": points.ravel(), "outside": outside, "nan": infinite,
        "text": b"abc", "stranger": points[:9] + 1e-9, "larger": np.tile(points, (2, 1)),
    }  # fmt: skip
    if kind in data:
        write("s-0.h5", data[kind])
    elif kind == "dataset":
        write("s-0.h5", points, dataset="pos")
    elif kind == "group":
        write("s-0.h5", points, dataset="position/x")
    elif kind == "format":
        Path("s-0.h5").write_text("x,y,z\n")
    elif kind == "half":
        content = Path("whole.h5").read_bytes()
        Path("s-0.h5").write_bytes(content[: len(content) // 2])
    extra = {
        "file": ["--file_1", "no.h5"], "bins file": ["--bins", "no"], "small box": ["-l", "1"],
        "overwrite": ["--results", "."], "stranger": ["--slicing"], "larger": ["--slicing"],
    }  # fmt: skip
    return small(*extra.get(kind, []))


REFUSALS = {
    "bins fall": "must increase",
    "bins negative": "not negative",
    "bins few": "at least two",
    "bins text": "'two'",
    "bins nan": "finite",
    "bins wide": "less than half the box side, 10",
    "shape": "the shape (200, 2), not (n, 3)",
    "rank": "the shape (600,), not (n, 3)",
    "outside": "1 of 200 positions are outside the box [0, 20]",
    "nan": "not finite",
    "text": "real numbers",
    "stranger": "is not a slice of",
    "larger": "is not a slice of",
    "dataset": "no dataset 'position'",
    "group": "no dataset 'position'",
    "format": "cannot be read as an HDF5 file",
    "half": "cannot be read as an HDF5 file",
    "file": "no.h5: there is no such file",
    "bins file": "no: there is no such file",
    "small box": "too small for the default bins",
    "overwrite": "would replace the catalogue",
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_bad_input_is_refused_in_a_sentence(
    here: Path, points: Any, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Bad input ends with status 2, one line on standard error, one in the log and no result."""
    args = spoil(kind, points)
    before = {path: path.read_bytes() for path in here.glob("*.h5")}
    assert correlate.main([*args, "--log", "logs/x.log"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("correlate.py: error: ")
    assert REFUSALS[kind] in message
    assert message.count("\n") == 1
    log = Path("logs/x.log").read_text()
    assert "ERROR" in log
    assert "Traceback" not in log
    assert not list(here.glob("results/*"))
    assert {path: path.read_bytes() for path in here.glob("*.h5")} == before


@pytest.mark.parametrize(
    "extra", [["-n", "-1"], ["-l", "0"], ["-l", "inf"], ["--m_factor", "0"], ["--seed", "x"]]
)
def test_options_out_of_range_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    """A number that an option cannot have ends with status 2 and names the option."""
    with pytest.raises(SystemExit) as ended:
        correlate.main(small(*extra))
    assert ended.value.code == 2
    assert extra[0] in capsys.readouterr().err.splitlines()[-1]


def test_a_refusal_shows_no_traceback_to_the_user(tmp_path: Path) -> None:
    """As a program of its own, too, bad input gives status 2 and a single sentence."""
    done = run("correlate.py", *small(), cwd=tmp_path)
    assert done.returncode == 2
    assert (done.stderr.count("\n"), "s-0.h5" in done.stderr) == (1, True)
    done = run("make_catalogue.py", "--points", "5", cwd=tmp_path)
    assert done.returncode == 2
    assert (done.stderr.count("\n"), "99" in done.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_cannot_be_written_is_no_traceback(
    here: Path, points: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the results' folder is a file, the status is 1 and a line says so."""
    write("whole.h5", points)
    write("s-0.h5", points[:9])
    Path("results").write_text("")
    assert correlate.main(small()) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_slices_are_named(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With slices missing, combine.py names them, ends with status 2 and writes nothing."""
    (three / "mill2sort-1.h5").unlink()
    for expect in ([], ["--expect", "3"]):
        assert combine.main([str(three), *expect, "--plot", "xi.png"]) == 2
        message = capsys.readouterr().err
        assert "mill2sort-1 (-a 1)" in message
    assert combine.main([str(three), "--expect", "7"]) == 2
    assert "mill2sort-1, mill2sort-3, mill2sort-4," in capsys.readouterr().err
    assert not Path("xi.csv").exists()
    assert not Path("xi.png").exists()


def test_the_last_slice_is_missed_without_expect(
    three: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --expect, the number of points shows that the last slice is missing."""
    (three / "mill2sort-2.h5").unlink()
    assert combine.main([str(three)]) == 2
    assert "67 points" in capsys.readouterr().err
    assert not Path("xi.csv").exists()


def test_half_written_files_are_not_slices(three: Path) -> None:
    """A temporary file that a killed task has left does not disturb combine.py."""
    (three / ".mill2sort-1.h5.0badcafe.tmp").write_bytes(b"\x89HDF")
    assert combine.main([str(three), "--expect", "3"]) == 0


def change(kind: str, results: Path) -> list[str]:
    """Spoil the results in a way; return more arguments for combine.py."""
    last = results / "mill2sort-2.h5"
    if kind in {"edges", "dd", "n_2"}:
        with h5py.File(last, "r+") as file:
            value = file[kind][()]
            del file[kind]
            file[kind] = value[1:] if kind == "dd" else value + 1
    elif kind in {"box", "slicing"}:
        with h5py.File(last, "r+") as file:
            file.attrs[kind] = 0
    elif kind == "attribute":
        with h5py.File(last, "r+") as file:
            del file.attrs["box"]
    elif kind == "scalar":
        with h5py.File(last, "r+") as file:
            del file["n_1"]
            file["n_1"] = [1, 2]
    elif kind == "half":
        last.write_bytes(last.read_bytes()[:1000])
    elif kind == "name":
        last.rename(results / "whole.h5")
    elif kind == "prefix":
        last.rename(results / "other-2.h5")
    elif kind == "none":
        for path in results.iterdir():
            path.unlink()
    more = {"extra": ["--expect", "2"], "plot": ["--plot", "xi.docx"]}
    return [str(results / "no" if kind == "folder" else results), *more.get(kind, [])]


SPOILT = {
    "edges": "mill2sort-2.h5: its bin edges differ from those of",
    "dd": "mill2sort-2.h5: the shapes",
    "n_2": "differs from that of",
    "box": "differs from that of",
    "slicing": "differs from that of",
    "attribute": "mill2sort-2.h5: there is no attribute 'box'",
    "scalar": "'n_1' is not a single number",
    "half": "mill2sort-2.h5: cannot be read as an HDF5 file",
    "name": "whole.h5: is not the result of a slice",
    "prefix": "different runs: mill2sort-, other-",
    "none": "there are no results here",
    "extra": "beyond the 2 expected: 2",
    "plot": "xi.docx: cannot plot",
    "folder": "there is no such folder",
}


@pytest.mark.parametrize("kind", SPOILT)
def test_results_that_do_not_belong_together_are_refused(
    three: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """Results that cannot be added end with status 2 and a line that names them."""
    assert combine.main(change(kind, three)) == 2
    message = capsys.readouterr().err
    assert message.startswith("combine.py: error: ")
    assert SPOILT[kind] in message
    assert message.count("\n") == 1
    assert not Path("xi.csv").exists()


def test_numbers_are_shown_as_ranges() -> None:
    """Missing slices are listed in the form that -a takes."""
    assert combine.ranges([45, 3, 17, 44, 43]) == "3,17,43-45"


def test_every_kind_of_value_is_plotted(here: Path) -> None:
    """Positive, negative, empty and unknown bins, and none at all, make a plot without warning."""
    edges = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    rr = np.array([1.0, 9.0, 5.0, 0.0, 4.0])
    for number, dd in enumerate(([10, 3, 0, 2, 4], [0] * 5)):
        result = catalogue.Result(edges, np.array(dd), rr, 9, 9, 20.0, True)
        plotting.plot(Path(f"{number}.png"), result, 1)
        assert Path(f"{number}.png").stat().st_size > 10_000


# --- whole files or none --------------------------------------------------------------------

KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import correlate, h5py

create = h5py.Group.create_dataset
def create_some(self, name, *args, **kwargs):
    if name == "rr":
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return create(self, name, *args, **kwargs)
h5py.Group.create_dataset = create_some
correlate.main(sys.argv[2:])
"""


def test_a_killed_task_leaves_no_half_result(here: Path, points: Any) -> None:
    """Killed while it writes, a task leaves no result, or the old one untouched."""
    write("whole.h5", points)
    write("s-0.h5", points[:9])
    command = [sys.executable, "-c", KILLED, str(EXAMPLE), *small("--slicing")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    left = os.listdir("results")
    assert len(left) == 1  # it was killed while it wrote
    assert left[0].startswith(".")
    assert left[0].endswith(".tmp")
    assert correlate.main(small("--slicing")) == 0
    good = Path("results/s-0.h5").read_bytes()
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert Path("results/s-0.h5").read_bytes() == good


def test_a_failed_write_leaves_nothing(
    here: Path, points: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a write fails, as on a full disk, neither a result nor a temporary file is left."""
    write("whole.h5", points)
    write("s-0.h5", points[:9])
    create = h5py.Group.create_dataset

    def full(self: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "rr":
            raise OSError("No space left on device")
        return create(self, name, *args, **kwargs)

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    assert correlate.main(small()) == 1
    said = capsys.readouterr().err
    assert (said.count("\n"), "No space left on device" in said) == (1, True)
    assert os.listdir("results") == []
