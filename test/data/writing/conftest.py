"""Episodes of two joints and grey frames, and datasets made of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from chunked_vla_ros.core.dataset_episode import ActionSource, DatasetEpisode
from chunked_vla_ros.core.recording import Outcome
from chunked_vla_ros.data.dataset_schema import entry_schema
from chunked_vla_ros.data.episode_stage import stage_episode, staged_part
from chunked_vla_ros.data.lerobot_writer import DatasetBuilder
from chunked_vla_ros.data.video_writer import VideoEncoding

START_NS = 1_700_000_000_123_456_789
LOSSLESS = VideoEncoding(crf=0)


@pytest.fixture
def make_episode() -> Callable[..., DatasetEpisode]:
    """Return what makes an episode; frame k of each camera is grey, 10 * ``seed`` + k."""
    return made_episode


@pytest.fixture
def make_dataset(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes such episodes as a dataset of its name."""
    pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')
    pytest.importorskip('av', reason='PyAV is not installed (extra data)')

    def make(name: str, *episodes: DatasetEpisode,
             encoding: VideoEncoding | None = LOSSLESS) -> Path:
        folders = [tmp_path / f'{name}_stage' / str(index) for index in range(len(episodes))]
        for folder, episode in zip(folders, episodes, strict=True):
            stage_episode(folder, episode, encoding, lambda count: None)
        about = staged_part(folders[0])[1]
        builder = DatasetBuilder(tmp_path / name, {**about, 'robot_type': 'tester'},
                                 entry_schema(about['features']), link=True)
        for folder in folders:
            builder.add(staged_part(folder)[0])
        builder.finish({'chunked_vla': {'schema': 1}})
        return tmp_path / name
    return make


def made_episode(seed: int = 0, rows: int = 6, *, task: str = 'pick', fps: float = 30.0,
                 cameras: tuple[str, ...] = ('front',), size: tuple[int, int] = (32, 48),
                 frames: int | None = None) -> DatasetEpisode:
    """Return an episode; joint a is 100 * ``seed`` + row, b half of it, actions are 1 more."""
    times_ns = START_NS + np.round(np.arange(rows) * 1e9 / fps).astype(np.int64)
    a = 100.0 * seed + np.arange(rows)
    state = np.stack([a, a / 2], axis=1)
    last = np.arange(rows) == rows - 1
    ages_ns = {'state': 0, 'action': 1_000_000, **dict.fromkeys(cameras, 5_000_000)}

    def open_frames(camera: str) -> Iterator[np.ndarray]:
        for row in range(rows if frames is None else frames):
            yield np.full((*size, 3), 10 * seed + row, np.uint8)

    return DatasetEpisode(
        f'bag_{seed}', fps, times_ns, state, state + 1.0, ('a', 'b'),
        ActionSource.COMMANDED_POINT, (task,) * (rows - 1) + ('put',), np.where(last, 1.0, 0.0),
        last, last, np.arange(rows) == 0,
        {name: times_ns - age_ns for name, age_ns in ages_ns.items()}, Outcome.SUCCESS,
        dict.fromkeys(cameras, (*size, 3)), open_frames, {'operator': 'me', 'verdict': 'good'})
