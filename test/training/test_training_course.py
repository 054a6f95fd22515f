"""The parts of a training by themselves: learning rate, running mean, clock, split, progress."""

import json

from hypothesis import given, strategies
import numpy as np
import pytest
import torch
from torch import nn

from chunked_vla_ros.core.normalisation import Normalisation
from chunked_vla_ros.training import progress as progress_module
from chunked_vla_ros.training.ema import RunningMean
from chunked_vla_ros.training.held_out import split_episodes
from chunked_vla_ros.training.learner import BrokenStepError, GradientWatch, PATIENCE
from chunked_vla_ros.training.progress import one_line, shown_progress
from chunked_vla_ros.training.schedule import FLOOR, learning_rate_share
from chunked_vla_ros.training.standing import History, Standing
from chunked_vla_ros.training.step_clock import StepClock
from chunked_vla_ros.training.step_draws import seed_network, step_generator, VALIDATION
from chunked_vla_ros.training.train_report import smoothed, write_report
from chunked_vla_ros.training.validation import Example, mean_chunk, Validation


def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine():
    shares = [learning_rate_share(step, 14, 3) for step in range(14)]
    assert shares[:4] == [0.25, 0.5, 0.75, 1.0]
    assert shares[13] == pytest.approx(FLOOR)
    # Half way of what follows the warm-up: half way between 1 and the floor.
    assert shares[8] == pytest.approx((1 + FLOOR) / 2)
    assert shares[3:] == sorted(shares[3:], reverse=True)


def test_a_warm_up_that_would_take_all_steps_takes_a_tenth_of_them():
    shares = [learning_rate_share(step, 30, 500) for step in range(30)]
    assert shares == [learning_rate_share(step, 30, 3) for step in range(30)]
    assert max(shares) == shares[3] == 1.0
    assert shares[29] == pytest.approx(FLOOR)
    assert learning_rate_share(28, 30, 29) == pytest.approx(29 / 30)    # as asked


@given(strategies.integers(1, 1000), strategies.integers(0, 2000), strategies.data())
def test_the_learning_rate_is_never_nothing_and_never_more_than_all(steps, warm_up, data):
    step = data.draw(strategies.integers(0, steps - 1))
    assert 0.0 < learning_rate_share(step, steps, warm_up) <= 1.0


def test_the_running_mean_follows_by_its_share_and_faster_at_the_beginning():
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    mean = RunningMean(network, 0.9)
    nn.init.constant_(network.weight, 1.0)
    mean.update(1)    # keeps 1 of 11
    assert mean.network.weight.item() == pytest.approx(10 / 11)
    mean.update(1000)    # keeps 0.9
    assert mean.network.weight.item() == pytest.approx(1 - 0.9 / 11)
    assert not mean.network.weight.requires_grad
    assert not mean.network.training


def test_the_running_mean_copies_buffers_and_shares_what_is_not_trained():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    network[0].weight.requires_grad_(False)
    mean = RunningMean(network, 0.5)
    network[1].running_mean.fill_(7.0)
    mean.update(1)
    assert mean.network[1].running_mean.tolist() == [7.0, 7.0]
    assert mean.network[0].weight is network[0].weight
    assert mean.network[0].bias is not network[0].bias


def test_draws_are_a_function_of_seed_step_and_purpose():
    def drawn(*key: int) -> list[float]:
        return torch.rand(3, generator=step_generator(*key)).tolist()
    assert drawn(1, 2) == drawn(1, 2)
    assert len({tuple(drawn(*key)) for key in (
        (1, 2), (2, 1), (1, 3), (0, 0), (1, 2, VALIDATION))}) == 5
    seed_network(1, 2)
    first = torch.rand(3).tolist()
    seed_network(1, 2)
    assert torch.rand(3).tolist() == first != drawn(1, 2)


def test_the_clock_counts_steps_only():
    ticks = iter([0.0, 2.0, 100.0, 104.0])
    clock = StepClock(10, lambda: next(ticks))
    assert (clock.samples_per_s, clock.wait_share) == (0.0, 0.0)
    clock.begin(0.0)
    clock.end(0.5, 20)    # 2 s, of which 0.5 s waiting
    clock.begin(0.5)
    clock.end(1.5, 40)    # 4 s, of which 1 s; the 98 s between are none of its business
    assert clock.samples_per_s == pytest.approx(10.0)
    assert clock.wait_share == pytest.approx(0.25)
    assert clock.eta_s(2) == pytest.approx(24.0)


def test_the_seed_draws_the_episodes_that_are_held_out():
    ids = [f'd#{number}' for number in range(10)]
    split = split_episodes(ids, 3, (), 5)
    assert len(split.validation) == 3
    assert sorted(split.training + split.validation) == list(range(10))
    assert split == split_episodes(ids, 3, (), 5) != split_episodes(ids, 3, (), 6)
    assert split.note == ''
    assert split_episodes(ids, 0, (), 5).validation == ()


def test_never_more_than_half_of_the_episodes_are_held_out_and_that_is_said():
    split = split_episodes(['d#0', 'd#1', 'd#2'], 4, (), 0)
    assert len(split.validation) == 1
    assert split.note == '1 of 3 episodes held out, not 4: never more than half'
    assert split_episodes(['d#0'], 4, (), 0).note == 'one episode only: no validation'


def test_episodes_may_be_held_out_by_name():
    ids = ['a#1', 'a#2', 'b#1']
    assert split_episodes(ids, 9, ('a#1',), 0).validation == (0,)
    assert split_episodes(ids, 0, (1,), 0) == split_episodes(ids, 0, ('b#1', 'a#1'), 0)
    with pytest.raises(ValueError, match=r"held_out: no episode '3', expected some of a#1, a#2, "):
        split_episodes(ids, 0, (3,), 0)


def test_curves_are_read_as_they_were_written():
    history = History([{'step': 1.0, 'loss': 0.5}, {'step': 2.0, 'loss': 0.25}], [])
    assert History.from_dict(json.loads(json.dumps(history.to_dict()))) == history
    infinite = History([{'step': 1.0, 'loss': float('inf')}], []).to_dict()
    assert infinite['training'] == {'step': [1.0], 'loss': [None]}
    assert np.isnan(History.from_dict(infinite).training[0]['loss'])
    for said in ({}, [], {'training': 3, 'validation': {}}, {'training': {'a': [1], 'b': []},
                                                             'validation': {}}):
        with pytest.raises(ValueError, match=r'no curves|shorter'):
            History.from_dict(said)


def test_a_gradient_that_overflows_again_and_again_ends_a_training():
    fp16, exact = GradientWatch(PATIENCE), GradientWatch(1)
    assert PATIENCE == 50
    for norm in [*49 * [float('inf')], 1.0, *49 * [float('nan')]]:
        fp16.check(norm)
    with pytest.raises(BrokenStepError, match=r'^gradient is inf 50 times in a row$'):
        fp16.check(float('inf'))
    exact.check(1e30)
    with pytest.raises(BrokenStepError, match=r'^gradient is nan$'):
        exact.check(float('nan'))


def test_a_report_shows_the_beginning_of_a_long_instruction(make_material_of, tmp_path):
    line = np.zeros((4, 2))
    def size(words: str) -> int:
        last = Validation(
            0, 0.0, 0.0, 0.0, 0.0, np.zeros((3, 4)), (Example('a#1', 0, words, line, line),))
        page = tmp_path / 'report.html'
        write_report(page, make_material_of(), History(), last, 1)
        assert words[:200] in page.read_text()
        return page.stat().st_size
    assert size('lift it ' * 100_000) - size('lift it') < 300


METRICS = {'step': 2, 'loss': 0.5, 'samples_per_s': 10.0, 'data_wait_share': 0.25,
           'gradient_norm': float('inf')}


def test_json_lines_come_at_the_first_step_the_last_one_and_for_news(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, 'JSON_PERIOD_S', 1e9)
    with shown_progress('json') as tell:
        for message in ('reading the data', 'decoding frames, 1 of 9', 'decoding frames, 2 of 9'):
            tell(Standing(0, 4, message=message))
        for step in (1, 2, 3, 4):
            tell(Standing(step, 4, 1.5, METRICS))
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line['step'], line['message']) for line in said] == [
        (0, 'reading the data'), (0, 'decoding frames, 1 of 9'), (1, ''), (4, '')]
    # What is no number cannot be said in JSON.
    assert said[-1] == {
        'event': 'progress', 'stage': 'imitation', 'step': 4, 'steps': 4, 'eta_s': 1.5,
        'metrics': {'loss': 0.5, 'samples_per_s': 10.0, 'data_wait_share': 0.25}, 'message': ''}


def test_a_log_has_a_line_now_and_then_and_a_terminal_words(capsys):
    with shown_progress('bar') as tell:
        tell(Standing(1, 4, 30.0, METRICS))
    assert capsys.readouterr().err == (
        'step 1/4: loss 0.5000, 10 windows/s, waiting for data 25 %, 30 s left\n')
    with shown_progress('none') as tell:
        tell(Standing(1, 4, 30.0, METRICS))
    assert capsys.readouterr().err == ''
    assert one_line(Standing(0, 4, message='reading')) == 'reading'


def test_smoothing_keeps_the_mean_of_a_line_and_of_few_points_all():
    assert smoothed(np.arange(5.0)).tolist() == [0, 1, 2, 3, 4]
    line = smoothed(np.arange(400.0))
    assert line[100] == pytest.approx(100.0)
    assert len(line) == 400


def test_the_mean_chunk_starts_where_the_arm_is_unless_a_joint_is_binary():
    one = np.ones(2)
    normalisation = Normalisation(
        one, one, np.array([[1.0, 0.5], [2.0, 0.5]]), np.ones((2, 2)), np.array([True, False]),
        one, one, one, one, one, one)
    assert mean_chunk(normalisation, np.array([[10.0, 20.0]])).tolist() == [
        [[11.0, 0.5], [12.0, 0.5]]]
