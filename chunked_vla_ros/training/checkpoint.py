"""
What a training needs to go on, and a policy to act, as a checkpoint; and back.

The files themselves, and that they are whole, are `checkpoint_files`'s matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import json
from pathlib import Path
from typing import Any

import torch

from chunked_vla_ros.core.bundle_manifest import TokenizerSpec
from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint, STATE
from chunked_vla_ros.training.checkpoint_files import (
    CheckpointError,
    Contents,
    read_bytes,
    read_state,
    read_tensors,
    REMEDY,
)
from chunked_vla_ros.training.config import config_from, TrainConfig
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.vla import build_vla, Vla

__all__ = [
    'CheckpointError',
    'Origin',
    'TrainedPolicy',
    'find_checkpoint',
    'read_origin',
    'read_policy',
    'training_contents',
]

MODEL, MEAN, CRITIC, OPTIMIZER, RANDOM = 'model', 'ema', 'critic', 'optimizer', 'random'
HISTORY = 'history.json'
CPU_RANDOM, GPU_RANDOM = 'cpu', 'cuda'

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Origin:
    """
    What a policy is made of besides its weights: the same at every step of a training.

    :ivar tokenizer: In the format of Hugging Face ``tokenizers``.
    :ivar data: A hash of what is learnt from; other data make another curve.
    :ivar provenance: Where the policy comes from, in free words.
    """

    config: TrainConfig
    shape: PolicyShape
    normalisation: Normalisation
    tokenizer: bytes
    tokenizer_spec: TokenizerSpec
    data: str
    provenance: Mapping[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but the tokenizer, for JSON."""
        spec = self.tokenizer_spec
        return {
            'config': self.config.to_dict(), 'shape': self.shape.to_dict(),
            'normalisation': self.normalisation.to_dict(),
            'tokenizer': {'file': spec.file, 'max_length': spec.max_length,
                          'pad_id': spec.pad_id},
            'data': self.data, 'provenance': dict(self.provenance)}


@dataclass
class TrainedPolicy:
    """
    A policy as it was after ``step`` steps.

    :ivar vla: With the running mean of the weights, in evaluation mode, on the CPU.
    :ivar tokenizer: In the format of Hugging Face ``tokenizers``.
    :ivar provenance: Where it comes from, in free words.
    :ivar folder: Its checkpoint.
    """

    vla: Vla
    shape: PolicyShape
    config: TrainConfig
    normalisation: Normalisation
    tokenizer: bytes
    tokenizer_spec: TokenizerSpec
    step: int
    provenance: dict[str, str]
    folder: Path


def training_contents(origin: Origin, step: int, tensors: Mapping[str, Tensors],
                      history: Mapping[str, Any], further: Mapping[str, Any]) -> Contents:
    """
    Return the checkpoint of a training after ``step`` steps.

    :param tensors: Of `MODEL`, `MEAN` (but for what it shares with the model), `OPTIMIZER` and
        `RANDOM`.
    :param further: What else the training keeps, for JSON.
    """
    return Contents(
        {'step': step, **origin.to_dict(), **further}, tensors,
        {origin.tokenizer_spec.file: origin.tokenizer,
         HISTORY: json.dumps(history, allow_nan=False).encode()})


def read_origin(folder: Path) -> tuple[Origin, dict[str, Any]]:
    """
    Return what the policy of a checkpoint is made of, and all that the checkpoint says of itself.

    :raises CheckpointError: one line: it is none, not whole, or has a pickle in it.
    """
    said = read_state(folder)
    at = folder / STATE
    try:
        spec = said['tokenizer']
        origin = Origin(
            config_from(said['config'], f'{at}: config'), PolicyShape.from_dict(said['shape']),
            Normalisation.from_dict(said['normalisation']),
            read_bytes(folder / Path(str(spec['file'])).name),
            TokenizerSpec(Path(str(spec['file'])).name, int(spec['max_length']),
                          int(spec['pad_id'])),
            str(said['data']),
            {str(key): str(value) for key, value in said['provenance'].items()})
        int(said['step'])
    except CheckpointError:
        raise
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        what = f'{error} is missing' if isinstance(error, KeyError) else str(error)
        raise CheckpointError(f'{at}: {" ".join(what.split())}, {REMEDY}') from error
    return origin, said


def find_checkpoint(path: str | Path) -> Path:
    """
    Return the checkpoint that ``path`` is, or the newest one of the training that it is.

    :raises CheckpointError: one line: there is none in it.
    """
    folder = Path(path)
    if (folder / STATE).is_file():
        return folder
    newest = newest_checkpoint(folder)
    if newest is None and folder.is_dir():
        raise CheckpointError(f'{folder}: no checkpoint in it, expected the folder of a '
                              'training, or one of its checkpoints')
    return newest or folder


def read_policy(path: str | Path) -> TrainedPolicy:
    """
    Return the policy of a checkpoint, or of the newest one of a training's folder.

    :raises CheckpointError: one line with the file, what is wrong and the remedy.
    """
    folder = find_checkpoint(path)
    origin, said = read_origin(folder)
    weights = {**read_tensors(folder / f'{MODEL}.safetensors'),
               **read_tensors(folder / f'{MEAN}.safetensors')}
    # The weights follow: published ones need not be read.
    policy = replace(origin.config.policy, pretrained=False)
    try:
        vla = build_vla(policy, origin.shape, origin.normalisation)
    except ValueError as error:
        raise CheckpointError(f'{folder}: {" ".join(str(error).split())}') from error
    load_weights(vla, weights, folder)
    vla.eval().requires_grad_(False)
    return TrainedPolicy(
        vla, origin.shape, origin.config, origin.normalisation, origin.tokenizer,
        origin.tokenizer_spec, int(said['step']), dict(origin.provenance), folder)


def load_weights(network: torch.nn.Module, weights: Tensors, folder: Path) -> None:
    """
    Give ``network`` the ``weights``, which are those of ``folder``.

    :raises CheckpointError: one line: a weight is missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise CheckpointError(
            f'{folder}: the weights are those of another network '
            f'({" ".join(str(error).split())[:200]})') from error


def optimizer_tensors(optimizer: torch.optim.Optimizer, names: list[str]) -> Tensors:
    """Return the state of ``optimizer`` by ``NAME/KEY``; ``names`` are its parameters'."""
    return {f'{names[index]}/{key}': torch.as_tensor(value)
            for index, state in optimizer.state_dict()['state'].items()
            for key, value in state.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, names: list[str], tensors: Tensors,
                   folder: Path) -> None:
    """
    Give ``optimizer`` the state that `optimizer_tensors` returned.

    :raises CheckpointError: one line: it is that of another network.
    """
    places = {name: index for index, name in enumerate(names)}
    state: dict[int, Tensors] = {}
    for path, tensor in tensors.items():
        name, _, key = path.rpartition('/')
        if name not in places:
            raise CheckpointError(f'{folder}: the optimizer knows {name!r}, which the network '
                                  f'does not have, {REMEDY}')
        state.setdefault(places[name], {})[key] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), 'state': state})


def random_tensors() -> Tensors:
    """Return the states of torch's own generators."""
    states = {CPU_RANDOM: torch.get_rng_state()}
    if torch.cuda.is_available():
        states[GPU_RANDOM] = torch.cuda.get_rng_state()
    return states


def load_random(tensors: Tensors) -> None:
    """Put torch's own generators into the states that `random_tensors` returned."""
    torch.set_rng_state(tensors[CPU_RANDOM])
    if GPU_RANDOM in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[GPU_RANDOM])
