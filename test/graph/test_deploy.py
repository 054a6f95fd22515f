"""The deploy graph, the same for launch and for `chunked-vla up`."""

from pathlib import Path

import pytest

from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.options import option_texts, options_from_text


def test_a_real_robot_needs_no_simulator() -> None:
    simulated, real = deploy_graph(DeployOptions()), deploy_graph(DeployOptions(use_sim=False))
    assert [spec.name for spec in simulated] == ['sim', 'inference', 'chunk_executor']
    assert [spec.name for spec in real] == ['inference', 'chunk_executor']


def test_only_the_executor_ends_the_graph_and_only_the_others_come_back() -> None:
    rules = {spec.name: (spec.respawn, spec.required) for spec in deploy_graph(DeployOptions())}
    assert rules == {
        'sim': (True, False), 'inference': (True, False), 'chunk_executor': (False, True)}


def test_every_node_reads_the_same_robot_and_clock() -> None:
    specs = deploy_graph(DeployOptions(robot='other', use_sim_time=True))
    assert {spec.parameters['robot'] for spec in specs} == {'other'}
    assert specs[0].parameters['clock'] == 'sim'
    assert all(spec.parameters['use_sim_time'] is True for spec in specs[1:])


def test_a_path_is_made_absolute_and_a_name_stays(tmp_path: Path,
                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    inference = deploy_graph(DeployOptions(demonstration='demos/one.npy', use_sim=False))[0]
    assert inference.parameters['demonstration'] == str(tmp_path / 'demos' / 'one.npy')
    assert inference.parameters['robot'] == 'ur5e_sim'


def test_the_users_parameter_file_follows_the_packages_own(tmp_path: Path) -> None:
    mine = tmp_path / 'mine.yaml'
    mine.write_text('/**:\n  ros__parameters: {}\n')
    for spec in deploy_graph(DeployOptions(params_file=str(mine))):
        assert spec.parameter_files[-1] == str(mine)
        assert all('/config/' in path for path in spec.parameter_files[:-1])


def test_a_missing_parameter_file_is_named() -> None:
    with pytest.raises(GraphError, match=r'nowhere\.yaml: no such parameter file'):
        DeployOptions(params_file='nowhere.yaml')


def test_every_option_has_a_description_and_survives_the_way_through_launch() -> None:
    texts = option_texts(DeployOptions)
    assert all(option.doc for option in texts)
    assert {'robot', 'policy', 'use_sim', 'namespace', 'params_file', 'autostart',
            'log_level'} <= {option.name for option in texts}
    assert options_from_text(DeployOptions, {o.name: o.default for o in texts}) == DeployOptions()


@pytest.mark.parametrize(('text', 'value'), [('true', True), ('False', False), ('0', False)])
def test_launch_spells_truth_values_in_several_ways(text: str, value: bool) -> None:
    assert options_from_text(DeployOptions, {'use_sim': text}).use_sim is value


def test_a_launch_argument_that_is_no_truth_value_is_named() -> None:
    with pytest.raises(GraphError, match="use_sim is 'perhaps', expected true or false"):
        options_from_text(DeployOptions, {'use_sim': 'perhaps'})


def test_an_unknown_log_level_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(GraphError, match="log level 'loud', expected one of debug"):
        DeployOptions(log_level='loud')


@pytest.mark.parametrize('demonstration', ['', 'nowhere.npy'])
def test_replay_without_a_recording_is_refused_before_anything_starts(demonstration: str) -> None:
    with pytest.raises(GraphError, match=r'policy replay: (no demonstration|nowhere\.npy): name'):
        DeployOptions(policy='replay', demonstration=demonstration)


def test_onnx_without_a_bundle_is_refused_before_anything_starts(tmp_path: Path) -> None:
    for bundle, found in (('', 'no bundle'), (str(tmp_path / 'none'), 'none')):
        with pytest.raises(GraphError, match=f'policy onnx: .*{found}: name the directory'):
            DeployOptions(policy='onnx', bundle=bundle)
    inference = deploy_graph(DeployOptions(
        policy='onnx', bundle=str(tmp_path), execution_provider='cpu', use_sim=False))[0]
    assert inference.parameters['bundle'] == str(tmp_path)
    assert inference.parameters['execution_provider'] == 'cpu'


def test_an_execution_provider_that_there_is_not_is_refused() -> None:
    with pytest.raises(GraphError, match="provider 'npu', expected one of auto, cpu, cuda"):
        DeployOptions(execution_provider='npu')


def test_a_policy_that_there_is_not_is_refused() -> None:
    with pytest.raises(GraphError, match="policy 'magic', expected one of onnx, replay, expert"):
        DeployOptions(policy='magic')


def test_the_rate_of_a_replay_is_a_number_in_its_range() -> None:
    assert options_from_text(DeployOptions, {'replay_rate_hz': '30'}).replay_rate_hz == 30.0
    for text, message in (('fast', "replay_rate_hz is 'fast', expected a number"),
                          ('3', 'replay_rate_hz is 3, expected 5 to 100'),
                          ('nan', 'expected 5 to 100')):
        with pytest.raises(GraphError, match=message):
            options_from_text(DeployOptions, {'replay_rate_hz': text})
