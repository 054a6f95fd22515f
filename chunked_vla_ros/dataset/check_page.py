"""
The page of ``chunked-vla dataset check``: verdict, why, and every episode with plots and pictures.

Turns a report into the vocabulary of `report`; reads and judges nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from chunked_vla_ros.core.dataset_checks import DatasetReport
from chunked_vla_ros.core.dataset_findings import Finding, Grade
from chunked_vla_ros.core.dataset_rules import DatasetRules
from chunked_vla_ros.data.datasets import Dataset
from chunked_vla_ros.dataset.episode_rows import episode_list, finding_badge
from chunked_vla_ros.dataset.examine import Examined
from chunked_vla_ros.report.markup import (
    Figure,
    figures,
    Markup,
    note,
    paragraph,
    table,
)
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, line_plot, plots, Series

MOST_TASKS = 50


def check_page(path: Path, dataset: Dataset, report: DatasetReport,
               examined: Sequence[Examined]) -> Page:
    """Return the page."""
    name = path.resolve().name
    page = Page(f'{name} is {report.grade.word}', f'{dataset.layout}; {path}')
    page.add(_headline(report), figures(_figures(dataset, report)))
    if report.findings:
        page.add('What holds for the whole dataset', _findings(report.findings))
    page.add('Every episode: why, how it moved, what the cameras saw',
             episode_list(report, examined))
    page.add('How episodes compare', plots(*_comparisons(dataset, report)))
    tasks = Counter(each.measures.task for each in report.episodes if not each.measures.error)
    page.add(f'{len(tasks)} instruction{"s" if len(tasks) != 1 else ""}', table(
        ['episodes', 'instruction'],
        [[count, task or '(none)'] for task, count in tasks.most_common(MOST_TASKS)]))
    page.add('Ranges over all episodes', *_ranges(report))
    page.add('What it was held against', table(
        ['threshold', 'value', 'meaning'],
        [[rule.name, f'{getattr(DatasetRules(), rule.name):g}', rule.metadata['doc']]
         for rule in fields(DatasetRules)]))
    return page


def _headline(report: DatasetReport) -> str:
    counts, total = report.counts, len(report.episodes)
    if report.grade is Grade.GOOD:
        return f'All {total} episodes are good'
    parts = [f'{counts[grade]} {grade.word}' for grade in (Grade.BAD, Grade.SUSPECT)
             if counts[grade]]
    if not parts:
        return f'All {total} episodes are good by themselves, the dataset as a whole is not'
    return f'{" and ".join(parts)} of {total} episodes'


def _figures(dataset: Dataset, report: DatasetReport) -> list[Figure]:
    read = [each.measures for each in report.episodes if not each.measures.error]
    rows = sum(each.rows for each in read)
    seconds = sum(each.times.duration_s for each in read)
    lags = [each.relation.lag_s for each in read if each.relation is not None]
    lag = f'state follows after {np.median(lags):.2f} s' \
        if lags and dataset.timed and report.norms.kind.value == 'absolute' else ''
    labels = ', '.join(f'{count} {outcome.value}' for outcome, count in report.outcomes.items()
                       if count)
    sources = ', '.join(sorted({each.action_source for each in read if each.action_source}))
    lag = '; '.join(filter(None, (lag, sources and f'from {sources}')))
    return [
        Figure('episodes', str(len(report.episodes)),
               ', '.join(f'{count} {grade.word}' for grade, count in report.counts.items()
                         if count)),
        Figure('rows', str(rows), f'{seconds / 60.0:.1f} min' if dataset.timed else ''),
        Figure('rate', f'{dataset.fps:g} Hz' if dataset.timed else 'not recorded'),
        Figure('action', report.norms.kind.value if dataset.action_names else 'none', lag),
        Figure('joints', str(len(dataset.state_names)),
               f'{len(dataset.action_names)} columns of action' if dataset.action_names else ''),
        Figure('cameras', str(len(dataset.cameras)), ', '.join(dataset.cameras)),
        Figure('outcomes', labels or 'none')]


def _findings(findings: Sequence[Finding]) -> Markup:
    return table(['', 'found', 'remedy'], [
        [finding_badge(each), each.text, each.remedy] for each in findings])


def _comparisons(dataset: Dataset, report: DatasetReport) -> list[Markup]:
    read = [each.measures for each in report.episodes if not each.measures.error]
    if not read:
        return [paragraph('No episode could be read.')]
    numbers = [each.index for each in read]
    drawn = [_points('length', 'rows', numbers, [each.rows for each in read], 10.0)]
    period_s = 1.0 / dataset.fps
    if dataset.timed:
        drawn += [
            _points('rate', 'rate [Hz]', numbers,
                    [1.0 / each.times.period_s if each.times.period_s else np.nan
                     for each in read], 0.1 * dataset.fps),
            _points('largest gap between rows', 'gap [ms]', numbers,
                    [each.times.largest_gap_s * 1e3 for each in read], period_s * 1e3)]
    streams = sorted({stream for each in read for stream in each.ages})
    if streams:
        drawn.append(line_plot(
            Frame('age of samples, 99 %', 'episode', 'age [ms]', 400, 220),
            [Series(stream, numbers, [each.ages[stream].p99_s * 1e3 if stream in each.ages
                                      else np.nan for each in read], place, 'points')
             for place, stream in enumerate(streams)]))
    for camera in dataset.cameras:
        seen = [each for each in read if each.cameras.get(camera) is not None
                and each.cameras[camera].frames]
        if seen:
            drawn.append(_points(f'{camera}: sharpness', 'variance of Laplacian',
                                 [each.index for each in seen],
                                 [each.cameras[camera].sharpness for each in seen], 10.0))
    return drawn


def _points(title: str, label: str, numbers: Sequence[int], values: Sequence[float],
            least: float) -> Markup:
    if not np.isfinite(values).any():
        return Markup('')
    return line_plot(Frame(title, 'episode', label, 400, 220, least),
                     [Series(title, numbers, values, style='points')])


def _ranges(report: DatasetReport) -> list[Markup]:
    norms, blocks = report.norms, []
    for what, signal, names in (('state', norms.state, norms.head.state_names),
                                ('action', norms.action, norms.head.action_names)):
        if signal is not None:
            blocks.append(table(
                [what, 'lowest', 'highest', 'largest step, typical', 'limits'],
                [[name, f'{signal.low[column]:.4g}', f'{signal.high[column]:.4g}',
                  f'{signal.typical_step[column]:.3g}', _limits(report, name)]
                 for column, name in enumerate(names)]))
    return blocks or [note('No episode could be read.')]


def _limits(report: DatasetReport, name: str) -> str:
    limit = report.norms.limits.get(name)
    return f'{limit.lower:g} to {limit.upper:g} {limit.unit}' if limit else ''
