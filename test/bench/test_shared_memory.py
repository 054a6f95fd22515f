"""Only the shared memory of dead processes is removed."""

import subprocess
import sys

import pytest

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from chunked_vla_ros.bench.shared_memory import remove_ownerless, segments_of

NODE = ('import rclpy; rclpy.init(); node = rclpy.create_node("lives"); '
        'print("ready", flush=True); input()')


def test_the_segment_of_a_living_process_is_left_and_that_of_a_dead_one_removed():
    with subprocess.Popen([sys.executable, '-c', NODE], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == 'ready\n'
            used = segments_of(process.pid)
            if not used:
                pytest.skip('this middleware uses no shared memory')
            assert not remove_ownerless(used)
            assert all(segment.exists() for segment in used)
        finally:
            process.kill()
        process.wait()
    removed = remove_ownerless(used)
    assert removed
    assert not any(segment.exists() for segment in removed)
    assert not remove_ownerless(used)
