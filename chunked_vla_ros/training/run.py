"""
Run ``chunked-vla train``: read the configuration and the data, train, write the bundle.

The same in every process of several (``torchrun -m chunked_vla_ros train ...``); only the first
one speaks. Ends with 0 only if the last step is taken and the bundle, if wanted, is written.
"""

from __future__ import annotations

from contextlib import contextmanager, ExitStack
import os
from pathlib import Path
import sys
from typing import TYPE_CHECKING

from chunked_vla_ros.core.policy import PolicyError
from chunked_vla_ros.training.config_files import find_config
from chunked_vla_ros.training.options import TrainOptions
from chunked_vla_ros.training.stopping import StopRequest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunked_vla_ros.training.checkpoint import TrainedPolicy
    from chunked_vla_ros.training.config import TrainConfig
    from chunked_vla_ros.training.material import Material
    from chunked_vla_ros.training.standing import Tell
    from chunked_vla_ros.training.train import Outcome

FAILED, MISTAKE, INTERRUPTED = 1, 2, 130
CALL = 'chunked-vla train CONFIG --data DIR --out DIR'

__all__ = ['TrainOptions', 'run_train']


def run_train(options: TrainOptions) -> int:
    """Train as ``options`` say; return the exit code."""
    # Before torch is imported, which takes seconds: a signal ends those too.
    stop = StopRequest()
    out = Path(options.out)
    try:
        outcome, bundle = _run(options, out, stop)
    except KeyboardInterrupt:
        _say_error(f'stopped; {_kept(out)}')
        return INTERRUPTED
    except Exception as error:
        line = mistake_line(error)
        if line is None:
            raise
        _say_error(line)
        return MISTAKE
    if not outcome.stopped:
        if _is_first() and options.progress != 'json':
            print(f'checkpoint: {outcome.checkpoint}')
            print(f'report: {out / "report.html"}')
            if bundle:
                print(f'bundle: {bundle}')
        return 0
    if _is_first():
        _say_error(f'stopped by {stop.name or "a signal to another process"} at step '
                   f'{outcome.step}; {_kept(out)}')
    return INTERRUPTED


def _say_error(line: str) -> None:
    # Of several processes it may be this one alone that cannot go on.
    rank = '' if _is_first() else f'rank {os.environ["RANK"]}: '
    print(f'error: {rank}{line}', file=sys.stderr)


def mistake_line(error: Exception) -> str | None:
    """Return in one line what a user can mend, ``None`` for a fault of this program."""
    text = ' '.join(str(error).split())
    # What CUDA's libraries lack memory for comes as another class.
    if isinstance(error, RuntimeError) and any(words in text for words in GPU_MEMORY):
        return MEMORY.format('the GPU')
    if type(error).__name__ == 'OutOfMemoryError' or isinstance(error, MemoryError):
        return MEMORY.format('the machine')
    if isinstance(error, RuntimeError) and "can't allocate memory" in text:
        return MEMORY.format('the machine')
    if isinstance(error, OSError):
        where = f'{error.filename}: ' if error.filename else ''
        return f'{where}{error.strerror or error}'
    # ConfigError, ContractError, DatasetError, CheckpointError, TrainingError, BundleError, ...
    return text if isinstance(error, ValueError | PolicyError) else None


GPU_MEMORY = ('CUDA out of memory', 'CUDA error: out of memory', 'CUBLAS_STATUS_ALLOC_FAILED',
              'CUDNN_STATUS_ALLOC_FAILED')
MEMORY = ('{} has too little memory for this training: lower batch_size or '
          'imitation.flow_draws, take fewer or smaller images (cameras; resize in the robot '
          'contract), or set precision=bf16; the last checkpoint, if any, is whole')


def _run(options: TrainOptions, out: Path, stop: StopRequest) -> tuple[Outcome, str]:
    for name, value in (('--data', options.data), ('--out', options.out)):
        if not value:
            raise ValueError(f'{name} is missing: {CALL}')
    find_config(options.config)
    from chunked_vla_ros.training.config import read_config
    from chunked_vla_ros.training.going_on import checkpoint_to_go_on_from
    from chunked_vla_ros.training.progress import (
        say_end,
        shown_progress,
        STAGE_IMITATION,
        STAGE_OFFLINE_RL,
    )
    from chunked_vla_ros.training.rl_config import IMITATION
    from chunked_vla_ros.training.train import run_training
    policy = _read_start(options)
    config = read_config(options.config, options.set, policy.config if policy else None)
    _check_start(options, config, policy)
    _check_bundle(options.bundle, out, config.steps)
    stage = STAGE_IMITATION if config.method == IMITATION else STAGE_OFFLINE_RL
    with ExitStack() as stack:
        tell = stack.enter_context(shown_progress(
            options.progress if _is_first() else 'none', stage))
        material = _material(config, options, tell, policy)
        # Refused before anything is said of the data.
        checkpoint_to_go_on_from(material.origin, out, options.resume)
        for line in _notes(material, options) if _is_first() else ():
            print(f'note: {line}', file=sys.stderr)
        with _steps_end(stop):
            outcome = run_training(
                material, out, options.resume, tell, stop, options.workers)
        bundle = ''
        if options.bundle and not outcome.stopped and _is_first():
            bundle = _export(outcome, Path(options.bundle), out, material, tell)
    if options.progress == 'json' and _is_first():
        say_end(sys.stdout, stage, outcome.step, outcome.checkpoint, bundle,
                f'stopped at step {outcome.step}' if outcome.stopped else
                f'{outcome.step} steps')
    return outcome, bundle


@contextmanager
def _steps_end(stop: StopRequest) -> Iterator[None]:
    stop.let_steps_end(True)
    try:
        yield
    finally:
        stop.let_steps_end(False)


def _read_start(options: TrainOptions) -> TrainedPolicy | None:
    """Return the policy that offline RL is to begin at."""
    if not options.start:
        return None
    from chunked_vla_ros.training.checkpoint import read_policy
    return read_policy(options.start)


def _check_start(options: TrainOptions, config: TrainConfig,
                 policy: TrainedPolicy | None) -> None:
    imitation = config.method == 'imitation'
    if imitation and policy is not None:
        raise ValueError(f'--from {options.start}: method is imitation, which begins at nothing: '
                         'leave it out, or name a configuration of offline RL such as advantage')
    if not imitation and policy is None:
        raise ValueError(f'--from is missing: method is {config.method}, which begins at an '
                         'imitation checkpoint')


def _notes(material: Material, options: TrainOptions) -> list[str]:
    """Return what a person should know before it begins."""
    from chunked_vla_ros.training.rl_config import without_effect
    method = material.origin.config.method
    idle = without_effect((one.partition('=')[0].strip() for one in options.set), method)
    notes = [f'{", ".join(idle)}: without effect, as method is {method}'] if idle else []
    notes += [material.split.note] if material.split.note else []
    return notes + ([material.rl.support.line] if material.rl else [])


def _material(config: TrainConfig, options: TrainOptions, tell: Tell,
              policy: TrainedPolicy | None) -> Material:
    from chunked_vla_ros.data.robot_contract import load_robot
    from chunked_vla_ros.data.training_rows import read_training_rows
    from chunked_vla_ros.training.material import make_material
    from chunked_vla_ros.training.standing import Standing
    robot = load_robot(config.robot)
    tell(Standing(0, config.steps, message='reading the data'))
    rows = read_training_rows(
        options.data, robot, config.cameras or None,
        Path(options.cache) if options.cache else None, options.no_cache,
        lambda done, total: tell(Standing(
            0, config.steps, message=f'decoding frames, {done} of {total}')))
    if policy is None:
        return make_material(config, robot, rows)
    from chunked_vla_ros.training.rl_material import (
        check_support,
        held_out_before,
        read_start,
    )
    config = held_out_before(policy, config, rows)
    material = make_material(
        config, robot, rows, read_start(options.start, policy, config, rows, options.data))
    assert material.rl is not None
    check_support(material.rl.support, config)
    return material


def _check_bundle(bundle: str, out: Path, steps: int) -> None:
    """Refuse a bundle's folder that is taken, unless by this very training, before it begins."""
    from chunked_vla_ros.data.checkpoint_folder import checkpoint_step, newest_checkpoint
    newest = newest_checkpoint(out)
    if not bundle or not Path(bundle).exists():
        return
    if newest is None or checkpoint_step(newest) != steps:
        raise ValueError(f'{bundle}: exists already, expected a new folder for --bundle')
    from chunked_vla_ros.training.known_bundle import check_is_of
    check_is_of(Path(bundle), newest)


def _export(outcome: Outcome, bundle: Path, out: Path, material: Material, tell: Tell) -> str:
    """Write the bundle unless it is there; return where it is."""
    from chunked_vla_ros.training.export import export_policy
    from chunked_vla_ros.training.known_bundle import check_is_of
    from chunked_vla_ros.training.standing import Standing
    assert outcome.checkpoint is not None
    if bundle.exists():
        check_is_of(bundle, outcome.checkpoint)
    else:
        tell(Standing(outcome.step, outcome.step, message='writing the bundle'))
        export_policy(outcome.checkpoint, bundle, out.absolute().name, rows=material.rows)
    return str(bundle.absolute())


def _kept(out: Path) -> str:
    from chunked_vla_ros.data.checkpoint_folder import newest_checkpoint
    newest = newest_checkpoint(out)
    return (f'{newest} is whole, go on from it with --resume' if newest
            else 'there was no checkpoint yet')


def _is_first() -> bool:
    """Return whether this is the only process, or the first of several."""
    return os.environ.get('RANK', '0') == '0'
