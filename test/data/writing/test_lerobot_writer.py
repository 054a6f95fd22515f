"""A dataset that is written is LeRobot's layout, has every row and frame, or is one error line."""

import json

import numpy as np
import pytest

from chunked_vla_ros.data import lerobot_writer
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.episode_stage import stage_episode, staged_part
from chunked_vla_ros.data.video_writer import VideoEncoding

pq = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed (extra data)')
cv2 = pytest.importorskip('cv2')
KEY = 'observation.images.front'


def files(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob('*') if path.is_file())


def rows(root, number):
    return pq.read_table(root / f'data/chunk-000/file-{number:03d}.parquet')


def entries(root):
    return pq.read_table(root / 'meta/episodes/chunk-000/file-000.parquet').to_pylist()


def test_each_episode_has_a_table_and_a_video_of_its_own(make_dataset, make_episode):
    root = make_dataset('set', make_episode(0), make_episode(1))
    assert files(root) == [
        'data/chunk-000/file-000.parquet', 'data/chunk-000/file-001.parquet',
        'meta/episodes/chunk-000/file-000.parquet', 'meta/info.json', 'meta/stats.json',
        'meta/tasks.parquet', f'videos/{KEY}/chunk-000/file-000.mp4',
        f'videos/{KEY}/chunk-000/file-001.mp4']


def test_rows_have_every_column_with_its_type_and_value(make_dataset, make_episode):
    episode = make_episode(3, rows=4)
    root = make_dataset('set', make_episode(0, rows=5), episode)
    table = rows(root, 1)
    assert table['observation.state'].to_pylist() == [
        [300.0, 150.0], [301.0, 150.5], [302.0, 151.0], [303.0, 151.5]]
    assert table['action'].to_pylist()[0] == [301.0, 151.0]
    assert str(table.schema.field('action').type).startswith('fixed_size_list<')
    plain = {name: (str(table.schema.field(name).type), table[name].to_pylist())
             for name in table.schema.names if name not in ('observation.state', 'action')}
    stamps = episode.times_ns.tolist()
    thirds = np.arange(4, dtype=np.float32) / np.float32(30)
    assert plain.pop('timestamp') == ('float', pytest.approx(thirds.tolist(), abs=1e-7))
    assert plain.pop('age_s.front') == ('float', [np.float32(0.005)] * 4)
    assert plain.pop('age_s.action') == ('float', [np.float32(0.001)] * 4)
    assert plain == {
        'frame_index': ('int64', [0, 1, 2, 3]), 'episode_index': ('int64', [1] * 4),
        'index': ('int64', [5, 6, 7, 8]), 'task_index': ('int64', [0, 0, 0, 1]),
        'next.reward': ('float', [0.0, 0.0, 0.0, 1.0]),
        'next.done': ('bool', [False, False, False, True]),
        'next.success': ('bool', [False, False, False, True]),
        'intervention': ('bool', [True, False, False, False]), 'stamp_ns': ('int64', stamps),
        'source_stamp_ns.state': ('int64', stamps), 'age_s.state': ('float', [0.0] * 4),
        'source_stamp_ns.action': ('int64', [stamp - 1_000_000 for stamp in stamps]),
        'source_stamp_ns.front': ('int64', [stamp - 5_000_000 for stamp in stamps])}


def test_entries_say_where_an_episode_lies_and_where_it_comes_from(make_dataset, make_episode):
    root = make_dataset('set', make_episode(0, rows=5), make_episode(1, rows=6, task='stack'))
    found = entries(root)[1]
    assert found['tasks'] == ['stack', 'put']
    assert (found['length'], found['dataset_from_index'], found['dataset_to_index']) == (6, 5, 11)
    assert (found['data/chunk_index'], found['data/file_index']) == (0, 1)
    assert found[f'videos/{KEY}/from_timestamp'] == 0.0
    assert found[f'videos/{KEY}/to_timestamp'] == pytest.approx(0.2)
    assert (found['source'], found['outcome'], found['verdict']) == ('bag_1', 'success', 'good')
    assert found['action_source'] == 'commanded_point'
    assert json.loads(found['facts']) == {'operator': 'me', 'verdict': 'good'}
    assert found['stats/action/max'] == [106.0, 53.5]
    assert found['stats/episode_index/mean'] == [1.0]


def test_info_and_statistics_sum_the_episodes_up(make_dataset, make_episode):
    root = make_dataset('set', make_episode(0, rows=5), make_episode(1, rows=6))
    info = json.loads((root / 'meta/info.json').read_text())
    assert (info['codebase_version'], info['fps'], info['robot_type']) == ('v3.0', 30, 'tester')
    assert (info['total_episodes'], info['total_frames'], info['total_tasks']) == (2, 11, 2)
    assert info['splits'] == {'train': '0:2'}
    assert info['features']['observation.state'] == {
        'dtype': 'float32', 'shape': [2], 'names': ['a', 'b']}
    assert info['features'][KEY]['info']['video.codec'] == 'h264'
    assert info['chunked_vla'] == {'schema': 1}
    stats = json.loads((root / 'meta/stats.json').read_text())
    assert stats['observation.state']['min'] == [0.0, 0.0]
    assert stats['observation.state']['max'] == [105.0, 52.5]
    assert stats['observation.state']['count'] == [11]
    # Grey 0 to 4 and 10 to 15.
    assert stats[KEY]['mean'] == pytest.approx(np.full((3, 1, 1), 85 / 11 / 255), abs=1e-6)
    assert set(stats) == set(info['features'])


def test_our_reader_finds_every_row_and_frame(make_dataset, make_episode):
    dataset = open_dataset(make_dataset('set', make_episode(0), make_episode(2, rows=9)))
    assert dataset.episodes == (0, 1)
    episode = dataset.episode(1)
    assert (episode.task, episode.state_names) == ('pick', ('a', 'b'))
    assert episode.state[:, 0].tolist() == [200.0 + row for row in range(9)]
    found = [frame.mean() for _, frame in dataset.frames(1, 'front')]
    assert found == pytest.approx([20 + row for row in range(9)], abs=1.0)


def test_images_are_kept_in_the_table_without_loss(make_dataset, make_episode):
    root = make_dataset('set', make_episode(0, rows=20), make_episode(1, rows=3), encoding=None)
    assert not (root / 'videos').exists()
    table = rows(root, 0)
    assert table['index'].to_pylist() == list(range(20))
    found = [cv2.imdecode(np.frombuffer(image['bytes'], np.uint8), cv2.IMREAD_COLOR)
             for image in table[KEY].to_pylist()]
    assert [(image.min(), image.max()) for image in found] == [(row, row) for row in range(20)]
    info = json.loads((root / 'meta/info.json').read_text())
    assert (info['features'][KEY]['dtype'], info['video_path']) == ('image', None)
    assert info['features'][KEY]['shape'] == [32, 48, 3]


def test_folders_and_tables_of_entries_are_filled_one_after_another(
        make_dataset, make_episode, monkeypatch):
    for name in ('FILES_PER_FOLDER', 'ENTRIES_PER_FILE'):
        monkeypatch.setattr(lerobot_writer, name, 2)
    root = make_dataset('set', *[make_episode(seed, rows=2) for seed in range(5)])
    assert [name for name in files(root) if name.startswith('data')] == [
        'data/chunk-000/file-000.parquet', 'data/chunk-000/file-001.parquet',
        'data/chunk-001/file-000.parquet', 'data/chunk-001/file-001.parquet',
        'data/chunk-002/file-000.parquet']
    tables = sorted((root / 'meta/episodes').rglob('*.parquet'))
    assert [str(path.relative_to(root / 'meta/episodes')) for path in tables] == [
        'chunk-000/file-000.parquet', 'chunk-000/file-001.parquet', 'chunk-001/file-000.parquet']
    assert [entry['episode_index'] for table in tables
            for entry in pq.read_table(table).to_pylist()] == list(range(5))
    assert open_dataset(root).episode(4).state[0, 0] == 400.0


@pytest.mark.parametrize(('wanted', 'frames', 'message'), [
    (VideoEncoding(), 5, 'camera front has 5 frames, expected 6'),
    (VideoEncoding(), 7, 'camera front has more frames, expected 6'),
    (None, 5, 'camera front has 5 frames, expected 6'),
    (None, 7, 'camera front has more frames, expected 6'),
])
def test_frames_that_are_not_one_for_each_row_are_refused(
        tmp_path, make_episode, wanted, frames, message):
    with pytest.raises(DatasetError, match=message):
        stage_episode(tmp_path / '0', make_episode(frames=frames), wanted, lambda count: None)
    assert not (tmp_path / '0').exists()


def test_what_a_kill_left_of_an_episode_is_made_anew(tmp_path, make_episode):
    (tmp_path / '0.new').mkdir()
    (tmp_path / '0.new' / 'rows.parquet').write_text('half')
    told = []
    stage_episode(tmp_path / '0', make_episode(rows=20), VideoEncoding(), told.append)
    assert staged_part(tmp_path / '0')[0].length == 20
    assert sum(told) == 20
    assert not (tmp_path / '0.new').exists()
