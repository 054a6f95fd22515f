"""
The page of an open-loop comparison: error along the chunk, per joint, predicted over recorded.

Turns results into the vocabulary of `report`; computes and reads nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from chunked_vla_ros.core.types import FloatArray
from chunked_vla_ros.evaluate.open_loop_results import OpenLoopResults, SCALED
from chunked_vla_ros.report.markup import (
    badge,
    element,
    Figure,
    figures,
    Markup,
    note,
    paragraph,
    table,
)
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, line_plot, plots, Series

JOINTS_SHOWN = 6
UNIT_NAMES = {'rad': 'rad', 'm': 'm', '1': 'share of the range'}


@dataclass(frozen=True)
class ShownEpisode:
    """
    A held-out episode to draw.

    :ivar times_s: Of its N rows, since its beginning in [s], shape (N,).
    :ivar recorded: Commands, shape (N, J); ``state`` likewise, measured.
    :ivar begins_s: When each of M drawn windows begins, shape (M,) in [s].
    :ivar predicted: What a policy said there, shape (M, H, J).
    """

    name: str
    policy: str
    times_s: FloatArray
    recorded: FloatArray
    state: FloatArray
    begins_s: FloatArray
    predicted: FloatArray


def open_loop_page(results: OpenLoopResults, shown: Sequence[ShownEpisode]) -> Page:
    """Return the page."""
    page = Page('Open-loop error on held-out episodes',
                f'{", ".join(results.policies)}; {results.facts.get("created", "")}')
    for warning in results.warnings:
        page.add('Not all of these episodes are new to the policy', paragraph(warning))
    for policy in results.policies:
        page.add(f'{policy}: {results.verdict(policy)}', figures(_figures(results, policy)),
                 _comparison(results, policy))
    page.add('Error grows along the chunk', plots(*_curves(results)), note(
        'Hold state repeats the measured pose. Hold action repeats the last command, which a '
        'policy is not shown. The mean chunks are those of the training episodes.'))
    page.add('Every joint', _joints(results))
    page.add('Predicted points over what was commanded', *_drawings(results, shown))
    page.add('What was compared', paragraph(
        f'{results.windows} windows of {len(results.held_out)} held-out episodes '
        f'({", ".join(results.held_out)}); {len(results.training)} training episodes '
        f'({", ".join(results.training)}). Entries past the end of an episode do not count. '
        f'Chunks averaged at each place: {results.facts.get("samples", 1)}.'),
        element('p', element('code', str(results.facts.get('command', '')))), note(
        'Open loop: the arm never goes where a prediction would have taken it. A small error '
        'here does not mean success on a robot.'))
    return page


def _figures(results: OpenLoopResults, policy: str) -> list[Figure]:
    against = results.comparisons[policy]
    entries = [Figure('mean error', f'{means[policy]:.4f}', UNIT_NAMES.get(unit, unit))
               for unit, means in results.by_unit.items()]
    return [*entries, Figure('scaled error', f'{results.scaled[policy].mean:.3f}', SCALED), *(
        Figure(f'against {name}', f'{one.ratio:.2f}',
               f'lower in {100 * one.better_windows:.0f} % of the windows')
        for name, one in against.items())]


def _comparison(results: OpenLoopResults, policy: str) -> Markup:
    columns = ['baseline', 'error / baseline', 'by episode', 'windows with less error', '']
    return table(columns, [
        [name, f'{one.ratio:.3f}', ', '.join(f'{share:.2f}' for share in one.by_episode),
         f'{100 * one.better_windows:.0f} %',
         badge('below' if one.ratio < 1.0 else 'not below', one.ratio < 1.0)]
        for name, one in results.comparisons[policy].items()])


def _curves(results: OpenLoopResults) -> list[Markup]:
    horizon = len(next(iter(results.raw.values())).by_step)
    ahead_s = np.arange(horizon) * results.step_s
    return [line_plot(
        Frame('scaled error ahead of the observation', 'time ahead [s]', SCALED, 780, 320),
        [Series(name, ahead_s, errors.by_step, place)
         for place, (name, errors) in enumerate(results.scaled.items())])]


def _joints(results: OpenLoopResults) -> Markup:
    names = list(results.raw)
    return table(['joint', 'unit', *names], [
        [joint, UNIT_NAMES.get(results.units[place], results.units[place]),
         *(f'{results.raw[name].by_joint[place]:.4f}' for name in names)]
        for place, joint in enumerate(results.joint_names)])


def _drawings(results: OpenLoopResults, shown: Sequence[ShownEpisode]) -> list[Markup]:
    blocks: list[Markup] = []
    for episode in shown:
        spread = episode.recorded.std(axis=0)
        places = np.argsort(-spread, kind='stable')[:JOINTS_SHOWN]
        ahead_s = np.arange(episode.predicted.shape[1]) * results.step_s
        when = (episode.begins_s[:, None] + ahead_s).ravel()
        blocks.append(paragraph(f'{episode.name}, {episode.policy}: the {len(places)} joints that '
                                'move most'))
        blocks.append(plots(*(line_plot(
            Frame(results.joint_names[place], 'time [s]',
                  UNIT_NAMES.get(results.units[place], results.units[place]), 440, 240, 0.02),
            [Series('commanded', episode.times_s, episode.recorded[:, place], 0),
             Series('measured', episode.times_s, episode.state[:, place], 2),
             Series('predicted', when, episode.predicted[:, :, place].ravel(), 1, 'points')])
            for place in places)))
    return blocks
