"""Bags become episodes as live inference would have seen them, or are refused with one line."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from chunked_vla_ros.core.conversion_rules import ConversionRefused, ConversionRules
from chunked_vla_ros.core.dataset_episode import ActionSource
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    CommandKind,
    CommandSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.bag_episodes import bag_episodes

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
HOUR = 3_600_000
NAMES = ('a', 'b')
ROBOT = RobotSpec(
    name='tiny', base_frame='world',
    joints=tuple(JointSpec(name, DimKind.CONTINUOUS, -9.0, 9.0, 1.0, 1.0, 1.0, 0.0)
                 for name in NAMES),
    gripper=None, state=StreamSpec('joint_states', 50.0, TimeBase.HEADER, 0.1),
    cameras=(CameraSpec('front', StreamSpec('front/image', 10.0, TimeBase.HEADER, 0.2),
                        'info', 4, 3, 'rgb8'),),
    command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 50.0))
BLIND = replace(ROBOT, cameras=())
RULES = ConversionRules()
TENTH = ConversionRules(fps=10.0)


def by(time_base, robot=BLIND):
    """Return the robot with a state that is dated by ``time_base``."""
    return replace(robot, state=replace(robot.state, time_base=time_base))


def every(step_ms, end_ms, start_ms=0):
    return range(start_ms, end_ms + 1, step_ms)


@pytest.mark.parametrize('sqlite', [False, True])
def test_a_bag_becomes_rows_at_the_rate_of_its_camera(scene, sqlite):
    scene.states(*every(20, 400)).images(*every(100, 400, 10))
    episode, = scene.episodes(ROBOT, sqlite=sqlite)
    # The first state at which there is an image is that of 20 ms.
    assert (episode.times_ns - T0).tolist() == [each * MS for each in (20, 120, 220, 320)]
    assert episode.fps == 10.0
    assert episode.state == pytest.approx(np.array([[.02, -.02], [.12, -.12], [.22, -.22],
                                                    [.32, -.32]]))
    assert episode.ages_s['front'].tolist() == pytest.approx([0.01] * 4)
    assert [int(frame[0, 0, 0]) for frame in episode.open_frames('front')] == [1, 11, 21, 31]
    assert next(episode.open_frames('front')).shape == episode.frame_shapes['front'] == (3, 4, 3)
    assert episode.action_source is ActionSource.NEXT_STATE
    assert episode.outcome is Outcome.UNLABELED
    assert not np.any([episode.success, episode.done, episode.intervention])


def test_an_image_that_several_rows_show_is_decoded_once_and_an_unused_one_never(scene):
    scene.states(*every(20, 300)).images(0, 99).say(
        '/front/image', 100, scene.author.image(T0 + 100 * MS, np.zeros((1, 1, 3), np.uint8)))
    scene.images(200)
    episode, = scene.episodes(ROBOT, rules=ConversionRules(fps=50.0))
    frames = list(episode.open_frames('front'))
    assert [int(frame[0, 0, 0]) for frame in frames] == [0] * 5 + [10] * 5 + [20] * 6
    assert len({id(frame) for frame in frames}) == 3
    assert episode.facts['note: /front/image'] == '1 unreadable: camera front: 1x1, expected 4x3'


def test_images_that_the_recorder_packed_are_found_and_damaged_ones_are_no_pictures(scene):
    whole = cv2.imencode('.jpg', np.full((3, 4, 3), 80, np.uint8))[1].tobytes()
    # Cut off in its middle; and whole from outside, but without a picture in it.
    scan = whole.index(bytes((0xFF, 0xDA)))
    for each, file in ((0, whole), (100, whole[:-20]), (200, whole[:scan] + whole[-2:])):
        scene.say('/front/image/compressed', each,
                  scene.author.compressed(T0 + each * MS, file))
    scene.states(*every(20, 200))
    episode, = scene.episodes(ROBOT)
    assert episode.facts['note: /front/image/compressed'].startswith(
        '1 unreadable: camera front: JPEG is cut off')
    frames = episode.open_frames('front')
    assert next(frames).mean() == next(frames).mean() == 80
    with pytest.raises(ConversionRefused, match=r'bag1: camera front: cannot be decoded \(message '
                       r'2 of /front/image/compressed\): leave the camera out'):
        next(frames)


def test_reading_holds_no_pixels_but_those_of_one_frame(scene):
    import tracemalloc
    robot = replace(ROBOT, cameras=(replace(ROBOT.cameras[0], width=640, height=480),))
    pixels = np.zeros((480, 640, 3), np.uint8)
    for each in every(100, 3000):
        scene.say('/front/image', each, scene.author.image(T0 + each * MS, pixels))
    bag = scene.states(*every(20, 3000)).bag()
    tracemalloc.start()
    try:
        episode, = bag_episodes(bag, robot, RULES)
        assert sum(1 for _ in episode.open_frames('front')) == 31
        assert tracemalloc.get_traced_memory()[1] < 12 * pixels.nbytes
    finally:
        tracemalloc.stop()


def test_the_action_is_what_the_executor_commanded_if_that_was_recorded(scene):
    scene.states(*every(20, 300))
    scene.say('/position_command', 0, scene.author.floats([7.0, 8.0]))
    scene.say('/joint_trajectory', 0, scene.author.trajectory(
        T0, NAMES[::-1], [scene.author.point([5.0, 6.0])]))
    trajectory, = scene.episodes(BLIND, TENTH)
    assert trajectory.action_source is ActionSource.STAMPED_COMMAND
    assert trajectory.action[0].tolist() == [6.0, 5.0]
    assert (trajectory.stamps_ns['action'] == T0).all()
    assert trajectory.facts['action_topic'] == '/joint_trajectory'
    # An executor that commands nothing has no say.
    scene.executor(0, [])
    assert scene.episodes(BLIND, TENTH)[0].action_source is ActionSource.STAMPED_COMMAND
    scene.executor(100, [1.0, 2.0]).executor(201, [3.0, 4.0])
    executor, = scene.episodes(BLIND, TENTH)
    assert executor.action_source is ActionSource.COMMANDED_POINT
    assert (executor.times_ns - T0).tolist() == [100 * MS, 200 * MS, 300 * MS]
    assert executor.action.tolist() == [[1.0, 2.0], [1.0, 2.0], [3.0, 4.0]]
    wished, = scene.episodes(BLIND, replace(TENTH, action_topic='position_command'))
    assert wished.action_source is ActionSource.UNSTAMPED_COMMAND
    assert wished.action[-1].tolist() == [7.0, 8.0]
    state, = scene.episodes(BLIND, replace(TENTH, action_topic='next_state'))
    assert state.action_source is ActionSource.NEXT_STATE
    assert state.action[0].tolist() == state.state[1].tolist()


def test_a_command_without_a_stamp_counts_from_when_it_was_logged(scene):
    scene.states(*every(20, 400))
    scene.say('/position_command', 100, scene.author.floats([1.0, 2.0]), late_ms=5)
    episode, = scene.episodes(BLIND, TENTH)
    assert episode.action_source is ActionSource.UNSTAMPED_COMMAND
    assert (episode.stamps_ns['action'] == T0 + 105 * MS).all()
    assert episode.times_ns[0] == T0 + 120 * MS
    # A trajectory that is stamped zero begins at once.
    scene.messages.clear()
    scene.states(*every(20, 400))
    scene.say('/joint_trajectory', 100, scene.author.trajectory(
        0, NAMES, [scene.author.point([1.0, 2.0])]), late_ms=5)
    zero, = scene.episodes(BLIND, TENTH)
    assert zero.action_source is ActionSource.UNSTAMPED_COMMAND
    assert zero.stamps_ns['action'].tolist() == episode.stamps_ns['action'].tolist()


def test_time_is_the_headers_or_the_logs_as_the_contract_says(scene):
    scene.states(*every(20, 200), ahead_ms=-15)
    header, = scene.episodes(BLIND, TENTH)
    log, = scene.episodes(by(TimeBase.RECEIPT), TENTH)
    assert header.times_ns[0] == T0 - 15 * MS
    assert log.times_ns[0] == T0 + 2 * MS


SIM_MS = 150_000 - T0 / MS    # simulation time, 150 s after it began


def test_streams_on_two_clocks_are_refused_by_name_and_never_misaligned(scene):
    scene.states(*every(20, 400)).images(*every(100, 400), ahead_ms=SIM_MS)
    assert scene.refusal(ROBOT) == (
        'camera front is stamped by a clock 1699999850.00 s behind the log, tolerance 0.2 s: say '
        'time_base: receipt for it in the robot contract, or raise its tolerance_s if that is its '
        'delay')
    scene.messages.clear()
    scene.states(*every(20, 400), ahead_ms=SIM_MS).images(*every(100, 400))
    assert scene.refusal(ROBOT).startswith(
        'camera front is stamped by a clock 1699999850.00 s ahead of /joint_states, ')
    camera = ROBOT.cameras[0]
    receipt = replace(ROBOT, cameras=(replace(
        camera, stream=replace(camera.stream, time_base=TimeBase.RECEIPT)),))
    assert scene.refusal(receipt) == (
        'camera front is dated by the log, but /joint_states by a clock 1699999850.00 s behind '
        'it: say time_base: receipt for /joint_states in the robot contract')


def test_a_camera_whose_computer_is_three_seconds_off_is_refused(scene):
    scene.states(*every(20, 400)).images(*every(100, 400), ahead_ms=3000)
    for rules in (RULES, ConversionRules(gap_s=5.0)):
        assert scene.refusal(ROBOT, rules).startswith(
            'camera front is stamped by a clock 3.00 s ahead of the log')


def test_a_camera_that_is_mostly_late_is_on_the_same_clock_nevertheless(scene):
    scene.states(*every(20, 1000))
    # A machine that is too slow: most images come later than the tolerance of 200 ms.
    late_ms = [30, 250, 400, 310, 220, 130, 40, 30, 500, 410, 320]
    for at_ms, each_ms in zip(every(100, 1000), late_ms, strict=True):
        scene.say('/front/image', at_ms, scene.author.image(
            T0 + at_ms * MS, np.full((3, 4, 3), at_ms // 10, np.uint8)), each_ms)
    episode, = scene.episodes(ROBOT)
    assert [int(frame[0, 0, 0]) for frame in episode.open_frames('front')] == [*every(10, 100)]
    assert not any(name.startswith('note') for name in episode.facts)


def test_streams_on_one_clock_are_joined_by_it_whatever_the_log_says(scene):
    scene.states(*every(20, 400), ahead_ms=SIM_MS).images(*every(100, 400), ahead_ms=SIM_MS)
    scene.say('/instruction', 150, scene.author.text('go'))
    episode, = scene.episodes(ROBOT)
    assert (episode.times_ns - 150 * 10**9).tolist() == [each * MS for each in every(100, 400)]
    assert episode.ages_s['front'].tolist() == [0.0] * 5
    assert episode.tasks == ('', '', 'go', 'go', 'go')
    assert 'by the stamps of /joint_states, -1699999850' in episode.facts['note: clock']
    # A command by the log's time cannot be put between them.
    scene.say('/position_command', 0, scene.author.floats([1.0, 2.0]))
    assert scene.refusal(ROBOT).startswith(
        '/position_command is dated by the log, but /joint_states')


def test_a_simulator_that_starts_again_is_refused(scene):
    scene.states(*every(20, 4000), ahead_ms=SIM_MS)
    scene.states(*every(20, 8000, 4020), ahead_ms=SIM_MS - 100_000)
    assert 'the clock of /joint_states goes back by ' in scene.refusal(BLIND)


@pytest.mark.parametrize(('wrong_ms', 'reason'), [
    (-HOUR, '1 refused: stamp is 3600.0 s before its arrival'),
    (HOUR, '1 refused: is 3599.90 s in the future, tolerance 0.10 s'),
    (-30, '1 refused: stamp went back by 0.010 s'),
    (-20, '1 refused: stamp went back by 0.000 s')])
def test_a_stamp_that_cannot_be_true_costs_that_sample_and_no_other(scene, wrong_ms, reason):
    scene.states(*every(20, 200)).states(220, ahead_ms=wrong_ms).states(*every(20, 400, 240))
    episode, = scene.episodes(BLIND, TENTH)
    assert (episode.times_ns - T0).tolist() == [each * MS for each in every(100, 400)]
    assert np.allclose(episode.state[:, 0], [0.0, 0.1, 0.2, 0.3, 0.4])
    if wrong_ms != HOUR:
        assert episode.facts['note: /joint_states stamps'] == reason
    else:
        assert episode.facts['note: /joint_states stamps'].startswith('1 refused: is 3')


def test_zero_stamps_are_left_out_and_where_all_are_zero_the_remedy_is_named(scene):
    scene.states(0, stamp=0).states(*every(20, 200))
    episode, = scene.episodes(BLIND, TENTH)
    assert episode.facts['note: /joint_states stamps'] == '1 refused: stamp is zero'
    scene.messages.clear()
    scene.states(*every(20, 200), stamp=0)
    assert scene.refusal(BLIND) == (
        '/joint_states has no stamps, all 11 are zero: say time_base: receipt for it in the robot '
        'contract')
    assert len(scene.episodes(by(TimeBase.RECEIPT), TENTH)) == 1


def test_a_pause_splits_and_slivers_are_left_out(scene):
    scene.states(*every(20, 400), 990, *every(20, 2400, 2000))
    first, second = scene.episodes(BLIND, TENTH)
    assert [first.source, second.source] == ['bag1 part 1 of 2', 'bag1 part 2 of 2']
    assert (second.times_ns[0] - T0) == 2000 * MS
    assert first.facts['note: rows'] == '1 left out, in 1 parts of fewer than 2'
    assert len(scene.episodes(BLIND, ConversionRules(fps=10.0, gap_s=2.0))) == 1
    assert len(scene.episodes(BLIND, ConversionRules(fps=10.0, min_rows=1))) == 3
    assert scene.refusal(BLIND, ConversionRules(fps=10.0, min_rows=50)) == (
        'no part has 50 rows in which every stream is there, the longest has 6: lower '
        '--min-rows, or raise --gap-s')


def test_one_row_is_an_episode_if_that_is_wished(scene):
    scene.states(0).images(0)
    episode, = scene.episodes(ROBOT, rules=ConversionRules(min_rows=1))
    assert len(episode.times_ns) == 1
    assert episode.action.tolist() == episode.state.tolist()
    assert len(list(episode.open_frames('front'))) == 1


def test_what_is_missing_or_does_not_fit_is_named_in_one_line(scene):
    scene.images(0)
    assert scene.refusal(ROBOT) == (
        'has no topic /joint_states, the state; there is nothing of type '
        "sensor_msgs/msg/JointState in it: name the robot's bag")
    scene.messages.clear()
    scene.states(*every(20, 200), names=('a', 'c'))
    assert scene.refusal(BLIND) == (
        "none of the 11 messages on /joint_states can be used: joint_states lacks b; it has "
        "['a', 'c']")
    scene.messages.clear()
    scene.states(*every(20, 200), names=())
    assert scene.refusal(BLIND).endswith('can be used: joint_states lacks a, b; it has []')
    scene.messages.clear()
    scene.states(*every(20, 200)).say('/position_command', 0, scene.author.floats([1.0] * 3))
    assert scene.refusal(BLIND) == (
        '/position_command commands nothing that fits the state (has 3 values, expected 2 as the '
        'state): name another with --action-topic, or say --action-topic next_state')
    assert 'has no topic /front/image, images of camera front' in scene.refusal(ROBOT)
    assert scene.refusal(BLIND, ConversionRules(namespace='left')) == (
        'has no topic /left/joint_states, the state; there is /joint_states: leave --namespace '
        'out')
    wrist = ConversionRules(cameras=('wrist',))
    assert scene.refusal(ROBOT, rules=wrist) == "no camera 'wrist'; tiny has ['front']"


def test_a_robot_among_several_is_found_in_its_namespace(scene):
    scene.say('/left/joint_states', 0, scene.author.joints(T0, NAMES, [1.0, 2.0]))
    assert scene.refusal(BLIND).endswith('there is /left/joint_states: say --namespace left')
    episode, = scene.episodes(BLIND, ConversionRules(namespace='/left', min_rows=1))
    assert episode.state.tolist() == [[1.0, 2.0]]
