"""
What came of a training, as a page: curves, examples beside the demonstrations, configuration.

Headings say what was found. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.durable_file import replace_file
from chunked_vla_ros.report.markup import Figure, figures, Markup, note, paragraph, table
from chunked_vla_ros.report.page import Page
from chunked_vla_ros.report.plots import Frame, line_plot, plots, Series
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.rl_findings import RlFindings
from chunked_vla_ros.training.rl_report import add_rl_sections
from chunked_vla_ros.training.standing import History, Row
from chunked_vla_ros.training.validation import Example, Validation

# Of a noisy curve the eye wants the mean of so many points.
SMOOTHED = 25
SHOWN_JOINTS = 7
# More lines or longer names would not fit in a legend.
HARDEST, LONGEST_LABEL = 3, 12
LONGEST_INSTRUCTION = 200
SMALL = {'width': 380, 'height': 230}


def write_report(path: Path, material: Material, history: History, last: Validation | None,
                 step: int, findings: RlFindings | None = None) -> None:
    """
    Write the page of a training after ``step`` steps.

    :param findings: What offline RL has to say besides.
    :param last: What the last validation found; of windows that were learnt where it has none.
    """
    config = material.origin.config
    how = 'Training by imitation' if findings is None else f'Offline RL, {config.method}'
    page = Page(f'{how}: {path.absolute().parent.name}', _subtitle(material))
    done = f'{step} of {config.steps} steps'
    page.add(
        'Trained to the end' if step >= config.steps else f'Stopped after {done}',
        figures(_figures(history, last, done)), *_notes(material))
    if findings is not None:
        add_rl_sections(page, material, history.training, findings)
    elif history.training:
        page.add(_loss_finding(history), plots(*_loss_plots(history)))
    if history.validation and last is not None:
        page.add(_error_finding(last), plots(
            *_error_plots(history.validation, last, config.step_s)))
    if last is not None and last.examples:
        page.add(
            'Chunks as demonstrated and as the policy would have them' if last.windows else
            'Chunks that were learnt, as demonstrated and as the policy would have them',
            *(_example(example, material) for example in last.examples))
    if history.training:
        page.add('Learning rate, gradient and speed', plots(*_course_plots(history.training)))
    page.add('Configuration', table(('key', 'value'), _settings(config)))
    replace_file(path, page.render())


def _subtitle(material: Material) -> str:
    rows, split = material.rows, material.split
    return (f'{len(split.training)} episodes learnt from, {len(split.validation)} held out; '
            f'{len(material.training)} windows of {material.origin.config.horizon} points each '
            f'{material.origin.config.step_s:g} s; cameras '
            f'{", ".join(camera.name for camera in rows.cameras) or "none"}; '
            f'{len(rows.instructions)} instructions')


def _figures(history: History, last: Validation | None, done: str) -> list[Figure]:
    found = [Figure('steps', done)]
    if history.training:
        tail = [row['loss'] for row in history.training[-SMOOTHED:]]
        found.append(Figure('loss', f'{np.mean(tail):.4f}', 'mean of the last points'))
    if last is not None and last.windows:
        found += [
            Figure('validation loss', f'{last.loss:.4f}', 'of the running mean of the weights'),
            Figure('action error', f'{last.error:.4f}', f'mean over {last.windows} windows; '
                   f'an arm that stays where it is: {last.hold_error:.4f}')]
    if history.training:
        speeds = [row['samples_per_s'] for row in history.training]
        waits = [row['data_wait_share'] for row in history.training]
        found.append(Figure('speed', f'{np.median(speeds):.0f} windows/s',
                            f'{100 * np.median(waits):.0f} % of the time waiting for data'))
    return found


def _notes(material: Material) -> list[Markup]:
    return [note(material.split.note)] if material.split.note else []


def _loss_finding(history: History) -> str:
    first, now = history.training[0]['loss'], np.mean(
        [row['loss'] for row in history.training[-SMOOTHED:]])
    moved = 'fell' if now < first else 'rose'
    return f'The loss {moved} from {first:.3f} to {now:.3f}'


def _error_finding(last: Validation) -> str:
    best = min(last.hold_error, last.mean_error)
    if last.error < best:
        return ('On episodes held out its targets are closer than those of an arm that stays '
                'where it is, and than the mean chunk')
    return ('On episodes held out it does no better than an arm that stays where it is, or than '
            'the mean chunk: it has learnt nothing that carries over yet')


def _loss_plots(history: History) -> list[Markup]:
    steps, losses = _column(history.training, 'step'), _column(history.training, 'loss')
    series = [Series('each point', steps, losses, colour=5, style='points'),
              Series('smoothed', steps, smoothed(losses), colour=0)]
    if history.validation:
        series.append(Series('validation', _column(history.validation, 'step'),
                             _column(history.validation, 'validation_loss'), colour=1))
    drawn = [line_plot(Frame('Loss', 'step', 'loss', **SMALL), series)]
    parts = [name for name in history.training[0] if name.startswith('loss_')]
    if parts:
        drawn.append(line_plot(Frame('Parts of the loss', 'step', 'loss', **SMALL), [
            Series(name.removeprefix('loss_'), steps, smoothed(_column(history.training, name)),
                   colour=index) for index, name in enumerate(parts[:SHOWN_JOINTS])]))
    joints = {name: _column(history.training, name) for name in history.training[0]
              if name.startswith('loss/')}
    hardest = sorted(joints, key=lambda name: -float(np.mean(joints[name][-SMOOTHED:])))
    if joints:
        drawn.append(line_plot(Frame(
            'Loss of the joints that are hardest', 'step', 'loss', **SMALL), [
            Series(name.removeprefix('loss/')[:LONGEST_LABEL], steps, smoothed(joints[name]),
                   colour=index)
            for index, name in enumerate(hardest[:HARDEST])]))
    return drawn


def _error_plots(rows: Sequence[Row], last: Validation, step_s: float) -> list[Markup]:
    steps = _column(rows, 'step')
    names = {'action_error': 'policy', 'hold_error': 'stay', 'mean_chunk_error': 'mean chunk'}
    times = np.arange(last.by_point.shape[1]) * step_s
    return [
        line_plot(Frame('Distance from the demonstrated targets', 'step', 'mean, joint units'), [
            Series(label, steps, _column(rows, name), colour=index,
                   style='line' if len(rows) > 1 else 'points')
            for index, (name, label) in enumerate(names.items())]),
        line_plot(Frame('The same along the chunk, at the end', 'time in the chunk [s]',
                        'mean, joint units'), [
            Series(label, times, errors, colour=index)
            for index, (label, errors) in enumerate(
                zip(names.values(), last.by_point, strict=True))])]


def _example(example: Example, material: Material) -> Markup:
    shape = material.origin.shape
    times = np.arange(shape.horizon) * shape.step_s
    named = zip(shape.joint_names[:SHOWN_JOINTS], shape.dim_kinds, strict=False)
    drawings = [
        line_plot(
            Frame(name, 'time [s]', 'open or closed' if kind is DimKind.BINARY else 'target',
                  width=360, height=200, least_span=0.1),
            [Series('demonstrated', times, example.demonstrated[:, index], colour=0),
             Series('policy', times, example.predicted[:, index], colour=1)])
        for index, (name, kind) in enumerate(named)]
    said = example.instruction
    if len(said) > LONGEST_INSTRUCTION:
        said = f'{said[:LONGEST_INSTRUCTION]} ...'
    words = f'“{said}”' if said else 'no instruction'
    return Markup(paragraph(f'{example.episode}, row {example.row}: {words}') + plots(*drawings))


def _course_plots(rows: Sequence[Row]) -> list[Markup]:
    steps = _column(rows, 'step')
    shown = (('learning_rate', 'Learning rate', 'per step'),
             ('gradient_norm', 'Length of the gradient, before it is cut', 'length'),
             ('samples_per_s', 'Speed', 'windows/s'),
             ('data_wait_share', 'Share of the time waiting for data', 'share'))
    return [line_plot(Frame(title, 'step', unit, height=200),
                      [Series(name, steps, _column(rows, name), colour=index)])
            for index, (name, title, unit) in enumerate(shown)
            if np.isfinite(_column(rows, name)).any()]


def _settings(config: TrainConfig) -> list[tuple[str, str]]:
    found = []
    for key, value in config.to_dict().items():
        inner = value.items() if isinstance(value, dict) else [('', value)]
        found += [(f'{key}.{name}' if name else key, _written(one)) for name, one in inner]
    return found


def _written(value: object) -> str:
    if isinstance(value, tuple | list):
        return ', '.join(map(str, value)) or 'all' if value else '-'
    return f'{value:g}' if isinstance(value, float) else str(value) or '-'


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of each of (N,) values and those around it, fewer at the ends."""
    reach = min(SMOOTHED, max(1, len(values) // 8)) // 2
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    means: NDArray[np.float64] = (total[high] - total[low]) / (high - low)
    return means


def _column(rows: Sequence[Row], name: str) -> NDArray[np.float64]:
    return np.array([row.get(name, np.nan) for row in rows], np.float64)
