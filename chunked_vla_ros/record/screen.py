"""
The screen of a person who records: episode, rates, disk, keys, and what was answered last.

Draws what it is given; knows no terminal and no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from chunked_vla_ros.record.keys import KeyLine, SessionKey
from chunked_vla_ros.record.live import LiveView

STARTING = 'starting: the recorder has not said anything yet'
# What is said in numbers, in this order; the rest has a line of its own.
NUMBERS = ('outcome', 'elapsed [s]', 'messages', 'written', 'queued', 'lost', 'dropped')


def screen(view: LiveView | None, session: Sequence[SessionKey], hand: Sequence[KeyLine],
           answers: Sequence[str], obstacle: str = '') -> RenderableType:
    """
    Return the picture of now.

    :param hand: Keys of teleoperation, or buttons and axes of what a person drives with.
    :param answers: What the recorder answered, oldest first.
    :param obstacle: Why the arm does not move as it is told, '' for no reason.
    """
    keys = Table.grid(padding=(0, 1))
    lines = [(one.key, one.does) for one in session]
    driving = [(one.keys, one.does) for one in hand]
    for index in range(max(len(lines), -(-len(driving) // 2))):
        keys.add_row(*_cell(lines, index), *_cell(driving, 2 * index),
                     *_cell(driving, 2 * index + 1))
    parts: list[RenderableType] = [*_state(view)]
    # Above the rest: a low window shows as much as it has room for.
    parts += [Text(answer, 'dim' if index < len(answers) - 1 else 'bold')
              for index, answer in enumerate(answers)]
    if obstacle:
        parts.append(Text(obstacle, 'yellow'))
    parts += [*_streams(view), Text(), keys]
    recording = view is not None and view.episode
    return Panel(Group(*parts), title='recording' if recording else 'idle', title_align='left',
                 border_style='red' if recording else '')


def _cell(lines: Sequence[tuple[str, str]], index: int) -> tuple[RenderableType, RenderableType]:
    if index >= len(lines):
        return '', ''
    key, does = lines[index]
    return Text(key, 'bold'), Text(does)


def _state(view: LiveView | None) -> list[RenderableType]:
    if view is None:
        return [Text(STARTING)]
    state = (Text(view.episode, 'bold red') if view.episode
             else Text(f'last: {view.last or "none"}'))
    if view.numbers.get('task'):
        state.append(f'  {view.numbers["task"]}', '')
    lines: list[RenderableType] = [state]
    numbers = Text()
    for name in NUMBERS:
        value = view.numbers.get(name)
        if value is not None:
            bad = name in ('lost', 'dropped') and value != '0'
            numbers.append(f'{name} ').append(value, 'bold yellow' if bad else 'bold')
            numbers.append('   ')
    if numbers:
        lines.append(numbers)
    return [*lines, Text(f'disk: {view.disk}')]


def _streams(view: LiveView | None) -> list[RenderableType]:
    """Return a row for each stream that was promised or lost something; the others are summed."""
    if view is None:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ('topic', 'rate [Hz]', 'promised', 'lost in 10 s'):
        table.add_column(name, justify='left' if name == 'topic' else 'right')
    others = []
    for stream in view.streams:
        if stream.expected_hz is None and not stream.lost:
            others.append(stream.rate_hz)
            continue
        table.add_row(
            Text(stream.topic), Text(f'{stream.rate_hz:.1f}', 'yellow' if stream.is_slow else ''),
            f'{stream.expected_hz:g}' if stream.expected_hz else '',
            Text(str(stream.lost), 'yellow' if stream.lost else ''))
    heard = [rate for rate in others if rate]
    if heard:
        table.add_row(f'{len(heard)} more', f'{sum(heard):.1f}', '', '0')
    return [Text(), table, *(Text(problem, 'yellow') for problem in view.problems)]
