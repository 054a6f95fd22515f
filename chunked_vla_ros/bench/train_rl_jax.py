"""
The update of QC and QC-FQL in JAX, flax and optax: what ours is timed against.

Written anew from the equations (Li, Zhou and Levine 2025, arXiv 2507.07969, (4), (10), (15), and
the published masking) the way such code is written there: modules of flax, the critics by `vmap`,
one compiled function for drawing, losses, gradients, Adam and the target. Knows neither torch nor
a clock.
"""

from __future__ import annotations

from typing import Any

from flax import linen
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
import optax

from chunked_vla_ros.bench.train_rl_inputs import (
    ACTOR,
    Arrays,
    BATCHES,
    CHECKED_UPDATES,
    CRITIC,
    FLOW,
    Losses,
    QC,
    Sizes,
    TARGET,
    weight_names,
)

BATCH = ('observation', 'actions', 'valid', 'returns', 'bootstrap', 'next_observation')
DRAWS = ('flow_noise', 'flow_time', 'next_noise', 'actor_noise')
# Where flax keeps what the inputs call these.
PARTS = {'kernel': ('dense', 'kernel'), 'bias': ('dense', 'bias'), 'scale': ('norm', 'scale'),
         'shift': ('norm', 'bias')}

Tree = dict[str, Any]


class Mlp(linen.Module):
    """Linear, gelu and, in a critic, LayerNorm, as often as ``layers`` says; then linear."""

    width: int
    layers: int
    outputs: int
    layer_norm: bool

    def setup(self) -> None:
        """Make the layers."""
        self.dense = [*(linen.Dense(self.width) for _ in range(self.layers)),
                      linen.Dense(self.outputs)]
        self.norm = [linen.LayerNorm() for _ in range(self.layers if self.layer_norm else 0)]

    def __call__(self, x: jax.Array) -> jax.Array:
        """Return (..., outputs) of (..., inputs)."""
        for number in range(self.layers):
            x = linen.gelu(self.dense[number](x))
            x = self.norm[number](x) if self.layer_norm else x
        return self.dense[-1](x)


class Networks:
    """The networks as functions of their weights."""

    def __init__(self, sizes: Sizes) -> None:
        self._sizes = sizes
        several = linen.vmap(Mlp, variable_axes={'params': 0}, split_rngs={'params': True},
                             in_axes=None, out_axes=0, axis_size=sizes.critics)
        self._critic = several(sizes.width, sizes.layers, 1, True)
        self._actor = Mlp(sizes.width, sizes.layers, sizes.chunk, False)

    def critic(self, weights: Tree, observation: jax.Array, chunk: jax.Array) -> jax.Array:
        """Return (K, ...) values of chunks (..., h * A)."""
        return self._critic.apply(
            {'params': weights}, jnp.concatenate([observation, chunk], -1))[..., 0]

    def velocity(self, weights: Tree, observation: jax.Array, chunk: jax.Array,
                 time: jax.Array) -> jax.Array:
        """Return (..., h * A), the flow's velocity at ``time`` (..., 1)."""
        return self._actor.apply(
            {'params': weights}, jnp.concatenate([observation, chunk, time], -1))

    def one_step(self, weights: Tree, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """Return (..., h * A), the distilled actor's chunk, not clipped."""
        return self._actor.apply({'params': weights}, jnp.concatenate([observation, noise], -1))

    def integrate(self, weights: Tree, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """Return (..., h * A), Euler steps from noise along the flow, clipped at the end."""
        chunk, steps = noise, self._sizes.flow_steps
        for step in range(steps):
            time = jnp.full((*chunk.shape[:-1], 1), step / steps)
            chunk = chunk + self.velocity(weights, observation, chunk, time) / steps
        return jnp.clip(chunk, -1, 1)

    def best_of(self, weights: Tree, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """Return (B, h * A), of N samples of the flow (B, N, h * A) that of highest value."""
        several = jnp.repeat(observation[:, None], noise.shape[1], 1)
        chunks = self.integrate(weights[FLOW], several, noise)
        best = jnp.argmax(self.critic(weights[CRITIC], several, chunks).mean(0), -1)
        return jnp.take_along_axis(chunks, best[:, None, None], 1)[:, 0]


class JaxSide:
    """
    The update of one method, compiled.

    :ivar facts: The framework, its version and its device.
    """

    def __init__(self, sizes: Sizes, arrays: Arrays) -> None:
        device = jax.devices()[0]
        self.facts = {'framework': f'JAX {jax.__version__}', 'device': str(device.device_kind),
                      'platform': 'cpu' if device.platform == 'cpu' else 'gpu'}
        self._sizes, self._arrays, self._networks = sizes, arrays, Networks(sizes)
        self._adam = optax.adam(sizes.learning_rate)
        self._batches = {name: jnp.asarray(_flat(name, arrays[name])) for name in BATCH}
        self._update = jax.jit(self._updated, donate_argnums=0)
        self._drawn_update = jax.jit(self._with_draws, donate_argnums=0)
        self._state = self._start()

    def check(self) -> tuple[Losses, Arrays]:
        """Return the losses of the first updates with the given noise, and the weights then."""
        self._state, losses = self._start(), []
        for number in range(CHECKED_UPDATES):
            draws = {name: jnp.asarray(_flat(name, self._arrays[name])[number])
                     for name in DRAWS if name in self._arrays}
            self._state, metrics = self._update(self._state, self._batch(number), draws)
            losses.append({name: float(value) for name, value in metrics.items()})
        weights: Arrays = {}
        for name in weight_names(self._sizes, self._sizes.nets):
            found = np.asarray(_leaf(self._state[0], name))
            weights[name] = found.reshape(self._arrays[name].shape)
        return losses, weights

    def run(self, updates: int) -> int:
        """Make so many updates, each on some batch, and wait for the last; return how many."""
        for _ in range(updates):
            self._state, _ = self._drawn_update(self._state, self._batches)
        jax.block_until_ready(self._state)
        return updates

    def _start(self) -> tuple[Tree, Any, jax.Array]:
        weights: Tree = {}
        for name in weight_names(self._sizes, self._sizes.nets):
            values = self._arrays[name]
            _put(weights, name, jnp.array(
                values if name.startswith((CRITIC, TARGET)) else values[0]))
        learnt = {net: tree for net, tree in weights.items() if net != TARGET}
        return weights, self._adam.init(learnt), jax.random.key(0)

    def _batch(self, number: int) -> Tree:
        return {name: values[number % BATCHES] for name, values in self._batches.items()}

    def _with_draws(self, state: tuple[Tree, Any, jax.Array], batches: Tree,
                    ) -> tuple[tuple[Tree, Any, jax.Array], Tree]:
        """Draw batch and noise, then update."""
        sizes = self._sizes
        key, *keys = jax.random.split(state[2], 6)
        number = jax.random.randint(keys[0], (), 0, BATCHES)
        chunks = (sizes.batch, sizes.chunk)
        draws = {
            'flow_noise': jax.random.normal(keys[1], chunks),
            'flow_time': jax.random.uniform(keys[2], (sizes.batch,)),
            'actor_noise': jax.random.normal(keys[3], chunks),
            'next_noise': jax.random.normal(keys[4], (
                (sizes.batch, sizes.candidates, sizes.chunk) if sizes.method == QC else chunks))}
        return self._updated((*state[:2], key),
                             {name: values[number] for name, values in batches.items()}, draws)

    def _updated(self, state: tuple[Tree, Any, jax.Array], batch: Tree, draws: Tree,
                 ) -> tuple[tuple[Tree, Any, jax.Array], Tree]:
        weights, optimiser, key = state
        target = self._critic_target(weights, batch, draws)
        learnt = {net: tree for net, tree in weights.items() if net != TARGET}
        gradients, metrics = jax.grad(self._losses, has_aux=True)(learnt, batch, draws, target)
        change, optimiser = self._adam.update(gradients, optimiser, learnt)
        learnt = optax.apply_updates(learnt, change)
        slow = optax.incremental_update(learnt[CRITIC], weights[TARGET], self._sizes.tau)
        return ({**learnt, TARGET: slow}, optimiser, key), metrics

    def _critic_target(self, weights: Tree, batch: Tree, draws: Tree) -> jax.Array:
        """Return (B,): discounted rewards, and from the chunk's end the target critics' mean."""
        following = batch['next_observation']
        if self._sizes.method == QC:
            chunk = self._networks.best_of(weights, following, draws['next_noise'])
        else:
            chunk = jnp.clip(self._networks.one_step(
                weights[ACTOR], following, draws['next_noise']), -1, 1)
        values = self._networks.critic(weights[TARGET], following, chunk).mean(0)
        return batch['returns'] + batch['bootstrap'] * values

    def _losses(self, weights: Tree, batch: Tree, draws: Tree, target: jax.Array,
                ) -> tuple[jax.Array, Tree]:
        networks, observation, actions = self._networks, batch['observation'], batch['actions']
        values = networks.critic(weights[CRITIC], observation, actions)
        critic = (jnp.square(values - target) * batch['valid'][:, -1]).mean()
        time, noise = draws['flow_time'][:, None], draws['flow_noise']
        velocity = networks.velocity(
            weights[FLOW], observation, (1 - time) * noise + time * actions, time)
        error = jnp.square(velocity - (actions - noise))
        flow = (error.reshape(*batch['valid'].shape, -1) * batch['valid'][..., None]).mean()
        metrics = {'critic': critic, 'flow': flow}
        if self._sizes.method != QC:
            still = jax.lax.stop_gradient({net: weights[net] for net in (CRITIC, FLOW)})
            chunk = networks.one_step(weights[ACTOR], observation, draws['actor_noise'])
            sampled = networks.integrate(still[FLOW], observation, draws['actor_noise'])
            metrics['distillation'] = self._sizes.alpha * jnp.square(chunk - sampled).mean()
            metrics['value'] = -networks.critic(
                still[CRITIC], observation, jnp.clip(chunk, -1, 1)).mean()
        return sum(metrics.values()), metrics


def _flat(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """Return chunks (..., h, A) as (..., h * A)."""
    chunks = name == 'actions' or name.endswith('noise')
    return values.reshape(*values.shape[:-2], -1) if chunks else values


def _path(name: str) -> tuple[str, str, str]:
    net, layer, part = name.split('/')
    module, leaf = PARTS[part]
    return net, f'{module}_{layer}', leaf


def _put(tree: Tree, name: str, values: jax.Array) -> None:
    net, module, leaf = _path(name)
    tree.setdefault(net, {}).setdefault(module, {})[leaf] = values


def _leaf(tree: Tree, name: str) -> jax.Array:
    net, module, leaf = _path(name)
    return tree[net][module][leaf]
