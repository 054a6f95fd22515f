"""What cameras can do wrong, over DDS: told by name on /diagnostics, and no chunk made of it."""

import array
import os
from pathlib import Path
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

pytest.importorskip('rclpy', reason='no ROS 2 in this environment')

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage, Image

from chunked_vla_ros.core.executor_state import Mode
from chunked_vla_ros.msg import ExecutorState
from chunked_vla_ros.nodes import qos

pytestmark = pytest.mark.timeout(120)
NODE = Path(__file__).parent / 'camera_policy_node.py'
START_EXECUTOR = ('import sys; from chunked_vla_ros.nodes.chunk_executor_node import main; '
                  'sys.exit(main())')
CONTRACT = Path(__file__).parents[3] / 'config' / 'robots' / 'ur5e_sim.yaml'
WIDTH, HEIGHT, RATE_HZ = 64, 48, 20.0
CAMERA = {'width': WIDTH, 'height': HEIGHT, 'encoding': 'rgb8', 'rate_hz': RATE_HZ,
          'time_base': 'header', 'tolerance_s': 0.3, 'frozen_after_s': 0.4,
          'resize': {'width': 32, 'height': 24}}


def picture(index, width=WIDTH, height=HEIGHT):
    return np.full((height, width, 3), index % 250, dtype=np.uint8)


def raw(index, width=WIDTH, encoding='rgb8', cut=0, step=None):
    pixels = picture(index, width)
    data = pixels.tobytes()
    return Image(width=width, height=HEIGHT, encoding=encoding, step=step or width * 3,
                 data=array.array('B', data[:len(data) - cut]))


def jpeg(index, cut=0, width=WIDTH):
    data = cv2.imencode('.jpg', picture(index, width))[1].tobytes()
    return CompressedImage(format='jpeg', data=array.array('B', data[:len(data) - cut]))


class Cameras:
    """Two cameras at 20 Hz: `front` raw, `wrist` JPEG. A test says what they send instead."""

    def __init__(self, node):
        self.node, self.index = node, 0
        self.publishers = {
            'front': node.create_publisher(Image, 'cameras/front/image_raw', qos.SENSOR),
            'wrist': node.create_publisher(
                CompressedImage, 'cameras/wrist/image_raw/compressed', qos.SENSOR)}
        self.mend()
        node.create_timer(1.0 / RATE_HZ, self.publish)

    def mend(self):
        self.make = {'front': raw, 'wrist': jpeg}

    def publish(self):
        self.index += 1
        for name, publisher in self.publishers.items():
            msg = self.make[name](self.index)
            if msg is not None:
                msg.header.stamp = self.node.get_clock().now().to_msg()
                publisher.publish(msg)


@pytest.fixture(scope='module')
def contract(tmp_path_factory):
    content = yaml.safe_load(CONTRACT.read_text())
    content['cameras'] = [
        CAMERA | {'name': 'front', 'topic': 'cameras/front/image_raw',
                  'info_topic': 'cameras/front/camera_info'},
        CAMERA | {'name': 'wrist', 'topic': 'cameras/wrist/image_raw/compressed',
                  'info_topic': 'cameras/wrist/camera_info', 'transport': 'compressed'}]
    path = tmp_path_factory.mktemp('contract') / 'two_cameras.yaml'
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture(scope='module')
def graph(domain, contract, probe):
    """Yield probe, cameras and executor states of a policy that looks, in front of an executor."""
    states, cameras = [], Cameras(probe.node)
    probe.node.create_subscription(ExecutorState, 'executor_state', states.append, qos.STATUS)
    environment = {**os.environ, 'ROS_DOMAIN_ID': str(domain)}
    common = ['-p', f'robot:={contract}']
    commands = [
        [str(NODE), '--ros-args', *common, '-p', 'policy:=replay', '-p', 'run_on_activate:=true',
         '-p', 'replan_period_s:=0.1'],
        ['-c', START_EXECUTOR, '--ros-args', *common]]
    processes = [subprocess.Popen(
        [sys.executable, *command], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL) for command in commands]
    yield probe, cameras, states
    for process in processes:    # in order: a killed one leaves its shared memory behind
        process.terminate()
    for process in processes:
        assert process.wait(60.0) == 0


@pytest.fixture
def healthy(graph):
    """Return the graph with both cameras well and the arm following chunks."""
    probe, cameras, states = graph
    cameras.mend()
    probe.chunks.clear()
    probe.wait_for(lambda: probe.chunks, 'chunk of good cameras', instead=lambda: said(probe))
    probe.wait_for(lambda: states and Mode(states[-1].mode) is Mode.RUNNING, 'arm that follows',
                   instead=lambda: states[-1:])
    probe.findings.clear()
    return graph


def said(probe):
    """Return the newest warning of the inference node on /diagnostics."""
    found = [status for array_ in probe.findings for status in array_.status
             if status.name == '/inference']
    return found[-1].message if found and found[-1].level == DiagnosticStatus.WARN else ''


@pytest.mark.parametrize(('camera', 'make', 'reason'), [
    ('front', lambda index: raw(index, width=32), 'camera front: 32x48, expected 64x48'),
    ('front', lambda index: raw(index, encoding='bgr8'), "encoding 'bgr8', expected 'rgb8'"),
    ('front', lambda index: raw(index, step=WIDTH * 3 - 1), 'in rows of 191, expected'),
    ('front', lambda index: raw(index, cut=1), '9215 bytes in rows of 192, expected 9216'),
    ('front', lambda _: raw(7), 'camera front is frozen for'),
    ('front', lambda _: None, 's old, tolerance 0.30 s'),
    ('wrist', lambda index: jpeg(index, cut=20), 'camera wrist: JPEG is cut off'),
    ('wrist', lambda index: jpeg(index, width=32), 'camera wrist: 32x48, expected 64x48'),
    ('wrist', lambda _: jpeg(7), 'camera wrist is frozen for'),
], ids=['size', 'encoding', 'step', 'short data', 'frozen', 'stopped', 'cut JPEG', 'JPEG size',
        'frozen JPEG'])
def test_a_bad_camera_is_named_no_chunk_is_made_and_the_arm_holds(healthy, camera, make, reason):
    probe, cameras, states = healthy
    cameras.make[camera] = make
    probe.wait_for(
        lambda: f'waiting: camera {camera} ' in said(probe) and reason in said(probe),
        f'complaint {reason!r}', instead=lambda: said(probe))
    probe.chunks.clear()
    probe.findings.clear()
    probe.wait_for(lambda: len(probe.findings) >= 2, 'two more reports')
    assert not probe.chunks
    probe.wait_for(lambda: Mode(states[-1].mode) is Mode.HOLD, 'arm at rest',
                   instead=lambda: states[-1:])
    cameras.mend()
    probe.wait_for(lambda: probe.chunks, 'chunk of the camera that is well again',
                   instead=lambda: said(probe))


def test_a_camera_at_half_its_rate_is_told_with_the_rate_and_still_used(healthy):
    probe, cameras, _ = healthy
    cameras.make['front'] = lambda index: raw(index) if index % 2 else None
    # 10 Hz, or what a busy machine makes of that.
    probe.wait_for(lambda: re.search(r'camera front is slow: \d+(\.\d+)? of 20 Hz', said(probe)),
                   'slow camera', instead=lambda: said(probe))
    probe.chunks.clear()
    probe.wait_for(lambda: probe.chunks, 'chunk')
