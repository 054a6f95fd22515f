"""
The training itself: step after step, with looks at held-out episodes, checkpoints and curves.

Whatever ends it, the last good checkpoint is whole; gone on from there, the curve is the one that
it would have been. Knows no terminal.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
import json
import math
from pathlib import Path
import time
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
import yaml

from chunked_vla_ros.core.training_windows import IntArray
from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint
from chunked_vla_ros.data.durable_file import replace_file
from chunked_vla_ros.training.checkpoint import HISTORY, training_contents
from chunked_vla_ros.training.checkpoint_files import (
    CheckpointError,
    prune,
    read_bytes,
    REMEDY,
    write_contents,
)
from chunked_vla_ros.training.config import TrainConfig
from chunked_vla_ros.training.event_files import EventFiles
from chunked_vla_ros.training.folder_lock import hold_folder
from chunked_vla_ros.training.going_on import (
    checkpoint_to_go_on_from,
    TrainingError,
    way_out_named,
)
from chunked_vla_ros.training.learner import BrokenStepError, Learnt, make_accelerator
from chunked_vla_ros.training.learners import make_learner
from chunked_vla_ros.training.material import Material, split_names
from chunked_vla_ros.training.phase import Phase
from chunked_vla_ros.training.rl_config import CLIMBING, IMITATION
from chunked_vla_ros.training.standing import History, Row, Standing, Tell
from chunked_vla_ros.training.step_clock import StepClock
from chunked_vla_ros.training.train_report import write_report
from chunked_vla_ros.training.validation import Validation, Validator

__all__ = ['Outcome', 'TrainingError', 'run_training']


@dataclass(frozen=True)
class Outcome:
    """
    How a training ended.

    :ivar checkpoint: The newest one, ``None`` if it was stopped before there was any.
    :ivar stopped: It was asked to stop before its last step.
    """

    step: int
    checkpoint: Path | None
    stopped: bool


def run_training(material: Material, out: Path, resume: bool, tell: Tell,
                 stopped: Callable[[], bool] = lambda: False, workers: int = 1) -> Outcome:
    """
    Train until the last step, or until ``stopped`` says so; the same call in every process.

    :param resume: Go on from the newest checkpoint in ``out``; where there is none, begin.
    :param workers: Threads that read ahead.
    :raises TrainingError: one line: another training is in ``out``, or this one broke down.
    :raises CheckpointError: one line: the checkpoint to go on from cannot be used.
    :raises ValueError: one line: the network cannot be made.
    :raises OSError: ``out`` cannot be written.
    """
    accelerator = make_accelerator(material.origin.config)
    found = checkpoint_to_go_on_from(material.origin, out, resume)
    step = found[1]['step'] if found else 0
    if step >= material.origin.config.steps:
        return Outcome(step, found[0] if found else None, False)
    with ExitStack() as stack:
        training = _Training(material, out, accelerator, tell, stack)
        _take_folder(out, accelerator, found[0] if found else None, stack)
        if found is not None:
            with way_out_named(found[0]):
                training.restore(*found)
        outcome = training.run(step, stopped, workers)
        # The others have nothing to write; where one of them ends first, all are ended.
        accelerator.wait_for_everyone()
        return outcome


def _take_folder(out: Path, accelerator: Accelerator, newest: Path | None,
                 stack: ExitStack) -> None:
    """
    Keep other trainings out of ``out`` as long as ``stack`` lasts.

    :param newest: Its newest checkpoint as this training knows it.
    :raises TrainingError: in all processes: another one is there.
    """
    refusal = ['']
    if accelerator.is_main_process:
        if not stack.enter_context(hold_folder(out)):
            refusal[0] = (f'{out}: another training is at work there: wait until it has ended, or '
                          'name another folder')
        elif newest_checkpoint(out) != newest:
            refusal[0] = (f'{out}: another training has just written there: go on with --resume, '
                          'or name another folder')
    broadcast_object_list(refusal)
    if refusal[0]:
        raise TrainingError(refusal[0])


def _rates(config: TrainConfig, step: int) -> str:
    """Return the keys of the learning rates at which something learns at ``step``."""
    if config.method == IMITATION:
        return 'learning_rate'
    alone = step < config.critic_steps
    critic = ['rl.critic_learning_rate'] if alone or config.method in CLIMBING else []
    return ' or '.join(critic + ([] if alone else ['learning_rate']))


class _Training:
    """One training in one process; only the main one writes and tells."""

    def __init__(self, material: Material, out: Path, accelerator: Accelerator, tell: Tell,
                 stack: ExitStack) -> None:
        self._material, self._out, self._stack = material, out, stack
        self._config: TrainConfig = material.origin.config
        self._main, self._wait = bool(accelerator.is_main_process), accelerator.wait_for_everyone
        self._listener: Tell = tell if self._main else lambda standing: None
        self._tell(Standing(0, self._config.steps, message='making the network'))
        self._learner = make_learner(material, accelerator, self._tell, out)
        self._history = History()
        self._newest: Path | None = None
        self._validator = Validator(
            material, material.validation if len(material.validation) else material.training,
            accelerator.device)
        self._last: Validation | None = None

    def restore(self, folder: Path, said: dict[str, Any]) -> None:
        """Become what the checkpoint says."""
        self._learner.restore(folder, said)
        self._newest = folder
        try:
            self._history = History.from_dict(json.loads(read_bytes(folder / HISTORY)))
        except ValueError as error:
            raise CheckpointError(f'{folder / HISTORY}: {error}, {REMEDY}') from error

    def run(self, first: int, stopped: Callable[[], bool], workers: int) -> Outcome:
        """Take the steps from ``first`` on; return how it ended."""
        config = self._config
        events = self._open(first) if self._main else None
        if events is not None and self._due(first) and first not in {
                row['step'] for row in (*self._history.validation, {'step': 0.0})}:
            # Due when it was stopped, which was not to wait for it.
            self._validate(first, events)
        clock = StepClock(config.steps, time.perf_counter)
        step, stop = first, stopped()
        while step < config.steps and not stop:
            phase = self._learner.phase(step, workers)
            with phase.loader.steps(
                    phase.order, step, phase.last, self._learner.part) as stream:
                while step < phase.last and not stop:
                    indices = phase.order.indices(step)
                    clock.begin(stream.waited_s)
                    learnt = self._step(step, indices, next(stream), phase, stopped())
                    clock.end(stream.waited_s, phase.order.batch_size)
                    step, stop = step + 1, learnt.stop
                    self._look_back(step, learnt, clock, events, stop)
        return Outcome(step, self._newest, step < config.steps)

    def _open(self, first: int) -> EventFiles:
        """Write what is known at the beginning; return where the curves go."""
        self._out.mkdir(parents=True, exist_ok=True)
        replace_file(self._out / 'config.yaml', yaml.safe_dump(
            json.loads(json.dumps(self._config.to_dict())), sort_keys=False))
        replace_file(self._out / 'split.json', json.dumps(
            split_names(self._material), indent=1) + '\n')
        events = EventFiles(self._out / 'tensorboard', first)
        self._stack.callback(events.close)
        return events

    def _step(self, step: int, indices: IntArray, batch: Any, phase: Phase,
              stop: bool) -> Learnt:
        try:
            return self._learner.learn(step, indices, batch, stop)
        except BrokenStepError as error:
            kept = self._newest or 'none yet'
            where = self._out / f'nan_step_{step}'
            if self._main:
                self._learner.dump(where, step, indices, phase.loader, str(error))
            self._wait()    # for the main one's files, as at the end
            raise TrainingError(
                f'{error} at step {step}: stopped before the weights took it; its batch is in '
                f'{where}, the last good checkpoint is {kept}; look at the data, or lower '
                f'{_rates(self._config, step)}') from error

    def _look_back(self, step: int, learnt: Learnt, clock: StepClock,
                   events: EventFiles | None, stop: bool) -> None:
        """Do all that is due after the step, number ``step`` from 1, and tell of it."""
        if events is None:
            return
        config, last = self._config, step == self._config.steps
        row: Row = {'step': step, 'loss': learnt.loss, 'learning_rate': learnt.learning_rate,
                    'gradient_norm': learnt.gradient_norm,
                    'samples_per_s': clock.samples_per_s, 'data_wait_share': clock.wait_share}
        if step % config.log_every == 0 or last:
            self._history.training.append({**row, **learnt.parts})
            events.add('training', self._history.training[-1])
        validated = False
        if last or (self._due(step) and not stop):
            validated = self._validate(step, events)
        if step % config.checkpoint_every == 0 or last or stop:
            self._write(step, validated)
        seen = self._history.validation[-1] if self._history.validation else {}
        self._tell(Standing(step, config.steps, clock.eta_s(step), {**seen, **row}))
        if last or stop or validated:
            write_report(self._out / 'report.html', self._material, self._history, self._last,
                         step, self._learner.findings())

    def _due(self, step: int) -> bool:
        """Return whether a look at the policy is due after ``step`` steps."""
        return step % self._config.validate_every == 0 and self._learner.has_learnt(step)

    def _tell(self, standing: Standing) -> None:
        # A training outlives its reader: without one it goes on, to its last step or a signal.
        with suppress(OSError):
            self._listener(standing)

    def _validate(self, step: int, events: EventFiles) -> bool:
        """Look at the running mean; return whether that was at episodes held out."""
        if not len(self._material.validation) and step < self._config.steps:
            return False
        last = self._validator.look(self._learner.mean.network)
        if not len(self._material.validation):
            # Of what was learnt nothing is said in the curves: only shown, as examples.
            self._last = replace(last, windows=0)
            return False
        self._last = last
        row = {'step': float(step), **last.numbers()}
        self._history.validation.append(row)
        events.add('validation', row)
        return True

    def _write(self, step: int, validated: bool) -> None:
        loss = self._last.loss if validated and self._last else math.nan
        # JSON has no word for what is no number; where nothing was looked at, there is none.
        further = {**self._learner.further(),
                   'validation_loss': loss if math.isfinite(loss) else None}
        self._newest = write_contents(self._out, step, training_contents(
            self._material.origin, step, self._learner.tensors(), self._history.to_dict(),
            further))
        prune(self._out, self._config.keep)
