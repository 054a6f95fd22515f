"""
The closing table of a recording session, and what its exit code is.

Knows episodes as records; nothing about the graph that made them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from chunked_vla_ros.core.disk_guard import size_text
from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.data.episode_folder import EpisodeRecord

STYLES = {Verdict.GOOD: 'green', Verdict.USABLE: 'yellow', Verdict.BROKEN: 'red'}
OUTCOME_STYLES = {Outcome.SUCCESS: 'green', Outcome.FAILURE: 'red', Outcome.UNLABELED: ''}
MOST_COMPLAINTS = 10
COLUMNS = ('episode', 'outcome', 'verdict', 'duration', 'messages', 'lost', 'size')


def all_sound(episodes: Sequence[EpisodeRecord]) -> bool:
    """Return whether every episode is whole enough to be trained on."""
    return all(one.complete and one.verdict is not Verdict.BROKEN for one in episodes)


def episode_table(episodes: Sequence[EpisodeRecord]) -> Table:
    """Return a row for each episode; what was dropped counts as lost, too."""
    table = Table(title=headline(episodes), title_justify='left')
    for name in COLUMNS:
        table.add_column(
            name, justify='left' if name in COLUMNS[:3] else 'right', no_wrap=True)
    for one in episodes:
        table.add_row(
            Text(one.episode_id), Text(one.outcome.value, OUTCOME_STYLES[one.outcome]),
            Text(one.verdict.value, STYLES[one.verdict]), f'{one.duration_s:.1f} s',
            str(one.messages), str(one.lost + one.dropped), size_text(one.bytes))
    return table


def episode_line(seed: int, one: EpisodeRecord, ended: str) -> str:
    """Return in one line what became of an episode whose run ``ended`` so."""
    why = f' ({ended})' if one.outcome is Outcome.FAILURE else ''
    return (f'{one.episode_id}, seed {seed}: {one.outcome.value}{why}, {one.verdict.value}, '
            f'{one.duration_s:.1f} s, {size_text(one.bytes)}')


def headline(episodes: Sequence[EpisodeRecord]) -> str:
    """Return the totals in one line."""
    outcomes = Counter(one.outcome for one in episodes)
    verdicts = Counter(one.verdict for one in episodes)
    parts = [f'{len(episodes)} episode{"" if len(episodes) == 1 else "s"}']
    parts += [f'{outcomes[kind]} {kind.value}' for kind in Outcome if outcomes[kind]]
    parts += [f'{verdicts[kind]} {kind.value}' for kind in Verdict if verdicts[kind]]
    parts.append(f'{sum(one.lost + one.dropped for one in episodes)} messages lost')
    parts.append(size_text(sum(one.bytes for one in episodes)))
    return ', '.join(parts)


def complaints(episodes: Sequence[EpisodeRecord]) -> list[str]:
    """Return one line for each episode that is not good, with the reasons, the worst first."""
    flawed = sorted((one for one in episodes if one.verdict is not Verdict.GOOD),
                    key=lambda one: one.verdict is not Verdict.BROKEN)
    lines = [f'{one.episode_id} is {one.verdict.value}: {"; ".join(one.reasons)}'
             for one in flawed[:MOST_COMPLAINTS]]
    if len(flawed) > MOST_COMPLAINTS:
        lines.append(f'and {len(flawed) - MOST_COMPLAINTS} more that are not good')
    return lines
