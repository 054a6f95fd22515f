"""
Checks of what moves: constant and stuck signals, jumps, the robot's limits, action against state.

Works on an episode's measures and on what is usual in its dataset; knows no file.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from chunked_vla_ros.core.action_relation import (
    ActionKind,
    ActionRelation,
    shared_columns,
)
from chunked_vla_ros.core.dataset_findings import Finding, Grade
from chunked_vla_ros.core.dataset_measures import EpisodeMeasures, SignalMeasures
from chunked_vla_ros.core.dataset_norms import DatasetNorms, FEWEST_EPISODES, SignalNorms
from chunked_vla_ros.core.dataset_rules import DatasetRules

# A joint whose range is below this in every episode stands still, whatever its unit.
NOTHING = 1e-6
# Percentiles of fewer rows are the largest value.
FEWEST_FOR_USUAL = 100
# Fewer rows correlate by chance.
FEWEST_TO_RELATE = 50
# Of its range in the dataset: a command that moves so far must show in the measurement.
COMMANDED_SHARE = 0.2
LOOK_AT_TOPIC = 'look at the recording of this stream, delete the episode'
DELETE = 'delete the episode, or cut it there'


def check_motion(found: EpisodeMeasures, norms: DatasetNorms,
                 rules: DatasetRules) -> Iterator[Finding]:
    """Yield what is wrong with state and action of an episode."""
    head = norms.head
    for what, signal, norm, names in (
            ('state', found.state, norms.state, head.state_names),
            ('action', found.action, norms.action, head.action_names)):
        if signal is None or norm is None or found.rows < 2:
            continue
        yield from _constant(what, signal)
        yield from _jumps(what, signal, norm, names, found.rows, norms.readable, rules)
        if what == 'state' or norms.kind is not ActionKind.DELTA:
            yield from _limits(what, signal, names, norms, rules)
    yield from _still_joints(found, norms)
    yield from _stuck(found, norms, rules)
    yield from _relation(found, norms, rules)


def _constant(what: str, signal: SignalMeasures) -> Iterator[Finding]:
    span = float(signal.span.max())
    if span <= NOTHING:
        yield Finding(
            'constant', Grade.BAD, f'the {what} never changes', span, NOTHING, '',
            'check the topic that it was recorded from, record the episode again')


def _still_joints(found: EpisodeMeasures, norms: DatasetNorms) -> Iterator[Finding]:
    """
    Yield joints whose measurement stands still although it should not.

    A joint that is not used, or a gripper that stays open, does so by right: the command tells.
    In a few rows a command may come too late to show.
    """
    if found.state is None or found.state.span.max() <= NOTHING or found.rows < FEWEST_TO_RELATE:
        return
    still = found.state.span <= NOTHING
    asked = np.zeros(len(still), np.bool_)
    if found.action is not None and norms.action is not None:
        for state, action in shared_columns(norms.head.state_names, norms.head.action_names):
            way = norms.action.span[action]
            asked[state] = found.action.span[action] > max(COMMANDED_SHARE * way, NOTHING)
    for column in np.flatnonzero(still & asked):
        yield Finding(
            'constant_joint', Grade.SUSPECT,
            f'{norms.head.state_names[column]} never changes although its command does',
            float(found.state.span[column]), NOTHING, '', LOOK_AT_TOPIC)


def _jumps(what: str, signal: SignalMeasures, norm: SignalNorms, names: tuple[str, ...],
           rows: int, episodes: int, rules: DatasetRules) -> Iterator[Finding]:
    usual = np.full(len(signal.step), np.inf)
    if rows >= FEWEST_FOR_USUAL:
        usual = np.where(signal.usual_step > 0.0, rules.jump_steps * signal.usual_step, np.inf)
    if episodes >= FEWEST_EPISODES:
        typical = np.where(norm.typical_step > 0.0, rules.jump_typical * norm.typical_step,
                           np.inf)
        usual = np.minimum(usual, typical)
    large = (signal.step > usual) & (signal.step > rules.jump_share * norm.span)
    for column in np.flatnonzero(large & ~signal.two_valued):
        yield Finding(
            'jump', Grade.SUSPECT,
            f'{names[column]} of the {what} jumps by {signal.step[column]:.3g} before row '
            f'{signal.step_row[column]}', float(signal.step[column]), float(usual[column]), '',
            DELETE)


def _limits(what: str, signal: SignalMeasures, names: tuple[str, ...], norms: DatasetNorms,
            rules: DatasetRules) -> Iterator[Finding]:
    for column, name in enumerate(names):
        limit = norms.limits.get(name)
        if limit is None:
            continue
        beyond = max(limit.lower - signal.low[column], signal.high[column] - limit.upper)
        margin = rules.limit_margin * (limit.upper - limit.lower)
        if beyond > margin:
            yield Finding(
                'limit_position', Grade.SUSPECT,
                f'{name} of the {what} is {beyond:.3g} {limit.unit} outside its limits',
                float(beyond), margin, limit.unit,
                'check unit and order of the joints, and the contract')
        allowed = rules.limit_speed * limit.velocity
        speed = float(signal.speed[column])
        # A command may be a step: the controller makes a motion of it.
        if norms.head.timed and what == 'state' and speed > allowed:
            yield Finding(
                'limit_speed', Grade.BAD if speed > 2.0 * allowed else Grade.SUSPECT,
                f'{name} of the {what} moves at {speed:.3g} {limit.unit}/s at row '
                f'{signal.speed_row[column]}, the robot can do {limit.velocity:.3g}', speed,
                allowed, f'{limit.unit}/s', DELETE)


def _stuck(found: EpisodeMeasures, norms: DatasetNorms, rules: DatasetRules) -> Iterator[Finding]:
    stuck = found.stuck
    if norms.head.timed and stuck is not None and stuck.duration_s > rules.stuck_s \
            and found.state is not None and found.state.span.max() > NOTHING:
        yield Finding(
            'stuck', Grade.SUSPECT,
            f'the state is the same for {stuck.duration_s:.2f} s from row {stuck.first} on while '
            'the action moves', stuck.duration_s, rules.stuck_s, 's', LOOK_AT_TOPIC)


def _relation(found: EpisodeMeasures, norms: DatasetNorms,
              rules: DatasetRules) -> Iterator[Finding]:
    relation = found.relation
    if relation is None or found.rows < FEWEST_TO_RELATE:
        return
    best = max(relation.absolute, relation.delta)
    if best < rules.related:
        yield Finding(
            'action_unrelated', Grade.SUSPECT,
            'the action has nothing to do with the state', best, rules.related, '',
            'check that both are of the same joints in the same order, and their stamps')
    elif norms.kind is not relation.kind and norms.kind is not ActionKind.UNKNOWN \
            and abs(relation.absolute - relation.delta) > 0.2:
        yield Finding(
            'action_kind', Grade.SUSPECT,
            f'the action looks {relation.kind.value}, that of the dataset {norms.kind.value}',
            relation.absolute - relation.delta, 0.0, '', 'keep them in two datasets')
    if relation.kind is ActionKind.ABSOLUTE and relation.absolute > 0.8:
        yield from _scale_and_lag(relation, found)


def _scale_and_lag(relation: ActionRelation, found: EpisodeMeasures) -> Iterator[Finding]:
    if not 0.5 <= relation.scale <= 2.0:
        yield Finding(
            'action_scale', Grade.SUSPECT,
            f'the state moves {relation.scale:.3g} times as far as the action',
            relation.scale, 2.0, '', 'give both in one unit')
    if relation.lag_s < -2.0 * found.times.period_s:
        yield Finding(
            'action_late', Grade.SUSPECT,
            f'the action comes {-relation.lag_s:.2f} s after the state that it asks for',
            -relation.lag_s, 2.0 * found.times.period_s, 's',
            "check the action's stamps and the time base of its stream")
    if relation.copied:
        yield Finding(
            'action_copied', Grade.SUSPECT, 'the action is the state of the same row', 1.0, 0.0,
            '', 'record commands, or convert with the next state as action')
