"""A worker answers every bag with what became of it, in one line, whatever the bag does to it."""

import errno
import io
import json

import numpy as np
import pytest

from chunked_vla_ros.convert.worker import rules_from, serve
from chunked_vla_ros.core.conversion_rules import ConversionRefused, ConversionRules
from chunked_vla_ros.core.dataset_episode import ActionSource, DatasetEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.video_writer import VideoEncoding

ROWS, SHAPE = 5, (32, 48, 3)


def episode(cameras=('front',)):
    times_ns = np.arange(ROWS) * 100_000_000
    no = np.zeros(ROWS, bool)
    return DatasetEpisode(
        'bag', 10.0, times_ns, np.zeros((ROWS, 1)), np.ones((ROWS, 1)), ('a',),
        ActionSource.NEXT_STATE, ('pick',) * ROWS, np.zeros(ROWS), no, no, no,
        dict.fromkeys(('state', *cameras), times_ns), Outcome.UNLABELED,
        dict.fromkeys(cameras, SHAPE),
        lambda camera: iter([np.zeros(SHAPE, np.uint8)] * ROWS))


@pytest.fixture
def ask(tmp_path):
    """Return what asks for one bag and returns the answers."""
    def answers(read, *replies):
        job = {'bag': 'bag', 'folder': str(tmp_path / 'place'), 'bag_id': 'abc'}
        (tmp_path / 'place').mkdir(exist_ok=True)
        requests = io.StringIO(''.join(json.dumps(line) + '\n' for line in (job, *replies)))
        heard = io.StringIO()
        serve(requests, heard, read, VideoEncoding())
        return [json.loads(line) for line in heard.getvalue().splitlines()]
    return answers


def test_it_says_what_it_found_and_goes_on_when_told(ask, tmp_path):
    found, *frames, done = ask(lambda bag: [episode(), episode()], {'go': True})
    assert (found['kind'], found['frames'], found['kind_of']['fps']) == ('found', 10, 10.0)
    assert sum(line['done'] for line in frames) == 10
    assert done == {'kind': 'done', 'episodes': 2, 'rows': 10}
    assert {path.name for path in (tmp_path / 'place').iterdir()} == {'0', '1'}


def test_without_cameras_rows_are_what_is_counted(ask):
    found, frames, _ = ask(lambda bag: [episode(cameras=())], {'go': True})
    assert (found['frames'], frames['done']) == (5, 5)


def test_what_does_not_fit_the_others_is_not_encoded(ask, tmp_path):
    _, refused = ask(lambda bag: [episode()], {'refuse': 'has 10 rows per second'})
    assert refused == {'kind': 'refused', 'why': 'has 10 rows per second'}
    assert not list((tmp_path / 'place').iterdir())


def test_parts_of_one_bag_have_the_same_columns(ask):
    refused, = ask(lambda bag: [episode(), episode(cameras=())])
    assert refused['why'] == 'bag: its parts 0 and 1 have different columns'


@pytest.mark.parametrize(('error', 'kind', 'why'), [
    (ConversionRefused('bag: lacks\njoint_states'), 'refused', 'bag: lacks joint_states'),
    (OSError(errno.ENOSPC, 'No space left on device', 'x'), 'stuck', 'x: No space left on device'),
    (OSError(errno.EIO, 'Input/output error', 'x'), 'refused', 'x: Input/output error'),
    (MemoryError(), 'refused', 'bag: needs more memory than there is'),
    (ZeroDivisionError('by 0'), 'refused', 'bag: ZeroDivisionError in the converter: by 0'),
])
def test_whatever_goes_wrong_is_one_line(ask, error, kind, why):
    def read(bag):
        raise error

    assert ask(read) == [{'kind': kind, 'why': why}]


def test_rules_come_through_json_as_they_were():
    rules = ConversionRules(fps=12.5, cameras=('front', 'wrist'))
    assert rules_from(json.loads(json.dumps(vars(rules)))) == rules
