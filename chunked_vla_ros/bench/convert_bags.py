"""
Recordings to convert: a camera that looks at a moving scene, six joints, a robot contract for it.

Pictures have texture, motion and a sensor's noise, since encoders are as slow as a picture is
difficult. Two calls with one seed write the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

from chunked_vla_ros.core.types import ImageArray, NS_PER_S

JOINTS = tuple(f'joint_{number}' for number in range(1, 7))
STATE_HZ, IMAGE_HZ = 100, 30
CAMERA = 'front'
STATE_TOPIC, IMAGE_TOPIC = '/joint_states', f'/cameras/{CAMERA}/image_raw'
START_NS = 1_700_000_000 * NS_PER_S
NOISE_FIELDS, NOISE_LEVEL = 8, 2.0
BLOBS = 6


def contract(width: int, height: int) -> str:
    """Return the robot contract of these recordings, YAML."""
    joints = '\n'.join(
        f'  - {{name: {name}, kind: continuous, lower: -3.0, upper: 3.0, velocity: 3.0, '
        'acceleration: 10.0, jerk: 100.0, home: 0.0}' for name in JOINTS)
    return (
        'schema: 1\nname: bench_convert\nbase_frame: base\n'
        'units: {angle: rad, length: m, time: s}\njoints:\n' + joints + '\n'
        f'state: {{topic: joint_states, rate_hz: {STATE_HZ}.0, time_base: header, '
        'tolerance_s: 0.1}\n'
        f'cameras:\n  - {{name: {CAMERA}, topic: cameras/{CAMERA}/image_raw, info_topic: '
        f'cameras/{CAMERA}/camera_info, width: {width}, height: {height}, encoding: rgb8, '
        f'rate_hz: {IMAGE_HZ}.0, time_base: header, tolerance_s: 0.2}}\n'
        'command: {kind: position_command, topic: position_command, rate_hz: 100.0}\n')


def pictures(seed: int, count: int, width: int, height: int) -> Iterator[ImageArray]:
    """Yield RGB frames (height, width, 3) of a scene in motion."""
    random = np.random.default_rng(seed)
    coarse = random.integers(40, 200, (height // 16 + 1, width // 16 + 1, 3), np.uint8)
    ground = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
    noise = np.round(random.normal(0.0, NOISE_LEVEL, (NOISE_FIELDS, height, width, 3)))
    centres = random.uniform(0.2, 0.8, (BLOBS, 2))
    speeds = random.uniform(0.3, 1.2, (BLOBS, 2))
    colours = random.integers(0, 255, (BLOBS, 3))
    for number in range(count):
        picture = ground.copy()
        swing = np.sin(2.0 * np.pi * speeds * number / IMAGE_HZ)
        for (x, y), colour in zip(centres + 0.15 * swing, colours, strict=True):
            cv2.circle(picture, (int(x * width), int(y * height)), height // 12,
                       tuple(map(int, colour)), -1, cv2.LINE_AA)
        noisy = picture + noise[number % NOISE_FIELDS]
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def write_bag(path: Path, seed: int, frames: int, width: int, height: int) -> None:
    """Write one recording as an MCAP bag in the new directory ``path``."""
    store: Any = get_typestore(Stores.ROS2_JAZZY)
    joint_type, image_type = 'sensor_msgs/msg/JointState', 'sensor_msgs/msg/Image'
    types, states = store.types, max(1, round(frames * STATE_HZ / IMAGE_HZ))
    no_numbers = np.zeros(0)

    def header(stamp_ns: int) -> Any:
        stamp = types['builtin_interfaces/msg/Time'](
            sec=stamp_ns // NS_PER_S, nanosec=stamp_ns % NS_PER_S)
        return types['std_msgs/msg/Header'](stamp=stamp, frame_id='')

    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        joints = writer.add_connection(STATE_TOPIC, joint_type, typestore=store)
        images = writer.add_connection(IMAGE_TOPIC, image_type, typestore=store)
        due = [(START_NS + round(number * NS_PER_S / STATE_HZ), number)
               for number in range(states)]
        for number, picture in enumerate(pictures(seed, frames, width, height)):
            at_ns = START_NS + round(number * NS_PER_S / IMAGE_HZ)
            while due and due[0][0] <= at_ns:
                stamp_ns, state = due.pop(0)
                position = np.sin(seed + 0.02 * state + np.arange(len(JOINTS)))
                message = types[joint_type](
                    header=header(stamp_ns), name=list(JOINTS), position=position,
                    velocity=no_numbers, effort=no_numbers)
                writer.write(joints, stamp_ns, store.serialize_cdr(message, joint_type))
            message = types[image_type](
                header=header(at_ns), height=height, width=width, encoding='rgb8',
                is_bigendian=0, step=3 * width, data=picture.reshape(-1))
            writer.write(images, at_ns, store.serialize_cdr(message, image_type))
