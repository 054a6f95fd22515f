"""
What a training is told: each number's meaning, default and bounds, and the YAML that sets them.

A configuration says everything that decides the curve; where the data are, and how far it is
shown, are options of the command. Knows no network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from chunked_vla_ros.core.policy import REPLAN_PERIOD_S
from chunked_vla_ros.core.settings import parameter
from chunked_vla_ros.training.augmentation_config import AugmentationConfig
from chunked_vla_ros.training.config_files import find_config
from chunked_vla_ros.training.config_reading import (
    check,
    ConfigError,
    fill,
    over,
    override,
    parse_mapping,
)
from chunked_vla_ros.training.imitation_config import ImitationConfig
from chunked_vla_ros.training.rl_config import (
    ADVANTAGE,
    CACHED,
    CLIMBING,
    CO_RFT,
    CONTROLS,
    critic_horizon,
    DETERMINISTIC,
    FEATURES,
    FLOW,
    IMITATION,
    LIVE,
    METHODS,
    ONE_ANSWER,
    QC,
    RlConfig,
)
from chunked_vla_ros.training.vla_config import VlaConfig

__all__ = ['ConfigError', 'TrainConfig', 'config_from', 'differences', 'read_config']

BF16, FP16 = 'bf16', 'fp16'
# How often one looks changes nothing of what is learnt: a resumed training may look otherwise.
FREE = frozenset({
    'replan_period_s', 'validate_every', 'checkpoint_every', 'log_every', 'keep'})
# What offline RL takes over from the imitation checkpoint that it begins at.
TAKEN_OVER = ('robot', 'cameras', 'horizon', 'step_s', 'replan_period_s', 'token_length', 'policy',
              'imitation', 'augmentation')


@dataclass(frozen=True)
class TrainConfig:
    """One training; docs/training.md explains each key."""

    robot: str = parameter('', 'robot contract: a name such as ur5e_sim, or a file')
    cameras: tuple[str, ...] = parameter(
        (), 'cameras of the contract that the policy sees; none named: all that the data have')
    horizon: int = parameter(16, 'points in a chunk', minimum=2, maximum=200)
    step_s: float = parameter(
        0.05, 'from one point of a chunk to the next, in [s]: a multiple of the spacing of the '
        "dataset's rows", minimum=0.001, maximum=1.0)
    replan_period_s: float = parameter(
        REPLAN_PERIOD_S, 'time after which the robot asks the trained policy again, in [s]; leave '
        'the chunk time for the answer', minimum=0.02, maximum=10.0)
    token_length: int = parameter(
        16, 'words of an instruction that the policy reads', minimum=1, maximum=4096)
    policy: VlaConfig = field(default_factory=VlaConfig)
    imitation: ImitationConfig = field(default_factory=ImitationConfig)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    method: str = parameter(
        IMITATION, 'how it learns: by imitation, or by offline RL from an imitation checkpoint',
        choices=METHODS)
    rl: RlConfig = field(default_factory=RlConfig)

    steps: int = parameter(20_000, 'updates of the weights', minimum=1, maximum=100_000_000)
    batch_size: int = parameter(
        64, 'windows in an update, over all processes together', minimum=1, maximum=65_536)
    learning_rate: float = parameter(3e-4, 'at its highest', minimum=0.0, maximum=1.0)
    warm_up_steps: int = parameter(
        500, 'steps in which the learning rate rises from 0; a tenth of `steps` where it would '
        'take all of them', minimum=0, maximum=1_000_000)
    weight_decay: float = parameter(
        0.01, 'of AdamW, for matrices only', minimum=0.0, maximum=1.0)
    clip_norm: float = parameter(
        1.0, 'longest gradient; a longer one is shortened to it', minimum=1e-6, maximum=1e6)
    ema_decay: float = parameter(
        0.999, 'share of the running mean of the weights that is kept at a step; the mean is '
        'what is exported', minimum=0.0, maximum=0.999999)
    seed: int = parameter(0, 'of everything drawn', minimum=0, maximum=2**31 - 1)
    precision: str = parameter(
        'no', 'mixed precision of the network: a GPU is faster with bf16',
        choices=('no', BF16, FP16))
    compile: bool = parameter(False, 'the network by torch.compile: slow to begin, then faster')

    validation_episodes: int = parameter(
        4, 'episodes held out by the seed; never more than half of them', minimum=0,
        maximum=100_000)
    held_out: tuple[int | str, ...] = parameter(
        (), 'episodes held out by name, DATASET#NUMBER or NUMBER, in place of drawn ones')
    validate_every: int = parameter(1000, 'steps', minimum=1, maximum=100_000_000)
    checkpoint_every: int = parameter(1000, 'steps', minimum=1, maximum=100_000_000)
    log_every: int = parameter(10, 'steps from one point of the curves to the next', minimum=1,
                               maximum=1_000_000)
    keep: int = parameter(
        2, 'newest checkpoints that are kept, and the best one besides', minimum=1, maximum=1000)

    def __post_init__(self) -> None:
        """
        Refuse what does not fit together.

        :raises ValueError: one line.
        """
        if not self.robot:
            raise ValueError('robot is missing: name a robot contract, such as ur5e_sim')
        if self.policy.width % self.policy.heads:
            raise ValueError(f'policy.width is {self.policy.width}, expected a multiple of '
                             f'policy.heads, {self.policy.heads}')
        if self.imitation.max_delay_steps >= self.horizon:
            raise ValueError(
                f'imitation.max_delay_steps is {self.imitation.max_delay_steps}, expected less '
                f'than horizon, {self.horizon}')
        if self.method != IMITATION:
            self._check_rl()

    @property
    def critic_horizon(self) -> int:
        """Return how many points of a chunk the critic of offline RL judges."""
        return critic_horizon(self.rl.horizon, self.horizon, self.replan_period_s, self.step_s)

    @property
    def critic_steps(self) -> int:
        """Return in how many of the first steps the critic alone learns."""
        if self.method == ADVANTAGE and self.rl.selection in CONTROLS:
            return 0
        return self.steps if self.method == QC else self.rl.critic_steps

    @property
    def policy_every(self) -> int:
        """Return how many steps of offline RL there are to an update of the policy."""
        return self.rl.actor_every if self.method in CLIMBING else 1

    def policy_updates(self, steps: int) -> int:
        """Return how many updates of the policy offline RL makes in the first ``steps``."""
        return max(0, steps - self.critic_steps) // self.policy_every

    def _check_rl(self) -> None:
        if self.critic_horizon > self.horizon:
            raise ValueError(f'rl.horizon is {self.rl.horizon}, expected no more than the '
                             f"chunk's points, horizon, {self.horizon}")
        taken = {ADVANTAGE: (CACHED, LIVE), CO_RFT: FEATURES}.get(self.method, (CACHED,))
        if self.rl.features not in taken:
            raise ValueError(f'rl.features is {self.rl.features}, expected {" or ".join(taken)} '
                             f'for method {self.method}')
        if self.rl.head != FLOW:
            self._check_head()
        width, heads = self.rl.critic_width, self.rl.critic_heads
        if self.method == CO_RFT and width % heads:
            raise ValueError(f'rl.critic_width is {width}, expected a multiple of '
                             f'rl.critic_heads, {heads}')
        if self.method != QC and self.critic_steps >= self.steps:
            raise ValueError(
                f'rl.critic_steps is {self.critic_steps}, expected less than steps, '
                f"{self.steps}: the others are the policy's")

    def _check_head(self) -> None:
        if self.method != CO_RFT:
            raise ValueError(f'rl.head is {self.rl.head}, which method {CO_RFT} takes: expected '
                             f'{FLOW} for {self.method}')
        for key, value in ONE_ANSWER.items():
            found = getattr(self.policy, key)
            if found != value:
                raise ValueError(f'policy.{key} is {found:g}, expected {value:g} for rl.head '
                                 f'{self.rl.head}')

    def to_dict(self) -> dict[str, Any]:
        """Return every key with its value, for JSON; `config_from` takes it."""
        return asdict(self)


def read_config(name: str | Path, overrides: Sequence[str] = (),
                start: TrainConfig | None = None) -> TrainConfig:
    """
    Return the configuration of a YAML file, or of one that comes with the package by its name.

    :param overrides: ``key=value`` each, such as ``policy.width=96``.
    :param start: Of the checkpoint that offline RL begins at: what the file leaves out of robot,
        network and chunk is as there.
    :raises ConfigError: one line: file, key, what was found and what was expected.
    """
    path = find_config(str(name))
    try:
        text = path.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'not UTF-8'
        raise ConfigError(f'{path}: cannot be read ({reason})') from error
    content = parse_mapping(text, str(path))
    # The file by itself first: a mistake is said of where it was made.
    check(TrainConfig, content, str(path))
    wanted = override(_with_head(content, overrides), overrides)
    file = f'--set {" ".join(overrides)}' if overrides else str(path)
    method = wanted.get('method', IMITATION)
    if start is None and method in METHODS[1:] and 'robot' not in wanted:
        raise ConfigError(f'{file}: method is {method}, which begins at an imitation checkpoint: '
                          'name it with --from')
    if start is not None and method in METHODS[1:]:
        before = start.to_dict()
        wanted = over(wanted, {key: before[key] for key in TAKEN_OVER})
    return fill(TrainConfig, wanted, file)


def _with_head(content: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Return ``content``; where a deterministic head is wanted, with what that means."""
    rl = override(content, overrides).get('rl')
    if not isinstance(rl, dict) or rl.get('head') != DETERMINISTIC:
        return content
    return over({'policy': ONE_ANSWER}, content)


def config_from(said: Mapping[str, Any], file: str) -> TrainConfig:
    """
    Return the configuration that `TrainConfig.to_dict` described; ``file`` names it in errors.

    :raises ConfigError: it describes none.
    """
    return fill(TrainConfig, dict(said), file)


def differences(then: TrainConfig, now: TrainConfig) -> tuple[str, ...]:
    """Return what makes the curve another one, such as ``'batch_size was 64, is 32'``."""
    found = _differing(then, now, '')
    if not found and then.method != IMITATION and then.critic_horizon != now.critic_horizon:
        # The replan period is free to change, but for what it says of the critic.
        found.append(f'points that the critic judges were {then.critic_horizon}, are '
                     f'{now.critic_horizon} by replan_period_s')
    return tuple(found)


def _differing(then: Any, now: Any, path: str) -> list[str]:
    found = []
    for spec in fields(then):
        before, after = getattr(then, spec.name), getattr(now, spec.name)
        if is_dataclass(before):
            found += _differing(before, after, f'{spec.name}.')
        elif before != after and (path or spec.name not in FREE):
            found.append(f'{path}{spec.name} was {_written(before)}, is {_written(after)}')
    return found


def _written(value: Any) -> str:
    return ' '.join(map(str, value)) or 'none' if isinstance(value, tuple) else f'{value}'
