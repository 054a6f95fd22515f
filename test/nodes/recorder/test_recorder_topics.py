"""Which topics get into a bag, whoever publishes them, whenever they come."""

import array

import numpy as np
import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
pytest.importorskip('cv2', reason='OpenCV is not installed')

import cv2
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from nav_msgs.msg import Odometry
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String

from chunked_vla_ros.action import RunPolicy
from chunked_vla_ros.data.robot_contract import contract_hash
from chunked_vla_ros.nodes import qos

BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
WITHOUT_NAV_MSGS = "import sys; sys.modules['nav_msgs.msg'] = None"
HEIGHT, WIDTH = 48, 64
# Most tests share a recorder that cannot know nav_msgs.
PARAMETERS = (
    'topics:=[talk]',
    "patterns:=['/force/.*', '/late', '/feedback', '/odometry', '/picture/[a-z]+']",
    "exclude:=['.*/raw']", "compression:=['/picture/front=jpeg:90', '/picture/depth=jpeg']")
ROBOT = ('robot:=ur5e_sim', 'topics:=[speech, /talk]', 'pretrigger_s:=30.0')


@pytest.fixture
def recorder(hold, operator):
    yield hold(*PARAMETERS, prelude=WITHOUT_NAV_MSGS)
    operator.forget()


@pytest.fixture
def robot_recorder(hold, operator):
    yield hold(*ROBOT, remap='speech:=/robot/talk')
    operator.forget()


def words(*said):
    return [String(data=word) for word in said]


def image(colour=(250, 10, 10), stamp=7):
    msg = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH)
    msg.header.stamp.sec, msg.header.frame_id = stamp, 'front'
    msg.data = array.array('B', np.tile(np.array(colour, np.uint8), HEIGHT * WIDTH).tobytes())
    return msg


def record(operator, recorder, publishers, messages):
    """Record ``messages`` of each of ``publishers`` and return the bag."""
    name = operator.press_well('start').partition(' ')[0]
    for publisher in publishers:
        for message in messages:
            operator.say(publisher, message)
    operator.press_well('stop')
    return recorder.bag(name)


def test_listed_matching_and_excluded_topics(recorder, operator):
    talk, force = operator.speak('/talk'), operator.speak('/force/left')
    silent = [operator.speak(topic, heard_by=0) for topic in ('/force/raw', '/other')]
    bag = record(operator, recorder, [talk, force, *silent], words('a', 'b'))
    for topic in ('/talk', '/force/left'):
        assert bag.data(topic) == operator.sent[topic]
    assert not {'/force/raw', '/other'} & set(bag.messages)


def test_a_topic_that_appears_while_recording_is_added(recorder, operator):
    operator.press_well('start')
    late = operator.speak('/late')
    for word in words('one', 'two'):
        operator.say(late, word)
    operator.press_well('stop')
    assert recorder.bag('episode_000000').data('/late') == operator.sent['/late']


def test_what_a_new_topic_says_before_it_is_found_is_counted(recorder, operator):
    operator.press_well('start')
    late = operator.speak('/late', heard_by=0)
    numbers = iter(range(10**6))
    operator.wait_for(lambda: operator.say(late, String(data=str(next(numbers)))) and (
        late.get_subscription_count()), 'recorder on /late')
    for _ in range(50):
        operator.say(late, String(data=str(next(numbers))))
    operator.press_well('stop')
    bag, sent = recorder.bag('episode_000000'), operator.sent['/late']
    missing = len(sent) - len(bag.data('/late'))
    assert missing > 0
    assert bag.data('/late') == sent[missing:]
    assert (f'/late was found while recording: up to {missing} messages before that are missing'
            in bag.facts['reasons'])
    assert bag.facts['verdict'] == 'usable'


def test_a_topic_asked_for_by_name_that_nobody_publishes_is_told(recorder, operator):
    problem = '/talk: nobody has published it: is the name right, and its driver running?'
    operator.wait_for_finding(problem)
    bag = record(operator, recorder, [], [])
    assert problem in bag.facts['reasons']
    assert bag.facts['verdict'] == 'usable'
    talk = operator.speak('/talk')
    bag = record(operator, recorder, [talk], words('x'))
    assert bag.facts['verdict'] == 'good', bag.facts['reasons']


def test_a_publisher_that_offers_less_is_heard_too_and_nothing_comes_twice(recorder, operator):
    strict = operator.speak('/talk', profile=qos.LATCHED)
    operator.press_well('start')
    operator.say(strict, String(data='strict'))
    weak = operator.speak('/talk', profile=BEST_EFFORT)
    operator.wait_for(lambda: strict.get_subscription_count() >= 1, 'the strict one still heard')
    for number in range(40):
        operator.say(strict, String(data=f'strict {number}'))
        operator.say(weak, String(data=f'weak {number}'))
    operator.wait_for(
        lambda: strict.get_subscription_count() == weak.get_subscription_count() == 1,
        'one subscription again')
    operator.say(weak, String(data='last'))
    operator.say(strict, String(data='last'))
    operator.press_well('stop')
    heard = recorder.bag('episode_000000').words('/talk')
    expected = {'strict', 'last', *(f'{who} {n}' for who in ('strict', 'weak') for n in range(40))}
    assert set(heard) == expected
    repeated = [word for word in heard if heard.count(word) > 1 and word != 'last']
    assert not repeated


def test_what_was_latched_before_is_in_every_bag(robot_recorder, operator):
    talk = operator.speak('/talk')
    latched = operator.speak('/instruction', profile=qos.LATCHED)
    policy = operator.speak('/policy_info', DiagnosticStatus, qos.LATCHED)
    operator.say(latched, String(data='put the cube on the pad'))
    operator.say(policy, DiagnosticStatus(values=[KeyValue(key='policy_id', value='p1')]))
    for _ in range(2):
        bag = record(operator, robot_recorder, [talk], words('x'))
        assert bag.words('/instruction') == ['put the cube on the pad']
        assert bag.messages['/instruction'][0][0] <= bag.messages['/talk'][0][0]
        assert bag.facts['task'] == 'put the cube on the pad'
        assert bag.facts['policy_id'] == 'p1'
        assert (bag.facts['robot'], bag.facts['contract_hash']) == (
            'ur5e_sim', contract_hash('ur5e_sim'))


def test_an_episode_begins_before_its_start(robot_recorder, operator):
    recorder = robot_recorder
    talk = operator.speak('/talk')
    for word in words('early', 'earlier'):
        operator.say(talk, word)
    bag = record(operator, recorder, [talk], words('late'))
    assert bag.words('/talk') == ['early', 'earlier', 'late']
    assert bag.messages['/talk'][0][0] < int(bag.facts['start_ns'])
    # What one episode has is not in the next one.
    assert record(operator, recorder, [talk], words('more')).words('/talk') == ['more']


def test_a_promised_topic_that_never_comes_is_told_at_once_and_in_the_bag(
        robot_recorder, operator):
    joints = operator.speak('/joint_states', JointState, BEST_EFFORT)
    found = operator.wait_for_finding(
        '/cameras/front/image_raw has not come yet: is its driver running?')
    assert found.level == DiagnosticStatus.WARN
    bag = record(operator, robot_recorder, [joints], [JointState(name=['a'])])
    assert bag.facts['verdict'] == 'broken'
    assert '/cameras/front/image_raw never came: is its driver running?' in bag.facts['reasons']


@pytest.mark.usefixtures('robot_recorder')
def test_live_rates_and_losses_are_told_per_topic(operator):
    joints = operator.speak('/joint_states', JointState, BEST_EFFORT)
    operator.repeat(lambda: operator.say(joints, JointState(name=['a'])))

    def told():
        found = operator.finding()
        values = {each.key: each.value for each in found.values} if found else {}
        return values if values.get('rate /joint_states', '0').partition('.')[0] > '2' else None
    values = operator.wait_for(told, 'a rate', instead=operator.finding)
    assert values['rate /joint_states'].endswith(' of 125 Hz')
    assert values['lost /joint_states'].startswith('0 of ')
    assert 'free on' in values['disk']


def test_a_remapped_topic_is_recorded_under_its_new_name(robot_recorder, operator):
    talk = operator.speak('/robot/talk')
    bag = record(operator, robot_recorder, [talk], words('x'))
    assert bag.words('/robot/talk') == ['x']


def test_a_type_without_a_definition_is_recorded_with_a_reason(recorder, operator):
    feedback = RunPolicy.Impl.FeedbackMessage
    publisher = operator.speak('/feedback', feedback)
    bag = record(operator, recorder, [publisher], [feedback()])
    assert bag.data('/feedback') == operator.sent['/feedback']
    assert bag.facts['verdict'] == 'usable'
    assert 'chunked_vla_ros/action/RunPolicy_FeedbackMessage' in bag.facts['reasons']


def test_a_type_that_is_not_installed_is_told_and_the_rest_recorded(recorder, operator):
    operator.speak('/odometry', Odometry, heard_by=0)
    talk = operator.speak('/talk')
    problem = 'type nav_msgs/msg/Odometry is not installed here: build and source nav_msgs'
    operator.wait_for_finding(problem)
    bag = record(operator, recorder, [talk], words('x'))
    assert bag.words('/talk') == ['x']
    assert bag.facts['verdict'] == 'usable'
    assert problem in bag.facts['reasons']


@pytest.fixture
def stranger(domain):
    """Yield a node of another process's kind: the middleware allows a process one type a topic."""
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node('stranger', context=context)
    yield node
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_a_topic_of_two_types_is_recorded_as_one_and_told(recorder, operator, stranger):
    talk = operator.speak('/talk')
    stranger.create_publisher(JointState, '/talk', 1)
    operator.wait_for_finding('others call it sensor_msgs/msg/JointState: rename one')
    assert record(operator, recorder, [talk], words('x')).words('/talk') == ['x']


@pytest.fixture
def intruder(stranger):
    """Somebody who has another type on a topic of the recorder's, before that begins."""
    return stranger.create_publisher(String, '/episode_event', 1)


@pytest.mark.usefixtures('intruder')
def test_a_stranger_on_a_topic_of_the_recorders_own_is_told_and_harms_nothing(
        recorder, operator):
    talk = operator.speak('/talk')
    operator.wait_for_finding('others call it std_msgs/msg/String: rename one')
    bag = record(operator, recorder, [talk], words('x'))
    assert bag.words('/talk') == ['x']
    assert len(bag.events()) == 3


def test_images_are_kept_as_jpeg_where_asked_with_their_header(recorder, operator):
    front, wrist = operator.speak('/picture/front', Image), operator.speak('/picture/wrist', Image)
    bag = record(operator, recorder, [front, wrist], [image(), image((10, 10, 250), 8)])
    assert bag.data('/picture/wrist') == operator.sent['/picture/wrist']
    assert not bag.data('/picture/front')
    kept = [deserialize_message(data, CompressedImage)
            for data in bag.data('/picture/front/compressed')]
    assert [msg.header.stamp.sec for msg in kept] == [7, 8]
    assert {msg.header.frame_id for msg in kept} == {'front'}
    pictures = [cv2.imdecode(np.array(msg.data), cv2.IMREAD_COLOR) for msg in kept]
    assert [picture.shape for picture in pictures] == [(HEIGHT, WIDTH, 3)] * 2
    assert pictures[0][0, 0, 2] > 200 > 60 > pictures[1][0, 0, 2]
    raw, small = operator.sent['/picture/front'], bag.data('/picture/front/compressed')
    assert len(small[0]) < len(raw[0]) / 4


def test_an_image_that_a_codec_cannot_hold_is_kept_as_it_is_with_a_reason(recorder, operator):
    depth = operator.speak('/picture/depth', Image)
    msg = Image(height=2, width=2, encoding='32FC1', step=8, data=array.array('B', bytes(16)))
    bag = record(operator, recorder, [depth], [msg])
    assert bag.data('/picture/depth') == operator.sent['/picture/depth']
    assert "encoding '32FC1' cannot be kept as jpeg: kept as it is" in bag.facts['reasons']
