"""
The critic in a checkpoint of offline RL, as a judge of the policy's chunks.

Only what is needed to choose among chunks; how a critic learns is told elsewhere.
"""

from __future__ import annotations

from typing import Any

from chunked_vla_ros.training.best_of_n import BestOfN, ChunkJudge, PrefixJudge
from chunked_vla_ros.training.checkpoint import CRITIC, read_origin, TrainedPolicy
from chunked_vla_ros.training.checkpoint_files import CheckpointError, read_tensors, REMEDY
from chunked_vla_ros.training.chunk_losses import ValueKind
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.prefix_critic import PrefixCritic
from chunked_vla_ros.training.q_networks import ChunkCritic
from chunked_vla_ros.training.rl_config import (
    ADVANTAGE,
    CANDIDATE_NOISE,
    CO_RFT,
    CONTROLS,
    DETERMINISTIC,
    IMITATION,
    LIVE,
    QC,
)
from chunked_vla_ros.training.vla import Vla


def with_judge(policy: TrainedPolicy, candidates: int,
               noise: float = CANDIDATE_NOISE) -> tuple[Vla | BestOfN, int]:
    """
    Return what is to act, and how many chunks N it makes for that.

    :param candidates: N; 0: as many as the training says where choosing is its method, else 1.
    :param noise: Share of it that all chunks but the first start from, at least the policy's own.
    :raises CheckpointError: one line: there is no critic to choose by.
    """
    config = policy.config
    count = candidates or (config.rl.candidates if config.method == QC else 1)
    if count == 1:
        return policy.vla, 1
    return BestOfN(policy.vla, read_judge(policy), max(noise, config.policy.noise_scale)), count


def read_judge(policy: TrainedPolicy) -> ChunkJudge | PrefixJudge:
    """
    Return the judge in the checkpoint of ``policy``.

    :raises CheckpointError: one line: there is no critic that sees what the policy sees, or it
        is not whole.
    """
    config, folder = policy.config, policy.folder
    if config.method == IMITATION:
        raise CheckpointError(
            f'{folder}: is of imitation and has no critic to choose among chunks: train it '
            'further by offline RL, or export it with --candidates 1')
    if config.method == CO_RFT and config.rl.head == DETERMINISTIC:
        raise CheckpointError(
            f'{folder}: its policy has one answer to a question (rl.head), so that there is '
            'nothing to choose among: export it with --candidates 1')
    if config.method == ADVANTAGE and config.rl.selection in CONTROLS:
        raise CheckpointError(
            f'{folder}: learnt from {config.rl.selection} of the demonstrations without a critic '
            '(rl.selection), so that none can choose among chunks: export it with --candidates 1')
    if config.rl.features == LIVE:
        raise CheckpointError(
            f'{folder}: its critic sees features of the policy that the training began at, which '
            'is another by now (rl.features): it cannot judge the chunks of this one; export it '
            'with --candidates 1')
    weights = read_tensors(folder / f'{CRITIC}.safetensors')
    own = {name.split('critic.', 1)[1]: tensor for name, tensor in weights.items()
           if name.startswith(('critic.', 'sarsa.critic.'))}
    _, said = read_origin(folder)
    try:
        judge = _judge(config, policy.shape, said['rl'])
        judge.critic.load_state_dict(own)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(
            f'{folder}: has no critic that fits it ({" ".join(str(error).split())[:200]}), '
            f'{REMEDY}') from error
    judge.eval().requires_grad_(False)
    return judge


def _judge(config: TrainConfig, shape: PolicyShape, facts: Any) -> ChunkJudge | PrefixJudge:
    """Return one with the sizes that a checkpoint says in ``facts``, and fresh weights."""
    rl, joints = config.rl, len(shape.joint_names)
    seen, points, kind = int(facts['observation']), int(facts['points']), ValueKind(
        facts['values'])
    if config.method == CO_RFT:
        return PrefixJudge(PrefixCritic(
            seen, joints, points, rl.critic_members, rl.critic_width, rl.critic_layers,
            rl.critic_heads), kind)
    return ChunkJudge(ChunkCritic(
        seen, points, joints, rl.critic_members, (rl.critic_width,) * rl.critic_layers),
        points, kind)
