"""Frames by row number are the same whether they were kept or are decoded when asked for."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
import numpy as np
import pytest

from chunked_vla_ros.core.episode import Episode
from chunked_vla_ros.core.robot_spec import CameraSpec, StreamSpec, TimeBase
from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.frame_source import DecodedFrames, EpisodeFrames, MappedFrames
from chunked_vla_ros.data.video import single_frames, video_frames

av = pytest.importorskip('av', reason='PyAV is not installed (extra data)')

FPS, COUNT, KEY_EVERY = 20, 60, 12


@pytest.fixture(scope='module')
def video(tmp_path_factory) -> Path:
    """Return a video of 60 noisy frames, every 12th of which can be decoded by itself."""
    path, random = tmp_path_factory.mktemp('video') / 'noise.mp4', np.random.default_rng(0)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('mpeg4', rate=FPS, options={'g': str(KEY_EVERY)})
        stream.width, stream.height, stream.pix_fmt = 32, 32, 'yuv420p'
        for _ in range(COUNT):
            pixels = random.integers(0, 255, (32, 32, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format='rgb24')))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope='module')
def all_frames(video) -> np.ndarray:
    return np.stack([frame for _, frame in video_frames(video, 0.0, np.arange(COUNT) / FPS, FPS)])


@settings(deadline=None, max_examples=8)
@given(first=st.integers(0, COUNT - 1), data=st.data())
def test_a_frame_alone_is_the_frame_among_all(video, all_frames, first, data):
    rows = np.array(sorted(data.draw(
        st.lists(st.integers(0, COUNT - 1 - first), min_size=1, max_size=6))))
    found = list(single_frames(video, first / FPS, rows / FPS, FPS))
    assert [time_s for time_s, _ in found] == (rows / FPS).tolist()
    assert (np.stack([frame for _, frame in found]) == all_frames[first + rows]).all()


def test_a_frame_behind_the_end_is_refused_with_file_and_time(video):
    with pytest.raises(DatasetError, match=r'noise\.mp4: ends before 3\.5 s'):
        list(single_frames(video, 0.5, np.array([0.0, 3.0]), FPS))


@pytest.mark.parametrize(('content', 'said'), [
    (None, 'is missing'), (b'', 'cannot be decoded'), (b'no video' * 99, 'cannot be decoded')])
def test_a_broken_video_is_refused_with_its_name(tmp_path, content, said):
    file = tmp_path / 'broken.mp4'
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(DatasetError, match=said) as refused:
        list(single_frames(file, 0.0, np.array([0.0]), FPS))
    assert str(refused.value).startswith(str(file))


def test_a_video_cut_off_is_refused_or_whole_so_far(video, all_frames, tmp_path):
    cut = tmp_path / 'cut.mp4'
    cut.write_bytes(video.read_bytes()[:-500])
    with pytest.raises(DatasetError, match=r'cut\.mp4'):
        list(single_frames(cut, 0.0, np.array([0.0, 2.9]), FPS))


def test_pictures_that_end_before_the_rows_are_refused_in_one_line():
    class Recorded:
        """A dataset of records whose episode has two pictures and three rows."""

        cameras, fps = ('front',), 10.0

        def frames(self, index, camera):
            for row in range(2):
                yield row / 10, np.full((2, 2, 3), 7, np.uint8)

    stream = StreamSpec('front', 10.0, TimeBase.HEADER, 0.2)
    camera = CameraSpec('front', stream, 'info', 2, 2, 'rgb8')
    numbers = np.zeros((3, 1))
    episode = Episode(
        4, 'go', np.arange(3) / 10, numbers, numbers, ('a',), ('a',), ('front',), 'file')
    frames = DecodedFrames([EpisodeFrames(Path('data'), Recorded(), [episode], [camera])])
    assert (frames.read([1, 0], 0) == 7).all()
    with pytest.raises(DatasetError, match=r'data: episode 4 has no frame of front in row 2 of 3'):
        frames.read([0, 2], 0)


def test_rows_of_several_datasets_come_in_the_order_they_were_asked_for():
    one, other = (np.full((3, 2, 2, 3), value, np.uint8) for value in (10, 50))
    one += np.arange(3, dtype=np.uint8)[:, None, None, None]
    frames = MappedFrames([3, 2, 3], [[one, None], [None, None], [other, other]],
                          [(2, 2, 3), (2, 2, 3)])
    assert frames.read([7, 2, 3, 0, 2], 0)[:, 0, 0, 0].tolist() == [50, 12, 0, 10, 12]
    assert frames.read([7, 2], 1)[:, 0, 0, 0].tolist() == [50, 0]
    assert frames.read([], 0).shape == (0, 2, 2, 3)
