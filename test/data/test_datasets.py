"""Reading datasets: rows, times and frames of both LeRobot layouts, and every kind of damage."""

import copy
import json
from pathlib import Path
import sys

from hypothesis import event, given
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.data.datasets import DatasetError, open_dataset
from chunked_vla_ros.data.demonstrations import load_demonstration
from chunked_vla_ros.data.lerobot_info import LeRobotInfo, parse_info
from chunked_vla_ros.data.robot_contract import load_robot

DEMOS = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos'
real = pytest.mark.skipif(
    not DEMOS.is_dir(), reason='real demonstrations are absent (shared/data)')
TABLE = 'data/chunk-000/episode_000002.parquet'
VIDEO = 'videos/chunk-000/observation.images.front/episode_000002.mp4'


def brightness(dataset, index):
    return [(at_s, frame.mean()) for at_s, frame in dataset.frames(index, 'front')]


def test_v2_only_episodes_that_are_there_count(v2):
    dataset = open_dataset(v2)
    assert dataset.episodes == (0, 2)
    assert (dataset.fps, dataset.robot_type, dataset.cameras) == (10.0, 'tester', ('front',))
    episode = dataset.episode(2)
    assert episode.task == 'task 2'
    assert episode.times_s == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=1e-12)
    assert episode.state[3] == pytest.approx([203.0, 101.5])
    assert episode.action[3] == pytest.approx([204.0, 102.5])
    assert episode.state_names == episode.action_names == ('a', 'b')


def test_v3_episodes_are_cut_out_of_shared_files(v3):
    dataset = open_dataset(v3)
    assert dataset.episodes == (0, 1)
    episode = dataset.episode(1)
    assert (episode.task, len(episode.times_s)) == ('second', 6)
    assert episode.times_s[0] == 0.0
    assert episode.state[0] == pytest.approx([100.0, 50.0])


@pytest.mark.parametrize(('layout', 'index'), [('v2', 0), ('v2', 2), ('v3', 0), ('v3', 1)])
def test_every_row_has_its_frame_at_its_time(request, layout, index):
    dataset = open_dataset(request.getfixturevalue(layout))
    found = brightness(dataset, index)
    times_s = dataset.episode(index).times_s
    assert [at_s for at_s, _ in found] == times_s.tolist()
    expected = [20 + 60 * index + 5 * row for row in range(len(times_s))]
    assert [grey for _, grey in found] == pytest.approx(expected, abs=2.4)


def test_a_frame_is_rgb_of_the_videos_size(v2):
    _, frame = next(open_dataset(v2).frames(0, 'front'))
    assert (frame.shape, frame.dtype) == ((32, 48, 3), np.uint8)


def test_times_of_the_table_count_where_frame_numbers_disagree(v2, rewrite):
    rewrite(v2 / TABLE, 'timestamp', np.array([0, .1, .2, .5, .6, .7], np.float32))
    assert open_dataset(v2).episode(2).times_s == pytest.approx([0, .1, .2, .5, .6, .7])


def test_a_demonstration_is_the_action_of_the_wanted_episode(v2):
    demonstration = load_demonstration(v2, 2)
    assert demonstration.positions[0] == pytest.approx([201.0, 101.0])
    assert demonstration.joint_names == ('a', 'b')
    assert demonstration.source == 'small_v2 episode 2'
    assert load_demonstration(v2).source == 'small_v2 episode 0'


def test_an_episode_or_camera_that_is_not_there_names_those_that_are(v2):
    dataset = open_dataset(v2)
    with pytest.raises(DatasetError, match=r'has no episode 1, expected one of 0, 2'):
        dataset.episode(1)
    with pytest.raises(DatasetError, match=r'has no camera back, expected one of front'):
        dataset.frames(0, 'back')


@pytest.mark.parametrize(('column', 'values', 'message'), [
    # 0.2 s off at 10 Hz: frame numbers are not believed, and the table's times go back.
    ('timestamp', [0., .1, .2, .1, .3, .4], 'time does not increase from row 2 to row 3'),
    ('action', [[1.0, 2.0, 3.0]] * 6, r'action has rows of \(3,\), expected 2'),
    ('action', [[1.0, 2.0]] * 5 + [[1.0]], 'action has rows of different width'),
    ('observation.state', [[1.0, float('nan')]] * 6, 'state in row 0 is not finite'),
    ('episode_index', [7] * 6, 'has no rows of episode 2'),
])
def test_wrong_rows_are_one_line_that_names_the_file(v2, rewrite, column, values, message):
    rewrite(v2 / TABLE, column, values)
    with pytest.raises(DatasetError, match=message) as error:
        open_dataset(v2).episode(2)
    assert 'episode_000002.parquet: ' in str(error.value)
    assert '\n' not in str(error.value)


def test_a_truncated_table_is_one_line(v2):
    file = v2 / TABLE
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r'000002\.parquet: cannot be read as parquet .*again'):
        open_dataset(v2).episode(2)


def test_a_missing_a_truncated_and_a_short_video_are_one_line(v2):
    file = v2 / VIDEO
    whole = file.read_bytes()
    file.write_bytes(whole[:40])
    with pytest.raises(DatasetError, match=r'000002\.mp4: frame 0 cannot be decoded'):
        list(open_dataset(v2).frames(2, 'front'))
    file.write_bytes((v2 / VIDEO.replace('000002', '000000')).read_bytes())
    with pytest.raises(DatasetError, match=r'has 4 frames from 0 s on, expected 6'):
        list(open_dataset(v2).frames(2, 'front'))
    file.unlink()
    with pytest.raises(DatasetError, match=r'000002\.mp4: is missing'):
        list(open_dataset(v2).frames(2, 'front'))


@pytest.mark.parametrize(('key', 'value', 'message'), [
    ('codebase_version', 'v9', r"codebase_version is 'v9', expected one of v2\.0, v2\.1, v3\.0"),
    ('fps', 0, 'fps is 0, expected a rate'),
    ('features', {}, r'features is \[\], expected a mapping with observation\.state'),
    ('data_path', '../{episode_index}', 'expected a path inside the dataset'),
    ('data_path', '{other}', 'expected fields among'),
])
def test_wrong_facts_are_one_line_that_names_the_file(v2, key, value, message):
    file = v2 / 'meta/info.json'
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(DatasetError, match=message) as error:
        open_dataset(v2)
    assert 'meta/info.json: ' in str(error.value)


def test_a_directory_without_facts_and_a_missing_reader_name_the_remedy(v2, tmp_path, monkeypatch):
    with pytest.raises(DatasetError, match=r'no meta/info\.json, expected the root of a dataset'):
        open_dataset(tmp_path)
    monkeypatch.setitem(sys.modules, 'pyarrow.parquet', None)
    with pytest.raises(DatasetError, match=r'pyarrow is not installed .*\(extra data\)'):
        open_dataset(v2).episode(0)


def test_a_folder_above_names_the_datasets_in_it_and_version_1_its_remedy(v2, tmp_path):
    (tmp_path / 'old/meta_data').mkdir(parents=True)
    (tmp_path / 'old/meta_data/info.json').write_text('{"fps": 50}')
    with pytest.raises(DatasetError, match='expected the root of a dataset, such as ') as error:
        open_dataset(tmp_path)
    assert str(error.value).endswith(f'such as {tmp_path}/old, {v2}')
    with pytest.raises(DatasetError, match=r'LeRobot v1 dataset.*convert_dataset_v1_to_v2\.py'):
        open_dataset(tmp_path / 'old')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner,
                                                                max_size=3), max_leaves=6)
FACTS = {
    'codebase_version': 'v2.1', 'fps': 30, 'data_path': 'd', 'video_path': 'v', 'features': {
        'observation.state': {'shape': [2], 'names': [['a', 'b']]},
        'action': {'shape': [2], 'names': {'motors': ['a', 'b']}}, 'cam': {'dtype': 'video'}}}
PATHS = [('codebase_version',), ('fps',), ('data_path',), ('video_path',), ('features',),
         ('features', 'action'), ('features', 'action', 'shape'), ('features', 'action', 'names'),
         ('features', 'cam'), ('chunks_size',), ('robot_type',)]


@given(path=st.sampled_from(PATHS), value=JSON)
def test_any_facts_are_understood_or_refused(path, value):
    facts = copy.deepcopy(FACTS)
    at = facts
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    try:
        found = parse_info(json.dumps(facts), Path('set'))
    except DatasetError as error:
        complaint = str(error)
        event('refused')
    else:
        complaint = ''
        event('understood')
        assert isinstance(found, LeRobotInfo)
        assert len(found.state_names) == 2
        assert found.fps > 0
    assert '\n' not in complaint


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(text):
    with pytest.raises(DatasetError):
        parse_info(text, Path('set'))


@real
@pytest.mark.parametrize(('name', 'episodes', 'rows'), [
    ('g1_bottle', (10, 28, 29, 30, 31, 59, 82, 99), 2138),
    ('so101_constant', tuple(range(6)), 1782)])
def test_real_datasets_have_as_many_frames_as_rows(name, episodes, rows):
    dataset = open_dataset(DEMOS / name)
    assert dataset.episodes == episodes
    found = {index: len(dataset.episode(index).times_s) for index in episodes}
    assert sum(found.values()) == rows
    for index, count in list(found.items())[:2]:
        assert sum(1 for _ in dataset.frames(index, dataset.cameras[0])) == count


def test_contracts_of_real_arms_name_joints_units_and_cameras():
    franka, g1 = load_robot('franka_fr3'), load_robot('g1_arms')
    assert franka.joint_names == tuple(f'fr3_joint{index}' for index in range(1, 8))
    assert franka.state.rate_hz == 1000.0
    assert [joint.unit.value for joint in g1.joints] == ['rad'] * 14 + ['1'] * 12
    assert g1.joints[3].aliases == ('kLeftElbow',)
    assert g1.camera('cam_high').frozen_after_s == 1.0


@real
@pytest.mark.parametrize(('robot', 'name'), [
    ('g1_arms', 'g1_bottle'), ('franka_fr3', 'franka_fr3')])
def test_real_recordings_lie_inside_the_position_limits_of_their_robot(robot, name):
    spec, dataset = load_robot(robot), open_dataset(DEMOS / name)
    names = {alias: joint.name for joint in spec.joints for alias in (joint.name, *joint.aliases)}
    assert tuple(names[joint] for joint in dataset.state_names) == spec.joint_names
    for index in dataset.episodes:
        episode = dataset.episode(index)
        for rows in (episode.state, episode.action):
            if rows is not None:
                assert (rows >= spec.limits.lower).all()
                assert (rows <= spec.limits.upper).all()
