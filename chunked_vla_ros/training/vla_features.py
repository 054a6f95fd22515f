"""
What a frozen policy knows at every row, computed once: all that its expert and a critic look at.

Pictures are the dear part of a step; of them a critic over cached features needs none. What is
large lies in a file without a name, mapped into memory. Legend: R rows, T tokens, S numbers of an
observation, N candidates, H points, J joints. Knows no reward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.core.training_windows import episode_of, IntArray
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.training.step_draws import FEATURES, step_generator
from chunked_vla_ros.training.vla import Context, Vla
from chunked_vla_ros.training.vla_observation import (
    critic_observation,
    flow_critic_chunks,
    observation_width,
)

AT_ONCE = 32
# Above this the tokens are kept in half precision and in a file.
LARGEST_IN_MEMORY = 1 << 29

# Told how many rows are done, and of how many.
RowProgress = Callable[[int, int], None]


@dataclass
class Features:
    """
    What a policy knows at R rows; rows that were not asked for are 0.

    :ivar tokens: (R, T, width), float32, or float16 in a file; ``mask`` (R, T) bool.
    :ivar goals: (R, G J) float32.
    :ivar state: (R, J) float32, raw, measured.
    :ivar observation: (R, S) float32, of `critic_observation`.
    """

    tokens: npt.NDArray[Any]
    mask: npt.NDArray[np.bool_]
    goals: npt.NDArray[np.float32]
    state: npt.NDArray[np.float32]
    observation: npt.NDArray[np.float32]

    def context(self, rows: IntArray) -> Context:
        """Return what is known at ``rows`` (B,); of where it is heading only `Context.goals`."""
        return Context(
            torch.from_numpy(np.asarray(self.tokens[rows], np.float32)),
            torch.from_numpy(self.mask[rows]), [], torch.from_numpy(self.goals[rows]))


def make_features(vla: Vla, rows: TrainingRows, tokens: npt.NDArray[np.int64],
                  masks: npt.NDArray[np.int64], wanted: IntArray, scratch: Path,
                  device: torch.device, on_progress: RowProgress) -> Features:
    """
    Return what ``vla``, frozen, knows at the rows ``wanted``, without augmentation.

    :param tokens: (I, L) of each instruction of ``rows``, as ``masks``.
    :param scratch: Folder for the file, if one is needed.
    :raises DatasetError: a frame cannot be read; one line.
    """
    made: Features | None = None
    for begin in range(0, len(wanted), AT_ONCE):
        on_progress(begin, len(wanted))
        here = wanted[begin:begin + AT_ONCE]
        known, observation = _look(vla, rows, tokens, masks, here, device)
        if made is None:
            made = _empty(len(rows.state), known, observation_width(vla), rows.state, scratch)
        made.tokens[here] = known.tokens.cpu().numpy()
        made.mask[here] = known.mask.cpu().numpy()
        made.goals[here] = known.goals.cpu().numpy()
        made.observation[here] = observation.cpu().numpy()
    if made is None:
        raise ValueError('there is no row to look at')
    return made


def candidates_into(found: torch.Tensor, vla: Vla, features: Features, wanted: IntArray,
                    steps: int, seed: int, on_progress: RowProgress,
                    noise_scale: float = 1.0) -> None:
    """
    Put chunks of the frozen ``vla`` at the rows ``wanted`` into ``found``, as a critic sees them.

    :param found: (R, N, h, J), on the network's device.
    :param steps: Of Euler's.
    :param noise_scale: Share of the noise that chunks start from: below 1 they stand for what the
        robot does, not for all that was demonstrated.
    """
    count, points, joints = found.shape[1:]
    for begin in range(0, len(wanted), AT_ONCE):
        on_progress(begin, len(wanted))
        here = wanted[begin:begin + AT_ONCE]
        noise = noise_scale * torch.randn(
            len(here), count, vla.shape.horizon, joints,
            generator=step_generator(seed, begin, FEATURES))
        with torch.no_grad():
            found[torch.from_numpy(here).to(found.device)] = flow_critic_chunks(
                vla, on(features.context(here), found.device),
                torch.from_numpy(features.state[here]).to(found.device),
                noise.to(found.device), steps, points)


def on(known: Context, device: torch.device) -> Context:
    """Return what is known on ``device``."""
    return Context(known.tokens.to(device), known.mask.to(device),
                   [pose.to(device) for pose in known.waypoints], known.goals.to(device))


def _look(vla: Vla, rows: TrainingRows, tokens: npt.NDArray[np.int64],
          masks: npt.NDArray[np.int64], here: IntArray, device: torch.device,
          ) -> tuple[Context, torch.Tensor]:
    episodes = episode_of(here, rows.episode_starts)
    said = rows.instruction_of[episodes]
    state = torch.from_numpy(rows.state[here]).to(device)
    images = [torch.from_numpy(rows.frames.read(here, camera)).to(device)
              for camera in range(len(rows.cameras))]
    with torch.no_grad():
        known = vla.observe(
            images, state, torch.from_numpy(tokens[said]).to(device),
            torch.from_numpy(masks[said]).to(device),
            torch.from_numpy(rows.present[episodes]).to(device))
        return known, critic_observation(known, vla.scale.felt(state))


def _empty(count: int, known: Context, width: int, state: npt.NDArray[np.float32],
           scratch: Path) -> Features:
    shape = (count, *known.tokens.shape[1:])
    tokens: npt.NDArray[Any]
    if 4 * int(np.prod(shape)) <= LARGEST_IN_MEMORY:
        tokens = np.zeros(shape, np.float32)
    else:
        scratch.mkdir(parents=True, exist_ok=True)
        # Gone from the disk as soon as nothing maps it, whatever ends the training.
        with tempfile.TemporaryFile(dir=scratch) as file:
            tokens = np.memmap(file, np.float16, 'w+', shape=shape)
    return Features(
        tokens, np.zeros((count, shape[1]), np.bool_),
        np.zeros((count, known.goals.shape[1]), np.float32), state,
        np.zeros((count, width), np.float32))
