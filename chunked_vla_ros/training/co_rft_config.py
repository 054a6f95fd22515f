"""
The numbers and the chance of CO-RFT's second stage: what `co_rft` is told and what it draws.

Knows no network. B batch, h points of a chunk, A action width, P prefixes that are learned from:
h, or 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.q_chunking_methods import Aggregate


@dataclass(frozen=True)
class CoRftConfig:
    """
    Numbers of stage 2; the paper gives none of them.

    :ivar kind: UNIT for a reward of 1 at success and 0 before it, FREE for any other.
    :ivar literal_targets: Every prefix has the target of the whole chunk (eq. 6 as written).
    :ivar one_prefix: Learn from one prefix of each chunk, drawn evenly: eq. 6 in expectation, for
        one look at the next state in place of h.
    :ivar aggregate: What the twin critics say together in a target.
    :ivar conservatism: Weight of Cal-QL's term, alpha of eq. 8.
    :ivar bc_weight: Weight of cloning; with scaled values 1 / bc_weight is lambda of TD3+BC.
    :ivar scale_values: Divide the actor's values by their mean size, so that ``bc_weight`` means
        the same whatever the rewards.
    :ivar actor_delay: Updates of the critic for one of the policy.
    :ivar smoothing: Deviation of the noise on a target's actions, which lie in -1..1.
    :ivar smoothing_limit: What that noise is cut to.
    :ivar target_share: How far the targets follow in one update.
    :ivar stop_features: The critic learns on features, and not the encoder that made them.
    :raises ValueError: A number that nothing can be done with.
    """

    kind: ValueKind = ValueKind.FREE
    literal_targets: bool = False
    one_prefix: bool = False
    aggregate: Aggregate = Aggregate.MIN
    conservatism: float = 0.1
    bc_weight: float = 5.0
    scale_values: bool = True
    actor_delay: int = 2
    smoothing: float = 0.1
    smoothing_limit: float = 0.25
    target_share: float = 0.005
    stop_features: bool = True

    def __post_init__(self) -> None:
        for name in ('conservatism', 'bc_weight', 'smoothing', 'smoothing_limit'):
            if not getattr(self, name) >= 0.0:
                raise ValueError(f'{name} is {getattr(self, name):g}, expected 0 or more')
        if self.actor_delay < 1:
            raise ValueError(f'actor_delay is {self.actor_delay}, expected 1 or more')
        if not 0.0 < self.target_share <= 1.0:
            raise ValueError(
                f'target_share is {self.target_share:g}, expected more than 0 and at most 1')


@dataclass(frozen=True)
class CoRftDraws:
    """
    Everything random of one update of B chunks, and whether the policy's turn has come.

    :ivar noise: (B, h, A), standard normal, of the policy's chunk.
    :ivar clone_noise: (B, h, A), standard normal, of a flow's cloning.
    :ivar clone_time: (B,) in 0..1.
    :ivar tail: (B, h, A), uniform in -1..1, of what a critic sees after the end of an episode.
    :ivar next_noise: (B, P, h, A), standard normal, of the policy's chunks in the targets.
    :ivar smoothing: (B, P, h, A), standard normal.
    :ivar prefix: (B,) int64, the prefix to learn from; ``None``: all.
    :ivar with_actor: Whether the policy learns too.
    """

    noise: torch.Tensor
    clone_noise: torch.Tensor
    clone_time: torch.Tensor
    tail: torch.Tensor
    next_noise: torch.Tensor
    smoothing: torch.Tensor
    prefix: torch.Tensor | None
    with_actor: bool

    @staticmethod
    def draw(generator: torch.Generator, config: CoRftConfig, shape: tuple[int, int, int],
             updates: int) -> CoRftDraws:
        """
        Return draws for ``shape`` = (B, h, A), on the generator's device.

        :param updates: Made so far: every ``actor_delay``-th moves the policy.
        """
        count, points, width = shape
        looks = 1 if config.one_prefix or config.literal_targets else points
        more = {'generator': generator, 'device': generator.device}
        ahead = (count, looks, points, width)
        return CoRftDraws(
            noise=torch.randn(shape, **more), clone_noise=torch.randn(shape, **more),
            clone_time=torch.rand(count, **more), tail=2.0 * torch.rand(shape, **more) - 1.0,
            next_noise=torch.randn(ahead, **more), smoothing=torch.randn(ahead, **more),
            prefix=torch.randint(points, (count,), **more) if config.one_prefix else None,
            with_actor=(updates + 1) % config.actor_delay == 0)
