"""
Q-chunking (Li, Zhou and Levine 2025, arXiv 2507.07969) and its relatives, beside the paper.

A critic over whole chunks learns from h-step returns, a flow imitates the data's chunks, and the
policy is either the best of N samples of the flow (QC) or a one-step network that imitates the
flow and climbs the critic (QC-FQL). The losses take callables that are bound to an observation,
so that they know nothing of vectors, images or words; and nothing of the discount, which is in
the batch. Legend: B batch, h points, A action width, K members of the critic, N candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
import copy
from dataclasses import dataclass
import functools
from typing import Any, Protocol

import torch
from torch import nn

from chunked_vla_ros.training.at_once import AT_ONCE, crew_for, in_pieces, learn, steps_of
from chunked_vla_ros.training.chunk_batch import ChunkBatch
from chunked_vla_ros.training.q_chunking_methods import Aggregate, Extraction, Method
from chunked_vla_ros.training.q_networks import (
    Actor,
    ChunkCritic,
    FlowField,
    OneStepActor,
    polyak,
    Values,
    Velocity,
)

Metrics = dict[str, torch.Tensor]
Loss = tuple[torch.Tensor, Metrics]


def flow_loss(velocity: Velocity, actions: torch.Tensor, noise: torch.Tensor, time: torch.Tensor,
              valid: torch.Tensor) -> Loss:
    """
    Return the flow-matching loss of the behaviour policy (section 4, "behavior flow").

    The mean goes over all entries, those that are not valid included (published).

    :param actions: (B, h, A).
    :param noise: (B, h, A), standard normal.
    :param time: (B,) in 0..1.
    :param valid: (B, h) bool.
    """
    noisy = torch.lerp(noise, actions, time[:, None, None])
    error = velocity(noisy, time) - (actions - noise)
    loss = (error.square() * valid[..., None]).mean()
    return loss, {'actor/flow_loss': loss.detach()}


def integrate(velocity: Velocity, noise: torch.Tensor, steps: int) -> torch.Tensor:
    """Return chunks (B, ..., h, A) that the flow makes of ``noise``: Euler steps, then clipped."""
    times = torch.arange(steps, device=noise.device, dtype=noise.dtype) / steps
    chunk = noise
    for time in times.unbind():
        chunk = torch.add(chunk, velocity(chunk, time), alpha=1.0 / steps)
    return chunk.clamp(-1.0, 1.0)


def best_of(chunks: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Return of each state's candidates (B, N, h, A) that of the highest of ``values`` (B, N)."""
    best = values.argmax(dim=1)[:, None, None, None]
    return chunks.gather(1, best.expand(-1, 1, *chunks.shape[2:])).squeeze(1)


def aggregated(values: torch.Tensor, aggregate: Aggregate) -> torch.Tensor:
    """Return what the members together say, (...): ``values`` (K, ...)."""
    return values.mean(dim=0) if aggregate is Aggregate.MEAN else values.amin(dim=0)


def critic_target(returns: torch.Tensor, bootstrap: torch.Tensor, next_values: torch.Tensor,
                  aggregate: Aggregate = Aggregate.MEAN) -> torch.Tensor:
    """
    Return the target (B,) of the h-step backup (eq. 4 and 11).

    :param returns: (B,), discounted rewards of the whole chunk.
    :param bootstrap: (B,), discount to the power of h, or 0 after a termination.
    :param next_values: (K, B) of the target critic at the state after the chunk.
    """
    return torch.addcmul(returns, bootstrap, aggregated(next_values, aggregate))


def critic_loss(values: torch.Tensor, target: torch.Tensor, counted: torch.Tensor) -> Loss:
    """
    Return the mean squared error of ``values`` (K, B) against ``target`` (B,).

    The mean goes over all chunks, those that are not ``counted`` (B,) included (published).
    """
    loss = ((values - target).square() * counted).mean()
    lowest, highest = values.detach().aminmax()
    return loss, {'critic/loss': loss.detach(), 'critic/q_mean': values.detach().mean(),
                  'critic/q_min': lowest, 'critic/q_max': highest}


def distillation_loss(one_step: torch.Tensor, flow_chunk: torch.Tensor, values: Values,
                      alpha: float) -> Loss:
    """
    Return the loss of the one-step policy (eq. 13 and 15): imitate the flow, climb the critic.

    :param one_step: (B, h, A), made by the policy of the noise that ``flow_chunk`` is made of.
    :param flow_chunk: (B, h, A), clipped, without gradient.
    :param values: The critic at the observation, which does not learn from this.
    """
    missed = (one_step - flow_chunk).square().mean()
    value = values(one_step.clamp(-1.0, 1.0)).mean()
    return alpha * missed - value, {
        'actor/distillation_loss': missed.detach(), 'actor/q': value.detach()}


@dataclass(frozen=True)
class Draws:
    """
    Everything random of one update of B chunks.

    :ivar flow_noise: (B, h, A), standard normal.
    :ivar flow_time: (B,) in 0..1.
    :ivar next_noise: (B, N, h, A), or (B, h, A) of a distilled policy, for the next state.
    :ivar actor_noise: (B, h, A), of a distilled policy; ``None`` with best-of-N.
    """

    flow_noise: torch.Tensor
    flow_time: torch.Tensor
    next_noise: torch.Tensor
    actor_noise: torch.Tensor | None

    @staticmethod
    def draw(generator: torch.Generator, method: Method, count: int, width: int) -> Draws:
        """Return draws for ``count`` chunks of actions of ``width``, on the generator's device."""
        shape, on = (count, method.points, width), generator.device
        normal = functools.partial(torch.randn, generator=generator, device=on)
        return Draws(
            flow_noise=normal(shape),
            flow_time=torch.rand(count, generator=generator, device=on),
            next_noise=normal(method.noise_shape(count, width)),
            actor_noise=normal(shape) if method.extraction is Extraction.DISTILLED else None)


def total(parts: Sequence[Loss]) -> Loss:
    """Return the sum of losses, and that sum beside the numbers of all."""
    loss = functools.reduce(torch.add, (part for part, _ in parts))
    metrics = {name: number for _, numbers in parts for name, number in numbers.items()}
    return loss, {'loss': loss.detach(), **metrics}


class QChunking(nn.Module):
    """
    Critic, target critic, behaviour flow and, for the distilled methods, one-step actor.

    The networks may be others than those of `q_networks`: what they are asked for is ``given``,
    and an observation is whatever theirs takes.

    :ivar method: Which of the family it is.
    """

    def __init__(self, method: Method, critic: nn.Module, flow: nn.Module,
                 one_step: nn.Module | None = None) -> None:
        """:raises ValueError: ``one_step`` is there and not wanted, or the other way round."""
        super().__init__()
        if (one_step is not None) != (method.extraction is Extraction.DISTILLED):
            raise ValueError(f'one_step is {type(one_step).__name__} with the policy '
                             f'{method.extraction.value}, expected a network for a distilled '
                             'policy and None for the best of N')
        self.method = method
        self.critic, self.flow, self.one_step = critic, flow, one_step
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)

    def losses(self, batch: ChunkBatch, draws: Draws) -> Loss:
        """Return the loss of all networks together (eq. 20 to 22), and numbers to look at."""
        aims = (self.target, self.imitated)
        parts = self.parts(batch, draws, lambda number: aims[number](batch, draws))
        return total([part() for part in parts])

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def target(self, batch: ChunkBatch, draws: Draws) -> torch.Tensor:
        """Return the critic's target (B,)."""
        next_chunk = self.act(batch.next_observation, draws.next_noise)
        return critic_target(
            batch.returns[:, -1], batch.bootstrap[:, -1],
            self.target_critic.given(batch.next_observation)(next_chunk), self.method.aggregate)

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def imitated(self, batch: ChunkBatch, draws: Draws) -> torch.Tensor:
        """Return the chunks (B, h, A) of the flow that a distilled policy imitates."""
        assert draws.actor_noise is not None
        return integrate(
            self.flow.given(batch.observation), draws.actor_noise, self.method.flow_steps)

    def parts(self, batch: ChunkBatch, draws: Draws,
              aims: Callable[[int], torch.Tensor]) -> list[Callable[[], Loss]]:
        """Return the losses of ``aims`` 0, `target`, and 1, `imitated`; no two of one weight."""
        chunk, noise = batch.actions[:, :self.method.points], draws.actor_noise

        def critic() -> Loss:
            return critic_loss(
                self._values(batch.observation)(chunk), aims(0), batch.counted[:, -1])

        def flow() -> Loss:
            return flow_loss(self.flow.given(batch.observation), chunk, draws.flow_noise,
                             draws.flow_time, batch.valid[:, :self.method.points])

        def actor() -> Loss:
            assert noise is not None
            return distillation_loss(
                self._one_step(batch.observation)(noise), aims(1),
                self._values(batch.observation, learns=False), self.method.alpha)

        return [flow, critic] if noise is None else [flow, actor, critic]

    def steps(self, optimizer: torch.optim.Optimizer) -> list[list[Callable[[], None]]]:
        """Return of each of `parts` the steps of what learns from it, its target's included."""
        nets = ((self.flow, None), (self.one_step, None), (self.critic, self.follow))
        return [steps_of(optimizer, list(net.parameters()), then)
                for net, then in nets if net is not None]

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def act(self, observation: Any, noise: torch.Tensor) -> torch.Tensor:
        """
        Return the policy's chunk (B, h, A).

        Of N candidates that of the highest value by the online critic; its value in a target
        comes from the target critic.

        :param noise: (B, N, h, A), or (B, h, A) of a distilled policy: `Method.noise_shape`.
        """
        if self.method.extraction is Extraction.DISTILLED:
            return self._one_step(observation)(noise).clamp(-1.0, 1.0)
        chunks = integrate(self.flow.given(observation), noise, self.method.flow_steps)
        return best_of(chunks, aggregated(
            self._values(observation)(chunks), self.method.aggregate))

    def follow(self, some: slice = slice(None)) -> None:
        """Move the target critic towards the online one, or ``some`` of its weights."""
        polyak(self.target_critic, self.critic, self.method.target_share, some)

    def _one_step(self, observation: Any) -> Actor:
        assert self.one_step is not None
        return self.one_step.given(observation)  # type: ignore[no-any-return]

    def _values(self, observation: Any, learns: bool = True) -> Values:
        return self.critic.given(observation, learns)  # type: ignore[no-any-return]


class Agent(Protocol):
    """What `update` moves: `QChunking`, or an agent of `rlpd`."""

    def losses(self, batch: ChunkBatch, draws: Any) -> Loss:
        """Return the loss and numbers to look at."""

    def follow(self) -> None:
        """Move the targets."""


def build_q_chunking(method: Method, features: int, width: int) -> QChunking:
    """Return fresh networks for observations (B, ``features``) and actions of ``width``."""
    sizes = (features, method.points, width)
    distilled = method.extraction is Extraction.DISTILLED
    return QChunking(
        method, ChunkCritic(*sizes, method.members, method.hidden),
        FlowField(*sizes, method.hidden),
        OneStepActor(*sizes, method.hidden) if distilled else None)


def make_adam(agent: nn.Module, learning_rate: float) -> torch.optim.Adam:
    """
    Return one optimizer for all networks of ``agent`` (published).

    To be made after ``agent`` is on its device; a GPU may record its step in a graph.
    """
    weights = [one for one in agent.parameters() if one.requires_grad]
    return torch.optim.Adam(
        weights, learning_rate, fused=True, capturable=weights[0].device.type == 'cuda')


def update(agent: Agent, optimizer: torch.optim.Optimizer, batch: ChunkBatch,
           draws: Any) -> Metrics:
    """
    Make one update of ``agent``; the numbers stay on its device, nothing waits for them.

    The targets follow the weights after the step; in the released code, those before it.
    """
    optimizer.zero_grad(set_to_none=True)
    crew = crew_for(batch.observation)
    if crew is None or not isinstance(agent, QChunking):
        loss, metrics = agent.losses(batch, draws)
        loss.backward()
        optimizer.step()
        agent.follow()
        return metrics
    # Best of N, the target is nearly all there is to do; distilled, that is a flow's chunks.
    aims = [in_pieces(agent.target, AT_ONCE if draws.actor_noise is None else 1, batch, draws)]
    if draws.actor_noise is not None:
        aims.append(in_pieces(agent.imitated, AT_ONCE, batch, draws))
    return total(learn(
        crew, aims, functools.partial(agent.parts, batch, draws), agent.steps(optimizer)))[1]
