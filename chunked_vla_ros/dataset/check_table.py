"""
A report on a dataset for the terminal: verdicts, why, and what to do about it.

Decides nothing but how much of it is shown.
"""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chunked_vla_ros.bag.text import printable
from chunked_vla_ros.core.dataset_checks import DatasetReport, EpisodeReport
from chunked_vla_ros.core.dataset_findings import Finding, Grade
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.datasets import Dataset

COLOURS = {Grade.GOOD: 'green', Grade.SUSPECT: 'yellow', Grade.BAD: 'red'}
# Good episodes of a large dataset are counted, not listed.
MOST_ROWS = 60
SHOWN_FINDINGS = 3


def print_report(path: Path, dataset: Dataset, report: DatasetReport, console: Console) -> None:
    """Print the report."""
    shown = [episode for episode in report.episodes if episode.grade is not Grade.GOOD]
    if len(report.episodes) <= MOST_ROWS:
        shown = list(report.episodes)
    table = Table(title=printable(f'{path.name or path}: {_what(dataset, report)}'),
                  title_justify='left')
    for heading, side in (('episode', 'right'), ('verdict', 'left'), ('rows', 'right'),
                          ('time', 'right'), ('outcome', 'left'), ('why', 'left')):
        table.add_column(heading, justify='right' if side == 'right' else 'left',
                         ratio=1 if heading == 'why' else None)
    for episode in shown[:MOST_ROWS]:
        table.add_row(*_row(episode, dataset.timed))
    if shown:
        console.print(table)
    if len(shown) > MOST_ROWS:
        console.print(f'{len(shown) - MOST_ROWS} more are not good: see --json or --html')
    for finding in report.findings:
        console.print(_line(finding))
    for remedy in _remedies(report):
        console.print(Text(f'remedy: {remedy}', 'dim'))
    console.print(_verdict(report))


def _what(dataset: Dataset, report: DatasetReport) -> str:
    rows = sum(episode.measures.rows for episode in report.episodes)
    actions = f'{report.norms.kind.value} actions' if dataset.action_names else 'no actions'
    rate = f' at {dataset.fps:g} Hz' if dataset.timed else ''
    return (f'{dataset.layout}, {len(report.episodes)} episodes, {rows} rows{rate}, '
            f'{actions}')


def _row(episode: EpisodeReport, timed: bool) -> tuple[Text, ...]:
    measures, grave = episode.measures, [
        finding for finding in episode.findings if finding.grade is not Grade.GOOD]
    why = '; '.join(printable(finding.text, 300) for finding in grave[:SHOWN_FINDINGS])
    if len(grave) > SHOWN_FINDINGS:
        why += f'; {len(grave) - SHOWN_FINDINGS} more'
    return (Text(str(measures.index)), Text(episode.grade.word, COLOURS[episode.grade]),
            Text(str(measures.rows)),
            Text(f'{measures.times.duration_s:.1f} s' if timed else '-'),
            Text('-' if measures.outcome is Outcome.UNLABELED else measures.outcome.value),
            Text(why))


def _line(finding: Finding) -> Text:
    word = 'note' if finding.grade is Grade.GOOD else finding.grade.word
    return Text(f'{word}: {printable(finding.text)}; {finding.remedy}', COLOURS[finding.grade]
                if finding.grade is not Grade.GOOD else 'dim')


def _remedies(report: DatasetReport) -> list[str]:
    """Return what helps against the findings of episodes, each once, gravest first."""
    found = sorted((-finding.grade, finding.check, finding.remedy)
                   for episode in report.episodes for finding in episode.findings
                   if finding.grade is not Grade.GOOD)
    return list(dict.fromkeys(f'{check}: {remedy}' for _, check, remedy in found))[:10]


def _verdict(report: DatasetReport) -> Text:
    counted = ', '.join(f'{count} {grade.word}' for grade, count in report.counts.items() if count)
    labels = ', '.join(f'{count} {outcome.value}' for outcome, count in report.outcomes.items()
                       if count)
    return Text.assemble(
        ('verdict: ', 'bold'), (report.grade.word, f'bold {COLOURS[report.grade]}'),
        f' ({counted}; {labels or "nothing read"})')
