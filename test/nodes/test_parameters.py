"""Parameters come from a dataclass: described, bounded, and strict in the node's own section."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

import rclpy
from rclpy.parameter import Parameter

from chunked_vla_ros.nodes.parameters import declare, parameter, ParameterError


@dataclass(frozen=True)
class Settings:
    """Of the node under test."""

    rate_hz: float = parameter(200.0, 'control rate [Hz]', minimum=100.0, maximum=1000.0)
    depth: int = parameter(2, 'queue depth', minimum=1, maximum=8)
    clock: str = parameter('wall', 'which clock', choices=('wall', 'sim'))
    active: bool = parameter(True, 'whether to start')


@pytest.fixture
def context(domain: int) -> Iterator[Any]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    yield context
    rclpy.shutdown(context=context)


def make_node(context: Any, namespace: str = '', **values: Any) -> Any:
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    return rclpy.create_node('arm', context=context, namespace=namespace,
                             parameter_overrides=overrides)


def test_defaults_are_those_of_the_dataclass(context: Any) -> None:
    assert declare(make_node(context), Settings, ['node']) == Settings()


def test_given_values_are_in_force_and_cannot_be_changed_while_running(context: Any) -> None:
    node = make_node(context, rate_hz=500.0)
    assert declare(node, Settings, ['node']).rate_hz == 500.0
    answer = node.set_parameters([Parameter('rate_hz', value=300.0)])[0]
    assert not answer.successful
    assert node.get_parameter('rate_hz').value == 500.0


def test_descriptor_carries_text_and_range(context: Any) -> None:
    node = make_node(context)
    declare(node, Settings, ['node'])
    rate, depth, clock = (node.describe_parameter(n) for n in ('rate_hz', 'depth', 'clock'))
    assert rate.description == 'control rate [Hz]'
    assert rate.floating_point_range[0].to_value == 1000.0
    assert depth.integer_range[0].from_value == 1
    assert clock.additional_constraints == 'one of wall, sim'


@pytest.mark.parametrize(('values', 'complaint'), [
    ({'rate_hz': 99.0}, 'parameter rate_hz is 99.0, expected float from 100.0 to 1000.0'),
    ({'rate_hz': 200}, 'parameter rate_hz is 200, expected float from 100.0 to 1000.0'),
    ({'depth': 9}, 'parameter depth is 9, expected int from 1 to 8'),
    ({'clock': 'moon'}, "parameter clock is 'moon', expected one of wall, sim"),
    ({'active': 'yes'}, "parameter active is 'yes', expected bool"),
])
def test_wrong_value_is_named_with_what_was_expected(
        context: Any, values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ParameterError) as error:
        declare(make_node(context, **values), Settings, ['node'])
    assert str(error.value) == f'arm: {complaint}'


@pytest.mark.parametrize(('section', 'namespace'), [
    ('arm', ''), ('/arm', ''), ('/**/arm', 'left'), ('/left/arm', 'left')])
def test_unknown_name_in_the_own_section_is_refused(
        context: Any, tmp_path: Path, section: str, namespace: str) -> None:
    path = tmp_path / 'arm.yaml'
    path.write_text(f'{section}:\n  ros__parameters: {{rate: 1.0}}\n')
    with pytest.raises(ParameterError) as error:
        declare(make_node(context, namespace), Settings, ['node', '--params-file', str(path)])
    assert 'unknown parameter rate' in str(error.value)
    assert 'rate_hz' in str(error.value)


def test_other_nodes_sections_and_the_wildcard_are_not_ours_to_judge(
        context: Any, tmp_path: Path) -> None:
    path = tmp_path / 'arm.yaml'
    path.write_text('/**:\n  ros__parameters: {x: 1}\nleg:\n  ros__parameters: {y: 1}\n')
    assert declare(make_node(context), Settings, ['node', '--params-file', str(path)])
