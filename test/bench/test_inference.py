"""The inference benchmark's arithmetic and options; the processes are measured, not tested."""

import json

import numpy as np
import pytest

from chunked_vla_ros.bench.inference import kept, markdown, summary
from chunked_vla_ros.bench.inference_options import BenchInferenceOptions
from chunked_vla_ros.bench.inference_run import InferencePair
from chunked_vla_ros.cli import main
from chunked_vla_ros.graph.node_spec import GraphError


def pair(added_ms, slow_ms=0.0):
    """Return a pair whose model takes 20 ms and whose node adds ``added_ms``; one chunk more."""
    overall = np.full(100, 20.0 + added_ms)
    overall[:2] += slow_ms
    return InferencePair(tuple(overall.tolist()), (20.0,) * 100, (20.0,) * 100)


def test_overhead_is_what_remains_after_the_bare_session():
    assert pair(3.0).overhead_p50_ms == pytest.approx(3.0)
    assert pair(3.0).overhead_p99_ms == pytest.approx(3.0)
    assert pair(3.0, slow_ms=50.0).overhead_p99_ms == pytest.approx(53.0)


def test_the_medians_over_the_pairs_are_judged_so_that_one_disturbed_run_does_not_decide():
    assert kept([pair(3.0), pair(4.0), pair(30.0)])
    assert not kept([pair(3.0), pair(6.0), pair(6.0)])
    assert not kept([pair(1.0, slow_ms=50.0)] * 3)


def test_every_quantity_has_median_range_and_count():
    found = summary([pair(1.0), pair(2.0), pair(4.0)])
    assert found['overhead_p50_ms'] == pytest.approx(
        {'median': 2.0, 'low': 1.0, 'high': 4.0, 'count': 3})
    assert found['bare_p99_ms']['median'] == pytest.approx(20.0)
    table = markdown({'command': 'the command', 'onnx_against_torch': {}, **found})
    assert '| added by the node, p50 [ms] | 2.00 (1.00 to 4.00), n = 3 |' in table


def test_the_command_that_repeats_the_benchmark_names_what_was_chosen():
    assert BenchInferenceOptions(bundle='mine', chunks=10, json='x').command == (
        'chunked-vla bench inference --bundle mine --chunks 10')


def test_an_option_out_of_its_range_is_refused():
    with pytest.raises(GraphError, match=r'--chunks is 1, expected 2 to 100000'):
        BenchInferenceOptions(chunks=1)


def test_a_bundle_that_is_none_is_one_line_and_exit_code_2(tmp_path, capsys):
    assert main(['bench', 'inference', '--bundle', str(tmp_path / 'none'),
                 '--out', str(tmp_path / 'out')]) == 2
    errors = capsys.readouterr().err
    assert 'no bundle' in errors
    assert len(errors.strip().splitlines()) == 1


def test_without_torch_the_remedy_is_named(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__('sys').modules, 'torch', None)
    assert main(['bench', 'inference', '--out', str(tmp_path)]) == 2
    assert 'pip install -r requirements/bench.txt' in capsys.readouterr().err


def test_the_node_is_measured_beside_the_bare_session(tmp_path, make_bundle):
    pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
    pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')
    from chunked_vla_ros.data.robot_contract import load_robot
    make_bundle(tmp_path / 'bundle', load_robot('ur5e_sim'))
    code = main(['bench', 'inference', '--bundle', str(tmp_path / 'bundle'), '--repeats', '1',
                 '--chunks', '3', '--replan-period-s', '0.1', '--joint-rate-hz', '100',
                 '--out', str(tmp_path), '--json', str(tmp_path / 'copy.json')])
    # Whether a busy machine keeps the bounds is not this test's business.
    assert code in (0, 1)
    found = json.loads((tmp_path / 'copy.json').read_text())
    [run] = found['runs']
    assert (len(run['overall_ms']), len(run['bare_ms'])) == (3, 3)
    assert min(run['overall_ms']) > 0.0
    assert all(whole > part for whole, part in zip(
        run['overall_ms'], run['policy_ms'], strict=True))
