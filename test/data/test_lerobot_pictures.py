"""LeRobot datasets whose cameras are pictures in the tables, and columns beyond LeRobot's own."""

import json

import cv2
import numpy as np
import pytest

from chunked_vla_ros.data.datasets import DatasetError, open_dataset

CAMERA = 'observation.images.front'
TABLE = {'v2': 'data/chunk-000/episode_000002.parquet', 'v3': 'data/chunk-000/file-000.parquet'}


def picture(red):
    """Return a PNG of 6 x 4 pixels in one colour, as bytes."""
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 2] = red             # OpenCV's order is blue, green, red
    return cv2.imencode('.png', pixels)[1].tobytes()


@pytest.fixture(params=['v2', 'v3'])
def pictured(request, rewrite):
    """Return a dataset with pictures in its table, of 10 per row, and what changes a column."""
    root = request.getfixturevalue(request.param)
    info = json.loads((root / 'meta/info.json').read_text())
    info['features'][CAMERA]['dtype'] = 'image'
    (root / 'meta/info.json').write_text(json.dumps(info))
    rows = 6 if request.param == 'v2' else 10
    cells = [{'bytes': picture(10 * row), 'path': f'{row}.png'} for row in range(rows)]

    def change(values=cells, column=CAMERA):
        rewrite(root / TABLE[request.param], column, values)
        return root
    change()
    return root, cells, change


def test_pictures_of_an_episode_come_in_the_order_of_its_rows(pictured):
    root, cells, _ = pictured
    dataset = open_dataset(root)
    last = dataset.episodes[-1]
    times_s = dataset.episode(last).times_s
    frames = list(dataset.frames(last, 'front'))
    assert [at_s for at_s, _ in frames] == times_s.tolist()
    first = len(cells) - len(times_s)
    assert [frame[0, 0].tolist() for _, frame in frames] == [
        [10 * (first + row), 0, 0] for row in range(6)]
    assert frames[0][1].shape == (4, 6, 3)


def test_a_picture_may_be_a_file_of_the_dataset(pictured):
    root, cells, change = pictured
    (root / 'images').mkdir()
    (root / 'images/a.png').write_bytes(picture(77))
    change([*cells[:-1], {'bytes': None, 'path': 'images/a.png'}])
    dataset = open_dataset(root)
    assert list(dataset.frames(dataset.episodes[-1], 'front'))[-1][1][0, 0, 0] == 77


@pytest.mark.parametrize(('cell', 'complaint'), [
    ({'bytes': b'no picture', 'path': ''}, 'row 5: neither JPEG nor PNG'),
    ({'bytes': picture(1)[:-30], 'path': ''}, 'row 5: PNG'),
    ({'bytes': None, 'path': '../../x.png'}, 'row 5: path .* leads out of the dataset'),
    ({'bytes': None, 'path': 'x.png'}, 'row 5: x.png: No such file'),
    ({'bytes': None, 'path': None}, 'row 5: neither bytes nor the path of a picture'),
])
def test_a_broken_picture_is_one_line_that_names_its_row(pictured, cell, complaint):
    root, cells, change = pictured
    change([*cells[:-1], cell])
    dataset = open_dataset(root)
    with pytest.raises(DatasetError, match=complaint) as error:
        list(dataset.frames(dataset.episodes[-1], 'front'))
    assert '\n' not in str(error.value)


def test_columns_beyond_lerobots_own_are_read_and_those_of_others_are_not(pictured):
    root, cells, change = pictured
    dataset = open_dataset(root)
    assert dict(dataset.columns(dataset.episodes[-1])) == {}
    for column in ('next.reward', 'age_s.state', 'foreign'):
        change([float(row) for row in range(len(cells))], column)
    columns = open_dataset(root).columns(dataset.episodes[-1])
    assert sorted(columns) == ['age_s.state', 'next.reward']
    first = len(cells) - 6
    assert columns['next.reward'].tolist() == [float(first + row) for row in range(6)]


def test_facts_of_an_episode_are_those_of_the_episode_table(v3, rewrite):
    assert open_dataset(v3).facts(1) == {}
    table = v3 / 'meta/episodes/chunk-000/file-000.parquet'
    rewrite(table, 'outcome', ['success', 'failure'])
    rewrite(table, 'source', ['bag a', None])
    dataset = open_dataset(v3)
    assert dataset.facts(0) == {'outcome': 'success', 'source': 'bag a'}
    assert dataset.facts(1) == {'outcome': 'failure'}
    with pytest.raises(DatasetError, match='has no episode 5, expected one of 0, 1'):
        dataset.facts(5)
