"""A bar on the terminal while something is counted through; knows nothing of what is counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn


@contextmanager
def counting_bar(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """
    Show ``what`` is done and how far; yield what is to be called after each of ``total``.

    It is wiped away at the end, and not shown at all where ``console`` is no terminal.
    """
    if not console.is_terminal:
        yield lambda: None
        return
    with Progress(what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                  console=console, transient=True) as bar:
        task = bar.add_task('', total=total)
        yield lambda: bar.advance(task)
