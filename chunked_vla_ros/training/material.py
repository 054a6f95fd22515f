"""
What a training learns from: rows split by episode, their windows, statistics and tokens.

Made of the configuration, the robot contract and the rows alone, so that two trainings of the
same are the same. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
import hashlib
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chunked_vla_ros.core.normalisation import fit_normalisation
from chunked_vla_ros.core.robot_spec import RobotSpec
from chunked_vla_ros.core.training_windows import Windows
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.core.waypoints import Headings, just_begun, waypoint_rows
from chunked_vla_ros.data.training_rows import TrainingRows
from chunked_vla_ros.training.checkpoint import Origin
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.held_out import Split, split_episodes
from chunked_vla_ros.training.policy_shape import PolicyShape
from chunked_vla_ros.training.rl_material import (
    make_rl_material,
    RlMaterial,
    RlStart,
    weights_hash,
)
from chunked_vla_ros.training.tokenizer import (
    encode_instructions,
    TOKENIZER_FILE,
    tokenizer_spec,
    vocabulary_size,
    word_tokenizer,
)
from chunked_vla_ros.training.vla_config import TRANSFORMERS

# So long a motion gives away little of where it is heading: it has only begun.
BEGINNING_S = 0.4


@dataclass(frozen=True)
class Material:
    """
    All that a training is made of.

    :ivar training: Windows of the episodes that are learnt from, as often as they are shown.
    :ivar validation: Windows of those held out; it may have none.
    :ivar tokens: (I, L) int64 of each of the rows' instructions; ``masks`` as well.
    :ivar headings: Of each of R rows.
    :ivar rl: What offline RL learns from besides; ``None`` for imitation.
    """

    rows: TrainingRows
    split: Split
    training: Windows
    validation: Windows
    tokens: NDArray[np.int64]
    masks: NDArray[np.int64]
    headings: Headings
    origin: Origin
    rl: RlMaterial | None = None


def make_material(config: TrainConfig, robot: RobotSpec, rows: TrainingRows,
                  start: RlStart | None = None) -> Material:
    """
    Return what the configured training learns from.

    :param start: Where offline RL begins: statistics and vocabulary are those of its policy.
    :raises ValueError: one line: rows, contract and configuration do not fit together.
    """
    kinds = dict(zip(robot.joint_names, robot.dim_kinds, strict=True))
    kinds_here = tuple(kinds[name] for name in rows.joint_names)
    _refuse_turning(robot, rows.joint_names, kinds_here)
    split = split_episodes(rows.episode_ids, config.validation_episodes, config.held_out,
                           config.seed)
    training, validation = (
        rows.windows(config.horizon, config.step_s, np.array(part, np.int64))
        for part in (split.training, split.validation))
    rl = None if start is None else make_rl_material(start, config, split.training)
    origin = (_fresh_origin(config, rows, kinds_here, split, training) if rl is None
              else _origin_at(rl, config, rows, split))
    tokens, masks = encode_instructions(
        origin.tokenizer, origin.tokenizer_spec, rows.instructions)
    waypoints = waypoint_rows(
        rows.action, rows.episode_starts, rows.episode_lengths, kinds_here)
    beginning = max(1, round(BEGINNING_S / config.step_s)) * training.stride
    fresh = just_begun(waypoints, rows.episode_starts, beginning)
    shown = training.repeated(
        np.where(fresh[training.rows], config.imitation.emphasis, 1))
    return Material(
        rows, split, shown, validation, tokens, masks, Headings(waypoints, fresh), origin, rl)


def _fresh_origin(config: TrainConfig, rows: TrainingRows, kinds: tuple[DimKind, ...],
                  split: Split, training: Windows) -> Origin:
    # A word that only held-out episodes have would get a number that nothing was learnt of.
    learnt = np.unique(rows.instruction_of[list(split.training)])
    tokenizer = _tokenizer(config, [rows.instructions[index] for index in learnt])
    shape = PolicyShape(
        rows.joint_names, kinds, rows.cameras, config.horizon, config.step_s,
        config.token_length, vocabulary_size(tokenizer))
    return Origin(
        config, shape, fit_normalisation(rows.state, rows.action, training, kinds), tokenizer,
        tokenizer_spec(tokenizer, config.token_length), fingerprint(rows),
        _provenance(config, rows, split))


def _origin_at(rl: RlMaterial, config: TrainConfig, rows: TrainingRows, split: Split) -> Origin:
    policy, of = rl.start.policy, rl.start.rewarded.trajectories
    rewards = hashlib.sha256(b''.join(np.ascontiguousarray(array).tobytes() for array in (
        of.rewards, of.terminated, of.starts, of.lengths))).hexdigest()
    return Origin(
        config, policy.shape, policy.normalisation, policy.tokenizer, policy.tokenizer_spec,
        f'{fingerprint(rows)} {rewards}', {
            **_provenance(config, rows, split), 'stage': 'offline_rl', 'method': config.method,
            'support': rl.support.line,
            'from': f'{policy.step} steps of imitation, weights {weights_hash(policy)}'})


def fingerprint(rows: TrainingRows) -> str:
    """Return a hash of what is learnt from, but for the pictures: they are too many."""
    digest = hashlib.sha256(json.dumps([
        rows.joint_names, [(one.name, one.frame_shape) for one in rows.cameras],
        list(map(str, rows.instructions)), float(rows.fps)]).encode())
    for array in (rows.state, rows.action, rows.episode_starts, rows.episode_lengths,
                  rows.instruction_of, rows.present):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def split_names(material: Material) -> dict[str, list[str]]:
    """Return the names of the episodes on either side, for JSON."""
    ids = material.rows.episode_ids
    return {'training': [ids[index] for index in material.split.training],
            'validation': [ids[index] for index in material.split.validation]}


def _refuse_turning(robot: RobotSpec, names: Sequence[str], kinds: Sequence[DimKind]) -> None:
    """
    Refuse joints whose positions jump by a turn: their mean and spread say nothing.

    :raises ValueError: one line that names them.
    """
    turning = [name for name, kind in zip(names, kinds, strict=True) if kind is DimKind.WRAPPED]
    if turning:
        raise ValueError(
            f'{robot.name}: joint {", ".join(turning)} is wrapped, and a policy cannot be trained '
            'on angles that jump by a turn: record it as continuous, without the jumps, and say '
            'so in the contract')


def _tokenizer(config: TrainConfig, instructions: Sequence[str]) -> bytes:
    """Return the tokenizer of the vision-language model, or one of the demonstrations' words."""
    if config.policy.backbone != TRANSFORMERS:
        return word_tokenizer(instructions, config.token_length)
    path = Path(config.policy.model_path, TOKENIZER_FILE)
    try:
        return path.read_bytes()
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error.strerror}); set policy.model_path to '
                         'the folder of a vision-language model') from error


def _provenance(config: TrainConfig, rows: TrainingRows, split: Split) -> dict[str, str]:
    held = [rows.episode_ids[index] for index in split.validation]
    sets = sorted({name.rpartition('#')[0] for name in rows.episode_ids})
    return {
        'stage': 'imitation', 'robot': config.robot, 'datasets': ' '.join(sets),
        'episodes': str(len(rows.episode_ids)), 'rows': str(len(rows.state)),
        'held_out': ' '.join(held) or 'none', 'backbone': config.policy.backbone,
        'steps': str(config.steps), 'batch_size': str(config.batch_size),
        'seed': str(config.seed)}
