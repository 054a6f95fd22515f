"""
One job of the offline trainer: what is asked for, and the command lines that do it.

Bags become a dataset, datasets a policy bundle. Knows no process, no file and no ROS.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
import re
from typing import Any, TypeGuard

OPTION = re.compile(r'[a-z][a-z0-9_]*')
SETTING = re.compile(r'[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*')
# What a goal says in a field of its own.
TAKEN = frozenset({'robot', 'out', 'append', 'progress', 'help', 'bags'})


class Stage(IntEnum):
    """Part of the way from bags to a policy; the values are those of TrainPolicy.action."""

    CONVERT = 0
    IMITATION = 1
    OFFLINE_RL = 2

    @property
    def noun(self) -> str:
        """Return what people call it."""
        return 'conversion' if self is Stage.CONVERT else 'training'


class Termination(IntEnum):
    """How a job ended; the values are those of TrainPolicy.action."""

    DONE = 0
    CANCELED = 1
    FAILED = 2
    DEACTIVATED = 3


class JobRefused(ValueError):
    """A job cannot begin; the message is one line with the remedy."""


@dataclass(frozen=True)
class Command:
    """One child process of a job: its part of the way, and its words after ``chunked-vla``."""

    stage: Stage
    arguments: tuple[str, ...]


@dataclass(frozen=True)
class JobRequest:
    """
    What is asked for; the same again after an interruption goes on where that one stopped.

    :ivar bags: Bags, or folders of recorded episodes.
    :ivar dataset: Folder of the dataset to make; without bags, of one to learn from.
    :ivar robot: Robot contract, a name or a path; '' leaves it to the training's configuration,
        and is not enough for a conversion.
    :ivar append: Add to the dataset that is there.
    :ivar options: ``name=value``, further options of the conversion.
    :ivar stage: The last one.
    :ivar config: Training configuration, a name or a path.
    :ivar start_from: Checkpoint, or training, of imitation that offline RL begins at.
    :ivar datasets: To learn from beside ``dataset``.
    :ivar out: Folder of the training.
    :ivar bundle: Folder of the policy bundle, '' for ``bundle`` in ``out``.
    :ivar train_options: ``key=value``, over the configuration.
    """

    bags: tuple[str, ...]
    dataset: str
    robot: str
    append: bool = False
    options: tuple[str, ...] = ()
    stage: Stage = Stage.CONVERT
    config: str = ''
    start_from: str = ''
    datasets: tuple[str, ...] = ()
    out: str = ''
    bundle: str = ''
    train_options: tuple[str, ...] = ()

    def commands(self) -> tuple[Command, ...]:
        """
        Return the command lines, to be run one after the other.

        :raises JobRefused: something is missing, or an option is none.
        """
        # Nothing that a client writes may be taken for an option.
        dashed = [text for text in (
            *self.bags, self.dataset, self.robot, self.config, self.start_from, *self.datasets,
            self.out, self.bundle) if text.startswith('-')]
        if dashed:
            raise JobRefused(f'{dashed[0]}: begins with "-"; name it by its absolute path')
        if self.stage is Stage.CONVERT:
            surplus = [name for name in (
                'start_from', 'datasets', 'out', 'bundle', 'train_options')
                if any(getattr(self, name))]
            if surplus:
                raise JobRefused(f'{surplus[0]} is of stage {int(Stage.IMITATION)} or '
                                 f'{int(Stage.OFFLINE_RL)}, which train; stage '
                                 f'{int(self.stage)} converts')
            return (self._convert(),)
        train = self._train()
        return (self._convert(), train) if any(self.bags) else (train,)

    def _convert(self) -> Command:
        if not any(self.bags):
            raise JobRefused('bags is empty: name bags or folders of recorded episodes')
        if not self.dataset:
            raise JobRefused('dataset is empty: name the folder of the dataset to make')
        if not self.robot:
            raise JobRefused('robot is empty: name a robot contract')
        options = []
        for text in filter(None, self.options):
            name, separator, value = text.partition('=')
            if not separator or not OPTION.fullmatch(name) or name in TAKEN:
                raise JobRefused(
                    f'option {text!r}, expected name=value as in `chunked-vla convert --help`')
            options.append(f'--{name.replace("_", "-")}={value}')
        return Command(Stage.CONVERT, (
            'convert', *filter(None, self.bags), '--robot', self.robot, '--out', self.dataset,
            '--progress', 'json', *options, *(['--append'] if self.append else [])))

    def _train(self) -> Command:
        datasets = tuple(filter(None, (self.dataset, *self.datasets)))
        if not datasets:
            raise JobRefused('datasets is empty: name datasets, or bags that become one')
        if not self.config:
            raise JobRefused('config is empty: name a training configuration, for example compact')
        if (self.stage is Stage.OFFLINE_RL) is not bool(self.start_from):
            raise JobRefused(
                'start_from is empty: name the imitation checkpoint that offline RL begins at'
                if not self.start_from else
                f'start_from is of stage {int(Stage.OFFLINE_RL)}; stage {int(self.stage)} begins '
                'at nothing')
        if not self.out:
            raise JobRefused('out is empty: name the folder of the training')
        if self.out in (*datasets, self.bundle, self.start_from):
            raise JobRefused(f'out is {self.out!r}, as another folder: name one for the training')
        settings = [f'robot={self.robot}'] if self.robot else []
        for text in filter(None, self.train_options):
            name, separator, _ = text.partition('=')
            if not separator or not SETTING.fullmatch(name) or name == 'robot':
                raise JobRefused(f'train option {text!r}, expected key=value of the training '
                                 'configuration, for example steps=2000')
            settings.append(text)
        return Command(self.stage, (
            'train', self.config, '--data', *datasets,
            *(['--from', self.start_from] if self.start_from else []), '--out', self.out,
            '--bundle', self.bundle or f'{self.out.rstrip("/")}/bundle', '--resume',
            '--progress', 'json', *(['--set', *settings] if settings else [])))


@dataclass(frozen=True)
class Converted:
    """
    What a job notes in its training's folder of the conversion that comes before it.

    Noted when it begins, so that the same job knows the dataset for its own after any kill.

    :ivar arguments: Of the conversion.
    :ivar episodes: Made by it; 0 while it is under way.
    :ivar bags: That it was made of, by their absolute paths.
    """

    arguments: tuple[str, ...]
    episodes: int = 0
    rows: int = 0
    refused: tuple[str, ...] = ()
    bags: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {'arguments': [*self.arguments], 'episodes': self.episodes, 'rows': self.rows,
                'refused': [*self.refused], 'bags': [*self.bags]}

    @classmethod
    def from_dict(cls, content: Any) -> Converted | None:
        """Return it from plain values; ``None`` where they are something else."""
        if not isinstance(content, Mapping):
            return None
        episodes, rows = content.get('episodes'), content.get('rows')
        arguments, refused, bags = (
            content.get(name) for name in ('arguments', 'refused', 'bags'))
        if not (_texts(arguments) and _texts(refused) and _texts(bags)
                and _is_count(episodes) and _is_count(rows)):
            return None
        return cls(tuple(arguments), episodes, rows, tuple(refused), tuple(bags))


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 2**63


def _texts(values: Any) -> TypeGuard[Iterable[str]]:
    return isinstance(values, Iterable) and not isinstance(values, (str, Mapping)) and all(
        isinstance(value, str) for value in values)
