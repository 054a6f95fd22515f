"""
What a child process of the offline trainer says: how far it is, and how it ended.

It speaks in JSON lines; here they are read strictly. Knows no process, no file and no ROS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
import json
import math
import signal
from typing import Any

from chunked_vla_ros.core.training_job import Converted, Stage, Termination

LONGEST_LINE = 65_536
CONVERTED_BEFORE = 'the bags were converted before'
# A conversion has no stage of its own to tell.
STAGES = {'': Stage.CONVERT, 'imitation': Stage.IMITATION, 'offline_rl': Stage.OFFLINE_RL}


@dataclass(frozen=True)
class Progress:
    """
    How far a stage is.

    :ivar step: Bags finished, or steps of the optimizer.
    :ivar steps: In all.
    :ivar eta_s: Until the stage is done in [s], -1 while unknown.
    :ivar metrics: Numbers by name, such as ``rows`` or ``loss``.
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
    :ivar bundle: Where the bundle is, '' unless it is whole.
    :ivar checkpoint: The newest whole one, '' where there is none.
    :ivar step: That it was written at.
    """

    termination: Termination
    dataset: str = ''
    episodes: int = 0
    rows: int = 0
    refused: tuple[str, ...] = ()
    message: str = ''
    bundle: str = ''
    checkpoint: str = ''
    step: int = 0

    def after(self, former: JobEnd) -> JobEnd:
        """Return how a job ended of which ``former`` is the end of the conversion before."""
        before = [CONVERTED_BEFORE] if former.message == CONVERTED_BEFORE else []
        return replace(self, dataset=former.dataset, episodes=former.episodes, rows=former.rows,
                       refused=former.refused, message=_one_line(self.message, *before))


def converted_before(noted: Converted, dataset: str) -> JobEnd:
    """Return the end of a conversion that an earlier job has done."""
    return JobEnd(Termination.DONE, dataset, noted.episodes, noted.rows, noted.refused,
                  CONVERTED_BEFORE)


def other_bags(noted: Converted, bags: Sequence[str], dataset: str) -> str:
    """Return why a dataset is not that of ``bags`` any more, '' where it is; one line."""
    changes = [f'{len(names)} {what}, {sorted(names)[0]}' for what, names in (
        ('new', set(bags) - set(noted.bags)), ('gone', set(noted.bags) - set(bags))) if names]
    return '' if not changes else (
        f'{dataset}: was converted before from other bags: {"; ".join(changes)}; name another '
        'dataset, add new bags with append, or name no bags to learn from it as it is')


def parse_line(line: str) -> Progress | JobEnd | None:
    """Return what a line of the child process says; ``None`` for one that is not ours."""
    if len(line) > LONGEST_LINE or not line.startswith('{'):
        return None
    try:
        said = json.loads(line)
        stage = STAGES[said.get('stage', '')]
        if said['event'] == 'progress':
            return Progress(
                stage, _count(said['step']), _count(said['steps']), _number(said['eta_s']),
                {str(name): _number(value) for name, value in said['metrics'].items()},
                str(said['message']))
        if said['event'] == 'end' and stage is Stage.CONVERT:
            return JobEnd(
                Termination.DONE, str(said['dataset']), _count(said['episodes']),
                _count(said['rows']), tuple(map(str, said['refused'])), str(said['message']))
        if said['event'] == 'end':
            return JobEnd(
                Termination.DONE, message=str(said['message']), bundle=str(said['bundle']),
                checkpoint=str(said['checkpoint']), step=_count(said['step']))
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


@dataclass(frozen=True)
class ProcessEnd:
    """
    How a child process ended, seen from outside.

    :ivar said: Its own last word, ``None`` if there was none.
    :ivar exit_code: Negative: the number of the signal that killed it.
    :ivar stopped: Why it was stopped from outside, ``None`` if it was not.
    :ivar last_line: The last line of its log.
    :ivar last_step: The last step that it told of.
    """

    said: JobEnd | None
    exit_code: int
    stopped: Termination | None = None
    last_line: str = ''
    last_step: int = 0


def ending(stage: Stage, end: ProcessEnd, checkpoint: tuple[str, int] = ('', 0)) -> JobEnd:
    """
    Return how a job's stage ended whose process has ended.

    :param checkpoint: The newest whole one, and its step.
    """
    said = end.said
    # A process that was done before the signal reached it has done its work.
    if said is not None and end.exit_code == 0:
        return said
    kept = replace(said or JobEnd(Termination.DONE), bundle='', checkpoint=checkpoint[0],
                   step=checkpoint[1])
    if end.stopped is not None:
        return replace(kept, termination=end.stopped, dataset='', message=_one_line(
            'stopped, and killed as it did not end' if end.exit_code == -signal.SIGKILL
            else 'stopped', _what_is_kept(stage, *checkpoint)))
    reason = end.last_line.removeprefix('error: ')
    if end.exit_code < 0:
        reason = _killed(stage, -end.exit_code, end.last_step)
    reason = reason or f'the {stage.noun} ended with code {end.exit_code}'
    # Of what it refused or broke down at, the same goal would be refused or break down again.
    if end.exit_code < 0:
        reason = _one_line(reason, _what_is_kept(stage, *checkpoint))
    return replace(kept, termination=Termination.FAILED, message=reason)


def _killed(stage: Stage, number: int, step: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f'signal {number}'
    after = f' after step {step}' if stage is not Stage.CONVERT else ''
    # The kernel says nothing to the process whose memory it needs.
    why = ', as the kernel does where memory runs out' if number == signal.SIGKILL else ''
    return f'the {stage.noun} was killed by {name}{after}{why}'


def _what_is_kept(stage: Stage, checkpoint: str, step: int) -> str:
    if stage is Stage.CONVERT:
        return 'what is done is kept, the same goal again goes on from here'
    if not checkpoint:
        return 'there is no checkpoint yet, the same goal again begins afresh'
    return f'the same goal again goes on from step {step}, {checkpoint}'


def _one_line(*parts: str) -> str:
    return ' '.join('; '.join(parts).split())
