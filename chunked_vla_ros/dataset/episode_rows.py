"""
The list of episodes on the page: each unfolds into findings, film strips and plots.

How many plots there are is bounded, the worst episodes come first. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from chunked_vla_ros.core.action_relation import ActionKind, shared_columns
from chunked_vla_ros.core.dataset_checks import DatasetReport, EpisodeReport
from chunked_vla_ros.core.dataset_findings import Finding, Grade
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.dataset.examine import Examined, Lines
from chunked_vla_ros.report.film_strip import film_strip
from chunked_vla_ros.report.markup import element, joined, Markup, paragraph, table
from chunked_vla_ros.report.plots import Frame, line_plot, Series
from chunked_vla_ros.report.sorting import sorted_list, SortedRow

COLUMNS = ('verdict', 'episode', 'rows', 'time', 'largest gap', 'outcome', 'why')
KEYS = ('verdict', 'episode', 'longest', 'shortest', 'largest gap', 'oldest sample', 'outcome')
FILTERS = ('all', 'suspect and bad', 'bad')
KINDS = {Grade.GOOD: 'good', Grade.SUSPECT: 'fair', Grade.BAD: 'bad'}
# A plot takes a few kilobytes; a browser slows down with tens of thousands.
MOST_PLOTS = 4000
UNFOLDED = 1
# In any unit: less is noise.
LEAST_SPAN = 0.01


def episode_list(report: DatasetReport, examined: Sequence[Examined]) -> Markup:
    """Return the list; ``examined`` are the episodes of ``report``, in its order."""
    pairs = list(zip(report.episodes, examined, strict=True))
    order = sorted(range(len(pairs)), key=lambda number: -pairs[number][0].grade)
    joints = max(len(report.norms.head.state_names), 1)
    plotted = set(order[:max(MOST_PLOTS // joints, 1)])
    rows = [_row(report, one, seen, number in plotted, number in order[:UNFOLDED])
            for number, (one, seen) in enumerate(pairs)]
    return sorted_list('episodes', COLUMNS, KEYS, FILTERS, rows)


def grade_badge(grade: Grade) -> Markup:
    """Return a verdict as a coloured word."""
    return element('span', grade.word, class_=f'badge {KINDS[grade]}')


def finding_badge(finding: Finding) -> Markup:
    """Return how grave a finding is, as a coloured word; a note is not coloured."""
    if finding.grade is Grade.GOOD:
        return element('span', 'note', class_='badge')
    return grade_badge(finding.grade)


def _row(report: DatasetReport, one: EpisodeReport, seen: Examined, plotted: bool,
         unfolded: bool) -> SortedRow:
    measures, timed = one.measures, report.norms.head.timed
    oldest_s = max((ages.p99_s for ages in measures.ages.values()), default=0.0)
    gap_s = measures.times.largest_gap_s
    outcome = '' if measures.outcome is Outcome.UNLABELED else measures.outcome.value
    why = '; '.join(finding.text for finding in one.findings if finding.grade is not Grade.GOOD)
    return SortedRow(
        (grade_badge(one.grade), measures.index, measures.rows,
         f'{measures.times.duration_s:.1f} s' if timed else '',
         f'{gap_s * 1e3:.1f} ms' if timed else '', outcome, why or measures.task),
        (-one.grade, measures.index, -measures.rows, measures.rows, -gap_s, -oldest_s, outcome),
        int(one.grade), _inside(report, one, seen, plotted), unfolded)


def _inside(report: DatasetReport, one: EpisodeReport, seen: Examined, plotted: bool) -> Markup:
    parts: list[Markup] = []
    if one.measures.task:
        parts.append(paragraph(f'“{one.measures.task}”'))
    if one.findings:
        parts.append(table(['', 'found', 'value', 'threshold', 'remedy'], [
            [finding_badge(each), each.text, f'{each.value:.4g} {each.unit}'.strip(),
             f'{each.threshold:.4g} {each.unit}'.strip(), each.remedy] for each in one.findings]))
    for camera, frames in seen.strips.items():
        parts += [element('h3', camera), film_strip(frames, camera, report.norms.head.timed)]
    if seen.lines is not None and plotted:
        parts += [element('h3', 'state and action'), _plots(report, seen.lines)]
    elif seen.lines is not None:
        parts.append(paragraph('Not plotted: the page would be too large.'))
    return joined(parts)


def _plots(report: DatasetReport, lines: Lines) -> Markup:
    head, label = report.norms.head, 'time [s]' if report.norms.head.timed else 'row'
    # Differences and targets have nothing in common but their column's number.
    pairs = shared_columns(head.state_names, head.action_names)
    partner = {} if report.norms.kind is ActionKind.DELTA else dict(pairs)
    drawn = []
    for column, name in enumerate(head.state_names):
        series = [Series('state', lines.times_s, lines.state[:, column], 1)]
        other = partner.get(column)
        if other is not None and lines.action is not None:
            series.insert(0, Series('action', lines.times_s, lines.action[:, other], 0))
        drawn.append(line_plot(_frame(report, name, column, label), series))
    if lines.action is not None:
        drawn += [
            line_plot(Frame(name, label, '', 300, 170),
                      [Series('action', lines.times_s, lines.action[:, column])])
            for column, name in enumerate(head.action_names) if column not in partner.values()]
    return element('div', *(element('figure', drawing) for drawing in drawn),
                   class_='small plots')


def _frame(report: DatasetReport, name: str, column: int, label: str) -> Frame:
    """Return the frame of a joint: noise of one that stands still looks small."""
    state = report.norms.state
    span = 0.1 * float(state.high[column] - state.low[column]) if state is not None else 0.0
    span = max(span, LEAST_SPAN)
    return Frame(name, label, '', 300, 170, span)
