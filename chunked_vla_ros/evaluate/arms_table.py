"""
Arms as tables: one line for each arm, and one for each arm against a baseline.

The same cells for terminal, Markdown and page. Computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console

from chunked_vla_ros.evaluate.arms import (
    ArmComparison,
    ArmTotals,
    Estimate,
    FEWEST_RESAMPLED,
    Pooled,
)
from chunked_vla_ros.report.text_tables import markdown_table, print_table

NONE = 'n/a'
SIGNIFICANT = 0.05
ARM_HEADS = ('arm', 'success', '95 % [%]', 'each seed [%]', 'cycle time: median [s]',
             'cycle time: mean [s]', 'each seed [s]')
# Columns on the terminal: all are in the page, in Markdown and in JSON.
ARM_SHOWN, AGAINST_SHOWN = (0, 1, 2, 3, 5), (0, 1, 2, 3, 4, 7)
HOW = (
    ('Success: of all episodes of all seeds, with the 95 % interval by Wilson. Cycle time: of the '
     'successes, which differ from arm to arm; compare it over episodes that both solve.'),
    ("Points and ratio: of the success rates, paired by start; Newcombe's and Bonett and Price's "
     "95 % intervals. p: McNemar's exact test, two-sided, not corrected for several arms."),
    ('Cycle time [%]: mean of the arm over mean of the baseline, over the episodes that both '
     'solve; negative is quicker. Its 95 % interval, and that of the mean cycle time, is by '
     f'bootstrap of episodes within each seed; of fewer than {FEWEST_RESAMPLED} there is none.'),
    ('Seeds themselves are too few to be drawn again: no interval says how another seed of data '
     'and training would come out. The spread of the seeds beside each number does.'))


def against_heads(baseline: str) -> list[str]:
    """Return the columns of a comparison with ``baseline``."""
    return ['arm', f'only {baseline}', 'only it', 'p', 'points', 'each seed', 'ratio',
            'cycle time [%]', 'each seed [%]', 'both solve']


def arm_line(one: ArmTotals) -> list[str]:
    """Return an arm's cells, for `ARM_HEADS`."""
    interval, mean = one.success.interval, one.cycle_mean_s
    return [
        one.arm, f'{one.success.k} / {one.success.n}',
        NONE if interval is None else
        f'{100.0 * (one.success.rate or 0.0):.0f} [{100 * interval[0]:.0f}, '
        f'{100 * interval[1]:.0f}]',
        _parts({cell: None if each.rate is None else 100.0 * each.rate
                for cell, each in one.by_cell.items()}, '.0f'),
        NONE if one.cycle_median_s is None else f'{one.cycle_median_s:.2f}',
        *_both(mean, '.2f', f'{one.success.k} episodes')]


def against_line(one: ArmComparison) -> list[str]:
    """Return a comparison's cells, for `against_heads`."""
    pairs = f'{one.pooled.pairs} pairs'
    return [
        one.arm, str(one.pooled.only_first), str(one.pooled.only_second), f'{one.pooled.p:.3g}',
        *_both(one.points, '+.1f', pairs), in_words(one.ratio, '.2f', pairs),
        *_both(one.cycle_percent, '+.1f', f'{one.pooled.both} pairs'), str(one.pooled.both)]


def in_words(estimate: Estimate | None, form: str, counted: str) -> str:
    """Return a number with its interval, or with what was ``counted``: too few for one."""
    if estimate is None:
        return NONE
    if estimate.interval is None:
        return f'{estimate.value:{form}} [{NONE}: {counted}]'
    low, high = estimate.interval
    return f'{estimate.value:{form}} [{low:{form}}, {high:{form}}]'


def finding(one: Pooled) -> str:
    """Return which arms succeeded most often."""
    most = max(arm.success.rate or 0.0 for arm in one.arms)
    names = [arm.arm for arm in one.arms if (arm.success.rate or 0.0) == most]
    if len(names) == len(one.arms) > 1:
        return f'{one.title}: all arms succeeded equally often, in {most:.0%}'
    return (f'{one.title}: {" and ".join(names)} succeeded most often, in {most:.0%} of '
            f'{one.arms[0].success.n} episodes')


def verdict(baseline: str, found: Sequence[ArmComparison]) -> str:
    """Return which arms differ from ``baseline`` by more than chance leaves open."""
    clear = [one for one in found if one.pooled.p < SIGNIFICANT]
    quick = [one for one in found if one.cycle_percent and one.cycle_percent.interval]
    said = {
        'more often successful': [one.arm for one in clear if one.points.value > 0.0],
        'less often successful': [one.arm for one in clear if one.points.value < 0.0],
        'quicker': [one.arm for one in quick if _interval(one)[1] < 0.0],
        'slower': [one.arm for one in quick if _interval(one)[0] > 0.0]}
    words = '; '.join(f'{what} {"is" if len(arms) == 1 else "are"} {", ".join(arms)}'
                      for what, arms in said.items() if arms)
    return f'against {baseline}: {words or "no arm clearly differs, in success or cycle time"}'


def print_pooled(pooled: Sequence[Pooled], console: Console) -> None:
    """Print all tables to the terminal, without the columns that it has no room for."""
    for one in pooled:
        _print(ARM_HEADS, [arm_line(arm) for arm in one.arms], ARM_SHOWN, console, _title(one))
        for baseline, found in one.comparisons.items():
            _print(against_heads(baseline), list(map(against_line, found)), AGAINST_SHOWN, console)
            console.print(verdict(baseline, found))


def _print(heads: Sequence[str], lines: Sequence[Sequence[str]], shown: Sequence[int],
           console: Console, title: str = '') -> None:
    print_table([heads[column] for column in shown],
                [[line[column] for column in shown] for line in lines], console, title)


def markdown(pooled: Sequence[Pooled], command: str, warnings: Sequence[str]) -> str:
    """Return all tables as Markdown, below the command that makes them."""
    lines = [f'`{command}`', *(text for warning in warnings for text in ('', warning))]
    for one in pooled:
        lines += ['', f'{_title(one)}:', '',
                  *markdown_table(ARM_HEADS, [arm_line(arm) for arm in one.arms])]
        for baseline, found in one.comparisons.items():
            said = verdict(baseline, found)
            lines += ['', f'{said[:1].upper()}{said[1:]}.', '', *markdown_table(
                against_heads(baseline), list(map(against_line, found)))]
    return '\n'.join([*lines, *(text for sentence in HOW for text in ('', sentence))]) + '\n'


def _title(one: Pooled) -> str:
    return f'{one.title}; seeds in the order {", ".join(one.cells)}'


def _interval(one: ArmComparison) -> tuple[float, float]:
    assert one.cycle_percent is not None
    assert one.cycle_percent.interval is not None
    return one.cycle_percent.interval


def _both(estimate: Estimate | None, form: str, counted: str) -> list[str]:
    """Return a number with its interval, and those of the cells."""
    return [in_words(estimate, form, counted), NONE if estimate is None else _parts(
        estimate.by_cell, form)]


def _parts(by_cell: Mapping[str, float | None], form: str) -> str:
    return ', '.join(NONE if value is None else f'{value:{form}}' for value in by_cell.values())
