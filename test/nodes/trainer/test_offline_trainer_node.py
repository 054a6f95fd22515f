"""The offline trainer as a process: bags become a dataset, and the node answers meanwhile."""

import os
from pathlib import Path
import signal
from typing import Any

import numpy as np
import pytest

rclpy = pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')

from rosbags.typesys import get_typestore, Stores  # noqa: E402

from chunked_vla_ros.action import TrainPolicy  # noqa: E402
from chunked_vla_ros.data.datasets import open_dataset  # noqa: E402
from chunked_vla_ros.graph.node_spec import NodeSpec  # noqa: E402
from chunked_vla_ros.graph.supervisor import Supervisor  # noqa: E402

LIMIT_S = 100.0
STORE = get_typestore(Stores.ROS2_JAZZY)
T0_NS = 1_700_000_000_000_000_000
JOINTS = [f'fr3_joint{number}' for number in range(1, 8)]
Result = TrainPolicy.Result


def write_bag(path: Path, rows: int) -> None:
    """Write joint states at 100 Hz: joint 1 goes up by 0.001 rad a row."""
    state, header, time = (STORE.types[name] for name in (
        'sensor_msgs/msg/JointState', 'std_msgs/msg/Header', 'builtin_interfaces/msg/Time'))
    with rosbag2.Writer(path, version=9, storage_plugin=rosbag2.StoragePlugin.MCAP) as writer:
        topic = writer.add_connection('/joint_states', state.__msgtype__, typestore=STORE)
        for row in range(rows):
            now_ns = T0_NS + row * 10_000_000
            position = np.zeros(7)
            position[0] = 0.001 * row
            message = state(header(time(*divmod(now_ns, 10**9)), ''), JOINTS, position,
                            np.zeros(7), np.zeros(0))
            writer.write(topic, now_ns, STORE.serialize_cdr(message, state.__msgtype__))


@pytest.fixture(scope='module')
def bags(tmp_path_factory: Any) -> Path:
    folder: Path = tmp_path_factory.mktemp('recorded')
    for number in range(6):
        write_bag(folder / f'episode_{number:06}', 301)
    return folder


def test_bags_become_a_dataset(trainer: Any, bags: Path, tmp_path: Path) -> None:
    result = trainer.convert(bags / 'episode_000000', bags / 'episode_000001',
                             dataset=tmp_path / 'cubes', options=['fps=50', 'workers=1'])
    assert (result.termination_reason, result.message) == (Result.TERMINATION_DONE, '2 bags')
    # 301 states at 100 Hz are 3 s: 151 rows at 50 Hz.
    assert (result.episodes, result.rows) == (2, 302)
    assert result.dataset == str(tmp_path / 'cubes')
    assert list(result.refused) == []
    last = trainer.feedback[-1]
    assert (last.stage, last.step, last.steps) == (0, 2, 2)
    assert dict(zip(last.metric_names, last.metric_values, strict=True))['rows'] == 302.0
    dataset = open_dataset(tmp_path / 'cubes')
    assert dataset.episodes == (0, 1)
    assert dataset.episode(1).state[10, 0] == pytest.approx(0.020)


def test_a_cancelled_job_goes_on_where_it_stopped(
        trainer: Any, bags: Path, tmp_path: Path) -> None:
    wish = {'bags': [str(bags)], 'dataset': str(tmp_path / 'cubes'), 'options': ['workers=1']}
    goal = trainer.send(**wish)
    trainer.peer.wait_for(
        lambda: any(said.step for said in trainer.feedback), 'a bag that is done', LIMIT_S)
    ended = trainer.cancel(goal)
    assert ended.termination_reason == Result.TERMINATION_CANCELED
    if (tmp_path / 'cubes').exists():
        # Heard late, the last bag was done before the job could be cancelled: then all is there.
        assert len(open_dataset(tmp_path / 'cubes').episodes) == 6
        return
    again = trainer.convert(bags, dataset=tmp_path / 'cubes', options=['workers=1'])
    assert (again.termination_reason, again.episodes) == (Result.TERMINATION_DONE, 6)
    assert trainer.feedback[0].step > 0


def test_a_bag_that_is_none_fails_the_job_and_is_named(
        trainer: Any, bags: Path, tmp_path: Path) -> None:
    bad = tmp_path / 'bad'
    bad.mkdir()
    (bad / 'bad_0.mcap').write_bytes(b'no mcap')
    result = trainer.convert(bags / 'episode_000000', bad, dataset=tmp_path / 'cubes')
    assert result.termination_reason == Result.TERMINATION_FAILED
    assert result.dataset == ''
    assert len(result.refused) == 1
    assert result.refused[0].startswith('bad: refused: ')
    assert '1 of 2 bags refused' in result.message
    assert not (tmp_path / 'cubes').exists()


def test_an_existing_folder_is_not_touched(trainer: Any, bags: Path, tmp_path: Path) -> None:
    (tmp_path / 'mine').mkdir()
    result = trainer.convert(bags, dataset=tmp_path / 'mine')
    assert result.termination_reason == Result.TERMINATION_FAILED
    assert 'exists already' in result.message
    assert list((tmp_path / 'mine').iterdir()) == []


@pytest.mark.parametrize(('fields', 'reason'), [
    ({'dataset': '/tmp/x'}, 'bags is empty'),
    ({'bags': ['/b']}, 'dataset is empty'),
    ({'bags': ['/b'], 'dataset': '/tmp/x', 'stage': 9}, 'stage 9, expected'),
    ({'dataset': '/tmp/x', 'stage': 1}, 'out is empty'),
    ({'out': '/tmp/x', 'stage': 1}, 'datasets is empty'),
    ({'dataset': '/d', 'out': '/o', 'stage': 2},
     'start_from is empty: name the imitation checkpoint that offline RL begins at'),
    ({'dataset': '/d', 'out': '/dev/null/o', 'stage': 1, 'bags': ['/b']},
     'the job cannot begin: /dev/null/o: Not a directory'),
    ({'dataset': '/tmp/x', 'out': '/o', 'stage': 1, 'train_options': ['-v']},
     "train option '-v'"),
    ({'bags': ['/b'], 'dataset': '/tmp/x', 'options': ['out=/y']}, "option 'out=/y'")])
def test_a_goal_that_cannot_begin_is_refused(
        trainer: Any, fields: dict[str, Any], reason: str) -> None:
    assert not trainer.send(**fields).accepted
    trainer.peer.wait_for(lambda: f'goal refused: {reason}' in trainer.said(), reason)


def test_an_interrupt_ends_node_and_conversion_in_order(
        domain: int, bags: Path, tmp_path: Path) -> None:
    spec = NodeSpec('offline_trainer_node', 'offline_trainer', namespace='second', parameters={
        'robot': 'franka_fr3', 'bags': (str(bags),), 'dataset': str(tmp_path / 'cubes'),
        'options': ('workers=1',)})
    with Supervisor([spec], env={'ROS_DOMAIN_ID': str(domain)}) as graph:
        def log() -> str:
            return '\n'.join(graph.log_tail('offline_trainer', 50))
        pid = graph.pid('offline_trainer')
        while 'chunked-vla convert' not in log():
            assert not graph.wait(0.02), log()
        assert pid is not None
        os.kill(pid, signal.SIGINT)
        assert graph.wait(LIMIT_S)
        assert graph.poll()['offline_trainer'] == 0
        assert 'Traceback' not in log()
    assert not (tmp_path / 'cubes').exists()


@pytest.mark.parametrize(('setting', 'reason'), [
    ('out:=/tmp/x', 'datasets is empty: name datasets, or bags that become one'),
    ('bundle:=/tmp/x', 'datasets is empty'),
    ('dataset:=/tmp/x', 'bags is empty'),
    ('stage:=1', 'unknown parameter stage')])
def test_a_job_by_parameters_that_cannot_begin_is_one_line_and_exit_code_2(
        try_to_start: Any, domain: int, setting: str, reason: str) -> None:
    code, errors = try_to_start(
        'chunked_vla_ros.nodes.offline_trainer_node', domain, '--ros-args', '-p', setting)
    assert (code, len(errors.strip().splitlines())) == (2, 1)
    assert reason in errors
