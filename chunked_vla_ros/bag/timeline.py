"""
Draw when messages came: one row of block characters for a topic, gaps as dots. Text only.

A full block is as many messages as usual in such a stretch; a lower one fewer; a dot none.
"""

from __future__ import annotations

from collections.abc import Sequence
import math

from chunked_vla_ros.core.presence import median_of_present

BLOCKS = '▁▂▃▄▅▆▇█'
GAP = '·'
ASCII_BLOCKS, ASCII_GAP = '.:-=+*##', ' '
# A column that holds less than this part of a message only touches a stretch that has one.
TRACE = 0.05
# Messages in a column: below the first they are shown one by one, above the second as they are.
RARE, OFTEN = 0.5, 4.0
FEWEST = 3
# A share of the usual count that still is a full block: rates waver, columns cut periods.
FULL = 0.85


def bar(columns: Sequence[float], ascii_only: bool = False) -> str:
    """Return one character for each column of message counts."""
    columns = _evened(columns)
    usual = median_of_present(columns)
    blocks, gap = (ASCII_BLOCKS, ASCII_GAP) if ascii_only else (BLOCKS, GAP)
    if not usual:
        return gap * len(columns)
    full = FULL * usual
    return ''.join(gap if value < min(TRACE, usual) else
                   blocks[min(math.ceil(len(blocks) * value / full), len(blocks)) - 1]
                   for value in columns)


def _evened(columns: Sequence[float]) -> Sequence[float]:
    """
    Return the columns averaged with their neighbours, if few messages fall into each.

    Else a steady topic with 3 messages in 4 columns would look as if it paused. One that comes
    more rarely is shown message by message.
    """
    present = [place for place, value in enumerate(columns) if value > 0.0]
    if len(present) < FEWEST:
        return columns
    first, last = present[0], present[-1] + 1
    per_column = sum(columns) / (last - first)
    if not RARE <= per_column < OFTEN:
        return columns
    reach = math.ceil(OFTEN / per_column)
    evened = list(columns)
    for place in range(first, last):
        window = columns[max(place - reach, first):min(place + reach + 1, last)]
        evened[place] = sum(window) / len(window)
    return evened


def axis(duration_s: float, width: int) -> str:
    """Return the scale below the rows: zero at its left, the duration in [s] at its right."""
    end = f'{duration_s:.1f} s' if duration_s < 600 else f'{duration_s / 60:.1f} min'
    return f'0{end:>{max(width - 1, len(end) + 1)}}'
