"""Child processes of a job: asked to end, made to end, one after the other. No DDS in it."""

import json
import os
from pathlib import Path
import shutil
import signal
import time
from typing import Any

import pytest

from chunked_vla_ros.bench.convert_bags import contract, write_bag
from chunked_vla_ros.core.training_job import Command, JobRefused, JobRequest, Stage, Termination
from chunked_vla_ros.core.training_words import JobEnd
from chunked_vla_ros.nodes.train_job import NOTE, TrainJob
from chunked_vla_ros.nodes.train_process import TrainProcess

LIMIT_S = 100.0


@pytest.fixture(scope='module')
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bag of half a second, ``robot.yaml`` beside it."""
    folder = tmp_path_factory.mktemp('recorded')
    (folder / 'robot.yaml').write_text(contract(32, 32))
    write_bag(folder / 'bag', 0, 15, 32, 32)
    return folder / 'bag'


def ended(child: TrainProcess | TrainJob) -> Any:
    """Return how it ended."""
    deadline = time.monotonic() + LIMIT_S
    while (end := child.poll()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return end


def test_a_child_that_does_not_end_when_asked_is_killed() -> None:
    # It never ends by itself, and is asleep before it has begun.
    child = TrainProcess(Command(Stage.CONVERT, ('up', 'train')), patience_s=0.0)
    os.kill(child.pid, signal.SIGSTOP)
    child.stop(Termination.DEACTIVATED)
    end = ended(child)
    assert (end.exit_code, end.stopped) == (-signal.SIGKILL, Termination.DEACTIVATED)


def test_nobody_waits_for_the_last_words_of_a_child_whose_pipe_is_held_open() -> None:
    child = TrainProcess(Command(Stage.CONVERT, ('up', 'train')))
    held = os.open(f'/proc/{child.pid}/fd/2', os.O_WRONLY)    # as a grandchild would
    try:
        os.kill(child.pid, signal.SIGKILL)
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert child.poll() is None
        os.write(held, b'the last word\n')
    finally:
        os.close(held)
    end = ended(child)
    assert (end.exit_code, end.last_line) == (-signal.SIGKILL, 'the last word')


def job(bag: Path, folder: Path, **fields: Any) -> TrainJob:
    """Return a job whose training cannot begin: there is no such configuration."""
    return TrainJob(JobRequest(**{
        'bags': (str(bag),), 'dataset': str(folder / 'cubes'),
        'robot': str(bag.parent / 'robot.yaml'), 'options': ('fps=10',),
        'stage': Stage.IMITATION, 'config': str(folder / 'none.yaml'),
        'out': str(folder / 'runs' / 'one'), **fields}))


def test_a_conversion_that_a_job_has_done_is_not_done_again_by_the_same_job(
        bag: Path, tmp_path: Path) -> None:
    first = job(bag, tmp_path)
    assert first.command.stage is Stage.CONVERT
    end = ended(first)
    assert first.command.stage is Stage.IMITATION
    assert end.termination is Termination.FAILED
    assert 'none.yaml: no such configuration' in end.message
    # 15 frames at 30 Hz are 14/30 s: rows at 0.0 to 0.4 s.
    made = (str(tmp_path / 'cubes'), 1, 5)
    assert (end.dataset, end.episodes, end.rows) == made
    again = job(bag, tmp_path)
    assert again.command.stage is Stage.IMITATION
    again.stop(Termination.CANCELED)
    end = again.close()
    assert (end.dataset, end.episodes, end.rows) == made
    assert end.message == ('stopped; there is no checkpoint yet, the same goal again begins '
                           'afresh; the bags were converted before')


def test_a_dataset_is_not_taken_for_that_of_bags_that_have_changed_since(
        bag: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'bags'
    shutil.copytree(bag, folder / 'one')
    assert ended(job(bag, tmp_path, bags=(str(folder),))).episodes == 1
    shutil.copytree(bag, folder / 'two')
    with pytest.raises(JobRefused) as refused:
        job(bag, tmp_path, bags=(str(folder),))
    assert str(refused.value) == (
        f'{tmp_path / "cubes"}: was converted before from other bags: 1 new, {folder / "two"}; '
        'name another dataset, add new bags with append, or name no bags to learn from it as it '
        'is')
    shutil.rmtree(folder / 'two')
    again = job(bag, tmp_path, bags=(str(folder),))
    assert again.command.stage is Stage.IMITATION
    again.stop(Termination.CANCELED)
    ended(again)


def test_another_jobs_dataset_is_not_taken_for_its_own(bag: Path, tmp_path: Path) -> None:
    (tmp_path / 'cubes').mkdir()
    end: JobEnd = ended(job(bag, tmp_path))
    assert end.termination is Termination.FAILED
    assert 'cubes: exists already, name a new folder or use --append' in end.message
    note = tmp_path / 'runs' / 'one' / NOTE
    for text in ('no JSON', '[]', json.dumps({'arguments': ['convert'], 'episodes': 1,
                                              'rows': 1, 'refused': [], 'bags': []})):
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(text)
        begun = job(bag, tmp_path)
        assert begun.command.stage is Stage.CONVERT
        begun.stop(Termination.CANCELED)
        ended(begun)


def test_a_job_that_is_stopped_in_its_conversion_does_not_begin_to_train(
        bag: Path, tmp_path: Path) -> None:
    begun = job(bag, tmp_path)
    begun.stop(Termination.DEACTIVATED)
    end = begun.close()
    assert end.termination is Termination.DEACTIVATED
    assert begun.command.stage is Stage.CONVERT
    assert not (tmp_path / 'cubes').exists()


def test_a_training_that_cannot_begin_does_not_lose_the_dataset(
        bag: Path, tmp_path: Path) -> None:
    begun = job(bag, tmp_path)
    # Where the job notes what it has converted, when it is asked how far it is.
    note = tmp_path / 'runs' / 'one' / NOTE
    note.unlink()
    note.mkdir()
    end: JobEnd = ended(begun)
    assert end.termination is Termination.FAILED
    assert end.message == f'the training cannot begin: {note}: Is a directory'
    assert (end.dataset, end.episodes) == (str(tmp_path / 'cubes'), 1)
