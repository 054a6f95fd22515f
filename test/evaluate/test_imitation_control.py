"""A policy of offline RL is not shown without imitation beside it, or this is said."""

from __future__ import annotations

from dataclasses import replace
import io
import json

import pytest
from rich.console import Console

from chunked_vla_ros.evaluate.imitation_control import missing_controls
from chunked_vla_ros.evaluate.options import EvaluateOptions
from chunked_vla_ros.evaluate.page import evaluation_page
from chunked_vla_ros.evaluate.results import EvaluationResults, PolicyResults
from chunked_vla_ros.evaluate.run import run_evaluate
from chunked_vla_ros.evaluate.screen import print_results

RL = {'stage': 'offline_rl', 'method': 'qc', 'from': '3000 steps of imitation, weights 1a2b',
      'critic_steps': '2500', 'policy_updates': '800'}
IMITATION = {'stage': 'imitation'}


@pytest.fixture
def trained(hold):
    """Return a factory: a policy whose bundle says this of its training."""
    def make(**training):
        policy = hold()
        policy.spec = replace(policy.spec, policy_id='rl@1')
        policy.training = training
        return policy
    return make


def test_rl_alone_is_told_how_its_control_is_added(trained):
    line, = missing_controls(EvaluateOptions(('out/rl',), episodes=7, seed=3), [trained(**RL)])
    assert line == (
        'rl@1 was trained by qc, from 3000 steps of imitation, weights 1a2b, and no imitation '
        'control was run on the same starts: what RL adds is not shown; train it as long without '
        'a critic, chunked-vla train advantage --set rl.selection=all steps=800, and name that '
        'as the second bundle: chunked-vla evaluate out/rl CONTROL_BUNDLE --episodes 7 --seed 3')


def test_a_control_has_learnt_as_long_without_a_critic(trained):
    other = trained(**RL | {'method': 'advantage', 'critic_steps': '0'})
    assert missing_controls(EvaluateOptions(('a', 'b')), [trained(**RL), other]) == ()
    assert missing_controls(EvaluateOptions(('b',)), [other]) == ()


@pytest.mark.parametrize('other', [
    {'from': '3000 steps of imitation, weights ffff'}, {'policy_updates': '799'},
    {'policy_updates': 'many'}])
def test_a_control_of_another_beginning_or_of_less_learning_is_none(trained, other):
    control = trained(**RL | {'method': 'advantage', 'critic_steps': '0'} | other)
    line, = missing_controls(EvaluateOptions(('a', 'b')), [trained(**RL), control])
    assert ('and the control beside it began elsewhere, learnt for less long or does not tell '
            'how long: what RL') in line
    assert missing_controls(EvaluateOptions(('b',)), [control]) == ()


def test_what_it_began_at_is_no_control_of_the_same_budget(trained):
    options = EvaluateOptions(('a', 'b'))
    line, = missing_controls(options, [trained(**RL), trained(**IMITATION)])
    assert 'of imitation only what learnt for less long stands beside it: what RL' in line
    assert missing_controls(options, [trained(**IMITATION), trained(**IMITATION)]) == ()


def test_neither_other_rl_nor_the_expert_is_a_control(trained, hold):
    options = EvaluateOptions(('a', 'b'))
    both = missing_controls(options, [trained(**RL), trained(**RL)])
    assert [line.partition('bundle: ')[2] for line in both] == [
        'chunked-vla evaluate a CONTROL_BUNDLE', 'chunked-vla evaluate b CONTROL_BUNDLE']
    assert len(missing_controls(options, [trained(**RL), hold()])) == 1


def test_of_who_says_nothing_nothing_is_said(trained, hold):
    assert missing_controls(EvaluateOptions(('a', 'b')), [trained(), hold()]) == ()


def test_words_of_a_bundle_stay_in_one_line(trained):
    line, = missing_controls(
        EvaluateOptions(('a',)), [trained(stage='offline_rl', method='q\n\nc')])
    assert 'trained by q c, and' in line


def test_it_is_on_the_terminal_on_the_page_and_in_the_file(make_record):
    results = EvaluationResults(
        'chunked-vla evaluate a', 'ur5e_sim', 'random', 0, {}, {},
        (PolicyResults('a', 'rl@1', (make_record(0),)),), 1.0, missing_controls=('no control',))
    assert results.to_json()['missing_controls'] == ['no control']
    stream = io.StringIO()
    print_results(results, Console(file=stream, markup=False))
    assert 'note: no control' in stream.getvalue()
    page = evaluation_page(results, []).render()
    assert 'No control of the same budget was run' in page
    assert 'no control' in page
    without = replace(results, missing_controls=())
    assert 'No control of the same' not in evaluation_page(without, []).render()


def test_an_evaluation_asks_the_bundle_itself(tmp_path, robot, make_bundle, capsys):
    pytest.importorskip('mujoco')
    pytest.importorskip('ogbench')
    make_bundle(tmp_path / 'rl', robot, name='rl', needs_instruction=True, training=RL)
    assert run_evaluate(EvaluateOptions(
        (str(tmp_path / 'rl'),), episodes=1, timeout_s=1.0, out=str(tmp_path / 'out'),
        workers=1)) == 0
    said, = json.loads((tmp_path / 'out' / 'results.json').read_text())['missing_controls']
    assert 'was trained by qc' in said
    assert 'no imitation control was run' in ' '.join(capsys.readouterr().out.split())
