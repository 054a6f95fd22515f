"""
The RL benchmark as one HTML page: learning curves, and the table beside the published numbers.

Knows nothing about how it was run.
"""

from __future__ import annotations

from collections.abc import Sequence

from chunked_vla_ros.bench.rl_options import Budget, METHOD_NAMES
from chunked_vla_ros.bench.rl_results import RunRecord
from chunked_vla_ros.bench.rl_summary import all_tables, in_short, Line, lines_of, pooled
from chunked_vla_ros.report.markup import Markup, note, paragraph, table
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, line_plot, plots, Series


def rl_page(records: Sequence[RunRecord], budget: Budget, command: str) -> Page:
    """Return the page."""
    page = Page('Chunked RL on OGBench', command)
    success, of_seeds, times = all_tables(records)
    page.add(headline(records), table(*success), *map(note, in_short(budget)[:2]),
             *map(paragraph, in_short(budget)[2:]))
    curves = [drawn for task in dict.fromkeys(line.task for line in lines_of(records))
              if (drawn := _curves(task, records)) is not None]
    if curves:
        page.add('Success over updates, offline and then online: all seeds together',
                 plots(*curves))
    page.add('Each run', table(*of_seeds))
    page.add('What it cost', table(*times))
    return page


def headline(records: Sequence[RunRecord]) -> str:
    """Return what was found, in one line: the best method of each task."""
    found = []
    for task in dict.fromkeys(line.task for line in lines_of(records)):
        scored = [(successes / episodes, METHOD_NAMES[line.method]) for line in lines_of(records)
                  if line.task == task
                  for successes, episodes in [pooled(line.online or line.offline)] if episodes]
        if scored:
            rate = max(scored)[0]
            names = ' and '.join(name for each, name in scored if each == rate)
            found.append(f'{task}: {names} {"succeed" if " and " in names else "succeeds"} in '
                         f'{100.0 * rate:.0f} %')
    return '; '.join(found) or 'Nothing was evaluated yet'


def curve(line: Line) -> tuple[list[float], list[float]]:
    """Return updates and success [%] of all its seeds, where every run of it was evaluated."""
    common = [{(point.updates, point.online_steps): point for point in record.points}
              for record in line.records if record.points]
    places = sorted(set.intersection(*(set(each) for each in common))) if common else []
    rates = []
    for place in places:
        successes, episodes = pooled([each[place] for each in common])
        rates.append(100.0 * successes / episodes)
    return [float(sum(place)) for place in places], rates


def _curves(task: str, records: Sequence[RunRecord]) -> Markup | None:
    series = []
    for colour, line in enumerate(each for each in lines_of(records) if each.task == task):
        x, y = curve(line)
        if x:
            series.append(Series(METHOD_NAMES[line.method], x, y, colour,
                                 'line' if len(x) > 1 else 'dots'))
    if not series:
        return None
    return line_plot(Frame(task, 'updates', 'success [%]', width=620, least_span=5.0), series)

