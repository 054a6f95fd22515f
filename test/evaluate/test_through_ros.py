"""The same episodes over the ROS graph: same starts, same policy, judged by the same rules."""

from __future__ import annotations

import json

import pytest

from chunked_vla_ros.evaluate.options import EvaluateOptions
from chunked_vla_ros.evaluate.run import run_evaluate

pytest.importorskip('mujoco')
pytest.importorskip('ogbench')


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_same_starts_are_run_and_judged_in_both_ways(tmp_path):
    assert run_evaluate(EvaluateOptions(
        ('expert',), episodes=2, through_ros=True, workers=1, out=str(tmp_path))) == 0
    content = json.loads((tmp_path / 'results.json').read_text())
    inside, over_ros = content['policies']
    assert (inside['how'], over_ros['how']) == ('in process', 'through ROS')
    assert inside['k'] == 2
    assert over_ros['k'] > 0    # else nothing below says how a success is judged
    for one, other in zip(inside['episodes'], over_ros['episodes'], strict=True):
        for name in ('seed', 'task', 'instruction', 'cube_x_m'):
            assert one[name] == other[name]
        assert other['chunks'] == len(other['plan_wall_s']) > 0
        # On a machine too busy for a control loop an episode may fail, but not be misjudged.
        if other['success']:
            assert other['first_lifted'] == other['task'].split('_')[0]
            assert other['cube_to_pad_m'] < 0.05
    assert content['comparisons'][0]['pairs'] == 2
    assert '<img' in (tmp_path / 'report.html').read_text()


@pytest.mark.timeout(120)
def test_a_graph_that_cannot_start_is_told_with_its_log(tmp_path, capsys, monkeypatch):
    # A process that is not there: found before anything is simulated.
    monkeypatch.setenv('AMENT_PREFIX_PATH', '')
    monkeypatch.setattr('sys.prefix', str(tmp_path))
    code = run_evaluate(EvaluateOptions(
        ('expert',), episodes=1, through_ros=True, in_process=False, out=str(tmp_path / 'out')))
    assert code == 2
    assert 'sim_node is not installed' in capsys.readouterr().err
