"""Observations: newest of every stream, none too old, none from the future, never waiting."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    CommandKind,
    CommandSpec,
    JointSpec,
    Resample,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.sync import (
    ObservationAssembler,
    ObservationNeeds,
    sample_time_ns,
    Waiting,
)
from chunked_vla_ros.core.types import CameraFrame, DimKind, JointSample, Observation

MS = 1_000_000
NOW = 1_000_000 * MS
TOLERANCE = 100 * MS
HEADER = StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1)
ROBOT = RobotSpec(
    name='tiny', base_frame='world',
    joints=(JointSpec('joint', DimKind.CONTINUOUS, -1.0, 1.0, 1.0, 1.0, 1.0, 0.0),),
    gripper=None, state=HEADER,
    cameras=(CameraSpec('wrist', StreamSpec('wrist/image', 20.0, TimeBase.HEADER, 0.2),
                        'wrist/info', 2, 2, 'rgb8'),),
    command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 100.0))
JOINTS_ONLY = ObservationNeeds()


def joints(stamp_ns, position=0.0):
    return JointSample(stamp_ns, np.array([position]), np.zeros(1))


def frame(stamp_ns):
    return CameraFrame(stamp_ns, np.zeros((2, 2, 3), np.uint8))


@pytest.fixture
def assembler():
    return ObservationAssembler(ROBOT)


def reason(assembler, needs=JOINTS_ONLY, now_ns=NOW):
    answer = assembler.assemble(now_ns, needs)
    assert isinstance(answer, Waiting), answer
    return answer.reason


def test_observation_holds_the_newest_of_every_stream(assembler):
    assembler.add_joints(joints(NOW - 20 * MS, 0.1), NOW)
    assembler.add_joints(joints(NOW - 10 * MS, 0.2), NOW)
    assembler.add_frame('wrist', frame(NOW - 50 * MS), NOW)
    assembler.add_scene({'cube': None}, NOW)
    assembler.instruction = 'pick the cube'
    observation = assembler.assemble(NOW, ObservationNeeds(('wrist',), True, True))
    assert observation.stamp_ns == NOW - 10 * MS
    assert observation.joints.position == pytest.approx([0.2])
    assert observation.images['wrist'].stamp_ns == NOW - 50 * MS
    assert observation.instruction == 'pick the cube'
    assert observation.scene == {'cube': None}


def test_only_what_is_needed_is_waited_for(assembler):
    assembler.add_joints(joints(NOW), NOW)
    assert isinstance(assembler.assemble(NOW, JOINTS_ONLY), Observation)
    assert reason(assembler, ObservationNeeds(cameras=('wrist',))) == (
        'camera wrist has not arrived yet')
    assert reason(assembler, ObservationNeeds(scene=True)) == 'scene has not arrived yet'
    assert reason(assembler, ObservationNeeds(instruction=True)) == (
        'instruction has not arrived yet')


def test_an_instruction_given_with_the_call_takes_the_place_of_the_topics(assembler):
    assembler.add_joints(joints(NOW), NOW)
    assembler.instruction = 'from the topic'
    needs = ObservationNeeds(instruction=True)
    assert assembler.assemble(NOW, needs, 'from the goal').instruction == 'from the goal'


def test_an_old_frame_is_named_with_its_age_and_the_tolerance(assembler):
    assembler.add_joints(joints(NOW), NOW)
    assembler.add_frame('wrist', frame(NOW - 410 * MS), NOW)
    assert reason(assembler, ObservationNeeds(cameras=('wrist',))) == (
        'camera wrist is 0.41 s old, tolerance 0.20 s')


def test_a_sample_may_be_exactly_as_old_as_the_tolerance_and_no_older(assembler):
    assembler.add_joints(joints(NOW), NOW)
    assert isinstance(assembler.assemble(NOW + TOLERANCE, JOINTS_ONLY), Observation)
    assert reason(assembler, now_ns=NOW + TOLERANCE + 1).startswith('joint_states is 0.10 s old')


def test_pictures_and_scenes_from_before_the_run_are_not_used(assembler):
    needs = ObservationNeeds(('wrist',), scene=True)
    assembler.add_joints(joints(NOW - 5 * MS), NOW)
    assembler.add_frame('wrist', frame(NOW - MS), NOW)
    assembler.add_scene({'cube': None}, NOW - MS)
    assert isinstance(assembler.assemble(NOW, needs), Observation)
    assembler.since_ns = NOW
    assert reason(assembler, needs) == 'camera wrist shows only what was before'
    assembler.add_frame('wrist', frame(NOW), NOW)
    assert reason(assembler, needs) == 'scene shows only what was before'
    assembler.add_scene({'cube': None}, NOW)
    assert assembler.assemble(NOW, needs).images['wrist'].stamp_ns == NOW


def test_a_camera_whose_picture_is_held_for_good_may_show_what_was_before_the_run():
    stream = replace(ROBOT.cameras[0].stream, resample=Resample.HOLD)
    assembler = ObservationAssembler(
        replace(ROBOT, cameras=(replace(ROBOT.cameras[0], stream=stream),)))
    assembler.add_joints(joints(NOW), NOW)
    assembler.add_frame('wrist', frame(NOW - MS), NOW)
    assembler.since_ns = NOW
    assert isinstance(assembler.assemble(NOW, ObservationNeeds(('wrist',))), Observation)


def test_zero_stamps_and_stamps_of_the_future_are_refused_and_say_so(assembler):
    assembler.add_joints(joints(0), NOW)
    assert reason(assembler) == (
        'joint_states has not arrived yet (1 refused: stamp is zero)')
    assembler.add_joints(joints(NOW + 300 * MS), NOW)
    assert reason(assembler) == (
        'joint_states has not arrived yet (2 refused: is 0.30 s in the future, '
        'tolerance 0.10 s)')


def test_a_stamp_that_goes_back_never_displaces_a_newer_sample(assembler):
    assembler.add_joints(joints(NOW, 0.5), NOW)
    assembler.add_joints(joints(NOW - 30 * MS, 0.1), NOW)
    assembler.add_joints(joints(NOW, 0.2), NOW)
    assert assembler.assemble(NOW, JOINTS_ONLY).joints.position == pytest.approx([0.5])
    assert assembler.joints.refused == 2
    assert assembler.joints.last_refusal == 'stamp went back by 0.000 s'


def test_a_driver_that_starts_again_with_older_stamps_is_taken_once_the_held_one_is_too_old(
        assembler):
    assembler.add_joints(joints(NOW + 80 * MS), NOW)
    later = NOW + 200 * MS
    assembler.add_joints(joints(later - 130 * MS, 0.3), later)
    assert reason(assembler, now_ns=later) == 'joint_states is 0.13 s old, tolerance 0.10 s'
    assembler.add_joints(joints(later - 50 * MS, 0.3), later)
    assert assembler.assemble(later, JOINTS_ONLY).joints.position == pytest.approx([0.3])


def test_a_clock_that_goes_back_empties_everything_but_the_instruction(assembler):
    assembler.instruction, assembler.since_ns = 'pick', NOW
    assembler.add_joints(joints(NOW), NOW)
    assembler.add_joints(joints(5 * MS), 5 * MS)
    assert assembler.since_ns == 0
    assert assembler.clock_resets == 1
    assert assembler.assemble(5 * MS, JOINTS_ONLY).stamp_ns == 5 * MS
    assert assembler.instruction == 'pick'


def test_a_clock_adjusted_by_milliseconds_empties_nothing(assembler):
    assembler.add_joints(joints(NOW), NOW)
    assert isinstance(assembler.assemble(NOW - 5 * MS, JOINTS_ONLY), Observation)
    assert assembler.clock_resets == 0


def test_a_message_that_could_not_be_converted_is_the_reason_given(assembler):
    assembler.joints.reject('joint_states lacks joint', NOW)
    assert reason(assembler) == (
        'joint_states has not arrived yet (1 refused: joint_states lacks joint)')


def test_a_good_sample_ends_the_complaint_about_an_earlier_one(assembler):
    assembler.joints.reject('joint_states lacks joint', NOW)
    assembler.add_joints(joints(NOW), NOW)
    assert 'lacks' not in reason(assembler, now_ns=NOW + 2 * TOLERANCE)


def test_the_contract_says_which_clock_dates_a_sample():
    receipt = StreamSpec('joint_states', 100.0, TimeBase.RECEIPT, 0.1)
    assert sample_time_ns(HEADER, 5, 7) == 5
    assert sample_time_ns(receipt, 5, 7) == 7


EVENTS = st.lists(st.tuples(
    st.integers(0, 150), st.integers(-400, 400), st.booleans()), min_size=1, max_size=40)


@given(EVENTS)
def test_no_sample_beyond_its_tolerance_is_ever_used_and_time_never_goes_back(events):
    assembler, now, previous = ObservationAssembler(ROBOT), NOW, 0
    needs = ObservationNeeds(cameras=('wrist',))
    for wait_ms, offset_ms, is_frame in events:
        now += wait_ms * MS
        stamp = now + offset_ms * MS
        if is_frame:
            assembler.add_frame('wrist', frame(stamp), now)
        else:
            assembler.add_joints(joints(stamp), now)
        answer = assembler.assemble(now, needs)
        if isinstance(answer, Observation):
            assert abs(now - answer.stamp_ns) <= TOLERANCE
            assert abs(now - answer.images['wrist'].stamp_ns) <= 2 * TOLERANCE
            # Only a held sample that has grown too old makes room for one that is dated back.
            assert answer.stamp_ns >= previous or now - previous > TOLERANCE
            previous = answer.stamp_ns
        else:
            assert answer.reason.startswith(answer.stream)


def filmed(assembler, image, now_ns):
    assembler.add_joints(joints(now_ns), now_ns)
    assembler.add_frame('wrist', frame(now_ns), now_ns, image)


def test_a_frozen_camera_is_waited_for_by_name_until_its_image_changes():
    camera = replace(ROBOT.cameras[0], frozen_after_s=0.3)
    assembler = ObservationAssembler(replace(ROBOT, cameras=(camera,)))
    needs = ObservationNeeds(cameras=('wrist',))
    for index in range(4):
        filmed(assembler, b'same', NOW + index * 100 * MS)
        assert isinstance(assembler.assemble(NOW + index * 100 * MS, needs), Observation)
    filmed(assembler, b'same', NOW + 400 * MS)
    assert reason(assembler, needs, NOW + 400 * MS) == 'camera wrist is frozen for 0.4 s'
    filmed(assembler, b'other', NOW + 500 * MS)
    assert isinstance(assembler.assemble(NOW + 500 * MS, needs), Observation)


def test_a_simulated_scene_may_stay_as_it_is(assembler):
    for index in range(100):
        filmed(assembler, b'same', NOW + index * 100 * MS)
    assert isinstance(
        assembler.assemble(NOW + 9900 * MS, ObservationNeeds(cameras=('wrist',))), Observation)


def test_a_camera_that_is_looked_at_again_begins_anew():
    camera = replace(ROBOT.cameras[0], frozen_after_s=0.3)
    assembler = ObservationAssembler(replace(ROBOT, cameras=(camera,)))
    needs = ObservationNeeds(cameras=('wrist',))
    filmed(assembler, b'same', NOW)
    assembler.cameras['wrist'].loss.add(1, NOW)
    assembler.cameras['wrist'].rejoin()
    assert reason(assembler, needs) == 'camera wrist has not arrived yet'
    filmed(assembler, b'same', NOW + 900 * MS)
    assembler.cameras['wrist'].loss.add(19, NOW + 900 * MS)
    assert isinstance(assembler.assemble(NOW + 900 * MS, needs), Observation)
    assert assembler.cameras['wrist'].loss.lost == 0
