"""The HDF5 files of the example: catalogues of positions and the results of the slices.

A catalogue has one dataset, ``position``: shape (n, 3), any real type, in Mpc/h.

A result has the datasets ``edges`` (float64, shape (bins + 1,), Mpc/h), ``dd`` (int64,
shape (bins,)), ``rr`` (float64, shape (bins,)), ``n_1`` and ``n_2`` (int64 scalars), and
attributes that say how it was made, of which ``box`` and ``slicing`` are read again.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pairs import Counts, Floats, InputError, check_positions


@dataclass(frozen=True)
class Result:
    """What one slice, or their sum, has counted; the shapes are those of the file."""

    edges: Floats
    dd: Counts
    rr: Floats
    n_1: int
    n_2: int
    box: float
    slicing: bool


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a hidden temporary name beside ``path``; what is written there then becomes ``path``.

    The change of name is atomic: a reader, or the next run after a killed one, sees either
    the whole file or none (the old one, if there was one), never a half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def reading(path: Path) -> Iterator[Any]:
    """Open the HDF5 file ``path`` to read; what goes wrong becomes an ``InputError``."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as an HDF5 file ({error})") from error


def read_dataset(file: Any, name: str, path: Path) -> Any:
    """Return the dataset ``name`` of an open file as an array of real numbers."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise InputError(f"{path}: there is no dataset '{name}'")
    if dataset.dtype.kind not in "fiu" or dataset.shape is None:
        raise InputError(f"{path}: '{name}' does not hold real numbers")
    return dataset[()]


def read_number(file: Any, name: str, path: Path) -> int:
    """Return the scalar dataset ``name`` of an open file."""
    value = read_dataset(file, name, path)
    if np.ndim(value) != 0:
        raise InputError(f"{path}: '{name}' is not a single number")
    return int(value)


def read_positions(path: Path, box: float) -> Floats:
    """Return the positions of a catalogue, float64 of shape (n, 3), in [0, box) Mpc/h."""
    with reading(path) as file:
        positions = np.asarray(read_dataset(file, "position", path), dtype=np.float64)
    return check_positions(positions, box, str(path))


def write_positions(path: Path, positions: Floats) -> None:
    """Write a catalogue, ``positions`` of shape (n, 3) in Mpc/h."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("position", data=positions).attrs["unit"] = "Mpc/h"


def write_result(path: Path, result: Result, settings: Mapping[str, str | int]) -> None:
    """Write the result of a slice; ``settings`` become attributes beside box and slicing."""
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.create_dataset("edges", data=result.edges).attrs["unit"] = "Mpc/h"
        file.create_dataset("dd", data=result.dd)
        file.create_dataset("rr", data=result.rr)
        file.create_dataset("n_1", data=np.int64(result.n_1))
        file.create_dataset("n_2", data=np.int64(result.n_2))
        file.attrs.update({"box": result.box, "slicing": result.slicing, **settings})


def read_result(path: Path) -> Result:
    """Return the result of a slice."""
    with reading(path) as file:
        for attribute in ("box", "slicing"):
            if attribute not in file.attrs:
                raise InputError(f"{path}: there is no attribute '{attribute}'")
        result = Result(
            edges=np.asarray(read_dataset(file, "edges", path), dtype=np.float64),
            dd=np.asarray(read_dataset(file, "dd", path), dtype=np.int64),
            rr=np.asarray(read_dataset(file, "rr", path), dtype=np.float64),
            n_1=read_number(file, "n_1", path),
            n_2=read_number(file, "n_2", path),
            box=float(file.attrs["box"]),
            slicing=bool(file.attrs["slicing"]),
        )
    bins = result.edges.shape[0] - 1 if result.edges.ndim == 1 else -1
    if not result.dd.shape == result.rr.shape == (bins,):
        raise InputError(f"{path}: the shapes of edges, dd and rr do not fit together")
    return result
