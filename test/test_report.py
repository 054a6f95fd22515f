"""Reports are self-contained, escape what comes from outside and draw what they are given."""

from __future__ import annotations

from html.parser import HTMLParser
import io
from pathlib import Path
import re

import cv2
from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from rich.console import Console

from chunked_vla_ros.report.film_strip import film_frame, film_strip
from chunked_vla_ros.report.markup import badge, bullets, Figure, figures, note, paragraph, table
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import (
    Frame,
    histogram,
    LARGEST_LINE,
    line_plot,
    plots,
    Series,
    ticks,
)
from chunked_vla_ros.report.sorting import sorted_list, SortedRow
from chunked_vla_ros.report.terminal_bar import counting_bar

FRAME = Frame('Title', 'time [s]', 'angle [rad]')
VOID = {'meta', 'img', 'input', 'rect', 'line', 'circle', 'polyline'}
ATTACK = '<script src="http://evil.example/x.js"></script>\'"&'


class Outline(HTMLParser):
    """Collects elements and checks that every one that is opened is closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def outline(html: str) -> Outline:
    parser = Outline()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


def page_with_everything(text: str) -> str:
    page = Page(text, text)
    page.add(
        text, paragraph(text), note(text), bullets([text]), table([text], [[text]]),
        figures([Figure(text, text, text)]), badge(text, True),
        plots(
            line_plot(Frame(text, text, text), [
                Series(text, [0.0, 1.0], [1.0, 2.0]),
                Series(text, [0.0, 1.0], [1.0, 2.0], style='points')]),
            histogram(Frame(text, text, text), [1.0, 2.0, 2.0])),
        film_strip([film_frame(0.5, np.full((8, 8, 3), 200, np.uint8), 4)], text),
        sorted_list('list', [text], [text], [text, text], [
            SortedRow([text], [1.0], 1, paragraph(text), True)]))
    return page.render()


def test_page_refers_to_nothing_outside_itself() -> None:
    html = page_with_everything('plain')
    assert not re.search(r'https?:|@import|url\(', html)
    for tag, attributes in outline(html).seen:
        assert tag not in ('script', 'link', 'iframe')
        assert (attributes.get('src') or 'data:').startswith('data:')


def test_markup_from_outside_stays_text() -> None:
    parsed = outline(page_with_everything(ATTACK))
    assert 'script' not in [tag for tag, _ in parsed.seen]
    assert ATTACK in parsed.text


@given(st.text(alphabet=st.characters(exclude_categories=('Cs', 'Cc'))))
def test_any_text_survives_a_table_cell_unchanged(text: str) -> None:
    parsed = outline(table(['column'], [[text]]))
    assert ''.join(parsed.text) == 'column' + text


def test_page_follows_the_readers_colour_scheme() -> None:
    assert '@media (prefers-color-scheme: dark)' in page_with_everything('plain')


def test_page_is_written_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'report.html'
    Page('Title', 'subtitle').write(path)
    assert path.read_text(encoding='utf-8').startswith('<!DOCTYPE html>')


def test_row_of_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match='expected 2 cells, got 1'):
        table(['a', 'b'], [['only one']])


def test_ticks_are_round_and_inside() -> None:
    assert ticks(0.0, 10.0) == [0, 2, 4, 6, 8, 10]
    assert ticks(-0.1, 0.1, 4) == pytest.approx([-0.1, -0.05, 0.0, 0.05, 0.1])


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6))
def test_ticks_stay_within_any_range(low: float, width: float) -> None:
    values = ticks(low, low + width)
    assert 2 <= len(values) <= 7
    assert all(low - width * 1e-6 <= value <= low + width * (1 + 1e-6) for value in values)


def test_axis_labels_carry_the_units() -> None:
    text = outline(line_plot(FRAME, [Series('a', [0, 1], [0, 1])])).text
    assert {'time [s]', 'angle [rad]', 'Title'} <= set(text)


def test_line_runs_from_corner_to_corner() -> None:
    drawing = line_plot(FRAME, [Series('a', [0, 1], [0, 1])])
    first, last = re.search(r'points="([^"]+)"', drawing)[1].split()  # type: ignore[index]
    assert float(first.split(',')[0]) == 56.0          # left edge of the plot
    assert float(last.split(',')[0]) == 520.0 - 20.0   # right edge
    assert float(first.split(',')[1]) > float(last.split(',')[1])   # up is smaller in SVG


def test_spike_survives_the_thinning_of_a_long_line() -> None:
    y = np.zeros(50_000)
    y[31_234] = 1.0
    drawing = line_plot(FRAME, [Series('a', np.arange(50_000), y)])
    heights = [float(p.split(',')[1]) for p in
               re.search(r'points="([^"]+)"', drawing)[1].split()]  # type: ignore[index]
    assert len(heights) <= LARGEST_LINE + 2
    assert sum(height < 100 for height in heights) == 1


def test_constant_line_can_be_drawn() -> None:
    assert 'polyline' in line_plot(FRAME, [Series('a', [0, 1], [2.0, 2.0])])


def test_noise_of_a_still_joint_is_drawn_small() -> None:
    frame = Frame('Title', 'time [s]', 'angle [rad]', least_span=1.0)
    drawing = line_plot(frame, [Series('a', [0, 1], [0.0, 0.01])])
    first, last = (float(point.split(',')[1]) for point in
                   re.search(r'points="([^"]+)"', drawing)[1].split())  # type: ignore[index]
    # The plot is 260 - 46 - 40 = 174 px high for one radian.
    assert first - last == pytest.approx(1.74, abs=0.1)


def test_points_that_are_not_finite_are_left_out() -> None:
    drawing = line_plot(FRAME, [Series('a', [0, 1, 2], [1.0, np.nan, 2.0])])
    assert 'nan' not in drawing


def test_empty_plot_is_an_error_that_names_the_plot() -> None:
    with pytest.raises(ValueError, match="'Title'"):
        line_plot(FRAME, [Series('a', [], [])])
    with pytest.raises(ValueError, match="'Title'"):
        histogram(FRAME, [])


def test_histogram_bar_is_as_high_as_its_count() -> None:
    drawing = histogram(FRAME, [0.0, 0.0, 0.0, 1.0], bins=2)
    tall, low = (float(h) for h in re.findall(r'<rect[^>]+ height="([\d.]+)"', drawing))
    assert tall / low == pytest.approx(3.0, rel=0.01)


def test_film_frame_keeps_shape_and_colour() -> None:
    red = np.zeros((40, 80, 3), np.uint8)
    red[..., 0] = 255
    decoded = cv2.imdecode(np.frombuffer(film_frame(0.0, red, 20).jpeg, np.uint8), 1)
    assert decoded.shape == (10, 20, 3)
    assert decoded[5, 10, 2] > 240          # OpenCV's order is blue, green, red
    assert decoded[5, 10, 0] < 20


def test_rows_carry_their_place_under_every_key_and_their_kind() -> None:
    rows = [SortedRow([name], [name, number], kind, paragraph(name))
            for name, number, kind in (('b', 1.0, 0), ('a', 3.0, 2), ('c', 2.0, 1))]
    drawing = sorted_list('list', ['name'], ['name', 'number'], ['all', 'some'], rows)
    assert re.findall(r'class="row kind(\d)" style="--k0:(\d);--k1:(\d)"', drawing) == [
        ('0', '1', '0'), ('2', '0', '2'), ('1', '2', '1')]
    assert drawing.count(' checked') == 2          # the first key and the first filter
    rendered = Page('Title', 'subtitle').render()
    assert '.sort1:checked ~ .rows .row { order: var(--k1); }' in rendered
    assert '.show1:checked ~ .rows .kind0 { display: none; }' in rendered


def test_row_without_a_key_is_refused() -> None:
    with pytest.raises(ValueError, match='row of 1 cells and 0 keys, expected 1 and 1'):
        sorted_list('list', ['a'], ['a'], ['all'], [SortedRow(['x'], [], 0, paragraph(''))])


def test_a_bar_counts_on_a_terminal_and_leaves_nothing_elsewhere():
    for terminal in (True, False):
        screen = io.StringIO()
        console = Console(file=screen, force_terminal=terminal, width=80)
        with counting_bar(console, 'looking', 2) as progress:
            progress()
            progress()
        assert ('2/2' in screen.getvalue()) is terminal
