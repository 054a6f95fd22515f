"""
The network with what moves its weights: optimizer, learning rate, running mean, processes.

One step of one process of several; which windows it sees, and what becomes of it, is told from
outside. Knows no file and no clock.
"""

from __future__ import annotations

from dataclasses import dataclass
import math
from pathlib import Path
from typing import Any
import warnings

from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs
import torch
from torch import nn

from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.core.window_order import WindowOrder
from chunked_vla_ros.training.augmentation import augment, AugmentationDraws
from chunked_vla_ros.training.batch_dump import dump_batch
from chunked_vla_ros.training.batches import Batch, WindowLoader
from chunked_vla_ros.training.checkpoint import (
    load_optimizer,
    load_random,
    load_weights,
    MEAN,
    MODEL,
    OPTIMIZER,
    optimizer_tensors,
    RANDOM,
    random_tensors,
    Tensors,
)
from chunked_vla_ros.training.checkpoint_files import read_tensors
from chunked_vla_ros.training.config import FP16, TrainConfig
from chunked_vla_ros.training.ema import RunningMean
from chunked_vla_ros.training.flow_matching import FlowDraws, is_prefix
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.phase import Loader, Phase
from chunked_vla_ros.training.schedule import learning_rate_share
from chunked_vla_ros.training.step_draws import seed_network, step_generator
from chunked_vla_ros.training.vla import build_vla
from chunked_vla_ros.training.vla_config import TRANSFORMERS

# AdamW's: the second moment forgets in 20 steps rather than 1000, as transformers are trained.
BETAS = (0.9, 0.95)
# fp16 overflows now and then, and its scaler leaves such a step out; so often in a row it does not
# come back.
PATIENCE = 50
# What a process's mean counts for as much as another's.
ALIKE = ('loss', 'loss_waypoint')


class BrokenStepError(ArithmeticError):
    """A step has a loss or a gradient that is no number; the weights are those before it."""


class GradientWatch:
    """Notices a gradient that is no number, ``patience`` times in a row."""

    def __init__(self, patience: int) -> None:
        self._patience, self._broken = patience, 0

    def check(self, norm: float) -> None:
        """:raises BrokenStepError: it is the last one that is borne."""
        self._broken = 0 if math.isfinite(norm) else self._broken + 1
        if self._broken >= self._patience:
            again = f' {self._broken} times in a row' if self._patience > 1 else ''
            raise BrokenStepError(f'gradient is {norm}{again}')


@dataclass(frozen=True)
class Learnt:
    """What a step has to say, over all processes; ``stop``: one of them was asked to stop."""

    loss: float
    learning_rate: float
    gradient_norm: float
    parts: dict[str, float]
    stop: bool


def make_accelerator(config: TrainConfig) -> Accelerator:
    """
    Return what joins the processes of this training, one or several, and its devices.

    :raises ValueError: one line: the configuration cannot be run here.
    """
    on_cpu = not torch.cuda.is_available()
    if config.precision == FP16 and on_cpu:
        raise ValueError('precision is fp16, which needs a GPU: expected no, or bf16')
    # A vision-language model has parts that no loss reaches, such as its head for text.
    spare = config.policy.backbone == TRANSFORMERS
    accelerator = Accelerator(
        cpu=on_cpu, mixed_precision=config.precision,
        dynamo_backend='inductor' if config.compile else 'no',
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=spare)])
    if config.batch_size % accelerator.num_processes:
        raise ValueError(f'batch_size is {config.batch_size}, expected a multiple of the '
                         f'{accelerator.num_processes} processes')
    # Of a parameter of one row; it costs nothing that could be measured.
    warnings.filterwarnings('ignore', 'Grad strides do not match bucket view strides')
    return accelerator


class Learner:
    """
    The state of a training in one process.

    :ivar vla: The network itself, neither wrapped nor compiled.
    :ivar mean: The running mean of its weights.
    :ivar part: Which rows of the whole batch are this process's.
    """

    def __init__(self, material: Material, accelerator: Accelerator) -> None:
        """:raises ValueError: one line: the network cannot be made."""
        self._material, self._accelerator = material, accelerator
        self._config = config = material.origin.config
        self._device = accelerator.device
        share = config.batch_size // accelerator.num_processes
        self.part = slice(accelerator.process_index * share,
                          (accelerator.process_index + 1) * share)
        seed_network(config.seed, 0)
        self.vla = build_vla(
            config.policy, material.origin.shape, material.origin.normalisation).to(self._device)
        # Before the network is prepared: what wraps it is not to be copied.
        self.mean = RunningMean(self.vla, config.ema_decay)
        groups = optimizer_groups(self.vla, config.weight_decay)
        self._names = [name for group in groups for name in group.pop('names')]
        self._plain = torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS)
        self._network, self._optimizer = accelerator.prepare(self.vla, self._plain)
        self._network.train()
        self._gradients = GradientWatch(PATIENCE if config.precision == FP16 else 1)

    def learn(self, step: int, indices: IntArray, batch: Batch, stop: bool) -> Learnt:
        """
        Take ``step``, 0 being the first.

        :param indices: Shape (B,), the windows of the whole batch.
        :param batch: This process's part of them.
        :param stop: This process was asked to stop; all of them hear of it.
        :raises BrokenStepError: in all processes, before the weights are touched.
        """
        config = self._config
        seed_network(config.seed, step)
        draws, changes = self.draws(step)
        share = self._share(indices, draws)
        loss, parts = self._network(
            augment(batch.to(self._device), changes.part(self.part)),
            draws.part(self.part).to(self._device), share)
        seen, stopped = self._together(loss, parts, share, stop)
        if not math.isfinite(seen['loss']):
            raise BrokenStepError(f'loss is {seen["loss"]}')
        rate = config.learning_rate * learning_rate_share(
            step, config.steps, config.warm_up_steps)
        for group in self._plain.param_groups:
            group['lr'] = rate * group['pace']
        self._accelerator.backward(loss)
        norm = float(self._accelerator.clip_grad_norm_(self.vla.parameters(), config.clip_norm))
        self._gradients.check(norm)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self.mean.update(step + 1)
        return Learnt(seen.pop('loss'), rate, norm, seen, stopped)

    def phase(self, step: int, workers: int) -> Phase:
        """Return the phase of ``step``; ``workers`` threads read ahead."""
        material, config = self._material, self._config
        return Phase(
            config.steps, WindowOrder(len(material.training), config.batch_size, config.seed),
            WindowLoader(material.rows, material.training, material.tokens, material.masks,
                         material.headings, workers))

    def has_learnt(self, step: int) -> bool:
        """Return whether the policy is another after ``step`` steps than at the beginning."""
        return True

    def findings(self) -> None:
        """Return nothing: all there is to say is in the curves."""

    def dump(self, folder: Path, step: int, indices: IntArray, loader: Loader,
             why: str) -> None:
        """Write the batch of ``step`` into ``folder``, for whoever looks for the reason."""
        dump_batch(folder, step, indices, loader.batch(indices), self.draws(step)[0],
                   self._material, why)

    def draws(self, step: int) -> tuple[FlowDraws, AugmentationDraws]:
        """Return what is drawn in ``step`` for the whole batch of all processes."""
        config, shape = self._config, self._material.origin.shape
        generator = step_generator(config.seed, step)
        return (FlowDraws.draw(generator, config.batch_size, shape, config.imitation),
                AugmentationDraws.draw(
                    generator, config.batch_size, config.augmentation, len(shape.cameras)))

    def tensors(self) -> dict[str, Tensors]:
        """Return all that goes into a checkpoint."""
        weights = self.vla.state_dict()
        mean = {name: tensor for name, tensor in self.mean.network.state_dict().items()
                if tensor.data_ptr() != weights[name].data_ptr()}
        return {MODEL: dict(weights), MEAN: mean,
                OPTIMIZER: optimizer_tensors(self._plain, self._names),
                RANDOM: random_tensors()}

    def further(self) -> dict[str, Any]:
        """Return what goes into a checkpoint besides tensors, for JSON."""
        scaler = self._accelerator.scaler
        groups = [{key: value for key, value in group.items() if key != 'params'}
                  for group in self._plain.state_dict()['param_groups']]
        return {'optimizer': groups, 'scaler': scaler.state_dict() if scaler else {}}

    def restore(self, folder: Path, said: dict[str, Any]) -> None:
        """
        Become what was written to the checkpoint in ``folder``, which says ``said`` of itself.

        :raises CheckpointError: one line: its tensors are not those of this network.
        """
        tensors = {stem: read_tensors(folder / f'{stem}.safetensors')
                   for stem in (MODEL, MEAN, OPTIMIZER, RANDOM)}
        load_weights(self.vla, tensors[MODEL], folder)
        load_weights(self.mean.network, {**tensors[MODEL], **tensors[MEAN]}, folder)
        load_optimizer(self._plain, self._names, tensors[OPTIMIZER], folder)
        load_random(tensors[RANDOM])
        if self._accelerator.scaler is not None and said.get('scaler'):
            self._accelerator.scaler.load_state_dict(said['scaler'])

    def _share(self, indices: IntArray, draws: FlowDraws) -> float:
        """Return how much this process's flow counts beside the others', 1 where all are equal."""
        if self._accelerator.num_processes == 1:
            return 1.0
        valid = torch.from_numpy(self._material.training.valid(indices))
        counted = valid[:, None].expand(draws.noise.shape[:3])
        if draws.delay is not None:
            counted = counted & ~is_prefix(draws.delay, valid.shape[1])
        mine, all_of_them = int(counted[self.part].sum()), int(counted.sum())
        return float(self._accelerator.num_processes * mine / max(1, all_of_them))

    def _together(self, loss: torch.Tensor, parts: dict[str, torch.Tensor], share: float,
                  stop: bool) -> tuple[dict[str, float], bool]:
        """Return loss and parts over all processes, and whether any of them is to stop."""
        numbers = {**parts, 'loss': loss.detach()}
        values = torch.stack([number.float().reshape(()) for number in numbers.values()])
        if self._accelerator.num_processes > 1:
            # The loss has the share in it already, and a mean over windows counts them alike.
            shares = [1.0 if name in ALIKE else share for name in numbers]
            flag = torch.tensor([float(stop)], device=values.device)
            values = self._accelerator.reduce(torch.cat(
                [values * torch.tensor(shares, device=values.device), flag]), 'sum')
            stop, values = bool(values[-1] > 0), values[:-1] / self._accelerator.num_processes
        return dict(zip(numbers, values.tolist(), strict=True)), stop


def optimizer_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """
    Return the optimizer's groups: matrices decay, biases, norms and single vectors do not.

    A module with a ``pace`` learns so many times as fast as the others.
    """
    paces = {f'{name}.{own}': float(module.pace) for name, module in network.named_modules()
             if hasattr(module, 'pace') for own, _ in module.named_parameters()}
    found: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            decays, pace = weight.squeeze().ndim >= 2, paces.get(name, 1.0)
            group = found.setdefault((decays, pace), {
                'names': [], 'params': [], 'pace': pace,
                'weight_decay': weight_decay if decays else 0.0})
            group['names'].append(name)
            group['params'].append(weight)
    return list(found.values())
