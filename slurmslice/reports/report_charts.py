"""The charts of a report, as shapes in a plane. Pure: numbers in, shapes out. ADR 45."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from slurmslice.sbatch.units import format_memory

WIDTH, HEIGHT = 640, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 16, 10, 30
_SAMPLES, _BARS, _MOST_POINTS, _CELLS = 240, 32, 1500, (64, 36)
_HEADROOM = 1.05


@dataclass(frozen=True, slots=True)
class Shape:
    """A rectangle, a circle or a path; ``name`` chooses its colour, ``title`` is shown on hover."""

    kind: str
    name: str
    place: tuple[float, ...] = ()
    path: str = ""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark of an axis: its place, its text, and its name if it is a request."""

    at: float
    text: str
    name: str = ""


@dataclass(frozen=True)
class Chart:
    """A chart with two axes.

    Attributes:
        title: what it shows.
        x_label, y_label: the axes, with their units.
        shapes: what is drawn.
        x_ticks, y_ticks: the marks of the axes.
        x_lines, y_lines: requests, as lines across the chart.
        legend: the names of the colours, with their texts.
    """

    title: str
    x_label: str
    y_label: str
    shapes: Sequence[Shape]
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    x_lines: Sequence[Tick] = ()
    y_lines: Sequence[Tick] = ()
    legend: Sequence[tuple[str, str]] = ()
    width: int = WIDTH
    height: int = HEIGHT
    left: int = _LEFT
    right: int = field(default=WIDTH - _RIGHT)
    top: int = _TOP
    bottom: int = field(default=HEIGHT - _BOTTOM)


@dataclass(frozen=True, slots=True)
class _Axis:
    """A linear scale from 0 to ``most`` between two places."""

    most: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return round(self.start + (self.end - self.start) * value / self.most, 1)

    def ticks(self, text: Callable[[float], str], units: Sequence[float]) -> list[Tick]:
        step = _nice_step(self.most / 5, units)
        return [Tick(self.at(n * step), text(n * step)) for n in range(int(self.most / step) + 1)]


def _x_axis(most: float) -> _Axis:
    return _Axis(most or 1.0, _LEFT, WIDTH - _RIGHT)


def _y_axis(most: float) -> _Axis:
    return _Axis(most or 1.0, HEIGHT - _BOTTOM, _TOP)


_DECIMAL = tuple(m * 10.0**e for e in range(-2, 13) for m in (1, 2, 5))
_SECONDS = (
    0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 21600,
    43200, *(86400.0 * n for n in (1, 2, 5, 7, 14, 30, 60, 120, 365)),
)  # fmt: skip
_MIB = tuple(2.0**e for e in range(24))


def _nice_step(wanted: float, units: Sequence[float]) -> float:
    return next((unit for unit in units if unit >= wanted), units[-1])


def duration_text(seconds: float) -> str:
    """Return a duration in its largest unit: ``90 s``, ``12 min``, ``1.5 h``, ``2 d``."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= (2 * unit if unit < 86400 else unit):
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.3g} s"


def memory_text(mib: float) -> str:
    """Return an amount of memory in its largest unit: ``1.5 GiB``."""
    return f"{mib / 1024:.3g} GiB" if mib >= 1024 else f"{mib:.3g} MiB"


def over_time(spans: Sequence[tuple[float, float, float]]) -> Chart | None:
    """Chart the running and the waiting slices over time.

    Args:
        spans: for each attempt the times of its submission, start and end, epoch seconds; one that
            has not begun or ended has the present time there.
    """
    if not spans:
        return None
    first, last = min(one[0] for one in spans), max(one[2] for one in spans)
    length = max(1.0, last - first)
    running = _counts_over_time([(start, end) for _, start, end in spans], first, length)
    waiting = _counts_over_time([(sent, start) for sent, start, _ in spans], first, length)
    x, y = _x_axis(length), _y_axis(_HEADROOM * max(*running, *waiting, 1))
    places = [x.at(length * n / (_SAMPLES - 1)) for n in range(_SAMPLES)]
    shapes = [
        Shape("path", name, path=_steps(places, [y.at(n) for n in counts], y.at(0)))
        for name, counts in (("waiting", waiting), ("running", running))
    ]
    return Chart(
        "Running and waiting slices", "time since the first submission", "slices", shapes,
        x.ticks(duration_text, _SECONDS), y.ticks(lambda n: f"{n:g}", _DECIMAL[6:]),
        legend=(("running", "running"), ("waiting", "waiting in the queue")),
    )  # fmt: skip


def _counts_over_time(
    spans: Iterable[tuple[float, float]], first: float, length: float
) -> list[int]:
    """Return the number of open spans at evenly chosen times."""
    changes = [0] * (_SAMPLES + 1)
    scale = (_SAMPLES - 1) / length
    for start, end in spans:
        changes[math.ceil((start - first) * scale)] += 1
        changes[min(_SAMPLES, math.ceil((end - first) * scale))] -= 1
    return list(accumulate(changes))[:_SAMPLES]


def _steps(xs: Sequence[float], ys: Sequence[float], floor: float) -> str:
    """Return the path of an area under steps."""
    steps = "".join(f"H{x:g}V{y:g}" for x, y in zip(xs, ys, strict=True))
    return f"M{xs[0]:g},{floor:g}V{ys[0]:g}{steps}V{floor:g}Z"


@dataclass(frozen=True, slots=True)
class Use:
    """The use of one slice: its key, seconds, MiB (None: not measured), and the name of its end."""

    key: str
    seconds: float
    mib: float | None
    name: str


def time_and_memory(
    uses: Sequence[Use], times: Iterable[float], memories: Iterable[float]
) -> Chart | None:
    """Chart elapsed time against memory, with the requests as lines.

    Args:
        uses: the slices.
        times: their time limits, seconds.
        memories: their requested memory, MiB.
    """
    known = [(one, one.mib) for one in uses if one.mib is not None]
    if not known:
        return None
    most_s, most_mib = max(one.seconds for one, _ in known), max(mib for _, mib in known)
    x_lines = [t for t in sorted(set(times)) if t <= 3 * most_s][-3:]
    y_lines = [m for m in sorted(set(memories)) if m <= 3 * most_mib][-3:]
    x = _x_axis(_HEADROOM * max(most_s, *x_lines, 1.0))
    y = _y_axis(_HEADROOM * max(most_mib, *y_lines, 1.0))
    points = [(x.at(one.seconds), y.at(mib), one) for one, mib in known]
    return Chart(
        "Time and memory of each slice", "elapsed time", "peak memory",
        _points(points) if len(points) <= _MOST_POINTS else _cells(points),
        x.ticks(duration_text, _SECONDS), y.ticks(memory_text, _MIB),
        [Tick(x.at(t), f"limit {duration_text(t)}") for t in x_lines],
        [Tick(y.at(m), f"request {format_memory(round(m))}") for m in y_lines],
        legend=(("done", "done"), ("failed", "failed")),
    )  # fmt: skip


def _points(points: Iterable[tuple[float, float, Use]]) -> list[Shape]:
    return [
        Shape("circle", one.name, (x, y, 3.2), title=f"{one.key}: {duration_text(one.seconds)}, "
              f"{memory_text(one.mib or 0)}, {one.name}")
        for x, y, one in points
    ]  # fmt: skip


def _cells(points: Iterable[tuple[float, float, Use]]) -> list[Shape]:
    """Return the cells of a grid that have slices; the more slices, the darker.

    Cells of one colour are one shape, because a page with a shape for each would be large.
    """
    columns, rows = _CELLS
    width, height = (WIDTH - _LEFT - _RIGHT) / columns, (HEIGHT - _TOP - _BOTTOM) / rows
    counts = Counter(
        (int((x - _LEFT) / width), int((y - _TOP) / height), one.name) for x, y, one in points
    )
    most = max(counts.values())
    colors: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for (column, row, name), number in sorted(counts.items()):
        corner = f"M{_LEFT + column * width:.1f} {_TOP + row * height:.1f}"
        cell = f"{corner}h{width:.1f}v{height:.1f}h-{width:.1f}z"
        colors.setdefault((name, _level(number, most)), []).append((number, cell))
    return [
        Shape("path", f"{name} level{level}", path="".join(cell for _, cell in cells),
              title=f"{min(cells)[0]} to {max(cells)[0]} slices in each, {name}")
        for (name, level), cells in sorted(colors.items())
    ]  # fmt: skip


def _level(number: int, most: int) -> int:
    """Return the darkness of a cell, 1 to 5, by the logarithm of its number."""
    return 1 + round(4 * math.log(number) / math.log(most)) if most > 1 else 5


def histogram(
    title: str,
    label: str,
    values: Sequence[float],
    lines: Iterable[float],
    text: Callable[[float], str],
) -> Chart | None:
    """Chart how many slices have which value, with requests as lines that are not far away."""
    if not values:
        return None
    near = [one for one in sorted(set(lines)) if one <= 3 * max(values)][-3:]
    x = _x_axis(_HEADROOM * max(*values, *near, 1e-9))
    counts = Counter(min(_BARS - 1, int(value / x.most * _BARS)) for value in values)
    y = _y_axis(_HEADROOM * max(counts.values()))
    step, width = x.most / _BARS, round((WIDTH - _LEFT - _RIGHT) / _BARS - 1, 1)
    shapes = [
        Shape("rect", "done", (x.at(bar * step) + 0.5, y.at(number), width,
                               round(y.at(0) - y.at(number), 1)),
              title=f"{number} slices: {text(bar * step)} to {text((bar + 1) * step)}")
        for bar, number in sorted(counts.items())
    ]  # fmt: skip
    units = _MIB if text is memory_text else _SECONDS
    x_lines = [Tick(x.at(one), f"request {text(one)}") for one in near]
    counts_text = y.ticks(lambda n: f"{n:g}", _DECIMAL[6:])
    return Chart(title, label, "slices", shapes, x.ticks(text, units), counts_text, x_lines)
