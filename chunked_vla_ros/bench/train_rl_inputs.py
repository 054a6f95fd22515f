"""
What both sides of the Q-chunking benchmark start from: weights, batches, noise, as numpy arrays.

Made once from a seed and handed over as a file, so that both sides compute the same update. Knows
neither framework.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

QC, QC_FQL = 'qc', 'qc_fql'
METHODS = (QC, QC_FQL)
CRITIC, TARGET, FLOW, ACTOR = 'critic', 'target_critic', 'flow', 'actor'
CHECKED_UPDATES = 3
BATCHES = 8
SETTINGS = 'settings'
SEED = 0

Arrays = dict[str, NDArray[Any]]
# Of each checked update: name of the loss to its value.
Losses = list[dict[str, float]]


@dataclass(frozen=True)
class Sizes:
    """
    Sizes and numbers of an update; the defaults are the published ones, on OGBench's cube-single.

    :ivar rows: States of the data set that candidates are cached for: 60 demonstrations.
    """

    method: str
    observation: int = 28
    action: int = 5
    horizon: int = 5
    batch: int = 256
    width: int = 512
    layers: int = 4
    critics: int = 2
    flow_steps: int = 10
    candidates: int = 32
    alpha: float = 300.0
    discount: float = 0.99
    learning_rate: float = 3e-4
    tau: float = 0.005
    rows: int = 6000

    @property
    def chunk(self) -> int:
        """Return how many numbers a chunk has."""
        return self.horizon * self.action

    def outer(self, net: str) -> tuple[int, int, int]:
        """Return a network's members, inputs and outputs."""
        state = self.observation + self.chunk
        return {CRITIC: (self.critics, state, 1), TARGET: (self.critics, state, 1),
                FLOW: (1, state + 1, self.chunk), ACTOR: (1, state, self.chunk)}[net]

    @property
    def nets(self) -> tuple[str, ...]:
        """Return the networks of the method."""
        return (CRITIC, TARGET, FLOW, *((ACTOR,) if self.method == QC_FQL else ()))

    @property
    def parameters(self) -> int:
        """Return how many numbers are learnt."""
        found = 0
        for net in self.nets:
            members, inputs, outputs = self.outer(net)
            widths = [inputs, *[self.width] * self.layers, outputs]
            weights = sum(a * b + b for a, b in zip(widths, widths[1:], strict=False))
            norms = 2 * self.width * self.layers if net == CRITIC else 0
            found += members * (weights + norms) if net != TARGET else 0
        return found


def weight_names(sizes: Sizes, nets: Iterable[str]) -> list[str]:
    """Return the names of the weights: ``net/layer/part``."""
    return [f'{net}/{layer}/{part}' for net in nets for layer in range(sizes.layers + 1)
            for part in ('kernel', 'bias', 'scale', 'shift')
            if part in ('kernel', 'bias') or (net in (CRITIC, TARGET) and layer < sizes.layers)]


def make_inputs(sizes: Sizes, seed: int = SEED) -> Arrays:
    """
    Draw weights, batches and the noise of the checked updates.

    Kernels are (members, inputs, outputs) and Xavier uniform; biases, scales and shifts are not
    the zeros and ones of an initialisation, so that a forgotten one shows.
    """
    random = np.random.default_rng(seed)
    return {**_weights(sizes, random), **_batches(sizes, random), **_noise(sizes, random)}


def _weights(sizes: Sizes, random: np.random.Generator) -> Arrays:
    found: Arrays = {}
    for name in weight_names(sizes, sizes.nets):
        net, layer, part = name.split('/')
        members, inputs, outputs = sizes.outer(net)
        inputs = inputs if layer == '0' else sizes.width
        outputs = outputs if layer == str(sizes.layers) else sizes.width
        if part == 'kernel':
            bound = (6.0 / (inputs + outputs)) ** 0.5
            found[name] = random.uniform(-bound, bound, (members, inputs, outputs))
        else:
            found[name] = (part == 'scale') + random.uniform(-0.1, 0.1, (members, outputs))
    return {name: values.astype(np.float32) for name, values in found.items()}


def _batches(sizes: Sizes, random: np.random.Generator) -> Arrays:
    """Return batches of the published masking rule: discount ** h whatever ended within."""
    count, rows, steps = BATCHES, sizes.batch, sizes.horizon
    length = random.integers(1, 2 * steps, (count, rows, 1))
    valid = np.arange(steps) < length
    terminated = random.random((count, rows)) < 0.1
    return {
        'observation': random.normal(size=(count, rows, sizes.observation)).astype(np.float32),
        'actions': random.uniform(
            -1, 1, (count, rows, steps, sizes.action)).astype(np.float32),
        'valid': valid,
        'returns': -random.uniform(0, steps, (count, rows)).astype(np.float32),
        'bootstrap': (sizes.discount ** steps * ~terminated).astype(np.float32),
        'next_observation': random.normal(
            size=(count, rows, sizes.observation)).astype(np.float32)}


def _noise(sizes: Sizes, random: np.random.Generator) -> Arrays:
    chunks = (CHECKED_UPDATES, sizes.batch, sizes.horizon, sizes.action)
    candidates = (*chunks[:2], sizes.candidates, *chunks[2:]) if sizes.method == QC else chunks
    return {
        'flow_noise': random.normal(size=chunks).astype(np.float32),
        'flow_time': random.random(chunks[:2]).astype(np.float32),
        'next_noise': random.normal(size=candidates).astype(np.float32),
        **({'actor_noise': random.normal(size=chunks).astype(np.float32)}
           if sizes.method == QC_FQL else {})}


def write_inputs(path: Path, sizes: Sizes, arrays: Arrays) -> None:
    """Write sizes and arrays into one file."""
    write_arrays(path, {SETTINGS: np.array(json.dumps(asdict(sizes))), **arrays})


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write arrays by their names into one file."""
    np.savez(path, allow_pickle=False, **arrays)


def read_inputs(path: Path) -> tuple[Sizes, Arrays]:
    """Return what `write_inputs` wrote."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return Sizes(**json.loads(str(arrays.pop(SETTINGS)))), arrays
