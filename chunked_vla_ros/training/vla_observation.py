"""
What a critic sees of a policy: one vector for what is known, and chunks in the policy's own scale.

The same functions serve the training of a critic and the choice among chunks in a bundle. Legend:
B batch, N chunks of each, H points of the policy's chunk, h of the critic's, J joints, G goals.
Knows no reward and no critic.
"""

from __future__ import annotations

import torch

from chunked_vla_ros.training.vla import ActionScale, Context, Vla

# In spreads of the demonstrated ones: what is further out a critic has never seen, and would
# answer with anything.
FARTHEST_ACTION = 5.0


def observation_width(vla: Vla) -> int:
    """Return S, how many numbers `critic_observation` has."""
    joints = len(vla.shape.joint_names)
    return vla.config.width + joints * (len(vla.waypoints) + 1)


def critic_observation(known: Context, felt: torch.Tensor) -> torch.Tensor:
    """
    Return the summary, where the motion is heading, and the joints as felt: (B, S).

    :param felt: (B, J), of `ActionScale.felt`.
    """
    return torch.cat([known.tokens[:, 0], known.goals, felt], dim=-1)


def critic_chunk(scale: ActionScale, actions: torch.Tensor, state: torch.Tensor,
                 points: int) -> torch.Tensor:
    """
    Return the first ``points`` of normalised chunks as the robot would do them: (B, h, J).

    :param actions: (B, H, J) normalised, of the network; ``state`` (B, J) raw.
    """
    done = scale.actions(scale.raw(actions, state), state)
    return done[:, :points].clamp(-FARTHEST_ACTION, FARTHEST_ACTION)


def demonstrated_chunk(scale: ActionScale, targets: torch.Tensor,
                       state: torch.Tensor) -> torch.Tensor:
    """Return raw targets (B, h, J) of a demonstration as `critic_chunk` has a policy's."""
    points = targets.shape[1]
    origin = (state * scale.relative)[:, None]
    normal = (targets - origin - scale.action_mean[:points]) / scale.action_std[:points]
    return normal.clamp(-FARTHEST_ACTION, FARTHEST_ACTION)


def flow_critic_chunks(vla: Vla, known: Context, state: torch.Tensor, noise: torch.Tensor,
                       steps: int, points: int) -> torch.Tensor:
    """Return what `Vla.chunks` says as `critic_chunk` has it: (B, N, h, J)."""
    count, chunks = noise.shape[:2]
    actions = vla.chunks(known, state, noise, steps).flatten(0, 1)
    each = state.repeat_interleave(chunks, dim=0)
    return critic_chunk(vla.scale, actions, each, points).unflatten(0, (count, chunks))
