"""
The networks of Q-chunking and its relatives on vectors: critics, behaviour flow and actors.

Multi-layer perceptrons, several of them evaluated at once where a critic has members. What is
computed from the observation alone is computed once and shared by all chunks and flow steps that
are tried on it: `given` returns a network bound to an observation. Knows no loss and no data.

Legend: B batch, h points of a chunk, A action width, S observation features, K members of an
ensemble, H features of a layer, ``...`` either nothing or N candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
import math

import torch
from torch import nn

from chunked_vla_ros.training.packed_mlp import is_by_member, MemberMlp, MemberWeights
from chunked_vla_ros.training.tanh_gelu import tanh_gelu

# Four layers of 512 (Q-chunking, table 3).
HIDDEN = (512, 512, 512, 512)
# Flax's, which the published networks leave as it is.
NORM_EPSILON = 1e-6
# The bounds of a Gaussian actor's log standard deviation (published).
LOG_STD_RANGE = (-20.0, 2.0)

# (B, ..., h, A) and the flow's time () or (B, ...) to the velocity (B, ..., h, A).
Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
# (B, ..., h, A) to a chunk of that shape.
Actor = Callable[[torch.Tensor], torch.Tensor]
# (B, ..., h, A) to values (K, B, ...).
Values = Callable[[torch.Tensor], torch.Tensor]


class Layer(Enum):
    """What follows each linear layer but the last."""

    GELU = 'gelu'
    GELU_NORM = 'gelu, then layer norm'
    RELU = 'relu'
    NORM_RELU = 'layer norm, then relu'

    @property
    def has_norm(self) -> bool:
        """Return whether there is a layer norm."""
        return self in (Layer.GELU_NORM, Layer.NORM_RELU)


class StackedMlp(nn.Module):
    """
    Multi-layer perceptrons of K members, all at once.

    The input may come in parts, one after another, so that the first layer's share of one that
    many rows share is computed once: `given`.

    :ivar members: K.
    """

    def __init__(self, members: int, inputs: int | Sequence[int], outputs: int,
                 hidden: Sequence[int] = HIDDEN, layer: Layer = Layer.GELU) -> None:
        """
        Make one with fresh weights: Xavier uniform, zero bias (published).

        :param inputs: Features of the input, or of each part of it.
        :param outputs: Features of the answer.
        :param hidden: Features after each layer but the last.
        """
        super().__init__()
        self._parts = [inputs] if isinstance(inputs, int) else list(inputs)
        self.members, self._layer = members, layer
        widths = [sum(self._parts), *hidden, outputs]
        self.weights = nn.ParameterList(
            _xavier(members, before, after)
            for before, after in zip(widths[:-1], widths[1:], strict=True))
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(members, 1, width)) for width in widths[1:])
        normed = hidden if layer.has_norm else ()
        self.scales = nn.ParameterList(
            nn.Parameter(torch.ones(members, 1, width)) for width in normed)
        self.shifts = nn.ParameterList(
            nn.Parameter(torch.zeros(members, 1, width)) for width in normed)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return (K, B, outputs) of ``x`` (B, inputs), or of each member's own (K, B, inputs)."""
        return self.rest(torch.baddbmm(
            self.biases[0], x.expand(self.members, *x.shape[-2:]), self.weights[0]))

    def given(self, x: torch.Tensor, learns: bool = True,
              ) -> Callable[..., torch.Tensor]:
        """
        Return the network at the first part ``x`` (B, part) of its input.

        To be used until the weights change, and no longer.

        :param learns: False: gradients pass through to the other parts, none reaches the weights.
        """
        if self._layer in (Layer.GELU, Layer.GELU_NORM) and is_by_member(x):
            members = [MemberMlp(weights, x) for weights in self._by_member(learns)]
            return lambda *rest: torch.stack([member(*rest) for member in members])
        return GivenMlp(self, x, learns)

    def first(self, learns: bool = True) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return the first layer's bias (K, 1, H), and its weights of each part (K, part, H)."""
        return _held(self.biases[0], learns), _held(
            self.weights[0], learns).split(self._parts, dim=1)

    def rest(self, x: torch.Tensor, learns: bool = True) -> torch.Tensor:
        """Return the answer (K, rows, outputs) to the first layer's ``x`` (K, rows, H)."""
        for index in range(1, len(self.weights)):
            x = torch.baddbmm(
                _held(self.biases[index], learns), self._between(x, index - 1, learns),
                _held(self.weights[index], learns))
        return x

    def _by_member(self, learns: bool) -> list[MemberWeights]:
        parts = [_each(part) for part in self.first(learns)[1]]
        weights = [_each(_held(one, learns)) for one in self.weights[1:]]
        biases, scales, shifts = (
            [_each(_held(one, learns).squeeze(1)) for one in several]
            for several in (self.biases, self.scales, self.shifts))
        return [MemberWeights(
            [one[member] for one in parts], [one[member] for one in weights],
            [one[member] for one in biases],
            [(scale[member], shift[member]) for scale, shift in zip(scales, shifts, strict=True)],
            NORM_EPSILON) for member in range(self.members)]

    def _between(self, x: torch.Tensor, index: int, learns: bool) -> torch.Tensor:
        """Return ``x`` after what follows the linear layer number ``index``."""
        if self._layer is Layer.RELU:
            return nn.functional.relu(x)
        if self._layer is Layer.NORM_RELU:
            return nn.functional.relu(self._normed(x, index, learns))
        x = tanh_gelu(x)
        return self._normed(x, index, learns) if self._layer is Layer.GELU_NORM else x

    def _normed(self, x: torch.Tensor, index: int, learns: bool) -> torch.Tensor:
        flat = nn.functional.layer_norm(x, x.shape[-1:], eps=NORM_EPSILON)
        return torch.addcmul(_held(self.shifts[index], learns), flat,
                             _held(self.scales[index], learns))


class GivenMlp:
    """A `StackedMlp` at the first part of its input, all members in one operation."""

    def __init__(self, net: StackedMlp, x: torch.Tensor, learns: bool) -> None:
        self._net, self._learns = net, learns
        bias, (seeing, self._weight, *self._further) = net.first(learns)
        self._seen = torch.baddbmm(bias, x.expand(net.members, *x.shape), seeing)

    def __call__(self, x: torch.Tensor, time: torch.Tensor | None = None) -> torch.Tensor:
        """
        Return the answer (K, B, ..., outputs).

        :param x: (B, part), or (B, N, part) of N candidates each.
        :param time: A third part of one feature, () or (B,).
        """
        seen = self._seen
        if time is not None:
            seen = seen + time.reshape(-1, 1) * self._further[0]
        answer = self._net.rest(self._first(seen, x), self._learns)
        return answer.unflatten(1, x.shape[:-1])

    def _first(self, seen: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Return the first layer's answer (K, rows, H)."""
        if x.dim() == 2:
            return torch.baddbmm(seen, x.expand(self._net.members, *x.shape), self._weight)
        rows = x.flatten(0, 1)
        added = torch.bmm(rows.expand(self._net.members, *rows.shape), self._weight)
        return added.unflatten(1, x.shape[:2]).add_(seen.unsqueeze(2)).flatten(1, 2)


class ChunkCritic(nn.Module):
    """Q(s, chunk) of K members, gelu and layer norm between the layers (published)."""

    def __init__(self, features: int, points: int, width: int, members: int = 2,
                 hidden: Sequence[int] = HIDDEN, layer: Layer = Layer.GELU_NORM) -> None:
        """Make one for observations (B, ``features``) and chunks (B, ``points``, ``width``)."""
        super().__init__()
        self.net = StackedMlp(members, (features, points * width), 1, hidden, layer)

    def forward(self, observation: torch.Tensor, chunk: torch.Tensor) -> torch.Tensor:
        """Return values (K, B) of ``chunk`` (B, h, A) at ``observation`` (B, S)."""
        return self.given(observation)(chunk)

    def given(self, observation: torch.Tensor, learns: bool = True) -> Values:
        """
        Return the critic at ``observation`` (B, S): chunks (B, ..., h, A) to values (K, B, ...).

        :param learns: False: gradients reach the chunk and not the critic.
        """
        given = self.net.given(observation, learns)

        def values(chunk: torch.Tensor) -> torch.Tensor:
            return given(chunk.flatten(-2)).squeeze(-1)

        return values


class FlowField(nn.Module):
    """The behaviour flow's velocity f(s, noisy chunk, time), without layer norm (published)."""

    def __init__(self, features: int, points: int, width: int,
                 hidden: Sequence[int] = HIDDEN) -> None:
        """Make one for observations (B, ``features``) and chunks (B, ``points``, ``width``)."""
        super().__init__()
        self.net = StackedMlp(1, (features, points * width, 1), points * width, hidden)

    def forward(self, observation: torch.Tensor, noisy: torch.Tensor, time: torch.Tensor,
                ) -> torch.Tensor:
        """Return the velocity (B, h, A) at ``observation`` (B, S), ``noisy`` and ``time`` (B,)."""
        return self.given(observation)(noisy, time)

    def given(self, observation: torch.Tensor) -> Velocity:
        """Return the flow at ``observation`` (B, S)."""
        given = self.net.given(observation)

        def velocity(noisy: torch.Tensor, time: torch.Tensor) -> torch.Tensor:
            return given(noisy.flatten(-2), time).view_as(noisy)

        return velocity


class OneStepActor(nn.Module):
    """The distilled policy mu(s, noise): what the flow makes of the noise, in one step."""

    def __init__(self, features: int, points: int, width: int,
                 hidden: Sequence[int] = HIDDEN) -> None:
        """Make one for observations (B, ``features``) and chunks (B, ``points``, ``width``)."""
        super().__init__()
        self.net = StackedMlp(1, (features, points * width), points * width, hidden)

    def forward(self, observation: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        """Return a chunk (B, h, A) made at ``observation`` (B, S) of ``noise`` (B, h, A)."""
        return self.given(observation)(noise)

    def given(self, observation: torch.Tensor) -> Actor:
        """Return the actor at ``observation`` (B, S)."""
        given = self.net.given(observation)

        def actor(noise: torch.Tensor) -> torch.Tensor:
            return given(noise.flatten(-2)).view_as(noise)

        return actor


class GaussianActor(nn.Module):
    """A Gaussian over chunks whose mean and spread depend on the state, before tanh (RLPD)."""

    def __init__(self, features: int, points: int, width: int,
                 hidden: Sequence[int] = HIDDEN) -> None:
        """Make one for observations (B, ``features``) and chunks (B, ``points``, ``width``)."""
        super().__init__()
        self._shape = (points, width)
        self.net = StackedMlp(1, features, 2 * points * width, hidden, Layer.RELU)
        # Mean and spread are two published layers side by side, each with its own fan-out.
        with torch.no_grad():
            for half in self.net.weights[-1].chunk(2, dim=-1):
                half.copy_(_xavier(1, *half.shape[1:]))

    def forward(self, observation: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log standard deviation (B, h, A) at ``observation`` (B, S)."""
        mean, log_std = self.net(observation)[0].chunk(2, dim=-1)
        return (mean.unflatten(-1, self._shape),
                log_std.clamp(*LOG_STD_RANGE).unflatten(-1, self._shape))


def polyak(target: nn.Module, online: nn.Module, share: float, some: slice = slice(None)) -> None:
    """Move ``target``'s weights, or ``some`` of them, ``share`` of the way to ``online``'s."""
    with torch.no_grad():
        torch._foreach_lerp_(
            list(target.parameters())[some], list(online.parameters())[some], share)


def _held(weight: torch.Tensor, learns: bool) -> torch.Tensor:
    return weight if learns else weight.detach()


def _each(weight: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return each member's; of one alone without the copy that a gradient of `unbind` is."""
    return (weight.squeeze(0),) if len(weight) == 1 else weight.unbind()


def _xavier(members: int, before: int, after: int) -> nn.Parameter:
    bound = math.sqrt(6.0 / (before + after))
    return nn.Parameter(torch.empty(members, before, after).uniform_(-bound, bound))
