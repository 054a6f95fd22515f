"""
``chunked-vla compare``: evaluations of several arms over several seeds as one table.

Reads what ``chunked-vla evaluate`` wrote and runs nothing: needs neither a simulator nor ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import shlex
import sys
from typing import Annotated, Any

from rich.console import Console
import tyro.conf

from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.demo.versions import versions
from chunked_vla_ros.evaluate.arm_results import ArmError, Group, LAYOUT, read_groups
from chunked_vla_ros.evaluate.arms import pool, Pooled
from chunked_vla_ros.evaluate.arms_intervals import RESAMPLES
from chunked_vla_ros.evaluate.arms_page import arms_page
from chunked_vla_ros.evaluate.arms_table import HOW, markdown, print_pooled
from chunked_vla_ros.evaluate.options import REPORT
from chunked_vla_ros.graph.option_bounds import check_bounds, command_line

NUMBERS, TABLE = 'arms.json', 'table.md'
SCHEMA = 1
MISTAKE = 2

__all__ = ['CompareOptions', 'run_compare']


@dataclass(frozen=True)
class CompareOptions:
    """Evaluations of several arms over several seeds, pooled and paired on the same starts."""

    folders: Annotated[tuple[str, ...], tyro.conf.Positional] = parameter(
        (), f'folders with {LAYOUT}; cells that differ in the number at their end are seeds')
    baseline: tuple[str, ...] = parameter(
        ('all',), 'arms that every other one is compared with')
    arms: tuple[str, ...] = parameter((), 'which arms, in this order; none named: all of them')
    cells: str = parameter('*', "which cells, as a shell's pattern, such as 'mixed-*'")
    seed: int = parameter(0, 'of the bootstrap', minimum=0, maximum=2**31)
    out: str = parameter('out/compare', f'folder for {REPORT}, {NUMBERS} and {TABLE}')

    def __post_init__(self) -> None:
        check_bounds(self)

    @property
    def command(self) -> str:
        """Return the command line that repeats this comparison."""
        words = command_line(self, 'compare', without=('folders', 'out')).split(' ', 2)
        return ' '.join([*words[:2], shlex.join(self.folders), *words[2:]])


def run_compare(options: CompareOptions) -> int:
    """Compare what ``options`` name; return 0, or 2 after one line about a mistake."""
    out = Path(options.out)
    try:
        groups = _groups(options)
        pooled = [pool(group.title, {arm: group.episodes(arm) for arm in group.results},
                       options.baseline, options.seed) for group in groups]
        warnings = _warnings(groups, options.baseline)
        out.mkdir(parents=True, exist_ok=True)
        (out / NUMBERS).write_text(json.dumps(
            _numbers(options, groups, pooled, warnings), indent=2) + '\n', encoding='utf-8')
        (out / TABLE).write_text(markdown(pooled, options.command, warnings), encoding='utf-8')
        arms_page(pooled, options.command, versions(), warnings).write(out / REPORT)
    except (ValueError, OSError) as error:    # ArmError, a folder that cannot be written
        print(f'error: {" ".join(str(error).split())}', file=sys.stderr)
        return MISTAKE
    print_pooled(pooled, Console(highlight=False, markup=False))
    for warning in warnings:
        print(f'warning: {warning}', file=sys.stderr)
    print(f'report: {out / REPORT}   numbers: {out / NUMBERS}   table: {out / TABLE}')
    return 0


def _groups(options: CompareOptions) -> list[Group]:
    if not options.folders:
        raise ArmError(f'no folder named: chunked-vla compare FOLDER, with {LAYOUT} in it')
    groups = read_groups(options.folders, options.cells, options.arms)
    known = dict.fromkeys(arm for group in groups for arm in group.results)
    for name in options.baseline:
        if name not in known:
            raise ArmError(f'--baseline is {name}, expected one of the arms {", ".join(known)}')
    return groups


def _warnings(groups: Sequence[Group], baselines: Sequence[str]) -> list[str]:
    missing = [f'{group.title}: there is no arm {name} to compare with'
               for group in groups for name in baselines if name not in group.results]
    return [line for group in groups for line in (*group.repeated, *group.copied)] + missing


def _numbers(options: CompareOptions, groups: Sequence[Group], pooled: Sequence[Pooled],
             warnings: Sequence[str]) -> dict[str, Any]:
    return {
        'schema': SCHEMA, 'command': options.command, 'baselines': list(options.baseline),
        'seed': options.seed, 'resamples': RESAMPLES, 'how': list(HOW),
        'warnings': list(warnings),
        'groups': [{
            'condition': group.condition, 'position_set': group.position_set, **one.to_json(),
            'results': {arm: {cell: {'file': str(each.file), 'policy_id': each.policy_id,
                                     **each.facts} for cell, each in by_cell.items()}
                        for arm, by_cell in group.results.items()}}
            for group, one in zip(groups, pooled, strict=True)],
        'versions': versions()}
