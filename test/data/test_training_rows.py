"""Datasets as a training reads them: the contract's order, and one line where they do not fit."""

from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
import shutil

import numpy as np
import pytest

from chunked_vla_ros.core.bundle_manifest import BundleCamera
from chunked_vla_ros.core.robot_spec import (
    CameraSpec,
    JointSpec,
    RobotSpec,
    StreamSpec,
    TimeBase,
)
from chunked_vla_ros.core.types import DimKind
from chunked_vla_ros.data.datasets import DatasetError, open_dataset
from chunked_vla_ros.data.robot_contract import load_robot
from chunked_vla_ros.data.training_rows import read_training_rows, TrainingRows

BOTTLE = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos' / 'g1_bottle'


def joint(name: str, *aliases: str) -> JointSpec:
    return JointSpec(name, DimKind.CONTINUOUS, -999.0, 999.0, 1.0, 1.0, 1.0, 0.0, aliases=aliases)


def camera(name: str, width: int = 48, height: int = 32, **fields) -> CameraSpec:
    stream = StreamSpec(f'cameras/{name}/image_raw', 10.0, TimeBase.HEADER, 0.2)
    return CameraSpec(name, stream, f'cameras/{name}/camera_info', width, height, 'rgb8', **fields)


@pytest.fixture
def robot(make_robot) -> RobotSpec:
    """Return a robot whose joints and cameras are in another order than the datasets'."""
    return replace(make_robot(), name='arm', joints=(joint('second', 'b'), joint('a')),
                   cameras=(camera('wrist'), camera('front')))


@pytest.fixture
def read(robot, tmp_path) -> Callable[..., TrainingRows]:
    def rows(*datasets: Path, contract: RobotSpec = robot, **options) -> TrainingRows:
        return read_training_rows(datasets, contract, cache=tmp_path / 'cache', **options)
    return rows


def refusal(read, *arguments, **options) -> str:
    with pytest.raises(DatasetError) as refused:
        read(*arguments, **options)
    assert '\n' not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize('no_cache', [False, True])
def test_rows_are_in_the_contracts_order_episode_after_episode(read, v3, no_cache):
    rows = read(v3, no_cache=no_cache)
    assert rows.joint_names == ('second', 'a')
    assert rows.cameras == (BundleCamera('front', 48, 32),)
    assert rows.fps == 10.0
    # The dataset has a counting 100 * episode + row, b half of it, targets one above.
    assert rows.state[[0, 3, 4, 9]].tolist() == [[0, 0], [1.5, 3], [50, 100], [52.5, 105]]
    assert (rows.action == rows.state + 1.0).all()
    assert rows.state.dtype == rows.action.dtype == np.float32
    assert rows.episode_starts.tolist() == [0, 4]
    assert rows.episode_lengths.tolist() == [4, 6]
    assert rows.episode_ids == ('small_v3#0', 'small_v3#1')
    assert rows.instructions == ('first', 'second')
    assert rows.instruction_of.tolist() == [0, 1]
    assert rows.present.tolist() == [[True], [True]]
    frames = rows.frames.read([9, 0, 5, 5], 0)
    assert frames.shape == (4, 32, 48, 3)
    assert frames.dtype == np.uint8
    # A frame's grey is 20, and 60 an episode and 5 a row more.
    assert frames.mean(axis=(1, 2, 3)) == pytest.approx([105, 20, 85, 85], abs=2.0)


def test_datasets_are_joined_and_one_without_the_camera_has_black_frames(read, v2, v3, robot):
    shutil.copytree(v3, v3.parent / 'other')
    info = v3.parent / 'other/meta/info.json'
    info.write_text(info.read_text().replace('images.front', 'images.wrist'))
    for file in (v3.parent / 'other/videos').glob('*'):
        file.rename(file.with_name('observation.images.wrist'))
    table = v3.parent / 'other/meta/episodes/chunk-000/file-000.parquet'
    pq = pytest.importorskip('pyarrow.parquet')
    episodes = pq.read_table(table)
    pq.write_table(episodes.rename_columns(
        [name.replace('images.front', 'images.wrist') for name in episodes.column_names]), table)
    for no_cache in (False, True):
        rows = read(v2, v3.parent / 'other', no_cache=no_cache)
        assert [each.name for each in rows.cameras] == ['wrist', 'front']
        assert rows.episode_ids == ('small_v2#0', 'small_v2#2', 'other#0', 'other#1')
        assert rows.instructions == ('task 0', 'task 2', 'first', 'second')
        assert rows.present.tolist() == [[False, True]] * 2 + [[True, False]] * 2
        wrist, front = (rows.frames.read([0, 9, 10, 14], which) for which in (0, 1))
        assert wrist.mean(axis=(1, 2, 3)) == pytest.approx([0, 0, 20, 80], abs=2.0)
        assert front.mean(axis=(1, 2, 3)) == pytest.approx([20, 165, 0, 0], abs=2.0)


def test_decoding_is_told_frame_by_frame_and_done_once(read, v3):
    told = []
    read(v3, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 10) for done in range(1, 11)]
    read(v3, on_progress=lambda done, total: told.append((done, total)))
    assert len(told) == 10


def test_what_a_training_writes_into_the_dataset_decodes_nothing_again(read, v3):
    read(v3)
    (v3 / 'run').mkdir()
    (v3 / 'run/config.yaml').write_text('robot: arm')
    told = []
    read(v3, on_progress=lambda done, total: told.append(done))
    assert told == []


@pytest.mark.skipif(not BOTTLE.is_dir(), reason='../shared/data is not there')
def test_real_demonstrations_are_read_by_alias_and_their_video_row_by_row():
    robot = load_robot('g1_arms')
    # Every pixel is compared.
    robot = replace(robot, cameras=(replace(robot.cameras[0], resize=None),))
    rows = read_training_rows([BOTTLE], robot, no_cache=True)
    assert (len(rows.state), rows.fps, len(rows.joint_names)) == (2138, 30.0, 26)
    assert rows.cameras == (BundleCamera('cam_high', 640, 480),)
    assert rows.episode_ids[0] == 'g1_bottle#10'
    assert len(rows.windows(16, 0.1)) == 2138
    start = int(rows.episode_starts[1])
    first = islice(open_dataset(BOTTLE).frames(28, 'cam_high'), 12)
    found = rows.frames.read([start + 11, start, start + 1], 0)
    decoded = [frame for _, frame in first]
    for frame, row in zip(found, (11, 0, 1), strict=True):
        assert (frame == decoded[row]).all()


def test_only_the_cameras_that_are_named_are_read(read, v3):
    assert read(v3, cameras=['front']).cameras == (BundleCamera('front', 48, 32),)
    blind = read(v3, cameras=[])
    assert (blind.cameras, blind.present.shape) == ((), (2, 0))
    assert "has no camera 'wrist', expected one of front" in refusal(read, v3, cameras=['wrist'])
    assert "'side' is none of arm, expected one of wrist, front" in refusal(
        read, v3, cameras=['side'])


def test_frames_have_the_size_that_the_policy_will_see(read, v3, robot):
    small = replace(robot, cameras=(camera('front', 480, 320, resize=(24, 24)),))
    rows = read(v3, contract=small)
    assert rows.cameras == (BundleCamera('front', 24, 24),)
    assert rows.frames.read([0, 7], 0).shape == (2, 24, 24, 3)
    wide = replace(robot, cameras=(camera('front', 640, 320, resize=(24, 24)),))
    said = refusal(read, v3, contract=wide)
    assert 'has 48x32 pixels, which is neither what policies see, 24x24, nor' in said
    assert 'the shape of the camera, 640x320: set' in said


@pytest.mark.parametrize('no_cache', [False, True])
def test_a_missing_video_is_named(read, v2, no_cache):
    video = next(v2.rglob('episode_000002.mp4'))
    video.unlink()
    said = refusal(lambda: read(v2, no_cache=no_cache).frames.read([0, 9], 0))
    assert said == f'{video}: is missing, fetch it again'


def test_a_missing_video_is_named_before_a_frame_is_asked_for(read, v2, v3):
    # The first rows of either could be read.
    for dataset, pattern in ((v2, 'episode_000002.mp4'), (v3, '*.mp4')):
        video = next(dataset.rglob(pattern))
        video.unlink()
        assert refusal(read, dataset, no_cache=True) == f'{video}: is missing, fetch it again'
        assert len(read(dataset, cameras=[], no_cache=True).state) == 10


def test_two_datasets_of_one_name_are_refused(read, v3, tmp_path):
    other = tmp_path / 'elsewhere' / v3.name
    shutil.copytree(v3, other)
    assert f'{other}: is called small_v3, as {v3} is' in refusal(read, v3, other)
    (tmp_path / 'link').symlink_to(v3)
    assert 'is called small_v3' in refusal(read, v3, tmp_path / 'link')
    other.rename(tmp_path / 'elsewhere/small')
    assert read(v3, tmp_path / 'elsewhere/small').episode_ids[::2] == ('small_v3#0', 'small#0')


@pytest.mark.parametrize('no_cache', [False, True])
def test_a_video_shorter_than_its_table_is_named(read, v3, rewrite, no_cache):
    file = next(v3.rglob('meta/episodes/*/*.parquet'))
    rewrite(file, 'videos/observation.images.front/from_timestamp', [0.0, 0.6])
    said = refusal(lambda: read(v3, no_cache=no_cache).frames.read([0, 9], 0))
    assert said.startswith(str(next(v3.rglob('*.mp4'))))
    assert 'fetch it again' in said


def test_a_row_that_is_no_number_is_named_with_file_and_episode(read, v3, rewrite):
    file = v3 / 'data/chunk-000/file-000.parquet'
    states = [[0.0, 0.0]] * 10
    states[6] = [0.0, float('nan')]
    rewrite(file, 'observation.state', states)
    assert refusal(read, v3) == f'{file}: episode 1: state in row 2 is not finite'


@pytest.mark.parametrize(('names', 'said'), [
    (('a', 'b', 'c'), "state lacks joint 'c' of arm"),
    (('a', 'x'), "state has joint 'b', which arm lacks"),
    (('x', 'y'), "state has joint 'a', which arm lacks")])
def test_other_joints_than_the_contracts_are_refused_by_name(read, v3, robot, names, said):
    other = replace(robot, joints=tuple(joint(name) for name in names))
    assert said in refusal(read, v3, contract=other)


def test_two_columns_of_one_joint_are_refused(read, v3, robot):
    one = replace(robot, joints=(joint('arm_joint', 'a', 'b'),))
    assert "has joint 'arm_joint' of arm twice, as 'a' and 'b'" in refusal(read, v3, contract=one)


def test_without_an_action_there_is_nothing_to_learn(read, v3):
    info = v3 / 'meta/info.json'
    info.write_text(info.read_text().replace('"action"', '"acted"'))
    said = refusal(read, v3)
    assert f'{v3}: has no action column' in said
    assert 'convert its bags again' in said


def test_actions_that_are_steps_are_refused(read, v2, v3, rewrite):
    random = np.random.default_rng(0)
    steps = random.normal(size=(100, 2))
    for file, index, count in ((v2 / 'data/chunk-000/episode_000000.parquet', 0, 100),):
        rewrite(file, 'action', list(steps.astype(np.float32)[:4]))
        columns = {
            'observation.state': list(np.cumsum(steps, axis=0) - steps),
            'action': list(steps), 'timestamp': np.arange(count) / 10,
            'frame_index': np.arange(count), 'episode_index': np.full(count, index)}
        pa, pq = pytest.importorskip('pyarrow'), pytest.importorskip('pyarrow.parquet')
        pq.write_table(pa.table(columns), file)
    (v2 / 'data/chunk-000/episode_000002.parquet').unlink()
    assert 'its actions are steps from row to row, expected absolute' in refusal(read, v2)


def test_a_gap_in_time_is_refused_with_its_row(read, v3, rewrite):
    times = [0.0, 0.1, 0.2, 0.3, 0.0, 0.1, 0.2, 0.9, 1.0, 1.1]
    rewrite(v3 / 'data/chunk-000/file-000.parquet', 'timestamp', times)
    assert 'episode 1: 0.7 s pass from row 2 to row 3, expected 0.1 s' in refusal(read, v3)


def test_rates_must_be_those_of_each_other_and_of_the_step(read, v2, v3):
    rows = read(v3)
    windows = rows.windows(3, 0.2, episodes=[1])
    assert (windows.stride, windows.rows.tolist()) == (2, [4, 5, 6, 7, 8, 9])
    assert len(rows.windows(3, 0.1)) == 10
    with pytest.raises(DatasetError, match=r'small_v3#0: 10 rows per second and step_s 0.05 s'):
        rows.windows(3, 0.05)
    info = v2 / 'meta/info.json'
    info.write_text(info.read_text().replace('"fps": 10', '"fps": 30'))
    assert '10 rows per second and' in refusal(read, v2, v3)


def test_no_dataset_and_a_folder_without_one_are_refused(read, tmp_path):
    assert 'no dataset is named' in refusal(read)
    assert 'does not exist' in refusal(read, tmp_path / 'nowhere')
