"""Cells, terminal and Markdown of the benchmarks' tables."""

from __future__ import annotations

import pytest
from rich.console import Console

from chunked_vla_ros.bench.tables import cell, markdown, print_tables, with_range
from chunked_vla_ros.core.statistics import spread

LOSSES = (['', 'lost [%]'], [['ours', '0.0'], ['theirs', '2.5 (1.0 to 4.0)']])
TIMES = (['closing [s]'], [['0.25']])


def test_a_cell_is_the_median_with_the_range() -> None:
    assert cell([4.0, 1.0, 2.5], 1) == '2.5 (1.0 to 4.0)'
    assert cell([4.0, 1.0], 0) == '2 (1 to 4)'


def test_one_run_has_no_range() -> None:
    assert cell([2.0], 2) == '2.00'
    assert with_range(spread([2.0]), 2) == '2.00 (2.00 to 2.00)'


def test_equal_values_have_a_range_unless_they_are_wanted_once() -> None:
    assert cell([2.0, 2.0], 1) == '2.0 (2.0 to 2.0)'
    assert cell([2.0, 2.0], 1, equal_once=True) == '2.0'
    # Only their texts are equal.
    assert cell([2.0, 2.01], 1, equal_once=True) == '2.0 (2.0 to 2.0)'


def test_a_run_without_a_value_is_left_out() -> None:
    assert cell([None, 3.0], 1) == '3.0'
    assert cell([None], 1) == cell([], 1) == '-'
    assert cell([None], 1, none='nothing arrived') == 'nothing arrived'


def test_terminals_show_units_in_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    in_a_line = (['quantity'], [['latency [ms]']])
    print_tables([LOSSES, TIMES, in_a_line], Console(width=200))
    shown = capsys.readouterr().out
    for text in ('lost [%]', '2.5 (1.0 to 4.0)', 'closing [s]', 'latency [ms]'):
        assert text in shown


def test_markdown_has_the_command_above_its_tables() -> None:
    assert markdown([LOSSES, TIMES], 'the command') == (
        '`the command`\n'
        '\n'
        '|  | lost [%] |\n'
        '| --- | --- |\n'
        '| ours | 0.0 |\n'
        '| theirs | 2.5 (1.0 to 4.0) |\n'
        '\n'
        '| closing [s] |\n'
        '| --- |\n'
        '| 0.25 |\n')


def test_a_bar_in_a_cell_makes_no_column() -> None:
    assert markdown([(['reason'], [['a | b']])], 'it').endswith('| a \\| b |\n')
