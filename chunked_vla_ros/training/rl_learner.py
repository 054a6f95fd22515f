"""
Offline RL from an imitation policy: a critic of its chunks, and the policy that follows it.

Has the interface of `Learner`. The critic sees features of the imitation policy, which stays as it
is; the policy begins as a copy of it. Pictures are looked at once, unless every weight of the
policy is to learn. Knows no file but its checkpoint's.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import Accelerator
import numpy as np
import torch

from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.training.advantage import WholeChunks
from chunked_vla_ros.training.batch_dump import write_dump
from chunked_vla_ros.training.checkpoint import (
    CRITIC,
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
from chunked_vla_ros.training.ema import RunningMean
from chunked_vla_ros.training.learner import BrokenStepError, Learnt
from chunked_vla_ros.training.material import Material
from chunked_vla_ros.training.phase import Loader, Phase
from chunked_vla_ros.training.rl_config import ADVANTAGE, CONTROLS, QC, QC_FQL
from chunked_vla_ros.training.rl_critics import SlowCritic
from chunked_vla_ros.training.rl_findings import RlFindings
from chunked_vla_ros.training.rl_ground import Ground
from chunked_vla_ros.training.rl_image_batches import of_critic, tensors_of
from chunked_vla_ros.training.rl_moving import Mover, policy_to_learn
from chunked_vla_ros.training.rl_phases import critic_phase, imitation_phase
from chunked_vla_ros.training.rl_policies import make_critic, make_policy_loss
from chunked_vla_ros.training.rl_policy_chunks import PolicyChunks
from chunked_vla_ros.training.rl_selection import select, select_demonstrations, Selection
from chunked_vla_ros.training.schedule import learning_rate_share
from chunked_vla_ros.training.standing import Tell
from chunked_vla_ros.training.step_draws import seed_network, step_generator

SELECTED, ADVANTAGES = 'selection', 'advantages'


class RlLearner:
    """
    The state of a training by offline RL; one process only.

    :ivar vla: The policy that learns.
    :ivar mean: The running mean of its weights.
    """

    part: slice | None = None

    def __init__(self, material: Material, accelerator: Accelerator, tell: Tell,
                 scratch: Path) -> None:
        """:raises ValueError: one line: it cannot be done here."""
        assert material.rl is not None
        self._material, self._rl, self._accelerator = material, material.rl, accelerator
        self._config = config = material.origin.config
        self._device = accelerator.device
        _check_place(material, accelerator)
        seed_network(config.seed, 0)
        self.vla = policy_to_learn(material.rl.start.policy, config).to(self._device)
        self.mean = RunningMean(self.vla, config.ema_decay)
        self._ground = Ground(material, self._device, tell, scratch)
        self._chunks = PolicyChunks(material, self._ground, tell)
        self._critic = make_critic(config, self._ground).to(self._device)
        self._policy_loss = make_policy_loss(config, self.vla, self._critic, self._ground)
        self._critic_mover = Mover.of_critic(self._critic, config)
        self._policy_mover = Mover.of_policy(self.vla, config)
        self._selection: Selection | None = None

    def phase(self, step: int, workers: int) -> Phase:
        """Return the phase of ``step``, and make ready what it needs."""
        config, ground = self._config, self._ground
        learns = self._learns_policy(step)
        if learns and self._selection is None and config.method != QC_FQL:
            self._select()
        if learns and config.method == ADVANTAGE:
            assert self._selection is not None
            return imitation_phase(self._material, ground.features, self._selection, workers)
        self._chunks.draw_first()
        last = config.steps if learns else config.critic_steps
        return critic_phase(
            self._material, ground.features, self.vla.scale, last, learns, workers)

    def learn(self, step: int, indices: IntArray, batch: Any, stop: bool) -> Learnt:
        """
        Take ``step``, 0 being the first.

        :param batch: Of the phase's loader.
        :raises BrokenStepError: before the weights are touched that it is about; a critic may
            have moved where it is the policy's.
        """
        config = self._config
        seed_network(config.seed, step)
        generator = step_generator(config.seed, step)
        here = batch.to(self._device)
        losses, parts, norm = [0.0], {}, 0.0
        try:
            if (judged := of_critic(here)) is not None:
                self._chunks.draw_anew(self.mean.network, step)
                self._critic.refresh(step)
                with self._accelerator.autocast():
                    loss, parts = self._critic.loss(judged, generator)
                norm = self._critic_mover.take(loss, config.rl.critic_learning_rate)
                self._critic.follow()
                losses.append(float(loss.detach()))
            if self._moves_policy(step):
                with self._accelerator.autocast():
                    loss, more = self._policy_loss(here, generator)
                norm = self._policy_mover.take(loss, self._rate(step))
                self.mean.update(config.policy_updates(step + 1))
                losses.append(float(loss.detach()))
                parts = parts | more
        except ValueError as error:
            raise BrokenStepError(' '.join(str(error).split())) from error
        return Learnt(sum(losses), self._rate(step), norm,
                      {name: float(number) for name, number in parts.items()}, stop)

    def has_learnt(self, step: int) -> bool:
        """Return whether the policy is another after ``step`` steps than at the beginning."""
        return step > self._config.critic_steps

    def findings(self) -> RlFindings:
        """Return what there is to say besides the curves."""
        policy = self._rl.start.policy
        return RlFindings(f'{policy.step} steps of imitation', self._rl.support, self._selection)

    def dump(self, folder: Path, step: int, indices: IntArray, loader: Loader,
             why: str) -> None:
        """Write the batch of ``step`` into ``folder``, for whoever looks for the reason."""
        write_dump(folder, step, indices, tensors_of(loader.batch(indices)),
                   loader.rows(indices), self._material, why)

    def tensors(self) -> dict[str, Tensors]:
        """Return all that goes into a checkpoint."""
        weights = self.vla.state_dict()
        mean = {name: tensor for name, tensor in self.mean.network.state_dict().items()
                if tensor.data_ptr() != weights[name].data_ptr()}
        movers = (self._critic_mover, self._policy_mover)
        found = None if self._selection is None else self._selection.advantages
        chosen = {} if found is None else {
            SELECTED: {ADVANTAGES: torch.from_numpy(found.copy())}}
        return {MODEL: dict(weights), MEAN: mean, CRITIC: dict(self._critic.state_dict()),
                OPTIMIZER: {name: tensor for mover in movers for name, tensor in
                            optimizer_tensors(mover.optimizer, mover.names).items()},
                RANDOM: random_tensors(), **chosen}

    def further(self) -> dict[str, Any]:
        """Return what goes into a checkpoint besides tensors, for JSON."""
        return {'rl': {
            'points': self._config.critic_horizon, 'observation': self._ground.width,
            'values': self._ground.kind.value, 'support': self._rl.support.line,
            'selection': self._selection.numbers() if self._selection else {}}}

    def restore(self, folder: Path, said: dict[str, Any]) -> None:
        """
        Become what was written to the checkpoint in ``folder``, which says ``said`` of itself.

        :raises CheckpointError: one line: its tensors are not those of these networks.
        """
        tensors = {stem: read_tensors(folder / f'{stem}.safetensors')
                   for stem in (MODEL, MEAN, CRITIC, OPTIMIZER, RANDOM)}
        load_weights(self.vla, tensors[MODEL], folder)
        load_weights(self.mean.network, {**tensors[MODEL], **tensors[MEAN]}, folder)
        load_weights(self._critic, tensors[CRITIC], folder)
        self._chunks.were_read()
        for mover in (self._critic_mover, self._policy_mover):
            load_optimizer(mover.optimizer, mover.names, {
                name: tensor for name, tensor in tensors[OPTIMIZER].items()
                if name.startswith(f'{CRITIC}.') == (mover is self._critic_mover)}, folder)
        load_random(tensors[RANDOM])
        if (folder / f'{SELECTED}.safetensors').exists():
            self._selection = select(
                self._config.rl, self._rl.each.rows,
                read_tensors(folder / f'{SELECTED}.safetensors')[ADVANTAGES])
            self._policy_loss.choose(self._selection)

    def _rate(self, step: int) -> float:
        """Return the learning rate of what ``step`` is for: the policy, or the critic alone."""
        config, first = self._config, self._config.critic_steps
        if not self._learns_policy(step):
            return config.rl.critic_learning_rate
        return config.learning_rate * learning_rate_share(
            step - first, config.steps - first, config.warm_up_steps)

    def _learns_policy(self, step: int) -> bool:
        return step >= self._config.critic_steps and self._config.method != QC

    def _moves_policy(self, step: int) -> bool:
        # The last of each so many steps, so that round numbers of steps show the policy's too.
        done = step + 1 - self._config.critic_steps
        return self._learns_policy(step) and done % self._config.policy_every == 0

    def _select(self) -> None:
        """Choose what the policy learns from, by the critic as it is now if one is asked."""
        rl, rows = self._config.rl, self._rl.each.rows
        if rl.selection in CONTROLS:
            self._selection = select_demonstrations(
                rl.selection, self._rl.start.rewarded,
                np.array(self._material.split.training, np.int64), rows)
        else:
            self._chunks.draw_first()
            assert not isinstance(self._critic, SlowCritic)    # their policies select nothing
            try:
                advantages = self._critic.advantages(WholeChunks.of(self._rl.each, self._device))
                self._selection = select(rl, rows, advantages.cpu())
            except ValueError as error:
                raise ValueError(
                    f'{error}; train it anew at a smaller rl.critic_learning_rate') from error
        self._policy_loss.choose(self._selection)


def _check_place(material: Material, accelerator: Accelerator) -> None:
    config = material.origin.config
    if accelerator.num_processes > 1:
        raise ValueError(f'method is {config.method}, which runs in one process and was started '
                         f'in {accelerator.num_processes}: start it without torchrun')
    for name, value, expected in (('precision', config.precision, ('no', 'bf16')),
                                  ('compile', config.compile, (False,))):
        if value not in expected:
            raise ValueError(f'{name} is {value}, expected '
                             f'{" or ".join(map(str, expected))} for method {config.method}')
