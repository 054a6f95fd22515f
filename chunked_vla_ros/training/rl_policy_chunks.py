"""
The chunks that stand for a policy in the targets of its critic: drawn first, and anew as it moves.

The imitation policy's, which are drawn once; or those of the policy that learns, as it acts when
nothing is committed. Knows no critic and no loss.
"""

from __future__ import annotations

from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.rl_config import CACHED, CLIMBING, CO_RFT, STOPPED
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.rl_image_batches import LiveFeatures
from chunked_vla_ros.training.standing import Standing, Tell
from chunked_vla_ros.training.vla import Vla


class PolicyChunks:
    """Keeps the candidates of a `Ground` those of the policy that they are to stand for."""

    def __init__(self, material: Material, ground: Ground, tell: Tell) -> None:
        self._material, self._ground, self._tell = material, ground, tell
        self._config, self._there = material.origin.config, False

    def draw_first(self) -> None:
        """Draw them at all rows, unless they are there."""
        if self._there:
            return
        if self._config.method == CO_RFT:
            # Of the policy as it acts, from the first step of its critic on.
            self._tell(Standing(
                0, self._config.steps, message='drawing chunks of the policy at the rows'))
            self._ground.redraw(self._ground.frozen, 0, self._ground.features)
        else:
            self._ground.make_candidates()
        self._there = True

    def draw_anew(self, vla: Vla, step: int) -> None:
        """Put those of ``vla``, the policy that learns, in their place where it is time."""
        config = self._config
        moved = step - config.critic_steps
        if (config.method not in CLIMBING or moved <= 0
                or moved % config.rl.redraw_every):
            return
        features = self._ground.features
        if config.rl.features != CACHED:
            # Every weight has moved: what it knows at the rows is seen in the pictures alone.
            features = LiveFeatures.of(vla, self._material, features)
        self._ground.redraw(vla, step, features)
        if config.rl.features == STOPPED:
            self._ground.observe(features.observation)

    def were_read(self) -> None:
        """Leave them as they are if they were read from a checkpoint, with the critic."""
        self._there = self._config.method in CLIMBING
