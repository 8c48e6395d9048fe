"""Pair counts in a periodic box: the arithmetic of the example, without files.

Conventions, the same everywhere in this example:

* ``positions`` are float64 arrays of shape (n, 3) in Mpc/h, every coordinate in [0, box).
* Pairs are *ordered*: a and b make two pairs, (a, b) and (b, a).  That is what makes the
  counts of the slices add up to the count of the whole.
* Distances are those of the nearest periodic image.
* ``edges`` has one entry more than there are bins.  Bin i holds the pairs with
  ``edges[i] < r <= edges[i + 1]``; if the first edge is 0, the first bin also holds r = 0.
* A point with itself is left out when the first set is part of the second one; two
  different points at the same place are a pair like any other, at r = 0.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

Floats: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.int64]

DEFAULT_BINS = 20
DEFAULT_RANGE = (0.1, 40.0)


class InputError(ValueError):
    """The input cannot be used; the message is one sentence for the user."""


def default_edges(box: float) -> Floats:
    """Return 21 logarithmic edges from 0.1 to 40 Mpc/h, or to box / 4 if that is less.

    They are rounded to four digits, so that machines whose logarithms differ in the last
    bit still agree on the edges.
    """
    first, last = DEFAULT_RANGE[0], min(DEFAULT_RANGE[1], box / 4)
    if last < 10 * first:
        raise InputError(f"a box of side {box:g} is too small for the default bins; give --bins")
    edges = np.geomspace(first, last, DEFAULT_BINS + 1)
    return np.array([float(f"{edge:.4g}") for edge in edges])


def check_edges(edges: Floats, box: float) -> Floats:
    """Return ``edges`` (shape (bins + 1,), Mpc/h) if they increase from >= 0 to < box / 2.

    Beyond half the box a sphere meets its own periodic image, and neither the counts nor
    the volume of a shell mean what they should.
    """
    if edges.ndim != 1 or edges.size < 2:
        raise InputError("the bins need at least two edges")
    if not np.isfinite(edges).all() or edges[0] < 0:
        raise InputError("the bin edges must be finite and not negative")
    if not (np.diff(edges) > 0).all():
        raise InputError("the bin edges must increase from each one to the next")
    if edges[-1] >= box / 2:
        raise InputError(
            f"the last bin edge, {edges[-1]:g}, must be less than half the box side, {box / 2:g}"
        )
    return edges


def wrap(positions: Floats, box: float) -> Floats:
    """Return ``positions`` (any shape) moved by whole boxes into [0, box).

    The remainder of a tiny negative number rounds to ``box`` itself, which is outside the
    half-open box and stands for 0.
    """
    wrapped = np.mod(positions, box)
    wrapped[wrapped >= box] = 0.0
    return wrapped


def check_positions(positions: Floats, box: float, name: str) -> Floats:
    """Return ``positions``, shape (n, 3), in [0, box); refuse any that are outside [0, box].

    A coordinate equal to ``box`` is the same place as 0 and becomes 0.  ``name`` is what
    the messages call the catalogue.
    """
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise InputError(f"{name}: 'position' has the shape {positions.shape}, not (n, 3)")
    if not np.isfinite(positions).all():
        raise InputError(f"{name}: some positions are not finite numbers")
    outside = ((positions < 0) | (positions > box)).any(axis=1)
    if outside.any():
        first = positions[int(outside.argmax())].tolist()
        raise InputError(
            f"{name}: {outside.sum()} of {len(positions)} positions are outside the box "
            f"[0, {box:g}]; the first is {first}"
        )
    return wrap(positions, box)


def is_part(points: Floats, whole: Floats, box: float) -> bool:
    """Return whether each of ``points``, shape (n, 3), is at the place of a point of ``whole``."""
    if len(points) == 0 or len(whole) == 0:
        return len(points) == 0
    distances, _ = cKDTree(whole, boxsize=box).query(points)
    return not np.any(distances)


def count_pairs(first: Floats, second: Floats, edges: Floats, box: float, *, part: bool) -> Counts:
    """Return the number of ordered pairs in each bin, int64 of shape (bins,).

    ``part`` says that ``first`` is part of ``second``.  Each of its points then meets
    itself, at a distance of exactly 0, once: this many pairs are taken off the number of
    pairs within every radius.  The distance of a pair comes from the same arithmetic
    whatever the slices are, so that the counts of disjoint parts add up exactly, even
    for pairs that lie on an edge.
    """
    if len(first) == 0 or len(second) == 0:
        return np.zeros(len(edges) - 1, dtype=np.int64)
    tree = cKDTree(first, boxsize=box)
    within = np.asarray(tree.count_neighbors(cKDTree(second, boxsize=box), edges), dtype=np.int64)
    if part:
        within = within - len(first)
    if edges[0] == 0:
        within[0] = 0  # closes the first bin at r = 0
    return np.diff(within)


def shell_volumes(edges: Floats) -> Floats:
    """Return the volume of each bin's spherical shell in (Mpc/h)^3, shape (bins,)."""
    return np.asarray(4 / 3 * np.pi * np.diff(edges**3), dtype=np.float64)


def possible_pairs(n_first: int, n_second: int, *, part: bool) -> int:
    """Return the number of ordered pairs at any distance, a point with itself left out."""
    return n_first * (n_second - 1 if part else n_second)


def analytic_pairs(n_first: int, n_second: int, edges: Floats, box: float, *, part: bool) -> Floats:
    """Return the mean count in each bin if the points were uniform, float64 of shape (bins,)."""
    return possible_pairs(n_first, n_second, part=part) * (shell_volumes(edges) / box**3)


def random_pairs(
    sizes: tuple[int, int],
    edges: Floats,
    box: float,
    *,
    part: bool,
    factor: int,
    generators: list[np.random.Generator],
) -> Floats:
    """Return the count in each bin as random points give it, float64 of shape (bins,).

    ``sizes`` are the numbers of data points (n_1, n_2).  Each generator makes one
    realisation of ``factor`` times as many uniform points; as in the data, the first set
    is a piece of the second if ``part``, and independent of it if not.  The mean over the
    realisations is scaled to the number of data pairs, so that its expectation is
    ``analytic_pairs`` and the results of the slices add up.
    """
    n_first, n_second = factor * sizes[0], factor * sizes[1]
    pairs = possible_pairs(n_first, n_second, part=part)
    total = np.zeros(len(edges) - 1, dtype=np.int64)
    if pairs == 0 or not generators:
        return total.astype(np.float64)
    for generator in generators:
        second = wrap(box * generator.random((n_second, 3)), box)
        first = second[:n_first] if part else wrap(box * generator.random((n_first, 3)), box)
        total += count_pairs(first, second, edges, box, part=part)
    scale = possible_pairs(*sizes, part=part) / (pairs * len(generators))
    return np.asarray(total * scale, dtype=np.float64)


def correlation(dd: Counts, rr: Floats, *, part: bool) -> tuple[Floats, Floats]:
    """Return xi = dd / rr - 1 and its Poisson error, each of shape (bins,); NaN where rr is 0.

    If the slices make up the whole (``part``), dd counts each pair of points twice, and
    only dd / 2 of its pairs are independent.
    """
    twice = 2 if part else 1
    known = np.where(rr > 0, rr, np.nan)
    return dd / known - 1, np.sqrt(twice * dd) / known
