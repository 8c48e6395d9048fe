#!/usr/bin/env python3
"""Correlate one slice of a halo catalogue with the whole: pair counts in radial bins.

Writes RESULTS/<stem of file_1>.h5; ``combine.py`` sums these files and makes xi(r) of them.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from catalogue import Result, read_positions, write_result
from commandline import at_least_0, at_least_1, exit_status, side
from pairs import (
    Floats,
    InputError,
    analytic_pairs,
    check_edges,
    count_pairs,
    default_edges,
    is_part,
    random_pairs,
)

logger = logging.getLogger("correlate")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(
        prog="correlate.py", description=__doc__.splitlines()[0], allow_abbrev=False
    )
    add = parser.add_argument
    add("--file_1", type=Path, required=True, metavar="H5", help="the slice")
    add("--file_2", type=Path, required=True, metavar="H5", help="the whole catalogue")
    add("-l", dest="box", type=side, required=True, metavar="SIDE",
        help="side of the periodic box in Mpc/h")  # fmt: skip
    add("-n", dest="realisations", type=at_least_0, default=0, metavar="N",
        help="random realisations to take rr from; 0 (default): the analytic count")  # fmt: skip
    add("--m_factor", type=at_least_1, default=1, metavar="M",
        help="M times as many random points as data (default 1)")  # fmt: skip
    add("--seed", type=at_least_0, default=0, help="seed of the random points (default 0)")
    add("--slicing", action="store_true",
        help="file_1 is a slice of file_2: leave out each point with itself")  # fmt: skip
    add("--bins", type=Path, metavar="FILE",
        help="text file of bin edges in Mpc/h (default: 20 bins from 0.1 to 40)")  # fmt: skip
    add("--results", type=Path, default=Path("results"), metavar="DIR",
        help="folder of the result (default: results)")  # fmt: skip
    add("--log", type=Path, metavar="FILE", help="append a log to FILE")
    return parser.parse_args(argv)


@contextmanager
def logging_to(path: Path | None) -> Iterator[None]:
    """Let the logger append to the file ``path``, whose folder is made if need be."""
    handler: logging.Handler = logging.NullHandler()
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    except Exception as error:
        logger.error("%s", error, exc_info=not isinstance(error, InputError | OSError))
        raise
    finally:
        logger.removeHandler(handler)
        handler.close()


def read_edges(path: Path | None, box: float) -> Floats:
    """Return the bin edges in Mpc/h, shape (bins + 1,): those of the text file, or the default."""
    if path is None:
        return check_edges(default_edges(box), box)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    words = " ".join(line.split("#")[0] for line in lines).split()
    try:
        edges = np.array([float(word) for word in words])
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return check_edges(edges, box)


def random_generators(seed: int, stem: str, number: int) -> list[np.random.Generator]:
    """Return one generator a realisation, settled by the seed and the name of the slice alone."""
    entropy = [seed, zlib.crc32(stem.encode())]
    return [np.random.default_rng(s) for s in np.random.SeedSequence(entropy).spawn(number)]


def count(args: argparse.Namespace) -> Result:
    """Read the two catalogues and count."""
    box, part = args.box, args.slicing
    edges = read_edges(args.bins, box)
    first = read_positions(args.file_1, box)
    second = read_positions(args.file_2, box)
    logger.info("read %d positions of file_1 and %d of file_2", len(first), len(second))
    if part and (len(first) > len(second) or not is_part(first, second, box)):
        raise InputError(f"{args.file_1} is not a slice of {args.file_2}, as --slicing says")
    sizes = len(first), len(second)
    dd = count_pairs(first, second, edges, box, part=part)
    if args.realisations == 0:
        rr = analytic_pairs(*sizes, edges, box, part=part)
    else:
        generators = random_generators(args.seed, args.file_1.stem, args.realisations)
        rr = random_pairs(sizes, edges, box, part=part, factor=args.m_factor, generators=generators)
    return Result(edges, dd, rr, *sizes, box, part)


def correlate(args: argparse.Namespace) -> None:
    """Count the pairs of one slice with the whole and write the result."""
    target = args.results / f"{args.file_1.stem}.h5"
    if target.resolve() in (args.file_1.resolve(), args.file_2.resolve()):
        raise InputError(f"the result would replace the catalogue {target}; change --results")
    start = time.monotonic()
    logger.info("start: %s", ", ".join(f"{key}={value}" for key, value in vars(args).items()))
    result = count(args)
    settings: dict[str, str | int] = {
        "file_1": str(args.file_1),
        "file_2": str(args.file_2),
        "realisations": args.realisations,
        "m_factor": args.m_factor,
        "seed": args.seed,
    }
    write_result(target, result, settings)
    elapsed = time.monotonic() - start
    logger.info("wrote %s: %d pairs, %.2f s", target, result.dd.sum(), elapsed)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = parse(argv)

    def work() -> None:
        with logging_to(args.log):
            correlate(args)

    return exit_status("correlate.py", work)


if __name__ == "__main__":
    sys.exit(main())
