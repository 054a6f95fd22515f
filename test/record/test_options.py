"""The options of `chunked-vla record`, and what they make of the graph."""

from pathlib import Path
from typing import Any

import pytest

from chunked_vla_ros.cli import main
from chunked_vla_ros.graph.node_spec import GraphError
from chunked_vla_ros.graph.record import record_graph
from chunked_vla_ros.record.options import RecordEpisodesOptions


@pytest.mark.parametrize(('chosen', 'message'), [
    ({'episodes': 0}, '--episodes is 0, expected 1 to'),
    ({'expert': True, 'noise': 2.0}, '--noise is 2.0, expected 0.0 to 1.0'),
    ({'expert': True, 'noise': float('nan')}, '--noise is nan'),
    ({'noise': 0.1}, "are the expert's: add --expert"),
    ({'quality': 'mixed'}, "are the expert's: add --expert"),
    ({'expert': True, 'quality': 'bad'}, "--quality is 'bad', expected one of even, mixed"),
    ({'in_process': True}, '--in-process is for the expert: add --expert'),
    ({'expert': True, 'workers': 2}, '--workers are processes of --in-process: add it'),
    ({'expert': True, 'in_process': True, 'topics': '/a'}, '--topics is for a ROS graph'),
    ({'expert': True, 'in_process': True, 'domain_id': 3}, '--domain-id is for a ROS graph'),
    ({'expert': True, 'use_sim': False}, '--expert needs the simulator'),
    ({'positions': 'far'}, "--positions is 'far', expected one of fixed, random, unseen"),
    ({'hand': 'foot'}, "--hand is 'foot', expected one of keyboard"),
    ({'hand': 'none'}, "--hand is 'none', expected one of keyboard"),
    ({'seed': -1}, '--seed is -1, expected 0 to'),
    ({'params_file': '/nowhere.yaml'}, '/nowhere.yaml: no such parameter file'),
    ({'out': ''}, 'out is empty')])
def test_a_wrong_option_is_one_line(chosen: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError, match=message):
        RecordEpisodesOptions(**chosen)


def test_the_expert_drives_alone_and_its_dials_are_set() -> None:
    options = RecordEpisodesOptions(
        expert=True, noise=0.1, pushes_per_minute=2.0, quality='varying', seed=5)
    specs = {spec.name: spec.parameters for spec in record_graph(options.graph())}
    assert list(specs) == ['sim', 'inference', 'chunk_executor', 'recorder']
    inference = specs['inference']
    assert (inference['policy'], inference['expert_noise'], inference['expert_seed']) == (
        'expert', 0.1, 5)
    assert inference['expert_pushes_per_minute'] == 2.0
    assert inference['expert_quality'] == 'varying'
    assert inference['run_on_activate'] is False, 'episodes begin when the recorder listens'
    assert specs['recorder']['operator'] == 'expert policy'


def test_a_person_drives_by_the_hand_that_is_named_with_a_real_robot_too() -> None:
    options = RecordEpisodesOptions(hand='leader', use_sim=False, operator='Ann')
    specs = {spec.name: spec.parameters for spec in record_graph(options.graph())}
    assert list(specs) == ['chunk_executor', 'teleop', 'recorder']
    assert specs['teleop']['hand'] == 'leader'
    assert specs['recorder']['operator'] == 'Ann'


def test_where_another_node_drives_there_is_only_the_recorder() -> None:
    specs = record_graph(RecordEpisodesOptions(hand='other', use_sim=False).graph())
    assert [spec.name for spec in specs] == ['chunk_executor', 'recorder']


def test_settings_of_a_device_come_from_a_parameter_file(tmp_path: Path) -> None:
    mine = tmp_path / 'arm.yaml'
    mine.write_text('/**/teleop:\n  ros__parameters: {leader_joints: "a:shoulder_pan_joint"}\n')
    options = RecordEpisodesOptions(hand='leader', params_file=str(mine))
    assert all(spec.parameter_files[-1] == str(mine) for spec in record_graph(options.graph()))


def test_a_second_session_does_not_begin_from_the_same_scenes() -> None:
    run = pytest.importorskip('chunked_vla_ros.record.run', reason='no ROS 2 here')
    assert run.next_seed(()) == 0
    assert run.next_seed({'episode_000000', 'episode_000007', 'grasp'}) == 8


def test_the_command_line_knows_the_words_of_the_documentation(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['record', '--help']) == 0
    shown = capsys.readouterr().out
    for word in ('--episodes', '--expert', '--noise', '--positions', '--out', '--hand',
                 '--params-file'):
        assert word in shown
    assert main(['up', 'record', '--help']) == 0
    assert '--hand' in capsys.readouterr().out


def test_a_mistake_on_the_command_line_is_one_line_and_exit_code_2(
        capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['record', '--expert', '--noise', '3']) == 2
    assert capsys.readouterr().err == (
        'error: --noise is 3.0, expected 0.0 to 1.0 (see chunked-vla record --help)\n')


def test_a_person_is_where_the_environment_says_and_a_wrong_domain_is_one_line(
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        tmp_path: Path) -> None:
    run = pytest.importorskip('chunked_vla_ros.record.run', reason='no ROS 2 here')
    monkeypatch.setenv('ROS_DOMAIN_ID', '7')
    assert (run.shared_domain(None), run.shared_domain(3)) == (7, 3)
    monkeypatch.delenv('ROS_DOMAIN_ID')
    assert run.shared_domain(None) == 0
    monkeypatch.setenv('ROS_DOMAIN_ID', 'seven')
    assert run.run_record(RecordEpisodesOptions(out=str(tmp_path))) == 2
    assert capsys.readouterr().err == "error: ROS_DOMAIN_ID is 'seven', expected a number\n"
