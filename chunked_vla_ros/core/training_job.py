"""
One job of the offline trainer: what is asked for, how far it is, how it ended.

A child process does the work and says how far it is in JSON lines; here they are read strictly.
Knows no process, no file and no ROS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
import json
import math
import re
from typing import Any

OPTION = re.compile(r'[a-z][a-z0-9_]*')
# What a goal says in a field of its own.
TAKEN = frozenset({'robot', 'out', 'append', 'progress', 'help', 'bags'})
LONGEST_LINE = 65_536


class Stage(IntEnum):
    """Part of the way from bags to a policy; the values are those of TrainPolicy.action."""

    CONVERT = 0


class Termination(IntEnum):
    """How a job ended; the values are those of TrainPolicy.action."""

    DONE = 0
    CANCELED = 1
    FAILED = 2
    DEACTIVATED = 3


class JobRefused(ValueError):
    """A job cannot begin; the message is one line with the remedy."""


@dataclass(frozen=True)
class JobRequest:
    """
    What is asked for; the same again after an interruption goes on where that one stopped.

    :ivar bags: Bags, or folders of recorded episodes.
    :ivar dataset: Folder of the dataset to make.
    :ivar robot: Robot contract, a name or a path.
    :ivar append: Add to the dataset that is there.
    :ivar options: ``name=value``, further options of the conversion.
    """

    bags: tuple[str, ...]
    dataset: str
    robot: str
    append: bool = False
    options: tuple[str, ...] = ()

    def arguments(self) -> list[str]:
        """
        Return the command line of the conversion, after ``chunked-vla``.

        :raises JobRefused: something is missing, or an option is none.
        """
        if not any(self.bags):
            raise JobRefused('bags is empty: name bags or folders of recorded episodes')
        if not self.dataset:
            raise JobRefused('dataset is empty: name the folder of the dataset to make')
        if not self.robot:
            raise JobRefused('robot is empty: name a robot contract')
        # Nothing that a client writes may be taken for an option.
        dashed = [text for text in (*self.bags, self.dataset, self.robot) if text.startswith('-')]
        if dashed:
            raise JobRefused(f'{dashed[0]}: begins with "-"; name it by its absolute path')
        arguments = ['convert', *filter(None, self.bags), '--robot', self.robot,
                     '--out', self.dataset, '--progress', 'json']
        for text in filter(None, self.options):
            name, separator, value = text.partition('=')
            if not separator or not OPTION.fullmatch(name) or name in TAKEN:
                raise JobRefused(
                    f'option {text!r}, expected name=value as in `chunked-vla convert --help`')
            arguments.append(f'--{name.replace("_", "-")}={value}')
        return [*arguments, *(['--append'] if self.append else [])]


@dataclass(frozen=True)
class Progress:
    """
    How far a stage is.

    :ivar step: Bags finished.
    :ivar steps: Bags in all.
    :ivar eta_s: Until the stage is done in [s], -1 while unknown.
    :ivar metrics: Numbers by name, such as ``rows``.
    :ivar message: What has just been finished.
    """

    stage: Stage
    step: int
    steps: int
    eta_s: float = -1.0
    metrics: dict[str, float] = field(default_factory=dict)
    message: str = ''


@dataclass(frozen=True)
class JobEnd:
    """
    How a job ended.

    :ivar dataset: Where the dataset is, '' unless it is whole.
    :ivar episodes: Made by this job.
    :ivar rows: Made by this job.
    :ivar refused: One line for each bag that could not be converted.
    :ivar message: One line.
    """

    termination: Termination
    dataset: str = ''
    episodes: int = 0
    rows: int = 0
    refused: tuple[str, ...] = ()
    message: str = ''


def parse_line(line: str) -> Progress | JobEnd | None:
    """Return what a line of the child process says; ``None`` for one that is not ours."""
    if len(line) > LONGEST_LINE or not line.startswith('{'):
        return None
    try:
        said = json.loads(line)
        if said['event'] == 'progress':
            return Progress(
                Stage.CONVERT, _count(said['step']), _count(said['steps']),
                _number(said['eta_s']),
                {str(name): _number(value) for name, value in said['metrics'].items()},
                str(said['message']))
        if said['event'] == 'end':
            return JobEnd(
                Termination.DONE, str(said['dataset']), _count(said['episodes']),
                _count(said['rows']), tuple(map(str, said['refused'])), str(said['message']))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**32:
        raise ValueError(value)
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not math.isfinite(value):
        raise ValueError(value)
    return float(value)


def ending(said: JobEnd | None, exit_code: int, stopped: Termination | None,
           last_line: str) -> JobEnd:
    """
    Return how a job ended whose process has ended.

    :param said: Its own last word, ``None`` if there was none.
    :param stopped: Why it was stopped from outside, ``None`` if it was not.
    :param last_line: The last line of its log.
    """
    # A process that was done before the signal reached it has done its work.
    if said is not None and exit_code == 0:
        return said
    rest = (said.episodes, said.rows, said.refused) if said is not None else (0, 0, ())
    if stopped is not None:
        return JobEnd(stopped, '', *rest,
                      'stopped; what is done is kept, the same goal again goes on from here')
    reason = last_line.removeprefix('error: ') or f'the conversion ended with code {exit_code}'
    dataset = said.dataset if said is not None else ''
    return JobEnd(Termination.FAILED, dataset, *rest, reason)
