"""Growth of a figure with a column: rank correlation (Spearman). Pure. ADR 44."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

_LEAST_RANK, _LEAST_SLICES, _LEAST_VALUES, _LEAST_FACTOR = 0.8, 8, 4, 1.5
_MOST_SLICES = 5000


def find_growth(columns: Mapping[str, Sequence[str]], figures: Sequence[float]) -> str:
    """Return the column with which figures grow most clearly; empty if there is none.

    Args:
        columns: the values of each column, one per figure.
        figures: the figures.
    """
    found = {name: _rank_correlation(values, figures) for name, values in columns.items()}
    best = max(found, key=lambda name: found[name], default="")
    return best if best and found[best] >= _LEAST_RANK else ""


def _rank_correlation(texts: Sequence[str], figures: Sequence[float]) -> float:
    """Return the rank correlation; 0 if too few values differ, or one is not a number."""
    every = -(-len(figures) // _MOST_SLICES) or 1
    try:
        values = [float(text) for text in texts[::every]]
    except ValueError:
        return 0.0
    some = figures[::every]
    few = len(some) < _LEAST_SLICES or len(set(values)) < _LEAST_VALUES
    if few or not all(map(math.isfinite, values)) or max(some) < _LEAST_FACTOR * min(some):
        return 0.0
    return statistics.correlation(_ranks(values), _ranks(some))


def _ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value; equal values share the mean of their ranks."""
    places: dict[float, list[int]] = {}
    for place, value in enumerate(sorted(values)):
        places.setdefault(value, []).append(place)
    return [statistics.fmean(places[value]) for value in values]
