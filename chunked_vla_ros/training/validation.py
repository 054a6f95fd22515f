"""
How well a policy does on episodes that it has not learnt from, always by the same draws.

The loss says whether it still learns; the error of sampled chunks says how far its targets are
from the demonstrated ones, beside two answers that need no learning. Knows no training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
import torch

from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.core.training_windows import episode_of, IntArray, Windows
from chunked_vla_ros.core.types import DimKind, FloatArray
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.training.batches import Batch, WindowLoader
from chunked_vla_ros.training.chunk_policies import draws_of_head
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.flow_matching import FlowDraws
from chunked_vla_ros.training.imitation_config import ImitationConfig
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.step_draws import step_generator, VALIDATION
from chunked_vla_ros.training.vla import Vla

AnyFloats = NDArray[np.floating[Any]]

# Windows looked at, spread evenly over the episodes.
FOR_THE_LOSS, FOR_THE_ERROR, SHOWN = 256, 64, 4
LARGEST_BATCH = 64


@dataclass(frozen=True)
class Example:
    """
    A chunk as demonstrated and as the policy would have it.

    :ivar demonstrated: (H, J) in the joints' units, NaN past the end of the episode.
    :ivar predicted: (H, J).
    """

    episode: str
    row: int
    instruction: str
    demonstrated: FloatArray
    predicted: FloatArray


@dataclass(frozen=True)
class Validation:
    """
    What was found.

    :ivar loss: Of flow matching, as in training.
    :ivar error: Mean distance of targets from the demonstrated ones, joints that may be blended,
        in their units.
    :ivar hold_error: The same of an arm that stays where it is.
    :ivar mean_error: The same of the mean chunk of the training data.
    :ivar by_point: The three errors at each point of the chunk: (3, H), NaN where no episode is
        that long.
    """

    windows: int
    loss: float
    error: float
    hold_error: float
    mean_error: float
    by_point: FloatArray
    examples: tuple[Example, ...]

    def numbers(self) -> dict[str, float]:
        """Return the numbers by name."""
        return {'validation_loss': self.loss, 'action_error': self.error,
                'hold_error': self.hold_error, 'mean_chunk_error': self.mean_error}


class Validator:
    """Looks at a policy with the windows of some episodes; there must be one."""

    def __init__(self, material: Material, windows: Windows, device: torch.device) -> None:
        self._origin, self._rows = material.origin, material.rows
        self._windows, self._device = windows, device
        self._loader = WindowLoader(
            material.rows, windows, material.tokens, material.masks, material.headings,
            workers=0)

    def look(self, vla: Vla) -> Validation:
        """Return what ``vla``, which is on the device, makes of the windows."""
        training = vla.training
        vla.eval()
        with torch.inference_mode():
            loss = self._loss(vla)
            error = self._errors(vla)
        vla.train(training)
        return replace(error, loss=loss)

    def _loss(self, vla: Vla) -> float:
        config, chosen = self._origin.config, self._spread(FOR_THE_LOSS)
        generator = step_generator(config.seed, 0, VALIDATION)
        total = count = 0.0
        for which in self._batches(chosen, config):
            draws = draws_of_head(FlowDraws.draw(
                generator, len(which), self._origin.shape,
                ImitationConfig(flow_draws=config.imitation.flow_draws)), config.rl.head)
            batch = self._loader.batch(which)
            loss, _ = vla(batch.to(self._device), draws.to(self._device))
            counted = int(batch.valid.sum())
            total, count = total + float(loss) * counted, count + counted
        return total / count

    def _errors(self, vla: Vla) -> Validation:
        config, chosen = self._origin.config, self._spread(FOR_THE_ERROR)
        generator = step_generator(config.seed, 1, VALIDATION)
        predicted, demonstrated, valid, state = [], [], [], []
        for which in self._batches(chosen, config):
            batch = self._loader.batch(which)
            noise = torch.randn(batch.actions.shape, generator=generator)
            predicted.append(_sample(vla, batch.to(self._device), noise.to(self._device)))
            demonstrated.append(batch.actions.numpy())
            valid.append(batch.valid.numpy())
            state.append(batch.state.numpy())
        targets, found, inside = map(np.concatenate, (demonstrated, predicted, valid))
        start = np.concatenate(state)
        mean = mean_chunk(self._origin.normalisation, start)
        hold = np.broadcast_to(start[:, None], targets.shape)
        blended = np.array([kind is not DimKind.BINARY for kind in self._origin.shape.dim_kinds])
        if not blended.any():
            blended[:] = True
        away = [np.abs(one - targets)[..., blended].mean(axis=-1) for one in (found, hold, mean)]
        there = inside.sum(axis=0)
        by_point = np.where(there, [(one * inside).sum(axis=0) for one in away],
                            np.nan) / np.maximum(there, 1)
        error, hold_error, mean_error = (float(one[inside].mean()) for one in away)
        return Validation(len(chosen), float('nan'), error, hold_error, mean_error, by_point,
                          self._examples(chosen, targets, found, inside))

    def _examples(self, chosen: np.ndarray, targets: np.ndarray, found: NDArray[np.int64],
                  inside: NDArray[np.bool_]) -> tuple[Example, ...]:
        rows: TrainingRows = self._rows
        examples = []
        for place in np.unique(np.linspace(0, len(chosen) - 1, SHOWN + 2).round().astype(int)):
            row = int(self._windows.rows[chosen[place]])
            episode = int(episode_of([row], rows.episode_starts)[0])
            examples.append(Example(
                rows.episode_ids[episode], row - int(rows.episode_starts[episode]),
                rows.instructions[rows.instruction_of[episode]],
                np.where(inside[place][:, None], targets[place], np.nan).astype(np.float64),
                found[place].astype(np.float64)))
        # The first and the last window are of the beginning and the end: little moves there.
        return tuple(examples[1:-1] if len(examples) > SHOWN else examples)

    def _spread(self, most: int) -> IntArray:
        count = len(self._windows)
        return np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(np.int64))

    @staticmethod
    def _batches(chosen: IntArray, config: TrainConfig) -> list[IntArray]:
        size = min(config.batch_size, LARGEST_BATCH)
        return [chosen[first:first + size] for first in range(0, len(chosen), size)]


def mean_chunk(normalisation: Normalisation, state: AnyFloats) -> FloatArray:
    """Return the mean chunk of the training data (B, H, J) where it begins at ``state`` (B, J)."""
    origin = np.where(normalisation.relative, state, 0.0)
    chunk: FloatArray = normalisation.action_mean + origin[:, None]
    return chunk


def _sample(vla: Vla, batch: Batch, noise: torch.Tensor) -> AnyFloats:
    sampled = vla.sample(
        list(batch.images.values()), batch.state, batch.tokens, batch.tokens_mask, noise,
        present=batch.present)
    return np.asarray(sampled.float().cpu().numpy())
