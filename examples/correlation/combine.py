#!/usr/bin/env python3
"""Sum the pair counts of all slices, write xi(r) as a table and plot it."""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from catalogue import Result, read_result, replacing
from commandline import at_least_1, exit_status
from pairs import InputError, correlation
from plotting import plot, plot_format

NUMBERED = re.compile(r"(?P<prefix>.*-)(?P<index>\d+)")


def find_slices(folder: Path) -> tuple[str, dict[int, Path]]:
    """Return the prefix that the results in ``folder`` share, and each one's path by its number.

    Results are called <prefix><number>.h5, as in mill2sort-17.h5 with the prefix mill2sort-.
    """
    prefixes: set[str] = set()
    slices: dict[int, Path] = {}
    for path in sorted(folder.glob("[!.]*.h5")):
        match = NUMBERED.fullmatch(path.stem)
        if match is None:
            raise InputError(f"{path}: is not the result of a slice, named like mill2sort-17.h5")
        prefixes.add(match["prefix"])
        slices[int(match["index"])] = path
    if not slices:
        raise InputError(f"{folder}: there are no results here")
    if len(prefixes) > 1:
        raise InputError(f"{folder}: the results of different runs: {', '.join(sorted(prefixes))}")
    return prefixes.pop(), slices


def ranges(numbers: Iterable[int]) -> str:
    """Return numbers in the form 3,17,40-45."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def check_complete(prefix: str, found: Iterable[int], expect: int | None, folder: Path) -> None:
    """Refuse unless the slices are 0 ... expect - 1, or without ``expect`` 0 ... the last one."""
    have = set(found)
    want = set(range(max(have) + 1 if expect is None else expect))
    if want - have:
        missing = sorted(want - have)
        names = ", ".join(f"{prefix}{index}" for index in missing)
        raise InputError(
            f"{folder}: {len(missing)} of {len(want)} slices are missing: {names} "
            f"(-a {ranges(missing)})"
        )
    if have - want:
        raise InputError(
            f"{folder}: there are slices beyond the {len(want)} expected: {ranges(have - want)}"
        )


def add_results(paths: Sequence[Path]) -> Result:
    """Return the sum of the results, which must agree on the bins, the box and the whole."""
    total = read_result(paths[0])
    for path in paths[1:]:
        one = read_result(path)
        if not np.array_equal(one.edges, total.edges):
            raise InputError(f"{path}: its bin edges differ from those of {paths[0]}")
        if (one.box, one.slicing, one.n_2) != (total.box, total.slicing, total.n_2):
            raise InputError(
                f"{path}: its box, its --slicing or its whole differs from that of {paths[0]}"
            )
        total = replace(total, dd=total.dd + one.dd, rr=total.rr + one.rr, n_1=total.n_1 + one.n_1)
    if total.slicing and total.n_1 != total.n_2:
        raise InputError(f"the slices hold {total.n_1} points, but the whole {total.n_2}")
    return total


def write_table(path: Path, total: Result) -> None:
    """Write the columns r_lo, r_hi (Mpc/h), dd, rr and xi, one line a bin."""
    xi, _ = correlation(total.dd, total.rr, part=total.slicing)
    columns = (total.edges[:-1], total.edges[1:], total.dd, total.rr, xi)
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["r_lo", "r_hi", "dd", "rr", "xi"])
        table.writerows(zip(*(column.tolist() for column in columns), strict=True))


def combine(args: argparse.Namespace) -> None:
    """Sum, write and plot, and say so on standard output."""
    if not args.folder.is_dir():
        raise InputError(f"{args.folder}: there is no such folder")
    if args.plot is not None:
        plot_format(args.plot)
    prefix, slices = find_slices(args.folder)
    check_complete(prefix, slices, args.expect, args.folder)
    total = add_results([slices[index] for index in sorted(slices)])
    write_table(args.out, total)
    print(f"{len(slices)} slices, {total.n_1} points, {total.dd.sum()} pairs: {args.out}")
    if args.plot is not None:
        plot(args.plot, total, len(slices))
        print(f"plot: {args.plot}")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="combine.py", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="RESULTS_DIR", help="the folder of the slices' results")
    add("--out", type=Path, default=Path("xi.csv"), metavar="CSV", help="default xi.csv")
    add("--plot", type=Path, metavar="PNG", help="plot to this file (default: no plot)")
    add("--expect", type=at_least_1, metavar="N", help="how many slices there must be")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse(argv)
    return exit_status("combine.py", lambda: combine(args))


if __name__ == "__main__":
    sys.exit(main())
