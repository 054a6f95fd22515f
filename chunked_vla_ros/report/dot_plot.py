"""
Dot plots as inline SVG: a row for each name, its value as a dot, its interval as a line.

Smaller dots below the line show what a value was pooled from. Knows nothing about what is plotted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chunked_vla_ros.report.markup import element, escape, joined, Markup
from chunked_vla_ros.report.plots import PALETTE_SIZE, ticks

WIDTH, ROW, TOP, BOTTOM, RIGHT = 520, 34, 30, 40, 18
LETTER, LONGEST_LABEL = 6.4, 28
DOT_PX, SMALL_PX, BELOW_PX = 4.5, 2.6, 10.0
MARGIN = 0.05


@dataclass(frozen=True)
class DotRow:
    """
    One row.

    :ivar interval: Around ``value``, in its unit; ``None``: it is not known.
    :ivar parts: What the value was pooled from, in its unit.
    :ivar colour: Index of the palette.
    """

    label: str
    value: float
    interval: tuple[float, float] | None = None
    parts: Sequence[float] = ()
    colour: int = 0


def dot_plot(title: str, x_label: str, rows: Sequence[DotRow],
             bounds: tuple[float, float] | None = None,
             reference: float | None = None) -> Markup:
    """
    Return the rows from above to below.

    :param x_label: With the unit.
    :param bounds: The axis ends there at the latest.
    :param reference: A value to mark in all rows.
    :raises ValueError: if there is no row.
    """
    if not rows:
        raise ValueError(f'nothing to plot in {title!r}')
    low, high = _ends(rows, bounds)
    left = 16 + LETTER * max(len(_shortened(row.label)) for row in rows)
    bottom = TOP + ROW * len(rows)

    def x_px(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - RIGHT - left)
    parts = [Markup(
        f'<line class="grid" x1="{x_px(value):.1f}" x2="{x_px(value):.1f}" y1="{TOP}" '
        f'y2="{bottom}"/><text x="{x_px(value):.1f}" y="{bottom + 16}" '
        f'text-anchor="middle">{value:.6g}</text>') for value in ticks(low, high)]
    if reference is not None:
        parts.append(Markup(
            f'<line class="axis" stroke-dasharray="3 4" x1="{x_px(reference):.1f}" '
            f'x2="{x_px(reference):.1f}" y1="{TOP}" y2="{bottom}"/>'))
    parts += [_row(row, TOP + ROW * (number + 0.5) - 2, left, [
        x_px(value) for value in (row.value, *(row.interval or ()), *row.parts)])
        for number, row in enumerate(rows)]
    parts.append(Markup(
        f'<line class="axis" x1="{left:.1f}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
        f'<text class="title" x="8" y="16">{escape(title)}</text>'
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 34}" text-anchor="end">{escape(x_label)}</text>'))
    return element('svg', joined(parts), viewBox=f'0 0 {WIDTH} {bottom + BOTTOM}', role='img',
                   aria_label=title)


def _ends(rows: Sequence[DotRow], bounds: tuple[float, float] | None) -> tuple[float, float]:
    """Return where the axis begins and ends."""
    values = [value for row in rows for value in (row.value, *(row.interval or ()), *row.parts)]
    low, high = min(values), max(values)
    pad = MARGIN * (high - low) or max(abs(high), 1.0) * MARGIN
    if bounds is None:
        return low - pad, high + pad
    return max(low - pad, bounds[0]), min(high + pad, bounds[1])


def _row(row: DotRow, y: float, left: float, places_px: Sequence[float]) -> Markup:
    """Draw a row; ``places_px`` are those of its value, of its interval if any, of its parts."""
    colour = f'var(--series-{row.colour % PALETTE_SIZE})'
    rest = places_px[1:]
    drawn = [Markup(f'<text x="{left - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">'
                    f'{escape(_shortened(row.label))}</text>')]
    if row.interval is not None:
        drawn.append(Markup(f'<line x1="{rest[0]:.1f}" x2="{rest[1]:.1f}" y1="{y:.1f}" '
                            f'y2="{y:.1f}" stroke="{colour}" stroke-width="2.4"/>'))
        rest = rest[2:]
    drawn += [Markup(f'<circle cx="{x:.1f}" cy="{y + BELOW_PX:.1f}" r="{SMALL_PX}" '
                     f'fill="{colour}" fill-opacity="0.55"/>') for x in rest]
    drawn.append(Markup(f'<circle cx="{places_px[0]:.1f}" cy="{y:.1f}" r="{DOT_PX}" '
                        f'fill="{colour}"/>'))
    return joined(drawn)


def _shortened(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else f'{label[:LONGEST_LABEL - 1]}…'
