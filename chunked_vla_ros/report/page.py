"""
A self-contained HTML page: headings that state findings, no script, no resource from outside.

Knows nothing about what is reported.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.report.markup import element, joined, Markup
from chunked_vla_ros.report.stylesheet import STYLESHEET


class Page:
    """Sections are added in reading order; ``write`` makes the file."""

    def __init__(self, title: str, subtitle: str) -> None:
        self._title, self._subtitle = title, subtitle
        self._sections: list[Markup] = []

    def add(self, finding: str, *blocks: Markup) -> None:
        """Append a section whose heading says what was found."""
        self._sections.append(element('section', element('h2', finding), *blocks))

    def render(self) -> str:
        """Return the whole page."""
        head = joined([
            Markup('<meta charset="utf-8">'),
            Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Markup('<meta name="color-scheme" content="light dark">'),
            element('title', self._title), element('style', Markup(STYLESHEET))])
        body = element('main', element(
            'header', element('h1', self._title), element('p', self._subtitle)), *self._sections)
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{body}</body></html>\n'

    def write(self, path: Path) -> None:
        """Write the page to ``path``, making its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.render(), encoding='utf-8')
