"""Cells come out as they went in, on the terminal and in Markdown."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chunked_vla_ros.report.text_tables import markdown_table, print_table


@pytest.mark.parametrize('markup', [True, False])
def test_units_in_brackets_are_no_markup(markup):
    stream = io.StringIO()
    print_table(['time [s]'], [['[b]7[/b]']], Console(file=stream, markup=markup, width=60),
                'title [1]')
    said = stream.getvalue()
    assert all(text in said for text in ('time [s]', '[b]7[/b]', 'title [1]'))


def test_a_bar_in_a_cell_does_not_end_it():
    assert markdown_table(['a', 'b'], [['1 | 2', '3']]) == [
        '| a | b |', '| --- | --- |', '| 1 \\| 2 | 3 |']
