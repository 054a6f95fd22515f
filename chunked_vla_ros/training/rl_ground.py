"""
What all of a training by offline RL stands on: features and candidates of the frozen policy.

Computed once and the same at every start, so that nothing of it is kept in a checkpoint. Legend:
R rows, S numbers of an observation, N candidates, h points, J joints. Knows no critic.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from chunked_vla_ros.training.candidate_cache import CandidateCache
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.standing import Standing, Tell
from chunked_vla_ros.training.vla import Vla
from chunked_vla_ros.training.vla_features import candidates_into, Features, make_features
from chunked_vla_ros.training.vla_observation import observation_width


class Ground:
    """
    What is looked up.

    :ivar features: Of all rows that a value may be asked for.
    :ivar observations: (R, S) on the device, what a critic sees.
    :ivar cache: Candidates (R, N, h, J) on the device, 0 until `make_candidates`.
    :ivar kind: Which values there can be.
    :ivar width: S.
    """

    def __init__(self, material: Material, device: torch.device, tell: Tell,
                 scratch: Path) -> None:
        assert material.rl is not None
        self._material, self._rl, self.device, self._tell = material, material.rl, device, tell
        config = material.origin.config
        self.frozen = material.rl.start.policy.vla.to(device)
        self.features = make_features(
            self.frozen, material.rows, material.tokens, material.masks, material.rl.rows,
            scratch, device, self._telling('looking at the rows'))
        self.width = observation_width(self.frozen)
        self.observations = torch.tensor(self.features.observation, device=device)
        joints = len(material.origin.shape.joint_names)
        self.cache = CandidateCache(torch.zeros(
            len(material.rows.state), config.rl.candidates, config.critic_horizon, joints,
            device=device))
        # A probability, wherever it can be one: nothing then leaves 0..1.
        self.kind = ValueKind.UNIT if self._rl.chunks.paid_once else ValueKind.FREE

    @property
    def joints(self) -> int:
        """Return J."""
        return int(self.cache.chunks.shape[-1])

    def make_candidates(self) -> None:
        """Draw the frozen policy's chunks at all rows."""
        config = self._material.origin.config
        candidates_into(
            self.cache.chunks, self.frozen, self.features, self._rl.rows,
            config.rl.candidate_steps, config.seed, self._telling('drawing chunks at the rows'))

    def redraw(self, vla: Vla, step: int, features: Features) -> None:
        """
        Put the chunks of ``vla`` as it is before ``step`` in place of the candidates.

        :param features: What ``vla`` knows at the rows.
        """
        config = self._material.origin.config
        candidates_into(
            self.cache.chunks, vla, features, self._rl.rows, config.policy.flow_steps,
            config.seed + step, lambda done, total: None, config.policy.noise_scale)

    def observe(self, observation: npt.NDArray[np.float32]) -> None:
        """Show critics ``observation`` (R, S) from now on."""
        self.observations.copy_(torch.from_numpy(observation))

    def _telling(self, what: str) -> Telling:
        return Telling(self._tell, self._material.origin.config.steps, what)


class Telling:
    """Tells how many rows are done, now and then."""

    def __init__(self, tell: Tell, steps: int, what: str) -> None:
        self._tell, self._steps, self._what = tell, steps, what

    def __call__(self, done: int, total: int) -> None:
        """Tell that ``done`` of ``total`` rows are done."""
        self._tell(Standing(0, self._steps, message=f'{self._what}, {done} of {total}'))
