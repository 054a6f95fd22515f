"""
The page of arms compared: success and cycle time of each, and what it adds to a baseline.

Turns numbers into the vocabulary of `report`; computes and reads nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from chunked_vla_ros.evaluate.arms import ArmComparison, ArmTotals, Pooled
from chunked_vla_ros.evaluate.arms_table import (
    against_heads,
    against_line,
    ARM_HEADS,
    arm_line,
    finding,
    HOW,
    verdict,
)
from chunked_vla_ros.report.dot_plot import dot_plot, DotRow
from chunked_vla_ros.report.markup import bullets, element, Markup, note, paragraph, table
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import plots

ARM, BASELINE = 0, 2


def arms_page(pooled: Sequence[Pooled], command: str, versions: Mapping[str, str],
              warnings: Sequence[str]) -> Page:
    """Return the page."""
    page = Page('Arms on the same starts', command)
    for one in pooled:
        page.add(finding(one), plots(*_drawings(one)), note(
            f'Large dots: all seeds, with the 95 % interval. Small dots: '
            f'{", ".join(one.cells)}. Grey: a baseline; the dotted line is at the first one.'),
            table(ARM_HEADS, [arm_line(arm) for arm in one.arms]))
        for baseline, found in one.comparisons.items():
            page.add(f'{one.title}, {verdict(baseline, found)}', plots(*_differences(found)),
                     table(against_heads(baseline), list(map(against_line, found))))
    if warnings:
        page.add('Not everything is as it should be', bullets(warnings))
    page.add('What these numbers say', bullets(HOW))
    page.add('How to repeat it', paragraph(element('code', command)),
             table(['component', 'version'], list(versions.items())))
    return page


def _drawings(one: Pooled) -> list[Markup]:
    baselines = one.comparisons
    first = next((arm for arm in one.arms if arm.arm in baselines), None)
    drawn = [dot_plot(
        'Success', 'success [%]', [_success(arm, baselines) for arm in one.arms], (0.0, 100.0),
        None if first is None else 100.0 * (first.success.rate or 0.0))]
    timed = [_cycle(arm, baselines) for arm in one.arms if arm.cycle_mean_s is not None]
    if timed:
        at = first.cycle_mean_s if first is not None else None
        drawn.append(dot_plot('Cycle time of successes', 'mean [s]', timed,
                              reference=None if at is None else at.value))
    return drawn


def _success(arm: ArmTotals, baselines: Collection[str]) -> DotRow:
    low, high = arm.success.interval or (0.0, 0.0)
    return DotRow(
        arm.arm, 100.0 * (arm.success.rate or 0.0), (100.0 * low, 100.0 * high),
        [100.0 * (each.rate or 0.0) for each in arm.by_cell.values()], _colour(arm, baselines))


def _cycle(arm: ArmTotals, baselines: Collection[str]) -> DotRow:
    mean = arm.cycle_mean_s
    assert mean is not None
    return DotRow(arm.arm, mean.value, mean.interval, _known(mean.by_cell),
                  _colour(arm, baselines))


def _colour(arm: ArmTotals, baselines: Collection[str]) -> int:
    return BASELINE if arm.arm in baselines else ARM


def _differences(found: Sequence[ArmComparison]) -> list[Markup]:
    drawn = []
    if found:
        drawn.append(dot_plot(
            'Success less that of the baseline', '[points]',
            [DotRow(one.arm, one.points.value, one.points.interval, _known(one.points.by_cell))
             for one in found], reference=0.0))
    timed = [DotRow(one.arm, one.cycle_percent.value, one.cycle_percent.interval,
                    _known(one.cycle_percent.by_cell))
             for one in found if one.cycle_percent is not None]
    if timed:
        drawn.append(dot_plot('Cycle time where both succeed, less that of the baseline',
                              '[%] of that', timed, reference=0.0))
    return drawn


def _known(by_cell: Mapping[str, float | None]) -> list[float]:
    return [value for value in by_cell.values() if value is not None]
