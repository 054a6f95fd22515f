"""The player beside a graph ends with the block, and says so if it ended before."""

from __future__ import annotations

from pathlib import Path

import pytest

from chunked_vla_ros.bench.played_frames import NoFrames, played_frames

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')
LIMIT_S = 30.0
REAL = Path(__file__).resolve().parents[3] / 'shared' / 'data' / 'demos' / 'g1_bottle'


def test_a_player_that_cannot_play_is_one_line_that_names_dataset_and_log(tmp_path: Path) -> None:
    log, absent = tmp_path / 'frames.log', tmp_path / 'absent'
    with pytest.raises(NoFrames, match=f'player of {absent} ended by itself, with exit code 2'), \
            played_frames(absent, 0, 'g1_arms', log) as process:
        process.wait(LIMIT_S)
    assert log.read_text(encoding='utf-8').startswith('error: ')


@pytest.mark.skipif(not REAL.is_dir(), reason='real demonstrations are absent (shared/data)')
def test_the_player_is_gone_when_the_block_has_ended(tmp_path: Path) -> None:
    # Nobody listens, so it waits for subscribers until it is told to end.
    with played_frames(REAL, 29, 'g1_arms', tmp_path / 'frames.log') as process:
        assert process.poll() is None
    assert process.returncode is not None
