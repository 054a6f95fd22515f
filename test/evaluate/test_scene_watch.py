"""What counts as moved, lifted and unfit, by numbers that one can check by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from chunked_vla_ros.core.robot_spec import ImageTransport
from chunked_vla_ros.core.types import Pose
from chunked_vla_ros.evaluate.scene_watch import distance_to_pad_m, SceneWatch
from chunked_vla_ros.sim.tasks import draw_start

START = draw_start(0, 'fixed', 'red_left')
REST = {'red': (0.42, 0.0, 0.02), 'green': (0.36, 0.12, 0.02), 'blue': (0.36, -0.12, 0.02)}


def scene(**places):
    return {f'cube/{name}': Pose(np.array(place), np.array([1.0, 0.0, 0.0, 0.0]))
            for name, place in (REST | places).items()}


def test_the_first_of_each_counts_and_a_nudge_does_not():
    watch = SceneWatch(START)
    watch.look(scene(blue=(0.369, -0.12, 0.02)))            # 9 mm
    assert (watch.first_moved, watch.first_lifted) == ('', '')
    watch.look(scene(green=(0.36, 0.131, 0.02)))            # 11 mm
    watch.look(scene(red=(0.42, 0.0, 0.069)))               # lower side at 49 mm
    assert (watch.first_moved, watch.first_lifted) == ('green', '')
    watch.look(scene(red=(0.42, 0.0, 0.071)))
    watch.look(scene(blue=(0.36, -0.12, 0.14)))
    assert (watch.first_moved, watch.first_lifted) == ('green', 'red')
    assert watch.knows_all


def test_where_the_named_cube_began_and_how_far_it_ended_from_its_pad():
    assert SceneWatch(START).named_cube == (0.42, 0.0)
    # The left pad is at (0.43, 0.27); height does not count.
    assert distance_to_pad_m(scene(red=(0.40, 0.23, 0.3)), START.task) == pytest.approx(0.05)


def test_a_camera_that_is_not_rendered_as_the_contract_says_is_named(robot):
    feed = pytest.importorskip(
        'chunked_vla_ros.evaluate.camera_feed', reason='mujoco is not installed',
        exc_type=ImportError)
    wrist = replace(robot.camera('wrist'), transport=ImageTransport.COMPRESSED)
    other = replace(robot, cameras=(robot.camera('front'), wrist))
    feed.check_cameras_simulated(other, ['front'], 'go')
    with pytest.raises(feed.CamerasUnfit, match=r'camera wrist is compressed rgb8.*; go$'):
        feed.check_cameras_simulated(other, ['front', 'wrist'], 'go')
