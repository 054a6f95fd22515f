"""Reading recordings: real ones where they are there, and every kind of wrong file."""

from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.core.retarget import retarget
from chunked_vla_ros.data.demonstrations import DemonstrationError, load_demonstration
from chunked_vla_ros.data.robot_contract import load_robot

REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos' / 'franka_fr3'


def rows(count=3):
    """Return a recording at 1 kHz whose joint k stands at k + row / 1000 rad."""
    array = np.zeros((count, 42))
    array[:, 0] = 1.7e18 + 1e6 * np.arange(count)
    array[:, 1:8] = np.arange(1, 8) + np.arange(count)[:, None] / 1000
    return array


def saved(tmp_path, array):
    path = tmp_path / 'recording.npy'
    np.save(path, array, allow_pickle=True)
    return path


def test_time_starts_at_zero_and_seven_joints_are_read(tmp_path):
    demonstration = load_demonstration(saved(tmp_path, rows()))
    assert demonstration.times_s == pytest.approx([0.0, 0.001, 0.002], abs=1e-6)
    assert demonstration.positions[2] == pytest.approx(np.arange(1, 8) + 0.002)
    assert demonstration.joint_names[0] == 'fr3_joint1'
    assert demonstration.source == 'recording.npy'


def test_a_directory_means_its_first_recording_by_name(tmp_path):
    np.save(tmp_path / 'b.npy', rows())
    np.save(tmp_path / 'a.npy', rows())
    assert load_demonstration(tmp_path).source == 'a.npy'


def changed(row, column, value):
    array = rows()
    array[row, column] = value
    return array


@pytest.mark.parametrize(('array', 'message'), [
    (np.zeros((3, 41)), r'holds \(3, 41\) float64, expected rows of 42 float64'),
    (np.zeros(42), r'holds \(42,\) float64, expected'),
    (np.zeros((3, 42), dtype=int), r'holds \(3, 42\) int64, expected'),
    (rows(1), 'has 1 rows, expected at least 2'),
    (changed(1, 0, np.nan), 'time in row 1 is not finite'),
    (changed(2, 5, np.inf), 'position in row 2 is not finite'),
    (changed(1, 0, 1.7e18), 'time does not increase from row 0 to row 1'),
    (changed(2, 0, 1.7e18 + 0.5e6), 'time does not increase from row 1 to row 2'),
    (np.array([{'a': 1}]), 'cannot be read as a .npy array'),
])
def test_a_wrong_recording_is_one_line_that_names_the_file(tmp_path, array, message):
    with pytest.raises(DemonstrationError, match=message) as error:
        load_demonstration(saved(tmp_path, array))
    assert 'recording.npy: ' in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [b'', b'not numpy', b'\x93NUMPY\x01\x00'])
def test_a_file_that_is_no_array_is_one_line(tmp_path, content):
    path = tmp_path / 'broken.npy'
    path.write_bytes(content)
    with pytest.raises(DemonstrationError, match=r'broken\.npy: cannot be read'):
        load_demonstration(path)


def test_an_absent_file_and_an_empty_directory_are_one_line(tmp_path):
    with pytest.raises(DemonstrationError, match=r'nothing\.npy: does not exist'):
        load_demonstration(tmp_path / 'nothing.npy')
    with pytest.raises(DemonstrationError, match=r'has no \.npy recording'):
        load_demonstration(tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason='real demonstrations are absent (shared/data)')
def test_real_teleoperation_fits_the_arm_after_light_smoothing_and_a_little_slowing():
    robot = load_robot('ur5e_sim')
    files = sorted(REAL.glob('*.npy'))
    assert len(files) == 4
    for file in files[::2]:
        answer = retarget(load_demonstration(file), robot)
        assert 1.0 <= answer.time_scale < 1.25
        assert answer.smoothing_deviation_rad < 0.004
        assert answer.motion.positions[0] == pytest.approx(robot.home)
        assert np.ptp(answer.motion.positions, axis=0)[:4].max() > 1.0
