"""The plot of xi(r), drawn without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.figure import Figure

from catalogue import Result, replacing
from pairs import Floats, InputError, correlation

DATA, GUIDE, INK = "#0b5fa5", "#b9b3a6", "#33383d"
STYLE: dict[Any, Any] = {
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "axes.labelsize": 12,
    "xtick.color": INK,
    "ytick.color": INK,
}


def plot_format(path: Path) -> str:
    """Return the format that the ending of ``path`` stands for, such as png or pdf."""
    kind = path.suffix[1:].lower()
    if kind not in FigureCanvasBase.get_supported_filetypes():
        raise InputError(f"{path}: cannot plot to a file of this ending; try .png")
    return kind


def bin_centres(edges: Floats) -> Floats:
    """Return the geometric mean of each bin's edges, or half the upper one if the lower is 0."""
    low, high = edges[:-1], edges[1:]
    return np.where(low > 0, np.sqrt(low * high), high / 2)


def draw_points(axes: Any, total: Result) -> list[Any]:
    """Draw xi with its errors, negative values as open circles; return what the legend shows."""
    xi, error = correlation(total.dd, total.rr, part=total.slicing)
    centres = bin_centres(total.edges)
    drawn = (total.dd > 0) & np.isfinite(xi) & (xi != 0)
    shown = []
    for sign, fill, label in ((1, DATA, r"$\xi(r)$"), (-1, "white", r"$-\xi(r)$")):
        chosen = drawn & (sign * xi > 0)
        if chosen.any():
            shown.append(axes.errorbar(
                centres[chosen], np.abs(xi[chosen]), yerr=error[chosen], label=label,
                fmt="o", ms=6, mfc=fill, mec=DATA, mew=1.4,
                ecolor=DATA, elinewidth=1.3, capsize=2.5, zorder=3,
            ))  # fmt: skip
    if shown:
        values = np.abs(xi[drawn])
        axes.set_ylim(values.min() / 4, values.max() * 4)
    return shown


def draw_guide(axes: Any, edges: Floats) -> Any:
    """Draw the power law that galaxies follow, across the bins, to compare with."""
    radii = np.array([bin_centres(edges)[0] / 1.5, edges[-1] * 1.2])
    label = r"$(r\,/\,5\,h^{-1}\mathrm{Mpc})^{-1.8}$, for comparison"
    axes.set_xlim(*radii)
    return axes.plot(radii, (radii / 5) ** -1.8, "--", color=GUIDE, lw=1.6, label=label)[0]


def label_axes(axes: Any, total: Result, slices: int) -> None:
    """Give the axes their labels, title and grid."""
    axes.set_xlabel(r"separation $r$  [$h^{-1}\,$Mpc]")
    axes.set_ylabel(r"correlation function $\xi(r)$")
    axes.set_title("Two-point correlation function", loc="left", pad=26, weight="bold", size=14)
    what = f"{total.n_2:,} points, periodic box of side {total.box:g} $h^{{-1}}\\,$Mpc"
    axes.text(0, 1.025, f"{what}, {slices} slices; Poisson errors", transform=axes.transAxes)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.grid(which="major", color="#dcdfe2", lw=0.8)
    axes.grid(which="minor", color="#eff1f2", lw=0.5)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def plot(path: Path, total: Result, slices: int) -> None:
    """Plot xi(r) on logarithmic axes; the ending of ``path`` says the format."""
    kind = plot_format(path)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 5.4), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.set_yscale("log", nonpositive="clip")
        shown = [*draw_points(axes, total), draw_guide(axes, total.edges)]
        axes.legend(handles=shown, frameon=False)
        label_axes(axes, total, slices)
        with replacing(path) as temporary:
            figure.savefig(temporary, format=kind, dpi=160)
