"""Who listens to a training may be gone: its checkpoint is written all the same."""

import os
import signal
import sys

import pytest

from chunked_vla_ros.data.checkpoint_folder import checkpoint_step, newest_checkpoint
from chunked_vla_ros.training.stopping import SIGNALS, StopRequest
from chunked_vla_ros.training.train import run_training


def test_a_signal_is_heard_though_nobody_reads_that_it_was(monkeypatch):
    before = {number: signal.getsignal(number) for number in SIGNALS}
    read, write = os.pipe()
    os.close(read)
    closed = os.fdopen(write, 'w', encoding='utf-8')
    monkeypatch.setattr(sys, 'stderr', closed)
    try:
        stop = StopRequest()
        stop.let_steps_end(True)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop()
        assert stop.name == 'SIGTERM'
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        try:
            closed.close()    # what was not read is flushed in vain once more
        except BrokenPipeError:
            pass


def test_a_third_signal_does_not_wait_for_the_step():
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        stop = StopRequest()
        stop.let_steps_end(True)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.name == 'SIGTERM'
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_training_whose_reader_is_gone_ends_with_its_checkpoint(make_material_of, tmp_path):
    told = []

    def tell(standing):
        told.append(standing.step)
        raise BrokenPipeError

    outcome = run_training(
        make_material_of(), tmp_path, False, tell, lambda: 1 in told)
    assert (outcome.step, outcome.stopped) == (2, True)
    assert checkpoint_step(outcome.checkpoint) == 2


def test_a_step_is_told_when_its_checkpoint_is_there(make_material_of, tmp_path):
    there = {}

    def tell(standing):
        newest = newest_checkpoint(tmp_path)
        there[standing.step] = newest and checkpoint_step(newest)

    run_training(make_material_of('steps=2'), tmp_path, False, tell)
    assert there == {0: None, 1: None, 2: 2}
