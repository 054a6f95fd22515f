"""
Numbers and foreign texts for a terminal: sizes, dates, and names without control characters.

Knows nothing of bags.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone

from chunked_vla_ros.core.types import NS_PER_S


def printable(text: str, longest: int = 500) -> str:
    """Return ``text`` in one line; what a terminal would obey is shown as an escape."""
    shown = ''.join(each if each.isprintable() else each.encode('unicode_escape').decode()
                    for each in text[:longest])
    return shown + ('...' if len(text) > longest else '')


def in_bytes(size: int) -> str:
    """Return a size for people."""
    number = float(size)
    for unit in ('B', 'kB', 'MB', 'GB'):
        if number < 1000.0:
            return f'{size} B' if unit == 'B' else f'{number:.1f} {unit}'
        number /= 1000.0
    return f'{number:.1f} TB'


def at_least(lost: int, publishers: int) -> str:
    """
    Return words before a number of lost messages.

    Messages do not say who sent them: of several publishers only what is certain is counted.
    """
    return 'at least ' if lost and publishers > 1 else ''


def date(stamp_ns: int) -> str:
    """Return a stamp in [ns] since 1970 as a date in UTC; as a number where it is none."""
    try:
        whole = datetime.fromtimestamp(stamp_ns // NS_PER_S, tz=timezone.utc)
    except (OverflowError, ValueError, OSError):
        return f'{stamp_ns} ns'
    return f'{whole:%Y-%m-%d %H:%M:%S}.{stamp_ns % NS_PER_S // 1_000_000:03d} UTC'


def table(rows: Sequence[tuple[str, ...]], right: frozenset[int]) -> list[str]:
    """Return the rows aligned; the columns in ``right`` to their right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  '.join(f'{cell:>{width}}' if i in right else f'{cell:<{width}}'
                      for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
            for row in rows]
