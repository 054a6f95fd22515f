"""
``chunked-vla dataset check``: is a dataset fit to train on? One verdict per episode, and why.

Reads, lets `core.dataset_checks` judge, and hands on to terminal, JSON and page.
"""

from __future__ import annotations

import json
from pathlib import Path
import sys

from rich.console import Console

from chunked_vla_ros.bag.text import printable
from chunked_vla_ros.core.dataset_checks import check_dataset, DatasetReport
from chunked_vla_ros.core.dataset_findings import Grade
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.data.datasets import Dataset, open_dataset
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.dataset.check_json import report_as_json
from chunked_vla_ros.dataset.check_page import check_page
from chunked_vla_ros.dataset.check_table import print_report
from chunked_vla_ros.dataset.examine import examine, Examined, head_of
from chunked_vla_ros.dataset.options import DatasetCheckOptions
from chunked_vla_ros.report.terminal_bar import counting_bar

NOT_FIT, MISTAKE = 1, 2

__all__ = ['DatasetCheckOptions', 'run_dataset_check']


def run_dataset_check(options: DatasetCheckOptions) -> int:
    """Print the verdicts; return 0, 1 if the dataset is bad, or 2 where there is none."""
    try:
        robot = load_robot(options.robot) if options.robot else None
        dataset = open_dataset(options.path)
        examined = _read(dataset, options)
        report = check_dataset(
            head_of(dataset), [each.measures for each in examined], DatasetRules(), robot)
        if options.html is not None:
            _write(check_page(options.path, dataset, report, examined).render(), options.html)
    except (ValueError, OSError) as error:    # DatasetError, ContractError, a page on a full disk
        print(f'error: {printable(" ".join(str(error).split()), 2000)}', file=sys.stderr)
        return MISTAKE
    if options.json:
        print(json.dumps(report_as_json(options.path, dataset, report), indent=2))
    else:
        print_report(options.path, dataset, report, Console(soft_wrap=True, highlight=False))
        if options.html is not None:
            print(f'page: {printable(str(options.html))}')
    return exit_code(report, options.strict)


def exit_code(report: DatasetReport, strict: bool) -> int:
    """Return 0 for a dataset that may be trained on."""
    return NOT_FIT if report.grade >= (Grade.SUSPECT if strict else Grade.BAD) else 0


def _read(dataset: Dataset, options: DatasetCheckOptions) -> list[Examined]:
    with counting_bar(Console(stderr=True), 'looking at episodes',
                      len(dataset.episodes)) as progress:
        return list(examine(
            dataset, options.frames == 'all', options.html is not None, progress))


def _write(text: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='utf-8')
    except OSError as error:
        raise OSError(f'{path}: cannot be written ({error.strerror or error}), name another '
                      'file with --html') from error
