"""
What an open-loop comparison found: errors of policies and baselines, as JSON and as sentences.

Pure; knows no file, no model and no page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import math
from typing import Any

import numpy as np

from chunked_vla_ros.core.open_loop import (
    baselines,
    chunk_errors,
    ChunkErrors,
    compare,
    Comparison,
    grouped,
    joint_scale,
    RecordedWindows,
)
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.types import FloatArray

SCHEMA = 1
SCALED = 'standard deviations of a joint'


@dataclass(frozen=True)
class OpenLoopResults:
    """
    Errors on the same windows, by predictor: the policies first, then the baselines.

    :ivar policies: Which of the predictors are policies.
    :ivar held_out: Ids of the episodes, in the order of `ChunkErrors.by_episode`.
    :ivar units: Unit of each of J joints.
    :ivar step_s: From point to point of a chunk in [s].
    :ivar windows: How many were compared.
    :ivar raw: In the joints' units.
    :ivar scaled: In standard deviations of each joint's training targets: comparable over units.
    :ivar by_unit: Mean error over the joints of one unit, by unit and predictor.
    :ivar comparisons: By policy and baseline, of scaled errors.
    :ivar facts: What else tells the run from another: command, seed, data. JSON values only.
    """

    policies: tuple[str, ...]
    held_out: tuple[str, ...]
    training: tuple[str, ...]
    joint_names: tuple[str, ...]
    units: tuple[str, ...]
    step_s: float
    windows: int
    raw: Mapping[str, ChunkErrors]
    scaled: Mapping[str, ChunkErrors]
    by_unit: Mapping[str, Mapping[str, float]]
    comparisons: Mapping[str, Mapping[str, Comparison]]
    facts: Mapping[str, Any]

    @property
    def baselines(self) -> tuple[str, ...]:
        """Return the predictors that need no model."""
        return tuple(name for name in self.raw if name not in self.policies)

    @property
    def warnings(self) -> list[str]:
        """Return a line for each policy that has learnt from episodes named as held out."""
        return [
            f'{policy} has learnt from {", ".join(names[:5])}{", ..." if len(names) > 5 else ""}, '
            f'{len(names)} of {len(self.held_out)} episodes named as held out: its error there is '
            'none on new ones; --split takes the split.json of its training'
            for policy, names in self.facts.get('learnt_from', {}).items()]

    def verdict(self, policy: str) -> str:
        """Return in one sentence how a policy fares against the baselines."""
        against = self.comparisons[policy]
        beaten = [name for name, one in against.items() if one.ratio < 1.0]
        if not beaten:
            return 'no better than any baseline'
        shares = ', '.join(f'{against[name].ratio:.2f} of {name}' for name in against)
        every = 'below every baseline' if len(beaten) == len(against) else \
            f'not below {", ".join(name for name in against if name not in beaten)}'
        return f'error is {shares}: {every}'

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; what was not measured is ``None``."""
        return {
            'schema': SCHEMA, **self.facts, 'policies': list(self.policies),
            'held_out': list(self.held_out), 'training': list(self.training),
            'windows': self.windows, 'step_s': self.step_s,
            'joints': dict(zip(self.joint_names, self.units, strict=True)),
            'mean_error_by_unit': {unit: dict(means) for unit, means in self.by_unit.items()},
            'scaled_unit': SCALED,
            'predictors': {name: {'raw': _errors_json(self.raw[name]),
                                  'scaled': _errors_json(self.scaled[name])}
                           for name in self.raw},
            'comparisons': {policy: {name: {
                'ratio': one.ratio, 'ratio_by_episode': list(one.by_episode),
                'better_episodes': one.better_episodes, 'better_windows': one.better_windows}
                for name, one in against.items()}
                for policy, against in self.comparisons.items()}}


def open_loop_results(predicted: Mapping[str, FloatArray], recorded: RecordedWindows,
                      training: RecordedWindows, robot: RobotSpec, names: Sequence[Sequence[str]],
                      step_s: float, facts: Mapping[str, Any]) -> OpenLoopResults:
    """
    Compare what policies ``predicted``, (N, H, J) by name, with the baselines.

    :param training: Windows of the other episodes: their mean chunks and spreads.
    :param names: Ids of the held-out episodes, and of the others.
    :raises ShapeError, ValueError: a prediction has another shape or is not finite.
    """
    scale = joint_scale(training)
    simple = baselines(recorded, training)
    everything = {**predicted, **simple}
    raw = {name: chunk_errors(one, recorded) for name, one in everything.items()}
    units = tuple(joint.unit.value for joint in robot.joints)
    columns = {unit: [place for place, one in enumerate(units) if one == unit]
               for unit in dict.fromkeys(units)}
    return OpenLoopResults(
        tuple(predicted), tuple(names[0]), tuple(names[1]), robot.joint_names, units, step_s,
        len(recorded.state), raw,
        {name: chunk_errors(one, recorded, scale) for name, one in everything.items()},
        grouped(raw, columns),
        {policy: {name: compare(chunks, other, recorded, scale) for name, other in simple.items()}
         for policy, chunks in predicted.items()}, dict(facts))


def _errors_json(errors: ChunkErrors) -> dict[str, Any]:
    return {'mean': errors.mean, 'rms': errors.rms, 'by_step': _numbers(errors.by_step),
            'by_joint': _numbers(errors.by_joint), 'by_episode': _numbers(errors.by_episode)}


def _numbers(values: FloatArray) -> list[float | None]:
    return [float(one) if math.isfinite(one) else None for one in np.asarray(values)]
