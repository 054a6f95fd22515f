"""
Line plots and histograms as inline SVG that follows the page's colours.

Hand-made, so that a report needs no script, no font and no plotting library. Knows nothing about
what is plotted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.report.markup import element, escape, joined, Markup

PALETTE_SIZE = 7
# More points than this cannot be told apart on the page and only make it heavy.
LARGEST_LINE = 1200
# Right of the axis half of its last number has its place, up to six digits.
LEFT, RIGHT, TOP, BOTTOM = 56, 20, 46, 40
RADII_PX = {'points': 1.8, 'dots': 4.0}
LEGEND_Y, LEGEND_LETTER = 32, 6.4


@dataclass(frozen=True)
class Series:
    """
    One line: ``x`` and ``y`` of equal length (N,); ``colour`` is an index of the palette.

    :ivar style: ``points`` are small, for many; ``dots`` are seen one by one.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    colour: int = 0
    style: Literal['line', 'points', 'dots'] = 'line'


@dataclass(frozen=True)
class Frame:
    """
    The plot around the data: title, axis labels with units, size in [px].

    :ivar least_span: The y axis spans at least this much: noise of a still thing looks small.
    """

    title: str
    x_label: str
    y_label: str
    width: int = 520
    height: int = 260
    least_span: float = 0.0


@dataclass(frozen=True)
class _Scale:
    """Maps one axis from [low, high] in its unit to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start_px + share * (self.end_px - self.start_px)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about ``count`` round values within [low, high]."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * nice for nice in (1, 2, 2.5, 5, 10) if power * nice >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def plots(*drawings: Markup) -> Markup:
    """Return drawings side by side, as many as fit."""
    return element('div', *(element('figure', drawing) for drawing in drawings), class_='plots')


def line_plot(frame: Frame, series: Sequence[Series]) -> Markup:
    """
    Return the series in one frame, with a legend when there are several.

    :raises ValueError: if no series has a finite point.
    """
    points = [_finite(one) for one in series]
    x_all = np.concatenate([x for x, _ in points])
    y_all = np.concatenate([y for _, y in points])
    if x_all.size == 0:
        raise ValueError(f'nothing to plot in {frame.title!r}')
    x_scale, y_scale = _scales(
        frame, _range(x_all, 0.0), _range(y_all, 0.06, frame.least_span))
    drawn = [
        _draw(one, x, y, x_scale, y_scale) for one, (x, y) in zip(series, points, strict=True)]
    legend = _legend(series) if len(series) > 1 else Markup('')
    return _svg(frame, x_scale, y_scale, joined([*drawn, legend]))


def histogram(frame: Frame, values: ArrayLike, bins: int = 30) -> Markup:
    """
    Return how often each range of ``values`` occurs.

    :raises ValueError: if there are no values.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f'nothing to plot in {frame.title!r}')
    counts, edges = np.histogram(array, bins=bins, range=_range(array, 0.02))
    x_scale, y_scale = _scales(
        frame, (float(edges[0]), float(edges[-1])), (0.0, float(counts.max()) * 1.06))
    bars = [
        Markup(
            f'<rect x="{x_scale(edges[i]) + 0.5:.1f}" y="{y_scale(count):.1f}" '
            f'width="{max(x_scale(edges[i + 1]) - x_scale(edges[i]) - 1, 1):.1f}" '
            f'height="{y_scale(0) - y_scale(count):.1f}" fill="var(--series-0)"/>')
        for i, count in enumerate(counts) if count]
    return _svg(frame, x_scale, y_scale, joined(bars))


def _finite(one: Series) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(one.x, dtype=np.float64), np.asarray(one.y, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f'{one.label}: x and y must be (N,) each, got {x.shape} and {y.shape}')
    kept = np.isfinite(x) & np.isfinite(y)
    return _thinned(x[kept], y[kept])


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Keep the lowest and highest point of each bucket: a spike survives."""
    if x.size <= LARGEST_LINE:
        return x, y
    kept: set[int] = {0, x.size - 1}
    for bucket in np.array_split(np.arange(x.size), LARGEST_LINE // 2):
        kept |= {int(bucket[np.argmin(y[bucket])]), int(bucket[np.argmax(y[bucket])])}
    chosen: NDArray[np.int64] = np.array(sorted(kept))
    return x[chosen], y[chosen]


def _range(values: FloatArray, margin: float, least: float = 0.0) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    # A constant still needs an axis: a thousandth of its size, or of one unit, either way.
    pad = (high - low) * margin if high > low else max(abs(high), 1.0) * 1e-3
    pad = max(pad, (least - (high - low)) / 2)
    return low - pad, high + pad


def _scales(frame: Frame, x: tuple[float, float], y: tuple[float, float]) -> tuple[_Scale, _Scale]:
    return (_Scale(*x, LEFT, frame.width - RIGHT), _Scale(*y, frame.height - BOTTOM, TOP))


def _draw(one: Series, x: FloatArray, y: FloatArray, x_scale: _Scale, y_scale: _Scale) -> Markup:
    colour = f'var(--series-{one.colour % PALETTE_SIZE})'
    if one.style in RADII_PX:
        radius = RADII_PX[one.style]
        return joined([
            Markup(f'<circle cx="{x_scale(a):.1f}" cy="{y_scale(b):.1f}" r="{radius}" '
                   f'fill="{colour}"/>')
            for a, b in zip(x, y, strict=True)])
    path = ' '.join(f'{x_scale(a):.1f},{y_scale(b):.1f}' for a, b in zip(x, y, strict=True))
    return Markup(f'<polyline points="{path}" stroke="{colour}" stroke-width="1.6"/>')


def _legend(series: Sequence[Series]) -> Markup:
    parts, x = [], float(LEFT)
    for one in series:
        colour = f'var(--series-{one.colour % PALETTE_SIZE})'
        parts.append(Markup(
            f'<rect x="{x:.0f}" y="{LEGEND_Y - 5}" width="10" height="4" rx="2" fill="{colour}"/>'
            f'<text x="{x + 14:.0f}" y="{LEGEND_Y}">{escape(one.label)}</text>'))
        x += 30 + LEGEND_LETTER * len(one.label)
    return joined(parts)


def _svg(frame: Frame, x_scale: _Scale, y_scale: _Scale, content: Markup) -> Markup:
    return element(
        'svg', _grid(frame, x_scale, y_scale), content, _labels(frame),
        viewBox=f'0 0 {frame.width} {frame.height}', role='img', aria_label=frame.title)


def _grid(frame: Frame, x_scale: _Scale, y_scale: _Scale) -> Markup:
    bottom, right = frame.height - BOTTOM, frame.width - RIGHT
    parts = []
    for value in ticks(y_scale.low, y_scale.high):
        y = y_scale(value)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>')
    for value in ticks(x_scale.low, x_scale.high, 8):
        x = x_scale(value)
        parts.append(
            f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{value:.6g}</text>')
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    return Markup(''.join(parts))


def _labels(frame: Frame) -> Markup:
    middle = (TOP + frame.height - BOTTOM) / 2
    return Markup(
        f'<text class="title" x="{LEFT}" y="16">{escape(frame.title)}</text>'
        f'<text x="{frame.width - RIGHT}" y="{frame.height - 6}" text-anchor="end">'
        f'{escape(frame.x_label)}</text>'
        f'<text transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f'{escape(frame.y_label)}</text>')
