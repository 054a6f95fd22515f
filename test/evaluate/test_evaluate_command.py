"""The command ``chunked-vla evaluate``: files, page, and one line for each mistake."""

from __future__ import annotations

from dataclasses import replace
import html
import json
import re

import numpy as np
import pytest

from chunked_vla_ros.cli import main
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.evaluate.films import EpisodeFilm, spaced, worth_seeing
from chunked_vla_ros.evaluate.options import EvaluateOptions
from chunked_vla_ros.evaluate.page import evaluation_page
from chunked_vla_ros.evaluate.results import EvaluationResults, PolicyResults
from chunked_vla_ros.evaluate.run import run_evaluate
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.report.film_strip import film_frame

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')


def test_the_expert_is_evaluated_and_everything_is_written(tmp_path, capsys):
    out = tmp_path / 'out'
    options = EvaluateOptions(
        ('expert',), episodes=1, seed=3, language_pairs=1, out=str(out), workers=1)
    assert run_evaluate(options) == 0
    said = capsys.readouterr().out
    assert '1 / 1   100%   [21%, 100%]' in said
    content = json.loads((out / 'results.json').read_text())
    assert content['command'] == (
        'chunked-vla evaluate expert --episodes 1 --seed 3 --language-pairs 1')
    policy = content['policies'][0]
    assert ([one['seed'] for one in policy['episodes']], policy['k']) == ([3], 1)
    assert policy['language']['both_right']['k'] == 1
    page = (out / 'report.html').read_text()
    assert page.count('<img') >= 2 * 8
    assert 'expert: 1 of 1 episodes succeeded' in page


def test_two_bundles_meet_the_same_starts(tmp_path, robot, make_bundle, capsys):
    for name in ('first', 'second'):
        make_bundle(tmp_path / name, robot, name=name, needs_instruction=True)
    assert run_evaluate(EvaluateOptions(
        (str(tmp_path / 'first'), str(tmp_path / 'second')), episodes=1, timeout_s=1.0,
        out=str(tmp_path / 'out'), workers=1)) == 0
    content = json.loads((tmp_path / 'out' / 'results.json').read_text())
    ids = [read_bundle(tmp_path / name).policy_id for name in ('first', 'second')]
    assert [one['policy_id'] for one in content['policies']] == ids
    starts = [(one['episodes'][0]['cube_x_m'], one['episodes'][0]['task'])
              for one in content['policies']]
    assert starts[0] == starts[1]
    comparison = content['comparisons'][0]
    assert (comparison['pairs'], comparison['neither']) == (1, 1)
    assert comparison['mcnemar_exact_p'] == 1.0
    assert f'{ids[0]} against {ids[1]}' in ' '.join(capsys.readouterr().out.split())


@pytest.mark.parametrize(('arguments', 'named'), [
    (['/no/bundle'], 'policy /no/bundle: no such bundle'),
    (['expert', '--task', 'red_up'], "no task 'red_up'"),
    (['expert', '--robot', 'ur99'], 'ur99'),
    ([], '0 policies, expected one or two'),
    (['a', 'b', 'c'], '3 policies'),
    (['expert', '--episodes', '0'], '--episodes is 0 and --language-pairs is 0'),
    (['expert', '--no-in-process'], '--no-in-process goes with --through-ros'),
    (['expert', '--latency-s', '9'], '--latency-s is 9.0, expected 0'),
    (['expert', '--replan-period-s', '0.01'], 'replan_period_s is 0.01, expected 0.02 s or more'),
    (['expert', '--position-set', 'far'], "'far'")])
def test_a_mistake_is_one_line_and_exit_code_2(arguments, named, tmp_path, capsys):
    assert main(['evaluate', *arguments, '--out', str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert named in said
    assert said.startswith('error: ')
    assert said.count('\n') == 1
    assert not (tmp_path / 'out').exists()


def test_a_bundle_with_other_pictures_is_one_line(tmp_path, robot, make_bundle, capsys):
    small = replace(robot, cameras=tuple(
        replace(camera, width=32, height=32, resize=None) for camera in robot.cameras))
    make_bundle(tmp_path / 'small', small)
    assert main(['evaluate', str(tmp_path / 'small'), '--out', str(tmp_path / 'out')]) == 2
    said = capsys.readouterr().err
    assert said.count('\n') == 1
    assert '32' in said


def test_a_damaged_bundle_is_one_line(tmp_path, robot, make_bundle, capsys):
    make_bundle(tmp_path / 'bundle', robot)
    (tmp_path / 'bundle' / 'policy.onnx').write_bytes(b'short')
    assert main(['evaluate', str(tmp_path / 'bundle'), '--out', str(tmp_path / 'out')]) == 2
    assert 'policy.onnx' in capsys.readouterr().err


def test_options_and_the_command_that_repeats_them():
    options = EvaluateOptions(('expert',), measured_latency=True, out='elsewhere')
    assert options.timing.latency_s is None
    assert options.command == 'chunked-vla evaluate expert --measured-latency'
    assert EvaluateOptions(('a b',)).command == "chunked-vla evaluate 'a b'"
    with pytest.raises(GraphError, match='--timeout-s'):
        EvaluateOptions(('expert',), timeout_s=0.0)


def test_each_policy_meets_each_seed_and_pairs_come_last():
    jobs = EvaluateOptions(('a', 'b'), episodes=2, seed=7, language_pairs=1).jobs()
    assert [(job.policy, job.seed, job.task) for job in jobs[:4]] == [
        (0, 7, ''), (1, 7, ''), (0, 8, ''), (1, 8, '')]
    assert [(job.policy, job.seed) for job in jobs[4:]] == [(0, 7), (0, 7), (1, 7), (1, 7)]


def headings(page):
    return [html.unescape(text) for text in re.findall(r'<h2>(.*?)</h2>', page)]


def test_the_page_shows_failures_and_escapes_what_comes_from_outside(make_record):
    hostile = make_record(1, False, instruction='<b>bold</b>', message='<i>x</i>')
    records = (make_record(0), hostile)
    results = EvaluationResults(
        'chunked-vla evaluate a', 'ur5e_sim', 'random', 0, {'latency_s': 0.05}, {},
        (PolicyResults('a', 'a@1', records, (make_record(2), make_record(2, task='blue_left'))),),
        1.0)
    film = EpisodeFilm(
        'a@1', hostile, 'front', (film_frame(0.0, np.zeros((4, 4, 3), np.uint8), 4),))
    page = evaluation_page(results, [film]).render()
    assert '<b>' not in page
    assert '<i>' not in page
    found = headings(page)
    assert found[0] == 'a@1 succeeds in 9% to 91% of such episodes'
    assert 'a@1, seed 1: “<b>bold</b>” failed after 6.0 s' in found
    assert {'Where the named cube began', 'Success per instruction',
            'One scene, two instructions', 'Every episode'} <= set(found)


def test_films_are_of_failures_first_and_of_the_whole_episode(make_record):
    records = [make_record(seed, seed % 2 == 0) for seed in range(12)]
    assert [one.seed for one in worth_seeing(records)] == [1, 3, 5, 7, 0, 2]
    assert spaced(list(range(100)))[0] == 0
    assert spaced(list(range(100)))[-1] == 99
    assert (spaced([5]), spaced([])) == ([5], [])
