"""Videos: one picture per row at its exact time, found at once; what cannot be is one line."""

from fractions import Fraction
import os
from pathlib import Path
import resource

import numpy as np
import pytest

from chunked_vla_ros.data.dataset import DatasetError
from chunked_vla_ros.data.video_writer import video_rate, VideoEncoding, write_video

av = pytest.importorskip('av', reason='PyAV is not installed (extra data)')
SHAPE = (64, 80, 3)


def greys(count):
    """Return frames, each 10 brighter than the one before."""
    return [np.full(SHAPE, 10 * number, np.uint8) for number in range(count)]


def read(path):
    with av.open(str(path)) as container:
        return [(frame.time, frame.key_frame, frame.to_ndarray(format='rgb24').mean())
                for frame in container.decode(video=0)]


@pytest.mark.parametrize('codec', ['h264', 'hevc', 'av1'])
def test_every_row_has_one_picture_at_its_time(tmp_path, codec):
    path = tmp_path / 'video.mp4'
    assert write_video(path, greys(7), SHAPE, 30.0, VideoEncoding(codec)) == 7
    found = read(path)
    assert [at_s for at_s, _, _ in found] == pytest.approx([k / 30 for k in range(7)], abs=1e-9)
    assert [grey for _, _, grey in found] == pytest.approx([10 * k for k in range(7)], abs=3.0)


@pytest.mark.skipif(os.geteuid() != 0, reason='SVT-AV1 raises only processes of root')
def test_an_encoder_does_not_raise_this_process_above_the_rest_of_the_machine(tmp_path):
    def scheduling():
        return {os.sched_getscheduler(int(task.name))
                for task in Path('/proc/self/task').iterdir()}
    during = []

    def watched():
        for frame in greys(7):
            during.append(scheduling())
            yield frame
    before = scheduling()
    write_video(tmp_path / 'video.mp4', watched(), SHAPE, 30.0, VideoEncoding('av1'))
    assert before == {os.SCHED_OTHER}
    assert [*during, scheduling()] == [before] * 8


@pytest.mark.parametrize('every', [1, 2, 4])
def test_every_second_picture_stands_alone_unless_asked_otherwise(tmp_path, every):
    path = tmp_path / 'video.mp4'
    write_video(path, greys(8), SHAPE, 30.0, VideoEncoding(keyframe_every=every))
    alone = [number for number, (_, key, _) in enumerate(read(path)) if key]
    assert alone == list(range(0, 8, every))
    assert VideoEncoding().keyframe_every == 2


@pytest.mark.parametrize(('fps', 'rate'), [
    (30.0, Fraction(30)), (29.97, Fraction(2997, 100)), (0.1, Fraction(1, 10))])
def test_a_rate_is_a_ratio_of_whole_numbers(tmp_path, fps, rate):
    assert video_rate(fps) == rate
    path = tmp_path / 'video.mp4'
    write_video(path, greys(3), SHAPE, fps, VideoEncoding())
    assert [at_s for at_s, _, _ in read(path)] == pytest.approx(
        [k / fps for k in range(3)], rel=1e-6)


@pytest.mark.parametrize(('options', 'message'), [
    ({'codec': 'vhs'}, "codec is 'vhs', expected one of h264, hevc, av1"),
    ({'preset': 'hasty'}, "preset is 'hasty', expected one of ultrafast, superfast"),
    ({'codec': 'av1', 'preset': '14'}, "preset is '14', expected one of 13, 12"),
    ({'crf': 52}, 'crf is 52, expected 0 to 51 for h264'),
    ({'keyframe_every': 0}, 'keyframe_every is 0, expected 1 to 1000'),
])
def test_a_setting_that_no_encoder_knows_is_one_line(options, message):
    with pytest.raises(DatasetError, match=message):
        VideoEncoding(**options)


def test_an_odd_size_is_refused_with_the_remedy(tmp_path):
    frames = [np.zeros((31, 48, 3), np.uint8)]
    with pytest.raises(DatasetError, match=r'48x31, expected even .* or use --images'):
        write_video(tmp_path / 'video.mp4', frames, (31, 48, 3), 30.0, VideoEncoding())


def test_x265_is_not_given_frames_that_it_would_corrupt_memory_with(tmp_path):
    frames = [np.zeros((62, 80, 3), np.uint8)]
    with pytest.raises(DatasetError, match=r'80x62, hevc needs 64 or more each way; use another'):
        write_video(tmp_path / 'video.mp4', frames, (62, 80, 3), 30.0, VideoEncoding('hevc'))


def test_a_frame_of_another_size_is_refused(tmp_path):
    frames = [*greys(2), np.zeros((80, 64, 3), np.uint8)]
    with pytest.raises(DatasetError, match=r'frame 2 is \(80, 64, 3\), expected \(64, 80, 3\)'):
        write_video(tmp_path / 'video.mp4', frames, SHAPE, 30.0, VideoEncoding())


def test_a_full_disk_is_told_as_such(tmp_path):
    random = np.random.default_rng(0)
    frames = [random.integers(0, 255, SHAPE, np.uint8) for _ in range(60)]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match='too large') as error:
            write_video(tmp_path / 'video.mp4', frames, SHAPE, 30.0, VideoEncoding(crf=0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.filename == str(tmp_path / 'video.mp4')
