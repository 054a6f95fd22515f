"""
A list that the reader sorts, filters and unfolds, without a script: buttons are radio inputs.

Each row carries its place under every key, and the style sheet orders by the one that is chosen.
Knows nothing about what is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chunked_vla_ros.report.markup import element, joined, Markup

# The style sheet has rules for so many.
MOST_KEYS, MOST_FILTERS = 8, 4


@dataclass(frozen=True)
class SortedRow:
    """
    One row.

    :ivar cells: What is seen of it, as many as there are columns.
    :ivar keys: What it is sorted by, ascending, one for each key.
    :ivar kind: Place of its kind among the filters: a filter shows its own kind and those after.
    :ivar inside: What is seen when it is unfolded.
    :ivar unfolded: Whether it is from the start.
    """

    cells: Sequence[object]
    keys: Sequence[float | str]
    kind: int
    inside: Markup
    unfolded: bool = False


def sorted_list(name: str, columns: Sequence[str], keys: Sequence[str], filters: Sequence[str],
                rows: Sequence[SortedRow]) -> Markup:
    """
    Return the list, sorted by the first key, unfiltered.

    :param name: Unique on the page.
    :param columns: Headings.
    :param keys: What the rows can be sorted by.
    :param filters: Names of the choices; choice k shows rows of kind k and above.
    :raises ValueError: too many keys or filters, or a row has another number of cells or keys.
    """
    if len(keys) > MOST_KEYS or len(filters) > MOST_FILTERS:
        raise ValueError(f'{len(keys)} keys and {len(filters)} filters, expected up to '
                         f'{MOST_KEYS} and {MOST_FILTERS}')
    for row in rows:
        if len(row.cells) != len(columns) or len(row.keys) != len(keys):
            raise ValueError(f'row of {len(row.cells)} cells and {len(row.keys)} keys, expected '
                             f'{len(columns)} and {len(keys)}')
    places = [_places([row.keys[key] for row in rows]) for key in range(len(keys))]
    listed = [_row(row, [place[number] for place in places]) for number, row in enumerate(rows)]
    heading = element('div', *(element('span', column) for column in columns), class_='heading')
    sorting = _choices(f'{name}-sort', 'sort', keys)
    showing = _choices(f'{name}-show', 'show', filters)
    return element(
        'div', sorting[0], showing[0],
        element('div', element('span', 'sort by'), *sorting[1], class_='choices'),
        element('div', element('span', 'show'), *showing[1], class_='choices')
        if len(filters) > 1 else Markup(''),
        heading, element('div', *listed, class_='rows'), class_='sorted',
        style=f'--columns:{len(columns)}')


def _places(values: Sequence[float | str]) -> list[int]:
    order = sorted(range(len(values)), key=lambda number: values[number])
    places = [0] * len(values)
    for place, number in enumerate(order):
        places[number] = place
    return places


def _row(row: SortedRow, places: Sequence[int]) -> Markup:
    style = ';'.join(f'--k{key}:{place}' for key, place in enumerate(places))
    head = element('summary', *(element('span', cell) for cell in row.cells))
    return element('details', head, element('div', row.inside, class_='inside'),
                   class_=f'row kind{row.kind}', style=style, open='' if row.unfolded else None)


def _choices(name: str, kind: str, texts: Sequence[str]) -> tuple[Markup, list[Markup]]:
    """Return the radio inputs, which stand before all that they change, and their labels."""
    inputs = joined([
        Markup(f'<input type="radio" class="choice {kind}{number}" id="{name}-{number}" '
               f'name="{name}"{" checked" if not number else ""}>')
        for number in range(len(texts))])
    labels = [element('label', text, for_=f'{name}-{number}', class_=f'{kind}{number}')
              for number, text in enumerate(texts)]
    return inputs, labels
