"""The demonstration's options, and a graph that cannot start."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunked_vla_ros.demo.run import DemoOptions, run_demo
from chunked_vla_ros.graph.node_spec import GraphError


@pytest.mark.parametrize(('options', 'named'), [
    ({'episodes': 0}, '--episodes is 0, expected 1'), ({'seed': -1}, '--seed is -1'),
    ({'position_set': 'far'}, "--position-set is 'far', expected one of fixed"),
    ({'timeout_s': 0.0}, '--timeout-s is 0.0')])
def test_wrong_option_is_named(options: dict[str, object], named: str) -> None:
    with pytest.raises(GraphError, match=named):
        DemoOptions(**options)  # type: ignore[arg-type]


def test_command_repeats_the_demonstration() -> None:
    assert DemoOptions().command == 'chunked-vla demo'
    assert DemoOptions(episodes=3, out='a b', domain_id=5).command == (
        "chunked-vla demo --episodes 3 --out 'a b'")


def test_unknown_robot_is_one_line_and_exit_code_2(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(DemoOptions(robot='ur99', out=str(tmp_path))) == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ')
    assert 'ur99' in said
    assert said.count('\n') == 1


def test_a_bundle_that_is_not_there_is_one_line(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_demo(DemoOptions(policy='/no/bundle', out=str(tmp_path / 'out'))) == 2
    assert capsys.readouterr().err.count('\n') == 1
    assert not (tmp_path / 'out').exists()


@pytest.mark.timeout(90)
def test_node_that_refuses_to_start_is_named_with_the_end_of_its_log(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A robot that cannot grasp and that no bundle fits: only the inference process can see it.
    assert run_demo(DemoOptions(robot='franka_fr3', out=str(tmp_path))) == 1
    said = capsys.readouterr().err
    assert said.startswith('error: inference ')
    assert 'inference | error:' in said
    assert 'franka_fr3 has no gripper' in said
    assert str(tmp_path / 'graph.log') in said
    assert 'inference |' in (tmp_path / 'graph.log').read_text()
