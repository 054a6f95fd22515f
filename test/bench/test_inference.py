"""The inference benchmark's arithmetic and options; the processes are measured, not tested."""

import json
import sys

import numpy as np
import pytest
from rich.console import Console

from chunked_vla_ros.bench.inference import run_bench_inference
from chunked_vla_ros.bench.inference_options import BenchInferenceOptions
from chunked_vla_ros.bench.inference_run import check_turns, InferenceRun, NoInference
from chunked_vla_ros.bench.inference_summary import kept, markdown, print_table, rows, summary
from chunked_vla_ros.cli import main
from chunked_vla_ros.graph.node_spec import GraphError

NO_TORCH = {'onnx_against_torch': {'reason': 'torch is not installed; the remedy'}}


def run(added_ms, slow_ms=0.0):
    """Return a run whose model takes 20 ms and whose node adds ``added_ms``; two chunks more."""
    overall = np.full(100, 20.0 + added_ms)
    overall[:2] += slow_ms
    return InferenceRun(tuple(overall.tolist()), (20.5,) * 100, (20.0,) * 100)


def test_overhead_is_what_remains_after_the_bare_session():
    assert run(3.0).overhead_p50_ms == pytest.approx(3.0)
    assert run(3.0).overhead_p99_ms == pytest.approx(3.0)
    assert run(3.0, slow_ms=50.0).overhead_p99_ms == pytest.approx(53.0)
    assert run(3.0).outside_policy_ms == pytest.approx([2.5] * 100)


def test_the_medians_over_the_repeats_are_judged_so_that_one_disturbed_run_does_not_decide():
    assert kept(summary([run(3.0), run(4.0), run(30.0)]))
    assert not kept(summary([run(3.0), run(6.0), run(6.0)]))
    assert not kept(summary([run(1.0, slow_ms=50.0)] * 3))


def test_every_quantity_has_median_range_and_count_and_the_bounds_stand_beside():
    found = summary([run(1.0), run(2.0), run(4.0)])
    assert found['overhead_p50_ms'] == pytest.approx(
        {'median': 2.0, 'low': 1.0, 'high': 4.0, 'count': 3})
    assert found['bare_p99_ms']['median'] == pytest.approx(20.0)
    table = markdown({'command': 'the command', **NO_TORCH, **found})
    assert ('| added by the node: difference of the p50 [ms] | 2.00 (1.00 to 4.00), n = 3 '
            '| at most 5 |') in table


def test_the_terminal_shows_units_too(capsys):
    print_table({**NO_TORCH, **summary([run(1.0)])}, Console(width=200))
    assert 'bare session run, p50 [ms]' in capsys.readouterr().out


def test_without_torch_its_row_says_so_and_how_to_change_that():
    assert rows({**NO_TORCH, **summary([run(1.0)])})[-1][1] == (
        'not measured: torch is not installed; the remedy')


def test_with_torch_the_table_compares_both():
    cell = {'median': 1.4, 'low': 1.3, 'high': 1.5, 'count': 5}
    against = {'onnx_ms': cell, 'torch_ms': cell, 'torch_over_onnx': cell,
               'difference_rad': 6e-8}
    assert [line[1] for line in rows(
        {'onnx_against_torch': against, **summary([run(1.0)])})[-2:]] == [
            '1.40 (1.30 to 1.50), n = 5', '6.0e-08']


def test_a_model_too_slow_for_both_to_take_turns_is_refused_with_the_remedy():
    check_turns(run(0.0), 0.06)    # a quarter of it, and twice 20 ms
    with pytest.raises(NoInference, match=r'--replan-period-s more than 0\.05'):
        check_turns(run(0.0), 0.05)


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
    monkeypatch.setitem(sys.modules, 'torch', None)
    # Another test may have imported it with torch.
    monkeypatch.delitem(sys.modules, 'chunked_vla_ros.bench.vla_model', raising=False)
    # Not by `main`: tyro has a look at torch itself where it is known.
    assert run_bench_inference(BenchInferenceOptions(out=str(tmp_path))) == 2
    assert 'pip install -r requirements/train.txt' in capsys.readouterr().err


def test_the_bare_session_has_the_settings_of_the_policys(tmp_path, make_bundle):
    pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')
    from chunked_vla_ros.bench.bare_session import open_bare
    from chunked_vla_ros.data.robot_contract import load_robot
    from chunked_vla_ros.policies.execution_provider import open_session
    make_bundle(tmp_path / 'bundle', load_robot('ur5e_sim'))
    model = (tmp_path / 'bundle' / 'policy.onnx').read_bytes()

    def settings(session):
        options = session.get_session_options()
        return (session.get_providers(), options.intra_op_num_threads,
                options.inter_op_num_threads, options.execution_mode,
                options.graph_optimization_level,
                *(options.get_session_config_entry(name) for name in (
                    'session.intra_op.allow_spinning', 'session.load_model_format')))

    assert settings(open_bare(model, 2)) == settings(open_session(model, 'cpu', 2).session)


def test_the_node_is_measured_beside_the_bare_session(tmp_path, make_bundle):
    pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
    pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')
    from chunked_vla_ros.data.robot_contract import load_robot
    make_bundle(tmp_path / 'bundle', load_robot('ur5e_sim'))
    code = main(['bench', 'inference', '--bundle', str(tmp_path / 'bundle'), '--repeats', '1',
                 '--chunks', '3', '--replan-period-s', '0.5', '--joint-rate-hz', '100',
                 '--out', str(tmp_path), '--json', str(tmp_path / 'copy.json')])
    # Whether a busy machine keeps the bounds is not this test's business.
    assert code in (0, 1)
    found = json.loads((tmp_path / 'copy.json').read_text())
    [found_run] = found['runs']
    assert [len(found_run[name]) for name in ('overall_ms', 'policy_ms', 'bare_ms')] == [3, 3, 3]
    assert min(found_run['bare_ms']) > 0.0
    assert all(whole > part for whole, part in zip(
        found_run['overall_ms'], found_run['policy_ms'], strict=True))
    assert 'torch' in found['onnx_against_torch']['reason']


def test_a_bundle_that_the_node_refuses_is_one_line_in_its_words(tmp_path, make_bundle, capsys):
    pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
    pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')
    from chunked_vla_ros.data.robot_contract import load_robot
    make_bundle(tmp_path / 'bundle', load_robot('ur5e_sim'))
    assert main(['bench', 'inference', '--bundle', str(tmp_path / 'bundle'), '--robot',
                 'franka_fr3', '--out', str(tmp_path)]) == 1
    [line] = capsys.readouterr().err.strip().splitlines()
    assert "does not fit robot franka_fr3: joint 'fr3_joint1' is missing" in line
