"""
``chunked-vla bag info``: what is in a bag, from its messages, for people or as JSON.

A damaged bag is shown as far as it can be read, and said to be damaged. Judges nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
import json
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from chunked_vla_ros.bag.options import BagInfoOptions
from chunked_vla_ros.bag.reading import answer, labels_of, read_bag
from chunked_vla_ros.bag.text import at_least, date, in_bytes, printable, table
from chunked_vla_ros.bag.timeline import axis, bar, GAP
from chunked_vla_ros.core.types import NS_PER_S
from chunked_vla_ros.data.bag_directory import BagPlace, mapping
from chunked_vla_ros.data.bag_scan import BagScan
from chunked_vla_ros.data.topic_scan import TopicScan

# Long and for programs: only in the JSON.
HIDDEN_FACTS = frozenset({'streams'})
LONGEST_BAR = 80
JSON_COLUMNS = 100
HEADINGS = ('topic', 'type', 'count', 'rate', 'largest gap', 'lost')
RIGHT = frozenset({2, 3, 4, 5})

__all__ = ['BagInfoOptions', 'run_bag_info']


def run_bag_info(options: BagInfoOptions) -> int:
    """Print what is in a bag; return 0, or 2 where there is none."""
    return answer(options.path, partial(_show, as_json=options.json))


def facts_of(place: BagPlace, bag: BagScan) -> dict[str, str]:
    """Return what the writer said of the bag: metadata.yaml first, what only the MCAP says too."""
    custom = mapping((place.information or {}).get('custom_data'))
    return bag.facts | {str(key): str(text) for key, text in custom.items()}


def describe(place: BagPlace, bag: BagScan) -> dict[str, Any]:
    """Return everything that is known of the bag, for JSON."""
    start_ns, end_ns = bag.start_ns, bag.end_ns
    labels, flaws = labels_of(place)
    return {
        'path': str(place.path), 'storage': place.storage,
        'files': [{'path': str(path), 'bytes': path.stat().st_size} for path in place.files],
        'messages': bag.messages, 'start_ns': start_ns, 'end_ns': end_ns,
        'duration_s': (end_ns - start_ns) / NS_PER_S, 'facts': facts_of(place, bag),
        'topics': [_topic(topic, start_ns, end_ns) for topic in bag.topics.values()],
        'labels': [{'outcome': label.outcome.value, 'note': label.note, 'time_ns': label.time_ns}
                   for label in labels],
        'warnings': warnings_of(place, bag) + flaws}


def warnings_of(place: BagPlace, bag: BagScan) -> list[str]:
    """Return why the numbers may not be all, one line each."""
    found = [f'{scan.path.name}: {damage.what} at byte {damage.offset}'
             for scan in bag.files for damage in scan.damages[:3]]
    if place.is_partial:
        found.append('the recording was not finished, or is going on')
    return found


def _topic(topic: TopicScan, start_ns: int, end_ns: int) -> dict[str, Any]:
    report = topic.report(end_ns)
    return {
        'topic': topic.topic, 'type': ' or '.join(topic.types), 'messages': topic.messages,
        'bytes': topic.bytes, 'first_ns': topic.first_ns, 'last_ns': topic.last_ns,
        'rate_hz': report.rate_hz, 'largest_gap_s': report.largest_gap_s,
        'lost': report.lost if topic.numbered else None, 'publishers': report.publishers,
        'timeline': [round(value, 2)
                     for value in topic.presence.columns(start_ns, end_ns, JSON_COLUMNS)]}


def _show(place: BagPlace, as_json: bool) -> int:
    bag = read_bag(place)
    content = describe(place, bag)
    if as_json:
        print(json.dumps(content, indent=2))
        return 0
    console = Console(soft_wrap=True, highlight=False)
    width = min(console.width, 200)
    for line in [*_head(content), '', *_topics(content)]:
        console.print(Text(line))
    if bag.messages:
        console.print(Text())
        for row in _timeline(bag, width):
            console.print(row)
    for warning in content['warnings']:
        console.print(Text(f'warning: {printable(warning)}; see chunked-vla bag verify', 'yellow'))
    return 0


def _head(content: Mapping[str, Any]) -> list[str]:
    files = content['files']
    size = sum(file['bytes'] for file in files)
    number = f'{len(files)} files' if len(files) > 1 else '1 file'
    rows = [('bag', printable(content['path'])),
            ('storage', f'{content["storage"]}, {in_bytes(size)} in {number}'),
            ('messages', str(content['messages']))]
    if content['messages']:
        rows += [('start', date(content['start_ns'])),
                 ('duration', f'{content["duration_s"]:.3f} s')]
    rows += [(printable(key, 40), printable(text)) for key, text in content['facts'].items()
             if key not in HIDDEN_FACTS and text]
    rows += [('label', printable(f'{label["outcome"]} {label["note"]}'.rstrip()))
             for label in content['labels'][-1:]]    # the last one counts
    return table(rows, frozenset())


def _topics(content: Mapping[str, Any]) -> list[str]:
    rows = [HEADINGS]
    for topic in content['topics']:
        count, lost = topic['messages'], topic['lost']
        rows.append((
            printable(topic['topic'], 80), printable(topic['type'], 80) or '(unknown)', str(count),
            f'{topic["rate_hz"]:.1f} Hz' if count > 1 else '-',
            f'{topic["largest_gap_s"]:.3f} s' if count > 1 else '-',
            '-' if lost is None else f'{at_least(lost, topic["publishers"])}{lost}'))
    return table(rows, RIGHT)


def _timeline(bag: BagScan, width: int) -> list[Text]:
    """Return one row for each topic with messages, and the scale below."""
    topics = [topic for topic in bag.topics.values() if topic.messages]
    names = [printable(topic.topic, 80) for topic in topics]
    margin = min(max(map(len, names)), max(width // 2, 10))
    columns = max(min(width - margin - 2, LONGEST_BAR), 10)
    ascii_only = not _can_show(GAP)
    rows = []
    for name, topic in zip(names, topics, strict=True):
        shown = name if len(name) <= margin else name[:margin - 3] + '...'
        drawn = bar(topic.presence.columns(bag.start_ns, bag.end_ns, columns), ascii_only)
        row = Text(f'{shown:<{margin}}  ')
        for letter in drawn:
            row.append(letter, 'red' if letter == GAP else 'green')
        rows.append(row)
    duration_s = (bag.end_ns - bag.start_ns) / NS_PER_S
    return [*rows, Text(f'{"":<{margin}}  {axis(duration_s, columns)}')]


def _can_show(letter: str) -> bool:
    try:
        letter.encode(sys.stdout.encoding or 'ascii')
    except (UnicodeEncodeError, LookupError):
        return False
    return True
