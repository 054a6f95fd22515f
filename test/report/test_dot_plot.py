"""Dots, intervals and parts are where their numbers belong."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest

from chunked_vla_ros.report.dot_plot import dot_plot, DotRow, WIDTH


def places(svg):
    """Return the dots and the intervals as (radius, x, y) and (x1, x2, y)."""
    root = ET.fromstring(svg)
    dots = [tuple(float(one.get(name)) for name in ('r', 'cx', 'cy'))
            for one in root.iter('circle')]
    lines = [tuple(float(one.get(name)) for name in ('x1', 'x2', 'y1'))
             for one in root.iter('line') if one.get('stroke')]
    return dots, lines


def test_a_value_lies_on_its_interval_and_its_parts_below():
    dots, lines = places(dot_plot('rates', '[%]', [DotRow('a', 50.0, (40.0, 60.0), (45.0, 55.0))]))
    (low, high, y), = lines
    small, value = dots[:2], dots[2]
    assert (value[1], value[2]) == (pytest.approx((low + high) / 2, abs=0.1), y)
    assert [each[1] for each in small] == pytest.approx(
        [low + (high - low) / 4, high - (high - low) / 4], abs=0.1)
    assert all(each[2] > y and each[0] < value[0] for each in small)


def test_rows_follow_each_other_on_one_axis():
    dots, _ = places(dot_plot('rates', '[%]', [DotRow('a', 10.0), DotRow('b', 20.0)]))
    (_, first_x, first_y), (_, second_x, second_y) = dots
    assert first_x < second_x
    assert first_y < second_y


def test_the_axis_ends_at_its_bounds():
    row = DotRow('a', 99.0, (98.0, 100.0))
    assert places(dot_plot('rates', '[%]', [row], (0.0, 100.0)))[1][0][1] == pytest.approx(
        WIDTH - 18, abs=0.1)
    assert places(dot_plot('rates', '[%]', [row]))[1][0][1] < WIDTH - 18


@pytest.mark.parametrize('value', [0.0, 7.5, -3.0])
def test_a_single_value_can_be_drawn_and_marked(value):
    svg = dot_plot('rates', '[%]', [DotRow('a', value)], reference=value)
    dot, = places(svg)[0]
    assert f'x1="{dot[1]:.1f}"' in re.search(r'<line[^>]*dasharray[^>]*>', svg)[0]


def test_a_value_at_both_bounds_can_be_drawn():
    dots, _ = places(dot_plot('rates', '[%]', [DotRow('a', 100.0, (100.0, 100.0))], (0.0, 100.0)))
    assert dots[0][1] == pytest.approx(WIDTH - 18, abs=0.1)


def test_long_and_hostile_names_stay_text_of_one_line():
    svg = dot_plot('rates', '[%]', [DotRow('<b>' + 'x' * 100, 1.0)])
    assert '<b>' not in svg
    assert '…' in svg


def test_nothing_to_plot_is_said():
    with pytest.raises(ValueError, match="nothing to plot in 'rates'"):
        dot_plot('rates', '[%]', [])
