"""The offline trainer trains: bags become a policy, and the inference node puts it on the arm."""

from collections.abc import Callable, Iterator
import os
from pathlib import Path
import signal
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')
pytest.importorskip('torch', reason='torch is not installed (extra train)')
pytest.importorskip('onnxruntime', reason='no ONNX Runtime in this environment')

from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.srv import GetParameters
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from chunked_vla_ros.action import TrainPolicy
from chunked_vla_ros.bench.convert_bags import contract, JOINTS, write_bag
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.episode_folder import label
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ActionChunk
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.srv import LoadPolicy

# A machine with other work to do imports torch and exports a model in minutes.
LIMIT_S = 240.0
pytestmark = pytest.mark.timeout(600)
Result = TrainPolicy.Result
SIZE = 32
TINY = ('policy.width=16', 'policy.layers=1', 'policy.expert_layers=1', 'policy.flow_steps=1',
        'horizon=4', 'step_s=0.1', 'batch_size=2', 'imitation.flow_draws=1',
        'validation_episodes=1')
TINY_RL = ('steps=4', 'batch_size=2', 'warm_up_steps=0', 'rl.critic_steps=2', 'rl.horizon=2',
           'rl.critic_width=8', 'rl.critic_layers=1', 'rl.candidates=2', 'rl.candidate_steps=1')
# More steps than anybody waits for.
ENDLESS = (*TINY, 'steps=100000000', 'checkpoint_every=20')
START_INFERENCE = ('import sys; from chunked_vla_ros.nodes.inference_node import main; '
                   'sys.exit(main())')


@pytest.fixture(scope='module', autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep decoded frames away from the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('XDG_CACHE_HOME', str(tmp_path_factory.mktemp('cache')))
        yield


@pytest.fixture(scope='module')
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of two bags of half a second that succeeded, ``robot.yaml`` beside it."""
    folder = tmp_path_factory.mktemp('recorded') / 'bags'
    folder.mkdir()
    (folder.parent / 'robot.yaml').write_text(contract(SIZE, SIZE))
    for number in range(2):
        write_bag(folder / f'bag_{number}', number, 15, SIZE, SIZE)
        label(folder, f'bag_{number}', Outcome.SUCCESS, now_ns=1)
    return folder


@pytest.fixture(scope='module')
def wish(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return a goal: bags to a dataset at 10 Hz, and three steps of a tiny policy."""
    home = tmp_path_factory.mktemp('home')
    return {
        'stage': TrainPolicy.Goal.STAGE_IMITATION, 'bags': [str(bags)],
        'dataset': str(home / 'cubes'), 'robot': str(bags.parent / 'robot.yaml'),
        'options': ['fps=10', 'task=lift the cube', 'workers=1'], 'config': 'compact',
        'out': str(home / 'runs' / 'tiny'), 'train_options': [*TINY, 'steps=3']}


@pytest.fixture(scope='module')
def trained(trainer: Any, wish: dict[str, Any]) -> Any:
    """Return the result of that goal, its feedback with it."""
    result = trainer.result(trainer.send(**wish))
    return result, [*trainer.feedback]


@pytest.fixture(scope='module')
def endless(trained: Any, wish: dict[str, Any]) -> dict[str, Any]:
    """Return a goal: the dataset that there is, and a training without end."""
    return {
        'stage': TrainPolicy.Goal.STAGE_IMITATION, 'datasets': [trained[0].dataset],
        'robot': wish['robot'], 'config': 'compact', 'train_options': [*ENDLESS]}


def test_one_goal_takes_bags_to_a_bundle_and_says_how_far_it_is(
        trained: Any, wish: dict[str, Any]) -> None:
    result, feedback = trained
    assert (result.termination_reason, result.message) == (Result.TERMINATION_DONE, '3 steps')
    # 15 frames at 30 Hz are 14/30 s: rows at 0.0 to 0.4 s.
    assert (result.dataset, result.episodes, result.rows) == (wish['dataset'], 2, 10)
    out = Path(wish['out'])
    assert Path(result.bundle) == out / 'bundle'
    assert (Path(result.bundle) / 'manifest.json').is_file()
    assert Path(result.checkpoint) == out / 'checkpoints' / 'step_000003'
    assert result.step == 3
    stages = [said.stage for said in feedback]
    assert stages == sorted(stages)
    assert set(stages) == {0, 1}
    last = [said for said in feedback if 'loss' in said.metric_names][-1]
    assert (last.step, last.steps) == (3, 3)
    named = dict(zip(last.metric_names, last.metric_values, strict=True))
    assert np.isfinite(named['loss'])


@pytest.fixture
def better(trained: Any, wish: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Return a goal: four steps of offline RL, from what that training has left."""
    return {
        'stage': TrainPolicy.Goal.STAGE_OFFLINE_RL, 'datasets': [trained[0].dataset],
        'robot': wish['robot'], 'config': 'advantage', 'start_from': trained[0].checkpoint,
        'out': str(tmp_path / 'better'), 'train_options': [*TINY_RL]}


def test_a_goal_of_offline_rl_takes_an_imitation_to_another_bundle(
        trainer: Any, better: dict[str, Any]) -> None:
    better['train_options'] += ['rl.accept_weak_data=true']
    result = trainer.result(trainer.send(**better))
    assert (result.termination_reason, result.message) == (Result.TERMINATION_DONE, '4 steps')
    assert Path(result.checkpoint) == Path(better['out']) / 'checkpoints' / 'step_000004'
    assert {said.stage for said in trainer.feedback} == {TrainPolicy.Goal.STAGE_OFFLINE_RL}
    told = {said.step: dict(zip(said.metric_names, said.metric_values, strict=True))
            for said in trainer.feedback if said.metric_names}
    assert max(told) == 4
    assert np.isfinite([numbers['loss'] for numbers in told.values()]).all()
    about = read_bundle(Path(result.bundle)).manifest.training
    assert (about['stage'], about['method']) == ('offline_rl', 'advantage')
    assert about['from'].startswith('3 steps of imitation, weights ')


def test_a_goal_whose_data_support_no_improvement_fails_with_the_reason_in_one_line(
        trainer: Any, better: dict[str, Any]) -> None:
    result = trainer.result(trainer.send(**better))
    assert result.termination_reason == Result.TERMINATION_FAILED
    # Of two episodes one is held out.
    assert ('the data cannot support an improvement, imitation stays the recommended policy: 1 of '
            '1 episodes succeeded, expected 5 or more') in result.message
    assert '\n' not in result.message
    assert (result.bundle, result.checkpoint) == ('', '')


def test_the_bundle_of_the_result_is_put_on_the_arm(
        trained: Any, wish: dict[str, Any], domain: int, peer: Any, tmp_path: Path,
        make_bundle: Callable[..., Any]) -> None:
    make_bundle(tmp_path / 'first', load_robot(wish['robot']), tokenizer=False)
    chunks: list[ActionChunk] = []
    peer.node.create_subscription(ActionChunk, 'action_chunk', chunks.append, qos.CHUNK_IN)
    be_a_robot(peer)
    process = subprocess.Popen(
        [sys.executable, '-c', START_INFERENCE, '--ros-args', '-p', 'policy:=onnx',
         '-p', f'bundle:={tmp_path / "first"}', '-p', f'robot:={wish["robot"]}',
         '-p', 'execution_provider:=cpu', '-p', 'run_on_activate:=true'],
        env={**os.environ, 'ROS_DOMAIN_ID': str(domain)}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, text=True)
    try:
        peer.wait_for(lambda: chunks or process.poll() is not None, 'chunks', LIMIT_S)
        assert chunks
        # Asked once: a busy machine warms a model up for seconds.
        answer = peer.call(LoadPolicy, 'inference/load_policy',
                           LoadPolicy.Request(bundle=trained[0].bundle), LIMIT_S)
        assert answer.success, answer.message
        assert answer.policy_id.startswith('tiny')
        chunk = peer.wait_for(lambda: next(
            (one for one in chunks if one.policy_id == answer.policy_id), None), 'its chunk',
            LIMIT_S)
        assert chunk.joint.joint_names == list(JOINTS)
        assert len(chunk.joint.points) == 4
    finally:
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, errors
    assert 'Traceback' not in errors


def be_a_robot(peer: Any) -> None:
    """Publish at 20 Hz what a robot at rest does, and an instruction."""
    node = peer.node
    states = node.create_publisher(JointState, 'joint_states', qos.SENSOR)
    images = node.create_publisher(Image, 'cameras/front/image_raw', qos.SENSOR)
    words = node.create_publisher(String, 'instruction', qos.LATCHED)
    words.publish(String(data='lift the cube'))

    def publish() -> None:
        image = Image(height=SIZE, width=SIZE, encoding='rgb8', step=3 * SIZE,
                      data=bytes(3 * SIZE * SIZE))
        state = JointState(name=list(JOINTS), position=[0.0] * len(JOINTS))
        image.header.stamp = state.header.stamp = node.get_clock().now().to_msg()
        images.publish(image)
        states.publish(state)

    node.create_timer(0.05, publish)


def begin(trainer: Any, **wish: Any) -> Any:
    """Return the handle of a goal whose training has taken a step."""
    goal = trainer.send(**wish)
    assert goal.accepted, trainer.said()
    ended = trainer.peer.in_turn(goal.get_result_async)
    trainer.wait_for(lambda: ended.done() or any(
        said.metric_names for said in trainer.feedback), 'a step')
    assert not ended.done(), ended.result().result.message
    return goal


def child_of(pid: int) -> int:
    """Return the process that the node has started."""
    return int(Path(f'/proc/{pid}/task/{pid}/children').read_text().split()[-1])


def whole(result: Any, out: Path) -> int:
    """Return the step of the checkpoint that a result names."""
    assert Path(result.checkpoint) == out / 'checkpoints' / f'step_{result.step:06}'
    assert (Path(result.checkpoint) / 'state.json').is_file()
    assert result.bundle == ''
    return int(result.step)


def test_the_node_answers_while_it_trains_and_a_cancelled_training_ends_with_a_checkpoint(
        trainer: Any, endless: dict[str, Any], tmp_path: Path) -> None:
    goal = begin(trainer, out=str(tmp_path / 'run'), **endless)
    answer = trainer.peer.call(
        GetParameters, 'offline_trainer/get_parameters', GetParameters.Request(names=['robot']))
    assert answer.values[0].string_value == 'franka_fr3'
    assert not trainer.send(out=str(tmp_path / 'second'), **endless).accepted
    trainer.wait_for(
        lambda: 'goal refused: a job is under way' in trainer.said(), 'reason of the refusal')
    found = trainer.finding('training: ')
    assert found['stage'] == 'imitation'
    assert int(found['step']) >= 1
    assert int(found['steps']) == 100_000_000
    assert float(found['eta_s']) > 0.0
    assert np.isfinite(float(found['loss']))
    ended = trainer.cancel(goal)
    assert ended.termination_reason == Result.TERMINATION_CANCELED
    reached = whole(ended, tmp_path / 'run')
    assert reached >= int(found['step'])
    assert f'goes on from step {reached}' in ended.message


@pytest.mark.slow
def test_a_training_that_is_killed_fails_and_the_same_goal_goes_on_from_its_checkpoint(
        trainer: Any, endless: dict[str, Any], tmp_path: Path) -> None:
    reached = whole(trainer.cancel(begin(trainer, out=str(tmp_path / 'run'), **endless)),
                    tmp_path / 'run')
    goal = begin(trainer, out=str(tmp_path / 'run'), **endless)
    first = next(said for said in trainer.feedback if said.metric_names)
    assert first.step > reached
    os.kill(child_of(trainer.graph.pid('offline_trainer')), signal.SIGKILL)
    ended = trainer.result(goal)
    assert ended.termination_reason == Result.TERMINATION_FAILED
    kept = whole(ended, tmp_path / 'run')
    assert kept >= reached
    assert ended.message.startswith('the training was killed by SIGKILL after step ')
    assert f'the same goal again goes on from step {kept}' in ended.message
    assert trainer.finding('the last job failed: the training was killed')['checkpoint']


@pytest.mark.slow
def test_the_same_goal_again_is_done_already(
        trainer: Any, trained: Any, wish: dict[str, Any]) -> None:
    first, _ = trained
    again = trainer.result(trainer.send(**wish))
    for name in ('termination_reason', 'dataset', 'episodes', 'rows', 'bundle', 'checkpoint',
                 'step'):
        assert getattr(again, name) == getattr(first, name), name


@pytest.mark.slow
def test_a_deactivated_node_ends_its_training_with_a_checkpoint_and_so_does_the_button(
        trainer: Any, endless: dict[str, Any], tmp_path: Path) -> None:
    def transition(number: int) -> None:
        assert trainer.peer.call(
            ChangeState, 'offline_trainer/change_state',
            ChangeState.Request(transition=Transition(id=number)), LIMIT_S).success

    def press() -> Any:
        return trainer.peer.call(Trigger, 'offline_trainer/cancel', Trigger.Request())

    assert press().message == 'no job is under way'
    goal = begin(trainer, out=str(tmp_path / 'run'), **endless)
    transition(Transition.TRANSITION_DEACTIVATE)
    ended = trainer.result(goal)
    assert ended.termination_reason == Result.TERMINATION_DEACTIVATED
    reached = whole(ended, tmp_path / 'run')
    assert not trainer.send(out=str(tmp_path / 'run'), **endless).accepted
    transition(Transition.TRANSITION_ACTIVATE)
    goal = begin(trainer, out=str(tmp_path / 'run'), **endless)
    assert press().success
    ended = trainer.result(goal)
    assert ended.termination_reason == Result.TERMINATION_CANCELED
    assert whole(ended, tmp_path / 'run') > reached
