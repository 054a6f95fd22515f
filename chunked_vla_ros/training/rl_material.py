"""
What offline RL learns from besides rows and windows: a policy to begin at, rewards, chunks.

A policy and data that do not belong together are refused here, before anything is computed. Knows
no critic.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
import hashlib
from pathlib import Path

import numpy as np
import torch

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.chunk_transitions import ChunkTransitions, EndRule
from chunked_vla_ros.core.rl_support import Support
from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.data.rewarded_rows import read_rewards, RewardedRows, RewardSource
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.training.checkpoint import TrainedPolicy
from chunked_vla_ros.training.config import differences, TrainConfig
from chunked_vla_ros.training.rl_config import IMITATION


@dataclass(frozen=True)
class RlStart:
    """
    Where offline RL begins.

    :ivar name: Of the checkpoint, as it was given.
    :ivar rewarded: The rows' rewards.
    """

    name: str
    policy: TrainedPolicy
    rewarded: RewardedRows


@dataclass(frozen=True)
class RlMaterial:
    """
    What offline RL learns from.

    :ivar chunks: Of the episodes that are learnt from, those that reach a success as often as
        they are shown; ``each`` has every chunk once, those at an end by the safe rule.
    :ivar support: Whether the data can support an improvement.
    """

    start: RlStart
    chunks: ChunkTransitions
    each: ChunkTransitions
    support: Support

    @property
    def rows(self) -> IntArray:
        """Return all rows at which a value may be asked for, ascending."""
        of = self.each.trajectories
        found: IntArray = np.concatenate([
            np.arange(start, start + length)
            for start, length in zip(of.starts, of.lengths, strict=True)])
        return found


def read_start(name: str, policy: TrainedPolicy, config: TrainConfig, rows: TrainingRows,
               datasets: tuple[Path, ...]) -> RlStart:
    """
    Return where offline RL on ``rows``, those of ``datasets``, begins.

    :param name: Of the policy's checkpoint.
    :raises ValueError: one line: policy, configuration and data do not fit together.
    """
    _check_policy(name, policy, config, rows)
    return RlStart(name, policy, read_rewards(
        rows, datasets, RewardSource(config.rl.reward), config.rl.failures_end))


def make_rl_material(start: RlStart, config: TrainConfig, episodes: tuple[int, ...]) -> RlMaterial:
    """
    Return what is learnt of the ``episodes``, by their numbers.

    :raises ValueError: one line: no chunk can be made of them.
    """
    rl, rewarded, chosen = config.rl, start.rewarded, np.array(episodes, np.int64)
    # What a chunk achieved is told right at an end too, whatever the critic is shown there.
    chunks, each = (
        rewarded.transitions(config.critic_horizon, config.step_s, rl.discount, rule, repeats,
                             chosen)
        for rule, repeats in ((EndRule(rl.end_rule), rl.success_repeats), (EndRule.SAFE, 1)))
    return RlMaterial(start, chunks, each,
                      rewarded.support(config.critic_horizon, config.step_s, chosen))


def check_support(support: Support, config: TrainConfig) -> None:
    """:raises ValueError: one line: the data cannot support an improvement."""
    if support.refused and not config.rl.accept_weak_data:
        raise ValueError(f'{support.line}; to train all the same set rl.accept_weak_data=true')


def held_out_before(policy: TrainedPolicy, config: TrainConfig,
                    rows: TrainingRows) -> TrainConfig:
    """Return ``config`` with those held out that the policy's training held out, if here."""
    if config.held_out:
        return config
    before = policy.provenance.get('held_out', '').split()
    there = tuple(name for name in before if name in rows.episode_ids)
    return replace(config, held_out=there) if there else config


def weights_hash(policy: TrainedPolicy) -> str:
    """Return a hash of the policy's weights, 16 digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(policy.vla.state_dict().items()):
        digest.update(name.encode())
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(content.numpy())
    return digest.hexdigest()[:16]


def _check_policy(name: str, policy: TrainedPolicy, config: TrainConfig,
                  rows: TrainingRows) -> None:
    """
    Refuse what does not belong together.

    :raises ValueError: one line that names both sides.
    """
    shape, before = policy.shape, policy.config
    if before.method != IMITATION:
        raise ValueError(f'{name}: is of method {before.method}, expected a checkpoint of a '
                         'training by imitation: offline RL begins there')
    for what, then, here in (
            ('joints', shape.joint_names, rows.joint_names),
            ('cameras', tuple(map(_shown, shape.cameras)), tuple(map(_shown, rows.cameras)))):
        if then != here:
            raise ValueError(
                f'{name}: its policy has {len(then)} {what} ({", ".join(then) or "none"}) and the '
                f'data {len(here)} ({", ".join(here) or "none"}), expected the same: name '
                'the data or the checkpoint that belong together')
    # How it acts may be another: in so many steps, from so much noise.
    acting = replace(before.policy, flow_steps=config.policy.flow_steps,
                     noise_scale=config.policy.noise_scale, pretrained=config.policy.pretrained)
    now = replace(config, rl=replace(config.rl, horizon=1))
    others = differences(replace(
        now, policy=acting, horizon=before.horizon, step_s=before.step_s,
        token_length=before.token_length), now)
    if others:
        raise ValueError(f'{name}: its policy is another: {", ".join(others)}; leave these keys '
                         "out: they are the checkpoint's")


def _shown(camera: BundleCamera) -> str:
    return f'{camera.name} {camera.width}x{camera.height}'
