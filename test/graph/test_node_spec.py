"""What a node specification says on a command line."""

import pytest
import yaml

from chunked_vla_ros.graph.node_spec import GraphError, NodeSpec


def test_arguments_name_the_node_its_namespace_and_its_remappings() -> None:
    spec = NodeSpec('sim_node', 'sim', namespace='cell/left', remappings=(('a', 'b'),))
    assert spec.ros_arguments() == [
        '--ros-args', '-r', '__node:=sim', '-r', '__ns:=/cell/left', '-r', 'a:=b',
        '--log-level', 'info']


def test_parameters_follow_the_files_so_that_they_win() -> None:
    spec = NodeSpec(
        'sim_node', 'sim', parameter_files=('one.yaml', 'two.yaml'), parameters={'seed': 3})
    assert spec.parameter_arguments()[:6] == [
        '--params-file', 'one.yaml', '--params-file', 'two.yaml', '-p', 'seed:=3']


@pytest.mark.parametrize('value', [True, 3, 0.5, 'true', '3', '', 'a b: c', "it's"])
def test_a_parameter_keeps_its_type_on_the_command_line(value: object) -> None:
    spec = NodeSpec('sim_node', 'sim', parameters={'name': value})
    text = spec.parameter_arguments()[1].partition(':=')[2]
    assert yaml.safe_load(text) == value
    assert type(yaml.safe_load(text)) is type(value)


@pytest.mark.parametrize('namespace', ['a b', '9', 'a//b', 'a/', '-r'])
def test_a_namespace_that_ros_refuses_is_named_before_anything_starts(namespace: str) -> None:
    with pytest.raises(GraphError, match='expected names'):
        NodeSpec('sim_node', 'sim', namespace=namespace)


def test_a_node_is_not_both_respawned_and_required() -> None:
    with pytest.raises(GraphError, match='sim cannot be both'):
        NodeSpec('sim_node', 'sim', respawn=True, required=True)
