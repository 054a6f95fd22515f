"""What must not get lost or mixed up in an evaluation, and what it has to warn of."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from rich.console import Console
import tyro

from chunked_vla_ros.demo.options import DemoOptions
from chunked_vla_ros.evaluate.episode import EpisodeJob
from chunked_vla_ros.evaluate.options import EvaluateOptions
from chunked_vla_ros.evaluate.page import evaluation_page
from chunked_vla_ros.evaluate.results import (
    EvaluationResults,
    IN_PROCESS,
    policy_results,
    PolicyResults,
    THROUGH_ROS,
)
from chunked_vla_ros.evaluate.run import run_evaluate
from chunked_vla_ros.evaluate.screen import print_results
from chunked_vla_ros.evaluate.setup import RosFailure, RunTiming, StationSetup

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')
evaluation = pytest.importorskip(
    'chunked_vla_ros.evaluate.evaluation', reason='no simulator', exc_type=ImportError)

SHORT = {'episodes': 1, 'timeout_s': 1.0, 'workers': 1}
WITHOUT_ROS = """
import sys
sys.modules['rclpy'] = None
from chunked_vla_ros.cli import main
arguments = ['evaluate', 'expert', '--episodes', '1', '--timeout-s', '1', '--workers', '1',
             '--out', sys.argv[1]]
print(main([*arguments, '--through-ros']), main(arguments))
"""


def results(*policies, **changes):
    return EvaluationResults(**({
        'command': 'chunked-vla evaluate a', 'robot': 'ur5e_sim', 'position_set': 'random',
        'first_seed': 0, 'timing': {}, 'versions': {}, 'policies': policies,
        'duration_s': 1.0} | changes))


def test_who_says_nothing_gets_starts_that_were_not_demonstrated():
    # `record --expert` counts its scenes up from 0.
    assert EvaluateOptions(('expert',)).seed == DemoOptions().seed == 100_000


@pytest.mark.parametrize('changes', [
    {'through_ros': True, 'in_process': False}, {'measured_latency': True}, {'seed': 0}])
def test_the_command_that_is_written_down_does_the_same_again(changes):
    options = EvaluateOptions(('expert',), **changes)
    words = options.command.split()
    assert words[:2] == ['chunked-vla', 'evaluate']
    assert tyro.cli(EvaluateOptions, args=words[2:]) == options


def test_a_pair_that_holds_an_episode_of_its_own_is_not_mixed_up_with_it(tmp_path, make_record):
    options = EvaluateOptions(
        ('a', 'b'), task='red_left', episodes=20, language_pairs=20, seed=0, through_ros=True)
    asked = []

    def run(label, setup, jobs, log, tell):
        asked.append(list(jobs))
        return [make_record(job.seed, task=job.task, policy=job.policy, chunks=number)
                for number, job in enumerate(jobs)], []

    found = [one for one, _ in evaluation._over_ros(
        run, options, ['a@1', 'b@2'], tmp_path, lambda _: None)]
    assert set(asked[0][:20]) & set(asked[0][20:])    # else this shows nothing
    for policy in found:
        assert [one.chunks for one in policy.episodes] == list(range(20))
        assert [one.chunks for one in policy.paired] == list(range(20, 60))
        assert policy.language.both_right.n == 20
    assert [one.policy_id for one in found] == ['a@1', 'b@2']


@pytest.mark.parametrize(('error', 'code'), [
    (RosFailure('sim fell silent'), 1), (KeyboardInterrupt(), 130)])
def test_episodes_in_process_outlive_a_graph_that_does_not(
        tmp_path, capsys, monkeypatch, error, code):
    def fail(*_):
        raise error

    monkeypatch.setattr(evaluation, '_runner', lambda: fail)
    options = EvaluateOptions(('expert',), through_ros=True, out=str(tmp_path), **SHORT)
    assert run_evaluate(options) == code
    assert f'what was finished is in {tmp_path / "results.json"}' in capsys.readouterr().err
    content = json.loads((tmp_path / 'results.json').read_text())
    assert content['complete'] is False
    assert [(one['how'], one['n'], one['assumed_latency_s']) for one in content['policies']] == [
        (IN_PROCESS, 1, 0.05)]


def test_results_of_an_earlier_time_are_not_taken_for_these(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    (tmp_path / 'results.json').write_text('{}')
    monkeypatch.setattr(evaluation, 'run_jobs', interrupt)
    assert run_evaluate(EvaluateOptions(('expert',), out=str(tmp_path), **SHORT)) == 130
    assert capsys.readouterr().err.endswith('interrupted, nothing written\n')


@pytest.mark.timeout(120)
def test_in_process_nothing_of_ros_is_needed(tmp_path):
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_ROS, str(tmp_path)], capture_output=True, text=True,
        cwd=tmp_path, timeout=110, check=False)    # there: what is installed is what is run
    assert done.stdout.splitlines()[-1] == '2 0', done.stderr
    assert 'error: --through-ros needs ROS 2' in done.stderr
    assert json.loads((tmp_path / 'results.json').read_text())['complete'] is True


def test_an_assumed_latency_that_inferences_exceed_is_warned_of(make_record, capsys):
    records = [make_record(0, plan_wall_s=(0.08, 0.1, 0.12)), make_record(1, plan_wall_s=())]
    slow, = policy_results(('a',), ('a@1',), records, assumed_latency_s=0.05)
    assert 'took longer than 0.100 s' in slow.warning
    assert '--latency-s 0.10' in slow.warning
    assert slow.to_json()['warning'] == slow.warning
    assert slow.warning in evaluation_page(results(slow), []).render()
    print_results(results(slow), Console(width=400))
    assert f'warning: {slow.warning}' in capsys.readouterr().out
    enough, = policy_results(('a',), ('a@1',), records, assumed_latency_s=0.1)
    assert enough.warning == ''


def test_through_ros_no_latency_is_assumed(make_record, tmp_path):
    records = (make_record(0, plan_wall_s=(9.0,)),)
    found = PolicyResults('a', 'a@1', records, how=THROUGH_ROS)
    assert (found.to_json()['assumed_latency_s'], found.warning) == (None, '')


def test_in_results_latency_stands_where_it_was_assumed(tmp_path, make_record, monkeypatch):
    def run(label, setup, jobs, log, tell):
        return [make_record(job.seed) for job in jobs], []

    monkeypatch.setattr(evaluation, '_runner', lambda: run)
    assert run_evaluate(EvaluateOptions(
        ('expert',), in_process=False, through_ros=True, out=str(tmp_path), **SHORT)) == 0
    content = json.loads((tmp_path / 'results.json').read_text())
    assert (content['timing']['latency_s'], content['timing']['camera_delay_s']) == (None, None)
    assert content['policies'][0]['assumed_latency_s'] is None


def test_of_pairs_the_share_that_counts_is_right_both_times(make_record):
    pairs = [make_record(seed, task=task, first_lifted='red')
             for seed in range(4) for task in ('red_left', 'blue_left')]
    page = evaluation_page(results(PolicyResults('a', 'a@1', (), tuple(pairs))), []).render()
    # Half of the episodes are right, none of the pairs: 0 of 4 is 0 to 49 %.
    assert 'a@1 is right both times in 0% to 49% of such pairs' in page
    assert 'right both times, a@1' in page
    assert 'the others are too narrow' in page


def test_each_episode_has_noise_of_its_own_that_its_seed_tells(
        tmp_path, robot, make_bundle, make_station):
    from chunked_vla_ros.evaluate.station import load_policy
    make_bundle(tmp_path / 'noisy', robot, noise=True, cameras=())
    make_bundle(tmp_path / 'plain', robot, cameras=())
    noisy, plain = (load_policy(str(tmp_path / name), robot) for name in ('noisy', 'plain'))
    station, begun = make_station(noisy, plain, timeout_s=1.0), []
    planned = noisy.plan

    def plan(observation):
        begun.append(noisy._random.bit_generator.state['state']['state'])
        return planned(observation)

    noisy.plan = plan
    firsts = []
    for seed in (7, 8, 7):
        begun.clear()
        assert station.run(EpisodeJob(0, seed, 'random')).noise_seed == seed
        firsts.append(begun[0])
    assert firsts[0] == firsts[2] != firsts[1]
    assert station.run(EpisodeJob(1, 7, 'random')).noise_seed is None


@pytest.mark.timeout(60)
def test_a_process_that_hangs_is_ended_and_told(tmp_path, monkeypatch):
    crew = pytest.importorskip('chunked_vla_ros.evaluate.crew', exc_type=ImportError)
    monkeypatch.setattr(crew, 'PROGRAM', 'json.tool')    # reads to the end before it says a word
    monkeypatch.setattr(crew, 'SPARE_S', 0.2)
    setup = StationSetup('ur5e_sim', ('expert',), RunTiming(timeout_s=0.01))
    jobs = [EpisodeJob(0, seed, 'random') for seed in (0, 1)]
    with pytest.raises(crew.EvaluationError, match=r'hung in seed [01]: no answer within 0\.4 s'):
        crew.run_jobs(setup, jobs, 2, tmp_path / 'log', print)


def test_a_process_that_died_before_it_was_told_is_ended_without_a_word():
    crew = pytest.importorskip('chunked_vla_ros.evaluate.crew', exc_type=ImportError)
    process = subprocess.Popen(
        [sys.executable, '-S', '-c', ''], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    process.wait(30)
    crew._tell_line(process, 'hello')
    crew._end(process)
    assert process.stdin.closed
    assert process.stdout.closed
