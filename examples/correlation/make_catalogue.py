#!/usr/bin/env python3
"""Make a clustered halo catalogue in a periodic box: the whole and its slices.

The points are a Neyman-Scott process: parents are uniform in the box, each has its own
Gaussian radius, and every point is scattered about a parent chosen at random.  The radii
are spread such that xi(r) follows a power law close to (r / 5 Mpc/h)^-1.8 up to some
10 Mpc/h, as that of haloes and galaxies does.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from catalogue import write_positions
from commandline import at_least_0, at_least_1, exit_status, side
from pairs import Floats, InputError, wrap

PARENT_DENSITY = 1.75e-4  # parents per (Mpc/h)^3; sets the amplitude of xi
RADII = (0.03, 10.0)  # smallest and largest Gaussian radius of a cluster, Mpc/h
SLOPE = 1.8  # of xi ~ r^-SLOPE between the two radii

WHOLE = "mill2_fof_sorted.h5"
SLICE = "mill2sort-{}.h5"


def clustered_points(number: int, box: float, generator: np.random.Generator) -> Floats:
    """Return ``number`` clustered positions in [0, box) Mpc/h, shape (number, 3).

    A cluster of radius s adds exp(-r^2 / 4 s^2) / s^3 to xi(r); radii with the density
    s^(3 - SLOPE) per unit of log s sum up to r^-SLOPE.
    """
    parents = max(1, round(PARENT_DENSITY * box**3))
    centres = box * generator.random((parents, 3))
    power = 3 - SLOPE
    low, high = (radius**power for radius in RADII)
    radii = (low + (high - low) * generator.random(parents)) ** (1 / power)
    parent = generator.integers(parents, size=number)
    scatter = generator.standard_normal((number, 3))
    return wrap(centres[parent] + radii[parent, np.newaxis] * scatter, box)


def sort_points(positions: Floats) -> Floats:
    """Return the rows of ``positions``, shape (n, 3), in the order of x, then y, then z."""
    return positions[np.lexsort(positions.T[::-1])]


def make_catalogue(folder: Path, points: int, slices: int, box: float, seed: int) -> None:
    """Write the whole, sorted by x, and its slices: contiguous pieces of nearly equal size."""
    if points < slices:
        raise InputError(f"{points} points cannot be cut into {slices} slices")
    whole = sort_points(clustered_points(points, box, np.random.default_rng(seed)))
    write_positions(folder / WHOLE, whole)
    for index, piece in enumerate(np.array_split(whole, slices)):
        write_positions(folder / SLICE.format(index), piece)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="make_catalogue.py", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path(), metavar="DIR", help="folder (default: this one)")
    add("--points", type=at_least_1, default=20_000, metavar="N", help="default 20000")
    add("--slices", type=at_least_1, default=99, metavar="N", help="default 99")
    add("--box", type=side, default=400.0, metavar="SIDE", help="in Mpc/h, default 400")
    add("--seed", type=at_least_0, default=17, help="default 17")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse(argv)
    return exit_status(
        "make_catalogue.py",
        lambda: make_catalogue(args.out, args.points, args.slices, args.box, args.seed),
    )


if __name__ == "__main__":
    sys.exit(main())
