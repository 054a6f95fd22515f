"""The recorder's parts by themselves: the queue, the choice of quality of service, types."""

from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from rclpy.duration import Duration
from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from chunked_vla_ros.action import RunPolicy
from chunked_vla_ros.core.recording import (
    EpisodeFacts,
    INFINITE_NS,
    OfferedQos,
    Outcome,
    StreamSpec,
    Verdict,
    WireMessage,
)
from chunked_vla_ros.core.stream_selection import (
    contract_wishes,
    graph_wishes,
    Selection,
    SelectionError,
    Wish,
)
from chunked_vla_ros.data.episode_writer import EpisodeWriter
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.nodes.recorded_types import message_class, TypeNotHereError
from chunked_vla_ros.nodes.recorder_qos import asks_too_much, offered_qos, profile_for
from chunked_vla_ros.nodes.recorder_selection import make_selection
from chunked_vla_ros.nodes.recorder_writer import EpisodeRecording

S = 1_000_000_000
START = 1_700_000_000 * S
SPEC = StreamSpec('/talk', 'std_msgs/msg/String', 'string data\n')


class Endpoint:
    """What discovery tells of a publisher."""

    def __init__(self, best_effort: bool = False, latched: bool = False) -> None:
        self.qos_profile = QoSProfile(
            depth=3,
            reliability=ReliabilityPolicy.BEST_EFFORT if best_effort
            else ReliabilityPolicy.RELIABLE,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if latched
            else DurabilityPolicy.VOLATILE,
            lifespan=Duration(nanoseconds=7), deadline=Duration(nanoseconds=INFINITE_NS),
            liveliness=LivelinessPolicy.AUTOMATIC,
            liveliness_lease_duration=Duration(nanoseconds=INFINITE_NS))


STRICT, WEAK, LATCHED = Endpoint(), Endpoint(best_effort=True), Endpoint(latched=True)


@pytest.mark.parametrize(('publishers', 'reliable', 'latched'), [
    ([STRICT], True, False), ([WEAK], False, False), ([LATCHED], True, True),
    ([STRICT, WEAK], False, False), ([LATCHED, STRICT], True, False),
    ([LATCHED, LATCHED], True, True), ([LATCHED, WEAK], False, False)])
def test_the_weakest_offer_decides_what_is_asked_for(publishers, reliable, latched):
    profile = profile_for(publishers, 'std_msgs/msg/String')
    assert (profile.reliability == ReliabilityPolicy.RELIABLE) == reliable
    assert (profile.durability == DurabilityPolicy.TRANSIENT_LOCAL) == latched


@pytest.mark.parametrize(('present', 'newcomer', 'too_much'), [
    (STRICT, WEAK, True), (LATCHED, STRICT, True), (LATCHED, WEAK, True),
    (WEAK, STRICT, False), (STRICT, STRICT, False), (STRICT, LATCHED, False)])
def test_a_subscription_is_replaced_only_if_it_would_miss_somebody(present, newcomer, too_much):
    kind = 'std_msgs/msg/String'
    assert asks_too_much(
        profile_for([present], kind), profile_for([present, newcomer], kind)) == too_much


def test_an_offer_is_told_in_rosbag2s_words():
    assert offered_qos(LATCHED) == OfferedQos(
        reliability='reliable', durability='transient_local', history='keep_last', depth=3,
        lifespan_ns=7, deadline_ns=INFINITE_NS, liveliness='automatic',
        liveliness_lease_ns=INFINITE_NS)


def test_classes_are_found_by_their_types_name():
    assert message_class('sensor_msgs/msg/Image') is Image
    assert message_class('chunked_vla_ros/action/RunPolicy_FeedbackMessage') is (
        RunPolicy.Impl.FeedbackMessage)


@pytest.mark.parametrize('name', [
    'no_such_msgs/msg/Thing', 'sensor_msgs/msg/Nothing', 'sensor_msgs/msg/CDR', '', 'os/msg/path',
    'sensor_msgs/srv/SetCameraInfo', '../msg/x', 'sensor_msgs/msg/Image; import os'])
def test_an_unknown_type_is_refused_in_one_line(name):
    with pytest.raises(TypeNotHereError) as refused:
        message_class(name)
    assert '\n' not in str(refused.value)


@pytest.fixture
def recording(tmp_path: Path):
    """Yield a recording whose queue holds 250 bytes, and finish it."""
    facts = EpisodeFacts('small', start_ns=START)
    selection = Selection({'/talk': Wish(), '/joints': Wish(100.0, required=True)})
    return EpisodeRecording(
        'small', EpisodeWriter(tmp_path, facts), selection, START, limit_bytes=250)


def message(size, sequence, topic='/talk'):
    return WireMessage(topic, bytes(size), START + sequence, START + sequence, sequence)


def test_a_full_queue_drops_the_newest_and_counts_it(recording):
    recording.offer(SPEC, 1, message(10, 1))
    recording.offer(SPEC, 1, message(300, 2))    # never fits
    recording.offer(SPEC, 1, message(10, 3))
    record = recording.finish(Outcome.UNLABELED, START + S, 'task', ())
    assert (record.messages, record.dropped, record.lost) == (2, 1, 0)
    assert any('/talk: 1 of 3 messages dropped: the disk or the processor was too slow' in reason
               for reason in record.reasons)


def test_what_was_kept_before_the_start_needs_no_room_in_the_queue(recording):
    recording.preload((SPEC, 1, message(200, number)) for number in range(1, 6))
    record = recording.finish(Outcome.UNLABELED, START + S, 'task', ())
    assert (record.messages, record.dropped) == (5, 0)


def test_a_promised_topic_that_never_came_breaks_the_episode(recording):
    recording.offer(SPEC, 1, message(10, 1))
    record = recording.finish(Outcome.SUCCESS, START + S, 'task', ['a remark'])
    assert (record.verdict, record.outcome) == (Verdict.BROKEN, Outcome.SUCCESS)
    assert '/joints never came: is its driver running?' in record.reasons
    assert 'a remark' in record.reasons


def test_a_name_taken_while_recording_keeps_the_recording_beside_it(recording, tmp_path: Path):
    (tmp_path / 'small').mkdir()
    recording.offer(SPEC, 1, message(10, 1))
    record = recording.finish(Outcome.UNLABELED, START + S, 'task', ())
    assert record.path == tmp_path / 'small.partial'
    assert not record.complete
    assert record.verdict is Verdict.BROKEN
    assert 'exists already' in record.reasons[0]
    assert not list((tmp_path / 'small').iterdir())


def resolve(name):
    return name if name.startswith('/') else f'/lab/{name}'


def test_names_become_those_of_the_graph():
    selection = make_selection('ur5e_sim', ['extra', '/abs'], [''], [''], ['front=jpeg:80'],
                               resolve)
    assert set(selection.wishes) == {
        *map(resolve, contract_wishes(load_robot('ur5e_sim'))), *map(resolve, graph_wishes()),
        '/lab/extra', '/abs'}
    assert selection.codec('/lab/cameras/front/image_raw').value == 80
    assert selection.expected() == [
        '/lab/joint_states', '/lab/cameras/front/image_raw', '/lab/cameras/wrist/image_raw']


def test_what_asks_for_nothing_or_for_what_is_excluded_is_refused():
    with pytest.raises(SelectionError, match='name a robot, topics or patterns'):
        make_selection('', [''], [''], [''], [''], resolve)
    with pytest.raises(SelectionError, match='/a is not recorded'):
        make_selection('', ['/a'], [''], ['/a'], ['/a=png'], resolve)


def test_compressed_images_never_mix_with_those_of_another_publisher():
    mixed = ['/front'], ['/front/.*']
    with pytest.raises(SelectionError, match='mixed with those of /front/compressed, which is'):
        make_selection('', *mixed, [''], ['/front=jpeg'], resolve)
    for exclude, compression in (['/front/compressed'], ['/front=jpeg']), ([''], ['/front=none']):
        assert make_selection('', *mixed, exclude, compression, resolve).wish('/front')


def test_what_was_asked_for_by_name_and_excluded_is_not_missed():
    assert make_selection('', ['a', '/b'], [''], ['/b'], [''], resolve).named == ('/lab/a',)
