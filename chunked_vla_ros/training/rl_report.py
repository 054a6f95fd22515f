"""
The part of a training's page that only offline RL has: what the data support, what was chosen.

Headings say what was found. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chunked_vla_ros.report.markup import Markup, note, paragraph, table
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, line_plot, plots, Series
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.rl_findings import RlFindings
from chunked_vla_ros.training.standing import Row

SMALL = {'width': 380, 'height': 230}
CONTROL = ('What the critic adds shows beside imitation of as many updates of the policy: train it'
           ' with method advantage, rl.selection=all, and evaluate both on the same starts.')
# Curves of one plot each, by what is in the rows; what a method has not is left out.
CURVES = (
    ('Loss of the critic', 'loss', {'critic/loss': 'critic', 'critic/cal_ql': 'conservative'}),
    ('Values', 'value', {'critic/value': 'critic', 'critic/q_mean': 'critic',
                         'critic/target': 'target', 'actor/q': 'of the policy'}),
    ('Loss of the policy', 'loss', {'loss_flow': 'flow', 'actor/bc_loss': 'imitation',
                                    'actor/distillation_loss': 'distillation'}))


def add_rl_sections(page: Page, material: Material, rows: Sequence[Row],
                    findings: RlFindings) -> None:
    """Add what the data support, the curves of critic and policy, and what was chosen."""
    support = findings.support
    headline = support.headline[:1].upper() + support.headline[1:]
    said: list[Markup] = [note(reason) for reason in support.reasons]
    numbers = [(name, f'{number:g}') for name, number in support.numbers.items()]
    control = f' {CONTROL}' if material.origin.config.critic_steps else ''
    began = paragraph(f'It began at {findings.start}.{control}')
    page.add(headline, began, *said, table(('of the data', ''), numbers))
    drawn = [one for curve in CURVES if (one := _curve(rows, *curve)) is not None]
    if drawn:
        page.add('What critic and policy learnt', plots(*drawn))
    if findings.selection is not None:
        page.add(_chosen(findings), plots(*_selection_plots(material, findings)), table(
            ('of the selection', ''), [(name.replace('_', ' '), f'{number:.4g}') for name, number
                                       in findings.selection.numbers().items()]))


def _curve(rows: Sequence[Row], title: str, unit: str, names: dict[str, str]) -> Markup | None:
    series: list[Series] = []
    for name, label in names.items():
        there = [(row['step'], row[name]) for row in rows if np.isfinite(row.get(name, np.nan))]
        if there:
            steps, values = np.array(there).T
            series.append(Series(label, steps, values, colour=len(series)))
    return line_plot(Frame(title, 'step', unit, **SMALL), series) if series else None


def _chosen(findings: RlFindings) -> str:
    assert findings.selection is not None
    found = findings.selection.numbers()
    return f'The policy learnt from {found["kept"]:.0f} of {found["chunks"]:.0f} chunks'


def _selection_plots(material: Material, findings: RlFindings) -> list[Markup]:
    """Return the advantages in order, and how much of each episode counts."""
    selection, rl = findings.selection, material.rl
    assert selection is not None
    assert rl is not None
    drawn: list[Markup] = []
    if selection.advantages is not None:
        ordered = np.sort(selection.advantages)[::-1].astype(np.float64)
        shares = np.linspace(0.0, 1.0, len(ordered))
        drawn.append(line_plot(
            Frame('Advantages, the best first', 'share of the chunks', 'advantage', **SMALL),
            [Series('chunks', shares, ordered)]))
    episodes = np.array(material.split.training, np.int64)
    kept = findings.shares(material.rows.episode_starts, episodes)
    good = rl.start.rewarded.success[episodes]
    series = [Series(label, episodes[which].astype(np.float64), kept[which], colour=colour,
                     style='points')
              for colour, (label, which) in enumerate((('success', good), ('other', ~good)))
              if (which & np.isfinite(kept)).any()]
    if series:
        drawn.append(line_plot(Frame('Share of each episode that counts', 'episode', 'share',
                                     **SMALL), series))
    return drawn
