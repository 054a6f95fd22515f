"""
``chunked-vla dataset info``: what is in a dataset, for people or as JSON.

Reads tables, no frames. Judges nothing: that is `dataset.check`.
"""

from __future__ import annotations

from collections import Counter
import json
import math
import sys
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

from chunked_vla_ros.bag.text import printable, table
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures
from chunked_vla_ros.core.dataset_norms import find_norms, SignalNorms
from chunked_vla_ros.data.datasets import Dataset, open_dataset
from chunked_vla_ros.dataset.examine import examine, head_of
from chunked_vla_ros.dataset.options import DatasetInfoOptions

NOTHING_READ, MISTAKE = 1, 2
MOST_TASKS, MOST_UNREADABLE = 20, 5

__all__ = ['DatasetInfoOptions', 'run_dataset_info']


def run_dataset_info(options: DatasetInfoOptions) -> int:
    """Print what is in a dataset; return 0, 1 if no episode can be read, 2 where there is none."""
    try:
        dataset = open_dataset(options.path)
    except (ValueError, OSError) as error:
        print(f'error: {printable(" ".join(str(error).split()), 2000)}', file=sys.stderr)
        return MISTAKE
    found = [each.measures for each in examine(dataset, False, False, lambda: None)]
    content = describe(dataset, found)
    if options.json:
        print(json.dumps({'path': str(options.path), **content}, indent=2))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for line in _lines(str(options.path), content):
            console.print(Text(line))
    return 0 if any(not episode.error for episode in found) else NOTHING_READ


def describe(dataset: Dataset, found: list[EpisodeMeasures]) -> dict[str, Any]:
    """Return everything that is known of the dataset without its frames, for JSON."""
    read = [episode for episode in found if not episode.error]
    norms = find_norms(head_of(dataset), found)
    lengths = [episode.rows for episode in read]
    tasks = Counter(episode.task for episode in read)
    return {
        'layout': dataset.layout, 'robot_type': dataset.robot_type,
        'fps': dataset.fps if dataset.timed else None, 'episodes': len(found),
        'rows': sum(lengths),
        'rows_per_episode': {'min': min(lengths), 'median': float(np.median(lengths)),
                             'max': max(lengths)} if lengths else None,
        'duration_s': sum(episode.times.duration_s for episode in read)
        if dataset.timed else None,
        'action': norms.kind.value if dataset.action_names else None,
        'action_sources': dict(Counter(
            episode.action_source for episode in read if episode.action_source)),
        'outcomes': dict(Counter(episode.outcome.value for episode in read)),
        'cameras': list(dataset.cameras),
        'state': _ranges(dataset.state_names, norms.state),
        'actions': _ranges(dataset.action_names, norms.action),
        'tasks': [{'episodes': count, 'task': task} for task, count in tasks.most_common()],
        'unreadable': [{'episode': episode.index, 'why': episode.error}
                       for episode in found if episode.error]}


def _ranges(names: tuple[str, ...], norms: SignalNorms | None) -> list[dict[str, Any]]:
    if norms is None:
        return [{'name': name} for name in names]
    return [{'name': name, 'low': _finite(norms.low[column]), 'high': _finite(norms.high[column])}
            for column, name in enumerate(names)]


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _lines(path: str, content: dict[str, Any]) -> list[str]:
    lengths, duration_s = content['rows_per_episode'], content['duration_s']
    rows = [('dataset', printable(path)), ('layout', content['layout']),
            ('robot', printable(content['robot_type'], 80) or '(not named)'),
            ('episodes', str(content['episodes'])),
            ('rows', str(content['rows']) + (
                f', {lengths["min"]} to {lengths["max"]} in an episode, median '
                f'{lengths["median"]:g}' if lengths else '')),
            ('rate', f'{content["fps"]:g} Hz, {duration_s / 60.0:.1f} min in all'
             if duration_s is not None else 'not recorded'),
            ('cameras', printable(', '.join(content['cameras'])) or '(none)'),
            ('action', ', '.join([content['action'] or '(none)', *(
                f'from {printable(name, 40)}' for name in content['action_sources'])])),
            ('outcomes', ', '.join(f'{count} {name}'
                                   for name, count in content['outcomes'].items()) or '-')]
    lines = table(rows, frozenset())
    joints = _joints(content)
    if joints:
        lines += ['', *joints]
    tasks = content['tasks']
    lines += ['', *table([('episodes', 'instruction'), *(
        (str(each['episodes']), printable(each['task'], 200) or '(none)')
        for each in tasks[:MOST_TASKS])], frozenset({0}))]
    if len(tasks) > MOST_TASKS:
        lines.append(f'and {len(tasks) - MOST_TASKS} more instructions')
    lines += [f'warning: episode {each["episode"]} cannot be read: {printable(each["why"])}'
              for each in content['unreadable'][:MOST_UNREADABLE]]
    return lines


def _joints(content: dict[str, Any]) -> list[str]:
    """Return names and ranges of state and action, side by side where the names agree."""
    rows = [('joint', 'state', 'action')]
    actions = {each['name']: _range(each) for each in content['actions']}
    rows += [(printable(each['name'], 60), _range(each), actions.pop(each['name'], '-'))
             for each in content['state']]
    rows += [(printable(name, 60), '-', found) for name, found in actions.items()]
    return table(rows, frozenset({1, 2}))


def _range(entry: dict[str, Any]) -> str:
    if entry.get('low') is None or entry.get('high') is None:
        return '-'
    return f'{entry["low"]:.4g} .. {entry["high"]:.4g}'
