"""Episodes recorded in simulated time, without a graph: bags as the recorder makes them."""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mujoco', reason='no simulator in this environment')

from rclpy.serialization import deserialize_message

from chunked_vla_ros.bag.verify import find_faults
from chunked_vla_ros.cli import main
from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.core.dataset_episode import DatasetEpisode
from chunked_vla_ros.core.recording import Outcome, Verdict
from chunked_vla_ros.data.bag_directory import find_bag
from chunked_vla_ros.data.bag_episodes import bag_episodes
from chunked_vla_ros.data.bag_messages import BagReader
from chunked_vla_ros.data.episode_folder import list_episodes
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.msg import ActionChunk, EpisodeEvent, ExecutorState
from chunked_vla_ros.nodes import qos
from chunked_vla_ros.nodes.conversions import stamp_to_ns
from chunked_vla_ros.nodes.simulated_topics import offered
from chunked_vla_ros.record import in_process
from chunked_vla_ros.record.options import RecordEpisodesOptions
from chunked_vla_ros.record.studio import Studio, StudioJob, StudioSetup

ROBOT = load_robot('ur5e_sim')
# Pictures small, so that rendering them costs next to nothing; 5 a second.
SMALL = (Path(__file__).parents[2] / 'config' / 'robots' / 'ur5e_sim.yaml').read_text().replace(
    'width: 224, height: 224', 'width: 48, height: 32').replace('rate_hz: 20.0', 'rate_hz: 5.0')
HELD_TO = {'/joint_states': 125.0, '/position_command': 200.0, '/executor_state': 50.0,
           '/scene': 20.8, '/cameras/front/image_raw': 5.0, '/cameras/wrist/camera_info': 5.0}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a contract of small, slow cameras."""
    made = tmp_path_factory.mktemp('in_process')
    (made / 'small.yaml').write_text(SMALL)
    return made


@pytest.fixture(scope='module')
def record(folder: Path) -> Callable[..., Any]:
    """Return a function that records one episode and says what became of it."""
    def make(name: str, seed: int = 0, out: str = 'bags', **changes: Any) -> Any:
        setup = StudioSetup(**{
            'robot': str(folder / 'small.yaml'), 'out': str(folder / out), 'operator': 'expert',
            'positions': 'fixed', 'noise': 0.0, 'pushes_per_minute': 0.0, 'quality': 'even',
            'compression': (), 'timeout_s': 30.0, **changes})
        studio = Studio(setup)
        try:
            return studio.record(StudioJob(name, seed))
        finally:
            studio.close()
    return make


@pytest.fixture(scope='module')
def success(record: Callable[..., Any]) -> Any:
    return record('success')[0]


@pytest.fixture(scope='module')
def failure(record: Callable[..., Any]) -> Any:
    return record('failure', timeout_s=1.2, quality='mixed', noise=0.1)


def rows(folder: Path, bag: Path) -> DatasetEpisode:
    episode, = bag_episodes(bag, load_robot(str(folder / 'small.yaml')), ConversionRules())
    return episode


def test_a_success_is_a_whole_bag_and_says_so(success: Any) -> None:
    assert (success.outcome, success.verdict, success.reasons) == (
        Outcome.SUCCESS, Verdict.GOOD, ())
    assert find_faults(find_bag(success.path))[1] == []
    listed, = [one for one in list_episodes(success.path.parent).episodes
               if one.episode_id == 'success']
    assert (listed.complete, listed.outcome, listed.messages) == (
        True, Outcome.SUCCESS, success.messages)
    assert listed.facts['operator'] == 'expert'
    assert listed.facts['policy_id'] == 'expert'
    assert listed.facts['task'] == success.task != ''


def test_its_streams_come_at_the_rates_of_the_graph(success: Any) -> None:
    listed = next(one for one in list_episodes(success.path.parent).episodes
                  if one.episode_id == 'success')
    rates = {one['topic']: one['rate_hz'] for one in json.loads(listed.facts['streams'])}
    assert {topic: rates[topic] for topic in HELD_TO} == pytest.approx(HELD_TO, rel=0.01)


def test_its_rows_end_with_the_success(folder: Path, success: Any) -> None:
    episode = rows(folder, success.path)
    # At 5 rows a second; the run and 80 ms after it.
    assert len(episode.times_ns) == pytest.approx(5 * success.duration_s, abs=2)
    assert np.flatnonzero(episode.success).tolist() == [len(episode.times_ns) - 1]
    assert np.flatnonzero(episode.done).tolist() == [len(episode.times_ns) - 1]
    assert set(episode.tasks) == {success.task}
    assert episode.stamps_ns['front'][0] <= episode.times_ns[0]
    picture = next(episode.open_frames('front'))
    assert picture.shape == (32, 48, 3)
    assert picture.std() > 10.0, 'nothing to see'


def test_what_is_commanded_is_what_moves(folder: Path, success: Any) -> None:
    episode = rows(folder, success.path)
    assert np.abs(episode.action[:, :6] - episode.state[:, :6]).max() < 0.1
    assert np.ptp(episode.action[:, 0]) > 0.2
    assert set(episode.action[:, 6].round(1).tolist()) >= {0.0, 0.8}


def test_a_failure_is_kept_and_labelled_without_reward(folder: Path, failure: Any) -> None:
    one, ended = failure
    assert (one.outcome, one.verdict) == (Outcome.FAILURE, Verdict.GOOD)
    assert ended.startswith('timeout: timed out after 1.2 s')
    episode = rows(folder, one.path)
    assert not episode.success.any()
    assert not episode.reward.any()
    assert episode.done[-1]
    assert episode.facts['policy_id'] == 'expert+mixed+noise0.1+pushes0'
    assert bag_episodes(one.path, load_robot(str(folder / 'small.yaml')),
                        ConversionRules(include_failures=False)) == []


def test_events_tell_the_episode_in_the_graphs_order(success: Any) -> None:
    events = [deserialize_message(one.data, EpisodeEvent)
              for one in BagReader(success.path).messages(['/episode_event'])]
    told = [(one.type, one.source) for one in events if one.type != EpisodeEvent.NOTE]
    assert told == [(EpisodeEvent.START, '/recorder'), (EpisodeEvent.TASK, '/recorder'),
                    (EpisodeEvent.SUCCESS, '/sim'), (EpisodeEvent.SUCCESS, '/recorder'),
                    (EpisodeEvent.END, '/recorder')]
    notes = [one.text for one in events if one.type == EpisodeEvent.NOTE]
    assert notes[:4] == ['reach', 'descend', 'close', 'lift']


def test_stamps_are_one_clock_and_the_log_is_in_order(success: Any) -> None:
    logs = [one.log_ns for one in BagReader(success.path).messages()]
    assert logs == sorted(logs)
    assert logs[0] == success.start_ns > 1_500_000_000 * 10**9
    chunk = deserialize_message(
        next(iter(BagReader(success.path).messages(['/action_chunk']))).data, ActionChunk)
    state = deserialize_message(
        next(iter(BagReader(success.path).messages(['/executor_state']))).data, ExecutorState)
    for stamp in (chunk.header.stamp, chunk.observation_stamp, state.header.stamp):
        assert 0 <= stamp_to_ns(stamp) - success.start_ns < 10**9


def test_a_seed_is_the_same_bytes_and_another_is_not(
        record: Callable[..., Any], failure: Any) -> None:
    again = record('failure', out='again', timeout_s=1.2, quality='mixed', noise=0.1)[0]
    other = record('other', 1, out='again', timeout_s=1.2, quality='mixed', noise=0.1)[0]
    first = failure[0].path / 'failure_0.mcap'
    assert (again.path / 'failure_0.mcap').read_bytes() == first.read_bytes()
    assert again.start_ns != other.start_ns


def test_a_bag_offers_what_discovery_tells_of_the_nodes_profiles() -> None:
    told = offered(qos.chunk_out(1.0))
    assert (told.reliability, told.history, told.depth, told.lifespan_ns) == (
        'reliable', 'unknown', 0, 10**9)
    assert told.deadline_ns == told.liveliness_lease_ns == 2**63 - 1
    assert offered(qos.LATCHED).durability == 'transient_local'


def test_episodes_are_named_after_those_that_are_there() -> None:
    options = RecordEpisodesOptions(expert=True, in_process=True, episodes=2, seed=7)
    assert in_process.jobs_of(options, {'episode_000041'}) == [
        StudioJob('episode_000042', 7), StudioJob('episode_000043', 8)]


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_several_processes_record_what_one_does(
        folder: Path, failure: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / 'crew'
    code = main(['record', '--expert', '--in-process', '--workers', '2', '--episodes', '2',
                 '--seed', '0', '--positions', 'fixed', '--quality', 'mixed', '--noise', '0.1',
                 '--timeout-s', '1.2', '--robot', str(folder / 'small.yaml'),
                 '--operator', 'expert', '--out', str(out)])
    assert code == 0, capsys.readouterr().err
    found = {one.episode_id: one for one in list_episodes(out).episodes}
    assert set(found) == {'episode_000000', 'episode_000001'}

    def content(path: Path) -> list[tuple[str, bytes, int]]:
        return [(one.topic, one.data, one.log_ns) for one in BagReader(path).messages()
                if one.topic != '/episode_event']    # they name the episode
    assert content(found['episode_000000'].path) == content(failure[0].path)


def test_what_cannot_be_recorded_is_one_line(
        folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / 'jpeg.yaml').write_text(SMALL.replace('encoding: rgb8', 'encoding: bgr8'))
    assert main(['record', '--expert', '--in-process', '--workers', '1', '--robot',
                 str(folder / 'jpeg.yaml'), '--out', str(folder / 'none')]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith('error: ')
    assert 'front' in error
    assert error.endswith('leave --in-process out')
    assert len(error.splitlines()) == 1
