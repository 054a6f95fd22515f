"""The whole graph records the expert in the simulator; its bags are read by two other readers."""

from collections import Counter
import os
from pathlib import Path
import signal
import subprocess
import sys
import time

import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('mujoco', reason='no simulator in this environment')
mcap_reader = pytest.importorskip('mcap.reader', reason='mcap is not installed')
rosbag2 = pytest.importorskip('rosbags.rosbag2', reason='rosbags is not installed')

from rclpy.serialization import deserialize_message  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from chunked_vla_ros.core.recording import Outcome, Verdict  # noqa: E402
from chunked_vla_ros.data.episode_folder import EpisodeRecord, list_episodes  # noqa: E402
from chunked_vla_ros.demo.free_domain import free_domain  # noqa: E402
from chunked_vla_ros.msg import EpisodeEvent  # noqa: E402

pytestmark = pytest.mark.timeout(400)
LIMIT_S = 180.0
IDS = ['episode_000000', 'episode_000001', 'episode_000002']
CUT_OFF = 'episode_000003'
TOPICS = {'/joint_states', '/cameras/front/image_raw', '/cameras/wrist/image_raw',
          '/cameras/front/camera_info', '/position_command', '/executor_state', '/action_chunk',
          '/episode_event', '/instruction', '/policy_info'}


def command(out: Path, domain: int, *options: str) -> list[str]:
    return [sys.executable, '-m', 'chunked_vla_ros', 'record', '--expert', '--out', str(out),
            '--domain-id', str(domain), *options]


def recorder_of(out: Path) -> int:
    """Return the process that was told to record into ``out``."""
    for entry in Path('/proc').iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / 'cmdline').read_bytes().decode().split('\0')
            except OSError:    # ended meanwhile
                continue
            if f'out:="{out}"' in words:
                return int(entry.name)
    raise AssertionError('no recorder')


def record(out: Path, domain: int, *options: str) -> 'subprocess.CompletedProcess[str]':
    return subprocess.run(
        command(out, domain, *options),
        capture_output=True, text=True, check=False, timeout=LIMIT_S,
        env={**os.environ, 'COLUMNS': '120'})


class Session:
    """Two episodes that the expert has time for; one that it has not, and a recorder that dies."""

    def __init__(self, out: Path) -> None:
        self.out = out
        with free_domain() as domain:
            self.first = record(out, domain, '--episodes', '2', '--noise', '0.1',
                                '--positions', 'random', '--operator', 'Ann')
            self.second = self._killed_in_the_second_episode(domain)
        self.episodes: dict[str, EpisodeRecord] = {
            one.episode_id: one for one in list_episodes(out).episodes}

    def _killed_in_the_second_episode(self, domain: int) -> 'subprocess.CompletedProcess[str]':
        process = subprocess.Popen(
            command(self.out, domain, '--episodes', '5', '--timeout-s', '1'),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, 'COLUMNS': '120'})
        deadline = time.monotonic() + LIMIT_S
        while not list(self.out.glob(f'{CUT_OFF}.partial/*.mcap')):
            assert time.monotonic() < deadline
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        os.kill(recorder_of(self.out), signal.SIGKILL)
        shown, errors = process.communicate(timeout=LIMIT_S)
        return subprocess.CompletedProcess(process.args, process.returncode, shown, errors)

    def messages(self, name: str) -> list[tuple[str, bytes]]:
        """Return topic and data of an episode's messages, by rosbags."""
        with rosbag2.Reader(self.out / name) as reader:
            return [(connection.topic, bytes(data)) for connection, _, data in reader.messages()]


@pytest.fixture(scope='module')
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session(tmp_path_factory.mktemp('session') / 'episodes')


def test_every_episode_is_there_and_a_second_session_goes_on_counting(session: Session) -> None:
    complete = [name for name, one in session.episodes.items() if one.complete]
    assert complete == IDS, session.first.stderr + session.second.stderr
    # And from scenes of its own.
    for name, shown in zip(IDS, [*[session.first.stdout] * 2, session.second.stdout], strict=True):
        assert f'{name}, seed {int(name[-6:])}: ' in shown


@pytest.mark.parametrize('name', IDS)
def test_the_label_is_what_the_simulator_said(session: Session, name: str) -> None:
    events = [deserialize_message(data, EpisodeEvent)
              for topic, data in session.messages(name) if topic == '/episode_event']
    said = any(event.type == EpisodeEvent.SUCCESS and event.source == '/sim' for event in events)
    expected = Outcome.SUCCESS if said else Outcome.FAILURE
    assert session.episodes[name].outcome is expected
    # The recorder's own mark says the same.
    marks = [event.type for event in events if event.source == '/recorder']
    assert marks[:2] == [EpisodeEvent.START, EpisodeEvent.TASK]
    assert [kind for kind in marks if kind in (EpisodeEvent.SUCCESS, EpisodeEvent.FAILURE)] == [
        EpisodeEvent.SUCCESS if said else EpisodeEvent.FAILURE]


def test_both_labels_occur(session: Session) -> None:
    # Within a second nobody picks and places a cube.
    assert session.episodes[IDS[2]].outcome is Outcome.FAILURE
    assert 'failure (timeout: timed out after 1.0 s' in session.second.stdout
    assert Outcome.SUCCESS in {session.episodes[name].outcome for name in IDS[:2]}


def test_the_exit_code_is_about_the_recordings_and_not_about_the_task(session: Session) -> None:
    sound = all(session.episodes[name].verdict is not Verdict.BROKEN for name in IDS[:2])
    assert session.first.returncode == (0 if sound else 1), session.first.stderr


@pytest.mark.parametrize('name', IDS)
def test_two_other_readers_count_what_the_recorder_counted(session: Session, name: str) -> None:
    by_rosbags = Counter(topic for topic, _ in session.messages(name))
    with (session.out / name / f'{name}_0.mcap').open('rb') as stream:
        reader = mcap_reader.make_reader(stream, validate_crcs=True)
        by_mcap = Counter(channel.topic for _, channel, _ in reader.iter_messages())
    assert by_rosbags == by_mcap
    assert by_mcap.total() == session.episodes[name].messages
    assert set(by_mcap) >= TOPICS
    assert session.episodes[name].lost == session.episodes[name].dropped == 0


def test_the_bag_says_who_did_what_with_which_robot(session: Session) -> None:
    text = (session.out / IDS[0] / 'metadata.yaml').read_text()
    facts = yaml.safe_load(text)['rosbag2_bagfile_information']['custom_data']
    assert facts['policy_id'].startswith('expert')
    assert 'noise0.1' in facts['policy_id']
    assert (facts['robot'], facts['operator'], facts['outcome']) == (
        'ur5e_sim', 'Ann', session.episodes[IDS[0]].outcome.value)
    assert facts['task'] == session.episodes[IDS[0]].task != ''


def test_an_image_is_the_one_that_the_contract_promises(session: Session) -> None:
    data = next(data for topic, data in session.messages(IDS[0])
                if topic == '/cameras/front/image_raw')
    image = deserialize_message(data, Image)
    assert (image.width, image.height, image.encoding) == (224, 224, 'rgb8')
    assert len(image.data) == 224 * 224 * 3


def test_the_closing_table_has_a_row_for_each_episode_of_its_own_session(
        session: Session) -> None:
    for name in IDS[:2]:
        one = session.episodes[name]
        row = next(line for line in session.first.stdout.splitlines()
                   if line.startswith(f'│ {name}'))
        cells = [cell.strip() for cell in row.strip('│').split('│')]
        assert cells[1:3] == [one.outcome.value, one.verdict.value]
        assert cells[4:6] == [str(one.messages), '0']
    assert IDS[2] in session.second.stdout
    assert IDS[0] not in session.second.stdout


def test_a_recorder_that_dies_ends_the_session_with_its_name_and_what_there_is(
        session: Session) -> None:
    assert session.second.returncode == 1
    assert session.second.stderr.startswith('error: recorder was ended by SIGKILL\n')
    assert f'{CUT_OFF} is broken: is unfinished: rescue it with' in session.second.stdout
    assert not session.episodes[CUT_OFF].complete


def test_a_folder_that_cannot_be_written_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    ended = record(tmp_path / 'file' / 'episodes', 1)
    assert ended.returncode == 2
    assert ended.stderr.count('\n') == 1
    assert str(tmp_path / 'file') in ended.stderr


@pytest.mark.slow
def test_without_a_graph_the_same_topics_are_recorded(session: Session, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, '-m', 'chunked_vla_ros', 'record', '--expert', '--in-process',
         '--workers', '1', '--episodes', '1', '--timeout-s', '1', '--out', str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=LIMIT_S)
    graph, alone = offered(session.out / IDS[0]), offered(tmp_path / IDS[0])
    del graph['/diagnostics']
    assert alone == graph


def offered(bag: Path) -> dict[str, dict[str, object]]:
    """Return what metadata.yaml says of each topic; only the graph knows the types' hashes."""
    said = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']
    topics = [one['topic_metadata'] for one in said['topics_with_message_count']]
    return {one['name']: {**one, 'type_description_hash': ''} for one in topics}
