"""
``chunked-vla bag recover``: rescue what is whole in a damaged bag and say what was lost.

Writes a new bag beside the damaged one, which is only read. Draws; the work is `data`'s.
"""

from __future__ import annotations

from functools import partial
import json
import os
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from chunked_vla_ros.bag.options import BagRecoverOptions
from chunked_vla_ros.bag.reading import answer, progress_bar
from chunked_vla_ros.bag.text import date, in_bytes, printable, table
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_directory import BagPlace
from chunked_vla_ros.data.bag_recovery import recover_bag, Recovery

MOST_LINES = 10
HEADINGS = ('topic', 'recovered', 'last', 'lost messages', 'lost time')

__all__ = ['BagRecoverOptions', 'run_bag_recover']


def run_bag_recover(options: BagRecoverOptions) -> int:
    """Write the new bag; return 0, or 2 where nothing can be recovered or written."""
    return answer(options.path, partial(_recover, options=options))


def default_target(path: Path) -> Path:
    """Return where a recovered bag goes if nobody says: beside the damaged one."""
    path = path.resolve()
    return path.with_name(path.name.removesuffix('.partial').removesuffix('.mcap') + '_recovered')


def _recover(place: BagPlace, options: BagRecoverOptions) -> int:
    out = default_target(place.path) if options.out is None else options.out
    with progress_bar(place.files, 'recovering') as progress:
        recovery = recover_bag(place, out, os.environ.get('ROS_DISTRO', 'unknown'), progress)
    if options.json:
        print(json.dumps(describe(recovery), indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    for line in lines_of(recovery):
        console.print(Text(line))
    return 0


def describe(recovery: Recovery) -> dict[str, Any]:
    """Return the result for JSON."""
    return {
        'path': str(recovery.path), 'messages': recovery.messages, 'bytes': recovery.bytes,
        'lost_bytes': recovery.lost_bytes, 'notes': recovery.notes,
        'damages': [{'file': str(path), 'offset': damage.offset, 'bytes': damage.length,
                     'kind': damage.kind.value, 'what': damage.what}
                    for path, damage in recovery.damages],
        'topics': [vars(topic) for topic in recovery.topics]}


def lines_of(recovery: Recovery) -> list[str]:
    """Return the result for people."""
    damages = [f'{printable(path.name)}: {damage.what} at byte {damage.offset}, {damage.length} '
               f'bytes left out' for path, damage in recovery.damages[:MOST_LINES]]
    if len(recovery.damages) > MOST_LINES:
        damages.append(f'and {len(recovery.damages) - MOST_LINES} more such places')
    rows = [HEADINGS]
    for topic in recovery.topics:
        last = topic.last_ns
        rows.append((
            printable(topic.topic, 80), str(topic.recovered),
            '-' if last is None else f'{(last - recovery.start_ns) / NS_PER_S:.3f} s',
            f'at least {topic.lost_messages}' if topic.lost_messages else '-',
            '-' if topic.lost_s is None else f'{topic.lost_s:.3f} s'))
    share = f'{in_bytes(recovery.lost_bytes)} of {in_bytes(recovery.bytes)}'
    return [
        *damages, *(printable(note) for note in recovery.notes), '',
        *table(rows, frozenset({1, 2, 3, 4})), '',
        f'start is {date(recovery.start_ns)}',
        f'lost {share}' if recovery.lost_bytes else 'nothing was lost',
        f'recovered {recovery.messages} messages into {printable(str(recovery.path))}']
