"""
Safe HTML fragments: everything that is not already `Markup` is escaped.

`Markup` marks text that this package wrote itself; a task name, a file name or an error message
never becomes markup by accident. Knows nothing about what is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import html


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(value: object) -> Markup:
    """Return ``value`` as HTML; `Markup` passes unchanged."""
    return value if isinstance(value, Markup) else Markup(html.escape(str(value), quote=True))


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """Return ``<tag ...>children</tag>``; a trailing underscore of an attribute is dropped."""
    written = ''.join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for name, value in attributes.items() if value is not None)
    return Markup(f'<{tag}{written}>{"".join(escape(child) for child in children)}</{tag}>')


def joined(parts: Sequence[Markup]) -> Markup:
    """Return fragments one after the other."""
    return Markup(''.join(parts))


def paragraph(*children: object) -> Markup:
    """Return a paragraph of text."""
    return element('p', *children)


def note(*children: object) -> Markup:
    """Return a paragraph set apart: what the reader must know before trusting the numbers."""
    return element('p', *children, class_='note')


def bullets(items: Sequence[object]) -> Markup:
    """Return a list with one item per entry."""
    return element('ul', *(element('li', item) for item in items))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Markup:
    """
    Return a table; cells that look like numbers are set right.

    :raises ValueError: if a row has another length than ``columns``.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f'expected {len(columns)} cells, got {len(row)}: {list(row)}')
    head = element('tr', *(element('th', name) for name in columns))
    body = (element('tr', *(_cell(value) for value in row)) for row in rows)
    filled = element('table', element('thead', head), element('tbody', *body))
    return element('div', filled, class_='scroll')


def badge(text: str, good: bool) -> Markup:
    """Return a coloured word: an outcome that is seen at a glance."""
    return element('span', text, class_='badge good' if good else 'badge bad')


@dataclass(frozen=True)
class Figure:
    """One number of the summary: what it is, its value with unit, and a remark."""

    name: str
    value: str
    remark: str = ''


def figures(entries: Sequence[Figure]) -> Markup:
    """Return the summary's numbers side by side."""
    return element('div', *(
        element(
            'div', element('span', entry.name, class_='name'),
            element('strong', entry.value), element('span', entry.remark, class_='remark'),
            class_='figure')
        for entry in entries), class_='figures')


def _cell(value: object) -> Markup:
    text = str(value)
    numeric = bool(text) and text.lstrip('+-')[:1].isdigit()
    return element('td', value, class_='number' if numeric else None)
