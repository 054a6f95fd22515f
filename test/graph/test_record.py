"""The record graph, the same for launch, for `chunked-vla up` and for `chunked-vla record`."""

from pathlib import Path
import runpy
from typing import Any

import pytest

from chunked_vla_ros.graph.deploy import deploy_graph, DeployOptions
from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec
from chunked_vla_ros.graph.options import option_texts, options_from_text
from chunked_vla_ros.graph.record import HANDS, record_graph, RecordOptions
from chunked_vla_ros.graph.train import train_graph, TrainOptions

LAUNCH = Path(__file__).resolve().parents[2] / 'launch'


def by_name(**chosen: Any) -> dict[str, NodeSpec]:
    return {spec.name: spec for spec in record_graph(RecordOptions(**chosen))}


@pytest.mark.parametrize(('chosen', 'nodes'), [
    ({}, ['sim', 'chunk_executor', 'teleop', 'recorder']),
    ({'use_sim': False, 'hand': 'leader'}, ['chunk_executor', 'teleop', 'recorder']),
    ({'policy': 'expert', 'hand': 'none'}, ['sim', 'inference', 'chunk_executor', 'recorder']),
    ({'hand': 'other'}, ['sim', 'chunk_executor', 'recorder']),
    ({'policy': 'expert'}, ['sim', 'inference', 'chunk_executor', 'teleop', 'recorder'])])
def test_who_demonstrates_says_which_nodes_there_are(
        chosen: dict[str, Any], nodes: list[str]) -> None:
    assert list(by_name(**chosen)) == nodes


def test_a_person_drives_from_the_start_only_where_no_policy_does() -> None:
    assert by_name(hand='joy')['teleop'].parameters['take_over_on_activate'] is True
    beside = by_name(hand='joy', policy='expert')['teleop']
    assert beside.parameters['take_over_on_activate'] is False
    assert beside.parameters['hand'] == 'joy'


def test_only_a_person_at_the_keyboard_gets_the_terminal() -> None:
    assert [name for name, spec in by_name().items() if spec.keys] == ['teleop']
    assert not any(spec.keys for spec in by_name(hand='joy', policy='expert').values())


def test_a_policy_waits_until_it_is_told_to_run() -> None:
    assert by_name(policy='expert')['inference'].parameters['run_on_activate'] is False


def test_what_the_deploy_graph_has_is_the_same_here() -> None:
    deployed = deploy_graph(DeployOptions(run_on_activate=False))
    recorded = by_name(policy='expert')
    assert recorded['sim'] == deployed[0]
    assert recorded['chunk_executor'] == deployed[2]
    assert recorded['inference'].parameters.items() >= deployed[1].parameters.items()


def test_the_experts_dials_reach_inference() -> None:
    given = by_name(policy='expert', hand='none', expert_noise=0.1, expert_seed=7,
                    expert_pushes_per_minute=2.0)['inference'].parameters
    assert (given['expert_noise'], given['expert_seed']) == (0.1, 7)
    assert given['expert_pushes_per_minute'] == 2.0


def test_the_recorder_is_told_what_is_asked_for_and_nothing_else(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plain = by_name(out='here')['recorder'].parameters
    assert plain == {'use_sim_time': False, 'robot': 'ur5e_sim', 'autostart': True,
                     'out': str(tmp_path / 'here')}
    given = by_name(task='fold', operator='me', topics='/a, /b', compression='front=jpeg:90')
    assert given['recorder'].parameters.items() >= {
        'task': 'fold', 'operator': 'me', 'topics': ('/a', '/b'),
        'compression': ('front=jpeg:90',)}.items()
    arguments = given['recorder'].parameter_arguments()
    assert 'topics:=["/a", "/b"]' in arguments


def test_every_node_has_its_parameter_file_and_the_users_after_it(tmp_path: Path) -> None:
    mine = tmp_path / 'mine.yaml'
    mine.write_text('/**:\n  ros__parameters: {}\n')
    for name, spec in by_name(policy='expert', params_file=str(mine)).items():
        assert spec.parameter_files[-1] == str(mine)
        config = {'chunk_executor': 'executor'}.get(name, name)
        assert spec.parameter_files[0].endswith(f'/config/{config}.yaml')


def test_only_the_executor_ends_the_graph() -> None:
    rules = {name: (spec.respawn, spec.required) for name, spec in by_name().items()}
    assert rules == {'sim': (True, False), 'chunk_executor': (False, True),
                     'teleop': (True, False), 'recorder': (True, False)}


@pytest.mark.parametrize(('chosen', 'message'), [
    ({'hand': 'foot'}, "hand 'foot', expected one of keyboard, joy, leader, other, none"),
    ({'hand': 'none'}, 'nobody demonstrates: choose a hand'),
    ({'policy': 'magic'}, "policy 'magic', expected one of none, onnx"),
    ({'policy': 'expert', 'expert_noise': 1.5}, 'expert_noise is 1.5, expected 0 to 1'),
    ({'expert_noise': 0.1}, 'expert_noise is 0.1, but the policy is none, not expert'),
    ({'policy': 'expert', 'expert_pushes_per_minute': -1.0}, 'expected 0 to 60'),
    ({'policy': 'expert', 'expert_noise': float('nan')}, 'expert_noise is nan'),
    ({'policy': 'expert', 'expert_quality': 'bad'}, "expert_quality is 'bad', expected one of"),
    ({'expert_quality': 'mixed'}, 'expert_quality is mixed, but the policy is none, not expert'),
    ({'expert_seed': -1}, 'expert_seed is -1'), ({'out': ''}, 'out is empty')])
def test_a_wrong_option_is_one_line(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        RecordOptions(**chosen)


def test_the_deploy_graph_still_needs_a_policy() -> None:
    with pytest.raises(GraphError, match="policy 'none', expected one of onnx"):
        DeployOptions(policy='none')


def test_every_option_survives_the_way_through_launch() -> None:
    texts = option_texts(RecordOptions)
    assert all(option.doc for option in texts)
    assert {'hand', 'out', 'expert_noise', 'robot', 'use_sim'} <= {one.name for one in texts}
    assert options_from_text(RecordOptions, {one.name: one.default for one in texts}) == (
        RecordOptions())
    assert options_from_text(RecordOptions, {
        'policy': 'expert', 'expert_noise': '0.25'}).expert_noise == 0.25


def test_the_hands_are_those_of_the_node() -> None:
    node = pytest.importorskip('chunked_vla_ros.nodes.teleop_node', reason='no ROS 2 here')
    (choices,) = [spec.metadata['choices'] for spec in node.TeleopParameters
                  .__dataclass_fields__.values() if spec.name == 'hand']
    assert choices == HANDS


@pytest.mark.parametrize(('name', 'options'), [
    ('deploy', DeployOptions), ('record', RecordOptions), ('train', TrainOptions)])
def test_the_launch_file_declares_every_option_and_starts_the_graph(
        name: str, options: type[Any], tmp_path: Path) -> None:
    launch = pytest.importorskip('launch.actions', reason='launch is not installed here')
    pytest.importorskip('launch_ros.actions', reason='launch_ros is not installed here')
    context_type = pytest.importorskip('launch').LaunchContext
    described = runpy.run_path(str(LAUNCH / f'{name}.launch.py'))['generate_launch_description']()
    declared = {argument.name: argument for argument in described.get_launch_arguments()}
    assert set(declared) == {option.name for option in option_texts(options)}
    assert all(argument.description for argument in declared.values())
    context = context_type()
    context.launch_configurations.update(
        {option.name: option.default for option in option_texts(options)})
    (start,) = [one for one in described.entities if isinstance(one, launch.OpaqueFunction)]
    started = [action.node_executable for action in start.execute(context)]
    graph: Any = {'deploy': deploy_graph, 'record': record_graph, 'train': train_graph}[name]
    assert started == [spec.executable for spec in graph(options())]
