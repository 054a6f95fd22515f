"""
Policies over chunks that a prefix critic improves: a deterministic head and a flow.

Both answer the same two questions at an observation: which chunk they would do, with a gradient
to their weights, and what they say beside what cloning a chunk of the data would have them say.
Knows no critic and no loss. B batch, h points of a chunk, A action width, S features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from chunked_vla_ros.training.q_chunking import integrate
from chunked_vla_ros.training.q_networks import Actor, HIDDEN, Layer, StackedMlp

# Euler steps of a flow that an actor loss goes back through.
FLOW_STEPS = 4


class Cloned(NamedTuple):
    """
    What a policy says, with gradient, and what it would say if it cloned the data.

    :ivar said: (B, h, A).
    :ivar wanted: (B, h, A).
    """

    said: torch.Tensor
    wanted: torch.Tensor


class BoundPolicy(NamedTuple):
    """
    A policy at an observation.

    :ivar act: Noise (B, h, A) to a chunk (B, h, A) in -1..1.
    :ivar clone: That chunk, the data's (B, h, A), noise (B, h, A) and flow time (B,) to `Cloned`.
    """

    act: Actor
    clone: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], Cloned]


class ChunkActor(nn.Module):
    """A multi-layer perceptron from features (B, S) to a chunk (B, h, A), through tanh."""

    def __init__(self, features: int, points: int, width: int, hidden: Sequence[int] = HIDDEN,
                 ) -> None:
        """Make one for features (B, ``features``) and chunks (B, ``points``, ``width``)."""
        super().__init__()
        self._shape = (points, width)
        self.net = StackedMlp(1, features, points * width, hidden, Layer.GELU)

    def forward(self, observation: torch.Tensor) -> torch.Tensor:
        """Return the chunk (B, h, A) at ``observation`` (B, S)."""
        return torch.tanh(self.net(observation)[0].unflatten(-1, self._shape))


class DeterministicPolicy(nn.Module):
    """
    One chunk for each observation, as in TD3; noise is asked for and ignored.

    :ivar head: `ChunkActor`, or any module from an observation to a chunk (B, h, A) in -1..1.
    """

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def given(self, observation: Any) -> BoundPolicy:
        """Return the policy at ``observation``, whatever the head takes."""
        return BoundPolicy(lambda noise: self.head(observation),
                           lambda chunk, actions, noise, time: Cloned(chunk, actions))


class FlowPolicy(nn.Module):
    """
    A flow that turns noise into a chunk in a few Euler steps.

    The actor's gradient goes back through all of these steps. The robot runs the same steps, so
    what the critic judged is what is deployed, and no second network has to be exported. That is
    affordable and stable for a handful of steps, about `FLOW_STEPS`; for the ten of Q-chunking
    distil a one-step actor (`q_chunking`, QC-FQL). The chain is clipped to -1..1 at its end:
    a chunk at the bound has no gradient outwards. Cloning is flow matching and not the distance to
    a sampled chunk, which would draw the two ways round an obstacle to their middle.

    :ivar flow: As `q_networks.FlowField`: ``given(observation)`` is a velocity.
    """

    def __init__(self, flow: nn.Module, steps: int = FLOW_STEPS) -> None:
        """:raises ValueError: ``steps`` is below 1."""
        super().__init__()
        if steps < 1:
            raise ValueError(f'steps is {steps}, expected 1 or more')
        self.flow, self._steps = flow, steps

    def given(self, observation: Any) -> BoundPolicy:
        """Return the policy at ``observation``, whatever the flow takes."""
        velocity = self.flow.given(observation)

        def clone(chunk: torch.Tensor, actions: torch.Tensor, noise: torch.Tensor,
                  time: torch.Tensor) -> Cloned:
            noisy = torch.lerp(noise, actions, time[:, None, None])
            return Cloned(velocity(noisy, time), actions - noise)

        return BoundPolicy(lambda noise: integrate(velocity, noise, self._steps), clone)
