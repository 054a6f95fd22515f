"""Rows of a dataset: exact times, the newest sample of every stream, never one from later."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.conversion_rules import Anchor, ConversionRefused, ConversionRules
from chunked_vla_ros.core.resampling import resample, Rows
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
from chunked_vla_ros.core.row_grid import RowGrid
from chunked_vla_ros.core.sync import ObservationAssembler, Waiting
from chunked_vla_ros.core.tracks import CommandTrack, FrameTrack, JointTrack, Recording
from chunked_vla_ros.core.types import CameraFrame, DimKind

MS = 1_000_000
T0 = 1_700_000_000_000_000_000
TOLERANCE = 100 * MS
ROBOT = RobotSpec(
    name='tiny', base_frame='world',
    joints=(JointSpec('joint', DimKind.CONTINUOUS, -1.0, 1.0, 1.0, 1.0, 1.0, 0.0),),
    gripper=None, state=StreamSpec('joint_states', 100.0, TimeBase.HEADER, 0.1),
    cameras=(CameraSpec('front', StreamSpec('image', 20.0, TimeBase.HEADER, 0.2),
                        'info', 2, 2, 'rgb8'),),
    command=CommandSpec(CommandKind.POSITION_COMMAND, 'position_command', 100.0))


def stamps(*after_ms: float) -> np.ndarray:
    return np.array([T0 + round(each * MS) for each in after_ms], np.int64)


def joints(stamps_ns: np.ndarray) -> JointTrack:
    """Return states whose value is their number."""
    return JointTrack(stamps_ns, np.arange(len(stamps_ns), dtype=float)[:, None])


def frames(stamps_ns: np.ndarray, digests: Sequence[bytes] = ()) -> dict[str, FrameTrack]:
    return {'front': FrameTrack(stamps_ns, np.arange(len(stamps_ns)), tuple(digests))}


def commands(stamps_ns: np.ndarray, oldest_ns: int = 2**62) -> CommandTrack:
    """Return one point each, whose value is 100 more than its number."""
    count = len(stamps_ns)
    return CommandTrack(stamps_ns, 100.0 + np.arange(count)[:, None], np.zeros(count, np.int64),
                        np.arange(count + 1), oldest_ns)


def way(mode: Resample) -> RobotSpec:
    """Return the robot whose camera is resampled by ``mode``."""
    camera = ROBOT.cameras[0]
    return replace(ROBOT, cameras=(replace(
        camera, stream=replace(camera.stream, resample=mode)),))


def rows(state: np.ndarray, images: np.ndarray | None = None, fps: float = 10.0,
         robot: RobotSpec = ROBOT, command: CommandTrack | None = None,
         anchor: Anchor = Anchor.STREAM) -> list[Rows]:
    return resample(robot, Recording(
        joints(state), {} if images is None else frames(images), command), fps, anchor)


def test_a_row_takes_the_newest_of_every_stream_and_says_when_that_was():
    part, = rows(stamps(0, 40, 80, 120, 160, 200), stamps(-10, 90, 190))
    assert (part.times_ns - T0).tolist() == [0, 100 * MS, 200 * MS]
    assert part.state[:, 0].tolist() == [0, 2, 5]
    assert (part.stamps_ns['state'] - T0).tolist() == [0, 80 * MS, 200 * MS]
    assert part.places['front'].tolist() == [0, 1, 2]
    assert (part.stamps_ns['front'] - T0).tolist() == [-10 * MS, 90 * MS, 190 * MS]


def test_the_grid_begins_at_the_first_state_at_which_every_stream_is_there():
    part, = rows(stamps(0, 50, 100, 150, 200), stamps(60, 160))
    assert (part.times_ns - T0).tolist() == [100 * MS, 200 * MS]


@pytest.mark.parametrize('fps', [30.0, 29.97, 7.0, 1000.0 / 3.0])
def test_the_grid_is_exact_in_nanoseconds_after_hours(fps):
    grid = RowGrid(T0, fps)
    for row in (0, 1, 2, 29_999, 10_000_019):
        exact = T0 + row * Fraction(10**9) / Fraction(str(fps))
        assert abs(grid.time_ns(row) - exact) <= Fraction(1, 2)
        assert grid.from_time(grid.time_ns(row)) == row
        assert grid.from_time(grid.time_ns(row) + 1) == row + 1


def test_asof_splits_where_a_stream_is_older_than_its_tolerance():
    first, second = rows(stamps(*range(0, 1001, 20)), stamps(0, 100, 200, 650, 700, 800, 900))
    # The image of 200 ms serves until 400 ms, tolerance 200 ms.
    assert (first.times_ns - T0).tolist() == [each * MS for each in range(0, 401, 100)]
    assert (second.times_ns - T0).tolist() == [each * MS for each in range(700, 1001, 100)]
    # One grid for all of the recording.
    assert (second.times_ns[0] - T0) % (100 * MS) == 0


def test_hold_bridges_any_age():
    part, = rows(stamps(*range(0, 1001, 20)), stamps(0, 650), robot=way(Resample.HOLD))
    assert len(part.times_ns) == 11
    assert part.places['front'].tolist() == [0] * 7 + [1] * 4


def test_drop_takes_only_what_is_younger_than_a_row_lasts():
    parts = rows(stamps(*range(0, 501, 20)), stamps(0, 100, 199, 301, 400),
                 robot=way(Resample.DROP))
    # At 200 ms the image is 1 ms old; the next, at 301 ms, comes too late for the row at 300 ms.
    assert [(part.times_ns - T0).tolist() for part in parts] == [
        [0, 100 * MS, 200 * MS], [400 * MS]]


def test_an_hour_without_samples_is_a_split_and_no_long_loop():
    hour = 3_600_000
    first, second = rows(stamps(0, 50, 90, hour, hour + 50, hour + 100))
    assert len(first.times_ns) == 2
    assert second.times_ns[0] - T0 == hour * MS
    assert len(second.times_ns) == 2


def test_stamps_years_apart_are_refused_where_rows_would_be_held_over_all_of_it():
    robot = replace(ROBOT, state=replace(ROBOT.state, resample=Resample.HOLD))
    with pytest.raises(ConversionRefused, match='the stamps span 24000 h'):
        rows(stamps(0, 24_000 * 3_600_000.0), fps=1000.0, robot=robot)


def test_one_state_is_one_row_and_none_is_none():
    part, = rows(stamps(0), stamps(-5))
    assert part.times_ns.tolist() == [T0]
    assert part.action.tolist() == part.state.tolist() == [[0.0]]
    assert rows(stamps(), stamps(0)) == []
    assert rows(stamps(0), stamps()) == []
    # Never there together.
    assert rows(stamps(0), stamps(300)) == []


def test_live_a_held_stream_has_no_age_and_a_dropped_one_its_tolerance():
    for mode, oldest_ns in ((Resample.HOLD, 10**15), (Resample.DROP, 200 * MS),
                            (Resample.ASOF, 200 * MS)):
        stream = ObservationAssembler(way(mode)).cameras['front']
        stream.add(T0, CameraFrame(T0, np.zeros((2, 2, 3), np.uint8)), T0)
        assert not isinstance(stream.newest(T0 + oldest_ns), Waiting)
        assert mode is Resample.HOLD or isinstance(stream.newest(T0 + oldest_ns + 1), Waiting)


def test_a_camera_that_hangs_gives_no_rows_as_live():
    robot = replace(ROBOT, cameras=(replace(ROBOT.cameras[0], frozen_after_s=0.15),))
    images = frames(stamps(0, 100, 200, 300, 400), [b'a', b'b', b'b', b'b', b'c'])
    parts = resample(robot, Recording(joints(stamps(*range(0, 401, 20))), images, None), 10.0,
                     Anchor.STREAM)
    # At 300 ms the camera has sent one image for 200 ms.
    assert [(part.times_ns - T0).tolist() for part in parts] == [
        [0, 100 * MS, 200 * MS], [400 * MS]]


def test_a_command_is_in_force_until_the_next_and_the_head_without_one_is_left_out():
    part, = rows(stamps(*range(0, 501, 20)), command=commands(stamps(110, 330)))
    assert (part.times_ns[0] - T0) == 120 * MS
    assert part.action[:, 0].tolist() == [100.0, 100.0, 100.0, 101.0]
    assert (part.stamps_ns['action'] - T0).tolist() == [110 * MS] * 3 + [330 * MS]


def test_a_command_that_is_withdrawn_or_grown_old_is_in_force_no_more():
    # The second says that nothing is commanded.
    withdrawn = CommandTrack(stamps(0, 200, 300), np.array([[1.0], [3.0]]), np.zeros(2, np.int64),
                             np.array([0, 1, 1, 2]))
    parts = rows(stamps(*range(0, 401, 20)), command=withdrawn)
    assert [part.action[:, 0].tolist() for part in parts] == [[1.0, 1.0], [3.0, 3.0]]
    part, = rows(stamps(*range(0, 401, 20)), command=commands(stamps(0), oldest_ns=150 * MS))
    assert (part.times_ns - T0).tolist() == [0, 100 * MS]


def test_of_a_trajectory_the_point_counts_that_the_arm_is_on_its_way_to():
    track = CommandTrack(
        stamps(0), np.array([[1.0], [2.0], [3.0]]), np.array([0, 150, 250]) * MS,
        np.array([0, 3]))
    part, = rows(stamps(*range(0, 501, 20)), command=track)
    assert part.action[:, 0].tolist() == [1.0, 2.0, 3.0, 3.0, 3.0, 3.0]


def test_without_commands_the_action_is_the_state_of_the_row_after():
    part, = rows(stamps(0, 100, 200))
    assert part.action[:, 0].tolist() == [1.0, 2.0, 2.0]
    assert 'action' not in part.stamps_ns


def test_anchored_at_the_state_every_state_is_a_row():
    thirtieths = T0 + np.round(np.arange(200) * 1e9 / 30).astype(np.int64)
    part, = rows(thirtieths, thirtieths, fps=30.0, anchor=Anchor.STATE)
    assert part.times_ns.tolist() == thirtieths.tolist()
    assert part.state[:, 0].tolist() == list(range(200))
    assert part.places['front'].tolist() == list(range(200))


def test_anchored_at_the_state_a_lost_one_splits_and_an_uneven_one_is_refused():
    first, second = rows(stamps(0, 100, 300, 400), anchor=Anchor.STATE)
    assert [len(first.times_ns), len(second.times_ns)] == [2, 2]
    with pytest.raises(ConversionRefused, match=r'not stamped every 1/10 s \(at 0.202 s \+2.00'):
        rows(stamps(0, 100, 202), anchor=Anchor.STATE)
    with pytest.raises(ConversionRefused, match='say the rate of the state as fps'):
        rows(stamps(0, 10, 20), anchor=Anchor.STATE)


def stamp_lists(least: int = 1) -> st.SearchStrategy[np.ndarray]:
    """Return strictly increasing stamps with steps from 1 ns to more than any tolerance."""
    steps = st.lists(st.one_of(st.integers(1, 1000), st.integers(1 * MS, 400 * MS)),
                     min_size=least, max_size=40)
    return steps.map(lambda each: T0 + np.cumsum(each).astype(np.int64))


@given(state=stamp_lists(), image=stamp_lists(), command=stamp_lists(),
       fps=st.sampled_from([1.0, 10.0, 29.97, 30.0, 333.3]), mode=st.sampled_from(Resample))
def test_no_row_ever_sees_a_later_sample_nor_an_older_one_than_there_is(
        state, image, command, fps, mode):
    recording = Recording(joints(state), frames(image), commands(command))
    for part in resample(way(mode), recording, fps, Anchor.STREAM):
        grid = RowGrid(int(part.times_ns[0]), fps)
        assert np.abs(part.times_ns - [
            grid.time_ns(row) for row in range(len(part.times_ns))]).max() <= 1
        for name, track in (('state', state), ('front', image), ('action', command)):
            used = part.stamps_ns[name]
            assert (used <= part.times_ns).all()
            newest = track[np.searchsorted(track, part.times_ns, 'right') - 1]
            assert used.tolist() == newest.tolist()
        oldest = {Resample.ASOF: 200 * MS, Resample.HOLD: 2**62,
                  Resample.DROP: grid.step_ns - 1}[mode]
        assert (part.times_ns - part.stamps_ns['front']).max() <= oldest
        assert (part.times_ns - part.stamps_ns['state']).max() <= TOLERANCE


@given(state=stamp_lists(2), fps=st.sampled_from([10.0, 30.0, 100.0]))
def test_no_row_is_missing_at_which_every_stream_was_there(state, fps):
    parts = rows(state, fps=fps)
    found = [int(time_ns) for part in parts for time_ns in part.times_ns]
    grid, wanted = RowGrid(int(state[0]), fps), []
    for row in range(grid.from_time(int(state[-1])) + 1):
        time_ns = grid.time_ns(row)
        age_ns = time_ns - int(state[np.searchsorted(state, time_ns, 'right') - 1])
        if time_ns <= state[-1] and age_ns <= TOLERANCE:
            wanted.append(time_ns)
    assert found == wanted


@pytest.mark.parametrize(('field', 'value'), [
    ('fps', 0.0), ('fps', float('nan')), ('fps', 1001.0), ('gap_s', -1.0), ('min_rows', 0),
    ('anchor', 'end')])
def test_a_rule_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(ConversionRefused, match=f'{field} is '):
        ConversionRules(**{field: value})
