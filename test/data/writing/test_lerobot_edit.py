"""Episodes are deleted, split and merged without touching a frame, at one stroke or not at all."""

import json
import random
import resource
import shutil

import pytest

from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.datasets import open_dataset
from chunked_vla_ros.data.lerobot_edit import delete_episodes, merge_datasets, split_episodes
from chunked_vla_ros.data.video_writer import VideoEncoding

pq = pytest.importorskip('pyarrow.parquet', reason='pyarrow is not installed (extra data)')
pytest.importorskip('av', reason='PyAV is not installed (extra data)')


def nothing(count):
    pass


def content(root):
    """Return the bytes of every file."""
    return {str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob('*')) if path.is_file()}


def tables(root):
    """Return the rows of every table of episodes."""
    return [pq.read_table(file) for file in sorted((root / 'data').rglob('*.parquet'))]


def seeds(root):
    """Return the episodes as they were made, told by their state and by their frames."""
    dataset = open_dataset(root)
    states = [int(dataset.episode(index).state[0, 0]) // 100 for index in dataset.episodes]
    greys = [round(next(dataset.frames(index, 'front'))[1].mean() / 10)
             for index in dataset.episodes]
    assert states == greys
    return states


@pytest.fixture
def four(make_dataset, make_episode):
    return make_dataset('four', *[
        make_episode(seed, task='stack' if seed == 3 else 'pick') for seed in range(4)])


def test_deleting_numbers_the_others_anew(four, tmp_path):
    before = content(four)
    assert delete_episodes(four, {0, 2}, tmp_path / 'out', nothing) == 2
    assert seeds(tmp_path / 'out') == [1, 3]
    table = pq.read_table(tmp_path / 'out/data/chunk-000/file-001.parquet')
    assert table['episode_index'].to_pylist() == [1] * 6
    assert table['index'].to_pylist() == [6, 7, 8, 9, 10, 11]
    assert table['task_index'].to_pylist() == [2] * 5 + [1]    # pick, put, stack
    info = json.loads((tmp_path / 'out/meta/info.json').read_text())
    assert (info['total_episodes'], info['total_frames'], info['total_tasks']) == (2, 12, 3)
    stats = json.loads((tmp_path / 'out/meta/stats.json').read_text())
    assert stats['observation.state']['min'] == [100.0, 50.0]
    assert content(four) == before


def test_deleting_in_place_leaves_nothing_behind(four):
    assert delete_episodes(four, {1}, None, nothing) == 3
    assert seeds(four) == [0, 2, 3]
    assert not four.with_name('four.edit').exists()
    assert len(list((four / 'videos').rglob('*.mp4'))) == 3


def test_a_dataset_split_and_merged_again_is_the_same_to_the_byte(four, tmp_path):
    counts = split_episodes(four, {'train': [0, 1, 2], 'val': [3]}, tmp_path / 'parts', nothing)
    assert counts == {'train': 3, 'val': 1}
    assert seeds(tmp_path / 'parts/train') == [0, 1, 2]
    assert seeds(tmp_path / 'parts/val') == [3]
    parts = [tmp_path / 'parts' / name for name in counts]
    assert merge_datasets(parts, tmp_path / 'merged', nothing) == 4
    assert content(tmp_path / 'merged') == content(four)


def test_merging_in_place_adds_to_the_first(make_dataset, make_episode):
    first, second = make_dataset('first', make_episode(0)), make_dataset('second', make_episode(5))
    merge_datasets([first, second], None, nothing)
    assert seeds(first) == [0, 5]
    assert seeds(second) == [5]


def test_images_are_edited_too(make_dataset, make_episode, tmp_path):
    root = make_dataset('images', make_episode(0), make_episode(1, rows=40), encoding=None)
    delete_episodes(root, {0}, tmp_path / 'out', nothing)
    table = pq.read_table(tmp_path / 'out/data/chunk-000/file-000.parquet')
    former = pq.read_table(root / 'data/chunk-000/file-001.parquet')
    key = 'observation.images.front'
    assert table[key].to_pylist() == former[key].to_pylist()
    assert table['index'].to_pylist() == list(range(40))


def test_of_a_shared_video_every_episode_keeps_its_piece(four, tmp_path):
    """As LeRobot writes it: many episodes in one table and one video."""
    shared = tmp_path / 'shared'
    shutil.copytree(four, shared)
    tables = sorted((shared / 'data').rglob('*.parquet'))
    whole = [pq.read_table(file) for file in tables]
    for file in tables[1:]:
        file.unlink()
    import pyarrow as pa
    pq.write_table(pa.concat_tables(whole), tables[0])
    entries = shared / 'meta/episodes/chunk-000/file-000.parquet'
    found = pq.read_table(entries).to_pylist()
    video = 'videos/observation.images.front'
    for number, entry in enumerate(found):
        entry |= {'data/file_index': 0, f'{video}/file_index': number // 2,
                  f'{video}/from_timestamp': 0.2 * (number % 2)}
    pq.write_table(pa.Table.from_pylist(found, schema=pq.read_schema(entries)), entries)
    delete_episodes(shared, {2}, tmp_path / 'out', nothing)
    kept = pq.read_table(tmp_path / 'out/meta/episodes/chunk-000/file-000.parquet').to_pylist()
    assert [entry[f'{video}/file_index'] for entry in kept] == [0, 0, 1]
    assert [entry[f'{video}/from_timestamp'] for entry in kept] == [0.0, 0.2, 0.2]
    assert [entry['data/file_index'] for entry in kept] == [0, 1, 2]
    third = pq.read_table(tmp_path / 'out/data/chunk-000/file-002.parquet')
    assert third['observation.state'].to_pylist()[0] == [300.0, 150.0]


def test_what_cannot_be_done_is_one_line_and_changes_nothing(
        four, tmp_path, make_dataset, make_episode):
    before = content(four)
    other = make_dataset('other', make_episode(0, cameras=('side',)))
    slow = make_dataset('slow', make_episode(0, fps=15.0))
    coded = make_dataset('coded', make_episode(0), encoding=VideoEncoding('av1'))
    (tmp_path / 'there').mkdir()
    for message, work in {
            r'has no episode 4, expected 0 to 3':
                lambda: delete_episodes(four, {4}, tmp_path / 'out', nothing),
            r'needs one episode or more':
                lambda: delete_episodes(four, set(range(4)), None, nothing),
            r'there: exists already, name a new folder':
                lambda: delete_episodes(four, {0}, tmp_path / 'there', nothing),
            r"part '\.\./up' has 1 episodes, expected a plain name":
                lambda: split_episodes(four, {'../up': [0]}, tmp_path / 'out', nothing),
            r'other: has no observation\.images\.front, expected one as .*four has':
                lambda: merge_datasets([four, other], None, nothing),
            r'slow: fps is 15, expected 30 as .*four has':
                lambda: merge_datasets([four, slow], None, nothing),
            r'coded: .*front is encoded as av1, expected h264 as .*four has':
                lambda: merge_datasets([four, coded], None, nothing),
            r'nowhere/meta/info\.json: cannot be read':
                lambda: delete_episodes(tmp_path / 'nowhere', {0}, None, nothing)}.items():
        with pytest.raises(DatasetError, match=message) as error:
            work()
        assert '\n' not in str(error.value)
    assert content(four) == before
    assert not (tmp_path / 'out').exists()


def test_damage_is_one_line(four):
    (four / 'videos/observation.images.front/chunk-000/file-002.mp4').unlink()
    with pytest.raises(DatasetError, match=r'file-002\.mp4: is missing, fetch it again'):
        delete_episodes(four, {0}, None, nothing)
    table = four / 'data/chunk-000/file-001.parquet'
    table.write_bytes(table.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r'file-001\.parquet: cannot be read as parquet'):
        delete_episodes(four, {0}, None, nothing)
    assert not four.with_name('four.edit').exists()


def test_no_flipped_bit_gets_into_another_dataset(four, tmp_path):
    chance, parquet = random.Random(0), sorted(four.rglob('*.parquet'))
    wanted = tables(four)
    refused = taken = 0
    for number in range(25):
        file = chance.choice(parquet)
        whole = file.read_bytes()
        broken = bytearray(whole)
        broken[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        file.write_bytes(broken)
        out = tmp_path / f'out{number}'
        try:
            delete_episodes(four, set(), out, nothing)
        except (DatasetError, OSError) as error:
            refused += '\n' not in str(error) and not out.exists()
        else:    # it was in what nobody reads, as a page's smallest value
            taken += tables(out) == wanted
        file.write_bytes(whole)
    assert refused
    assert refused + taken == 25


def test_on_a_full_disk_the_dataset_stays_as_it_is(four):
    before = content(four)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000, limits[1]))
    try:
        with pytest.raises(OSError, match='too large'):
            delete_episodes(four, {0}, None, nothing)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert content(four) == before
