"""
Small LeRobot datasets, v2.1 and v3, laid out as the real ones are: tables, videos, facts.

And small bags of a robot with two joints and a camera.
"""

from collections.abc import Callable
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chunked_vla_ros.core.conversion_rules import ConversionRefused, ConversionRules
from chunked_vla_ros.data.bag_episodes import bag_episodes

FPS = 10
CAMERA = 'observation.images.front'
NAMES = ['a', 'b']


def info(version: str, episodes: int) -> dict:
    """Return the content of meta/info.json."""
    v3 = version == 'v3.0'
    vector = {'dtype': 'float32', 'shape': [2]}
    return {
        'codebase_version': version, 'robot_type': 'tester', 'fps': FPS, 'chunks_size': 1000,
        'total_episodes': episodes,
        'data_path': 'data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet' if v3 else
                     'data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet',
        'video_path': 'videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4'
                      if v3 else 'videos/chunk-{episode_chunk:03d}/{video_key}/'
                      'episode_{episode_index:06d}.mp4',
        'features': {
            'observation.state': {**vector, 'names': {'motors': NAMES} if v3 else [NAMES]},
            'action': {**vector, 'names': NAMES},
            CAMERA: {'dtype': 'video', 'shape': [32, 48, 3]}}}


def rows(episode: int, count: int) -> dict:
    """Return columns: joint a counts episode * 100 + row, b is half of that, action is + 1."""
    a = 100.0 * episode + np.arange(count)
    state = np.stack([a, a / 2], axis=1).astype(np.float32)
    return {
        'observation.state': list(state), 'action': list(state + 1),
        'timestamp': (np.arange(count) / FPS).astype(np.float32),
        'frame_index': np.arange(count), 'episode_index': np.full(count, episode)}


def write_table(path: Path, columns: dict) -> None:
    """Write ``columns`` as parquet."""
    pa = pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')
    pq = pytest.importorskip('pyarrow.parquet')
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def write_video(path: Path, greys: list[int]) -> None:
    """Write one frame of 48 x 32 pixels for every grey value."""
    av = pytest.importorskip('av', reason='PyAV is not installed (extra data)')
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 48, 32, 'yuv420p'
        stream.bit_rate = 4_000_000
        for grey in greys:
            frame = av.VideoFrame.from_ndarray(
                np.full((32, 48, 3), grey, np.uint8), format='rgb24')
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def greys(episode: int, count: int) -> list[int]:
    """Return the brightness of each frame: 20 an episode, 5 a frame."""
    return [20 + 60 * episode + 5 * row for row in range(count)]


@pytest.fixture
def v2(tmp_path: Path) -> Path:
    """Return a v2.1 dataset that promises three episodes and has 0 (4 rows) and 2 (6 rows)."""
    root = tmp_path / 'small_v2'
    (root / 'meta').mkdir(parents=True)
    (root / 'meta/info.json').write_text(json.dumps(info('v2.1', 3)))
    (root / 'meta/episodes.jsonl').write_text(''.join(
        json.dumps({'episode_index': index, 'tasks': [f'task {index}'], 'length': 4}) + '\n'
        for index in range(3)))
    for index, count in ((0, 4), (2, 6)):
        name = f'episode_{index:06d}'
        write_table(root / f'data/chunk-000/{name}.parquet', rows(index, count))
        write_video(root / f'videos/chunk-000/{CAMERA}/{name}.mp4', greys(index, count))
    return root


@pytest.fixture
def v3(tmp_path: Path) -> Path:
    """Return a v3 dataset whose episodes 0 (4 rows) and 1 (6 rows) share table and video."""
    root = tmp_path / 'small_v3'
    (root / 'meta').mkdir(parents=True)
    (root / 'meta/info.json').write_text(json.dumps(info('v3.0', 2)))
    first, second = rows(0, 4), rows(1, 6)
    write_table(root / 'data/chunk-000/file-000.parquet', {
        key: [*first[key], *second[key]] for key in first})
    write_video(root / f'videos/{CAMERA}/chunk-000/file-000.mp4', greys(0, 4) + greys(1, 6))
    video = f'videos/{CAMERA}'
    write_table(root / 'meta/episodes/chunk-000/file-000.parquet', {
        'episode_index': [0, 1], 'tasks': [['first'], ['second']],
        'data/chunk_index': [0, 0], 'data/file_index': [0, 0],
        f'{video}/chunk_index': [0, 0], f'{video}/file_index': [0, 0],
        f'{video}/from_timestamp': [0.0, 0.4]})
    return root


@pytest.fixture
def rewrite() -> Callable[[Path, str, object], None]:
    """Return what changes one column of a parquet file."""
    def change(file: Path, column: str, values: object) -> None:
        pq = pytest.importorskip('pyarrow.parquet')
        table = pq.read_table(file).to_pydict()
        write_table(file, {**table, column: values})
    return change


MS = 1_000_000
# When the recordings of `Scene` begin, in [ns].
T0 = 1_700_000_000_000_000_000
RULES = ConversionRules()
NAMES = ('a', 'b')


class Scene:
    """A bag in the making: states every 20 ms, images every 100 ms, logged 2 ms later."""

    def __init__(self, author: Any, folder: Path) -> None:
        self.author, self.folder, self.messages, self.bags = author, folder, [], 0

    def say(self, topic, at_ms, message, late_ms=2.0):
        self.messages.append((topic, T0 + round((at_ms + late_ms) * MS), message))
        return self

    def states(self, *at_ms, names=NAMES, ahead_ms=0.0, stamp=None):
        """Say states whose joints are at (s, -s), s the time in seconds."""
        for each in at_ms:
            stamp_ns = T0 + round((each + ahead_ms) * MS) if stamp is None else stamp
            where = [each / 1e3, -each / 1e3, *[0.0] * (len(names) - 2)][:len(names)]
            self.say('/joint_states', each, self.author.joints(stamp_ns, names, where))
        return self

    def images(self, *at_ms, ahead_ms=0.0):
        """Say images of one grey value: a tenth of the time in milliseconds."""
        for each in at_ms:
            pixels = np.full((3, 4, 3), round(each / 10), np.uint8)
            self.say('/front/image', each, self.author.image(
                T0 + round((each + ahead_ms) * MS), pixels))
        return self

    def event(self, at_ms, kind, value=0.0, text=''):
        stamp_ns = T0 + round(at_ms * MS)
        return self.say('/episode_event', at_ms, self.author.event(stamp_ns, kind, value, text))

    def executor(self, at_ms, positions, names=NAMES):
        author = self.author
        nothing = author.make('builtin_interfaces/msg/Duration', sec=0, nanosec=0)
        return self.say('/executor_state', at_ms, author.make(
            'chunked_vla_ros/msg/ExecutorState', header=author.header(T0 + round(at_ms * MS)),
            mode=1, control_source=0, session_id=author.make(
                'unique_identifier_msgs/msg/UUID', uuid=np.zeros(16, np.uint8)),
            chunk_id=0, chunk_position=0.0, observation_age=nothing,
            observation_to_command=nothing, buffer_left=0.0, joint_names=list(names),
            command=author.point(positions), limit_flags=np.zeros(2, np.uint8), accepted=0,
            stale=0, rejected=0, points_skipped=0, holds=0, ticks=0, deadline_misses=0, clamps=0,
            lateness_p50=0.0, lateness_p99=0.0, reason=''))

    def bag(self, name='', **options) -> Path:
        self.bags += 1
        return self.author.write(self.folder / (name or f'bag{self.bags}'), self.messages,
                                 **options)

    def episodes(self, robot, rules=RULES, **options):
        return bag_episodes(self.bag(**options), robot, rules)

    def refusal(self, robot, rules=RULES, **options):
        """Return the one line that this bag is refused with, behind the bag's name."""
        bag = self.bag(**options)
        with pytest.raises(ConversionRefused) as refused:
            bag_episodes(bag, robot, rules)
        line = str(refused.value)
        assert '\n' not in line
        assert line.startswith(str(bag))
        return line.removeprefix(f'{bag}: ')


@pytest.fixture
def scene(bag_author, tmp_path):
    return Scene(bag_author, tmp_path)
